"""STRLEN, GETRANGE, APPEND and SETRANGE, with their limits; LCS."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskkv.datatypes import strings
from tests.commands.session import Session

TOO_LONG = "ERR string exceeds maximum allowed size (proto-max-bulk-len)"
NOT_AN_INTEGER = "ERR value is not an integer or out of range"


@pytest.fixture
def session() -> Session:
    return Session()


def test_getrange(session: Session) -> None:
    session.check(f"""
        GETRANGE k 0 -1 -> ""
        GETRANGE k x 1 -> {NOT_AN_INTEGER}
        SET k 'This is a string' -> OK
        GETRANGE k 0 3 -> "This"
        GETRANGE k -3 -1 -> "ing"
        GETRANGE k 10 100 -> "string"
        GETRANGE k 5 3 -> ""
        GETRANGE k -1 -5 -> ""
        GETRANGE k -100 -50 -> "T"
        GETRANGE k 0 -17 -> "T"
        GETRANGE k -100 3 -> "This"
        GETRANGE k 16 16 -> ""
        GETRANGE k 15 16 -> "g"
        GETRANGE k 0 9223372036854775808 -> {NOT_AN_INTEGER}
        GETRANGE k 0 x -> {NOT_AN_INTEGER}
        SUBSTR k -6 -1 -> "string"
        SET e '' -> OK
        GETRANGE e 0 0 -> ""
        GETRANGE e -1 -1 -> ""
        STRLEN k -> 16
        STRLEN missing -> 0
    """)


POSITION = st.one_of(st.integers(-60_000, 60_000), st.sampled_from([-(2**63), 2**63 - 1, 16384, -16384, 32768]))


@given(size=st.sampled_from([0, 1, 5, 16384, 32768, 32769, 50_000]), start=POSITION, end=POSITION)
def test_getrange_is_what_redis_documents(size: int, start: int, end: int) -> None:
    session = Session()
    data = (bytes(range(1, 252)) * 200)[:size]
    session.call(b"SET", b"k", data)
    if start < 0 and end < 0 and start > end:
        expected = b""
    else:
        first = max(start + size, 0) if start < 0 else start
        last = max(end + size, 0) if end < 0 else end
        expected = data[first : last + 1]
    raw = session.call(b"GETRANGE", b"k", b"%d" % start, b"%d" % end)
    assert raw == b"$%d\r\n%b\r\n" % (len(expected), expected)


def test_append_and_setrange(session: Session) -> None:
    session.check(rf"""
        APPEND k '' -> 0
        STRLEN k -> 0
        GET k -> ""
        APPEND k abc -> 3
        APPEND k '\x00\xff' -> 5
        GET k -> "abc\x00\xff"
        SETRANGE k 1 ZZ -> 5
        SETRANGE k 7 x -> 8
        GET k -> "aZZ\x00\xff\x00\x00x"
        SETRANGE new 0 '' -> 0
        SETRANGE new 5 '' -> 0
        GET new -> nil
        SETRANGE new 2 x -> 3
        GET new -> "\x00\x00x"
        SETRANGE k -1 x -> ERR offset is out of range
        SETRANGE k x x -> {NOT_AN_INTEGER}
        SETRANGE k 9223372036854775808 x -> {NOT_AN_INTEGER}
    """)


def test_the_longest_string(session: Session) -> None:
    session.check(f"""
        SETRANGE k 536870912 x -> {TOO_LONG}
        SETRANGE k 536870911 xx -> {TOO_LONG}
        SETRANGE k 9223372036854775807 x -> {TOO_LONG}
        SETRANGE missing 99999999999 '' -> 0
        STRLEN k -> 0
        SETRANGE k 536870911 x -> 536870912
        APPEND k '' -> 536870912
        APPEND k x -> {TOO_LONG}
        SETRANGE k 536870912 x -> {TOO_LONG}
        SETRANGE k 99999999999 '' -> 536870912
        GETRANGE k -2 -1 -> "\\x00x"
        GETRANGE k 0 2 -> "\\x00\\x00\\x00"
        INCR k -> {NOT_AN_INTEGER}
        INCRBYFLOAT k 1 -> ERR value is not a valid float
    """)


def test_the_limit_follows_the_configuration(session: Session) -> None:
    session.instance.config.proto_max_bulk_len = 10
    session.check(f"""
        SET k 0123456789 -> OK
        APPEND k x -> {TOO_LONG}
        SETRANGE k 10 x -> {TOO_LONG}
        SETRANGE k 9 x -> 10
        LCS k k -> ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len
    """)


def test_a_failed_command_leaves_no_trace(session: Session) -> None:
    session.call(b"SET", b"k", b"x" * (strings.INLINE_MAX_BYTES + 1))
    commits = session.engine.commits
    session.run("SETRANGE k 536870912 x")
    session.run("APPEND k")
    session.run("SET k v EX 0")
    session.run("SET k v IFDEQ short")
    assert session.engine.commits == commits


def test_encodings(session: Session) -> None:
    def encoding(key: bytes) -> bytes:
        value = session.database.get(key)
        assert value is not None
        return strings.encoding(session.engine, value)

    session.run("MSET n 12345 s abc")
    assert (encoding(b"n"), encoding(b"s")) == (b"int", b"embstr")
    session.run("SETRANGE n 1 9")
    session.run("APPEND s d")
    assert (encoding(b"n"), encoding(b"s")) == (b"raw", b"raw")
    session.run("INCR n")
    session.run("APPEND fresh 12")
    session.run("SETRANGE zeros 0 1")
    assert (encoding(b"n"), encoding(b"fresh"), encoding(b"zeros")) == (b"int", b"int", b"raw")
    session.run("SET s d KEEPTTL")
    assert encoding(b"s") == b"embstr"


@pytest.mark.parametrize("resp", [2, 3])
def test_lcs(resp: int) -> None:
    begin, colon, end = ("{", ": ", "}") if resp == 3 else ("[", ", ", "]")

    def answer(matches: str, length: int) -> str:
        return f'{begin}"matches"{colon}[{matches}], "len"{colon}{length}{end}'

    Session(resp).check(f"""
        MSET a ohmytext b mynewtext -> OK
        LCS a b -> "mytext"
        LCS a b LEN -> 6
        LCS a b len minmatchlen 4 -> 6
        LCS a b IDX -> {answer("[[4, 7], [5, 8]], [[2, 3], [0, 1]]", 6)}
        LCS a b IDX MINMATCHLEN 4 -> {answer("[[4, 7], [5, 8]]", 6)}
        LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN -> {answer("[[4, 7], [5, 8], 4]", 6)}
        LCS a b IDX MINMATCHLEN -1 -> {answer("[[4, 7], [5, 8]], [[2, 3], [0, 1]]", 6)}
        LCS a missing -> ""
        LCS a missing LEN -> 0
        LCS missing missing IDX -> {answer("", 0)}
        LCS a b LEN IDX -> ERR If you want both the length and indexes, please just use IDX.
        LCS a b LEN IDX BOGUS -> ERR syntax error
        LCS a b MINMATCHLEN -> ERR syntax error
        LCS a b MINMATCHLEN x -> {NOT_AN_INTEGER}
        LCS a -> ERR wrong number of arguments for 'lcs' command
    """)


def test_lcs_of_long_strings() -> None:
    session = Session()
    session.call(b"MSET", b"a", b"x" * 40_000, b"b", b"yx")
    assert session.run("LCS a b") == '"x"'
