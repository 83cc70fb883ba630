"""Writers of hashes, lists, sets, sorted sets and streams, and the reader that compares all that can be seen of them.

The values in a ledger are plain Python values:

    hash    dict field -> (value, expire_ms or -1)
    list    list of items
    set     frozenset of members
    zset    dict member -> score, in order
    stream  `StreamState`
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import ANY

from tests.crash.writers import Writer
from tests.harness.wire import Simple, Wire

LIMITS = (
    *("--hash-max-listpack-entries", "6", "--set-max-listpack-entries", "6", "--set-max-intset-entries", "6"),
    *("--zset-max-listpack-entries", "6", "--list-max-listpack-size", "6", "--stream-node-max-entries", "5"),
)
"""So small that most values change their encoding now and then."""

KEYS_PER_TYPE = 3
MANY = 1300
"""More elements than a command deletes itself: the rest is left to the reclaimer."""

State = dict[bytes, Any]
Request = tuple[list[bytes], dict[bytes, Any]]
"""A command, and what the keys that it changes hold afterwards (None: they are gone)."""


@dataclass(frozen=True)
class GroupState:
    """A consumer group: the last ID delivered, and the consumer of each ID that is pending."""

    last: int = 0
    pending: dict[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class StreamState:
    """The milliseconds of the IDs of all entries with their values, the greatest one ever, and the groups by name."""

    entries: dict[int, bytes] = field(default_factory=dict)
    last: int = 0
    groups: dict[bytes, GroupState] = field(default_factory=dict)


class CollectionWriter(Writer):
    """Random commands on a few values of each type. Each command's effect follows from the ledger."""

    def _request(self, current: State) -> tuple[list[bytes], dict[bytes, Any], object]:
        name = self._random.choice(list(_REQUESTS))
        key = self._prefix + b":%b:%d" % (name, self._random.randrange(KEYS_PER_TYPE))
        other = self._prefix + b":%b:%d" % (name, self._random.randrange(KEYS_PER_TYPE))
        if self._random.randrange(12) == 0:
            argv, effect = _generic(self._random, current, key, other)
        else:
            argv, effect = _REQUESTS[name](self._random, current, key, other)
        return argv, {changed: value or None for changed, value in effect.items()}, ANY


def _generic(chooser: random.Random, current: State, key: bytes, other: bytes) -> Request:
    """A command on whole keys."""
    value = current.get(key)
    kind = chooser.choice(["del", "rename", "copy", "expire", "persist"])
    if value is None or kind == "del":
        return [b"DEL", key], {key: None}
    if kind == "rename" and key != other:
        return [b"RENAME", key, other], {key: None, other: value}
    if kind == "copy" and key != other:
        return [b"COPY", key, other, b"REPLACE"], {other: value}
    if kind == "expire":
        return [b"PEXPIREAT", key, b"1"], {key: None}
    return [b"PEXPIREAT", key, b"%d" % (4102444800000 + chooser.randrange(10))], {}


def _words(chooser: random.Random, most: int) -> list[bytes]:
    return [b"m%d" % chooser.randrange(40) for _ in range(chooser.randint(1, most))]


def _hash(chooser: random.Random, current: State, key: bytes, other: bytes) -> Request:
    old: dict[bytes, tuple[bytes, int]] = current.get(key) or {}
    fields = list(dict.fromkeys(_words(chooser, 8)))
    kind = chooser.choice(["set", "set", "delete", "incr", "expire", "persist", "many"])
    if kind == "delete":
        return [b"HDEL", key, *fields], {key: {name: pair for name, pair in old.items() if name not in fields}}
    if kind == "incr":
        before = int(old.get(b"n", (b"0", -1))[0])
        return [b"HINCRBY", key, b"n", b"7"], {key: old | {b"n": (b"%d" % (before + 7), old.get(b"n", (b"", -1))[1])}}
    if kind in ("expire", "persist") and old:
        at_ms = 4102444800000 + chooser.randrange(1000) if kind == "expire" else -1
        changed = {name: (old[name][0], at_ms) for name in fields if name in old}
        names = [b"FIELDS", b"%d" % len(fields), *fields]
        if kind == "persist":
            return [b"HPERSIST", key, *names], {key: old | changed}
        return [b"HPEXPIREAT", key, b"%d" % at_ms, *names], {key: old | changed}
    if kind == "many":
        fields = [b"m%d" % number for number in range(chooser.randrange(200))] or fields
    value = b"v%d" % chooser.randrange(1000)
    pairs = [part for name in fields for part in (name, value)]
    return [b"HSET", key, *pairs], {key: old | dict.fromkeys(fields, (value, -1))}


