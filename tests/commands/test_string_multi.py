"""MGET, MSET, MSETNX and MSETEX."""

from __future__ import annotations

import pytest

from diskkv.codec.header import Header
from tests.commands.session import NOW_MS, Session


@pytest.fixture
def session() -> Session:
    return Session()


@pytest.mark.parametrize("resp", [2, 3])
def test_mget_mset_msetnx(resp: int) -> None:
    Session(resp).check("""
        MGET a -> [nil]
        MSET a 1 b 2 a 3 -> OK
        MGET a b c a -> ["3", "2", nil, "3"]
        MSETNX c 1 a 9 -> 0
        MGET a c -> ["3", nil]
        MSETNX c 1 d 2 c 3 -> 1
        MGET c d -> ["3", "2"]
        MGET -> ERR wrong number of arguments for 'mget' command
        MSET a -> ERR wrong number of arguments for 'mset' command
        MSET a 1 b -> ERR wrong number of arguments for 'mset' command
        MSETNX e 1 f -> ERR wrong number of arguments for 'msetnx' command
        MGET e f -> [nil, nil]
    """)


def test_mset_sees_its_own_pairs(session: Session) -> None:
    session.run("MSET a 1 a 2")
    assert session.database.keys == 1


def test_msetex(session: Session) -> None:
    session.check("""
        MSETEX 2 a 1 b 2 -> 1
        MGET a b -> ["1", "2"]
        MSETEX 2 a 3 c 4 NX -> 0
        MSETEX 2 a 3 c 4 XX -> 0
        MGET a c -> ["1", nil]
        MSETEX 2 a 3 b 4 XX EX 10 -> 1
        MSETEX 2 c 5 d 6 px 10 nx -> 1
        MSETEX 1 NX XX -> 1
        MGET a b c d NX -> ["3", "4", "5", "6", "XX"]
    """)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("MSETEX", "ERR wrong number of arguments for 'msetex' command"),
        ("MSETEX 1 a", "ERR wrong number of arguments for 'msetex' command"),
        ("MSETEX a 1 EX 10", "ERR invalid numkeys value"),
        ("MSETEX 0 a 1", "ERR invalid numkeys value"),
        ("MSETEX -1 a 1", "ERR invalid numkeys value"),
        ("MSETEX 2147483648 a 1 EX 10", "ERR invalid numkeys value"),
        ("MSETEX 2147483647 a 1 EX 10", "ERR wrong number of key-value pairs"),
        ("MSETEX 2 a 1 b", "ERR wrong number of key-value pairs"),
        ("MSETEX 1 a 1 b 2", "ERR syntax error"),
        ("MSETEX 1 a 1 NX XX", "ERR syntax error"),
        ("MSETEX 1 a 1 GET", "ERR syntax error"),
        ("MSETEX 1 a 1 IFEQ x", "ERR syntax error"),
        ("MSETEX 1 a 1 PERSIST", "ERR syntax error"),
        ("MSETEX 1 a 1 EX 10 PX 10", "ERR syntax error"),
        ("MSETEX 1 a 1 KEEPTTL EX 10", "ERR syntax error"),
        ("MSETEX 1 a 1 EX", "ERR syntax error"),
        ("MSETEX 1 a 1 EX 0 BOGUS", "ERR syntax error"),
        ("MSETEX 1 a 1 EX 0", "ERR invalid expire time in 'msetex' command"),
    ],
)
def test_msetex_errors(session: Session, command: str, expected: str) -> None:
    assert session.run(command) == expected
    assert session.database.keys == 0


def test_msetex_keeps_each_ttl(session: Session) -> None:
    session.run("SETEX a 10 v")
    session.run("SETEX b 20 v")
    session.run("MSETEX 4 a 1 new 2 b 3 other 4 KEEPTTL")
    values = [session.database.get(key) for key in (b"a", b"new", b"b", b"other")]
    assert [value.expire_ms if isinstance(value, Header) else 0 for value in values] == [
        NOW_MS + 10_000,
        0,
        NOW_MS + 20_000,
        0,
    ]


def test_keys_of_msetex(session: Session) -> None:
    entry = session.instance.commands["msetex"]
    argv = [b"MSETEX", b"2", b"a", b"1", b"b", b"2", b"EX", b"10"]
    assert entry.key_positions(argv) == [(2, "OW update"), (4, "OW update")]
