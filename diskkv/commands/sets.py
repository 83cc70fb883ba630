"""Sets: adding, removing, asking, drawing and scanning members (https://redis.io/docs/latest/commands/?group=set)."""

from __future__ import annotations

from collections.abc import Sequence

from diskkv.codec.header import Header
from diskkv.codec.numbers import parse_int64
from diskkv.commands.draws import draws_reply, parse_draws
from diskkv.commands.hash_scan import EMPTY_PAGE
from diskkv.commands.registry import Flag, KeySpec, command
from diskkv.commands.scan import parse_cursor, parse_options
from diskkv.datatypes import sets
from diskkv.errors import CommandError, CommandSyntaxError
from diskkv.resp.reply import EMPTY_ARRAY, ONE, ZERO, bulk, bulks, integer, integers, set_header
from diskkv.services import notifications
from diskkv.services.client import Client
from diskkv.services.streaming import Reply, reply_of

_READ = Flag.READONLY | Flag.FAST
_WRITE = Flag.WRITE | Flag.FAST


def read_set(client: Client, key: bytes) -> Header | None:
    """The set at a key for a read command, None when there is none. Raises WrongTypeError."""
    return sets.require_set(client.db.read(key))


def notify(client: Client, event: bytes, key: bytes, exists: bool = True) -> None:
    """Publish what happened to a set, and its end unless it still `exists`."""
    events = client.instance.notifications
    if events.enabled:
        events.event(notifications.SET, event, key, client.db)
        if not exists:
            events.event(notifications.GENERIC, b"del", key, client.db)


def set_reply(client: Client, members: Sequence[bytes]) -> bytes:
    """Members as a set (RESP3) or an array."""
    encoded = b"".join([b"$%d\r\n%b\r\n" % (len(member), member) for member in members])
    return b"%b%d\r\n%b" % (b"~" if client.resp == 3 else b"*", len(members), encoded)


# ---- changing


@command("SADD", arity=-3, flags=_WRITE | Flag.DENYOOM, keys=KeySpec("RW insert"), group="set", since="1.0.0",
         complexity="O(N) where N is the number of members that are added.",
         syntax="key member [member ...]")  # fmt: skip
def sadd(client: Client, argv: list[bytes]) -> bytes:
    """Add members to a set; answers how many are new."""
    key = argv[1]
    database = client.db
    old = sets.require_set(database.get(key))
    if len(argv) == 3:
        added = sets.add_member(database, key, old, argv[2])
    else:
        added = sets.add_members(database, key, old, argv[2:])
    if not added:
        return ZERO
    events = client.instance.notifications
    if events.enabled:
        events.event(notifications.SET, b"sadd", key, database)
    return integer(added)


@command("SREM", arity=-3, flags=_WRITE, keys=KeySpec("RW delete"), group="set", since="1.0.0",
         complexity="O(N) where N is the number of members that are removed.",
         syntax="key member [member ...]")  # fmt: skip
def srem(client: Client, argv: list[bytes]) -> bytes:
    """Remove members from a set, and the set with its last one."""
    key = argv[1]
    database = client.db
    old = sets.require_set(database.get(key))
    if old is None:
        return ZERO
    removed, exists = sets.remove_members(database, key, old, argv[2:])
    if removed:
        notify(client, b"srem", key, exists)
    return integer(removed)


@command("SMOVE", arity=4, flags=_WRITE, keys=(KeySpec("RW access delete"), KeySpec("RW insert", begin=2)),
         group="set", since="1.0.0", complexity="O(1)", syntax="source:key destination:key member")  # fmt: skip
def smove(client: Client, argv: list[bytes]) -> bytes:
    """Move a member from one set to another."""
    _, source, target, member = argv
    database = client.db
    value = database.get(source)
    if value is None:
        return ZERO
    old = sets.require_set(value)
    assert old is not None
    old_target = sets.require_set(database.get(target))
    if source == target:
        return ONE if sets.contains(client.engine, old, member) else ZERO
    removed, exists = sets.remove_members(database, source, old, (member,))
    if not removed:
        return ZERO
    notify(client, b"srem", source, exists)
    if sets.add_member(database, target, old_target, member):
        notify(client, b"sadd", target)
    return ONE


@command("SPOP", arity=-2, flags=_WRITE, keys=KeySpec("RW access delete"), group="set", since="1.0.0",
         complexity="O(1), or O(N) where N is the count.", syntax="key [count@3.2.0]",
         tips=("nondeterministic_output",))  # fmt: skip
