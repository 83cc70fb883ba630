"""Bringing a damaged LevelDB directory back into a state that opens, with what can still be read."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import plyvel

from diskkv.engine.checkpoint import copy_file, place, sync_path
from diskkv.engine.leveldb import LevelDBOptions
from diskkv.errors import ConfigError, StorageError

_TABLES = (".ldb", ".sst")


def save_files(store: Path, target: Path) -> int:
    """Keep every file of a store as it is now in the new directory `target`; answers how many there are.

    Tables are linked where that is possible: a repair replaces them, and never writes into one. Raises OSError.
    """
    target.mkdir(parents=True)
    files = [path for path in store.iterdir() if path.is_file() and path.name != "LOCK"]
    for path in files:
        (place if path.name.endswith(_TABLES) else copy_file)(path, target / path.name)
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
            plyvel.repair_db(
                str(store),
                write_buffer_size=options.write_buffer_size,
                block_size=options.block_size,
                max_file_size=options.max_file_size,
                bloom_filter_bits=options.bloom_bits,
                compression="snappy" if options.compression else None,
            )
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
