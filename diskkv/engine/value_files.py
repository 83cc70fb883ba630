"""The files that hold long strings outside of LevelDB, NUMBER.val beside its own; LevelDB leaves such names alone.

A file is only ever appended to, until it is large enough and another one begins. What is in it is never changed: a
string that is overwritten or deleted is dead weight until the file is given up and the others in it are moved
(split_tree.py). One thread writes, any may read.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from diskkv.codec.value_record import MAGIC, Pointer, decode_record, encode_record
from diskkv.engine.checkpoint import VALUES_SUFFIX, sync_path, value_files
from diskkv.errors import CorruptionError, StorageError

FILE_BYTES = 64 << 20
"""A new file begins when the last one is so large, or, as each takes a file descriptor, when it is larger the more
there is: a 256th of all, up to a GiB."""
_SHARE_SHIFT = 8
_MOST_FILE_BYTES = 1 << 30


class GoneError(Exception):
    """A record is not there, or not readable: the pointer to it may be an old one."""


class ValueFile:
    """One file. `dead_bytes`: what of it nothing refers to any more."""

    __slots__ = ("dead_bytes", "fd", "number", "path", "size_bytes", "unpinned_from")

    def __init__(self, path: Path, create: bool = False) -> None:
        self.path = path
        self.number = int(path.stem)
        self.dead_bytes = 0
        self.unpinned_from = 0
        """Scans with at least this pin cannot refer to the file, once it is given up."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND if create else os.O_RDONLY
        self.fd = -1
        try:
            self.fd = os.open(path, flags | os.O_CLOEXEC, 0o644)
            if create:
                os.write(self.fd, MAGIC)
                sync_path(path.parent)
            self.size_bytes = os.fstat(self.fd).st_size
        except OSError as exc:
            if self.fd >= 0:
                os.close(self.fd)
            raise StorageError(f"{path}: {exc}") from exc


class ValueFiles:
    """All of them. Raises StorageError wherever the system fails."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.files = _open_all(directory)
        self._full_bytes = FILE_BYTES
        self.newest: ValueFile | None = None
        """The one that is appended to; the first append makes it."""
        self.descriptors = {number: file.fd for number, file in self.files.items()}
        self._next = max(self.files, default=0) + 1
        self._is_synced = True
        self._pinning = threading.Lock()
        self._pins: set[int] = set()
        self._next_pin = 0
        self._given_up: list[ValueFile] = []

    @property
    def size_bytes(self) -> int:
        """All files together."""
        return sum(file.size_bytes for file in list(self.files.values()))

    @property
    def dead_bytes(self) -> int:
        """What nothing refers to."""
        return sum(file.dead_bytes for file in list(self.files.values()))

    # ---- reading

    def read(self, row: bytes, pointer: Pointer) -> bytes:
        """The value of a row. Raises GoneError."""
        file = self.files.get(pointer.file)
        if file is None:
            file = next((other for other in self._given_up.copy() if other.number == pointer.file), None)
        if file is None:
            raise GoneError(pointer.file)
        try:
            return pointer.head + decode_record(os.pread(file.fd, pointer.size, pointer.offset), row)
        except (OSError, ValueError) as exc:
            raise GoneError(pointer.file) from exc

    @contextmanager
    def pinned(self) -> Iterator[None]:
        """Whatever the tree refers to when this begins stays readable until it ends."""
        pin = self.pin()
        try:
            yield
        finally:
            self.unpin(pin)

    def pin(self) -> int:
        """The same, until `unpin`."""
        with self._pinning:
            self._next_pin += 1
            self._pins.add(self._next_pin)
            return self._next_pin

    def unpin(self, pin: int) -> None:
        """End what `pin` began."""
        with self._pinning:
            self._pins.discard(pin)
            self._close_given_up()

    # ---- writing

    def append(self, strings: list[tuple[bytes, bytes, bytes]]) -> list[Pointer]:
        """Append strings, given as (row, head, body). They are on stable storage after `sync`."""
        file = self.newest
        if file is None or file.size_bytes >= self._full_bytes:
            self.sync()
            self._full_bytes = max(FILE_BYTES, min(self.size_bytes >> _SHARE_SHIFT, _MOST_FILE_BYTES))
            file = self.newest = ValueFile(self._directory / f"{self._next:06d}{VALUES_SUFFIX}", create=True)
            self.files[self._next] = file
            self.descriptors = {**self.descriptors, self._next: file.fd}
            self._next += 1
        records = [encode_record(row, body) for row, _, body in strings]
        pointers = []
        offset = file.size_bytes
        for (_, head, _), record in zip(strings, records, strict=True):
            pointers.append(Pointer(file.number, offset, len(record), head))
            offset += len(record)
        self._is_synced = False
        data = memoryview(b"".join(records))
        try:
            while data:
                data = data[os.write(file.fd, data) :]
        except OSError as exc:
            # A full disk needs the room. What cannot be taken back stays as dead weight.
            self.newest = None
            with suppress(OSError):
                os.ftruncate(file.fd, file.size_bytes)
            raise StorageError(f"{file.path}: {exc}") from exc
        file.size_bytes = offset
        return pointers

    def seal(self, file: ValueFile) -> None:
        """Append nothing more to this file."""
        if file is self.newest:
            self.sync()
            self.newest = None

    def sync(self) -> None:
        """Put what was appended on stable storage."""
        if self.newest is None or self._is_synced:
            return
        try:
            os.fdatasync(self.newest.fd)
        except OSError as exc:
            self.newest = None
            raise StorageError(f"value file: {exc}") from exc
        self._is_synced = True

    # ---- giving up

    def give_up(self, file: ValueFile) -> None:
        """Delete a file that nothing in the tree refers to; scans that have begun may still read it."""
        try:
            file.path.unlink()
        except OSError as exc:
            raise StorageError(f"{file.path}: {exc}") from exc
        with self._pinning:
            file.unpinned_from = self._next_pin + 1
            self._given_up.append(file)
            del self.files[file.number]
            self.descriptors = {number: other.fd for number, other in self.files.items()}
            self._close_given_up()

    def _close_given_up(self) -> None:
        oldest = min(self._pins, default=self._next_pin + 1)
        for file in self._given_up[:]:
            if oldest >= file.unpinned_from:
                self._given_up.remove(file)
                os.close(file.fd)

    def close(self) -> None:
        """Let go of all files."""
        with self._pinning:
            for file in [*self.files.values(), *self._given_up]:
                os.close(file.fd)
            self.files.clear()
            self._given_up.clear()


def _open_all(directory: Path) -> dict[int, ValueFile]:
    files: dict[int, ValueFile] = {}
    try:
        for path in value_files(directory):
            file = ValueFile(path)
            files[file.number] = file
    except StorageError:
        for file in files.values():
            os.close(file.fd)
        raise
    return files


def missing(file: int) -> CorruptionError:
    """A pointer leads nowhere."""
    return CorruptionError(f"a long string is not readable in value file {file:06d}{VALUES_SUFFIX}")
