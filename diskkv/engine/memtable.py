"""What is in one file of the write-ahead log and not in LevelDB yet, as a dictionary; and scans over it."""

from __future__ import annotations

import threading
from itertools import islice

from diskkv.engine.overlay import Pairs, RowIndex
from diskkv.engine.write_log import LogFile
from diskkv.errors import StorageError

CLOSED = "the store is closed"
_CHUNK_ROWS = 256
_ROW_OVERHEAD_BYTES = 200
"""Python's own cost of a row: two object headers and a dictionary slot."""


class Memtable:
    """The rows of `log`; a value of None hides what is below.

    Only the newest one changes. All others may be read by any thread.
    """

    __slots__ = ("__weakref__", "_index", "added", "closed", "log", "rows")

    def __init__(self, log: LogFile, closed: threading.Event) -> None:
        self.log = log
        self.closed = closed
        """Set when the store is closed, or about to be opened anew: scans must not go on."""
        self.rows: dict[bytes, bytes | None] = {}
        self.added = 0
        """How many rows were put, those that were overwritten since included."""
        self._index = RowIndex(self.rows)

    @property
    def size_bytes(self) -> int:
        """About how much memory it takes."""
        rows = len(self.rows)
        return rows * (_ROW_OVERHEAD_BYTES + self.log.size_bytes // max(self.added, 1))

    def scan(self, start: bytes, stop: bytes, reverse: bool) -> MemtableScan | None:
        """The rows of a range; None when there are none."""
        for _ in self._index.range(start, stop, reverse):
            return MemtableScan(self, start, stop, reverse)
        return None

    def keys(self, start: bytes, stop: bytes, reverse: bool) -> list[bytes]:
        """The first keys of a range, at most _CHUNK_ROWS."""
        return list(islice(self._index.range(start, stop, reverse), _CHUNK_ROWS))


class MemtableScan:
    """Called again and again it answers the rows of a range in order, a chunk at a time, at last none."""

    __slots__ = ("_copied", "_is_done", "_reverse", "_start", "_stop", "_table")

    def __init__(self, table: Memtable, start: bytes, stop: bytes, reverse: bool) -> None:
        self._table = table
        self._start = start
        self._stop = stop
        self._reverse = reverse
        self._copied: Pairs = []
        self._is_done = False

    def __call__(self) -> Pairs:
        if self._table.closed.is_set():
            raise StorageError(CLOSED)
        if self._copied:
            chunk = self._copied[:_CHUNK_ROWS]
            del self._copied[:_CHUNK_ROWS]
            return chunk
        return self._next()

    def _next(self) -> Pairs:
        if self._is_done:
            return []
        keys = self._table.keys(self._start, self._stop, self._reverse)
        if len(keys) < _CHUNK_ROWS:
            self._is_done = True
        elif self._reverse:
            self._stop = keys[-1]
        else:
            self._start = keys[-1] + b"\0"
        rows = self._table.rows
        return [(key, rows[key]) for key in keys]

    def copy_rest(self) -> None:
        """Copy all that is left, since the table is about to change."""
        while chunk := self._next():
            self._copied += chunk
