"""Strings as numbers: INCR, DECR, INCRBY, DECRBY and INCRBYFLOAT."""

from __future__ import annotations

from diskkv.codec.header import STRING, Header, Value
from diskkv.codec.numbers import (
    INT64_MAX,
    INT64_MIN,
    LongDouble,
    add_long_doubles,
    format_long_double,
    parse_int64,
    parse_long_double,
)
from diskkv.commands.arguments import parse_integer
from diskkv.commands.registry import Flag, KeySpec, command
from diskkv.errors import CommandError, NotFloatError, NotIntegerError, WrongTypeError
from diskkv.resp.reply import bulk
from diskkv.services import notifications
from diskkv.services.client import Client

_COUNTER_FLAGS = Flag.WRITE | Flag.DENYOOM | Flag.FAST
_COUNTER_KEYS = KeySpec("RW access update")


@command(
    "INCR",
    arity=2,
    flags=_COUNTER_FLAGS,
    keys=_COUNTER_KEYS,
    group="string",
    since="1.0.0",
    complexity="O(1)",
    syntax="key",
)
def incr(client: Client, argv: list[bytes]) -> bytes:
    """Add one to the integer at a key, which is 0 when it does not exist."""
    return _add(client, argv[1], 1)


@command(
    "DECR",
    arity=2,
    flags=_COUNTER_FLAGS,
    keys=_COUNTER_KEYS,
    group="string",
    since="1.0.0",
    complexity="O(1)",
    syntax="key",
)
def decr(client: Client, argv: list[bytes]) -> bytes:
    """Subtract one from the integer at a key, which is 0 when it does not exist."""
    return _add(client, argv[1], -1)


@command(
    "INCRBY",
    arity=3,
    flags=_COUNTER_FLAGS,
    keys=_COUNTER_KEYS,
    group="string",
    since="1.0.0",
    complexity="O(1)",
    syntax="key increment",
)
def incrby(client: Client, argv: list[bytes]) -> bytes:
    """Add to the integer at a key, which is 0 when it does not exist."""
    return _add(client, argv[1], parse_integer(argv[2]))


@command(
    "DECRBY",
    arity=3,
    flags=_COUNTER_FLAGS,
    keys=_COUNTER_KEYS,
    group="string",
    since="1.0.0",
    complexity="O(1)",
    syntax="key decrement",
)
def decrby(client: Client, argv: list[bytes]) -> bytes:
    """Subtract from the integer at a key, which is 0 when it does not exist."""
    decrement = parse_integer(argv[2])
    if decrement == INT64_MIN:
        raise CommandError(b"ERR decrement would overflow")
    return _add(client, argv[1], -decrement)


def _add(client: Client, key: bytes, increment: int) -> bytes:
    database = client.db
    old = database.get(key)
    expire_ms = 0
    if old.__class__ is bytes:
        try:
            number = parse_int64(old) + increment
        except ValueError:
            raise NotIntegerError from None
    elif old is None:
        number = increment
    else:
        data, expire_ms = _inline(old)
        number = parse_integer(data) + increment
    if not INT64_MIN <= number <= INT64_MAX:
        raise CommandError(b"ERR increment or decrement would overflow")
    data = b"%d" % number
    database.put(key, Header(STRING, data, expire_ms) if expire_ms else data, old)
    events = client.instance.notifications
    if events.enabled:
        events.event(notifications.STRING, b"incrby", key, database)
    return b":%b\r\n" % data


def _inline(value: Value) -> tuple[bytes, int]:
    """A string and when it expires; of one in chunks, which is too long for any number, an empty one."""
    if isinstance(value, bytes):
        return value, 0
    if value.type != STRING:
        raise WrongTypeError
    return value.value or b"", value.expire_ms


@command(
    "INCRBYFLOAT",
    arity=3,
    flags=_COUNTER_FLAGS,
    keys=_COUNTER_KEYS,
    group="string",
    since="2.6.0",
    complexity="O(1)",
    syntax="key increment:double",
)
def incrbyfloat(client: Client, argv: list[bytes]) -> bytes:
    """Add to the floating point number at a key, which is 0 when it does not exist."""
    key = argv[1]
    database = client.db
    old = database.get(key)
    data, expire_ms = (b"0", 0) if old is None else _inline(old)
    try:
        total = add_long_doubles(_long_double(data), _long_double(argv[2]))
    except OverflowError:
        raise CommandError(b"ERR increment would produce NaN or Infinity") from None
    data = format_long_double(total)
    database.put(key, Header(STRING, data, expire_ms) if expire_ms else data, old)
    events = client.instance.notifications
    if events.enabled:
        events.event(notifications.STRING, b"incrbyfloat", key, database)
    return bulk(data)


def _long_double(data: bytes) -> LongDouble:
    try:
        return parse_long_double(data)
    except ValueError:
        raise NotFloatError from None
