"""The sections of INFO, with Redis' field names so that dashboards work, and some of our own.

What concerns parts that diskkv does not have (replication, AOF rewriting, an allocator of its own) has the value that
says "none".

Source: https://redis.io/docs/latest/commands/info/
"""

from __future__ import annotations

import os
import platform
import resource
import select
import sys
import time
from collections.abc import Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any

from diskkv import __version__
from diskkv.codec.header import Header
from diskkv.errors import StorageError
from diskkv.services.leveldb_info import leveldb
from diskkv.services.memory import MemoryUsage, human_size, total_memory_bytes, usage
from diskkv.services.parking import PARKING_GAUGES

if TYPE_CHECKING:
    from diskkv.engine.database import Database
    from diskkv.services.instance import Instance

Fields = Iterable[tuple[str, object]]

REDIS_VERSION = "7.4.2"
"""The Redis whose behaviour is offered; clients look at it to decide what they may use."""

_TTL_SAMPLES = 256
_DAY_S = 86400


def server(instance: Instance) -> Fields:
    """The process."""
    config = instance.config
    uptime_s = max(0, (instance.engine.now_ms - instance.started_ms) // 1000)
    yield "redis_version", REDIS_VERSION
    yield "redis_git_sha1", "00000000"
    yield "redis_git_dirty", 0
    yield "redis_build_id", "0"
    yield "redis_mode", "standalone"
    yield "diskkv_version", __version__
    yield "python_version", platform.python_version()
    yield "os", f"{platform.system()} {platform.release()} {platform.machine()}"
    yield "arch_bits", 64
    yield "monotonic_clock", "POSIX clock_gettime"
    yield "multiplexing_api", "epoll" if hasattr(select, "epoll") else "poll"
    yield "atomicvar_api", "none"
    yield "gcc_version", platform.python_compiler().removeprefix("GCC ").partition(" ")[0]
    yield "process_id", os.getpid()
    yield "process_supervised", instance.supervised
    yield "run_id", instance.run_id
    yield "tcp_port", config.port or config.tls_port
    yield "server_time_usec", time.time_ns() // 1000
    yield "uptime_in_seconds", uptime_s
    yield "uptime_in_days", uptime_s // _DAY_S
    yield "hz", config.hz
    yield "configured_hz", config.hz
    yield "lru_clock", (instance.engine.now_ms // 1000) & 0xFFFFFF
    yield "executable", sys.executable
    yield "config_file", config.config_file
    yield "io_threads_active", 0
    binds = "".join(f",bind={address}" for address in config.bind)
    if config.port:
        yield "listener0", f"name=tcp{binds},port={config.port}"
    if config.unixsocket:
        yield "listener1", f"name=unix,bind={config.unixsocket}"
    if config.tls_port:
        yield "listener2", f"name=tls{binds},port={config.tls_port}"


def clients(instance: Instance) -> Fields:
    """The connections."""
    connected = instance.clients.values()
    yield "connected_clients", len(connected)
    yield "cluster_connections", 0
    yield "maxclients", instance.config.maxclients
    yield "client_recent_max_input_buffer", max((client.input_bytes for client in connected), default=0)
    yield "client_recent_max_output_buffer", max((client.output_bytes for client in connected), default=0)
    yield "blocked_clients", instance.blocking.count
    yield "tracking_clients", sum(client.tracking is not None for client in connected)
    yield "pubsub_clients", sum(client.subscriptions > 0 for client in connected)
    yield "watching_clients", sum(client.watching is not None for client in connected)
    yield "clients_in_timeout_table", instance.blocking.deadlines
    yield "total_watched_keys", sum(len(client.watching) for client in connected if client.watching is not None)
    yield "total_blocking_keys", instance.blocking.keys
    yield "total_blocking_keys_on_nokey", 0


def memory(instance: Instance) -> Fields:
    """What the process takes; `used_memory` is its resident size."""
    found = usage(instance)
    total = total_memory_bytes()
    yield from _sized("used_memory", found.resident_bytes)
    yield from _sized("used_memory_rss", found.resident_bytes)
    yield from _sized("used_memory_peak", found.peak_bytes)
    yield "used_memory_peak_time", instance.stats.peak.time_s
    yield "used_memory_peak_perc", f"{100 * found.resident_bytes / found.peak_bytes:.2f}%"
    yield "used_memory_overhead", found.overhead_bytes
    yield "used_memory_startup", found.startup_bytes
    yield "used_memory_dataset", found.dataset_bytes
    yield "used_memory_dataset_perc", f"{found.dataset_percentage:.2f}%"
    yield "allocator_allocated", found.resident_bytes
    yield "allocator_active", found.resident_bytes
    yield "allocator_resident", found.resident_bytes
    yield "allocator_muzzy", 0
    yield from _sized("total_system_memory", total)
    yield from _script_memory(instance)
    yield from _sized("maxmemory", instance.config.maxmemory)
    yield "maxmemory_policy", instance.config.maxmemory_policy
    yield from _parts(found)
    yield "allocator_frag_ratio", "1.00"
    yield "allocator_frag_bytes", 0
    yield "allocator_rss_ratio", "1.00"
    yield "allocator_rss_bytes", 0
    yield "rss_overhead_ratio", "1.00"
    yield "rss_overhead_bytes", 0
    yield "mem_fragmentation_ratio", "1.00"
    yield "mem_fragmentation_bytes", 0
    yield "mem_not_counted_for_evict", 0
    yield "mem_replication_backlog", 0
    yield "mem_total_replication_buffers", 0
    yield "mem_replica_full_sync_buffer", 0
    yield "mem_clients_slaves", 0
    yield "mem_clients_normal", found.clients_bytes
    yield "mem_cluster_links", 0
    yield "mem_aof_buffer", 0
    yield "mem_allocator", "libc"
    yield "mem_overhead_db_hashtable_rehashing", 0
    yield "active_defrag_running", 0
    yield "lazyfree_pending_objects", instance.reclaimer.backlog() if not instance.reclaimer.idle else 0
    yield "lazyfreed_objects", 0


def _parts(found: MemoryUsage) -> Fields:
    """Where the resident memory goes; the parts add up to it, but for what is counted inexactly."""
    for name, size_bytes in found.parts.items():
        yield f"mem_part_{name}", size_bytes


def _script_memory(instance: Instance) -> Fields:
    lua, total, scripts = (_gauge(instance, f"used_memory_{what}") for what in ("lua", "vm_total", "scripts"))
    yield "used_memory_lua", lua
    yield from _gauges(instance, "used_memory_vm_eval")
    yield "used_memory_lua_human", human_size(lua)
    yield from _gauges(
        instance,
        "used_memory_scripts_eval",
        "number_of_cached_scripts",
        "number_of_functions",
        "number_of_libraries",
        "used_memory_vm_functions",
    )
    yield from _sized("used_memory_vm_total", total)
    yield from _gauges(instance, "used_memory_functions")
    yield from _sized("used_memory_scripts", scripts)


def _sized(name: str, size_bytes: int) -> Fields:
    yield name, size_bytes
    yield f"{name}_human", human_size(size_bytes)


def persistence(instance: Instance) -> Fields:
    """Backups stand in for snapshots, and LevelDB's log for the AOF: every write is in it before it is answered."""
    failed = instance.write_error is not None
    saves = instance.saves
    yield "loading", 0
    yield "async_loading", 0
    yield "current_cow_peak", 0
    yield "current_cow_size", 0
    yield "current_cow_size_age", 0
    yield "current_fork_perc", "0.00"
    yield "current_save_keys_processed", 0
    yield "current_save_keys_total", 0
    yield "rdb_changes_since_last_save", saves.changes
    yield "rdb_bgsave_in_progress", int(saves.in_progress)
    yield "rdb_last_save_time", saves.last_save_s
    yield "rdb_last_bgsave_status", "ok" if saves.last_ok else "err"
    yield "rdb_last_bgsave_time_sec", saves.last_duration_s
    yield "rdb_current_bgsave_time_sec", saves.current_duration_s
    yield "rdb_saves", saves.count
    yield "rdb_last_cow_size", 0
    yield "rdb_last_load_keys_expired", 0
    yield "rdb_last_load_keys_loaded", 0
    yield "aof_enabled", int(instance.config.appendonly)
    yield "aof_rewrite_in_progress", int(saves.rewriting)
    yield "aof_rewrite_scheduled", 0
    yield "aof_last_rewrite_time_sec", saves.last_rewrite_s
    yield "aof_current_rewrite_time_sec", saves.current_rewrite_s
    yield "aof_last_bgrewrite_status", "ok"
    yield "aof_rewrites", saves.rewrites
    yield "aof_rewrites_consecutive_failures", 0
    yield "aof_last_write_status", "err" if failed else "ok"
    yield "aof_last_cow_size", 0
    yield "module_fork_in_progress", 0
    yield "module_fork_last_cow_size", 0
    yield "backup_directory", saves.directory.path.absolute() if instance.engine.store.persistent else ""
    yield "backup_last", "" if saves.last_path is None else saves.last_path.absolute()


def threads(instance: Instance) -> Fields:
    """One thread serves all clients."""
    counts = instance.stats
    connected = len(instance.clients)
    yield "io_thread_0", f"clients={connected},reads={counts.turns},writes={instance.engine.commits}"


def stats(instance: Instance) -> Fields:
    """Counters since the start or CONFIG RESETSTAT."""
    counts = instance.stats
    engine = instance.engine
    yield "total_connections_received", counts.connections_received
    yield "total_commands_processed", instance.commands_processed
    yield "instantaneous_ops_per_sec", counts.commands_per_second
    yield "total_net_input_bytes", counts.input_bytes
    yield "total_net_output_bytes", counts.output_bytes
    yield "total_net_repl_input_bytes", 0
    yield "total_net_repl_output_bytes", 0
    yield "instantaneous_input_kbps", f"{counts.input_kib_per_second:.2f}"
    yield "instantaneous_output_kbps", f"{counts.output_kib_per_second:.2f}"
    yield "instantaneous_input_repl_kbps", "0.00"
    yield "instantaneous_output_repl_kbps", "0.00"
    yield "rejected_connections", counts.connections_rejected
    yield "sync_full", 0
    yield "sync_partial_ok", 0
    yield "sync_partial_err", 0
    yield "expired_subkeys", engine.expired_fields
    yield "expired_keys", engine.expired_keys
    yield "expired_stale_perc", "0.00"
    yield "expired_time_cap_reached_count", 0
    yield "expire_cycle_cpu_milliseconds", counts.sweep_ns // 1_000_000
    yield "evicted_keys", instance.disk_limit.evicted_keys
    yield "evicted_clients", instance.memory_budget.evicted_clients
    yield from _gauges(instance, "evicted_scripts")
    yield "total_eviction_exceeded_time", 0
    yield "current_eviction_exceeded_time", 0
    yield "keyspace_hits", engine.keyspace_hits
    yield "keyspace_misses", engine.keyspace_misses
    yield from _gauges(instance, "pubsub_channels", "pubsub_patterns", "pubsubshard_channels")
    yield "latest_fork_usec", 0
    yield "total_forks", 0
    yield "migrate_cached_sockets", 0
    yield "slave_expires_tracked_keys", 0
    for name in ("hits", "misses", "key_hits", "key_misses"):
        yield f"active_defrag_{name}", 0
    yield "total_active_defrag_time", 0
    yield "current_active_defrag_time", 0
    yield from _gauges(instance, *PARKING_GAUGES)
    yield from _gauges(instance, "tracking_total_keys", "tracking_total_items", "tracking_total_prefixes")
    yield "unexpected_error_replies", counts.unexpected_errors
    yield "total_error_replies", counts.error_replies
    yield "dump_payload_sanitizations", 0
    yield "total_reads_processed", counts.turns
    yield "total_writes_processed", engine.commits
    yield "io_threaded_reads_processed", 0
    yield "io_threaded_writes_processed", 0
    yield "io_threaded_total_prefetch_batches", 0
    yield "io_threaded_total_prefetch_entries", 0
    yield "client_query_buffer_limit_disconnections", counts.input_buffer_limit_disconnections
    yield "client_output_buffer_limit_disconnections", counts.output_buffer_limit_disconnections
    yield "reply_buffer_shrinks", 0
    yield "reply_buffer_expands", 0
    yield from _event_loop(instance)
    for reason, count in instance.acl.log.denials.items():
        short = {"command": "cmd"}.get(reason, reason)
        yield f"acl_access_denied_{short}", count


def _event_loop(instance: Instance) -> Fields:
    counts = instance.stats
    yield "eventloop_cycles", counts.turns
    yield "eventloop_duration_sum", counts.busy_us
    yield "eventloop_duration_cmd_sum", sum(entry.usec_ns for entry in entries(instance)) // 1000
    yield "instantaneous_eventloop_cycles_per_sec", counts.turns_per_second
    yield "instantaneous_eventloop_duration_usec", counts.us_per_turn


def _gauges(instance: Instance, *names: str) -> Fields:
    """Numbers that services announce in `Instance.gauges`; 0 for what none of them announces."""
    for name in names:
        yield name, _gauge(instance, name)


def _gauge(instance: Instance, name: str) -> int:
    gauge = instance.gauges.get(name)
    return 0 if gauge is None else gauge()


def replication(instance: Instance) -> Fields:
    """diskkv is always a master. Its replicas have a copy of the dataset, but get no changes."""
    yield "role", "master"
    replicas = [client.replica for client in instance.replication.replicas.values()]
    yield "connected_slaves", len(replicas)
    for at, (client, replica) in enumerate(zip(instance.replication.replicas.values(), replicas, strict=True)):
        host = replica.address or client.address.rpartition(":")[0]
        yield f"slave{at}", f"ip={host},port={replica.port},state={replica.state},offset=0,lag=0"
    yield "master_failover_state", "no-failover"
    yield "master_replid", instance.run_id
    yield "master_replid2", "0" * 40
    yield "master_repl_offset", 0
    yield "second_repl_offset", -1
    yield "repl_backlog_active", 0
    yield "repl_backlog_size", instance.config.repl_backlog_size
    yield "repl_backlog_first_byte_offset", 0
    yield "repl_backlog_histlen", 0


def cpu(instance: Instance) -> Fields:
    """Processor time in seconds."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    main = resource.getrusage(resource.RUSAGE_THREAD)
    for suffix, used in (("", own), ("_children", children), ("_main_thread", main)):
        yield f"used_cpu_sys{suffix}", f"{used.ru_stime:.6f}"
        yield f"used_cpu_user{suffix}", f"{used.ru_utime:.6f}"


def modules(instance: Instance) -> Fields:
    """There are none."""
    return ()


def commandstats(instance: Instance) -> Fields:
    """How often commands ran, and how long they took."""
    for entry in entries(instance):
        if entry.calls or entry.rejected_calls or entry.failed_calls:
            usec = entry.usec_ns // 1000
            per_call = entry.usec_ns / 1000 / entry.calls if entry.calls else 0.0
            yield (
                f"cmdstat_{entry.name}",
                f"calls={entry.calls},usec={usec},usec_per_call={per_call:.2f},"
                f"rejected_calls={entry.rejected_calls},failed_calls={entry.failed_calls}",
            )


def entries(instance: Instance) -> Iterable[Any]:
    """All commands and subcommands."""
    for entry in instance.commands.values():
        yield entry
        yield from entry.subcommands.values()


def latencystats(instance: Instance) -> Fields:
    """Percentiles of how long commands took, in us (see services/durations.py)."""
    if not instance.config.latency_tracking:
        return
    percentiles = sorted(instance.config.latency_tracking_info_percentiles)
    for entry in entries(instance):
        if percentiles and entry.calls:
            found = zip(percentiles, entry.durations.percentiles_us(percentiles), strict=True)
            values = ",".join(f"p{percentile:g}={duration_us:.3f}" for percentile, duration_us in found)
            yield f"latency_percentiles_usec_{entry.name}", values


_NO_FIELD_SYNTAX = bytes.maketrans(b"#:", b"__")


def errorstats(instance: Instance) -> Fields:
    """Error replies by their code."""
    for code, count in sorted(instance.stats.errors.items()):
        yield f"errorstat_{code.translate(_NO_FIELD_SYNTAX).decode('latin-1')}", f"count={count}"


def cluster(instance: Instance) -> Fields:
    """There is none."""
    yield "cluster_enabled", 0


def keyspace(instance: Instance) -> Fields:
    """The databases that have keys."""
    now_ms = instance.engine.now_ms
    for index, database in sorted(instance.engine.databases.items()):
        if database.keys:
            ttl_ms = average_ttl_ms(database, now_ms) if database.expires else 0
            yield f"db{index}", f"keys={database.keys},expires={database.expires},avg_ttl={ttl_ms},subexpiry=0"


def average_ttl_ms(database: Database, now_ms: int) -> int:
    """The mean time to live of the keys that have one, over those among some cached keys; 0 when there are none."""
    values = islice(database.cached.values(), _TTL_SAMPLES)
    left_ms = [value.expire_ms - now_ms for value in values if isinstance(value, Header) and value.expire_ms > now_ms]
    return sum(left_ms) // len(left_ms) if left_ms else 0


def cache(instance: Instance) -> Fields:
    """The cache of values."""
    found = instance.engine.cache
    yield "cache_size_bytes", found.size_bytes
    yield "cache_limit_bytes", found.limit_bytes
    yield "cache_entries", found.entries
    yield "cache_evictions", sum(segment.evictions for segment in found.segments)


def reclaim(instance: Instance) -> Fields:
    """Deleted values whose space is not free yet; the backlog is counted up to 10000."""
    reclaimer = instance.reclaimer
    yield "reclaim_idle", int(reclaimer.idle)
    yield "reclaim_backlog", 0 if reclaimer.idle else reclaimer.backlog()
    yield "reclaimed_rows", reclaimer.reclaimed_rows
    yield "reclaim_pending_compactions", len(reclaimer.ranges)
    yield "dead_space_keys", instance.engine.dead_space.headers
    yield "dead_space_bytes", instance.engine.dead_space.known_bytes


def disk(instance: Instance) -> Fields:
    """The file system that holds the data directory."""
    config = instance.config
    yield "data_directory", config.dir
    yield "appendfsync", config.appendfsync
    yield "write_error", instance.write_error or ""
    yield "maxdisk", config.maxdisk
    yield "maxdisk_policy", config.maxdisk_policy
    yield "maxdisk_used_bytes", instance.disk_limit.used_bytes
    yield "maxdisk_evicting_bytes", int(instance.disk_limit.wanted_bytes)
    yield "maxdisk_full", int(instance.writes.full is not None)
    if instance.engine.store.persistent:
        system = os.statvfs(config.dir)
        yield "disk_total_bytes", system.f_blocks * system.f_frsize
        yield "disk_free_bytes", system.f_bavail * system.f_frsize


SECTIONS: dict[str, tuple[str, Callable[[Instance], Fields]]] = {
    "server": ("Server", server),
    "clients": ("Clients", clients),
    "memory": ("Memory", memory),
    "persistence": ("Persistence", persistence),
    "threads": ("Threads", threads),
    "stats": ("Stats", stats),
    "replication": ("Replication", replication),
    "cpu": ("CPU", cpu),
    "modules": ("Modules", modules),
    "commandstats": ("Commandstats", commandstats),
    "errorstats": ("Errorstats", errorstats),
    "latencystats": ("Latencystats", latencystats),
    "cluster": ("Cluster", cluster),
    "keyspace": ("Keyspace", keyspace),
    "leveldb": ("LevelDB", leveldb),
    "cache": ("Cache", cache),
    "reclaim": ("Reclaim", reclaim),
    "disk": ("Disk", disk),
}
"""Every section in the order of INFO: its heading and its content."""

_ONLY_ON_REQUEST = frozenset({"commandstats", "latencystats"})
DEFAULT = frozenset(SECTIONS) - _ONLY_ON_REQUEST
_SETS = {"default": DEFAULT, "all": frozenset(SECTIONS), "everything": frozenset(SECTIONS)}


def render(instance: Instance, names: Iterable[str]) -> bytes:
    """The sections of these names (or default, all, everything) as INFO sends them; unknown names are left out."""
    wanted: set[str] = set()
    for name in names:
        wanted |= _SETS.get(name, {name})
    parts = []
    for name, (heading, content) in SECTIONS.items():
        if name in wanted:
            lines = []
            try:
                for field, value in content(instance):
                    lines.append(f"{field}:{value}\r\n")
            except StorageError as exc:
                # When the store is broken, the rest is needed most.
                reason = str(exc).replace("\n", " ")
                lines.append(f"storage_error:{reason}\r\n")
            parts.append(f"# {heading}\r\n{''.join(lines)}")
    return "\r\n".join(parts).encode("utf-8", "surrogateescape")
