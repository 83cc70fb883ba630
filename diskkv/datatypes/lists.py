"""Lists: packed in the header while small, blocks of items in rows once large (list_rows.py).

A list within list-max-listpack-size is packed: `Header.value` is the list of its items, and `Header.ext` (in memory
only) the bytes that a listpack of them would take, None when not counted yet. A longer one has rows, and

    Header.ext = [head, packed_bytes, pending]

The items have the indexes head .. head + count - 1; a new list starts at 0 and grows to both sides. PUSH and POP are
point writes and reads, never scans over deleted rows. `packed_bytes` is what a listpack of the items would take, -1
when it is not known (not kept for lists far too long to become packed again). As in Redis, a list that shrinks to half
the limit is packed again.

Cutting many items off an end (LTRIM, LPOP with a count) leaves their rows to the reclaimer: a garbage row names their
indexes, and `pending` (PENDING_HEAD, PENDING_TAIL) says that there may be one. Rows outside head .. head + count - 1
are never read. A list that grows back over such indexes overwrites the rows and takes them out of the garbage row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from diskkv.codec.header import LIST, Header, Value
from diskkv.codec.keys import (
    ELEMENT_TAG,
    GARBAGE_LIST_HEAD,
    GARBAGE_LIST_TAIL,
    KIND_LIST_ITEM,
    decode_index_range,
    element_prefix,
    encode_index_range,
    garbage_row,
)
from diskkv.codec.list_block import (
    BLOCK_ITEMS,
    BLOCK_MASK,
    BYTES,
    HEADS,
    INLINE_MAX_BYTES,
    LINE_END,
    SIZES,
    encode_block,
    entries_between,
    join_blocks,
    split_first,
    split_last,
)
from diskkv.codec.listpack_size import EMPTY_BYTES, entry_bytes, listpack_bytes
from diskkv.codec.numbers import encode_i64
from diskkv.datatypes import list_rows
from diskkv.datatypes.list_rows import I64_OFFSET, LONG, ROW
from diskkv.engine.database import Database
from diskkv.engine.engine import Engine
from diskkv.errors import WrongTypeError

PENDING_HEAD = 1
PENDING_TAIL = 2

INLINE_ITEMS = 1024
"""More items than this are not deleted by the command that drops them, but by the reclaimer."""
COUNTED_ITEMS = 20_000
"""The bytes of longer lists are not kept: they are far from becoming packed."""

_SIZE_LIMITS_BYTES = (4096, 8192, 16384, 32768, 65536)
_COUNT_LIMIT_BYTES = 8192
"""A list that is limited by its number of items is limited to this size too."""


def require_list(value: Value) -> Header:
    """The value as a list. Raises WrongTypeError when it is none."""
    if value.__class__ is bytes or value.type != LIST:  # type: ignore[union-attr]
        raise WrongTypeError
    return value  # type: ignore[return-value]


def length(header: Header) -> int:
    """The number of items."""
    return header.count if header.value is None else len(header.value)


# ---- limits


def exceeds_limit(limit: int, size_bytes: int, count: int) -> bool:
    """Whether a list of this size is too large to be packed; `limit` is list-max-listpack-size."""
    if limit < 0:
        return size_bytes > _SIZE_LIMITS_BYTES[min(-limit, 5) - 1]
    return size_bytes > _COUNT_LIMIT_BYTES or count > (limit or 1)


def packed_bytes(header: Header) -> int:
    """What a listpack of a packed list takes."""
    size: int | None = header.ext
    return listpack_bytes(header.value) if size is None else size


def _shrinks(limit: int, size_bytes: int, count: int) -> bool:
    """Whether a list of this size that has rows becomes packed again."""
    if limit < 0:
        return size_bytes <= _SIZE_LIMITS_BYTES[min(-limit, 5) - 1] // 2
    return size_bytes <= _COUNT_LIMIT_BYTES and count <= (limit or 1) // 2


def may_shrink(limit: int, count: int) -> bool:
    """Whether a list of so many items could become packed again: an entry takes at least two bytes."""
    return count <= (_SIZE_LIMITS_BYTES[min(-limit, 5) - 1] // 4 if limit < 0 else (limit or 1) // 2)


# ---- making lists


def make(engine: Engine, items: list[bytes], expire_ms: int = 0) -> Header:
    """A new list of at least one item, staging its rows when it is long."""
    size = listpack_bytes(items) if len(items) <= COUNTED_ITEMS else -1
    if size >= 0 and not exceeds_limit(engine.config.list_max_listpack_size, size, len(items)):
        return Header(LIST, items, expire_ms, ext=size)
    return with_rows(engine, items, size, expire_ms)


def with_rows(engine: Engine, items: Iterable[bytes], size_bytes: int, expire_ms: int) -> Header:
    """A new list that has rows, whatever its length; `size_bytes` of a listpack of the items, -1 for not known."""
    oid = engine.new_oid()
    count = list_rows.fill(engine, oid, items)
    return Header(LIST, None, expire_ms, oid, count, (0, size_bytes if count <= COUNTED_ITEMS else -1, 0))


def settled(engine: Engine, header: Header) -> Header:
    """What a list with rows that lost items (or bytes) is to be stored as: packed again when it became small."""
    limit = engine.config.list_max_listpack_size
    count = header.count
    if not may_shrink(limit, count):
        return header
    head, size, pending = header.ext
    if size < 0:
        size = listpack_bytes(items_between(engine, header, 0, count))
        header = Header(LIST, None, header.expire_ms, header.oid, count, (head, size, pending))
    if not _shrinks(limit, size, count):
        return header
    return Header(LIST, read_range(engine, header, 0, count), header.expire_ms, ext=size)


def remade(engine: Engine, items: list[bytes], size_bytes: int, expire_ms: int) -> Header:
    """A list that has rows in a new object: packed when it is small enough to become packed again."""
    if _shrinks(engine.config.list_max_listpack_size, size_bytes, len(items)):
        return Header(LIST, items, expire_ms, ext=size_bytes)
    return with_rows(engine, items, size_bytes, expire_ms)


# ---- pushing


def push(database: Database, key: bytes, old: Value | None, items: list[bytes], at_head: bool) -> int:
    """Add items one after the other at one end (the last one ends up outermost); answers the new length.

    Raises WrongTypeError. Source: https://redis.io/docs/latest/commands/lpush/
    """
    engine = database.engine
    if old is None:
        values: Any = []
        size = EMPTY_BYTES
        expire_ms = 0
    else:
        if old.__class__ is bytes or old.type != LIST:  # type: ignore[union-attr]
            raise WrongTypeError
        values = old.value  # type: ignore[union-attr]
        if values is None:
            if len(items) == 1:
                return _push_one_row(database, key, old, items, at_head)  # type: ignore[arg-type]
            return _push_rows(database, key, old, items, at_head)  # type: ignore[arg-type]
        size = packed_bytes(old)  # type: ignore[arg-type]
        expire_ms = old.expire_ms  # type: ignore[union-attr]
    added = 0
    for item in items:
        added += len(item)
    count = len(values) + len(items)
    # What the new items take is only estimated by their length, as in Redis.
    if exceeds_limit(engine.config.list_max_listpack_size, size + added, count):
        _explode_and_push(database, key, old, items, at_head)  # type: ignore[arg-type]
        return count
    for item in items:
        size += entry_bytes(item)
    packed = [*reversed(items), *values] if at_head else values + items
    database.put(key, Header(LIST, packed, expire_ms, ext=size), old)
    return count


def _explode_and_push(database: Database, key: bytes, old: Header | None, items: list[bytes], at_head: bool) -> None:
    engine = database.engine
    values = [] if old is None else old.value
    combined = [*reversed(items), *values] if at_head else values + items
    size = listpack_bytes(combined) if len(combined) <= COUNTED_ITEMS else -1
    database.put(key, with_rows(engine, combined, size, 0 if old is None else old.expire_ms), old)


def _push_one_row(database: Database, key: bytes, old: Header, items: list[bytes], at_head: bool) -> int:
    """The usual push to a long list: a short item that goes into a block that is there."""
    head, size_bytes, pending = old.ext
    oid = old.oid
    count = old.count
    index = head if at_head else head + count
    item = items[0]
    size = len(item)
    if size > INLINE_MAX_BYTES or not index % BLOCK_ITEMS:
        return _push_rows(database, key, old, items, at_head)
    rows = database.engine.rows
    row = ROW(ELEMENT_TAG, oid, KIND_LIST_ITEM, (index & BLOCK_MASK) + I64_OFFSET)
    block = rows.get(row)
    if not block:
        raise list_rows.damaged(row)
    held = block[0]
    count += 1
    sizes = block[1 : held + 1]
    entries = block[held + 1 :]
    if at_head:
        rows.put(row, b"".join((BYTES[held + 1], SIZES[size], sizes, HEADS[size], item, LINE_END, entries)))
        head -= 1
    else:
        rows.put(row, b"".join((BYTES[held + 1], sizes, SIZES[size], entries, HEADS[size], item, LINE_END)))
    if size_bytes >= 0:
        size_bytes = size_bytes + entry_bytes(item) if count <= COUNTED_ITEMS else -1
    database.adjust(key, old, count, (head, size_bytes, pending))
    return count


def _push_rows(database: Database, key: bytes, old: Header, items: list[bytes], at_head: bool) -> int:
    head, size, pending = old.ext
    count: int = old.count + len(items)
    if at_head:
        pending = _push_head(database.engine, old.oid, head, items, pending)
        head -= len(items)
    else:
        pending = _push_tail(database.engine, old.oid, head + old.count, items, pending)
    if size >= 0:
        size = size + sum(map(entry_bytes, items)) if count <= COUNTED_ITEMS else -1
    database.adjust(key, old, count, (head, size, pending))
    return count


def _push_head(engine: Engine, oid: int, head: int, items: list[bytes], pending: int) -> int:
    """Write items below `head`; answers the new `pending`."""
    rows = engine.rows
    prefix = element_prefix(oid, KIND_LIST_ITEM)
    block = b""
    if head % BLOCK_ITEMS:
        row = prefix + encode_i64(head & BLOCK_MASK)
        block = rows.get(row) or b""
        if not block:
            raise list_rows.damaged(row)
    done = 0
    while done < len(items):
        if pending & PENDING_HEAD and not head % BLOCK_ITEMS:
            pending = _take_back_head(engine, oid, (head - 1) & BLOCK_MASK, pending)
        run = items[done : done + (head % BLOCK_ITEMS or BLOCK_ITEMS)]
        done += len(run)
        for item in run:
            head -= 1
            if len(item) > INLINE_MAX_BYTES:
                rows.put(prefix + encode_i64(head) + LONG, item)
        run.reverse()
        added = encode_block(run)
        rows.put(prefix + encode_i64(head & BLOCK_MASK), join_blocks((added, block)) if block else added)
        block = b""
    return pending


def _push_tail(engine: Engine, oid: int, tail: int, items: list[bytes], pending: int) -> int:
    """Write items from `tail` on; answers the new `pending`."""
    rows = engine.rows
    prefix = element_prefix(oid, KIND_LIST_ITEM)
    row = prefix + encode_i64(tail & BLOCK_MASK)
    block = b""
    if tail % BLOCK_ITEMS:
        block = rows.get(row) or b""
        if not block:
            raise list_rows.damaged(row)
    done = 0
    while done < len(items):
        if pending & PENDING_TAIL and not tail % BLOCK_ITEMS:
            pending = _take_back_tail(engine, oid, tail + BLOCK_ITEMS, pending)
        run = items[done : done + BLOCK_ITEMS - tail % BLOCK_ITEMS]
        done += len(run)
        added = encode_block(run)
        rows.put(prefix + encode_i64(tail & BLOCK_MASK), join_blocks((block, added)) if block else added)
        block = b""
        for index, item in enumerate(run, tail):
            if len(item) > INLINE_MAX_BYTES:
                rows.put(prefix + encode_i64(index) + LONG, item)
        tail += len(run)
    return pending


def take_back(engine: Engine, oid: int, index: int, pending: int, at_head: bool) -> int:
    """A list grows by the item at `index`; a block that it begins is no garbage any more. Answers the new `pending`."""
    if at_head and pending & PENDING_HEAD and not (index + 1) % BLOCK_ITEMS:
        return _take_back_head(engine, oid, index & BLOCK_MASK, pending)
    if not at_head and pending & PENDING_TAIL and not index % BLOCK_ITEMS:
        return _take_back_tail(engine, oid, index + BLOCK_ITEMS, pending)
    return pending


def _take_back_head(engine: Engine, oid: int, head: int, pending: int) -> int:
    """The list has the block that begins at `head` again, so that is no garbage. Answers the new `pending`."""
    row = garbage_row(GARBAGE_LIST_HEAD, oid)
    # peek, not get: only element rows are kept right in the cache.
    raw = engine.rows.peek(row)
    if raw is None:
        return pending & ~PENDING_HEAD
    start, stop = decode_index_range(raw)
    if head < start:
        engine.rows.delete(row)
        return pending & ~PENDING_HEAD
    if head < stop:
        list_rows.delete_stale_longs(engine, oid, head)
        engine.rows.put(row, encode_index_range(start, head))
    return pending


def _take_back_tail(engine: Engine, oid: int, tail: int, pending: int) -> int:
    """The list has the block that ends at `tail` again, so that is no garbage. Answers the new `pending`."""
    row = garbage_row(GARBAGE_LIST_TAIL, oid)
    raw = engine.rows.peek(row)
    if raw is None:
        return pending & ~PENDING_TAIL
    start, stop = decode_index_range(raw)
    if tail > stop:
        engine.rows.delete(row)
        return pending & ~PENDING_TAIL
    if tail > start:
        list_rows.delete_stale_longs(engine, oid, tail - 1)
        engine.rows.put(row, encode_index_range(tail, stop))
    return pending


# ---- popping and cutting


def pop(database: Database, key: bytes, old: Header, at_head: bool) -> bytes:
    """Remove and answer the item at one end; the key goes with the last one."""
    item: bytes
    values = old.value
    if values is not None:
        if at_head:
            item = values[0]
            rest = values[1:]
        else:
            item = values[-1]
            rest = values[:-1]
        if rest:
            database.put(key, Header(LIST, rest, old.expire_ms, ext=packed_bytes(old) - entry_bytes(item)), old)
        else:
            database.delete(key, old)
        return item
    return _pop_row(database, key, old, at_head)


def _pop_row(database: Database, key: bytes, old: Header, at_head: bool) -> bytes:
    engine = database.engine
    rows = engine.rows
    head, size, pending = old.ext
    oid = old.oid
    count = old.count - 1
    index = head if at_head else head + count
    row = ROW(ELEMENT_TAG, oid, KIND_LIST_ITEM, (index & BLOCK_MASK) + I64_OFFSET)
    block = rows.get(row) or b""
    try:
        item, rest = split_first(block) if at_head else split_last(block)
    except ValueError:
        raise list_rows.damaged(row) from None
    if item is None:
        item = list_rows.read_long(engine, oid, index)
        rows.delete(list_rows.long_row(oid, index))
    if not count:
        database.delete(key, old)
        return item
    if rest:
        rows.put(row, rest)
    else:
        rows.delete(row)
    if size >= 0:
        size = size - entry_bytes(item)
    ext = (head + 1 if at_head else head, size, pending)
    if may_shrink(engine.config.list_max_listpack_size, count):
        database.put(key, settled(engine, Header(LIST, None, old.expire_ms, oid, count, ext)), old)
    else:
        database.adjust(key, old, count, ext)
    return item


def pop_many(database: Database, key: bytes, old: Header, count: int, at_head: bool) -> list[bytes]:
    """Remove and answer up to `count` (1 or more) items from one end inwards; the key goes with the last one."""
    total = length(old)
    count = min(count, total)
    if at_head:
        items = read_range(database.engine, old, 0, count)
        cut(database, key, old, count, 0)
    else:
        items = read_range(database.engine, old, total - count, total)
        items.reverse()
        cut(database, key, old, 0, count)
    return items


def cut(database: Database, key: bytes, old: Header, at_head: int, at_tail: int) -> None:
    """Remove so many items at both ends; the key goes with the last item."""
    engine = database.engine
    total = length(old)
    left = total - at_head - at_tail
    if left <= 0:
        database.delete(key, old)
        return
    if old.value is not None:
        rest = old.value[at_head : total - at_tail]
        gone = listpack_bytes(old.value[:at_head]) + listpack_bytes(old.value[total - at_tail :]) - 2 * EMPTY_BYTES
        database.put(key, Header(LIST, rest, old.expire_ms, ext=packed_bytes(old) - gone), old)
    elif left <= INLINE_ITEMS < at_head + at_tail:
        # A short rest of a long list moves to a new object; the old one is reclaimed as a whole.
        items = read_range(engine, old, at_head, at_head + left)
        database.put(key, remade(engine, items, listpack_bytes(items), old.expire_ms), old)
    else:
        database.put(key, settled(engine, _cut_rows(engine, old, at_head, at_tail)), old)


def _cut_rows(engine: Engine, old: Header, at_head: int, at_tail: int) -> Header:
    head, size, pending = old.ext
    tail = head + old.count
    if size >= 0:
        if at_head + at_tail <= INLINE_ITEMS:
            size -= sum(map(entry_bytes, items_between(engine, old, 0, at_head)))
            size -= sum(map(entry_bytes, items_between(engine, old, old.count - at_tail, old.count)))
        else:
            size = -1
    new_head, new_tail = head + at_head, tail - at_tail
    if at_head and new_head % BLOCK_ITEMS:
        list_rows.cut_block_head(engine, old.oid, head, new_head)
    if at_tail and new_tail % BLOCK_ITEMS:
        list_rows.cut_block_tail(engine, old.oid, new_head, new_tail)
    pending |= drop_outside(engine, old.oid, (head, tail), (new_head, new_tail))
    ext = (new_head, size, pending)
    return Header(LIST, None, old.expire_ms, old.oid, new_tail - new_head, ext)


def drop_outside(engine: Engine, oid: int, old: tuple[int, int], new: tuple[int, int]) -> int:
    """Delete the blocks that lie inside (head, tail) `old` and outside of `new`, or leave them to the reclaimer.

    Answers the bits for `pending`.
    """
    pending = 0
    start, stop = old[0] & BLOCK_MASK, new[0] & BLOCK_MASK
    if stop - start > INLINE_ITEMS:
        _leave(engine, garbage_row(GARBAGE_LIST_HEAD, oid), start, stop, True)
        pending = PENDING_HEAD
    elif stop > start:
        list_rows.delete_blocks(engine, oid, start, stop)
    start, stop = _block_end(new[1]), _block_end(old[1])
    if stop - start > INLINE_ITEMS:
        _leave(engine, garbage_row(GARBAGE_LIST_TAIL, oid), start, stop, False)
        pending |= PENDING_TAIL
    elif stop > start:
        list_rows.delete_blocks(engine, oid, start, stop)
    return pending


def _block_end(tail: int) -> int:
    """The first index behind the block of the last item."""
    return ((tail - 1) & BLOCK_MASK) + BLOCK_ITEMS


def _leave(engine: Engine, row: bytes, start: int, stop: int, is_head: bool) -> None:
    """Have the reclaimer delete the rows of these indexes, and those that it was told of before at this end."""
    raw = engine.rows.peek(row)
    if raw is not None:
        left_start, left_stop = decode_index_range(raw)
        start, stop = (min(start, left_start), stop) if is_head else (start, max(stop, left_stop))
    engine.rows.put(row, encode_index_range(start, stop))
    engine.has_garbage = True


# ---- reading


def get_at(engine: Engine, header: Header, index: int) -> bytes | None:
    """The item at an index, negative from the tail; None outside the list."""
    count = length(header)
    if index < 0:
        index += count
    if not 0 <= index < count:
        return None
    if header.value is not None:
        item: bytes = header.value[index]
        return item
    head = header.ext[0]
    return list_rows.read_item(engine, header.oid, head, head + index)


def clamp_range(start: int, stop: int, count: int) -> tuple[int, int]:
    """(start, stop) with stop exclusive and 0 <= start <= stop <= count, of a Redis range (inclusive, negative)."""
    if start < 0:
        start = max(0, start + count)
    if stop < 0:
        stop += count
    stop = min(stop, count - 1) + 1
    return (start, stop) if start < stop else (0, 0)


def read_range(engine: Engine, header: Header, start: int, stop: int) -> list[bytes]:
    """The items with start <= index < stop, both within 0 .. length."""
    if header.value is not None:
        items: list[bytes] = header.value[start:stop]
        return items
    return list(items_between(engine, header, start, stop))


ENTRIES_RANGE_ITEMS = 1024


def read_entries(engine: Engine, header: Header, start: int, stop: int) -> list[bytes] | None:
    """The items with start <= index < stop of a list that has rows, as they are stored: what a client gets for them.

    They come in pieces of several. None when there are more than ENTRIES_RANGE_ITEMS, or some have rows of their own.
    """
    if stop - start > ENTRIES_RANGE_ITEMS:
        return None
    rows = engine.rows
    read = rows.get
    oid = header.oid
    head = header.ext[0]
    tail = head + header.count
    start += head
    stop += head
    parts: list[bytes] = []
    for first in range(start & BLOCK_MASK, stop, BLOCK_ITEMS):
        row = ROW(ELEMENT_TAG, oid, KIND_LIST_ITEM, first + I64_OFFSET)
        block = read(row)
        low = first if first > head else head
        high = first + BLOCK_ITEMS
        if high > tail:
            high = tail
        count = high - low
        sizes = block[1 : count + 1] if block else b""
        if not block or block[0] != count or len(block) != 1 + count + sum(sizes):
            raise list_rows.damaged(row)
        if 0 in sizes:
            return None
        if start <= low and stop >= high:
            parts.append(block[count + 1 :])
        else:
            parts.append(entries_between(block, max(start - low, 0), min(stop, high) - low))
    return parts


def items_between(engine: Engine, header: Header, start: int, stop: int, reverse: bool = False) -> Iterator[bytes]:
    """The items with start <= index < stop, one after the other, without holding more than a few.

    What they are is settled when the first one is taken. Raises CorruptionError when rows are missing.
    """
    if header.value is not None:
        part = header.value[start:stop]
        return iter(part[::-1]) if reverse else iter(part)
    if start >= stop:
        return iter(())
    head = header.ext[0]
    if reverse:
        return list_rows.scan_back(engine, header.oid, head + header.count, head + start, head + stop)
    return list_rows.scan(engine, header.oid, head, head + start, head + stop)
