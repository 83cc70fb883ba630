"""Moving the items of a list that has rows by a few places: blocks are cut and joined, hardly ever decoded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from diskkv.codec.list_block import BLOCK_ITEMS, BLOCK_MASK, join_blocks, split_block, split_entries
from diskkv.datatypes import list_rows
from diskkv.datatypes.list_rows import Chunk, block_row, damaged, long_row
from diskkv.engine.engine import Engine

_NEVER = 1 << 64

Bounds = tuple[int, int]
"""Head and tail of a list."""


class _Writer:
    """Writes items, in blocks, over the rows of a list, from the index `target` on up (`step` 1) or down (-1).

    `old` and `new` are the bounds before and after. What the blocks at both ends of the run have besides, inside of
    both, stays.
    """

    def __init__(self, engine: Engine, oid: int, old: Bounds, new: Bounds, target: int, step: int) -> None:
        self._engine = engine
        self._oid = oid
        self._old = old
        self._new = new
        self._step = step
        self._parts: list[bytes] = []
        self._begin = target
        """The index of the first entry that is not written yet."""
        self.target = target
        """The index of the next entry."""

    def add(self, block: bytes, count: int) -> None:
        """Write the `count` items of this block next to the last ones. Raises CorruptionError for less of them."""
        upwards = self._step > 0
        while count:
            place = self.target % BLOCK_ITEMS
            room = BLOCK_ITEMS - place if upwards else place + 1
            taken = min(room, count)
            try:
                low, high = split_block(block, taken if upwards else count - taken)
            except ValueError:
                raise damaged(block_row(self._oid, self.target)) from None
            self._parts.append(low if upwards else high)
            block = high if upwards else low
            self.target += self._step * taken
            count -= taken
            if taken == room:
                self.finish()

    def finish(self) -> None:
        """Write what is left."""
        if not self._parts:
            return
        low, stop = self._begin, self.target
        if self._step < 0:
            self._parts.reverse()
            low, stop = stop + 1, low + 1
        parts = self._parts
        block = low & BLOCK_MASK
        first = max(block, self._old[0])
        if low > max(first, self._new[0]):
            parts = [list_rows.split_at(self._engine, self._oid, low, low - first)[0], *parts]
        if stop < min(block + BLOCK_ITEMS, self._old[1], self._new[1]):
            parts = [*parts, list_rows.split_at(self._engine, self._oid, low, stop - first)[1]]
        self._engine.rows.put(block_row(self._oid, low), join_blocks(parts))
        self._parts.clear()
        self._begin = self.target


def close_gaps(engine: Engine, oid: int, old: Bounds, new: Bounds, gone: Iterable[int], step: int) -> None:
    """Remove the items at the indexes `gone`; those beyond them move over their places.

    With `step` 1 `gone` ascends and what lies behind moves towards the head, with -1 it descends and what lies before
    moves towards the tail. `new` are the bounds without the removed items.
    """
    places = iter(gone)
    place = next(places)
    writer = _Writer(engine, oid, old, new, place, step)
    start, stop = (place, old[1]) if step > 0 else (old[0], place + 1)
    for chunk in list_rows.chunks(engine, oid, old, start, stop, step < 0):
        first, count, entries, longs = chunk
        if first <= place < first + count:
            place = _move_others(engine, oid, writer, chunk, place, places)
            continue
        offset = writer.target - (first if step > 0 else first + count - 1)
        writer.add(entries, count)
        # In the direction of the move: a row that is taken is deleted before another one takes its place.
        for index, item in longs.items():
            engine.rows.delete(long_row(oid, index))
            engine.rows.put(long_row(oid, index + offset), item)
    writer.finish()


def _move_others(engine: Engine, oid: int, writer: _Writer, chunk: Chunk, place: int, places: Iterator[int]) -> int:
    """Move the items of a chunk that are not to go; answers the next index that is."""
    first, count, entries, longs = chunk
    upwards = writer._step > 0
    try:
        parts = split_entries(entries)
    except ValueError:
        raise damaged(block_row(oid, first)) from None
    if len(parts) != count:
        raise damaged(block_row(oid, first))
    numbered = list(enumerate(parts, first))
    for index, entry in numbered if upwards else reversed(numbered):
        long_item = longs.get(index)
        if long_item is not None:
            engine.rows.delete(long_row(oid, index))
        if index == place:
            place = next(places, _NEVER)
            continue
        if long_item is not None:
            engine.rows.put(long_row(oid, writer.target), long_item)
        writer.add(entry, 1)
    return place


def open_gap(engine: Engine, oid: int, old: Bounds, at: int, entry: bytes, to_head: bool) -> int:
    """Put an entry before the index `at`; answers the index that it has then.

    What lies before it moves one place towards the head (`to_head`), or the rest towards the tail.
    """
    head, tail = old
    if to_head:
        writer = _Writer(engine, oid, old, (head - 1, tail), head - 1, 1)
        moved = list_rows.chunks(engine, oid, old, head, at)
        offset = -1
    else:
        writer = _Writer(engine, oid, old, (head, tail + 1), tail, -1)
        moved = list_rows.chunks(engine, oid, old, at, tail, True)
        offset = 1
    for _, count, entries, longs in moved:
        writer.add(entries, count)
        for index, item in longs.items():
            engine.rows.delete(long_row(oid, index))
            engine.rows.put(long_row(oid, index + offset), item)
    index = writer.target
    writer.add(entry, 1)
    writer.finish()
    return index
