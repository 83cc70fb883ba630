"""MEMORY: what values and the server take."""

from __future__ import annotations

import gc

from diskkv.codec.numbers import parse_int64
from diskkv.commands.dispatch import unknown_subcommand
from diskkv.commands.help import help_reply
from diskkv.commands.registry import Flag, KeySpec, command
from diskkv.datatypes import operations
from diskkv.errors import CommandError, CommandSyntaxError, NotIntegerError
from diskkv.resp.reply import OK, bulk, double, integer, map_of, verbatim
from diskkv.services.client import Client
from diskkv.services.memory import human_size, release_unused, usage

_SHARDS = ("nondeterministic_output", "request_policy:all_shards", "response_policy:special")
_SAMPLES = 5
_KEY_OVERHEAD_BYTES = 14
"""The row prefix and the record's tag and expiry of every key."""
_SMALL_BYTES = 64 << 20


@command("MEMORY", arity=-2, flags=Flag(0), group="server", since="4.0.0", complexity="Depends on subcommand.")
def memory(client: Client, argv: list[bytes]) -> bytes:
    """A container for commands about memory."""
    raise unknown_subcommand(argv)


@command("MEMORY HELP", arity=2, flags=Flag.LOADING | Flag.STALE, group="server", since="4.0.0", complexity="O(1)")
def memory_help(client: Client, argv: list[bytes]) -> bytes:
    """List the subcommands."""
    return help_reply(
        "MEMORY",
        "DOCTOR",
        "    What is odd about the server's memory, in words.",
        "MALLOC-STATS",
        "    What the store and the garbage collector tell about themselves.",
        "PURGE",
        "    Give memory that is not in use back to the system.",
        "STATS",
        "    What the server's memory is used for.",
        "USAGE <key> [SAMPLES <count>]",
        "    About how many bytes a key with its value takes on disk, before compression. Of large values some",
        "    elements are looked at (default: 5, 0: all).",
    )


@command("MEMORY USAGE", arity=-3, flags=Flag.READONLY, keys=KeySpec("RO", begin=2), group="server", since="4.0.0",
         complexity="O(N) where N is the number of samples.", syntax="key [SAMPLES count]")  # fmt: skip
def memory_usage(client: Client, argv: list[bytes]) -> bytes:
    """Estimate how many bytes a key with its value takes."""
    samples = _SAMPLES
    at = 3
    while at < len(argv):
        if argv[at].upper() != b"SAMPLES" or at + 1 == len(argv):
            raise CommandSyntaxError
        try:
            samples = parse_int64(argv[at + 1])
        except ValueError:
            raise NotIntegerError from None
        if samples < 0:
            raise CommandSyntaxError
        at += 2
    value = client.db.get(argv[2])
    if value is None:
        return client.null
    size_bytes = operations.of(value).memory_bytes(client.engine, value, samples)
    return integer(len(argv[2]) + _KEY_OVERHEAD_BYTES + size_bytes)


