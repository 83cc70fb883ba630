"""OBJECT ENCODING of a short result of BITOP said int or embstr; Redis stores it raw."""

from __future__ import annotations

from tests.commands.session import Session


def test_a_result_of_bitop_is_raw() -> None:
    session = Session()
    assert session.call(b"SET", b"digit", b"7") == b"+OK\r\n"
    assert session.call(b"BITOP", b"OR", b"result", b"digit", b"digit") == b":1\r\n"
    assert session.call(b"GET", b"result") == b"$1\r\n7\r\n"
    assert session.call(b"OBJECT", b"ENCODING", b"result") == b"$3\r\nraw\r\n"
