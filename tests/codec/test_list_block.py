"""Blocks of a big list against plain lists."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskkv.codec.list_block import (
    BLOCK_ITEMS,
    INLINE_MAX_BYTES,
    LONG_ENTRY,
    decode_block,
    encode_block,
    encode_entry,
    entry_offset,
    item_at,
    split_first,
    split_last,
)

ITEM = st.one_of(
    st.binary(max_size=5),
    st.sampled_from([b"", b"\xff\xff", b"x" * INLINE_MAX_BYTES, b"x" * (INLINE_MAX_BYTES + 1), b"\x80" * 128]),
)
ITEMS = st.lists(ITEM, min_size=1, max_size=BLOCK_ITEMS)


def held(item: bytes) -> bytes | None:
    return item if len(item) <= INLINE_MAX_BYTES else None


@given(ITEMS)
def test_round_trip(items: list[bytes]) -> None:
    block = encode_block(items)
    assert decode_block(block) == list(map(held, items))
    assert len(block) <= BLOCK_ITEMS * (INLINE_MAX_BYTES + 2)
    for position, item in enumerate(items):
        assert item_at(block, entry_offset(block, position)) == held(item)
    assert entry_offset(block, len(items)) == len(block)


@given(ITEMS)
def test_both_ends(items: list[bytes]) -> None:
    block = encode_block(items)
    assert split_first(block) == (held(items[0]), encode_block(items[1:]))
    assert split_last(block) == (held(items[-1]), encode_block(items[:-1]))
    assert encode_entry(b"new") + block == encode_block([b"new", *items])


def test_a_long_item_is_a_mark() -> None:
    assert encode_entry(b"x" * (INLINE_MAX_BYTES + 1)) == LONG_ENTRY


@given(ITEMS)
def test_every_truncation_is_refused_or_ends_at_an_entry(items: list[bytes]) -> None:
    block = encode_block(items)
    borders = {entry_offset(block, position) for position in range(len(items))}
    for size in range(len(block)):
        if size not in borders:
            with pytest.raises(ValueError):
                decode_block(block[:size])


@pytest.mark.parametrize("block", [b"", b"\x01", b"\x02ab", b"\x01a\x02", b"\xff", b"\x05ab"])
def test_damage_at_the_ends(block: bytes) -> None:
    with pytest.raises(ValueError):
        split_first(block) if block != b"\xff" else decode_block(block)
    with pytest.raises(ValueError):
        split_last(block) if block != b"\xff" else decode_block(block)
    with pytest.raises(ValueError):
        entry_offset(block, 1) if block != b"\x01a\x02" else decode_block(block)


def test_too_many_items() -> None:
    with pytest.raises(ValueError):
        decode_block(encode_block([b""] * (BLOCK_ITEMS + 1)))
