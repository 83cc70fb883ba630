"""Several strings at once: MGET, MSET, MSETNX and MSETEX."""

from __future__ import annotations

from diskkv.codec.header import STRING, expire_ms_of
from diskkv.codec.numbers import parse_int64
from diskkv.commands import string_options as options
from diskkv.commands.registry import Flag, KeySpec, command
from diskkv.datatypes import strings
from diskkv.errors import CommandError
from diskkv.resp.reply import BULK_HEADS, OK, ONE, ZERO
from diskkv.services import notifications
from diskkv.services.client import Client

_INLINE_MAX_BYTES = strings.INLINE_MAX_BYTES
_MAX_NUMKEYS = 2**31 - 1


@command(
    "MGET",
    arity=-2,
    flags=Flag.READONLY | Flag.FAST,
    keys=KeySpec("RO access", last=-1),
    group="string",
    since="1.0.0",
    complexity="O(N) where N is the number of keys",
    syntax="key [key ...]",
    tips=("request_policy:multi_shard",),
)
def mget(client: Client, argv: list[bytes]) -> bytes:
    """Return the strings at several keys, null for those that hold none."""
    parts = [b"*%d\r\n" % (len(argv) - 1)]
    for value in client.db.read_many(argv[1:]):
        if value.__class__ is not bytes:
            if value is None or value.type != STRING:  # type: ignore[union-attr]
                parts.append(client.null)
                continue
            value = strings.read(client.engine, value)
        size = len(value)
        if size < _SHORT_BYTES:
            parts += (BULK_HEADS[size], value, b"\r\n")
        else:
            parts.append(b"$%d\r\n%b\r\n" % (size, value))
    return b"".join(parts)


_SHORT_BYTES = len(BULK_HEADS)


def _set_pairs(client: Client, argv: list[bytes]) -> None:
    """Set argv[1] to argv[2], argv[3] to argv[4] and so on."""
    database = client.db
    events = client.instance.notifications
    enabled = events.enabled
    if not enabled and database.observer is None:
        values = argv[2::2]
        if max(map(len, values)) <= _INLINE_MAX_BYTES:
            database.put_plain(argv[1::2], values)
            return
    put = database.put
    get = database.get
    pairs = iter(argv)
    next(pairs)
    for key in pairs:
        data = next(pairs)
        if len(data) > _INLINE_MAX_BYTES:
            put(key, strings.make(client.engine, data), get(key))
        else:
            put(key, data, get(key))
        if enabled:
            events.event(notifications.STRING, b"set", key, database)


@command(
    "MSET",
    arity=-3,
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=KeySpec("OW update", last=-1, step=2),
    group="string",
    since="1.0.1",
    complexity="O(N) where N is the number of keys",
    syntax="key value [key value ...]",
    tips=("request_policy:multi_shard", "response_policy:all_succeeded"),
)
def mset(client: Client, argv: list[bytes]) -> bytes:
    """Set several keys to strings, whatever they held before."""
    if not len(argv) & 1:
        raise CommandError(b"ERR wrong number of arguments for 'mset' command")
    _set_pairs(client, argv)
    return OK


@command(
    "MSETNX",
    arity=-3,
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=KeySpec("OW insert", last=-1, step=2),
    group="string",
    since="1.0.1",
    complexity="O(N) where N is the number of keys",
    syntax="key value [key value ...]",
)
def msetnx(client: Client, argv: list[bytes]) -> bytes:
    """Set several keys to strings, only when none of the keys exists."""
    if not len(argv) & 1:
        raise CommandError(b"ERR wrong number of arguments for 'msetnx' command")
    get = client.db.get
    for key in argv[1::2]:
        if get(key) is not None:
            return ZERO
    _set_pairs(client, argv)
    return ONE


@command(
    "MSETEX",
    arity=-4,
    flags=Flag.WRITE | Flag.DENYOOM | Flag.MOVABLEKEYS,
    keys=KeySpec("OW update", keynum=0, first=1, step=2),
    group="string",
    since="8.4.0",
    complexity="O(N) where N is the number of keys",
    syntax="numkeys key value [key value ...] [NX | XX] [EX seconds | PX milliseconds | EXAT unix-time-seconds | "
    "PXAT unix-time-milliseconds | KEEPTTL]",
)
def msetex(client: Client, argv: list[bytes]) -> bytes:
    """Set several keys to strings with one time to live, if all or none of the keys exist when that is asked for."""
    stop = 2 + 2 * _numkeys(argv[1])
    if stop > len(argv):
        raise CommandError(b"ERR wrong number of key-value pairs")
    bits, time, _ = options.parse_options(argv, stop, options.MSETEX_OPTIONS)
    expire_ms = options.expire_ms_of_options(bits, time, client.engine.now_ms, b"msetex")
    database = client.db
    if bits & options.CONDITIONS:
        wanted = bool(bits & options.XX)
        if any((database.get(key) is not None) != wanted for key in argv[2:stop:2]):
            return ZERO
    events = client.instance.notifications
    for at in range(2, stop, 2):
        key = argv[at]
        old = database.get(key)
        if bits & options.KEEPTTL:
            expire_ms = 0 if old is None else expire_ms_of(old)
        database.put(key, strings.make(client.engine, argv[at + 1], expire_ms), old)
        if events.enabled:
            events.event(notifications.STRING, b"set", key, database)
            if bits & options.EXPIRES:
                events.event(notifications.GENERIC, b"expire", key, database)
    return ONE


def _numkeys(argument: bytes) -> int:
    try:
        number = parse_int64(argument)
    except ValueError:
        number = 0
    if not 0 < number <= _MAX_NUMKEYS:
        raise CommandError(b"ERR invalid numkeys value")
    return number
