"""CLIENT TRACKING with thousands of prefixes took the square of that, and each later write looked at all of them."""

from __future__ import annotations

import time

from tests.commands.session import Session


def track(session: Session, count: int, *last: bytes) -> bytes:
    prefixes = [b"p%06d" % number for number in range(count)]
    words = [word for prefix in (*prefixes, *last) for word in (b"PREFIX", prefix)]
    return session.call(b"CLIENT", b"TRACKING", b"ON", b"BCAST", *words)


def test_they_are_checked_and_found_quickly() -> None:
    session = Session(resp=3)
    started_s = time.thread_time()
    assert track(session, 30_000) == b"+OK\r\n"
    tracking = session.instance.tracking
    for number in range(200):
        assert session.call(b"SET", b"p%06d:key" % number, b"v") == b"+OK\r\n"
        tracking.finish_turn()
    assert session.client.out[-1] == b">2\r\n$10\r\ninvalidate\r\n*1\r\n$11\r\np000199:key\r\n"
    assert len(session.client.out) == 200
    assert time.thread_time() - started_s < 5


def test_one_that_overlaps_is_still_found() -> None:
    started_s = time.thread_time()
    reply = track(Session(resp=3), 30_000, b"p0299")
    assert reply.startswith(b"-ERR Prefix 'p029900' overlaps with another provided prefix 'p0299'.")
    reply = track(Session(resp=3), 100, b"p00005")
    assert reply.startswith(b"-ERR Prefix 'p000050' overlaps with another provided prefix 'p00005'.")
    assert time.thread_time() - started_s < 5
