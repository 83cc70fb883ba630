"""The request parser: every split of its input, Redis' protocol errors, limits before memory."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskkv.resp.parser import RequestParser, split_columns

TRICKY = [b"", b"\r\n", b"a\r\nb", b"*3", b"$1\r\n", b"x" * 20000]
ARGUMENTS = st.one_of(st.binary(max_size=40), st.sampled_from(TRICKY))
REQUESTS = st.lists(st.lists(ARGUMENTS, min_size=1, max_size=6), max_size=12)


def encode(argv: list[bytes]) -> bytes:
    return b"*%d\r\n" % len(argv) + b"".join(b"$%d\r\n%b\r\n" % (len(item), item) for item in argv)


@given(requests=REQUESTS, cuts=st.lists(st.integers(0, 5000), max_size=30))
def test_any_split_gives_the_same_requests(requests: list[list[bytes]], cuts: list[int]) -> None:
    data = b"".join(map(encode, requests))
    parser = RequestParser()
    parsed = []
    at = 0
    for cut in cuts:
        parsed += parser.feed(data[at : at + cut])
        at += cut
    parsed += parser.feed(data[at:])
    assert parsed == requests
    assert parser.error is None
    assert parser.size_bytes == 0


@given(
    requests=st.integers(1, 4).flatmap(
        lambda argc: st.lists(st.lists(ARGUMENTS, min_size=argc, max_size=argc), min_size=1, max_size=9)
    ),
    garbled=st.tuples(st.integers(0, 400), st.sampled_from([b"", b"\r\n", b"$", b"7"])) | st.none(),
)
def test_columns_are_the_requests(requests: list[list[bytes]], garbled: tuple[int, bytes] | None) -> None:
    data = b"".join(map(encode, requests))
    if garbled is not None:
        data = data[: garbled[0]] + garbled[1] + data[garbled[0] :]
    columns = split_columns(data.split(b"\r\n"))
    parser = RequestParser()
    if columns is None:
        arguments = [argument for argv in requests for argument in argv]
        plain = not any(b"\r\n" in argument or len(argument) > 16384 for argument in arguments)
        assert garbled is not None or len(requests) == 1 or not plain
    else:
        assert [list(argv) for argv in zip(*columns, strict=True)] == parser.feed(data)
        assert parser.is_clean


@given(requests=st.lists(st.lists(st.binary(max_size=5), min_size=1, max_size=4), max_size=4))
def test_one_byte_at_a_time(requests: list[list[bytes]]) -> None:
    parser = RequestParser()
    parsed = []
    for byte in b"".join(map(encode, requests)):
        parsed += parser.feed(bytes((byte,)))
    assert parsed == requests


@given(data=st.binary(max_size=200))
def test_rubbish_never_raises(data: bytes) -> None:
    parser = RequestParser()
    for byte in data:
        if parser.error is None:
            parser.feed(bytes((byte,)))
    whole = RequestParser()
    whole.feed(data)
    assert str(whole.error) == str(parser.error)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"*x\r\n", "invalid multibulk length"),
        (b"*99999999999999999999\r\n", "invalid multibulk length"),
        (b"*2147483648\r\n", "invalid multibulk length"),
        (b"*1\r\n:1\r\n", "expected '$', got ':'"),
        (b"*1\r\n*1\r\n$1\r\na\r\n", "expected '$', got '*'"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$536870913\r\n", "invalid bulk length"),
        (b"*1\r\n$01\r\na\r\n", "invalid bulk length"),
        (b"*" + b"1" * 70000, "too big mbulk count string"),
        (b"*1\r\n$" + b"1" * 70000, "too big bulk count string"),
        (b"x" * 70000, "too big inline request"),
        (b'set "a\r\n', "unbalanced quotes in request"),
        (b"set 'a'b\r\n", "unbalanced quotes in request"),
    ],
)
def test_protocol_errors(data: bytes, message: str) -> None:
    """The requests before the error are still good; nothing behind it is taken."""
    parser = RequestParser()
    parsed = parser.feed(encode([b"PING"]) + data)
    assert parsed == [[b"PING"]]
    assert str(parser.error) == message


def test_empty_and_negative_counts_are_skipped() -> None:
    parser = RequestParser()
    assert parser.feed(b"*0\r\n*-1\r\n\r\n*1\r\n$4\r\nPING\r\n") == [[b"PING"]]


@pytest.mark.parametrize(
    ("line", "argv"),
    [
        (b"ping", [b"ping"]),
        (b"  set\ta   b ", [b"set", b"a", b"b"]),
        (b'set k "a\\x41\\n\\t\\"\\\\"', [b"set", b"k", b'aA\n\t"\\']),
        (b"set k 'it\\'s \\n'", [b"set", b"k", b"it's \\n"]),
        (b'set k ""', [b"set", b"k", b""]),
        (b'se"t" k', [b"set", b"k"]),
    ],
)
def test_inline(line: bytes, argv: list[bytes]) -> None:
    parser = RequestParser()
    assert parser.feed(line + b"\r\n") == [argv]
    assert parser.feed(line + b"\n") == [argv]


def test_limits_before_login() -> None:
    parser = RequestParser()
    parser.authenticated = False
    assert parser.feed(encode([b"AUTH", b"secret"])) == [[b"AUTH", b"secret"]]
    parser.feed(b"*11\r\n")
    assert str(parser.error) == "unauthenticated multibulk length"
    parser = RequestParser()
    parser.authenticated = False
    parser.feed(b"*2\r\n$16385\r\n")
    assert str(parser.error) == "unauthenticated bulk length"


def test_declared_lengths_allocate_nothing() -> None:
    tracemalloc.start()
    try:
        for header in (b"*2147483647\r\n", b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\n"):
            parser = RequestParser()
            assert parser.feed(header) == []
            assert parser.error is None
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1 << 20


def test_a_large_argument_in_small_chunks() -> None:
    """Received in pieces without looking at any byte twice, and the parser knows how much is missing."""
    value = b"v" * (5 << 20)
    data = encode([b"SET", b"k", value])
    parser = RequestParser()
    parsed: list[list[bytes]] = []
    for at in range(0, len(data), 65536):
        assert parsed == []
        parsed += parser.feed(data[at : at + 65536])
        if 65536 <= at < len(data) - 65536:
            assert parser.wanted_bytes == len(data) - at - 65536
    assert parsed == [[b"SET", b"k", value]]
