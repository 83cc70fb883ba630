from __future__ import annotations

import contextlib
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskkv.codec.lzf import MAX_EXPANSION, LzfError, compress, decompress

repetitive = st.lists(st.binary(max_size=12), max_size=20).map(lambda words: b"".join(words * 3))


@given(st.one_of(repetitive, st.binary(max_size=400)))
def test_round_trip(data: bytes) -> None:
    assert decompress(compress(data), len(data)) == data


def test_long_runs_take_few_bytes() -> None:
    data = b"a" * 10_000
    packed = compress(data)
    assert len(packed) < len(data) / 80
    assert decompress(packed, len(data)) == data


def test_references_reach_8192_bytes_back_and_no_further() -> None:
    word = bytes(range(40, 60))
    for gap in (8192 - len(word), 8193 - len(word)):
        filler = bytes((number * 7919 >> 3) & 0xFF for number in range(gap))
        data = word + filler + word
        assert decompress(compress(data), len(data)) == data


@pytest.mark.parametrize(
    ("packed", "plain"),
    [
        (b"\x02abc", b"abc"),
        (b"\x00a\x20\x00", b"aaaa"),  # short reference over itself
        (b"\x01ab\xe0\x02\x01", b"ab" + b"ab" * 5 + b"a"),  # long reference over itself: 7 + 2 + 2 bytes
        (b"", b""),
    ],
)
def test_known_streams(packed: bytes, plain: bytes) -> None:
    assert decompress(packed, len(plain)) == plain


@given(st.binary(max_size=60), st.integers(0, 6000))
def test_damage_raises_or_gives_the_declared_size(packed: bytes, size_bytes: int) -> None:
    with contextlib.suppress(LzfError):
        assert len(decompress(packed, size_bytes)) == size_bytes


def test_every_truncation_raises() -> None:
    data = b"hello hello hello, this is the text; " * 9
    packed = compress(data)
    for cut in range(len(packed)):
        with pytest.raises(LzfError):
            decompress(packed[:cut], len(data))


def test_a_huge_declared_size_allocates_nothing() -> None:
    tracemalloc.start()
    try:
        with pytest.raises(LzfError):
            decompress(b"\x00a" * 50, 1 << 40)
        with pytest.raises(LzfError):
            decompress(b"\xe0\xff\x00" * 1000, 3000 * MAX_EXPANSION)  # refers to before the start
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
