"""Blocks of a big list against plain lists."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskkv.codec.list_block import (
    BLOCK_ITEMS,
    INLINE_MAX_BYTES,
    LONG_BLOCK,
    count_of,
    decode_block,
    encode_block,
    encode_entry,
    entries_between,
    entry_text,
    has_long,
    item_at,
    join_blocks,
    split_block,
    split_entries,
    split_first,
    split_last,
)
from diskkv.resp.reply import bulk

ITEM = st.one_of(
    st.binary(max_size=5),
    st.sampled_from([b"", b"\xff\xff", b"x" * INLINE_MAX_BYTES, b"x" * (INLINE_MAX_BYTES + 1), b"\x80" * 128]),
    st.integers(0, INLINE_MAX_BYTES).map(bytes),
)
ITEMS = st.lists(ITEM, min_size=1, max_size=BLOCK_ITEMS)


def held(item: bytes) -> bytes | None:
    return item if len(item) <= INLINE_MAX_BYTES else None


@given(ITEMS)
def test_round_trip(items: list[bytes]) -> None:
    block = encode_block(items)
    assert decode_block(block) == list(map(held, items))
    assert count_of(block) == len(items)
    assert has_long(block) is (None in map(held, items))
    for position, item in enumerate(items):
        assert item_at(block, position) == held(item)
        if held(item) is not None:
            assert entry_text(item) in block


@given(ITEMS, st.data())
def test_what_is_cut_and_joined_is_a_block(items: list[bytes], data: st.DataObject) -> None:
    block = encode_block(items)
    at = data.draw(st.integers(0, len(items)))
    assert split_block(block, at) == (encode_block(items[:at]), encode_block(items[at:]))
    assert join_blocks(split_block(block, at)) == block
    assert split_entries(block) == [encode_entry(item) for item in items]
    assert join_blocks(split_entries(block)) == block


@given(ITEMS, st.data())
def test_entries_are_what_is_sent(items: list[bytes], data: st.DataObject) -> None:
    block = encode_block(items)
    start = data.draw(st.integers(0, len(items)))
    stop = data.draw(st.integers(start, len(items)))
    sent = b"".join(bulk(item) for item in items[start:stop] if held(item) == item)
    assert entries_between(block, start, stop) == sent


@given(ITEMS)
def test_both_ends(items: list[bytes]) -> None:
    block = encode_block(items)
    assert split_first(block) == (held(items[0]), encode_block(items[1:]) if len(items) > 1 else b"")
    assert split_last(block) == (held(items[-1]), encode_block(items[:-1]) if len(items) > 1 else b"")


def test_a_long_item_is_a_mark() -> None:
    assert encode_entry(b"x" * (INLINE_MAX_BYTES + 1)) == LONG_BLOCK


@given(ITEMS)
def test_every_truncation_is_refused(items: list[bytes]) -> None:
    block = encode_block(items)
    for size in range(len(block)):
        for function in (decode_block, count_of, split_entries):
            with pytest.raises(ValueError):
                function(block[:size])
        with pytest.raises(ValueError):
            split_block(block[:size], 0)


DAMAGED = [b"", b"\0", b"\1", b"\1\6", b"\2\6$0\r\n\r\n", b"\1\6$1\r\n\r\n", b"\1\5$0\r\n\r", b"\1\xff" + b"x" * 255]


@pytest.mark.parametrize("block", DAMAGED)
def test_damage_at_the_ends(block: bytes) -> None:
    for function in (split_first, split_last):
        with pytest.raises(ValueError):
            function(block)
    if block != b"\0":
        with pytest.raises(ValueError):
            decode_block(block)
    with pytest.raises(ValueError):
        item_at(block, 0)
    with pytest.raises(ValueError):
        entries_between(block, 0, 2)


def test_too_many_items() -> None:
    with pytest.raises(ValueError):
        decode_block(encode_block([b""] * (BLOCK_ITEMS + 1)))