def spop(client: Client, argv: list[bytes]) -> bytes:
    """Remove random members from a set and return them."""
    key = argv[1]
    database = client.db
    if len(argv) > 2:
        return _spop_count(client, argv)
    old = sets.require_set(database.get(key))
    if old is None:
        return client.null
    member, exists = sets.pop_member(database, key, old)
    notify(client, b"spop", key, exists)
    return bulk(member)


def _spop_count(client: Client, argv: list[bytes]) -> bytes:
    key = argv[1]
    if len(argv) > 3:
        raise CommandSyntaxError
    try:
        count = parse_int64(argv[2])
    except ValueError:
        count = -1
    if count < 0:
        raise CommandError(b"ERR value is out of range, must be positive")
    database = client.db
    old = sets.require_set(database.get(key))
    if old is None or not count:
        return set_reply(client, ())
    popped, exists = sets.pop_members(database, key, old, count)
    notify(client, b"spop", key, exists)
    return set_reply(client, popped)


# ---- asking


@command("SCARD", arity=2, flags=_READ, keys=KeySpec("RO"), group="set", since="1.0.0", complexity="O(1)",
         syntax="key")  # fmt: skip
def scard(client: Client, argv: list[bytes]) -> bytes:
    """Return the number of members of a set."""
    header = read_set(client, argv[1])
    return ZERO if header is None else integer(sets.length(header))


@command("SISMEMBER", arity=3, flags=_READ, keys=KeySpec("RO"), group="set", since="1.0.0", complexity="O(1)",
         syntax="key member")  # fmt: skip
def sismember(client: Client, argv: list[bytes]) -> bytes:
    """Tell whether a set has a member."""
    header = read_set(client, argv[1])
    return ONE if header is not None and sets.contains(client.engine, header, argv[2]) else ZERO


@command("SMISMEMBER", arity=-3, flags=_READ, keys=KeySpec("RO access"), group="set", since="6.2.0",
         complexity="O(N) where N is the number of members that are asked for.",
         syntax="key member [member ...]")  # fmt: skip
def smismember(client: Client, argv: list[bytes]) -> bytes:
    """Tell for several members whether a set has them."""
    header = read_set(client, argv[1])
    if header is None:
        return integers([0] * (len(argv) - 2))
    engine = client.engine
    return integers([sets.contains(engine, header, member) for member in argv[2:]])


@command("SMEMBERS", arity=2, flags=Flag.READONLY, keys=KeySpec("RO access"), group="set", since="1.0.0",
         complexity="O(N) where N is the number of members.", syntax="key",
         tips=("nondeterministic_output_order",))  # fmt: skip
def smembers(client: Client, argv: list[bytes]) -> Reply:
    """Return all members of a set."""
    header = read_set(client, argv[1])
    if header is None or header.value is not None:
        return set_reply(client, () if header is None else list(header.value))
    found = sets.iterate(client.engine, header)
    return reply_of(client, set_header(header.count, client.resp), map(bulk, found), header.count)


@command("SRANDMEMBER", arity=-2, flags=Flag.READONLY, keys=KeySpec("RO access"), group="set", since="1.0.0",
         complexity="O(1), or O(N) where N is the absolute value of the count.", syntax="key [count@2.6.0]",
         tips=("nondeterministic_output",))  # fmt: skip
def srandmember(client: Client, argv: list[bytes]) -> Reply:
    """Return random members of a set."""
    if len(argv) == 2:
        header = read_set(client, argv[1])
        return client.null if header is None else bulk(sets.random_member(client.engine, header))
    if len(argv) > 3:
        raise CommandSyntaxError
    count = parse_draws(argv[2])
    header = read_set(client, argv[1])
    if header is None or not count:
        return EMPTY_ARRAY
    items = map(bulk, sets.random_members(client.engine, header, count))
    size = min(count, sets.length(header)) if count > 0 else -count
    is_lazy = sets.is_drawn_lazily(header, count)
    return draws_reply(client, b"*%d\r\n" % size, items, is_lazy=is_lazy, count=size)


@command("SSCAN", arity=-3, flags=Flag.READONLY, keys=KeySpec("RO access"), group="set", since="2.8.0",
         complexity="O(COUNT) for every call.", syntax="key cursor [MATCH pattern] [COUNT count]",
         tips=("nondeterministic_output",))  # fmt: skip
def sscan(client: Client, argv: list[bytes]) -> bytes:
    """Walk over the members of a set, some at a time."""
    parse_cursor(argv[2])
    header = read_set(client, argv[1])
    if header is None:
        return EMPTY_PAGE
    options = parse_options(argv, 3)
    cursor, found = sets.scan(client.engine, header, options.cursor, options.count)
    matches = options.matches
    if matches is not None:
        found = [member for member in found if matches(member)]
    return b"*2\r\n" + bulk(b"%d" % cursor) + bulks(found)
