"""Reading back from a real server, as RDB values, what it holds under a key."""

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
from tests.harness.wire import ErrorReply, Wire


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
