"""Scripts that answer with ever new error codes made INFO errorstats, and the memory of the server, grow for ever."""

from __future__ import annotations

from diskkv.services.stats import MAX_ERROR_CODES
from tests.commands.session import Session


def errorstats(session: Session) -> list[bytes]:
    return session.call(b"INFO", b"errorstats").split(b"\r\n")[2:-2]


def fail(session: Session, code: bytes) -> None:
    reply = session.call(b"EVAL", b"return redis.error_reply(ARGV[1])", b"0", code + b" message")
    assert reply.startswith(b"-" + code)


def test_too_many_codes_are_not_told_apart() -> None:
    session = Session()
    for number in range(MAX_ERROR_CODES):
        fail(session, b"E%d" % number)
    assert len(errorstats(session)) == MAX_ERROR_CODES
    fail(session, b"E1")
    assert b"errorstat_E1:count=2" in errorstats(session)
    for number in range(1000):
        fail(session, b"F%d" % number)
    assert errorstats(session) == [b"errorstat_ERRORSTATS_DISABLED:count=1"]
    assert b"total_error_replies:%d" % (MAX_ERROR_CODES + 1001) in session.call(b"INFO", b"stats")
    assert session.call(b"CONFIG", b"RESETSTAT") == b"+OK\r\n"
    fail(session, b"E1")
    assert errorstats(session) == [b"errorstat_E1:count=1"]


def test_codes_cannot_break_the_fields_of_info() -> None:
    session = Session()
    fail(session, b"a:b#c")
    assert errorstats(session) == [b"errorstat_a_b_c:count=1"]
