"""Times to live: setting, reading and removing them."""

from __future__ import annotations

from diskkv.codec.header import expire_ms_of, with_expiry
from diskkv.codec.numbers import parse_int64
from diskkv.commands.registry import Flag, KeySpec, command
from diskkv.errors import CommandError, NotIntegerError
from diskkv.resp.reply import MINUS_ONE, MINUS_TWO, ONE, ZERO, integer
from diskkv.services import notifications
from diskkv.services.client import Client

_MAX_MS = 2**63 - 1
_SYNTAX = "[NX | XX | GT | LT]@7.0.0"
_EXPIRE_FLAGS = Flag.WRITE | Flag.FAST
_READ_FLAGS = Flag.READONLY | Flag.FAST


def absolute_ms(client: Client, number: int, unit_ms: int, relative: bool, command_name: str) -> int:
    """The absolute time in ms of an expiry argument. Raises Redis' error when it does not fit."""
    message = f"ERR invalid expire time in '{command_name}' command"
    at_ms = number * unit_ms
    if not -_MAX_MS - 1 <= at_ms <= _MAX_MS:
        raise CommandError(message)
    if relative:
        at_ms += client.engine.now_ms
        if at_ms > _MAX_MS:
            raise CommandError(message)
    return at_ms


def _parse_conditions(argv: list[bytes]) -> frozenset[bytes]:
    conditions = set()
    for option in argv[3:]:
        condition = option.upper()
        if condition not in (b"NX", b"XX", b"GT", b"LT"):
            raise CommandError(b"ERR Unsupported option " + option.partition(b"\0")[0])
        conditions.add(condition)
    if b"NX" in conditions and len(conditions) > 1:
        raise CommandError(b"ERR NX and XX, GT or LT options at the same time are not compatible")
    if b"GT" in conditions and b"LT" in conditions:
        raise CommandError(b"ERR GT and LT options at the same time are not compatible")
    return frozenset(conditions)


def _expire(client: Client, argv: list[bytes], unit_ms: int, relative: bool) -> bytes:
    key = argv[1]
    conditions = _parse_conditions(argv) if len(argv) > 3 else frozenset()
    try:
        number = parse_int64(argv[2])
    except ValueError:
        raise NotIntegerError from None
    name = argv[0].decode("latin-1").lower()
    at_ms = absolute_ms(client, number, unit_ms, relative, name)
    database = client.db
    value = database.get(key)
    if value is None:
        return ZERO
    current_ms = expire_ms_of(value)
    if conditions and not _holds(conditions, current_ms, at_ms):
        return ZERO
    events = client.instance.notifications
    if at_ms <= client.engine.now_ms:
        database.delete(key, value)
        if events.enabled:
            events.event(notifications.GENERIC, b"del", key, database)
        return ONE
    database.put(key, with_expiry(value, at_ms), value)
    if events.enabled:
        events.event(notifications.GENERIC, b"expire", key, database)
    return ONE


def _holds(conditions: frozenset[bytes], current_ms: int, at_ms: int) -> bool:
    """Whether the conditions allow the new time; a key without a time to live counts as living forever."""
    if b"NX" in conditions and current_ms:
        return False
    if b"XX" in conditions and not current_ms:
        return False
    if b"GT" in conditions and (not current_ms or at_ms <= current_ms):
        return False
    return not (b"LT" in conditions and current_ms and at_ms >= current_ms)


@command("EXPIRE", arity=-3, flags=_EXPIRE_FLAGS, keys=KeySpec("RW update"), group="generic", since="1.0.0",
         complexity="O(1)", syntax=f"key seconds {_SYNTAX}")  # fmt: skip
def expire(client: Client, argv: list[bytes]) -> bytes:
    """Let a key live for so many seconds from now."""
    return _expire(client, argv, 1000, True)


@command("PEXPIRE", arity=-3, flags=_EXPIRE_FLAGS, keys=KeySpec("RW update"), group="generic", since="2.6.0",
         complexity="O(1)", syntax=f"key milliseconds {_SYNTAX}")  # fmt: skip
