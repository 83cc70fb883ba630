"""The commands of the string group (https://redis.io/docs/latest/commands/?group=string)."""

from __future__ import annotations

from diskkv.codec.header import STRING, Header
from diskkv.codec.numbers import parse_int64
from diskkv.commands.registry import Flag, KeySpec, command
from diskkv.datatypes import strings
from diskkv.errors import CommandError, CommandSyntaxError, NotIntegerError, WrongTypeError
from diskkv.resp.reply import OK
from diskkv.services import notifications
from diskkv.services.client import Client

_INT64_MAX = 2**63 - 1
_INT64_MIN = -(2**63)


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
def get(client: Client, argv: list[bytes]) -> bytes:
    """Return the string at a key."""
    value = client.db.read(argv[1])
    if value.__class__ is bytes:
        return b"$%d\r\n%b\r\n" % (len(value), value)  # type: ignore[arg-type]
    if value is None:
        return client.null
    strings.require_string(value)
    data = strings.read(client.engine, value)
    return b"$%d\r\n%b\r\n" % (len(data), data)


@command(
    "SET",
    arity=-3,
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=KeySpec("RW access update variable_flags"),
    group="string",
    since="1.0.0",
    complexity="O(1)",
    syntax="key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | "
    "PXAT unix-time-milliseconds | KEEPTTL]",
)
def set_(client: Client, argv: list[bytes]) -> bytes:
    """Set a key to a string, whatever it held before."""
    key = argv[1]
    data = argv[2]
    database = client.db
    if len(argv) > 3:
        return _set_with_options(client, argv)
    if len(data) > strings.INLINE_MAX_BYTES:
        old = database.get(key)
        database.put(key, strings.make(client.engine, data), old)
    else:
        database.put(key, data, database.get(key))
    events = client.instance.notifications
    if events.enabled:
        events.event(notifications.STRING, b"set", key, database)
    return OK


def _set_with_options(client: Client, argv: list[bytes]) -> bytes:
    raise CommandSyntaxError


@command(
    "INCR",
    arity=2,
    flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST,
    keys=KeySpec("RW access update"),
    group="string",
    since="1.0.0",
    complexity="O(1)",
    syntax="key",
)
def incr(client: Client, argv: list[bytes]) -> bytes:
    """Add one to the integer at a key."""
    return _add(client, argv[1], 1)


def _add(client: Client, key: bytes, increment: int) -> bytes:
    database = client.db
    old = database.get(key)
    if old.__class__ is bytes:
        expire_ms = 0
        number = _integer(old)  # type: ignore[arg-type]
    elif old is None:
        expire_ms = number = 0
    else:
        if old.type != STRING:  # type: ignore[union-attr]
            raise WrongTypeError
        expire_ms = old.expire_ms  # type: ignore[union-attr]
        number = _integer(strings.read(client.engine, old))
    number += increment
    if not _INT64_MIN <= number <= _INT64_MAX:
        raise CommandError(b"ERR increment or decrement would overflow")
    data = b"%d" % number
    database.put(key, Header(STRING, data, expire_ms) if expire_ms else data, old)
    events = client.instance.notifications
    if events.enabled:
        events.event(notifications.STRING, b"incrby", key, database)
    return b":%b\r\n" % data


def _integer(data: bytes) -> int:
    try:
        return parse_int64(data)
    except ValueError:
        raise NotIntegerError from None
