"""Bringing a damaged LevelDB directory back into a state that opens, with what can still be read."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import plyvel

from diskkv.codec.keys import HEADER_TAG, SYSTEM_VALUES, U32, U64, prefix_successor
from diskkv.codec.value_record import MAGIC, POINTER_TAG, decode_pointer
from diskkv.engine.checkpoint import VALUES_SUFFIX, copy_file, place, sync_path, write_logs
from diskkv.engine.split_tree import SplitTree
from diskkv.engine.tree import LevelDBOptions, Tree
from diskkv.engine.value_files import GoneError, ValueFiles
from diskkv.engine.write_log import log_reader, salvaged
from diskkv.errors import ConfigError, StorageError

_KEPT_AS_LINKS = (".ldb", ".sst", VALUES_SUFFIX)


def save_files(store: Path, target: Path) -> int:
    """Keep every file of a store as it is now in the new directory `target`; answers how many there are.

    Tables are linked where that is possible: a repair replaces them, and never writes into one. Raises OSError.
    """
    target.mkdir(parents=True)
    files = [path for path in store.iterdir() if path.is_file() and path.name != "LOCK"]
    for path in files:
        (place if path.name.endswith(_KEPT_AS_LINKS) else copy_file)(path, target / path.name)
    sync_path(target)
    return len(files)


def repair_store(store: Path, options: LevelDBOptions | None = None) -> None:
    """Make a new manifest from all tables and logs that can be read; what cannot goes to `lost/` in the store.

    Every readable table counts, also one that a compaction had replaced: rows that were deleted may come back when the
    table with the deletion is lost. Raises StorageError, and ConfigError when a process has the store open.
    """
    options = options or LevelDBOptions()
    with _unused(store):
        try:
            plyvel.repair_db(str(store), **options.for_tables)
        except plyvel.Error as exc:
            message = f"LevelDB cannot repair {store}: {exc}"
            raise StorageError(message) from exc


@contextlib.contextmanager
def _unused(store: Path) -> Iterator[None]:
    """Hold LevelDB's lock, which its repair does not take."""
    fd = os.open(store / "LOCK", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            message = f"{store} is in use by another process"
            raise ConfigError(message) from exc
        yield
    finally:
        os.close(fd)


def mend_values(store: Path) -> list[str]:
    """Make the rows about value files agree with these; answers what was done.

    Headers whose string cannot be read are removed. Raises StorageError.
    """
    tree = Tree(store, LevelDBOptions(), create=False)
    values = ValueFiles(store)
    try:
        living = dict.fromkeys(values.files, 0)
        lost: list[tuple[bytes, None]] = []
        for row, raw in tree.scan(HEADER_TAG, prefix_successor(HEADER_TAG)):
            if raw[:1] == POINTER_TAG:
                try:
                    pointer = decode_pointer(raw)
                    values.read(row, pointer)
                    living[pointer.file] += pointer.size
                except (ValueError, GoneError):
                    lost.append((row, None))
        counted = dict(tree.scan(SYSTEM_VALUES, prefix_successor(SYSTEM_VALUES)))
        right = {
            SYSTEM_VALUES + U32.pack(number): U64.pack(max(file.size_bytes - len(MAGIC) - living[number], 0))
            for number, file in values.files.items()
            if living[number]
        }
        tree.write(lost)
        tree.write([(row, right.get(row)) for row in counted | right])
        tree.sync()
    finally:
        values.close()
        tree.close()
    told = [f"{len(lost)} long strings could not be read: their keys are removed"] if lost else []
    if counted.keys() - right.keys():
        told.append("rows about value files that are not there, or of no use, were removed")
    return told


def salvage_logs(store: Path) -> list[str]:
    """Put what can be read of the logs in front of LevelDB into it; answers what could not.

    Damaged logs go to `lost/` in the store. Raises StorageError.
    """
    told = []
    paths = write_logs(store)
    if not paths:
        return []
    tree = SplitTree(store, LevelDBOptions(), create=False)
    try:
        for path in paths:
            reader = log_reader(path)
            for rows in salvaged(reader):
                tree.write(rows.items())
            tree.sync()
            unread_bytes = reader.skipped_bytes + reader.left_bytes
            if unread_bytes:
                (store / "lost").mkdir(exist_ok=True)
                path.rename(store / "lost" / path.name)
                told.append(f"{unread_bytes} bytes of the log {path.name} could not be read, the rest was applied")
            else:
                path.unlink()
    finally:
        tree.close()
    return told