def pexpire(client: Client, argv: list[bytes]) -> bytes:
    """Let a key live for so many milliseconds from now."""
    return _expire(client, argv, 1, True)


@command("EXPIREAT", arity=-3, flags=_EXPIRE_FLAGS, keys=KeySpec("RW update"), group="generic", since="1.2.0",
         complexity="O(1)", syntax=f"key unix-time-seconds {_SYNTAX}")  # fmt: skip
def expireat(client: Client, argv: list[bytes]) -> bytes:
    """Let a key live until a Unix time in seconds."""
    return _expire(client, argv, 1000, False)


@command("PEXPIREAT", arity=-3, flags=_EXPIRE_FLAGS, keys=KeySpec("RW update"), group="generic", since="2.6.0",
         complexity="O(1)", syntax=f"key unix-time-milliseconds {_SYNTAX}")  # fmt: skip
def pexpireat(client: Client, argv: list[bytes]) -> bytes:
    """Let a key live until a Unix time in milliseconds."""
    return _expire(client, argv, 1, False)


def _expire_ms(client: Client, key: bytes) -> int:
    """The absolute expiry of a key in ms: -2 without the key, -1 without an expiry."""
    value = client.db.read(key)
    if value is None:
        return -2
    return expire_ms_of(value) or -1


def _shown(at: int) -> bytes:
    return MINUS_TWO if at == -2 else MINUS_ONE if at == -1 else integer(at)


@command("TTL", arity=2, flags=_READ_FLAGS, keys=KeySpec("RO access"), group="generic", since="1.0.0",
         complexity="O(1)", syntax="key", tips=("nondeterministic_output",))  # fmt: skip
def ttl(client: Client, argv: list[bytes]) -> bytes:
    """Tell how many seconds a key has left."""
    at_ms = _expire_ms(client, argv[1])
    return _shown(at_ms if at_ms < 0 else (max(0, at_ms - client.engine.now_ms) + 500) // 1000)


@command("PTTL", arity=2, flags=_READ_FLAGS, keys=KeySpec("RO access"), group="generic", since="2.6.0",
         complexity="O(1)", syntax="key", tips=("nondeterministic_output",))  # fmt: skip
def pttl(client: Client, argv: list[bytes]) -> bytes:
    """Tell how many milliseconds a key has left."""
    at_ms = _expire_ms(client, argv[1])
    return _shown(at_ms if at_ms < 0 else max(0, at_ms - client.engine.now_ms))


@command("EXPIRETIME", arity=2, flags=_READ_FLAGS, keys=KeySpec("RO access"), group="generic", since="7.0.0",
         complexity="O(1)", syntax="key")  # fmt: skip
def expiretime(client: Client, argv: list[bytes]) -> bytes:
    """Tell the Unix time in seconds at which a key expires."""
    at_ms = _expire_ms(client, argv[1])
    return _shown(at_ms if at_ms < 0 else (at_ms + 500) // 1000)


@command("PEXPIRETIME", arity=2, flags=_READ_FLAGS, keys=KeySpec("RO access"), group="generic", since="7.0.0",
         complexity="O(1)", syntax="key")  # fmt: skip
def pexpiretime(client: Client, argv: list[bytes]) -> bytes:
    """Tell the Unix time in milliseconds at which a key expires."""
    return _shown(_expire_ms(client, argv[1]))


@command("PERSIST", arity=2, flags=_EXPIRE_FLAGS, keys=KeySpec("RW update"), group="generic", since="2.2.0",
         complexity="O(1)", syntax="key")  # fmt: skip
def persist(client: Client, argv: list[bytes]) -> bytes:
    """Take the time to live away from a key."""
    key = argv[1]
    database = client.db
    value = database.get(key)
    if value is None or not expire_ms_of(value):
        return ZERO
    database.put(key, with_expiry(value, 0), value)
    events = client.instance.notifications
    if events.enabled:
        events.event(notifications.GENERIC, b"persist", key, database)
    return ONE