@command("MEMORY STATS", arity=2, flags=Flag(0), group="server", since="4.0.0", complexity="O(1)", tips=_SHARDS)
def memory_stats(client: Client, argv: list[bytes]) -> bytes:
    """Tell what the server's memory is used for, in bytes."""
    instance = client.instance
    found = usage(instance)
    resp = client.resp
    databases = [(index, each) for index, each in sorted(client.engine.databases.items()) if each.keys]
    keys = sum(each.keys for _, each in databases)
    gauges = instance.gauges
    numbers: dict[str, int | float] = {
        "peak.allocated": found.peak_bytes,
        "total.allocated": found.resident_bytes,
        "startup.allocated": found.startup_bytes,
        "replication.backlog": 0,
        "clients.slaves": 0,
        "clients.normal": found.clients_bytes,
        "cluster.links": 0,
        "aof.buffer": 0,
        "lua.caches": gauges["used_memory_scripts_eval"](),
        "functions.caches": gauges["used_memory_functions"](),
        "script.VMs": gauges["used_memory_vm_total"](),
    }
    after: dict[str, int | float] = {
        "overhead.db.hashtable.lut": 0,
        "overhead.db.hashtable.rehashing": 0,
        "overhead.total": found.overhead_bytes,
        "db.dict.rehashing.count": 0,
        "keys.count": keys,
        "keys.bytes-per-key": found.dataset_bytes // keys if keys else 0,
        "dataset.bytes": found.dataset_bytes,
        "dataset.percentage": found.dataset_percentage,
        "peak.percentage": 100 * found.resident_bytes / found.peak_bytes,
        "allocator.allocated": found.resident_bytes,
        "allocator.active": found.resident_bytes,
        "allocator.resident": found.resident_bytes,
        "allocator.muzzy": 0,
        "allocator-fragmentation.ratio": 1.0,
        "allocator-fragmentation.bytes": 0,
        "allocator-rss.ratio": 1.0,
        "allocator-rss.bytes": 0,
        "rss-overhead.ratio": 1.0,
        "rss-overhead.bytes": 0,
        "fragmentation": 1.0,
        "fragmentation.bytes": 0,
        "cache.bytes": client.engine.cache.size_bytes,
        "cache.limit": client.engine.cache.limit_bytes,
    }
    pairs = [(bulk(name.encode()), _number(number, resp)) for name, number in numbers.items()]
    for index, each in databases:
        # No hash tables of keys are kept in memory: what there is are cached values.
        fields = [
            (bulk(b"overhead.hashtable.main"), integer(each.segment.size_bytes)),
            (bulk(b"overhead.hashtable.expires"), integer(0)),
        ]
        pairs.append((bulk(b"db.%d" % index), map_of(fields, resp)))
    pairs += [(bulk(name.encode()), _number(number, resp)) for name, number in after.items()]
    return map_of(pairs, resp)


def _number(number: int | float, resp: int) -> bytes:
    return integer(number) if isinstance(number, int) else double(number, resp)


@command("MEMORY DOCTOR", arity=2, flags=Flag(0), group="server", since="4.0.0", complexity="O(1)", tips=_SHARDS)
def memory_doctor(client: Client, argv: list[bytes]) -> bytes:
    """Report in words what is odd about the server's memory."""
    instance = client.instance
    found = usage(instance)
    cache = client.engine.cache
    remarks = []
    if found.peak_bytes > 3 * found.resident_bytes // 2 and found.peak_bytes > _SMALL_BYTES:
        remarks.append(
            f"The peak, {human_size(found.peak_bytes)}, is much higher than what is used now, "
            f"{human_size(found.resident_bytes)}: look for large values or long pipelines."
        )
    if found.clients_bytes > _SMALL_BYTES:
        remarks.append(
            f"Buffers of clients take {human_size(found.clients_bytes)}: CLIENT LIST shows whose (omem, qbuf)."
        )
    if cache.size_bytes > cache.limit_bytes * 9 // 10 and _evictions(client) > cache.entries:
        remarks.append("The cache of values is full and evicts: a larger cache-size may help, if memory allows.")
    text = "\n".join(f"- {remark}" for remark in remarks) if remarks else "Nothing about the memory is odd."
    return verbatim(f"{text}\n".encode(), client.resp)


def _evictions(client: Client) -> int:
    return sum(segment.evictions for segment in client.engine.cache.segments)


@command("MEMORY MALLOC-STATS", arity=2, flags=Flag(0), group="server", since="4.0.0",
         complexity="Depends on how much memory is allocated, could be slow", tips=_SHARDS)  # fmt: skip
def memory_malloc_stats(client: Client, argv: list[bytes]) -> bytes:
    """Tell what the store and the garbage collector know about memory."""
    store = client.engine.store
    collected = "".join(f"generation {number}: {counts}\n" for number, counts in enumerate(gc.get_stats()))
    leveldb_bytes = store.property("leveldb.approximate-memory-usage") or "0"
    text = f"LevelDB: {leveldb_bytes} bytes\n{store.property('leveldb.stats') or ''}\n{collected}"
    return verbatim(text.encode(), client.resp)


@command("MEMORY PURGE", arity=2, flags=Flag(0), group="server", since="4.0.0",
         complexity="Depends on how much memory is allocated, could be slow",
         tips=("request_policy:all_shards", "response_policy:all_succeeded"))  # fmt: skip
def memory_purge(client: Client, argv: list[bytes]) -> bytes:
    """Give memory that is not in use back to the system."""
    try:
        release_unused()
    except OSError as exc:
        raise CommandError(b"ERR Error purging dirty pages") from exc
    return OK
