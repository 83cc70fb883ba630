"""The rows of a list that is too big to be packed.

    kind KIND_LIST_ITEM    sub = index:i64            value: the block (codec/list_block.py) of the items from this
                                                      index on, a multiple of 32, as far as the list has them
                           sub = index:i64 0x01       value: one item too long for its block

The items of a list have the indexes head .. tail - 1; what lies outside is never read. One scan meets every block and
behind it its long items, in the order of the list.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from struct import Struct

from diskkv.codec.keys import ELEMENT_PREFIX_SIZE, KIND_LIST_ITEM, element_prefix
from diskkv.codec.list_block import (
    BLOCK_ITEMS,
    BLOCK_MASK,
    INLINE_MAX_BYTES,
    count_of,
    decode_block,
    encode_block,
    encode_entry,
    entry_text,
    has_long,
    item_at,
    join_blocks,
    split_block,
)
from diskkv.codec.numbers import decode_i64, encode_i64
from diskkv.engine.engine import Engine
from diskkv.errors import CorruptionError

LONG = b"\x01"
"""Ends the row key of a long item."""
ROW = Struct(">cQBQ").pack
"""The row of a block in one go, for the hot paths: ROW(ELEMENT_TAG, oid, KIND_LIST_ITEM, first index + I64_OFFSET)."""
I64_OFFSET = 1 << 63
_BLOCK_ROW_SIZE = ELEMENT_PREFIX_SIZE + 8


def block_row(oid: int, index: int) -> bytes:
    """The row of the block that has the item of this index."""
    return element_prefix(oid, KIND_LIST_ITEM) + encode_i64(index & BLOCK_MASK)


def long_row(oid: int, index: int) -> bytes:
    """The row of a long item."""
    return element_prefix(oid, KIND_LIST_ITEM) + encode_i64(index) + LONG


def damaged(row: bytes) -> CorruptionError:
    """The error for a row that is missing or does not fit the rest of its list."""
    return CorruptionError(f"row {row.hex()} of a list is missing or damaged")


def read_block(engine: Engine, oid: int, index: int) -> bytes:
    """The block that has the item of this index. Raises CorruptionError when there is none."""
    row = block_row(oid, index)
    block = engine.rows.get(row)
    if not block:
        raise damaged(row)
    return block


def read_long(engine: Engine, oid: int, index: int) -> bytes:
    """A long item. Raises CorruptionError when it is missing."""
    row = long_row(oid, index)
    item = engine.rows.get(row)
    if item is None:
        raise damaged(row)
    return item


def read_item(engine: Engine, oid: int, head: int, index: int) -> bytes:
    """The item of an index."""
    block = read_block(engine, oid, index)
    try:
        item = item_at(block, index - max(head, index & BLOCK_MASK))
    except ValueError:
        raise damaged(block_row(oid, index)) from None
    return read_long(engine, oid, index) if item is None else item


def write_item(engine: Engine, oid: int, head: int, index: int, item: bytes) -> None:
    """Replace the item of an index."""
    row = block_row(oid, index)
    block = read_block(engine, oid, index)
    try:
        position = index - max(head, index & BLOCK_MASK)
        old = item_at(block, position)
        before, rest = split_block(block, position)
        behind = split_block(rest, 1)[1]
    except ValueError:
        raise damaged(row) from None
    engine.rows.put(row, join_blocks((before, encode_entry(item), behind)))
    if len(item) > INLINE_MAX_BYTES:
        engine.rows.put(long_row(oid, index), item)
    elif old is None:
        engine.rows.delete(long_row(oid, index))


def fill(engine: Engine, oid: int, items: Iterable[bytes]) -> int:
    """Stage the rows of a new list from index 0 on; answers how many items there are."""
    prefix = element_prefix(oid, KIND_LIST_ITEM)
    put = engine.rows.put
    left = iter(items)
    index = 0
    while block := list(islice(left, BLOCK_ITEMS)):
        put(prefix + encode_i64(index), encode_block(block))
        for place, item in enumerate(block, index):
            if len(item) > INLINE_MAX_BYTES:
                put(prefix + encode_i64(place) + LONG, item)
        index += len(block)
    return index


def copy(engine: Engine, oid: int, head: int, tail: int) -> int:
    """Stage a copy of the rows of a list as a new object; answers its id."""
    new_oid = engine.new_oid()
    source = element_prefix(oid, KIND_LIST_ITEM)
    target = element_prefix(new_oid, KIND_LIST_ITEM)
    last = ((tail - 1) & BLOCK_MASK) + BLOCK_ITEMS
    put = engine.rows.put
    for row, raw in engine.rows.scan(source + encode_i64(head & BLOCK_MASK), source + encode_i64(last)):
        put(target + row[ELEMENT_PREFIX_SIZE:], raw)
    return new_oid


# ---- scans


def scan(engine: Engine, oid: int, head: int, start: int, stop: int) -> Iterator[bytes]:
    """The items with start <= index < stop in order, all of them from one scan. Raises CorruptionError."""
    prefix = element_prefix(oid, KIND_LIST_ITEM)
    first = start & BLOCK_MASK
    index = max(first, head)
    waiting: list[bytes | None] = []
    rows = engine.rows.scan(prefix + encode_i64(first), prefix + encode_i64(((stop - 1) & BLOCK_MASK) + BLOCK_ITEMS))
    for row, raw in rows:
        if len(row) == _BLOCK_ROW_SIZE:
            if waiting or row[ELEMENT_PREFIX_SIZE:] != encode_i64(index & BLOCK_MASK):
                raise damaged(row)
            items = _decode(row, raw)
            if not has_long(raw):
                yield from items[max(0, start - index) : max(0, stop - index)]  # type: ignore[misc]
                index += len(items)
                continue
            waiting = items[::-1]
        elif waiting and row[ELEMENT_PREFIX_SIZE:-1] == encode_i64(index):
            waiting[-1] = raw
        else:
            raise damaged(row)
        while waiting and (item := waiting[-1]) is not None:
            if start <= index < stop:
                yield item
            waiting.pop()
            index += 1
    if waiting or index < stop:
        raise damaged(block_row(oid, index))


def scan_back(engine: Engine, oid: int, tail: int, start: int, stop: int) -> Iterator[bytes]:
    """The items with start <= index < stop from the last to the first, all of them from one scan."""
    prefix = element_prefix(oid, KIND_LIST_ITEM)
    last = ((stop - 1) & BLOCK_MASK) + BLOCK_ITEMS
    index = min(last, tail)
    longs: list[tuple[bytes, bytes]] = []
    rows = engine.rows.scan(prefix + encode_i64(start & BLOCK_MASK), prefix + encode_i64(last), True)
    for row, raw in rows:
        if len(row) != _BLOCK_ROW_SIZE:
            longs.append((row, raw))
            continue
        if row[ELEMENT_PREFIX_SIZE:] != encode_i64((index - 1) & BLOCK_MASK):
            raise damaged(row)
        for item in reversed(_decode(row, raw)):
            index -= 1
            if item is None:
                item = _take_long(longs, oid, index)
            if start <= index < stop:
                yield item
        if longs:
            raise damaged(longs[0][0])
    if longs or index > start:
        raise damaged(block_row(oid, index - 1))


def find(
    engine: Engine, oid: int, bounds: tuple[int, int], start: int, stop: int, item: bytes, reverse: bool = False
) -> Iterator[int]:
    """The indexes from `start` to `stop` (exclusive) of items that equal `item`; blocks without it are not decoded.

    `bounds` are head and tail of the list.
    """
    head = bounds[0]
    is_long = len(item) > INLINE_MAX_BYTES
    text = b"" if is_long else entry_text(item)
    first, last = start & BLOCK_MASK, ((stop - 1) & BLOCK_MASK) + BLOCK_ITEMS
    prefix = element_prefix(oid, KIND_LIST_ITEM)
    blocks = 0
    for row, raw in engine.rows.scan(prefix + encode_i64(first), prefix + encode_i64(last), reverse):
        if len(row) == _BLOCK_ROW_SIZE:
            blocks += 1
            if is_long or text not in raw:
                continue
            places = enumerate(_decode(row, raw), max(index_of_row(row), head))
            for index, found in reversed(list(places)) if reverse else places:
                if found == item and start <= index < stop:
                    yield index
        elif is_long and raw == item and start <= (index := index_of_row(row)) < stop:
            yield index
    if blocks != (last - first) // BLOCK_ITEMS:
        raise damaged(block_row(oid, start))


Chunk = tuple[int, int, bytes, dict[int, bytes]]
"""Some items of one block: the first one's index, their number, a block of them, and the long ones by index."""


