"""Intersections, unions and differences of sets, answered or stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from diskkv.codec.header import Header
from diskkv.codec.numbers import parse_int64
from diskkv.commands.registry import Flag, KeySpec, command
from diskkv.commands.sets import set_reply
from diskkv.datatypes import sets, sets_algebra
from diskkv.errors import CommandError, CommandSyntaxError
from diskkv.resp.reply import ZERO, bulk, integer, set_header
from diskkv.services import notifications
from diskkv.services.client import Client
from diskkv.services.streaming import Reply, counted_reply

_READ_KEYS = KeySpec("RO access", last=-1)
_STORE_KEYS = (KeySpec("OW update"), KeySpec("RO access", begin=2, last=-1))
_STORE_FLAGS = Flag.WRITE | Flag.DENYOOM
_STORE_SYNTAX = "destination:key key [key ...]"
_TIPS = ("nondeterministic_output_order",)
_ALL_MEMBERS = "O(N) where N is the number of members of all sets together."
_CHEAPEST = "O(N*M) at worst, where N is the number of members of the smallest set and M the number of sets."


def _read_sets(client: Client, keys: Sequence[bytes]) -> list[Header | None]:
    """The sets at the keys, None for keys that do not exist. Raises WrongTypeError."""
    read = client.db.read
    return [sets.require_set(read(key)) for key in keys]


def _intersection(client: Client, keys: Sequence[bytes]) -> Iterator[bytes]:
    found = _read_sets(client, keys)
    existing = [header for header in found if header is not None]
    return sets_algebra.intersection(client.engine, existing) if len(existing) == len(found) else iter(())


def _union(client: Client, keys: Sequence[bytes]) -> Iterator[bytes]:
    existing = [header for header in _read_sets(client, keys) if header is not None]
    return sets_algebra.union(client.engine, existing) if existing else iter(())


def _minuend_and_others(client: Client, keys: Sequence[bytes]) -> tuple[Header | None, list[Header]]:
    first, *others = _read_sets(client, keys)
    return first, [header for header in others if header is not None]


def _store_all(client: Client, key: bytes, members: Iterator[bytes], event: bytes) -> bytes:
    builder = sets.SetBuilder(client.db)
    for member in members:
        builder.add(member)
    return _store(client, key, builder, event)


def _store(client: Client, key: bytes, builder: sets.SetBuilder, event: bytes) -> bytes:
    database = client.db
    old = database.get(key)
    if not builder.count:
        if old is not None:
            database.delete(key, old)
            _notify(client, notifications.GENERIC, b"del", key)
        return ZERO
    database.put(key, builder.header(0), old)
    _notify(client, notifications.SET, event, key)
    return integer(builder.count)


def _notify(client: Client, kind: int, event: bytes, key: bytes) -> None:
    events = client.instance.notifications
    if events.enabled:
        events.event(kind, event, key, client.db)


@command("SINTER", arity=-2, flags=Flag.READONLY, keys=_READ_KEYS, group="set", since="1.0.0", complexity=_CHEAPEST,
         syntax="key [key ...]", tips=_TIPS)  # fmt: skip
def sinter(client: Client, argv: list[bytes]) -> Reply:
    """Return the members that all of the sets have."""
    found = _read_sets(client, argv[1:])
    existing = [header for header in found if header is not None]
    if len(existing) != len(found):
        return set_reply(client, ())
    engine = client.engine
    smallest = min(existing, key=sets.length)
    is_settled = sets_algebra.only_scans(existing, smallest)
    return _members_reply(client, lambda: sets_algebra.intersection_steps(engine, existing), is_settled)


@command("SUNION", arity=-2, flags=Flag.READONLY, keys=_READ_KEYS, group="set", since="1.0.0", complexity=_ALL_MEMBERS,
         syntax="key [key ...]", tips=_TIPS)  # fmt: skip
def sunion(client: Client, argv: list[bytes]) -> Reply:
    """Return the members that any of the sets has."""
    existing = [header for header in _read_sets(client, argv[1:]) if header is not None]
    if not existing:
        return set_reply(client, ())
    engine = client.engine
    is_settled = any(header.value is None for header in existing)
    return _members_reply(client, lambda: sets_algebra.union(engine, existing), is_settled)


@command("SDIFF", arity=-2, flags=Flag.READONLY, keys=_READ_KEYS, group="set", since="1.0.0", complexity=_ALL_MEMBERS,
         syntax="key [key ...]", tips=_TIPS)  # fmt: skip
def sdiff(client: Client, argv: list[bytes]) -> Reply:
    """Return the members of the first set that none of the others has."""
    first, others = _minuend_and_others(client, argv[1:])
    if first is None:
        return set_reply(client, ())
    engine = client.engine
    is_settled = sets_algebra.only_scans(others, first)
    return _members_reply(client, lambda: sets_algebra.difference_steps(engine, first, others), is_settled)


def _members_reply(client: Client, steps: Callable[[], Iterator[bytes | None]], is_settled: bool) -> Reply:
    """The result of an operation, None in it for what is left out; streamed if it is settled when it begins."""
    if not is_settled:
        return set_reply(client, [member for member in steps() if member is not None])
    resp = client.resp
    return counted_reply(
        client,
        lambda count: set_header(count, resp),
        lambda: (b"" if member is None else bulk(member) for member in steps()),
    )


@command("SINTERSTORE", arity=-3, flags=_STORE_FLAGS, keys=_STORE_KEYS, group="set", since="1.0.0",
         complexity=_CHEAPEST, syntax=_STORE_SYNTAX)  # fmt: skip
def sinterstore(client: Client, argv: list[bytes]) -> bytes:
    """Store the members that all of the sets have."""
    return _store_all(client, argv[1], _intersection(client, argv[2:]), b"sinterstore")


@command("SUNIONSTORE", arity=-3, flags=_STORE_FLAGS, keys=_STORE_KEYS, group="set", since="1.0.0",
         complexity=_ALL_MEMBERS, syntax=_STORE_SYNTAX)  # fmt: skip
def sunionstore(client: Client, argv: list[bytes]) -> bytes:
    """Store the members that any of the sets has."""
    return _store_all(client, argv[1], _union(client, argv[2:]), b"sunionstore")


@command("SDIFFSTORE", arity=-3, flags=_STORE_FLAGS, keys=_STORE_KEYS, group="set", since="1.0.0",
         complexity=_ALL_MEMBERS, syntax=_STORE_SYNTAX)  # fmt: skip
def sdiffstore(client: Client, argv: list[bytes]) -> bytes:
    """Store the members of the first set that none of the others has."""
    first, others = _minuend_and_others(client, argv[2:])
    builder = sets.SetBuilder(client.db)
    if first is not None:
        sets_algebra.build_difference(client.engine, builder, first, others)
    return _store(client, argv[1], builder, b"sdiffstore")


@command("SINTERCARD", arity=-3, flags=Flag.READONLY | Flag.MOVABLEKEYS, keys=KeySpec("RO access", keynum=0, first=1),
         group="set", since="7.0.0", complexity=_CHEAPEST, syntax="numkeys key [key ...] [LIMIT limit]")  # fmt: skip
def sintercard(client: Client, argv: list[bytes]) -> bytes:
    """Count the members that all of the sets have."""
    count = _parse_positive(argv[1], b"ERR numkeys should be greater than 0", 1)
    if count > len(argv) - 2:
        raise CommandError(b"ERR Number of keys can't be greater than number of args")
    limit = 0
    at = 2 + count
    while at < len(argv):
        if argv[at].upper() != b"LIMIT" or at + 1 == len(argv):
            raise CommandSyntaxError
        limit = _parse_positive(argv[at + 1], b"ERR LIMIT can't be negative", 0)
        at += 2
    found = _intersection(client, argv[2 : 2 + count])
    return integer(sum(1 for _ in islice(found, limit or None)))


def _parse_positive(text: bytes, message: bytes, least: int) -> int:
    try:
        number = parse_int64(text)
    except ValueError:
        number = -1
    if number < least:
        raise CommandError(message)
    return number
