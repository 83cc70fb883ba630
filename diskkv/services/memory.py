"""How much memory the process takes, and for what."""

from __future__ import annotations

import ctypes
import gc
import os
import resource
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from diskkv.errors import StorageError
from diskkv.services.client_memory import client_bytes

if TYPE_CHECKING:
    from diskkv.services.instance import Instance

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
"""glibc's numbers for mallopt."""
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class MemoryUsage:
    """Sizes in bytes.

    `dataset_bytes` is what caches data: the cache of values, LevelDB's memtables and blocks. `overhead_bytes` is the
    rest of the resident memory. `startup_bytes` is the resident memory when the server was ready.
    """

    resident_bytes: int
    peak_bytes: int
    startup_bytes: int
    dataset_bytes: int
    clients_bytes: int
    parts: dict[str, int]

    @property
    def overhead_bytes(self) -> int:
        """What is not data."""
        return max(0, self.resident_bytes - self.dataset_bytes)

    @property
    def dataset_percentage(self) -> float:
        """The data's share of what came after the start, 0 to 100."""
        grown = self.resident_bytes - self.startup_bytes
        return min(100.0, 100 * self.dataset_bytes / grown) if grown > 0 else 0.0


def usage(instance: Instance) -> MemoryUsage:
    """What the process takes now."""
    store = instance.engine.store
    resident = resident_bytes()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    try:
        leveldb_bytes = int(store.property("leveldb.approximate-memory-usage") or 0)
        memtables_bytes = int(store.property("memtables.bytes") or 0)
    except StorageError:
        # It is closed: how much memory the process takes can be told all the same.
        leveldb_bytes = memtables_bytes = 0
    cache_bytes = instance.engine.cache.size_bytes
    clients_bytes = sum(map(client_bytes, instance.clients.values()))
    scripts = instance.gauges.get("used_memory_vm_total")
    parts = {
        "startup": instance.startup_memory_bytes,
        "cache": cache_bytes,
        "leveldb_blocks_and_buffers": leveldb_bytes,
        "memtables": memtables_bytes,
        "clients": clients_bytes,
        "scripts": 0 if scripts is None else scripts(),
    }
    # Indexes and filters of open tables, the allocator's gaps, and everything that is small.
    parts["tables_and_rest"] = max(0, resident - sum(parts.values()))
    return MemoryUsage(
        resident_bytes=resident,
        peak_bytes=max(resident, peak),
        startup_bytes=instance.startup_memory_bytes,
        dataset_bytes=cache_bytes + leveldb_bytes + memtables_bytes,
        clients_bytes=clients_bytes,
        parts=parts,
    )


def resident_bytes() -> int:
    """The process' resident memory."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * _PAGE_BYTES


@cache
def total_memory_bytes() -> int:
    """The machine's memory."""
    return os.sysconf("SC_PHYS_PAGES") * _PAGE_BYTES


def human_size(size_bytes: int) -> str:
    """A size as INFO's *_human fields show it: 512B, 1.50K, 2.00M."""
    if size_bytes < 1024:
        return f"{size_bytes}B"
    size = float(size_bytes)
    for unit in "KMGTP":
        size /= 1024
        if size < 1024 or unit == "P":
            break
    return f"{size:.2f}{unit}"


@cache
def _library() -> Any:
    return ctypes.CDLL(None)


def trim() -> None:
    """Have the C library give memory that is free back to the system, where it can; may run in a thread."""
    function = getattr(_library(), "malloc_trim", None)
    if function is not None:
        function(0)


def tame_allocator() -> None:
    """Keep glibc from holding on to more memory than is used.

    By default each thread may get a heap of its own, and the size from which a block is mapped by itself, and so given
    back when it is freed, grows up to 32 MiB.
    """
    function = getattr(_library(), "mallopt", None)
    if function is not None:
        function(_M_ARENA_MAX, 2)
        function(_M_MMAP_THRESHOLD, 256 << 10)
        function(_M_TRIM_THRESHOLD, 1 << 20)


def release_unused() -> None:
    """Give memory that is not in use back to the system, where the C library can do that. Raises OSError."""
    gc.collect()
    trim()