def chunks(
    engine: Engine, oid: int, bounds: tuple[int, int], start: int, stop: int, reverse: bool = False
) -> Iterator[Chunk]:
    """The items with start <= index < stop block by block, from the last one on when `reverse`."""
    prefix = element_prefix(oid, KIND_LIST_ITEM)
    first, last = start & BLOCK_MASK, ((stop - 1) & BLOCK_MASK) + BLOCK_ITEMS
    expected, step = (last - BLOCK_ITEMS, -BLOCK_ITEMS) if reverse else (first, BLOCK_ITEMS)
    longs: dict[int, bytes] = {}
    block: tuple[bytes, bytes] | None = None
    for row, raw in engine.rows.scan(prefix + encode_i64(first), prefix + encode_i64(last), reverse):
        if len(row) != _BLOCK_ROW_SIZE:
            longs[index_of_row(row)] = raw
            continue
        if row[ELEMENT_PREFIX_SIZE:] != encode_i64(expected):
            raise damaged(row)
        expected += step
        # The long items of a block come behind it, backwards before it.
        if reverse:
            yield _chunk(row, raw, longs, bounds, start, stop)
            longs = {}
        else:
            if block is not None:
                yield _chunk(*block, longs, bounds, start, stop)
                longs = {}
            block = row, raw
    if block is not None:
        yield _chunk(*block, longs, bounds, start, stop)
    if expected != (first - BLOCK_ITEMS if reverse else last):
        raise damaged(block_row(oid, expected))


