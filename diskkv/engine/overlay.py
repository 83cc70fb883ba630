"""Newer rows in memory over older ones below: finding them in order, and merging them into a scan."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Any, Final

from sortedcontainers import SortedList

from diskkv.codec.keys import ELEMENT_PREFIX_SIZE, ELEMENT_TAG, HEADER_PREFIX_SIZE, prefix_successor


class _Absent:
    """The type of `ABSENT`."""


ABSENT: Final = _Absent()
"""Not there, where None says: deleted."""

Pairs = list[tuple[bytes, Any]]


class KeyIndex:
    """The keys of a dictionary in order, sorted only when a scan asks, and then only those that are new.

    As long as no key leaves the dictionary; `reset` when one did.
    """

    __slots__ = ("_keys", "_rows", "_seen")

    def __init__(self, rows: dict[bytes, Any]) -> None:
        self._rows = rows
        self._keys: SortedList = SortedList()
        self._seen = 0

    def range(self, start: bytes, stop: bytes, reverse: bool) -> list[bytes]:
        """The keys with start <= key < stop."""
        rows = self._rows
        if len(rows) != self._seen:
            # A dictionary keeps its insertion order and overwriting keeps a key's place: what is new is at the end,
            # and only from there it is found without walking over the rest.
            self._keys.update(islice(reversed(rows), len(rows) - self._seen))
            self._seen = len(rows)
        return list(self._keys.irange(start, stop, (True, False), reverse))

    def reset(self) -> None:
        """Forget everything; needed whenever keys left the dictionary."""
        if self._seen:
            self._keys.clear()
            self._seen = 0


class RowIndex:
    """The rows of a large dictionary in order, where a scan asks: what it does not touch is only sorted into heaps.

    A heap is the rows of one kind of an object, or those of one database, which is what a scan mostly asks for. No row
    may leave the dictionary. May be used by several threads, while one of them adds rows.
    """

    __slots__ = ("_heaps", "_lock", "_rows", "_seen")

    def __init__(self, rows: dict[bytes, Any]) -> None:
        self._rows = rows
        self._heaps: dict[bytes, tuple[SortedList, list[bytes]]] = {}
        """By the beginning of their rows: those that are sorted, and those that are not yet."""
        self._seen = 0
        self._lock = threading.Lock()

    def range(self, start: bytes, stop: bytes, reverse: bool) -> Iterator[bytes]:
        """The rows with start <= row < stop, to be taken before rows are added."""
        name = _heap_of(start)
        with self._lock:
            self._take_new()
            if stop <= _end_of(name):
                names = [name] if name in self._heaps else []
            else:
                names = sorted((found for found in self._heaps if name <= found < stop), reverse=reverse)
            ordered = [self._sorted(name) for name in names]
        return chain.from_iterable(rows.irange(start, stop, (True, False), reverse) for rows in ordered)

    def _take_new(self) -> None:
        rows = self._rows
        new = len(rows) - self._seen
        if not new:
            return
        heaps = self._heaps
        # As in KeyIndex, the new ones are the last ones.
        for row in islice(reversed(rows), new):
            # As `_heap_of`, which a call for every row would make twice as long.
            name = row[:ELEMENT_PREFIX_SIZE] if row[:1] == ELEMENT_TAG else row[:HEADER_PREFIX_SIZE]
            heap = heaps.get(name)
            if heap is None:
                heaps[name] = heap = (SortedList(), [])
            heap[1].append(row)
        self._seen += new

    def _sorted(self, name: bytes) -> SortedList:
        rows, new = self._heaps[name]
        if new:
            rows.update(new)
            new.clear()
        return rows


def _heap_of(row: bytes) -> bytes:
    return row[:ELEMENT_PREFIX_SIZE] if row[:1] == ELEMENT_TAG else row[:HEADER_PREFIX_SIZE]


def _end_of(heap: bytes) -> bytes:
    """Behind all rows of a heap, if a range can be seen to end there."""
    whole_size = ELEMENT_PREFIX_SIZE if heap[:1] == ELEMENT_TAG else HEADER_PREFIX_SIZE
    return prefix_successor(heap) if len(heap) == whole_size and heap.rstrip(b"\xff") else b""


def merge(
    stored: Iterator[tuple[bytes, Any]], newer: Callable[[], Pairs], reverse: bool
) -> Iterator[tuple[bytes, Any]]:
    """`stored` with newer rows laid over it; a value of None hides a row.

    `newer` answers the next of these, in the order of the scan, and an empty list when there are no more.
    """
    overlay = newer()
    position = 0
    for row, value in stored:
        while overlay:
            if position == len(overlay):
                overlay = newer()
                position = 0
                continue
            key, new = overlay[position]
            if (key > row) if not reverse else (key < row):
                break
            position += 1
            if key == row:
                value = new
                break
            if new is not None:
                yield key, new
        if value is not None:
            yield row, value
    while overlay:
        for key, new in overlay[position:]:
            if new is not None:
                yield key, new
        overlay = newer()
        position = 0


def merge_staged(
    stored: Iterator[tuple[bytes, Any]], staged: dict[bytes, Any], keys: list[bytes], reverse: bool
) -> Iterator[tuple[bytes, Any]]:
    """`merge` with what `staged` holds at these keys now: rows staged while the scan runs do not disturb it."""
    pieces = [[(key, staged[key]) for key in keys], []]
    return merge(stored, iter(pieces).__next__, reverse)
