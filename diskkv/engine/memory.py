"""An in-memory ordered store: the same behaviour as LevelDB without a disk, for `--dir :memory:` and fast tests."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from sortedcontainers import SortedDict

from diskkv.codec.log_record import Changes
from diskkv.engine.checkpoint import Step, Taken, no_step
from diskkv.engine.overlay import ABSENT
from diskkv.errors import StorageError


class MemoryStore:
    """Ordered map in memory. A scan reads lazily: it must be finished or dropped before the next `write`."""

    persistent = False
    snapshot_scans = False

    def __init__(self, rows: SortedDict | None = None) -> None:
        self._rows: SortedDict = SortedDict() if rows is None else rows
        self.written_bytes = 0

    def get(self, key: bytes) -> bytes | None:
        value: bytes | None = self._rows.get(key)
        return value

    def recent(self, key: bytes) -> object:
        return ABSENT

    def write(self, rows: Changes, sync: bool = False) -> None:
        mine = self._rows
        for key, value in rows.items():
            if value is None:
                mine.pop(key, None)
            else:
                mine[key] = value

    def scan(self, start: bytes, stop: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        rows = self._rows
        for key in rows.irange(start, stop, (True, False), reverse):
            yield key, rows[key]

    def scan_heads(self, start: bytes, stop: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        return self.scan(start, stop, reverse)

    def scan_keys(self, start: bytes, stop: bytes, reverse: bool = False) -> Iterator[bytes]:
        keys: Iterator[bytes] = self._rows.irange(start, stop, (True, False), reverse)
        return keys

    def read_apart(self, start: bytes, stop: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        return list(islice(self.scan(start, stop), limit))

    def snapshot(self) -> MemoryStore:
        """A copy of the map, which shares the rows themselves."""
        return MemoryStore(self._rows.copy())

    def sync(self) -> None:
        """Nothing to do: memory is as stable as it gets."""

    def compact(self, start: bytes, stop: bytes) -> None:
        """Nothing to do: deleted rows are gone already."""

    def flush_log(self) -> None:
        """Nothing to do: there is no log."""

    def checkpoint(self, target: Path, earlier: Path | None = None, step: Step = no_step) -> Taken:
        """Nothing is kept, so nothing can be."""
        message = "a store in memory has no files"
        raise StorageError(message)

    def split_keys(self, start: bytes, stop: bytes, slice_bytes: int) -> list[bytes]:
        return []

    def approximate_size_bytes(self, start: bytes, stop: bytes) -> int:
        return 0

    def level0_files(self) -> int:
        return 0

    def pressure(self) -> float:
        return 0.0

    def property(self, name: str) -> str | None:
        return None

    def reopen(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        self._rows = SortedDict()
