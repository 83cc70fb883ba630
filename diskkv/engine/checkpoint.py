"""Checkpoints: a LevelDB directory as of one instant, taken with hard links while the store is written to.

LevelDB's tables never change once they are written, so a link is as good as a copy. What makes up the store is in three
things that do change: the set of tables, the manifest that names them, and the write-ahead log. They are taken in an
order that makes any interleaving with LevelDB's own thread harmless:

1. The logs are opened and their sizes noted. LevelDB only appends to a log, so these bytes stay what they are.
2. The manifest is read up to its last whole edit. It tells the live tables, and the number of the first log whose
   records are not in tables. A log that vanished before step 1 is in tables that this manifest knows, because LevelDB
   writes the edit first. A table that came after step 1 holds whole logs, and the edit that adds it makes the manifest
   skip these. Either way tables and logs together are the store after some write that was not before step 1.
3. The live tables are linked. When one has gone, a compaction has replaced it meanwhile, and the manifest has the edit:
   it is all done once more, which links only the tables that are new.
4. The logs in front of LevelDB (write_log.py) were opened before all that, and what has come since is opened now.
   They are applied on top, so none may be missing whose rows are in LevelDB in part: when their numbers have a gap, one
   came and went meanwhile, and it is all done once more. They are copied as they are at the end: only whole ones had
   begun to move into LevelDB. So with the files that hold long strings (value_files.py): one that is given up is still
   open here, and they are only ever appended to, so that all but the newest can be linked.

Nothing holds up the server: all this happens in another thread. 10,000 tables (78 GiB) take about 0.2 s, and as long
again to be looked over and described; beside a thread that never rests twice that.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import threading
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diskkv.codec.manifest import ManifestReader
from diskkv.errors import CorruptionError, StorageError

STORE = "leveldb"
"""The directory inside a checkpoint (and a data directory) that has LevelDB's files."""
DESCRIPTION = "checkpoint.json"
WRITE_LOG_SUFFIX = ".wal"
VALUES_SUFFIX = ".val"

