"""Keys whatever their type: existence, deletion, renaming, copying, looking inside."""

from __future__ import annotations

import random

from diskkv.codec.header import TYPE_NAMES, Value, value_type
from diskkv.codec.keys import prefix_successor
from diskkv.codec.numbers import parse_int64
from diskkv.commands.registry import Flag, KeySpec, command
from diskkv.datatypes import operations
from diskkv.engine.database import Database
from diskkv.errors import CommandError, CommandSyntaxError, NotIntegerError
from diskkv.resp import reply
from diskkv.resp.reply import OK, ONE, ZERO, bulk, integer
from diskkv.services import notifications
from diskkv.services.client import Client

NO_SUCH_KEY = b"ERR no such key"
INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1


def parse_database(client: Client, text: bytes) -> Database:
    """The database of an index argument. Raises Redis' errors for what is no index or out of range."""
    try:
        index = parse_int64(text)
    except ValueError:
        raise NotIntegerError from None
    if not INT32_MIN <= index <= INT32_MAX:
        raise CommandError(b"ERR value is out of range, value must between -2147483648 and 2147483647")
    if not 0 <= index < client.instance.config.databases:
        raise CommandError(b"ERR DB index is out of range")
    return client.engine.database(index)


def delete_key(client: Client, database: Database, key: bytes, event: bytes = b"del") -> bool:
    """Delete a key with its notification; False when there is none."""
    old = database.get(key)
    if old is None:
        return False
    database.delete(key, old)
    events = client.instance.notifications
    if events.enabled:
        events.event(notifications.GENERIC, event, key, database)
    return True


def _delete_all(client: Client, argv: list[bytes]) -> bytes:
    deleted = 0
    for key in argv[1:]:
        if delete_key(client, client.db, key):
            deleted += 1
    return integer(deleted)


@command(
    "DEL",
    arity=-2,
    flags=Flag.WRITE,
    keys=KeySpec("RM delete", last=-1),
    group="generic",
    since="1.0.0",
    complexity="O(N) where N is the number of keys; the space of big values is freed in the background.",
    syntax="key [key ...]",
    tips=("request_policy:multi_shard", "response_policy:agg_sum"),
)
def del_(client: Client, argv: list[bytes]) -> bytes:
    """Delete keys."""
    return _delete_all(client, argv)


@command(
    "UNLINK",
    arity=-2,
    flags=Flag.WRITE | Flag.FAST,
    keys=KeySpec("RM delete", last=-1),
    group="generic",
    since="4.0.0",
    complexity="O(1) for each key; the space is freed in the background.",
    syntax="key [key ...]",
    tips=("request_policy:multi_shard", "response_policy:agg_sum"),
)
def unlink(client: Client, argv: list[bytes]) -> bytes:
    """Delete keys (the same as DEL, which does not block either)."""
    return _delete_all(client, argv)


@command(
    "EXISTS",
    arity=-2,
    flags=Flag.READONLY | Flag.FAST,
    keys=KeySpec("RO", last=-1),
    group="generic",
    since="1.0.0",
    complexity="O(N) where N is the number of keys.",
    syntax="key [key ...]",
    tips=("request_policy:multi_shard", "response_policy:agg_sum"),
)
def exists(client: Client, argv: list[bytes]) -> bytes:
    """Count how many of the keys exist, repeated ones as often as they are given."""
    read = client.db.read
    return integer(sum(read(key) is not None for key in argv[1:]))


@command(
    "TOUCH",
    arity=-2,
    flags=Flag.READONLY | Flag.FAST,
    keys=KeySpec("RO", last=-1),
    group="generic",
    since="3.2.1",
    complexity="O(N) where N is the number of keys.",
    syntax="key [key ...]",
    tips=("request_policy:multi_shard", "response_policy:agg_sum"),
)
def touch(client: Client, argv: list[bytes]) -> bytes:
    """Count the keys that exist, and make them recently used."""
    read = client.db.read
    return integer(sum(read(key) is not None for key in argv[1:]))


@command(
    "TYPE",
    arity=2,
    flags=Flag.READONLY | Flag.FAST,
    keys=KeySpec("RO"),
    group="generic",
    since="1.0.0",
    complexity="O(1)",
    syntax="key",
)
def type_(client: Client, argv: list[bytes]) -> bytes:
    """Name the type of the value at a key."""
    value = client.db.read(argv[1])
    return b"+none\r\n" if value is None else reply.simple(TYPE_NAMES[value_type(value)])


def _move_value(source: Database, key: bytes, value: Value, target: Database, new_key: bytes) -> None:
    """Give a value another name in constant time: its rows stay where they are."""
    source.delete(key, value, reclaim=False)
    target.put(new_key, value, None)


def _replace_target(client: Client, database: Database, key: bytes) -> None:
    old = database.get(key)
    if old is not None:
        database.delete(key, old)


def _rename(client: Client, argv: list[bytes], only_new: bool) -> bytes:
    source, target = argv[1], argv[2]
    database = client.db
    value = database.get(source)
    if value is None:
        raise CommandError(NO_SUCH_KEY)
    if source == target:
        return ZERO if only_new else OK
    if only_new and database.get(target) is not None:
        return ZERO
    _replace_target(client, database, target)
    _move_value(database, source, value, database, target)
    events = client.instance.notifications
    if events.enabled:
        events.event(notifications.GENERIC, b"rename_from", source, database)
        events.event(notifications.GENERIC, b"rename_to", target, database)
    return ONE if only_new else OK


