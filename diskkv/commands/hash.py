"""Hashes: setting, reading, deleting and counting fields (https://redis.io/docs/latest/commands/?group=hash)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from diskkv.codec.header import Header
from diskkv.codec.numbers import (
    INT64_MAX,
    INT64_MIN,
    LongDouble,
    add_long_doubles,
    format_long_double,
    parse_int64,
    parse_long_double,
)
from diskkv.commands.registry import Flag, KeySpec, command
from diskkv.datatypes import hashes
from diskkv.datatypes.hashes_edit import HashEdit
from diskkv.errors import CommandError, NotFloatError, NotIntegerError
from diskkv.resp.reply import EMPTY_ARRAY, OK, ONE, ZERO, array_header, bulk, integer, map_header, optional_bulks
from diskkv.services import notifications
from diskkv.services.client import Client
from diskkv.services.streaming import Reply, counted_reply, reply_of

_WRITE = Flag.WRITE | Flag.DENYOOM | Flag.FAST
_READ = Flag.READONLY | Flag.FAST
_PAIRS = "key data={field value [field value ...]}"


def read_hash(client: Client, key: bytes) -> Header | None:
    """The hash at a key for a read command, None when there is none. Raises WrongTypeError."""
    database = client.db
    return hashes.require_hash(database, key, database.read(key))


def get_hash(client: Client, key: bytes) -> Header | None:
    """The hash at a key for a write command, None when there is none. Raises WrongTypeError."""
    database = client.db
    return hashes.require_hash(database, key, database.get(key))


def notify(client: Client, event: bytes, key: bytes, exists: bool = True) -> None:
    """Publish what happened to a hash, and its end unless it still `exists`."""
    events = client.instance.notifications
    if events.enabled:
        events.event(notifications.HASH, event, key, client.db)
        if not exists:
            events.event(notifications.GENERIC, b"del", key, client.db)


# ---- setting


def _set_pairs(client: Client, argv: list[bytes], name: bytes) -> int:
    key = argv[1]
    database = client.db
    if len(argv) == 4:
        added = hashes.set_field(database, key, database.get(key), argv[2], argv[3])
    elif len(argv) & 1:
        raise CommandError(b"ERR wrong number of arguments for '%b' command" % name)
    else:
        old = hashes.require_hash(database, key, database.get(key))
        added = hashes.set_fields(database, key, old, argv, 2)
    events = client.instance.notifications
    if events.enabled:
        events.event(notifications.HASH, b"hset", key, database)
    return added


@command("HSET", arity=-4, flags=_WRITE, keys=KeySpec("RW update"), group="hash", since="2.0.0",
         complexity="O(N) where N is the number of fields that are set.",
         syntax=_PAIRS)  # fmt: skip
def hset(client: Client, argv: list[bytes]) -> bytes:
    """Set fields of a hash; answers how many are new."""
    return integer(_set_pairs(client, argv, b"hset"))


@command("HMSET", arity=-4, flags=_WRITE, keys=KeySpec("RW update"), group="hash", since="2.0.0",
         complexity="O(N) where N is the number of fields that are set.",
         syntax=_PAIRS)  # fmt: skip
def hmset(client: Client, argv: list[bytes]) -> bytes:
    """Set fields of a hash (HSET answers more)."""
    _set_pairs(client, argv, b"hmset")
    return OK


@command("HSETNX", arity=4, flags=_WRITE, keys=KeySpec("RW insert"), group="hash", since="2.0.0", complexity="O(1)",
         syntax="key field value")  # fmt: skip
def hsetnx(client: Client, argv: list[bytes]) -> bytes:
    """Set a field of a hash unless it exists."""
    key = argv[1]
    old = get_hash(client, key)
    if old is not None and hashes.get(client.engine, old, argv[2]) is not None:
        return ZERO
    hashes.set_fields(client.db, key, old, argv, 2)
    notify(client, b"hset", key)
    return ONE


@command("HINCRBY", arity=4, flags=_WRITE, keys=KeySpec("RW access update"), group="hash", since="2.0.0",
         complexity="O(1)", syntax="key field increment")  # fmt: skip
def hincrby(client: Client, argv: list[bytes]) -> bytes:
    """Add to the integer in a field of a hash, which is 0 when it does not exist."""
    _, key, field, argument = argv
    try:
        number = parse_int64(argument)
    except ValueError:
        raise NotIntegerError from None
    edit = HashEdit(client.db, key, get_hash(client, key))
    found = edit.get(field)
    expire_ms = 0
    if found is not None:
        data, expire_ms = found
        try:
            number += parse_int64(data)
        except ValueError:
            raise CommandError(b"ERR hash value is not an integer") from None
        if not INT64_MIN <= number <= INT64_MAX:
            raise CommandError(b"ERR increment or decrement would overflow")
    edit.put(field, b"%d" % number, expire_ms)
    edit.save()
    notify(client, b"hincrby", key)
    return integer(number)


@command("HINCRBYFLOAT", arity=4, flags=_WRITE, keys=KeySpec("RW access update"), group="hash", since="2.6.0",
         complexity="O(1)", syntax="key field increment:double")  # fmt: skip
def hincrbyfloat(client: Client, argv: list[bytes]) -> bytes:
    """Add to the floating point number in a field of a hash, which is 0 when it does not exist."""
    _, key, field, argument = argv
    try:
        increment = parse_long_double(argument)
    except ValueError:
        raise NotFloatError from None
    if increment.is_infinite:
        raise CommandError(b"ERR value is NaN or Infinity")
    edit = HashEdit(client.db, key, get_hash(client, key))
    found = edit.get(field)
    number, expire_ms = LongDouble(0, 0), 0
    if found is not None:
        data, expire_ms = found
        try:
            number = parse_long_double(data)
        except ValueError:
            raise CommandError(b"ERR hash value is not a float") from None
    try:
        text = format_long_double(add_long_doubles(number, increment))
    except OverflowError:
        raise CommandError(b"ERR increment would produce NaN or Infinity") from None
    edit.put(field, text, expire_ms)
    edit.save()
    notify(client, b"hincrbyfloat", key)
    return bulk(text)


# ---- deleting


@command("HDEL", arity=-3, flags=Flag.WRITE | Flag.FAST, keys=KeySpec("RW delete"), group="hash", since="2.0.0",
         complexity="O(N) where N is the number of fields that are deleted.",
         syntax="key field [field ...]")  # fmt: skip
def hdel(client: Client, argv: list[bytes]) -> bytes:
    """Delete fields of a hash, and the hash with its last one."""
    key = argv[1]
    old = get_hash(client, key)
    if old is None:
        return ZERO
    deleted, exists = hashes.delete_fields(client.db, key, old, argv[2:])
    if deleted:
        notify(client, b"hdel", key, exists)
    return integer(deleted)


# ---- reading


@command("HGET", arity=3, flags=_READ, keys=KeySpec("RO access"), group="hash", since="2.0.0", complexity="O(1)",
         syntax="key field")  # fmt: skip
def hget(client: Client, argv: list[bytes]) -> bytes:
    """Return the value of a field of a hash."""
    key = argv[1]
    database = client.db
    header = hashes.require_hash(database, key, database.read(key))
    if header is None:
        return client.null
    value = hashes.get(client.engine, header, argv[2])
    return client.null if value is None else b"$%d\r\n%b\r\n" % (len(value), value)


@command("HMGET", arity=-3, flags=_READ, keys=KeySpec("RO access"), group="hash", since="2.0.0",
         complexity="O(N) where N is the number of fields that are asked for.",
         syntax="key field [field ...]")  # fmt: skip
def hmget(client: Client, argv: list[bytes]) -> bytes:
    """Return the values of fields of a hash."""
    header = read_hash(client, argv[1])
    if header is None:
        return b"*%d\r\n%b" % (len(argv) - 2, client.null * (len(argv) - 2))
    engine = client.engine
    get = hashes.get
    return optional_bulks([get(engine, header, field) for field in argv[2:]], client.resp)


@command("HEXISTS", arity=3, flags=_READ, keys=KeySpec("RO"), group="hash", since="2.0.0", complexity="O(1)",
         syntax="key field")  # fmt: skip
def hexists(client: Client, argv: list[bytes]) -> bytes:
    """Tell whether a field of a hash exists."""
    header = read_hash(client, argv[1])
    return ONE if header is not None and hashes.get(client.engine, header, argv[2]) is not None else ZERO


@command("HSTRLEN", arity=3, flags=_READ, keys=KeySpec("RO"), group="hash", since="3.2.0", complexity="O(1)",
         syntax="key field")  # fmt: skip
def hstrlen(client: Client, argv: list[bytes]) -> bytes:
    """Return the length of the value of a field of a hash."""
    header = read_hash(client, argv[1])
    value = None if header is None else hashes.get(client.engine, header, argv[2])
    return ZERO if value is None else integer(len(value))


@command("HLEN", arity=2, flags=_READ, keys=KeySpec("RO"), group="hash", since="2.0.0", complexity="O(1)",
         syntax="key")  # fmt: skip
def hlen(client: Client, argv: list[bytes]) -> bytes:
    """Return the number of fields of a hash."""
    header = read_hash(client, argv[1])
    return ZERO if header is None else integer(hashes.length(client.engine, header))


@command("HGETALL", arity=2, flags=Flag.READONLY, keys=KeySpec("RO access"), group="hash", since="2.0.0",
         complexity="O(N) where N is the number of fields.", syntax="key",
         tips=("nondeterministic_output_order",))  # fmt: skip
def hgetall(client: Client, argv: list[bytes]) -> Reply:
    """Return all fields of a hash with their values."""
    header = read_hash(client, argv[1])
    if header is None:
        return map_header(0, client.resp)
    if header.value is None:
        resp = client.resp
        return _large_reply(client, header, lambda count: map_header(count, resp), _encoded_pair)
    pieces = [
        b"$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(field), field, len(value), value)
        for field, value in header.value.items()
    ]
    return map_header(len(pieces), client.resp) + b"".join(pieces)


@command("HKEYS", arity=2, flags=Flag.READONLY, keys=KeySpec("RO access"), group="hash", since="2.0.0",
         complexity="O(N) where N is the number of fields.", syntax="key",
         tips=("nondeterministic_output_order",))  # fmt: skip
def hkeys(client: Client, argv: list[bytes]) -> Reply:
    """Return all fields of a hash."""
    return _all(client, argv[1], 0)


@command("HVALS", arity=2, flags=Flag.READONLY, keys=KeySpec("RO access"), group="hash", since="2.0.0",
         complexity="O(N) where N is the number of fields.", syntax="key",
         tips=("nondeterministic_output_order",))  # fmt: skip
def hvals(client: Client, argv: list[bytes]) -> Reply:
    """Return the values of all fields of a hash."""
    return _all(client, argv[1], 1)


def _all(client: Client, key: bytes, at: int) -> Reply:
    header = read_hash(client, key)
    if header is None:
        return EMPTY_ARRAY
    if header.value is None:
        return _large_reply(client, header, array_header, lambda pair: bulk(pair[at]))
    pieces = [b"$%d\r\n%b\r\n" % (len(pair[at]), pair[at]) for pair in header.value.items()]
    return b"*%d\r\n%b" % (len(pieces), b"".join(pieces))


def _encoded_pair(pair: tuple[bytes, bytes]) -> bytes:
    field, value = pair
    return b"$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(field), field, len(value), value)


def _large_reply(
    client: Client, header: Header, head: Callable[[int], bytes], encode: Callable[[tuple[bytes, bytes]], bytes]
) -> Reply:
    """All fields of a hash in rows, encoded one by one. Fields that expired make their number unknown."""
    engine = client.engine
    if hashes.has_expired(engine, header):

        def items() -> Iterator[bytes]:
            return (b"" if pair is None else encode(pair) for pair in hashes.slots(engine, header))

        return counted_reply(client, head, items)
    return reply_of(client, head(header.count), map(encode, hashes.pairs(engine, header)), header.count)
