from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskkv.codec.rdb_packed import (
    canonical_int,
    decode_intset,
    decode_listpack,
    decode_ziplist,
    decode_zipmap,
    encode_intset,
    encode_listpack,
)
from diskkv.codec.rdb_values import RdbDataError
from tests.codec.rdb_old_formats import ziplist, zipmap
from tests.codec.rdb_strategies import EDGE_TEXTS, texts

text_lists = st.lists(texts, max_size=40)


@given(text_lists)
def test_listpack_round_trip(elements: list[bytes]) -> None:
    assert decode_listpack(encode_listpack(elements)) == elements


@given(text_lists)
def test_ziplist_round_trip(elements: list[bytes]) -> None:
    assert decode_ziplist(ziplist(elements)) == elements


@given(st.dictionaries(texts, texts))
def test_zipmap_round_trip(fields: dict[bytes, bytes]) -> None:
    flat = [text for pair in fields.items() for text in pair]
    assert decode_zipmap(zipmap(list(fields.items()))) == flat


@given(st.sets(st.integers(-(1 << 63), (1 << 63) - 1)))
def test_intset_round_trip(numbers: set[int]) -> None:
    assert decode_intset(encode_intset(numbers)) == [b"%d" % number for number in sorted(numbers)]


def test_all_edge_texts_in_one_container() -> None:
    assert decode_listpack(encode_listpack(EDGE_TEXTS)) == EDGE_TEXTS
    assert decode_ziplist(ziplist(EDGE_TEXTS)) == EDGE_TEXTS


@pytest.mark.parametrize("size", [125, 126, 127, 4093, 4094, 16376, 16378, 16379, 16380, 2097140, 2097146, 2097147])
def test_listpack_back_links_of_all_sizes(size: int) -> None:
    elements = [b"x" * size, b"end"]
    assert decode_listpack(encode_listpack(elements)) == elements


def test_more_elements_than_the_count_can_say() -> None:
    elements = [b"1"] * 70_000
    assert decode_listpack(encode_listpack(elements)) == elements


@given(texts)
def test_canonical_int_has_one_spelling(text: bytes) -> None:
    number = canonical_int(text)
    if number is not None:
        assert b"%d" % number == text
        assert -(1 << 63) <= number < 1 << 63
    else:
        try:
            value = int(text)
        except ValueError:
            return
        assert b"%d" % value != text or not -(1 << 63) <= value < 1 << 63


SAMPLES = [
    (decode_listpack, encode_listpack(EDGE_TEXTS[:-1])),
    (decode_ziplist, ziplist([text for text in EDGE_TEXTS if len(text) < 5000])),
    (decode_zipmap, zipmap([(b"a", b"b"), (b"c" * 300, b"d")])),
    (decode_intset, encode_intset([1, 2, 3])),
]


@pytest.mark.parametrize(("decode", "data"), SAMPLES)
def test_every_truncation_and_extension_raises(decode: object, data: bytes) -> None:
    assert callable(decode)
    step = max(1, len(data) // 500)
    for cut in [*range(0, len(data), step), len(data) - 1]:
        with pytest.raises(RdbDataError):
            decode(data[:cut])
    for extra in (b"\x00", b"\xff"):
        with pytest.raises(RdbDataError):
            decode(data + extra)


@pytest.mark.parametrize(("decode", "data"), SAMPLES)
@given(random=st.randoms(use_true_random=False))
def test_damage_raises_only_its_own_error(decode: object, data: bytes, random: object) -> None:
    assert callable(decode)
    damaged = bytearray(data)
    for _ in range(random.randint(1, 4)):  # type: ignore[attr-defined]
        damaged[random.randrange(len(damaged))] = random.randrange(256)  # type: ignore[attr-defined]
    with contextlib.suppress(RdbDataError):
        decode(bytes(damaged))


@pytest.mark.parametrize(
    ("decode", "hexed", "why"),
    [
        (decode_listpack, "09000000010001 02 ff", "back link"),
        (decode_listpack, "09000000020001 01 ff", "does not hold"),
        (decode_listpack, "09000000ffff01 01 ff", None),
        (decode_listpack, "0900000001 00f5 01 ff", "unknown encoding"),
        (decode_ziplist, "0d0000000a0000000100 01f2ff", "back link"),
        (decode_ziplist, "0d0000000b0000000100 00f2ff", "does not hold"),
        (decode_ziplist, "0d0000000a0000000100 00c1ff", "unknown encoding"),
        (decode_intset, "02000000 02000000 0100 0100", "out of order"),
        (decode_intset, "03000000 01000000 010000", "another size"),
    ],
)
def test_bookkeeping_is_checked(decode: object, hexed: str, why: str | None) -> None:
    assert callable(decode)
    data = bytes.fromhex(hexed)
    if why is None:
        decode(data)
        return
    with pytest.raises(RdbDataError, match=why):
        decode(data)
