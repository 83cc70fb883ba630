"""Files of the write-ahead log, which stand beside LevelDB's own as NUMBER.wal; LevelDB leaves such names alone."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from diskkv.codec.log_record import Changes, LogReader, Place, encode_record, file_header, mark_of
from diskkv.engine.checkpoint import sync_path, write_logs
from diskkv.errors import CorruptionError, StorageError

log = logging.getLogger(__name__)

_PIECE_BYTES = 2 << 20
_LOST_SUFFIX = ".lost"


class LogFile:
    """A new file for appending. Raises StorageError wherever the system fails."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = int(path.stem)
        self._mark = mark_of(self.number)
        self._using = threading.Lock()
        """Held while a thread syncs: the file must not be closed under it."""
        self._is_named = False
        """Whether the directory entry is on stable storage."""
        self.synced_bytes = 0
        """So much of the file is on stable storage for certain."""
        self._failure: StorageError | None = None
        header = file_header(self.number)
        self.size_bytes = len(header)
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as exc:
            raise _storage_error(path, exc) from exc
        try:
            _write_all(self._fd, header)
        except OSError as exc:
            self.remove()
            raise _storage_error(path, exc) from exc

    def append(self, rows: Changes, durable: Place, sync: bool) -> None:
        """Write a record: the kernel has it then, with `sync` the disk. A record that fails leaves nothing behind."""
        if self._failure is not None:
            raise self._failure
        try:
            head, body = encode_record(rows, durable, self._mark)
        except ValueError as exc:
            raise StorageError(str(exc)) from exc
        total = len(head) + len(body)
        before = self.size_bytes
        try:
            written = os.writev(self._fd, (head, body))
            if written < total:
                _write_all(self._fd, head[written:])
                _write_all(self._fd, memoryview(body)[max(written - len(head), 0) :])
            self.size_bytes += total
        except OSError as exc:
            self._withdraw(before, exc)
            raise _storage_error(self.path, exc) from exc
        if sync:
            try:
                self.sync()
            except StorageError as exc:
                self._withdraw(before, exc)
                raise

    def _withdraw(self, size_bytes: int, cause: Exception) -> None:
        self.size_bytes = size_bytes
        try:
            os.ftruncate(self._fd, size_bytes)
        except OSError:
            self._failure = _storage_error(self.path, cause)

    def sync(self) -> None:
        """Put what was appended on stable storage; may be called from another thread."""
        with self._using:
            if self._fd < 0:
                return
            size_bytes = self.size_bytes
            try:
                os.fdatasync(self._fd)
                if not self._is_named:
                    sync_path(self.path.parent)
                    self._is_named = True
            except OSError as exc:
                # What a failed sync leaves on the disk is not known: nothing may follow it.
                self._failure = _storage_error(self.path, exc)
                raise self._failure from exc
            self.synced_bytes = max(self.synced_bytes, size_bytes)

    def close(self) -> None:
        """Let go of the file, which stays where it is."""
        with self._using:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def remove(self) -> None:
        """Close and delete it."""
        self.close()
        _unlink(self.path)


def replay(directory: Path, apply: Callable[[Changes], None], sync: Callable[[], None]) -> int:
    """Apply what the logs in a directory hold, and remove them; answers the number of the next one.

    A log may end within a record, or lack its end, after a power failure: what had not reached the disk then. Whatever
    is behind such a place is not applied, so that the state is one that there was; logs behind it are kept under
    another name. If any of them says that the place had been on stable storage it is damaged, which raises
    CorruptionError before anything has been applied.
    """
    paths = write_logs(directory)
    whole = _whole_logs(paths)
    for path in paths[:whole]:
        for rows in _pieces(log_reader(path)):
            apply(rows)
        # One by one: on a full disk the next may need the room.
        sync()
        _unlink(path)
    for path in paths[whole:]:
        _put_aside(path)
    return int(paths[-1].stem) + 1 if paths else 1


def _whole_logs(paths: list[Path]) -> int:
    """How many of the logs are to be applied: all, or those up to the first one that has no end."""
    for at, path in enumerate(paths):
        reader = log_reader(path)
        for _ in reader:
            pass
        # After a power failure a file may be empty that had records.
        if reader.is_log and not reader.left_bytes:
            continue
        end, left_bytes = reader.end, reader.left_bytes
        if max(map(_furthest_durable, paths[at:])) > (int(path.stem), end):
            message = f"{path} is damaged from byte {end} on; see `diskkvctl repair`"
            raise CorruptionError(message)
        log.warning("%s: the last %d bytes were not written completely and are dropped", path, left_bytes)
        for dropped in paths[at + 1 :]:
            log.warning("%s came after them and is not applied either", dropped)
        return at + 1
    return len(paths)


def _furthest_durable(path: Path) -> Place:
    """Up to where the records in a file say that the logs were on stable storage."""
    reader = log_reader(path)
    for _ in salvaged(reader):
        pass
    return reader.durable


def salvaged(reader: LogReader) -> Iterator[dict[bytes, bytes | None]]:
    """All records that can be read, those behind damaged ones too."""
    yield from reader
    while reader.skip():
        yield from reader


def log_reader(path: Path) -> LogReader:
    try:
        return LogReader(path.read_bytes(), int(path.stem))
    except OSError as exc:
        raise _storage_error(path, exc) from exc


def _pieces(reader: LogReader) -> Iterator[dict[bytes, bytes | None]]:
    """The changes in a log, some MiB at a time, each row once."""
    piece: dict[bytes, bytes | None] = {}
    begin = 0
    for rows in reader:
        piece.update(rows)
        if reader.end - begin > _PIECE_BYTES:
            yield piece
            piece = {}
            begin = reader.end
    yield piece


def _write_all(fd: int, data: bytes | memoryview) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _put_aside(path: Path) -> None:
    kept = path.with_name(path.name + _LOST_SUFFIX)
    copies = 1
    # Numbers begin anew after a clean shutdown.
    while kept.exists():
        copies += 1
        kept = path.with_name(f"{path.name}{_LOST_SUFFIX}{copies}")
    try:
        path.rename(kept)
    except OSError as exc:
        raise _storage_error(path, exc) from exc


def _unlink(path: Path) -> None:
    try:
        path.unlink()
    except OSError as exc:
        raise _storage_error(path, exc) from exc


def _storage_error(path: Path, exc: Exception) -> StorageError:
    return StorageError(f"{path}: {exc}")
