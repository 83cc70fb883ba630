"""Reading and replacing one string: GET, SET and their relatives.

Source: https://redis.io/docs/latest/commands/?group=string
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from diskkv.codec.header import Header, Value, expire_ms_of, with_expiry
from diskkv.commands import string_options as options
from diskkv.commands.expiration import deadline_ms
from diskkv.commands.registry import Flag, KeySpec, command
from diskkv.datatypes import strings
from diskkv.resp.reply import BULK_HEADS, OK, ONE, ZERO
from diskkv.services import notifications
from diskkv.services.client import Client
from diskkv.services.streaming import Reply, reply_of

_INLINE_MAX_BYTES = strings.INLINE_MAX_BYTES
_STREAMED_BYTES = 256 * 1024
_RELATIVE_UNIT_MS = {b"EX": 1000, b"ex": 1000, b"PX": 1, b"px": 1}


@command(
    "GET",
    arity=2,
    flags=Flag.READONLY | Flag.FAST,
    keys=KeySpec("RO access"),
    group="string",
    since="1.0.0",
    complexity="O(1)",
    syntax="key",
)
def get(client: Client, argv: list[bytes]) -> Reply:
    """Return the string at a key."""
    value = client.db.read(argv[1])
    if value.__class__ is bytes:
        size = len(value)
        if size < 2048:
            return BULK_HEADS[size] + value + b"\r\n"
        return b"$%d\r\n%b\r\n" % (size, value)
    return string_reply(client, value)


def string_reply(client: Client, value: Value | None) -> Reply:
    """A string in full, or null; raises WrongTypeError for another type."""
    if value is None:
        return client.null
    strings.require_string(value)
    if isinstance(value, Header) and value.value is None:
        return part_reply(client, value, 0, value.count)
    data = strings.read(client.engine, value)
    return b"$%d\r\n%b\r\n" % (len(data), data)


def part_reply(client: Client, value: Value, start: int, stop: int) -> Reply:
    """The bytes from `start` up to `stop` (exclusive) of a string."""
    size = stop - start
    if size > _STREAMED_BYTES and isinstance(value, Header) and value.value is None:
        chunks = strings.stream_range(client.engine, value, start, stop)
        return reply_of(client, b"$%d\r\n" % size, chain(chunks, (b"\r\n",)))
    return b"$%d\r\n%b\r\n" % (size, strings.read_range(client.engine, value, start, stop))


# ---- SET


def _set_keys(argv: Sequence[bytes]) -> list[tuple[int, str]]:
    """SET reads the old value only with GET or a comparison."""
    reads = any(argument.upper() in _READING_OPTIONS for argument in argv[3:])
    return [(1, "RW access update" if reads else "OW update")]


_READING_OPTIONS = frozenset({b"GET", b"IFEQ", b"IFNE", b"IFDEQ", b"IFDNE"})


@command(
    "SET",
    arity=-3,
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=KeySpec("RW access update variable_flags", notes="RW and ACCESS due to the optional `GET` argument"),
    group="string",
    since="1.0.0",
    complexity="O(1)",
    syntax="key value condition=[NX | XX | IFEQ@8.4.0 ifeq-value | IFNE@8.4.0 ifne-value | "
    "IFDEQ@8.4.0 ifdeq-digest:integer | IFDNE@8.4.0 ifdne-digest:integer]@2.6.12 [GET@6.2.0] "
    "[EX@2.6.12 seconds | PX@2.6.12 milliseconds | EXAT@6.2.0 unix-time-seconds | "
    "PXAT@6.2.0 unix-time-milliseconds | KEEPTTL@6.0.0]",
    get_keys=_set_keys,
)
def set_(client: Client, argv: list[bytes]) -> Reply:
    """Set a key to a string, whatever it held before."""
    if len(argv) > 3:
        return _set_with_options(client, argv)
    key = argv[1]
    data = argv[2]
    database = client.db
    if len(data) > _INLINE_MAX_BYTES:
        database.put(key, strings.make(client.engine, data), database.get(key))
    elif not database.replace_plain(key, data):
        database.put(key, data, database.get(key))
    events = client.instance.notifications
    if events.enabled:
        events.event(notifications.STRING, b"set", key, database)
    return OK


def _set_with_options(client: Client, argv: list[bytes]) -> Reply:
    key = argv[1]
    database = client.db
    engine = client.engine
    if len(argv) == 5:
        unit_ms = _RELATIVE_UNIT_MS.get(argv[3])
        if unit_ms is not None:
            expire_ms = deadline_ms(argv[4], unit_ms, engine.now_ms, b"set")
            return _store(client, key, argv[2], expire_ms, database.get(key), True)
    bits, time, operand = options.parse_options(argv, 3, options.SET_OPTIONS)
    expire_ms = options.expire_ms_of_options(bits, time, engine.now_ms, b"set")
    reply: Reply = OK
    refusal: Reply = client.null
    if bits & options.GET:
        old = database.read(key)
        reply = refusal = string_reply(client, old)
    else:
        old = database.get(key)
    if old is None:
        if bits & (options.XX | options.IFEQ | options.IFDEQ):
            return refusal
    elif bits & options.COMPARISONS:
        strings.require_string(old)
        engine.keyspace_hits += 1
        if not options.compares(engine, old, bits, operand):
            return refusal
    elif bits & options.NX:
        return refusal
    if bits & options.KEEPTTL and old is not None:
        expire_ms = expire_ms_of(old)
    _store(client, key, argv[2], expire_ms, old, bool(bits & options.EXPIRES))
    return reply


def _store(client: Client, key: bytes, data: bytes, expire_ms: int, old: Value | None, expires: bool) -> bytes:
    """Put a string that may expire; `expires`: its time to live is new."""
    database = client.db
    database.put(key, strings.make(client.engine, data, expire_ms), old)
    events = client.instance.notifications
    if events.enabled:
        events.event(notifications.STRING, b"set", key, database)
        if expires:
            events.event(notifications.GENERIC, b"expire", key, database)
    return OK


@command(
    "SETNX",
    arity=3,
    flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST,
    keys=KeySpec("OW insert"),
    group="string",
    since="1.0.0",
    complexity="O(1)",
    syntax="key value",
)
def setnx(client: Client, argv: list[bytes]) -> bytes:
    """Set a key to a string unless the key exists."""
    key = argv[1]
    if client.db.get(key) is not None:
        return ZERO
    _store(client, key, argv[2], 0, None, False)
    return ONE


@command(
    "SETEX",
    arity=4,
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=KeySpec("OW update"),
    group="string",
    since="2.0.0",
    complexity="O(1)",
    syntax="key seconds value",
)
def setex(client: Client, argv: list[bytes]) -> bytes:
    """Set a key to a string that expires after some seconds."""
    key = argv[1]
    expire_ms = deadline_ms(argv[2], 1000, client.engine.now_ms, b"setex")
    return _store(client, key, argv[3], expire_ms, client.db.get(key), True)


@command(
    "PSETEX",
    arity=4,
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=KeySpec("OW update"),
    group="string",
    since="2.6.0",
    complexity="O(1)",
    syntax="key milliseconds value",
)
def psetex(client: Client, argv: list[bytes]) -> bytes:
    """Set a key to a string that expires after some milliseconds."""
    key = argv[1]
    expire_ms = deadline_ms(argv[2], 1, client.engine.now_ms, b"psetex")
    return _store(client, key, argv[3], expire_ms, client.db.get(key), True)


# ---- reading and changing at once


@command(
    "GETSET",
    arity=3,
    flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST,
    keys=KeySpec("RW access update"),
    group="string",
    since="1.0.0",
    complexity="O(1)",
    syntax="key value",
)
def getset(client: Client, argv: list[bytes]) -> Reply:
    """Set a key to a string and return the string it held before."""
    key = argv[1]
    old = client.db.read(key)
    reply = string_reply(client, old)
    _store(client, key, argv[2], 0, old, False)
    return reply


@command(
    "GETDEL",
    arity=2,
    flags=Flag.WRITE | Flag.FAST,
    keys=KeySpec("RW access delete"),
    group="string",
    since="6.2.0",
    complexity="O(1)",
    syntax="key",
)
def getdel(client: Client, argv: list[bytes]) -> Reply:
    """Return the string at a key and delete the key."""
    key = argv[1]
    old = client.db.read(key)
    reply = string_reply(client, old)
    if old is not None:
        delete(client, key, old)
    return reply


def delete(client: Client, key: bytes, old: Value) -> None:
    """Delete a key that exists, and tell."""
    client.db.delete(key, old)
    events = client.instance.notifications
    if events.enabled:
        events.event(notifications.GENERIC, b"del", key, client.db)


@command(
    "GETEX",
    arity=-2,
    flags=Flag.WRITE | Flag.FAST,
    keys=KeySpec("RW access update", notes="RW and UPDATE because it changes the TTL"),
    group="string",
    since="6.2.0",
    complexity="O(1)",
    syntax="key [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | PERSIST]",
)
def getex(client: Client, argv: list[bytes]) -> Reply:
    """Return the string at a key and set, change or remove its time to live."""
    bits, time, _ = options.parse_options(argv, 2, options.GETEX_OPTIONS)
    key = argv[1]
    database = client.db
    old = database.read(key)
    if old is None:
        return client.null
    reply = string_reply(client, old)
    if not bits:
        return reply
    now_ms = client.engine.now_ms
    expire_ms = options.expire_ms_of_options(bits, time, now_ms, b"getex")
    if bits & options.PERSIST:
        if not expire_ms_of(old):
            return reply
        event = b"persist"
    elif expire_ms <= now_ms:
        delete(client, key, old)
        return reply
    else:
        event = b"expire"
    database.put(key, with_expiry(old, expire_ms), old)
    events = client.instance.notifications
    if events.enabled:
        events.event(notifications.GENERIC, event, key, database)
    return reply
