"""The store seam: an ordered map of bytes with atomic batches. Nothing above this package knows which one it has.

`LevelDBStore` (leveldb.py) keeps data on disk; `MemoryStore` (memory.py) serves `--dir :memory:` and unit tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from diskkv.codec.log_record import Changes
from diskkv.engine.checkpoint import Step, Taken, no_step
from diskkv.errors import StorageError


class Store(Protocol):
    """An ordered map from bytes to bytes; order is bytewise. Every method may raise StorageError."""

    persistent: bool
    written_bytes: int
    """How much was written since the store was opened first: the size of what `write` got."""
    snapshot_scans: bool
    """Whether a scan goes on to answer what the store held when it began, whatever is written meanwhile."""

    def get(self, key: bytes) -> bytes | None:
        """The value of `key`, or None."""

    def recent(self, key: bytes) -> object:
        """The value of a row that can be told without looking at the disk, None if it was deleted, or else ABSENT."""

    def write(self, rows: Changes, sync: bool = False) -> None:
        """Put these rows, or delete them (None), all or none; with `sync` they are on stable storage afterwards."""

    def scan(self, start: bytes, stop: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """(key, value) pairs with start <= key < stop, in order; to be finished or dropped before the next `write`.

        With `snapshot_scans` it may go on after writes. After `reopen` and `close` it raises StorageError.
        """

    def scan_heads(self, start: bytes, stop: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """As `scan`, but the header record of a long string may come without the string: then it is cheaper."""

    def scan_keys(self, start: bytes, stop: bytes, reverse: bool = False) -> Iterator[bytes]:
        """The keys alone, which is cheaper than `scan`."""

    def read_apart(self, start: bytes, stop: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """The first `limit` rows of `scan_heads`; may be called from another thread."""

    def snapshot(self) -> Store:
        """What the store holds now, for reading only, whatever is written meanwhile; to be closed before the store.

        It keeps the space of what is deleted meanwhile. After `reopen` it raises StorageError. May be used, and closed,
        in another thread.
        """

    def sync(self) -> None:
        """Put everything written so far on stable storage."""

    def compact(self, start: bytes, stop: bytes) -> None:
        """Rewrite the range so that deleted rows give their space back; may be called from another thread."""

    def flush_log(self) -> None:
        """Write what is in the write-ahead log only to a table; may be called from another thread."""

    def checkpoint(self, target: Path, earlier: Path | None = None, step: Step = no_step) -> Taken:
        """Put the store as of one instant after all writes so far into the new directory `target`.

        May be called from another thread, and goes on beside writes. Where links cannot be had, what is not in
        `earlier`, an older checkpoint, is copied. See checkpoint.py.
        """

    def split_keys(self, start: bytes, stop: bytes, slice_bytes: int) -> list[bytes]:
        """Keys inside of start < key < stop, in order, that cut the range into slices of about this size on disk."""

    def approximate_size_bytes(self, start: bytes, stop: bytes) -> int:
        """About how much the range takes on disk; unflushed writes may be missing."""

    def level0_files(self) -> int:
        """How many tables wait to be merged into the sorted levels."""

    def pressure(self) -> float:
        """How far behind the store is with what was written: from 0, in no way, to 1, when a write has to wait."""

    def property(self, name: str) -> str | None:
        """A property of the underlying store (leveldb.stats, values.bytes ...), None when it has none of that name."""

    def reopen(self) -> None:
        """Close and open again; clears a failed state."""

    def close(self) -> None:
        """Release everything. The store cannot be used afterwards."""


class ReadOnlyStore:
    """The part of a snapshot that says no: see Store for what the methods mean."""

    persistent = False
    written_bytes = 0

    def write(self, rows: Changes, sync: bool = False) -> None:
        raise self._refusal()

    def reopen(self) -> None:
        raise self._refusal()

    def checkpoint(self, target: Path, earlier: Path | None = None, step: Step = no_step) -> Taken:
        raise self._refusal()

    def sync(self) -> None:
        """Nothing to do."""

    def compact(self, start: bytes, stop: bytes) -> None:
        """Nothing to do."""

    def flush_log(self) -> None:
        """Nothing to do."""

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

    @staticmethod
    def _refusal() -> StorageError:
        return StorageError("a snapshot takes no writes")
