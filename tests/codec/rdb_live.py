"""Filling real servers, and reading back from them, as RDB values, what they hold."""

from __future__ import annotations

from typing import Any

from diskkv.codec.rdb_values import (
    HashValue,
    ListValue,
    RdbValue,
    SetValue,
    StreamConsumer,
    StreamEntry,
    StreamGroup,
    StreamId,
    StreamPending,
    StreamValue,
    StringValue,
    ZSetValue,
)
from tests.codec.rdb_strategies import in_order
from tests.harness.wire import ErrorReply, Wire

IN_FUTURE_MS = 4_000_000_000_000


def call(wire: Wire, *argv: bytes | str | int) -> Any:
    """The reply to a command that must succeed."""
    reply = wire.call(*argv)
    assert not isinstance(reply, ErrorReply), (argv[:3], reply)
    return reply


def restore(wire: Wire, key: bytes, payload: bytes) -> None:
    """RESTORE, which must succeed."""
    call(wire, "RESTORE", key, 0, payload, "REPLACE")


def native_version(wire: Wire) -> int:
    """The RDB version that the server writes."""
    call(wire, "SET", "probe:version", "x")
    payload: bytes = call(wire, "DUMP", "probe:version")
    call(wire, "DEL", "probe:version")
    return int.from_bytes(payload[-10:-8], "little")


def digests(wire: Wire, *keys: bytes) -> Any:
    """DEBUG DIGEST-VALUE of each key."""
    return call(wire, "DEBUG", "DIGEST-VALUE", *keys)


def read_back(wire: Wire, key: bytes) -> RdbValue:
    """The value under `key`, told by the server's own commands; sets, sorted sets and hashes sorted."""
    kind = call(wire, "TYPE", key).text
    if kind == b"string":
        return StringValue(call(wire, "GET", key))
    if kind == b"list":
        return ListValue(call(wire, "LRANGE", key, 0, -1))
    if kind == b"set":
        return SetValue(sorted(call(wire, "SMEMBERS", key)))
    if kind == b"zset":
        flat = call(wire, "ZRANGE", key, 0, -1, "WITHSCORES")
        return ZSetValue(sorted(zip(flat[::2], map(float, flat[1::2]), strict=True)))
    if kind == b"hash":
        return _read_hash(wire, key)
    assert kind == b"stream", kind
    return _read_stream(wire, key)


def _read_hash(wire: Wire, key: bytes) -> HashValue:
    flat = call(wire, "HGETALL", key)
    names = flat[::2]
    expiries = wire.call("HPEXPIRETIME", key, "FIELDS", len(names), *names)
    if isinstance(expiries, ErrorReply):  # a server without field expiry
        expiries = [-1] * len(names)
    assert isinstance(expiries, list)
    entries = zip(names, flat[1::2], expiries, strict=True)
    return HashValue(sorted((name, value, max(0, at_ms)) for name, value, at_ms in entries))


