"""The metrics that Prometheus scrapes, in small pieces, so that nobody waits for long while they are written.

Names begin with ``diskkv_``, sizes are bytes, times are seconds. Counters start again with the process and with CONFIG
RESETSTAT, which Prometheus' rate() allows for.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import logging
import os
import platform
import resource
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import CollectorRegistry
from prometheus_client.samples import Sample

from diskkv import __version__
from diskkv.errors import StorageError
from diskkv.services.info import REDIS_VERSION, entries
from diskkv.services.leveldb_info import parse_levels
from diskkv.services.memory import usage

if TYPE_CHECKING:
    from diskkv.services.durations import Durations
    from diskkv.services.instance import Instance

log = logging.getLogger(__name__)

CONTENT_TYPE = CONTENT_TYPE_LATEST

_PIECE_METRICS = 3
"""So many labelled metrics of a family are written at once; a histogram is about 20 lines."""
_BACKLOG_LIMIT = 1000
_MIB = 1 << 20
BUCKET_LIMITS_NS = (*(8192 << shift for shift in range(14)), 8192 << 15, 8192 << 17, 8192 << 19)
"""Limits of the buckets for durations: 8 us to 67 ms in steps of two, then to 4.3 s in steps of four."""

Families = Iterator[Metric]


def render(instance: Instance) -> Iterator[bytes]:
    """The whole exposition, piece by piece; each takes about a millisecond at most, and is of its own moment.

    What cannot be had of a broken store is missing.
    """
    for part in _PARTS:
        try:
            for family in part(instance):
                yield from _pieces(family)
        except (StorageError, OSError) as exc:
            log.warning("some metrics are missing: %s", exc)


def _pieces(family: Metric) -> Iterator[bytes]:
    """The text of one family; only the first piece has its HELP and TYPE lines."""
    groups: dict[tuple[str, ...], list[Sample]] = {}
    for sample in family.samples:
        groups.setdefault(tuple(value for name, value in sample.labels.items() if name != "le"), []).append(sample)
    remaining = iter(groups.values())
    is_first = True
    while some := list(islice(remaining, _PIECE_METRICS)):
        family.samples = list(chain.from_iterable(some))
        text = generate_latest(_Single(family))
        if not is_first:
            text = b"".join(line for line in text.splitlines(keepends=True) if not line.startswith(b"#"))
        is_first = False
        yield text


class _Single(CollectorRegistry):
    """A registry of one family."""

    def __init__(self, family: Metric) -> None:
        super().__init__()
        self._family = family

    def collect(self) -> Iterable[Metric]:
        return (self._family,)


def _gauge(name: str, doc: str, value: float) -> Metric:
    return GaugeMetricFamily(f"diskkv_{name}", doc, value)


def _counter(name: str, doc: str, value: float) -> Metric:
    return CounterMetricFamily(f"diskkv_{name}", doc, value)


def _labelled(
    kind: type[GaugeMetricFamily | CounterMetricFamily],
    name: str,
    doc: str,
    label: str,
    values: Iterable[tuple[str, float]],
) -> Metric:
    family = kind(f"diskkv_{name}", doc, labels=[label])
    for text, value in values:
        family.add_metric([text], value)
    return family


def _server(instance: Instance) -> Families:
    info = GaugeMetricFamily("diskkv_info", "Versions.", labels=["version", "redis_version", "python_version"])
    info.add_metric([__version__, REDIS_VERSION, platform.python_version()], 1)
    yield info
    yield _gauge("start_time_seconds", "Unix time of the start.", instance.started_ms / 1000)
    used = resource.getrusage(resource.RUSAGE_SELF)
    modes = [("user", used.ru_utime), ("system", used.ru_stime)]
    yield _labelled(CounterMetricFamily, "cpu_seconds", "Processor time.", "mode", modes)
    found = usage(instance)
    yield _gauge("memory_resident_bytes", "Resident memory of the process.", found.resident_bytes)
    yield _gauge("memory_peak_bytes", "The most that was resident.", found.peak_bytes)
    yield _gauge("memory_dataset_bytes", "Memory that caches data: values, LevelDB's blocks.", found.dataset_bytes)
    yield _gauge("memory_clients_bytes", "Buffers of clients.", found.clients_bytes)
    parts = found.parts.items()
    yield _labelled(GaugeMetricFamily, "memory_part_bytes", "Where resident memory goes.", "part", parts)
    yield _gauge("memory_limit_bytes", "maxmemory; 0 for none.", instance.config.maxmemory)
    yield _gauge("open_files", "Open file descriptors.", len(os.listdir("/proc/self/fd")))


def _clients(instance: Instance) -> Families:
    connected = instance.clients.values()
    counts = instance.stats
    yield _gauge("connected_clients", "Connections.", len(connected))
    yield _gauge("max_clients", "Connections that may be open at once.", instance.config.maxclients)
    yield _gauge("blocked_clients", "Clients that wait in BLPOP and its kin.", instance.blocking.count)
    yield _gauge("pubsub_clients", "Clients with subscriptions.", sum(client.subscriptions > 0 for client in connected))
    tracking = sum(client.tracking is not None for client in connected)
    yield _gauge("tracking_clients", "Clients that use client-side caching.", tracking)
    yield _gauge("replicas", "Clients that took a copy of the dataset.", len(instance.replication.replicas))
    yield _counter("evicted_clients", "Clients closed to save memory.", instance.memory_budget.evicted_clients)
    yield _gauge("monitor_clients", "Clients that run MONITOR.", len(instance.monitors))
    yield _counter("connections_received", "Connections accepted.", counts.connections_received)
    yield _counter("connections_rejected", "Connections refused.", counts.connections_rejected)
    reasons = [
        ("query_buffer", counts.input_buffer_limit_disconnections),
        ("output_buffer", counts.output_buffer_limit_disconnections),
    ]
    yield _labelled(
        CounterMetricFamily, "limit_disconnections", "Clients closed for their buffers.", "buffer", reasons
    )
    denials = instance.acl.log.denials.items()
    yield _labelled(CounterMetricFamily, "acl_denied", "Requests and logins refused.", "reason", denials)
    yield _counter("net_input_bytes", "Bytes received.", counts.input_bytes)
    yield _counter("net_output_bytes", "Bytes sent.", counts.output_bytes)


def _commands(instance: Instance) -> Families:
    # Services know commands without their package: entries have name, durations, usec_ns and counts.
    used: list[Any] = [
        entry for entry in entries(instance) if entry.calls or entry.rejected_calls or entry.failed_calls
    ]
    histogram = HistogramMetricFamily(
        "diskkv_command_duration_seconds", "How long commands took, without waiting and sending.", labels=["cmd"]
    )
    for entry in used:
        if entry.calls:
            histogram.add_metric([entry.name], _buckets(entry.durations), entry.usec_ns / 1e9)
    yield histogram
    rejected = [(entry.name, entry.rejected_calls) for entry in used if entry.rejected_calls]
    yield _labelled(CounterMetricFamily, "command_rejected", "Commands refused before they ran.", "cmd", rejected)
    failed = [(entry.name, entry.failed_calls) for entry in used if entry.failed_calls]
    yield _labelled(CounterMetricFamily, "command_failed", "Commands that failed.", "cmd", failed)
    errors = [(code.decode("latin-1"), count) for code, count in sorted(instance.stats.errors.items())]
    yield _labelled(CounterMetricFamily, "error_replies", "Error replies.", "error", errors)
    yield _counter("unexpected_errors", "Commands that failed by a bug.", instance.stats.unexpected_errors)
    yield _counter("slow_commands", "Commands that came into the slow log.", instance.slowlog.added)
    yield _counter("turns", "Turns of the server's loop.", instance.stats.turns)


def _buckets(durations: Durations) -> list[tuple[str, float]]:
    """Cumulative counts for the limits."""
    counts = [0] * (len(BUCKET_LIMITS_NS) + 1)
    at = 0
    for _, stop_ns, calls in durations.buckets():
        while at < len(BUCKET_LIMITS_NS) and stop_ns > BUCKET_LIMITS_NS[at]:
            at += 1
        counts[at] += calls
    limits = [f"{limit_ns / 1e9:.9f}".rstrip("0") for limit_ns in BUCKET_LIMITS_NS]
    total = 0
    rows: list[tuple[str, float]] = []
    for limit, count in zip([*limits, "+Inf"], counts, strict=True):
        total += count
        rows.append((limit, total))
    return rows


def _keyspace(instance: Instance) -> Families:
    engine = instance.engine
    databases = [(str(index), found) for index, found in sorted(engine.databases.items()) if found.keys]
    keys = [(index, found.keys) for index, found in databases]
    expires = [(index, found.expires) for index, found in databases]
    yield _labelled(GaugeMetricFamily, "keys", "Keys of databases.", "db", keys)
    yield _labelled(GaugeMetricFamily, "expiring_keys", "Keys with a time to live.", "db", expires)
    yield _counter("keyspace_hits", "Reads of keys that exist.", engine.keyspace_hits)
    yield _counter("keyspace_misses", "Reads of keys that do not.", engine.keyspace_misses)
    yield _counter("expired_keys", "Keys that expired.", engine.expired_keys)
    yield _counter("expired_fields", "Fields of hashes that expired.", engine.expired_fields)
    yield _counter("changes", "Keys written, deleted or expired since the start.", engine.changes)
    for name, doc in (
        ("pubsub_channels", "Channels with subscribers."),
        ("pubsub_patterns", "Patterns subscribed to."),
        ("pubsubshard_channels", "Shard channels with subscribers."),
        ("tracking_total_keys", "Keys remembered for client-side caching."),
        ("number_of_cached_scripts", "Scripts known by their digest."),
        ("number_of_functions", "Functions of libraries."),
    ):
        gauge = instance.gauges.get(name)
        yield _gauge(name.replace("number_of_", "").replace("_total", ""), doc, 0 if gauge is None else gauge())


def _cache(instance: Instance) -> Families:
    cache = instance.engine.cache
    yield _gauge("cache_bytes", "Size of the cache of values.", cache.size_bytes)
    yield _gauge("cache_limit_bytes", "The most it may take.", cache.limit_bytes)
    yield _gauge("cache_entries", "Its entries.", cache.entries)
    evictions = sum(segment.evictions for segment in cache.segments)
    yield _counter("cache_evictions", "Entries that had to leave it.", evictions)


def _leveldb(instance: Instance) -> Families:
    store = instance.engine.store
    yield _counter("commits", "Batches written.", instance.engine.commits)
    yield _counter("commit_failures", "Batches that could not be written.", instance.engine.failed_commits)
    yield _counter("leveldb_user_written_bytes", "Bytes in those batches.", store.written_bytes)
    levels = list(parse_levels(store.property("leveldb.stats") or ""))
    for kind, name, doc, values in (
        (GaugeMetricFamily, "files", "Tables of levels.", [level.tables for level in levels]),
        (GaugeMetricFamily, "bytes", "Sizes of levels.", [level.size_mib * _MIB for level in levels]),
        (GaugeMetricFamily, "debt_bytes", "What is to be merged down.", [level.debt_mib * _MIB for level in levels]),
        (CounterMetricFamily, "compaction_seconds", "Time of merges.", [level.seconds for level in levels]),
        (CounterMetricFamily, "read_bytes", "Read by merges.", [level.read_mib * _MIB for level in levels]),
        (CounterMetricFamily, "written_bytes", "Written by merges.", [level.written_mib * _MIB for level in levels]),
    ):
        rows = zip([str(level.number) for level in levels], values, strict=True)
        yield _labelled(kind, f"leveldb_level_{name}", doc, "level", rows)
    memory = int(store.property("leveldb.approximate-memory-usage") or 0)
    yield _gauge("leveldb_memory_bytes", "LevelDB's tables in memory and block cache.", memory)
    for name, doc in (
        ("memtables.bytes", "Rows on their way to LevelDB, in memory."),
        ("values.files", "Files with long strings."),
        ("values.bytes", "Their size."),
        ("values.dead-bytes", "What of them is overwritten or deleted."),
    ):
        value = int(store.property(name) or 0)
        yield _gauge(name.replace(".", "_").replace("-", "_"), doc, value)
    pacer = instance.pacer
    yield _gauge("leveldb_paced", "Whether writers are slowed down for LevelDB.", int(pacer.active))
    yield _counter("leveldb_paced_seconds", "How long they were.", pacer.active_ms / 1000)
    yield _counter("leveldb_stalls", "Commits that LevelDB held up.", pacer.stalls)
    yield _counter("leveldb_stalled_seconds", "How long they took.", pacer.stalled_ns / 1e9)


def _space(instance: Instance) -> Families:
    yield _gauge("writes_refused", "Whether writes are refused (-MISCONF).", int(instance.write_error is not None))
    reclaimer = instance.reclaimer
    backlog = 0 if reclaimer.idle else reclaimer.backlog(_BACKLOG_LIMIT)
    yield _gauge("reclaim_backlog", f"Deleted values with space to free, up to {_BACKLOG_LIMIT}.", backlog)
    yield _counter("reclaimed_rows", "Rows deleted in the background.", reclaimer.reclaimed_rows)
    yield _gauge("reclaim_pending_compactions", "Emptied ranges to be compacted.", len(reclaimer.ranges))
    compactions = instance.compactions
    yield _gauge("compactions_queued", "Compactions under way or waiting.", compactions.queued)
    yield _counter("compactions_completed", "Compactions done.", compactions.completed)
    yield _counter("compactions_failed", "Compactions that failed.", compactions.failed)
    yield _counter("compaction_written_bytes", "What they wrote.", compactions.written_mib * _MIB)
    if instance.engine.store.persistent:
        system = os.statvfs(instance.config.dir)
        yield _gauge("disk_bytes", "Size of the file system with the data.", system.f_blocks * system.f_frsize)
        yield _gauge("disk_free_bytes", "What is free of it.", system.f_bavail * system.f_frsize)
    saves = instance.saves
    yield _gauge("last_backup_timestamp_seconds", "Unix time of the last backup, or the start.", saves.last_save_s)
    yield _gauge("last_backup_ok", "Whether the last backup succeeded.", int(saves.last_ok))
    yield _gauge("backup_in_progress", "Whether one is under way.", int(saves.in_progress))
    yield _gauge("changes_since_backup", "Keys changed since the last one.", saves.changes)


_PARTS: tuple[Callable[[Instance], Families], ...] = (
    _server, _clients, _commands, _keyspace, _cache, _leveldb, _space,
)  # fmt: skip
