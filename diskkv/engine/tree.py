"""One LevelDB database, and the only home of plyvel (with its repair). Its exceptions become StorageError here."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import plyvel

from diskkv.engine import mmap_slots, tables
from diskkv.engine.checkpoint import Step, no_step, sync_path
from diskkv.errors import ConfigError, CorruptionError, StorageError

_FAILURES = (plyvel.Error, RuntimeError)
"""RuntimeError: the store is closed, as after it could not be opened again, or was closed under an iterator."""


@dataclass(frozen=True, slots=True)
class LevelDBOptions:
    """LevelDB's own knobs; sizes in bytes.

    `write_buffer_size`: the memtable; two of them can be in memory. A larger one means fewer, larger level-0 tables, a
    smaller one stays in the processor's cache (4 MiB: 1.1 us a put, 16 MiB: 1.7, 64 MiB: 2.8). `block_cache_size`:
    decompressed blocks of tables. `max_file_size`: of one table; times `max_open_files` it should cover the dataset, or
    every cold read opens a file first. `bloom_bits` per key answer most misses without touching a table. `mmap`: let
    LevelDB map tables into memory (see mmap_slots.py for why not). `large_string_size`: strings of so many bytes go to
    value files (split_tree.py); 0 for none. `memtable_size`: what collects in front of LevelDB, up to three times; 0
    for six times the write buffer.
    """

    write_buffer_size: int = 4 << 20
    block_cache_size: int = 32 << 20
    block_size: int = 4096
    max_file_size: int = 8 << 20
    max_open_files: int = 1000
    bloom_bits: int = 10
    compression: bool = True
    mmap: bool = False
    large_string_size: int = 512
    memtable_size: int = 0

    @property
    def for_tables(self) -> dict[str, Any]:
        """Those that tell what tables look like, as plyvel has them."""
        return {
            "write_buffer_size": self.write_buffer_size,
            "block_size": self.block_size,
            "max_file_size": self.max_file_size,
            "bloom_filter_bits": self.bloom_bits,
            "compression": "snappy" if self.compression else None,
        }


class Tree:
    """One LevelDB directory. Only one process can have it open. The methods are those of Store, see there."""

    def __init__(
        self, path: str | os.PathLike[str], options: LevelDBOptions | None = None, create: bool = True
    ) -> None:
        self.path = Path(path)
        self.options = options or LevelDBOptions()
        self._create = create
        self._db: Any = None
        self._compacting = threading.Lock()
        """Held while a thread compacts: closing LevelDB under it would crash."""
        self._asking = threading.Lock()
        """Held for the moment of a question that threads ask too, for the same reason."""
        self._open()

    def _open(self) -> None:
        options = self.options
        if not options.mmap:
            mmap_slots.occupy()
        try:
            self._db = plyvel.DB(
                str(self.path),
                create_if_missing=self._create,
                lru_cache_size=options.block_cache_size,
                max_open_files=options.max_open_files,
                **options.for_tables,
            )
        except plyvel.CorruptionError as exc:
            message = f"the data in {self.path} is corrupt ({_text(exc)}); see `diskkvctl repair`"
            raise CorruptionError(message) from exc
        except plyvel.Error as exc:
            if "lock" in _text(exc):
                message = f"{self.path} is in use by another process"
                raise ConfigError(message) from exc
            message = f"cannot open {self.path}: {_text(exc)}"
            raise StorageError(message) from exc
        # LevelDB leaves a new manifest and log unsynced: a power cut before the first sync would leave a directory that
        # it cannot open any more.
        for path in self.path.glob("MANIFEST-*"):
            sync_path(path)
        sync_path(self.path)

    @property
    def database(self) -> Any:
        """The plyvel.DB, another one after `reopen`."""
        return self._db

    def get(self, key: bytes) -> bytes | None:
        try:
            value: bytes | None = self._db.get(key)
        except _FAILURES as exc:
            raise _storage_error(exc) from exc
        return value

    def write(self, rows: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Put rows, or delete them (None), all or none."""
        try:
            batch = self._db.write_batch()
            put = batch.put
            for key, value in rows:
                if value is None:
                    batch.delete(key)
                else:
                    put(key, value)
            batch.write()
        except _FAILURES as exc:
            raise _storage_error(exc) from exc

    def scan(self, start: bytes, stop: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        return _scan(self._db, start, stop, reverse)

    def scan_uncached(self, start: bytes, stop: bytes) -> list[tuple[bytes, bytes]]:
        """All rows of a small range, leaving LevelDB's cache as it is."""
        try:
            return list(self._db.iterator(start=start, stop=stop, fill_cache=False))
        except _FAILURES as exc:
            raise _storage_error(exc) from exc

    def scan_heads(self, start: bytes, stop: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        return self.scan(start, stop, reverse)

    def scan_keys(self, start: bytes, stop: bytes, reverse: bool = False) -> Iterator[bytes]:
        return _scan_keys(self._db, start, stop, reverse)

    def raw_snapshot(self) -> TreeSnapshot:
        """What it holds now."""
        try:
            return TreeSnapshot(self._db.snapshot())
        except _FAILURES as exc:
            raise _storage_error(exc) from exc

    def scan_apart(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        """`scan_heads` for another thread."""
        # Closing LevelDB while a thread is inside an iterator would crash.
        with self._compacting:
            yield from self.scan_heads(start, stop)

    def sync(self) -> None:
        # A synced write would hold LevelDB's writer lock for the whole fsync and stall every turn meanwhile. The
        # records are in the kernel already (LevelDB flushes each to its log file), so syncing the files is enough,
        # and the directory, because a log file may be new. A log that disappears meanwhile became a synced table.
        try:
            for path in self.path.glob("*.log"):
                sync_path(path)
            sync_path(self.path)
        except OSError as exc:
            raise StorageError(str(exc)) from exc

    def compact(self, start: bytes, stop: bytes) -> None:
        with self._compacting:
            try:
                self._db.compact_range(start=start, stop=stop)
            except _FAILURES as exc:
                raise _storage_error(exc) from exc

    def flush(self) -> None:
        # A compaction writes the memtable to a table first. The range is one that no row is in.
        self.compact(b"", b"\x00")

    def verify(self, watch: Step = no_step) -> int:
        """Read every row with LevelDB's checksums; answers how many there are. Raises CorruptionError.

        `watch` is called with the bytes of each row.
        """
        rows = 0
        try:
            for row, value in self._db.iterator(verify_checksums=True, fill_cache=False):
                rows += 1
                watch(len(row) + len(value))
        except _FAILURES as exc:
            raise _storage_error(exc) from exc
        return rows

    def split_keys(self, start: bytes, stop: bytes, slice_bytes: int) -> list[bytes]:
        try:
            with self._asking:
                text: bytes = self._db.get_property(b"leveldb.sstables") or b""
        except _FAILURES as exc:
            raise _storage_error(exc) from exc
        return tables.split_keys(tables.parse_tables(text), start, stop, slice_bytes)

    def approximate_size_bytes(self, start: bytes, stop: bytes) -> int:
        try:
            with self._asking:
                size: int = self._db.approximate_size(start, stop)
        except _FAILURES as exc:
            raise _storage_error(exc) from exc
        return size

    def level0_files(self) -> int:
        try:
            return int(self._db.get_property(b"leveldb.num-files-at-level0") or 0)
        except _FAILURES as exc:
            raise _storage_error(exc) from exc

    def property(self, name: str) -> str | None:
        try:
            with self._asking:
                value: bytes | None = self._db.get_property(name.encode())
        except _FAILURES as exc:
            raise _storage_error(exc) from exc
        return None if value is None else value.decode("ascii", "replace")

    def reopen(self) -> None:
        with self._compacting, self._asking:
            self._db.close()
            self._open()

    def close(self) -> None:
        self._db.close()


class TreeSnapshot:
    """What a LevelDB held at one time."""

    def __init__(self, snapshot: Any) -> None:
        self._snapshot = snapshot

    def get(self, key: bytes) -> bytes | None:
        try:
            value: bytes | None = self._snapshot.get(key)
        except _FAILURES as exc:
            raise _storage_error(exc) from exc
        return value

    def scan(self, start: bytes, stop: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        return _scan(self._snapshot, start, stop, reverse)

    def scan_keys(self, start: bytes, stop: bytes, reverse: bool = False) -> Iterator[bytes]:
        return _scan_keys(self._snapshot, start, stop, reverse)

    def close(self) -> None:
        self._snapshot.close()


def _scan(reader: Any, start: bytes, stop: bytes, reverse: bool) -> Iterator[tuple[bytes, bytes]]:
    """Rows of a database or a snapshot of one."""
    found = False
    try:
        for row in reader.iterator(start=start, stop=stop, reverse=reverse):
            found = True
            yield row
        # A reverse iterator of plyvel's drops the only row of a range when its key is `start` itself.
        if reverse and not found and start < stop:
            value = reader.get(start)
            if value is not None:
                yield start, value
    except _FAILURES as exc:
        raise _storage_error(exc) from exc


def _scan_keys(reader: Any, start: bytes, stop: bytes, reverse: bool) -> Iterator[bytes]:
    if reverse:
        yield from (key for key, _ in _scan(reader, start, stop, True))
        return
    try:
        yield from reader.iterator(start=start, stop=stop, include_value=False)
    except _FAILURES as exc:
        raise _storage_error(exc) from exc


def _storage_error(exc: Exception) -> StorageError:
    return (CorruptionError if isinstance(exc, plyvel.CorruptionError) else StorageError)(_text(exc))


def _text(exc: Exception) -> str:
    """LevelDB's message, which plyvel passes on as bytes."""
    message = exc.args[0] if exc.args else ""
    return message.decode("utf-8", "replace") if isinstance(message, bytes) else str(message)