_ATTEMPTS = 1000
_STAGING = ".checkpoint-"
_TABLE_SUFFIXES = (".ldb", ".sst")
_COPY_BYTES = 1 << 20
_NO_LINKS = {errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
"""Why a link may fail where a copy works: another file system, or one that has none."""

Step = Callable[[int], None]
"""Called with the bytes of every file that is in place; may raise to give up."""


def no_step(size_bytes: int) -> None:
    """Nobody wants to know."""


@dataclass
class Taken:
    """What a checkpoint holds, and what of it took space of its own."""

    tables: int = 0
    size_bytes: int = 0
    copied_tables: int = 0
    copied_bytes: int = 0


class Checkpointer:
    """Makes checkpoints of the store in `source`; remembers how far it has read the manifest, which may be long."""

    def __init__(self, source: Path) -> None:
        self._source = source
        self._manifest = ""
        self._reader = ManifestReader()
        self._lock = threading.Lock()

    def make(self, target: Path, step: Step = no_step) -> Taken:
        """Put a checkpoint into the new directory `target`, on stable storage. Raises OSError and CorruptionError."""
        with self._lock:
            target.mkdir()
            taken = Taken()
            for _ in range(_ATTEMPTS):
                with (
                    OpenFiles(self._source, VALUES_SUFFIX) as values,
                    OpenFiles(self._source, WRITE_LOG_SUFFIX) as write_logs,
                    Logs(self._source) as logs,
                    contextlib.suppress(FileNotFoundError),
                ):
                    self._read_manifest()
                    # What it refers to might be given up while tables are taken.
                    values.open_new()
                    self._take_tables(target, taken, step)
                    if not write_logs.has_all() or not values.open_new():
                        continue
                    self._copy_manifest(target)
                    logs.copy(target, self._reader.log_number)
                    write_logs.take(target, taken, False)
                    values.take(target, taken, True)
                    break
            else:
                message = "LevelDB replaces its tables faster than they can be taken"
                raise StorageError(message)
        _remove_strays(target, set(self._reader.tables))
        _finish(target)
        taken.tables = len(self._reader.tables)
        found = contents(target)
        taken.size_bytes = found.size_bytes
        return taken

    def make_elsewhere(self, target: Path, earlier: Path | None, step: Step = no_step) -> Taken:
        """As `make`, where `target` may be on another file system: tables that `earlier` lacks are copied there.

        Links beside the source keep the tables of that instant while they are copied.
        """
        if is_same_file_system(self._source, target.parent):
            return self.make(target, step)
        for path in self._source.parent.glob(f"{_STAGING}*"):
            shutil.rmtree(path)
        staging = self._source.parent / f"{_STAGING}{os.getpid()}"
        try:
            self.make(staging)
            return copy_store(staging, target, earlier, step=step)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _read_manifest(self) -> None:
        current = _current(self._source)
        if current != self._manifest:
            self._manifest, self._reader = current, ManifestReader()
        with open(self._source / current, "rb") as file:
            file.seek(self._reader.end)
            self._reader.feed(file.read())

    def _take_tables(self, target: Path, taken: Taken, step: Step) -> None:
        there = set(os.listdir(target))
        # There may be many thousands: text is several times faster than Path.
        source, copy = f"{self._source}{os.sep}", f"{target}{os.sep}"
        for number, size_bytes in self._reader.tables.items():
            name = f"{number:06d}.ldb"
            if name in there or f"{number:06d}.sst" in there:
                continue
            try:
                copied = place(source + name, copy + name)
            except FileNotFoundError:
                name = f"{number:06d}.sst"
                copied = place(source + name, copy + name)
            if copied:
                taken.copied_tables += 1
                taken.copied_bytes += size_bytes
            step(size_bytes)

    def _copy_manifest(self, target: Path) -> None:
        # The server may have opened the store anew since the manifest was read, which removes it.
        with open(self._source / self._manifest, "rb") as source, open(target / self._manifest, "xb") as copy:
            _copy_bytes(source.fileno(), copy.fileno(), self._reader.end)
        (target / "CURRENT").write_text(f"{self._manifest}\n")


def log_files(store: Path) -> list[Path]:
    """The write-ahead logs, whose names are numbers."""
    return [path for path in store.glob("*.log") if path.stem.isdecimal()]


class Logs:
    """The write-ahead logs as they are now: open files and the bytes in them."""

    def __init__(self, source: Path) -> None:
        self._files: dict[int, tuple[int, int]] = {}
        for path in log_files(source):
            try:
                fd = os.open(path, os.O_RDONLY)
            except FileNotFoundError:
                continue
            self._files[int(path.stem)] = fd, os.fstat(fd).st_size

    def __enter__(self) -> Logs:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for fd, _ in self._files.values():
            os.close(fd)

    def copy(self, target: Path, first: int) -> None:
        """Copy those from number `first` on; when there are none, an empty one tells that none was lost."""
        wanted = {number: found for number, found in self._files.items() if number >= first}
        for number, (fd, size_bytes) in wanted.items():
            with open(target / f"{number:06d}.log", "xb") as copy:
                _copy_bytes(fd, copy.fileno(), size_bytes)
        if not wanted:
            (target / f"{first:06d}.log").touch()


def value_files(store: Path) -> list[Path]:
    """The files with long strings (value_files.py), oldest first."""
    return _numbered(store, VALUES_SUFFIX)


def _numbered(store: Path, suffix: str) -> list[Path]:
    found = [path for path in store.glob(f"*{suffix}") if path.stem.isdecimal()]
    return sorted(found, key=lambda path: int(path.stem))


def write_logs(store: Path) -> list[Path]:
    """The logs in front of LevelDB (write_log.py), oldest first."""
    return _numbered(store, WRITE_LOG_SUFFIX)


class OpenFiles:
    """Files of one kind that come with rising numbers and go, held open so that none gets lost."""

    def __init__(self, source: Path, suffix: str) -> None:
        self._source = source
        self._suffix = suffix
        self._files: dict[int, int] = {}
        self.open_new()
        self._began_empty = not self._files

    def __enter__(self) -> OpenFiles:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for fd in self._files.values():
            os.close(fd)

    def open_new(self) -> bool:
        """Open what has come; whether none of that vanished meanwhile."""
        for path in _numbered(self._source, self._suffix):
            number = int(path.stem)
            if number not in self._files:
                try:
                    self._files[number] = os.open(path, os.O_RDONLY)
                except FileNotFoundError:
                    return False
        return True

    def has_all(self) -> bool:
        """Whether these are all that there were since the beginning; looks for new ones."""
        if not self.open_new():
            return False
        numbers = sorted(self._files)
        return not numbers or (not self._began_empty and numbers == list(range(numbers[0], numbers[-1] + 1)))

    def take(self, target: Path, taken: Taken, link: bool) -> None:
        """Put them into a directory as they are now; with `link` all but the newest, which may grow, are links."""
        newest = max(self._files, default=0)
        for number, fd in self._files.items():
            name = f"{number:06d}{self._suffix}"
            size_bytes = os.fstat(fd).st_size
            if link and number != newest:
                with contextlib.suppress(FileNotFoundError):
                    if place(self._source / name, target / name):
                        taken.copied_bytes += size_bytes
                    continue
            with open(target / name, "xb") as copy:
                _copy_bytes(fd, copy.fileno(), size_bytes)
            taken.copied_bytes += size_bytes


def _current(store: Path) -> str:
    """The name of the manifest. Raises OSError and CorruptionError."""
    name = (store / "CURRENT").read_bytes().strip().decode("ascii", "replace")
    if not re.fullmatch(r"MANIFEST-[0-9]+", name):
        message = f"CURRENT of {store} names no manifest: {name[:64]!r}"
        raise CorruptionError(message)
    return name


@dataclass(frozen=True)
class Contents:
    """A store that nobody has open: its tables and value files (path -> size), and the other files that it needs."""

    tables: dict[Path, int]
    others: list[Path]

    @property
    def size_bytes(self) -> int:
        """All of it."""
        return sum(self.tables.values()) + sum(path.stat().st_size for path in self.others)


def contents(store: Path) -> Contents:
    """What the store in a directory consists of, every file there and of the right size.

    Raises CorruptionError that says what is missing. The content of tables is not looked at.
    """
    try:
        manifest = store / _current(store)
        raw = manifest.read_bytes()
    except OSError as exc:
        message = f"{store} holds no whole store: {exc}"
        raise CorruptionError(message) from exc
    reader = ManifestReader()
    reader.feed(raw)
    with os.scandir(store) as entries:
        sizes = {entry.name: entry.stat().st_size for entry in entries if entry.name.endswith(_TABLE_SUFFIXES)}
    tables: dict[Path, int] = {}
    for number, expected_bytes in reader.tables.items():
        name = f"{number:06d}.ldb" if f"{number:06d}.ldb" in sizes else f"{number:06d}.sst"
        size_bytes = sizes.get(name)
        if size_bytes != expected_bytes:
            what = "is missing" if size_bytes is None else f"has {size_bytes} bytes instead of {expected_bytes}"
            message = f"table {number:06d} of {store} {what}"
            raise CorruptionError(message)
        tables[store / name] = expected_bytes
    logs = sorted(path for path in log_files(store) if int(path.stem) >= reader.log_number)
    if not logs:
        message = f"{store} has no write-ahead log from number {reader.log_number} on"
        raise CorruptionError(message)
    tables.update((path, path.stat().st_size) for path in value_files(store))
    return Contents(tables, [*logs, *write_logs(store), manifest, store / "CURRENT"])


def copy_store(source: Path, target: Path, earlier: Path | None, link: bool = True, step: Step = no_step) -> Taken:
    """Copy a store that nobody has open into the new directory `target`, on stable storage.

    Tables that `earlier`, the store of another checkpoint, has already are linked from there; with `link` those of
    `source` are linked too where the file system allows it. A table is the same when its name, its size and the
    nanosecond of its last change are: LevelDB never reuses a number, but a store that went back to an older state
    may. Raises OSError and CorruptionError.
    """
    found = contents(source)
    target.mkdir()
    taken = Taken(len(found.tables), found.size_bytes)
    for path, size_bytes in found.tables.items():
        known = earlier / path.name if earlier is not None else path
        if known is not path and _is_same(path, known):
            copied = place(known, target / path.name)
        elif link:
            copied = place(path, target / path.name)
        else:
            copy_file(path, target / path.name)
            copied = True
        if copied:
            taken.copied_tables += 1
            taken.copied_bytes += size_bytes
        step(size_bytes)
    for path in found.others:
        copy_file(path, target / path.name)
    _finish(target)
    return taken


def _is_same(table: Path, known: Path) -> bool:
    try:
        mine, other = table.stat(), known.stat()
    except FileNotFoundError:
        return False
    return (mine.st_size, mine.st_mtime_ns) == (other.st_size, other.st_mtime_ns)


def is_same_file_system(first: Path, second: Path) -> bool:
    """Whether links between two directories are to be expected."""
    return first.stat().st_dev == second.stat().st_dev


def place(source: Path | str, target: Path | str) -> bool:
    """Link a file, or copy it where that cannot be; whether it was copied. Raises OSError."""
    try:
        os.link(source, target)
    except OSError as exc:
        if exc.errno not in _NO_LINKS:
            raise
        copy_file(Path(source), Path(target))
        return True
    return False


def copy_file(source: Path, target: Path) -> None:
    """Copy a file with its times, on stable storage; `target` must not exist. Raises OSError."""
    with open(source, "rb") as original, open(target, "xb") as copy:
        status = os.fstat(original.fileno())
        _copy_bytes(original.fileno(), copy.fileno(), status.st_size)
        os.fsync(copy.fileno())
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def _copy_bytes(source: int, target: int, size_bytes: int) -> None:
    """Copy the first bytes of a file. Raises OSError; EIO when there are fewer."""
    at = 0
    while at < size_bytes:
        piece = os.pread(source, min(_COPY_BYTES, size_bytes - at), at)
        if not piece:
            raise OSError(errno.EIO, "a file became shorter while it was copied")
        at += os.write(target, piece)


def _remove_strays(target: Path, tables: set[int]) -> None:
    """Remove tables that were taken before they were found to be replaced."""
    for name in os.listdir(target):
        if name.endswith(_TABLE_SUFFIXES) and int(name.partition(".")[0]) not in tables:
            os.unlink(target / name)


def _finish(store: Path) -> None:
    """Bring the changing files and the directory itself to stable storage; LevelDB has done so with tables."""
    for name in os.listdir(store):
        if not name.endswith(_TABLE_SUFFIXES):
            sync_path(store / name)
    sync_path(store)


def sync_path(path: Path) -> None:
    """fsync a file or a directory; one that has vanished needs none."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


# ---- the description beside the store


def describe(checkpoint: Path, facts: dict[str, Any]) -> None:
    """Look whether a new checkpoint is whole, and write what is known of it, with sums of what are not tables.

    Raises CorruptionError and OSError.
    """
    sums = _sums(checkpoint / STORE, contents(checkpoint / STORE).others)
    text = json.dumps({**facts, "files": sums}, indent=1)
    path = checkpoint / DESCRIPTION
    path.write_text(text + "\n")
    sync_path(path)
    sync_path(checkpoint)


def description(checkpoint: Path) -> dict[str, Any]:
    """What `describe` wrote; empty when there is none. Raises CorruptionError when it cannot be read."""
    try:
        found = json.loads((checkpoint / DESCRIPTION).read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as exc:
        message = f"{checkpoint / DESCRIPTION} cannot be read: {exc}"
        raise CorruptionError(message) from exc
    return found if isinstance(found, dict) else {}


def verify(checkpoint: Path) -> Contents:
    """What a checkpoint consists of; every file is there, and those beside the tables are what they were.

    Raises CorruptionError. A checkpoint that was opened since (by `diskkvctl check`, say) has other files than were
    described; these have to agree with each other only.
    """
    found = contents(checkpoint / STORE)
    files = description(checkpoint).get("files", {})
    if found.others[-2].name in files:
        sums = _sums(checkpoint / STORE, [path for path in found.others if path.name in files])
        for name, expected in files.items():
            if sums.get(name) != expected:
                message = f"{name} of {checkpoint} is not what it was when the backup was made"
                raise CorruptionError(message)
    return found


def _sums(store: Path, paths: Iterable[Path]) -> dict[str, str]:
    sums = {}
    for path in paths:
        crc = 0
        with open(store / path.name, "rb") as file:
            while piece := file.read(_COPY_BYTES):
                crc = zlib.crc32(piece, crc)
        sums[path.name] = f"{path.stat().st_size} bytes, crc32 {crc:08x}"
    return sums


def remove_tree(path: Path) -> None:
    """Remove a checkpoint or what is left of one. Raises OSError."""
    shutil.rmtree(path)