@command(
    "RENAME",
    arity=3,
    flags=Flag.WRITE,
    keys=(KeySpec("RW access delete"), KeySpec("OW update", begin=2)),
    group="generic",
    since="1.0.0",
    complexity="O(1)",
    syntax="key newkey",
)
def rename(client: Client, argv: list[bytes]) -> bytes:
    """Give a key another name, replacing what had that name."""
    return _rename(client, argv, only_new=False)


@command(
    "RENAMENX",
    arity=3,
    flags=Flag.WRITE | Flag.FAST,
    keys=(KeySpec("RW access delete"), KeySpec("OW insert", begin=2)),
    group="generic",
    since="1.0.0",
    complexity="O(1)",
    syntax="key newkey",
)
def renamenx(client: Client, argv: list[bytes]) -> bytes:
    """Give a key another name unless that name is taken."""
    return _rename(client, argv, only_new=True)


@command(
    "MOVE",
    arity=3,
    flags=Flag.WRITE | Flag.FAST,
    keys=KeySpec("RW access update"),
    group="generic",
    since="1.0.0",
    complexity="O(1)",
    syntax="key db",
)
def move(client: Client, argv: list[bytes]) -> bytes:
    """Move a key to another database."""
    key = argv[1]
    source = client.db
    target = parse_database(client, argv[2])
    if source is target:
        raise CommandError(b"ERR source and destination objects are the same")
    value = source.get(key)
    if value is None or target.get(key) is not None:
        return ZERO
    _move_value(source, key, value, target, key)
    events = client.instance.notifications
    if events.enabled:
        events.event(notifications.GENERIC, b"move_from", key, source)
        events.event(notifications.GENERIC, b"move_to", key, target)
    return ONE


@command(
    "COPY",
    arity=-3,
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=(KeySpec("RO access"), KeySpec("OW update", begin=2)),
    group="generic",
    since="6.2.0",
    complexity="O(N) where N is the number of elements of a big value, O(1) for a small one.",
    syntax="source destination [DB destination-db] [REPLACE]",
)
def copy(client: Client, argv: list[bytes]) -> bytes:
    """Copy the value of a key to another key."""
    source_key, target_key = argv[1], argv[2]
    target = client.db
    replace = False
    at = 3
    while at < len(argv):
        option = argv[at].upper()
        if option == b"REPLACE":
            replace = True
        elif option == b"DB" and at + 1 < len(argv):
            at += 1
            target = parse_database(client, argv[at])
        else:
            raise CommandSyntaxError
        at += 1
    if target is client.db and source_key == target_key:
        raise CommandError(b"ERR source and destination objects are the same")
    value = client.db.read(source_key)
    if value is None:
        return ZERO
    if target.get(target_key) is not None:
        if not replace:
            return ZERO
        _replace_target(client, target, target_key)
    target.put(target_key, operations.of(value).copy(client.engine, value), None)
    events = client.instance.notifications
    if events.enabled:
        events.event(notifications.GENERIC, b"copy_to", target_key, target)
    return ONE


_SAMPLE_KEYS = 64
_SKIP_KEYS = 4096


@command(
    "RANDOMKEY",
    arity=1,
    flags=Flag.READONLY | Flag.TOUCHES_ARBITRARY_KEYS,
    group="generic",
    since="1.0.0",
    complexity="O(log N) seeks; O(1) keys are looked at.",
    tips=("request_policy:all_shards", "response_policy:special", "nondeterministic_output"),
)
def randomkey(client: Client, argv: list[bytes]) -> bytes:
    """Return a random key."""
    key = random_key(client)
    return client.null if key is None else bulk(key)


def random_key(client: Client) -> bytes | None:
    """A live key drawn nearly uniformly, None when there is none."""
    database = client.db
    for _ in range(100):
        if not database.keys:
            return None
        start = _random_position(client)
        skip = random.randrange(min(database.keys, _SKIP_KEYS if not start else _SAMPLE_KEYS))
        picked = None
        for at, (key, _value) in enumerate(database.scan_heads(start)):
            picked = key
            if at >= skip:
                break
        if picked is not None and database.get(picked) is not None:
            return picked
    return None


def _random_position(client: Client) -> bytes:
    """A key prefix such that about as much data lies before it as a uniform random share says; empty for the start.

    The store knows how much lies in a range without reading it, so a few bisections over the key bytes find the place.
    """
    database = client.db
    store = client.engine.store
    low = database.prefix
    high = prefix_successor(low)
    total = store.approximate_size_bytes(low, high)
    if total < 1 << 16:
        return b""
    wanted = random.randrange(total)
    base = low
    position = b""
    for _ in range(16):
        below, above = 0, 256
        while above - below > 1:
            middle = (below + above) // 2
            if store.approximate_size_bytes(base, low + position + bytes((middle,))) <= wanted:
                below = middle
            else:
                above = middle
        position += bytes((below,))
        if above - below == 1 and store.approximate_size_bytes(low + position, low + position + b"\xff") < 8192:
            break
    return position
