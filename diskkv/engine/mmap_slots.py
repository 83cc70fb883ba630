"""Keeps LevelDB from mapping its tables into memory.

LevelDB maps the first 1000 tables that a process opens and reads the others with pread. Mapped tables are the worse
choice here: every page that a compaction or a lookup ever touched counts as resident memory of the process, and a page
fault makes the kernel read ahead far more than the 4 KiB block that is wanted.
There is no option for it, so the 1000 slots are taken by the tiny tables of a throw-away database that stays open: a
sixth of a second at the start, some 20 MB of address space, no disk.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import Any

import plyvel

_SLOTS = 1010
"""LevelDB's limit on 64-bit machines (1000), and some that its own files let go again."""

_holder: list[Any] = []


def occupy() -> None:
    """Take all slots, once for the life of the process. Does nothing when no temporary directory can be used."""
    if _holder:
        return
    memory_disk = "/dev/shm"
    try:
        path = tempfile.mkdtemp(prefix="diskkv-", dir=memory_disk if os.access(memory_disk, os.W_OK) else None)
    except OSError:
        return
    try:
        database = plyvel.DB(
            path, create_if_missing=True, max_open_files=2 * _SLOTS, write_buffer_size=65536, lru_cache_size=8192
        )
        for number in range(_SLOTS):
            database.put(b"%08d" % number, b"")
            # Without a stop this only writes the memory table out: one more table, which overlaps no other.
            database.compact_range()
        for number in range(_SLOTS):
            database.get(b"%08d" % number)
        _holder.append(database)
    except plyvel.Error:
        return
    finally:
        shutil.rmtree(path, ignore_errors=True)
