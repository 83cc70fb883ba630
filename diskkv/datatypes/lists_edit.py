"""Changing and finding items inside a list, and the operations that every data type has.

Whatever shifts items moves as few as possible: the part of the list between two places that change which is largest
stays where it is, everything before it moves towards the head, everything behind it towards the tail.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Sequence
from itertools import chain, islice

from diskkv.codec.header import LIST, Header, Value
from diskkv.codec.keys import ELEMENT_TAG, KIND_LIST_ITEM
from diskkv.codec.list_block import (
    BLOCK_ITEMS,
    BLOCK_MASK,
    INLINE_MAX_BYTES,
    count_of,
    encode_entry,
    entries_of,
    has_long,
    item_of,
    split_block,
)
from diskkv.codec.listpack_size import entry_bytes, listpack_bytes
from diskkv.codec.rdb_values import ListValue, RdbValue
from diskkv.datatypes import list_moves, list_rows, lists, operations
from diskkv.datatypes.list_rows import I64_OFFSET, ROW
from diskkv.engine.database import Database
from diskkv.engine.engine import Engine

_ITEM_OVERHEAD_BYTES = 3
"""What an item takes in its block, and its share of the block's key."""


def set_at(database: Database, key: bytes, old: Header, index: int, item: bytes) -> bool:
    """Replace the item at an index (negative from the tail); False outside the list."""
    engine = database.engine
    count = lists.length(old)
    if index < 0:
        index += count
    if not 0 <= index < count:
        return False
    if old.value is not None:
        size = lists.packed_bytes(old)
        values = old.value.copy()
        replaced, values[index] = values[index], item
        # Redis asks whether one more item would fit before it replaces one.
        exceeds = lists.exceeds_limit(engine.config.list_max_listpack_size, size + len(item), count + 1)
        size += entry_bytes(item) - entry_bytes(replaced)
        if exceeds:
            header = lists.remade(engine, values, size, old.expire_ms)
        else:
            header = Header(LIST, values, old.expire_ms, ext=size)
        database.put(key, header, old)
        return True
    head, size, pending = old.ext
    if size < 0:
        list_rows.write_item(engine, old.oid, head, head + index, item)
        database.touch(key)
        return True
    size += entry_bytes(item) - entry_bytes(list_rows.read_item(engine, old.oid, head, head + index))
    list_rows.write_item(engine, old.oid, head, head + index, item)
    header = Header(LIST, None, old.expire_ms, old.oid, count, (head, size, pending))
    database.put(key, lists.settled(engine, header), old)
    return True


def find(engine: Engine, header: Header, item: bytes, start: int, stop: int, reverse: bool = False) -> Iterator[int]:
    """The indexes with start <= index < stop of the items that equal `item`, from the last one on when `reverse`."""
    if header.value is not None:
        places = [start + at for at, found in enumerate(header.value[start:stop]) if found == item]
        return iter(places[::-1]) if reverse else iter(places)
    if start >= stop:
        return iter(())
    head = header.ext[0]
    bounds = (head, head + header.count)
    found = list_rows.find(engine, header.oid, bounds, head + start, head + stop, item, reverse)
    return (index - head for index in found)


def insert(database: Database, key: bytes, old: Header, pivot: bytes, item: bytes, after: bool) -> int:
    """Put `item` before or after the first `pivot`; answers the new length, -1 when there is no pivot."""
    engine = database.engine
    count = lists.length(old)
    at = next(find(engine, old, pivot, 0, count), -1)
    if at < 0:
        return -1
    at += after
    if old.value is not None:
        size = lists.packed_bytes(old)
        exceeds = lists.exceeds_limit(engine.config.list_max_listpack_size, size + len(item), count + 1)
        values = [*old.value[:at], item, *old.value[at:]]
        size += entry_bytes(item)
        if exceeds:
            database.put(key, lists.with_rows(engine, values, size, old.expire_ms), old)
        else:
            database.put(key, Header(LIST, values, old.expire_ms, ext=size), old)
        return count + 1
    if at in (0, count):
        return lists.push(database, key, old, [item], at == 0)
    _open_gap(database, key, old, at, item)
    return count + 1


