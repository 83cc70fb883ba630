"""Newer rows in memory over older ones below: finding them in order, and merging them into a scan."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final

from sortedcontainers import SortedList


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

    def ordered(self) -> SortedList:
        """All keys."""
        rows = self._rows
        if len(rows) != self._seen:
            # A dictionary keeps its insertion order and overwriting keeps a key's place: what is new is at the end,
            # and only from there it is found without walking over the rest.
            self._keys.update(islice(reversed(rows), len(rows) - self._seen))
            self._seen = len(rows)
        return self._keys

    def range(self, start: bytes, stop: bytes, reverse: bool) -> list[bytes]:
        """The keys with start <= key < stop."""
        return list(self.ordered().irange(start, stop, (True, False), reverse))

    def reset(self) -> None:
        """Forget everything; needed whenever keys left the dictionary."""
        if self._seen:
            self._keys.clear()
            self._seen = 0


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