def _pairs(flat: list[Any]) -> dict[bytes, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _id(text: bytes) -> StreamId:
    ms, seq = text.split(b"-")
    return int(ms), int(seq)


def _read_stream(wire: Wire, key: bytes) -> StreamValue:
    info = _pairs(call(wire, "XINFO", "STREAM", key, "FULL", "COUNT", 0))
    groups = []
    for group_info in map(_pairs, info[b"groups"]):
        entries_read = group_info[b"entries-read"]
        consumers = []
        for consumer in map(_pairs, group_info[b"consumers"]):
            active_ms = consumer.get(b"active-time", consumer[b"seen-time"])
            ids = [_id(item[0]) for item in consumer[b"pending"]]
            consumers.append(StreamConsumer(consumer[b"name"], consumer[b"seen-time"], active_ms, ids))
        pending = [StreamPending(_id(item[0]), item[2], item[3]) for item in group_info[b"pending"]]
        groups.append(
            StreamGroup(
                group_info[b"name"],
                _id(group_info[b"last-delivered-id"]),
                entries_read if isinstance(entries_read, int) else -1,
                pending,
                sorted(consumers, key=lambda consumer: consumer.name),
            )
        )
    return StreamValue(
        [StreamEntry(_id(item[0]), item[1]) for item in info[b"entries"]],
        _id(info[b"last-generated-id"]),
        _id(info[b"max-deleted-entry-id"]),
        info[b"entries-added"],
        sorted(groups, key=lambda group: group.name),
    )


def comparable(value: RdbValue) -> RdbValue:
    """`value` in the order and with the limits in which a server tells it."""
    match value:
        case StreamValue(entries, last_id, max_deleted_id, entries_added, groups):
            named = [
                StreamGroup(
                    group.name,
                    group.last_id,
                    group.entries_read,
                    group.pending,
                    sorted(group.consumers, key=lambda consumer: consumer.name),
                )
                for group in groups
            ]
            return StreamValue(
                entries, last_id, max_deleted_id, entries_added, sorted(named, key=lambda group: group.name)
            )
        case _:
            return in_order(value)


def fill(wire: Wire) -> None:
    """Keys of all types, small and large, made by commands."""
    call(wire, "SET", "string", "text")
    call(wire, "SET", "integer", -70_000)
    call(wire, "SET", "bigint", 1 << 40)
    call(wire, "SET", "lzf", b"some words again and again; " * 300)
    for count in (3, 400):
        numbers = range(count)
        call(wire, "RPUSH", f"list:{count}", "", "x" * 70, *numbers, *[f"e{n}" for n in numbers], b"p" * 9000)
        call(wire, "SADD", f"intset:{count}", *[n * 70_000 for n in numbers])
        call(wire, "SADD", f"set:{count}", "", *numbers, *[f"m{n}" for n in numbers])
        scores = [part for n in numbers for part in (n / 7, f"m{n}")]
        call(wire, "ZADD", f"zset:{count}", *scores, "-inf", "low", "inf", "high", "-0", "zero", 5, "5")  # type: ignore[arg-type]
        pairs = [part for n in numbers for part in (f"f{n}", n * 1000)]
        call(wire, "HSET", f"hash:{count}", "", "empty name", *pairs)
        fill_stream(wire, f"stream:{count}", count)
    call(wire, "XGROUP", "CREATE", "stream:empty", "g", "$", "MKSTREAM")


def fill_stream(wire: Wire, key: str, count: int) -> None:
    for number in range(count):
        fields = ["same", number] if number % 5 else ["other", number, "also", "long" * 50]
        call(wire, "XADD", key, f"{number // 3 + 1}-{number % 3 + (7 if number % 3 else 0)}", *fields)
    call(wire, "XDEL", key, "1-8")
    call(wire, "XGROUP", "CREATE", key, "one", "0")
    call(wire, "XGROUP", "CREATE", key, "two", "1-9", "ENTRIESREAD", 3)
    call(wire, "XREADGROUP", "GROUP", "one", "ann", "COUNT", 2, "STREAMS", key, ">")
    call(wire, "XREADGROUP", "GROUP", "one", "bob", "COUNT", 20, "STREAMS", key, ">")
    call(wire, "XGROUP", "CREATECONSUMER", key, "one", "idle")
    call(wire, "XACK", key, "one", "1-0")


def fill_field_expiry(wire: Wire) -> None:
    for key, count in ((b"expiring:3", 3), (b"expiring:400", 400)):
        pairs = [part for n in range(count) for part in (b"f%d" % n, b"v")]
        call(wire, "HSET", key, *pairs)
        call(wire, "HPEXPIREAT", key, IN_FUTURE_MS, "FIELDS", 1, "f2")
        call(wire, "HPEXPIREAT", key, IN_FUTURE_MS - 1000, "FIELDS", 1, "f1")


def without_active_times(value: StreamValue) -> StreamValue:
    """As a server without active times tells it: seen instead."""
    groups = [
        StreamGroup(
            group.name,
            group.last_id,
            group.entries_read,
            group.pending,
            [StreamConsumer(one.name, one.seen_time_ms, one.seen_time_ms, one.pending) for one in group.consumers],
        )
        for group in value.groups
    ]
    return StreamValue(value.entries, value.last_id, value.max_deleted_id, value.entries_added, groups)
