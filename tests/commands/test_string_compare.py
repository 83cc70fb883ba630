"""SET with IFEQ, IFNE, IFDEQ and IFDNE, DELEX and DIGEST (https://redis.io/docs/latest/commands/delex/)."""

from __future__ import annotations

import pytest

from diskkv.codec.digest import value_digest
from diskkv.codec.header import LIST, Header
from diskkv.datatypes import strings
from tests.commands.session import Session

HELLO = value_digest(b"hello").decode()
BAD_DIGEST = "ERR must be exactly 16 hexadecimal characters"
LONG = b"v" * (2 * strings.PIECE_BYTES + 5)


@pytest.fixture
def session() -> Session:
    return Session()


# comparison, whether it is true of "hello", whether it is true of a missing key
COMPARISONS = [
    ("IFEQ hello", True, False),
    ("IFEQ hellO", False, False),
    ("ifeq hello", True, False),
    ("IFNE hello", False, True),
    ("IFNE ''", True, True),
    (f"IFDEQ {HELLO}", True, False),
    (f"IFDEQ {HELLO.upper()}", True, False),
    ("IFDEQ 0123456789abcdef", False, False),
    (f"IFDNE {HELLO}", False, True),
    (f"IfDnE {HELLO.upper()}", False, True),
    ("IFDNE 0123456789abcdef", True, True),
    ("IFDNE nohexadecimalist", True, True),
]


@pytest.mark.parametrize(("comparison", "of_hello", "of_missing"), COMPARISONS)
def test_set(session: Session, comparison: str, of_hello: bool, of_missing: bool) -> None:
    session.check(f"""
        SET k new {comparison} -> {"OK" if of_missing else "nil"}
        GET k -> {'"new"' if of_missing else "nil"}
        SET k hello -> OK
        SET k new {comparison} -> {"OK" if of_hello else "nil"}
        GET k -> {'"new"' if of_hello else '"hello"'}
        SET k hello -> OK
        SET k new {comparison} GET EX 10 -> "hello"
        GETDEL k -> {'"new"' if of_hello else '"hello"'}
        SET k new GET {comparison} -> nil
        GET k -> {'"new"' if of_missing else "nil"}
    """)


@pytest.mark.parametrize(("comparison", "of_hello", "of_missing"), COMPARISONS)
def test_delex(session: Session, comparison: str, of_hello: bool, of_missing: bool) -> None:
    session.check(f"""
        DELEX k {comparison} -> 0
        SET k hello EX 100 -> OK
        DELEX k {comparison} -> {int(of_hello)}
        GET k -> {"nil" if of_hello else '"hello"'}
    """)


def test_bad_digests(session: Session) -> None:
    session.check(f"""
        SET k v IFDEQ short -> nil
        DELEX k IFDEQ short -> 0
        SET k v IFDNE short -> OK
        SET k w IFDEQ short -> {BAD_DIGEST}
        SET k w IFDNE {HELLO}0 GET -> {BAD_DIGEST}
        DELEX k IFDEQ {HELLO}0 -> {BAD_DIGEST}
        DELEX k IFDNE '' -> {BAD_DIGEST}
        GET k -> "v"
    """)


def test_delex_without_condition(session: Session) -> None:
    session.database.put(b"l", Header(LIST, [b"item"]), None)
    session.check("""
        DELEX l -> 1
        DELEX l -> 0
        SET k v -> OK
        DELEX k -> 1
        DELEX missing BOGUS v -> 0
        SET k v -> OK
        DELEX k BOGUS v -> ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE
        DELEX k NX v -> ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE
        DELEX missing IFEQ -> ERR wrong number of arguments for 'delex' command
        DELEX k IFEQ v extra -> ERR wrong number of arguments for 'delex' command
        DELEX -> ERR wrong number of arguments for 'delex' command
    """)


@pytest.mark.parametrize("resp", [2, 3])
def test_digest(resp: int) -> None:
    Session(resp).check(f"""
        DIGEST k -> nil
        SET k v8lf0c11xh8ymlqztfd3eeq16kfn4sspw7fqmnuuq3k3t75em5wdizgcdw7uc26nnf961u2jkfzkjytls2kwlj7626sd -> OK
        DIGEST k -> "00006c38adf31777"
        SET k hello -> OK
        DIGEST k -> "{HELLO}"
        DIGEST -> ERR wrong number of arguments for 'digest' command
    """)


def test_long_strings(session: Session) -> None:
    session.call(b"SET", b"k", LONG)
    digest = value_digest(LONG)
    assert session.run("DIGEST k") == f'"{digest.decode()}"'
    assert session.call(b"SET", b"k", b"x", b"IFEQ", LONG[:-1] + b"x") == b"$-1\r\n"
    assert session.call(b"SET", b"k", LONG, b"IFDEQ", digest) == b"+OK\r\n"
    assert session.call(b"DELEX", b"k", b"IFEQ", LONG) == b":1\r\n"


def test_keys_of_delex(session: Session) -> None:
    entry = session.instance.commands["delex"]
    assert entry.key_positions([b"DELEX", b"k"]) == [(1, "RM delete")]
    assert entry.key_positions([b"DELEX", b"k", b"IFEQ", b"v"]) == [(1, "RW access delete")]
