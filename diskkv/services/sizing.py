"""How a budget of memory is shared out: the sizes of caches, buffers and tables that the configuration leaves open.

The budget is `maxmemory`, or else a quarter of the machine's memory (of the control group's, when that is less), but
320 MB at most: nobody should find a server that was started without a thought in the way of others, and the kernel's
page cache serves what is not cached here. What Python itself takes comes off first. Of what is left

- what collects in front of LevelDB takes a quarter, of which a memtable is two thirds: while one fills another is
  moved on. The larger it is, the more often a row is overwritten before LevelDB gets it;
- two write buffers of LevelDB's take a sixteenth: larger ones make fewer and larger tables in level 0, smaller ones
  stay in the processor's cache (LevelDBOptions has figures);
- blocks of tables a tenth, and up to three as cold reads fill them: 30 MB hold what leads to a million long strings,
  which halves the processor's time for a read of one;
- indexes and filters of open tables up to three quarters, as the dataset grows: a table that is not open costs three
  reads more than one that is, for each of its thousands of rows, while its 100 KB hold no more than a hundred values;
- values the rest: the cache gives way as the others grow (services/memory_budget.py).
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from diskkv.config import BY_NAME, Config

MIB = 1 << 20
BASE_BYTES = 48 * MIB
"""The interpreter with the server's modules, before any data."""
_UNSET_SHARE = 4
_UNSET_LEAST_BYTES = 96 * MIB
_UNSET_MOST_BYTES = 320 * MIB
_LEAST_BYTES = 16 * MIB
"""Less than this beside the interpreter is no use: a smaller maxmemory is exceeded."""
LEAST_CACHE_BYTES = MIB
_TABLE_SHARE = 64
"""A table's index and filter take about this part of its size: 1.6 %."""
_OPEN_TABLES = (3, 4)
"""What part of the room open tables may take."""
_MOST_BLOCKS = (3, 10)
_LEAST_BLOCKS = (1, 10)
"""What part of the room blocks of tables may take, and what part the cache leaves them without being asked."""
_MEMTABLE_SHARE = 6
_MOST_MEMTABLE_BYTES = 48 * MIB
"""There may be three for a while, more than the budget has for them."""
_TABLES = 2000
"""LevelDB looks at all tables now and then: with more than so many they get larger."""

_DERIVED = (
    "cache_size",
    "memtable_size",
    "leveldb_write_buffer_size",
    "leveldb_block_cache_size",
    "leveldb_max_file_size",
    "leveldb_max_open_files",
)


def apply(config: Config, dataset_bytes: int) -> None:
    """Set those of the sizes that were not given; `dataset_bytes` is how large the tables are now."""
    sizes = derive(budget_bytes(config), dataset_bytes)
    if not config.maxmemory:
        # Nothing takes back what the cache takes too much, so it gets less.
        cache_bytes = sizes["cache_size"]
        tables_bytes = sizes["leveldb_max_open_files"] * sizes["leveldb_max_file_size"]
        open_bytes = min(tables_bytes, dataset_bytes) // _TABLE_SHARE
        sizes["cache_size"] = max(min(cache_bytes * 2 // 3, cache_bytes - open_bytes), cache_bytes * 5 // 12)
    for attribute in _DERIVED:
        if attribute not in config.given:
            setattr(config, attribute, sizes[attribute])
            config.derived[attribute] = sizes[attribute]


def budget_bytes(config: Config) -> int:
    """The memory that the whole process should stay in."""
    if config.maxmemory:
        return config.maxmemory
    return min(max(available_bytes() // _UNSET_SHARE, _UNSET_LEAST_BYTES), _UNSET_MOST_BYTES)


def room_bytes(budget: int) -> int:
    """What a budget leaves beside the interpreter, with a little kept for what nobody counts."""
    return max(budget - budget // 16 - BASE_BYTES, _LEAST_BYTES)


def derive(budget: int, dataset_bytes: int) -> dict[str, int]:
    """The sizes for a budget, by configuration attribute."""
    room = room_bytes(budget)
    write_buffer = _power_of_two(min(max(room // 32, MIB // 2), 16 * MIB))
    memtable = min(max(room // _MEMTABLE_SHARE, MIB), _MOST_MEMTABLE_BYTES)
    block_cache = min(max(room * _MOST_BLOCKS[0] // _MOST_BLOCKS[1], 2 * MIB), 1024 * MIB)
    file_size = min(max(8 * MIB, 2 * _power_of_two(dataset_bytes // _TABLES)), 64 * MIB)
    block_bytes = room * _LEAST_BLOCKS[0] // _LEAST_BLOCKS[1]
    open_bytes = room * _OPEN_TABLES[0] // _OPEN_TABLES[1]
    parameter = BY_NAME["leveldb-max-open-files"].kind
    low, high = getattr(parameter, "low", 74), getattr(parameter, "high", 50_000)
    return {
        "memtable_size": memtable,
        "leveldb_write_buffer_size": write_buffer,
        "leveldb_block_cache_size": block_cache,
        "leveldb_max_file_size": file_size,
        "leveldb_max_open_files": min(max(open_bytes * _TABLE_SHARE // file_size, low), high),
        "cache_size": max(room - memtable * 3 // 2 - 2 * write_buffer - block_bytes, LEAST_CACHE_BYTES),
    }


def _power_of_two(size: int) -> int:
    """The largest power of two that is not more than `size` (1 for less)."""
    return 1 << max(size, 1).bit_length() - 1


@cache
def available_bytes() -> int:
    """The machine's memory, or the limit of the process' control group when that is less."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([total, *(limit for path in _limit_files() if (limit := _read_limit(path)))])


def _limit_files() -> list[Path]:
    """Where the limits of the process' control group and those above it stand, for both versions."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers in {"", "memory"}:
            root = Path("/sys/fs/cgroup/memory" if controllers else "/sys/fs/cgroup")
            name = "memory.limit_in_bytes" if controllers else "memory.max"
            place = root / path.lstrip("/")
            found += [directory / name for directory in (place, *place.parents) if directory.is_relative_to(root)]
    return found


def _read_limit(path: Path) -> int:
    """The limit that a control group's file gives, 0 for none."""
    try:
        text = path.read_text().strip()
    except OSError:
        return 0
    return int(text) if text.isdigit() else 0
