"""Where in the store rows were deleted and how much they took, as far as LevelDB has not given the space back yet.

LevelDB frees deleted rows when it merges the tables that hold them, which for rows that are only deleted may be never.
So deletions are noted here, as points in the order of keys, and `ranges_to_compact` answers those slices of the store
that consist of dead rows for a good part. The notes are an estimate, bounded in number, kept in memory only: after a
restart what was noted before is left to LevelDB and to compactions of everything.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise

from diskkv.codec.keys import HEADER_TAG, prefix_successor
from diskkv.engine.store import Store

SAMPLED = 16
"""Every sixteenth deleted key is noted, for sixteen."""
_MOST_POINTS = 8192
_SLICE_BYTES = 32 << 20
_LEAST_SLICE_BYTES = 4 << 20
"""A slice with fewer dead bytes is not worth the work."""
_URGENT_SLICES = 3

Point = tuple[bytes, int, int]
"""Row key, bytes of dead rows, number of dead headers (whose size is not known)."""


class DeadSpace:
    """Notes of deleted rows. `known_bytes` and `headers` are their sums."""

    def __init__(self) -> None:
        self._bytes: dict[bytes, int] = {}
        self._headers: dict[bytes, int] = {}
        self.known_bytes = 0
        self.headers = 0

    def add_rows(self, row: bytes, size_bytes: int) -> None:
        """Rows from `row` on were deleted that took `size_bytes`."""
        self._bytes[row] = self._bytes.get(row, 0) + size_bytes
        self.known_bytes += size_bytes
        if len(self._bytes) > _MOST_POINTS:
            self._bytes = _thinned(self._bytes)

    def add_headers(self, row: bytes, count: int) -> None:
        """About `count` headers around `row` were deleted."""
        self._headers[row] = self._headers.get(row, 0) + count
        self.headers += count
        if len(self._headers) > _MOST_POINTS:
            self._headers = _thinned(self._headers)

    def points(self) -> list[Point]:
        """A copy of all notes, in the order of rows."""
        rows = sorted(self._bytes.keys() | self._headers.keys())
        return [(row, self._bytes.get(row, 0), self._headers.get(row, 0)) for row in rows]

    def forget(self, points: list[Point]) -> None:
        """What these notes are about has been compacted; notes that were added to them since then stay."""
        for row, size_bytes, headers in points:
            self.known_bytes -= _subtract(self._bytes, row, size_bytes)
            self.headers -= _subtract(self._headers, row, headers)

    def clear(self) -> None:
        """Forget everything: all of the store has been compacted."""
        self._bytes.clear()
        self._headers.clear()
        self.known_bytes = self.headers = 0


def ranges_to_compact(
    store: Store, points: list[Point], live_headers: int, share: float, urgent: bool = False
) -> list[tuple[bytes, bytes, list[Point]]]:
    """Slices of the store of which dead rows make at least `share` (0 to 1), with the notes about each.

    `urgent`: if there are none, the few with the most dead rows, however few these are. May be called from another
    thread.
    """
    header_bytes = average_header_bytes(store, live_headers + sum(point[2] for point in points))
    cuts = [b"", *store.split_keys(b"", b"\xff" * 8, _SLICE_BYTES), b"\xff" * 8]
    rows = [point[0] for point in points]
    found = []
    others = []
    for start, stop in pairwise(cuts):
        inside = points[bisect_left(rows, start) : bisect_left(rows, stop)]
        dead_bytes = sum(size_bytes + headers * header_bytes for _, size_bytes, headers in inside)
        if dead_bytes >= _LEAST_SLICE_BYTES and dead_bytes >= share * store.approximate_size_bytes(start, stop):
            found.append((start, stop, inside))
        elif inside:
            others.append((dead_bytes, (start, stop, inside)))
    if urgent and not found:
        others.sort(key=lambda other: other[0], reverse=True)
        found = [other for _, other in others[:_URGENT_SLICES]]
    return found


def average_header_bytes(store: Store, headers: int) -> float:
    """The mean size on disk of a header with its value, the dead ones among `headers` included."""
    size_bytes = store.approximate_size_bytes(HEADER_TAG, prefix_successor(HEADER_TAG))
    return size_bytes / headers if headers else 0.0


def _thinned(notes: dict[bytes, int]) -> dict[bytes, int]:
    """Half as many notes: each second one is added to the one before it."""
    rows = sorted(notes)
    return {rows[at]: notes[rows[at]] + (notes[rows[at + 1]] if at + 1 < len(rows) else 0)
            for at in range(0, len(rows), 2)}  # fmt: skip


def _subtract(notes: dict[bytes, int], row: bytes, amount: int) -> int:
    """Take up to `amount` away from a note; answers how much that was."""
    before = notes.get(row, 0)
    taken = min(before, amount)
    if taken == before:
        notes.pop(row, None)
    else:
        notes[row] = before - taken
    return taken