def _open_gap(database: Database, key: bytes, old: Header, at: int, item: bytes) -> None:
    """Insert inside a list that has rows: the items on the shorter side make room."""
    engine = database.engine
    head, size, pending = old.ext
    tail = head + old.count
    to_head = at <= old.count - at
    pending = lists.take_back(engine, old.oid, head - 1 if to_head else tail, pending, to_head)
    index = list_moves.open_gap(engine, old.oid, (head, tail), head + at, encode_entry(item), to_head)
    if len(item) > INLINE_MAX_BYTES:
        engine.rows.put(list_rows.long_row(old.oid, index), item)
    if size >= 0:
        size = size + entry_bytes(item) if old.count < lists.COUNTED_ITEMS else -1
    ext = (head - 1 if to_head else head, size, pending)
    database.put(key, Header(LIST, None, old.expire_ms, old.oid, old.count + 1, ext), old)


# ---- removing


def remove(database: Database, key: bytes, old: Header, item: bytes, count: int) -> int:
    """Remove up to `count` items equal to `item` from the head on, from the tail on when negative, all when 0.

    Answers how many. Source: https://redis.io/docs/latest/commands/lrem/
    """
    engine = database.engine
    total = lists.length(old)
    places = _matches(engine, old, item, count)
    if not places:
        return 0
    if len(places) == total:
        database.delete(key, old)
    elif old.value is not None:
        gone = set(places)
        values = [value for index, value in enumerate(old.value) if index not in gone]
        size = lists.packed_bytes(old) - len(places) * entry_bytes(item)
        database.put(key, Header(LIST, values, old.expire_ms, ext=size), old)
    else:
        _close_gaps(database, key, old, places, entry_bytes(item))
    return len(places)


def _matches(engine: Engine, header: Header, item: bytes, count: int) -> Sequence[int]:
    """The indexes of the items to remove, ascending."""
    total = lists.length(header)
    places = array("q")
    limit = abs(count) or total
    backwards = count < 0
    places.extend(islice(find(engine, header, item, 0, total, backwards), limit))
    if backwards:
        places.reverse()
    return places


def _close_gaps(database: Database, key: bytes, old: Header, places: Sequence[int], item_bytes: int) -> None:
    """Remove the items at `places` from a list that has rows."""
    engine = database.engine
    head, size, pending = old.ext
    oid, count = old.oid, old.count
    tail = head + count
    split = _largest_part(places, count)
    new_head, new_tail = head + split, tail - (len(places) - split)
    if split and places[split - 1] == split - 1:
        # Nothing to move: all items before the part that stays go away.
        if new_head % BLOCK_ITEMS:
            list_rows.cut_block_head(engine, oid, head, new_head)
    elif split:
        gone = (head + place for place in reversed(places[:split]))
        list_moves.close_gaps(engine, oid, (head, tail), (new_head, tail), gone, -1)
    if split < len(places) and places[split] == count - (len(places) - split):
        if new_tail % BLOCK_ITEMS:
            list_rows.cut_block_tail(engine, oid, new_head, new_tail)
    elif split < len(places):
        gone = (head + place for place in places[split:])
        list_moves.close_gaps(engine, oid, (new_head, tail), (new_head, new_tail), gone, 1)
    if size >= 0:
        size -= len(places) * item_bytes
    pending |= lists.drop_outside(engine, oid, (head, tail), (new_head, new_tail))
    header = Header(LIST, None, old.expire_ms, oid, count - len(places), (new_head, size, pending))
    database.put(key, lists.settled(engine, header), old)


def _largest_part(places: Sequence[int], count: int) -> int:
    """The number of `places` before the longest run of items between two places (or a place and an end)."""
    best = -1
    split = 0
    previous = -1
    for number, place in enumerate(chain(places, (count,))):
        if place - previous > best:
            best = place - previous
            split = number
        previous = place
    return split


