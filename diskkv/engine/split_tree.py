"""LevelDB with long strings kept outside of it.

LevelDB rewrites every byte about ten times on its way through the levels: for a string of a kilobyte that is nearly
all of the work of a write, where the key alone would do. So strings from a certain size on go to files (value_files.py)
to which they are written once, and LevelDB has pointers to them (Lu et al., "WiscKey: separating keys from values in
SSD-conscious storage", FAST 2016). A lookup costs one read more, but the pointers of a dataset that is many times
larger than memory fit into it. What range scans read stays in LevelDB: all elements of collections.

How much of each file is dead is counted: whoever overwrites or deletes a header looks up whether it was a pointer. The
counts are rows, written in the same batch. When half of a file is dead, `collect` moves the strings that live to the
newest file, and deletes it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from diskkv.codec.keys import HEADER_TAG, SYSTEM_VALUES, U32, U64, prefix_successor
from diskkv.codec.value_record import (
    HEADER_TAG_BYTE,
    MAGIC,
    POINTER_SIZE,
    POINTER_TAG,
    Pointer,
    decode_pointer,
    encode_pointer,
    head_of,
    record_at,
)
from diskkv.engine.checkpoint import Step, no_step
from diskkv.engine.tree import LevelDBOptions, Tree, TreeSnapshot
from diskkv.engine.value_files import GoneError, ValueFile, ValueFiles, missing
from diskkv.errors import CorruptionError, StorageError

log = logging.getLogger(__name__)

COLLECTED_SHARE = 0.5
"""A file of which so much is dead is given up."""
_SLICE_BYTES = 2 << 20
_SLICE_ROWS = 1000
_SEALED_BYTES = 1 << 20
"""The newest file is not given up while it is smaller than that."""
_LONGEST_ROW = 64 << 10
"""Strings of longer keys stay in LevelDB, so that a slice of a value file has whole records."""
_HEADERS_STOP = prefix_successor(HEADER_TAG)

Row = tuple[bytes, bytes | None]


class SplitTree(Tree):
    """A tree whose strings of `large_string_size` bytes or more are in value files."""

    def __init__(self, path: Path, options: LevelDBOptions, create: bool) -> None:
        super().__init__(path, options, create)
        self._large = options.large_string_size or 1 << 62
        self._open_values()

    def _open_values(self) -> None:
        self.values = ValueFiles(self.path)
        self.collected_bytes = self.applied_bytes = 0
        self._collection: Iterator[None] | None = None
        self._stuck: set[int] = set()
        counted = {
            U32.unpack(row[len(SYSTEM_VALUES) :])[0]: U64.unpack(raw)[0]
            for row, raw in self.scan_uncached(SYSTEM_VALUES, prefix_successor(SYSTEM_VALUES))
        }
        lost = counted.keys() - self.values.files.keys()
        if lost:
            raise missing(min(lost))
        for number, file in list(self.values.files.items()):
            if number in counted:
                file.dead_bytes = counted[number]
            else:
                # Nothing had referred to it yet, or did any more.
                self.values.give_up(file)

    # ---- reading

    def get(self, key: bytes) -> bytes | None:
        raw = Tree.get(self, key)
        if raw is None or raw[:1] != POINTER_TAG or key[0] != HEADER_TAG_BYTE:
            return raw
        while True:
            try:
                return self.values.read(key, _pointer(key, raw))
            except GoneError as exc:
                # Moved, deleted or overwritten since, or else it is lost.
                again = Tree.get(self, key)
                if again == raw:
                    raise missing(_pointer(key, raw).file) from exc
                if again is None or again[:1] != POINTER_TAG:
                    return again
                raw = again

    def scan(self, start: bytes, stop: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        return self._whole(Tree.scan(self, start, stop, reverse), start, stop)

    def scan_heads(self, start: bytes, stop: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        """As `scan`, but strings in value files come without their bytes."""
        rows = Tree.scan(self, start, stop, reverse)
        return _heads(rows) if _has_headers(start, stop) else rows

    def _whole(
        self, rows: Iterator[tuple[bytes, bytes]], start: bytes, stop: bytes
    ) -> Iterator[tuple[bytes, bytes]]:
        """The rows of a scan or a snapshot with the strings that are elsewhere."""
        return self._resolved(rows) if _has_headers(start, stop) else rows

    def _resolved(self, rows: Iterator[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        with self.values.pinned():
            for row, raw in rows:
                if raw[:1] == POINTER_TAG and row[0] == HEADER_TAG_BYTE:
                    pointer = _pointer(row, raw)
                    try:
                        yield row, self.values.read(row, pointer)
                    except GoneError as exc:
                        raise missing(pointer.file) from exc
                else:
                    yield row, raw

    def snapshot(self) -> SplitTreeSnapshot:
        """What it holds now."""
        # Before the snapshot: what it refers to is not given up from here on.
        pin = self.values.pin()
        try:
            return SplitTreeSnapshot(self, self.raw_snapshot(), pin)
        except StorageError:
            self.values.unpin(pin)
            raise

    # ---- writing

    def write(self, rows: Iterable[Row]) -> None:
        rows = list(rows)
        large: list[tuple[bytes, bytes, bytes]] = []
        for key, value in rows:
            if value is not None and len(value) >= self._large and len(key) <= _LONGEST_ROW:
                head = head_of(key, value)
                if head is not None:
                    large.append((key, head, value[len(head) :]))
        counted = self._count_dead(rows) if self.values.files else set()
        self.applied_bytes += sum(len(key) + len(value or b"") for key, value in rows)
        if large:
            pointers = self.values.append(large)
            counted.add(pointers[0].file)
            changed: dict[bytes, bytes | None] = dict(rows)
            for (key, _, _), pointer in zip(large, pointers, strict=True):
                changed[key] = encode_pointer(pointer)
            rows = list(changed.items())
        super().write(rows + self._counts(counted))

    def _count_dead(self, rows: list[Row]) -> set[int]:
        """Count what becomes dead when these rows are written; answers in which files."""
        files = self.values.files
        counted = set()
        for key, _ in rows:
            if key[0] == HEADER_TAG_BYTE:
                old = Tree.get(self, key)
                if old is not None and old[:1] == POINTER_TAG:
                    pointer = _pointer(key, old)
                    file = files.get(pointer.file)
                    if file is not None:
                        file.dead_bytes += pointer.size
                        counted.add(pointer.file)
        return counted

    def _counts(self, numbers: Iterable[int]) -> list[Row]:
        files = self.values.files
        return [(SYSTEM_VALUES + U32.pack(number), U64.pack(files[number].dead_bytes)) for number in numbers]

    def sync(self) -> None:
        self.values.sync()
        super().sync()

    # ---- giving dead strings' space back

    def collect(self, share: float = COLLECTED_SHARE) -> bool:
        """Do some milliseconds' work on the file with the most dead weight; False when there is none to give up.

        Only for the thread that writes. Raises StorageError.
        """
        if self._collection is None:
            file = self._worst(share)
            if file is None:
                return False
            self._collection = self._collect(file)
        try:
            if next(self._collection, self) is self:
                self._collection = None
        except StorageError:
            self._collection = None
            raise
        return True

    @property
    def is_mostly_dead(self) -> bool:
        """Whether value files hold more that is dead than what lives."""
        return self.values.dead_bytes > max(self.values.size_bytes // 2, _SEALED_BYTES)

    def _worst(self, share: float) -> ValueFile | None:
        candidates = [
            file
            for file in self.values.files.values()
            if file.number not in self._stuck
            and (file is not self.values.newest or file.size_bytes > _SEALED_BYTES)
            and file.dead_bytes >= share * max(file.size_bytes, 1)
        ]
        return max(candidates, key=lambda file: file.dead_bytes / max(file.size_bytes, 1), default=None)

    def _collect(self, file: ValueFile) -> Iterator[None]:
        """Move what lives in a file, then give it up."""
        self.values.seal(file)
        end = len(MAGIC)
        try:
            for records in _records(file):
                self._move(file, records)
                end = sum(records[-1][1:])
                yield
            if end != file.size_bytes:
                yield from self._look_for_pointers(file)
        except CorruptionError as exc:
            # It stays as it is, for whoever still can read some of it.
            self._stuck.add(file.number)
            log.error("%s", exc)
            return
        self.collected_bytes += file.size_bytes
        super().write([(SYSTEM_VALUES + U32.pack(file.number), None)])
        self.sync()
        self.values.give_up(file)

    def _look_for_pointers(self, file: ValueFile) -> Iterator[None]:
        """Look for rows that refer to a file, which should have none any more. Raises CorruptionError.

        A file may end within a record, after a crash. It also looks like that when the sizes in a record are damaged,
        and then there may be whole ones behind it.
        """
        for at, (row, raw) in enumerate(Tree.scan(self, HEADER_TAG, _HEADERS_STOP)):
            if raw[:1] == POINTER_TAG and _pointer(row, raw).file == file.number:
                raise missing(file.number)
            if at % _SLICE_ROWS == 0:
                yield

    def _move(self, file: ValueFile, records: list[tuple[bytes, int, int]]) -> None:
        """Move those of some records, given as (row, offset, size), to which the tree refers."""
        living: list[tuple[bytes, bytes, bytes]] = []
        for row, offset, size in records:
            raw = Tree.get(self, row)
            if raw is None or raw[:1] != POINTER_TAG:
                continue
            pointer = _pointer(row, raw)
            if pointer[:3] == (file.number, offset, size):
                try:
                    value = self.values.read(row, pointer)
                except GoneError as exc:
                    raise missing(file.number) from exc
                living.append((row, pointer.head, value[len(pointer.head) :]))
        if not living:
            return
        pointers = self.values.append(living)
        # There is no log that has them, other than for what comes through `write`.
        self.values.sync()
        file.dead_bytes += sum(pointer.size for pointer in pointers)
        moved: list[Row] = [
            (row, encode_pointer(pointer)) for (row, _, _), pointer in zip(living, pointers, strict=True)
        ]
        super().write(moved + self._counts({file.number, pointers[0].file}))

    # ---- the rest

    def verify(self, watch: Step = no_step) -> int:
        rows = super().verify(watch)
        for row, value in self.scan(HEADER_TAG, _HEADERS_STOP):
            watch(len(row) + len(value))
        return rows

    def approximate_size_bytes(self, start: bytes, stop: bytes) -> int:
        size_bytes = super().approximate_size_bytes(start, stop)
        return size_bytes + self.values.size_bytes if start <= HEADER_TAG and stop >= _HEADERS_STOP else size_bytes

    def reopen(self) -> None:
        super().reopen()
        self.values.close()
        self._open_values()

    def close(self) -> None:
        super().close()
        self.values.close()


class SplitTreeSnapshot:
    """What the tree held at one time."""

    def __init__(self, tree: SplitTree, rows: TreeSnapshot, pin: int) -> None:
        self._tree = tree
        self._rows = rows
        self._values = tree.values
        self._pin = pin

    def get(self, key: bytes) -> bytes | None:
        raw = self._rows.get(key)
        if raw is None or raw[:1] != POINTER_TAG or key[0] != HEADER_TAG_BYTE:
            return raw
        pointer = _pointer(key, raw)
        try:
            return self._values.read(key, pointer)
        except GoneError as exc:
            raise missing(pointer.file) from exc

    def scan(self, start: bytes, stop: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        return self._tree._whole(self._rows.scan(start, stop, reverse), start, stop)

    def scan_heads(self, start: bytes, stop: bytes, reverse: bool = False) -> Iterator[tuple[bytes, bytes]]:
        rows = self._rows.scan(start, stop, reverse)
        return _heads(rows) if _has_headers(start, stop) else rows

    def scan_keys(self, start: bytes, stop: bytes, reverse: bool = False) -> Iterator[bytes]:
        return self._rows.scan_keys(start, stop, reverse)

    def close(self) -> None:
        self._rows.close()
        self._values.unpin(self._pin)


def _has_headers(start: bytes, stop: bytes) -> bool:
    return start < _HEADERS_STOP and stop > HEADER_TAG


def _heads(rows: Iterator[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    for row, raw in rows:
        if raw[:1] == POINTER_TAG and row[0] == HEADER_TAG_BYTE:
            yield row, raw[POINTER_SIZE:]
        else:
            yield row, raw


def _pointer(row: bytes, raw: bytes) -> Pointer:
    try:
        return decode_pointer(raw)
    except ValueError as exc:
        message = f"the pointer of row {row.hex()} does not decode: {raw.hex()}"
        raise CorruptionError(message) from exc


def _records(file: ValueFile) -> Iterator[list[tuple[bytes, int, int]]]:
    """All records of a file as (row, offset, size), some MiB at a time. What is cut off at its end is left out."""
    at = len(MAGIC)
    while at < file.size_bytes:
        try:
            data = os.pread(file.fd, _SLICE_BYTES, at)
        except OSError as exc:
            raise StorageError(f"{file.path}: {exc}") from exc
        found = []
        position = 0
        while (next_record := record_at(data, position)) is not None:
            row, size = next_record
            found.append((row, at + position, size))
            position += size
        if not position:
            return
        yield found
        at += position