def _chunk(row: bytes, raw: bytes, longs: dict[int, bytes], bounds: tuple[int, int], start: int, stop: int) -> Chunk:
    block = index_of_row(row)
    low = max(block, bounds[0])
    high = min(block + BLOCK_ITEMS, bounds[1])
    first, last = max(low, start), min(high, stop)
    try:
        if count_of(raw) != high - low:
            raise damaged(row)
        if last < high:
            raw = split_block(raw, last - low)[0]
        if first > low:
            raw = split_block(raw, first - low)[1]
    except ValueError:
        raise damaged(row) from None
    if longs or has_long(raw):
        longs = {index: item for index, item in longs.items() if first <= index < last}
        if longs.keys() != {index for index, item in enumerate(_decode(row, raw), first) if item is None}:
            raise damaged(row)
    return first, last - first, raw, longs


def _take_long(longs: list[tuple[bytes, bytes]], oid: int, index: int) -> bytes:
    row, item = longs.pop(0) if longs else (b"", b"")
    if row[ELEMENT_PREFIX_SIZE:-1] != encode_i64(index):
        raise damaged(long_row(oid, index))
    return item


def _decode(row: bytes, raw: bytes) -> list[bytes | None]:
    try:
        return decode_block(raw)
    except ValueError:
        raise damaged(row) from None


# ---- cutting off ends


def delete_blocks(engine: Engine, oid: int, start: int, stop: int) -> None:
    """Delete all rows of the blocks with start <= first index < stop; both are multiples of 32."""
    prefix = element_prefix(oid, KIND_LIST_ITEM)
    for row, _ in engine.rows.scan(prefix + encode_i64(start), prefix + encode_i64(stop)):
        engine.rows.delete(row)


def cut_block_head(engine: Engine, oid: int, head: int, new_head: int) -> None:
    """Take the items below `new_head` out of its block."""
    first = max(head, new_head & BLOCK_MASK)
    gone, rest = split_at(engine, oid, new_head, new_head - first)
    _delete_longs(engine, oid, first, gone)
    engine.rows.put(block_row(oid, new_head), rest)


def cut_block_tail(engine: Engine, oid: int, head: int, new_tail: int) -> None:
    """Take the items from `new_tail` on out of the block of the item before it."""
    last = new_tail - 1
    first = max(head, last & BLOCK_MASK)
    rest, gone = split_at(engine, oid, last, new_tail - first)
    _delete_longs(engine, oid, new_tail, gone)
    engine.rows.put(block_row(oid, last), rest)


def split_at(engine: Engine, oid: int, index: int, items: int) -> tuple[bytes, bytes]:
    """The first `items` of the block that has an index, and the rest, as blocks. Raises CorruptionError."""
    try:
        return split_block(read_block(engine, oid, index), items)
    except ValueError:
        raise damaged(block_row(oid, index)) from None


def _delete_longs(engine: Engine, oid: int, first: int, block: bytes) -> None:
    """Delete the rows of the long items of this block, of which the first item has the index `first`."""
    if has_long(block):
        for index, item in enumerate(_decode(block_row(oid, first), block), first):
            if item is None:
                engine.rows.delete(long_row(oid, index))


def delete_stale_longs(engine: Engine, oid: int, index: int) -> None:
    """Delete what long items a former life of a block left, before it is used anew."""
    row = block_row(oid, index)
    first = index & BLOCK_MASK
    stop = element_prefix(oid, KIND_LIST_ITEM) + encode_i64(first + BLOCK_ITEMS)
    for stale, _ in engine.rows.scan(row + LONG, stop):
        engine.rows.delete(stale)


def index_of_row(row: bytes) -> int:
    """The index in the key of a block or a long item."""
    return decode_i64(row[ELEMENT_PREFIX_SIZE : ELEMENT_PREFIX_SIZE + 8])