# ---- finding


def positions(engine: Engine, header: Header, item: bytes, rank: int, count: int, max_items: int) -> list[int]:
    """The indexes of items equal to `item`, in the order of the search.

    Args:
        rank: 1 for the first match from the head on, 2 for the second ...; negative from the tail on.
        count: How many to find, 0 for all.
        max_items: How many items to look at, 0 for all.
    """
    total = lists.length(header)
    looked_at = min(max_items, total) if max_items else total
    backwards = rank < 0
    skip = abs(rank) - 1
    start, stop = (total - looked_at, total) if backwards else (0, looked_at)
    found = islice(find(engine, header, item, start, stop, backwards), skip, None)
    return list(islice(found, count) if count else found)


def items(engine: Engine, header: Header) -> Iterator[bytes]:
    """All items from head to tail, one at a time."""
    return lists.items_between(engine, header, 0, lists.length(header))


# ---- what every data type can do


def encoding(engine: Engine, value: Value) -> bytes:
    """listpack or quicklist."""
    return b"listpack" if lists.require_list(value).value is not None else b"quicklist"


def export(engine: Engine, value: Value) -> RdbValue:
    """The whole list."""
    header = lists.require_list(value)
    return ListValue(lists.read_range(engine, header, 0, lists.length(header)))


def load(engine: Engine, value: RdbValue, expire_ms: int) -> Value:
    """A new list of what an RDB payload held."""
    assert isinstance(value, ListValue)
    return lists.make(engine, value.elements, expire_ms)


def copy(engine: Engine, value: Value) -> Value:
    """An independent list of the same items."""
    header = lists.require_list(value)
    if header.value is not None:
        return header
    head, size, _ = header.ext
    oid = list_rows.copy(engine, header.oid, head, head + header.count)
    return Header(LIST, None, header.expire_ms, oid, header.count, (head, size, 0))


def memory_bytes(engine: Engine, value: Value, samples: int) -> int:
    """About what the list takes on disk; the size of rows follows from the first `samples` items (0: all)."""
    header = lists.require_list(value)
    if header.value is not None:
        return listpack_bytes(header.value)
    looked_at = min(samples, header.count) if samples else header.count
    size = sum(map(len, lists.items_between(engine, header, 0, looked_at)))
    return size * header.count // looked_at + header.count * _ITEM_OVERHEAD_BYTES


operations.register(LIST, ListValue, sys.modules[__name__])


def pop_entries(database: Database, key: bytes, old: Header, wanted: int, at_head: bool) -> list[bytes] | None:
    """Remove items of a list in rows one after the other at one end; answers each of them as it is sent.

    None when that is not so simple: the list would get short, or some items are long. What was staged until that was
    known has to be undone then.
    """
    engine = database.engine
    rows = engine.rows
    head, size_bytes, pending = old.ext
    oid = old.oid
    count = old.count
    if count <= wanted or lists.may_shrink(engine.config.list_max_listpack_size, count - wanted):
        return None
    popped: list[bytes] = []
    while len(popped) < wanted:
        index = head if at_head else head + count - 1
        row = ROW(ELEMENT_TAG, oid, KIND_LIST_ITEM, (index & BLOCK_MASK) + I64_OFFSET)
        block = rows.get(row) or b""
        try:
            held = count_of(block)
            if has_long(block):
                return None
            some = min(held, wanted - len(popped))
            parts = split_block(block, some if at_head else held - some)
            taken, rest = parts if at_head else parts[::-1]
            entries = entries_of(taken)
        except ValueError:
            raise list_rows.damaged(row) from None
        popped += entries if at_head else entries[::-1]
        count -= some
        if at_head:
            head += some
        if some < held:
            rows.put(row, rest)
        else:
            rows.delete(row)
    if size_bytes >= 0:
        size_bytes -= sum([entry_bytes(item_of(entry)) for entry in popped])
    database.adjust(key, old, count, (head, size_bytes, pending))
    return popped
