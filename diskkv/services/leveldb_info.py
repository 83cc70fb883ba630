"""The LevelDB section of INFO: levels, what is still to be merged, stalls, pacing, write amplification."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diskkv.services.instance import Instance

_MIB = 1 << 20
_LEVEL0_TABLES = 4
_LEVEL1_MIB = 10
_LEVEL_GROWTH = 10
"""LevelDB merges level 0 from so many tables on, level 1 above 10 MiB, each further one above ten times as much."""

_COUNTS = (
    "memtables",
    "memtables.bytes",
    "values.files",
    "values.bytes",
    "values.dead-bytes",
    "values.collected-bytes",
)


@dataclass(frozen=True, slots=True)
class Level:
    """One level that is not empty; sizes in MiB. The times and amounts are those of merges into it since the start."""

    number: int
    tables: int
    size_mib: int
    seconds: int
    read_mib: int
    written_mib: int

    @property
    def debt_mib(self) -> int:
        """How much of it is to be merged into the next level."""
        if self.number == 0:
            return self.size_mib if self.tables >= _LEVEL0_TABLES else 0
        target_mib: int = _LEVEL1_MIB * _LEVEL_GROWTH ** (self.number - 1)
        return max(0, self.size_mib - target_mib)


def parse_levels(table: str) -> Iterator[Level]:
    """The rows of LevelDB's property leveldb.stats; other lines are skipped."""
    for line in table.splitlines():
        words = line.split()
        if len(words) == 6 and words[0].isdigit():
            yield Level(*map(int, words))


def leveldb(instance: Instance) -> Iterable[tuple[str, object]]:
    """The store: levels with their tables and sizes, and how it keeps up with what is written."""
    store = instance.engine.store
    pacer = instance.pacer
    yield "leveldb_persistent", int(store.persistent)
    table = store.property("leveldb.stats")
    if table is None:
        return
    levels = list(parse_levels(table))
    for level in levels:
        yield (
            f"leveldb_level{level.number}",
            f"files={level.tables},size_mb={level.size_mib},compaction_seconds={level.seconds},"
            f"read_mb={level.read_mib},written_mb={level.written_mib}",
        )
    user_bytes = store.written_bytes
    # Each write goes to the log first, then to LevelDB's log or, long strings, to files of
    # their own.
    applied_bytes = int(store.property("applied-bytes") or 0)
    disk_bytes = user_bytes + applied_bytes + sum(level.written_mib for level in levels) * _MIB
    yield "leveldb_files", sum(level.tables for level in levels)
    yield "leveldb_size_mb", sum(level.size_mib for level in levels)
    yield "leveldb_memory_bytes", int(store.property("leveldb.approximate-memory-usage") or 0)
    yield "leveldb_commits", instance.engine.commits
    yield "leveldb_level0_files", store.level0_files()
    yield "leveldb_compaction_debt_mb", sum(level.debt_mib for level in levels)
    yield "leveldb_user_written_bytes", user_bytes
    yield "leveldb_disk_written_bytes", disk_bytes
    yield "leveldb_write_amplification", f"{disk_bytes / user_bytes:.2f}" if user_bytes else "0.00"
    yield "leveldb_paced", int(pacer.active)
    yield "leveldb_paced_bytes_per_sec", int(pacer.rate)
    yield "leveldb_paced_ms", pacer.active_ms
    yield "leveldb_paced_requests", pacer.held_requests
    yield "leveldb_paced_clients", len(instance.paused) if pacer.holding else 0
    yield "leveldb_stalls", pacer.stalls
    yield "leveldb_stalled_ms", pacer.stalled_ns // 1_000_000
    yield "leveldb_longest_stall_ms", pacer.longest_stall_ns // 1_000_000
    for name in _COUNTS:
        yield name.replace(".", "_").replace("-", "_"), int(store.property(name) or 0)
    yield from _compaction(instance)


def _compaction(instance: Instance) -> Iterator[tuple[str, object]]:
    compactions = instance.compactions
    job = compactions.current
    yield "compaction_in_progress", int(job is not None)
    yield "compaction_reason", "" if job is None else job.reason
    yield "compaction_pieces_left", 0 if job is None else len(job.pieces)
    yield "compaction_queued", compactions.queued
    yield "compactions_completed", compactions.completed
    yield "compactions_failed", compactions.failed
    yield "compaction_written_mb", compactions.written_mib
    yield "compaction_last_ms", compactions.last_duration_ms