def _list(chooser: random.Random, current: State, key: bytes, other: bytes) -> Request:
    old: list[bytes] = current.get(key) or []
    kind = chooser.choice(["push", "push", "push", "pop", "set", "insert", "remove", "trim", "move", "many"])
    if kind == "pop" and old:
        count = chooser.choice([1, 2, len(old) // 2 or 1])
        if chooser.randrange(2):
            return [b"LPOP", key, b"%d" % count], {key: old[count:]}
        return [b"RPOP", key, b"%d" % count], {key: old[: len(old) - count] if count < len(old) else []}
    if kind == "set" and old:
        index = chooser.randrange(len(old))
        item = _item(chooser)
        return [b"LSET", key, b"%d" % index, item], {key: [*old[:index], item, *old[index + 1 :]]}
    if kind == "insert" and old:
        pivot, item = chooser.choice(old), _item(chooser)
        index = old.index(pivot)
        return [b"LINSERT", key, b"BEFORE", pivot, item], {key: [*old[:index], item, *old[index:]]}
    if kind == "remove" and old:
        item = chooser.choice(old)
        return [b"LREM", key, b"0", item], {key: [found for found in old if found != item]}
    if kind == "trim" and old:
        start, stop = sorted((chooser.randrange(len(old)), chooser.randrange(len(old))))
        return [b"LTRIM", key, b"%d" % start, b"%d" % stop], {key: old[start : stop + 1]}
    if kind == "move" and old and key != other:
        return [b"LMOVE", key, other, b"LEFT", b"RIGHT"], {key: old[1:], other: [*(current.get(other) or []), old[0]]}
    items = [_item(chooser) for _ in range(chooser.randint(1, 12))]
    if kind == "many":
        fresh = [b"i%d" % number for number in range(chooser.choice([50, 50, 50, MANY]))]
        items = fresh if len(old) < 2 * MANY else items
    if chooser.randrange(2):
        return [b"LPUSH", key, *items], {key: [*reversed(items), *old]}
    return [b"RPUSH", key, *items], {key: old + items}


def _item(chooser: random.Random) -> bytes:
    return b"x" * 300 if chooser.randrange(8) == 0 else b"i%d" % chooser.randrange(30)


def _set(chooser: random.Random, current: State, key: bytes, other: bytes) -> Request:
    old: frozenset[bytes] = current.get(key) or frozenset()
    theirs: frozenset[bytes] = current.get(other) or frozenset()
    members = _words(chooser, 8)
    kind = chooser.choice(["add", "add", "remove", "move", "union", "inter", "many"])
    if kind == "remove":
        return [b"SREM", key, *members], {key: old.difference(members)}
    if kind == "move" and key != other and old:
        member = min(old)
        return [b"SMOVE", key, other, member], {key: old - {member}, other: theirs | {member}}
    if kind == "union":
        return [b"SUNIONSTORE", key, key, other], {key: old | theirs}
    if kind == "inter":
        return [b"SINTERSTORE", key, key, other], {key: old & theirs}
    if kind == "many":
        members = [b"%d" % number for number in range(chooser.choice([5, 50, 100, MANY]))]
    return [b"SADD", key, *members], {key: old.union(members)}


def _ordered(scores: dict[bytes, float]) -> dict[bytes, float]:
    return dict(sorted(scores.items(), key=lambda entry: (entry[1], entry[0])))


def _zset(chooser: random.Random, current: State, key: bytes, other: bytes) -> Request:
    old: dict[bytes, float] = current.get(key) or {}
    kind = chooser.choice(["add", "add", "remove", "incr", "pop", "range", "union", "many"])
    members = list(dict.fromkeys(_words(chooser, 8)))
    count = chooser.randint(1, 1 + len(old) // 2)
    if kind == "remove":
        return [b"ZREM", key, *members], {key: {name: score for name, score in old.items() if name not in members}}
    if kind == "incr":
        return [b"ZINCRBY", key, b"3", b"m1"], {key: _ordered(old | {b"m1": old.get(b"m1", 0.0) + 3})}
    if kind == "pop" and chooser.randrange(2):
        return [b"ZPOPMIN", key, b"%d" % count], {key: dict(list(old.items())[count:])}
    if kind == "pop":
        return [b"ZPOPMAX", key, b"%d" % count], {key: dict(list(old.items())[: max(0, len(old) - count)])}
    if kind == "range":
        start = chooser.randrange(1 + len(old))
        left = list(old.items())
        del left[start : start + count]
        return [b"ZREMRANGEBYRANK", key, b"%d" % start, b"%d" % (start + count - 1)], {key: dict(left)}
    if kind == "union" and key != other:
        theirs: dict[bytes, float] = current.get(other) or {}
        both = {name: old.get(name, 0.0) + theirs.get(name, 0.0) for name in old.keys() | theirs.keys()}
        return [b"ZUNIONSTORE", key, b"2", key, other], {key: _ordered(both)}
    if kind == "many":
        members = [b"z%d" % number for number in range(chooser.choice([5, 50, 100, 700]))]
    scores = {name: float(chooser.randrange(-20, 20)) for name in members}
    argv = [b"ZADD", key, *(part for name, score in scores.items() for part in (b"%d" % score, name))]
    return argv, {key: _ordered(old | scores)}


def _stream(chooser: random.Random, current: State, key: bytes, other: bytes) -> Request:
    old: StreamState = current.get(key) or StreamState()
    kind = chooser.choice(["add"] * 6 + ["delete", "trim", "group", "group", "read", "read", "read", "ack", "consumer"])
    group = b"g%d" % chooser.randrange(2)
    state = old.groups.get(group)
    if kind == "delete" and old.entries:
        doomed = chooser.sample(sorted(old.entries), min(3, len(old.entries)))
        left = {number: value for number, value in old.entries.items() if number not in doomed}
        return [b"XDEL", key, *(b"%d-1" % number for number in doomed)], {key: replace(old, entries=left)}
    if kind == "trim" and old.last:
        count = chooser.randrange(1 + len(old.entries))
        left = dict(list(old.entries.items())[len(old.entries) - count :])
        return [b"XTRIM", key, b"MAXLEN", b"%d" % count], {key: replace(old, entries=left)}
    if kind == "group" and old.last:
        if state is not None:
            groups = {name: found for name, found in old.groups.items() if name != group}
            return [b"XGROUP", b"DESTROY", key, group], {key: replace(old, groups=groups)}
        return [b"XGROUP", b"CREATE", key, group, b"0"], {key: replace(old, groups=old.groups | {group: GroupState()})}
    if state is not None and kind in ("read", "ack", "consumer"):
        argv, changed = _group(chooser, key, group, kind, old, state)
        return argv, {key: replace(old, groups=old.groups | {group: changed})}
    number = old.last + 1
    entries = old.entries | {number: b"v%d" % chooser.randrange(1000)}
    return [b"XADD", key, b"%d-1" % number, b"f", entries[number]], {key: replace(old, entries=entries, last=number)}


def _group(
    chooser: random.Random, key: bytes, group: bytes, kind: str, stream: StreamState, state: GroupState
) -> tuple[list[bytes], GroupState]:
    """A command on a consumer group, and the group after it."""
    consumer = chooser.choice([b"alice", b"bob"])
    if kind == "ack":
        done = chooser.sample(sorted(state.pending), min(2, len(state.pending))) or [1]
        pending = {number: owner for number, owner in state.pending.items() if number not in done}
        return [b"XACK", key, group, *(b"%d-1" % number for number in done)], replace(state, pending=pending)
    if kind == "consumer":
        pending = {number: owner for number, owner in state.pending.items() if owner != consumer}
        return [b"XGROUP", b"DELCONSUMER", key, group, consumer], replace(state, pending=pending)
    count = chooser.randint(1, 5)
    read = [number for number in stream.entries if number > state.last][:count]
    argv = [b"XREADGROUP", b"GROUP", group, consumer, b"COUNT", b"%d" % count, b"STREAMS", key, b">"]
    return argv, GroupState(max([state.last, *read]), state.pending | dict.fromkeys(read, consumer))


_REQUESTS: dict[bytes, Callable[[random.Random, State, bytes, bytes], Request]] = {
    b"hash": _hash,
    b"list": _list,
    b"set": _set,
    b"zset": _zset,
    b"stream": _stream,
}


# ---- reading


def read_collections(wire: Wire, names: list[bytes]) -> State:
    """What these keys hold, None for those that do not exist."""
    return {name: _read(wire, name) for name in names}


def _read(wire: Wire, key: bytes) -> Any:
    kind = wire.call("TYPE", key)
    if kind == Simple(b"none"):
        return None
    if kind == Simple(b"hash"):
        pairs = wire.call("HGETALL", key)
        fields = pairs[::2]
        times = wire.call("HPEXPIRETIME", key, "FIELDS", len(fields), *fields)
        assert wire.call("HLEN", key) == len(fields)
        return {name: (value, at_ms) for name, value, at_ms in zip(fields, pairs[1::2], times, strict=True)}
    if kind == Simple(b"list"):
        items = wire.call("LRANGE", key, 0, -1)
        assert wire.call("LLEN", key) == len(items)
        return items
    if kind == Simple(b"set"):
        members = wire.call("SMEMBERS", key)
        assert wire.call("SCARD", key) == len(members)
        return frozenset(members)
    if kind == Simple(b"zset"):
        pairs = wire.call("ZRANGE", key, 0, -1, "WITHSCORES")
        assert 2 * wire.call("ZCARD", key) == len(pairs)
        return dict(zip(pairs[::2], map(float, pairs[1::2]), strict=True))
    assert kind == Simple(b"stream"), kind
    return _read_stream(wire, key)


def _number(entry_id: bytes) -> int:
    return int(entry_id.partition(b"-")[0])


def _read_stream(wire: Wire, key: bytes) -> StreamState:
    entries = {_number(entry_id): fields[1] for entry_id, fields in wire.call("XRANGE", key, "-", "+")}
    assert wire.call("XLEN", key) == len(entries)
    info = wire.call("XINFO", "STREAM", key)
    last = _number(dict(zip(info[::2], info[1::2], strict=True))[b"last-generated-id"])
    groups = {}
    for found in wire.call("XINFO", "GROUPS", key):
        group = dict(zip(found[::2], found[1::2], strict=True))
        rows = wire.call("XPENDING", key, group[b"name"], "-", "+", 100_000)
        pending = {_number(entry_id): consumer for entry_id, consumer, _, _ in rows}
        assert group[b"pending"] == len(pending)
        groups[group[b"name"]] = GroupState(_number(group[b"last-delivered-id"]), pending)
    return StreamState(entries, last, groups)
