"""Lists: pushing, popping, reading and changing one list.

Source: https://redis.io/docs/latest/commands/?group=list
"""

from __future__ import annotations

from diskkv.codec.header import LIST, Header
from diskkv.codec.numbers import INT64_MIN, parse_int64
from diskkv.commands.arguments import parse_integer
from diskkv.commands.registry import Flag, KeySpec, command
from diskkv.datatypes import lists, lists_edit
from diskkv.errors import CommandError, CommandSyntaxError, WrongTypeError
from diskkv.resp.reply import EMPTY_ARRAY, MINUS_ONE, OK, ZERO, array_header, bulk, bulks, integer, integers
from diskkv.services import notifications
from diskkv.services.client import Client
from diskkv.services.streaming import Reply, reply_of

_PUSH_COMPLEXITY = "O(1) for each element; a list that is small is rewritten as a whole."
_NOT_POSITIVE = b"ERR value is out of range, must be positive"


def parse_at_least(text: bytes, least: int, message: bytes) -> int:
    """A 64-bit integer argument that is not below `least`. Raises CommandError with `message` for anything else."""
    try:
        number = parse_int64(text)
    except ValueError:
        raise CommandError(message) from None
    if number < least:
        raise CommandError(message)
    return number


def read_list(client: Client, key: bytes) -> Header | None:
    """The list at a key, for a read command. Raises WrongTypeError."""
    value = client.db.read(key)
    return None if value is None else lists.require_list(value)


def get_list(client: Client, key: bytes) -> Header | None:
    """The list at a key, for a write command. Raises WrongTypeError."""
    value = client.db.get(key)
    return None if value is None else lists.require_list(value)


def notify_removed(client: Client, name: bytes, key: bytes) -> None:
    """Tell that items were removed, and that the key is gone when it is."""
    events = client.instance.notifications
    if events.enabled:
        events.event(notifications.LIST, name, key, client.db)
        if client.db.get(key) is None:
            events.event(notifications.GENERIC, b"del", key, client.db)


# ---- pushing


def _push(client: Client, argv: list[bytes], at_head: bool, only_existing: bool = False) -> bytes:
    key = argv[1]
    database = client.db
    old = database.get(key)
    if only_existing and old is None:
        return ZERO
    count = lists.push(database, key, old, argv[2:], at_head)
    events = client.instance.notifications
    if events.enabled:
        events.event(notifications.LIST, b"lpush" if at_head else b"rpush", key, database)
    return b":%d\r\n" % count


@command("LPUSH", arity=-3, flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST, keys=KeySpec("RW insert"), group="list",
         since="1.0.0", complexity=_PUSH_COMPLEXITY, syntax="key element [element ...]")  # fmt: skip
def lpush(client: Client, argv: list[bytes]) -> bytes:
    """Add elements at the head of a list."""
    return _push(client, argv, True)


@command("RPUSH", arity=-3, flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST, keys=KeySpec("RW insert"), group="list",
         since="1.0.0", complexity=_PUSH_COMPLEXITY, syntax="key element [element ...]")  # fmt: skip
def rpush(client: Client, argv: list[bytes]) -> bytes:
    """Add elements at the tail of a list."""
    return _push(client, argv, False)


@command("LPUSHX", arity=-3, flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST, keys=KeySpec("RW insert"), group="list",
         since="2.2.0", complexity=_PUSH_COMPLEXITY, syntax="key element [element ...]")  # fmt: skip
def lpushx(client: Client, argv: list[bytes]) -> bytes:
    """Add elements at the head of a list if it exists."""
    return _push(client, argv, True, True)


@command("RPUSHX", arity=-3, flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST, keys=KeySpec("RW insert"), group="list",
         since="2.2.0", complexity=_PUSH_COMPLEXITY, syntax="key element [element ...]")  # fmt: skip
def rpushx(client: Client, argv: list[bytes]) -> bytes:
    """Add elements at the tail of a list if it exists."""
    return _push(client, argv, False, True)


# ---- popping


def _pop(client: Client, argv: list[bytes], at_head: bool) -> bytes:
    if len(argv) > 2:
        return _pop_counted(client, argv, at_head)
    key = argv[1]
    database = client.db
    old = database.get(key)
    if old is None:
        return client.null
    if old.__class__ is bytes or old.type != LIST:  # type: ignore[union-attr]
        raise WrongTypeError
    item = lists.pop(database, key, old, at_head)  # type: ignore[arg-type]
    if client.instance.notifications.enabled:
        notify_removed(client, b"lpop" if at_head else b"rpop", key)
    return b"$%d\r\n%b\r\n" % (len(item), item)


def _pop_counted(client: Client, argv: list[bytes], at_head: bool) -> bytes:
    name = b"lpop" if at_head else b"rpop"
    if len(argv) > 3:
        raise CommandError(b"ERR wrong number of arguments for '%b' command" % name)
    count = parse_at_least(argv[2], 0, _NOT_POSITIVE)
    key = argv[1]
    old = get_list(client, key)
    if old is None:
        return client.null_array
    if not count:
        return EMPTY_ARRAY
    items = lists.pop_many(client.db, key, old, count, at_head)
    notify_removed(client, name, key)
    return bulks(items)


@command("LPOP", arity=-2, flags=Flag.WRITE | Flag.FAST, keys=KeySpec("RW access delete"), group="list", since="1.0.0",
         complexity="O(N) where N is the number of elements returned.", syntax="key [count@6.2.0]")  # fmt: skip
def lpop(client: Client, argv: list[bytes]) -> bytes:
    """Remove and return elements from the head of a list."""
    return _pop(client, argv, True)


@command("RPOP", arity=-2, flags=Flag.WRITE | Flag.FAST, keys=KeySpec("RW access delete"), group="list", since="1.0.0",
         complexity="O(N) where N is the number of elements returned.", syntax="key [count@6.2.0]")  # fmt: skip
def rpop(client: Client, argv: list[bytes]) -> bytes:
    """Remove and return elements from the tail of a list."""
    return _pop(client, argv, False)


# ---- reading


@command("LLEN", arity=2, flags=Flag.READONLY | Flag.FAST, keys=KeySpec("RO"), group="list", since="1.0.0",
         complexity="O(1)", syntax="key")  # fmt: skip
def llen(client: Client, argv: list[bytes]) -> bytes:
    """Count the elements of a list."""
    header = read_list(client, argv[1])
    return ZERO if header is None else integer(lists.length(header))


@command("LRANGE", arity=4, flags=Flag.READONLY, keys=KeySpec("RO access"), group="list", since="1.0.0",
         complexity="O(N) where N is the number of elements returned, wherever they are.",
         syntax="key start stop")  # fmt: skip
def lrange(client: Client, argv: list[bytes]) -> Reply:
    """Return the elements of a list between two indexes."""
    start = parse_integer(argv[2])
    stop = parse_integer(argv[3])
    header = read_list(client, argv[1])
    if header is None:
        return EMPTY_ARRAY
    start, stop = lists.clamp_range(start, stop, lists.length(header))
    engine = client.engine
    if header.value is not None:
        return bulks(header.value[start:stop])
    count = stop - start
    entries = lists.read_entries(engine, header, start, stop)
    if entries is not None:
        return b"".join((array_header(count), *entries))
    return reply_of(client, array_header(count), map(bulk, lists.items_between(engine, header, start, stop)), count)


@command("LINDEX", arity=3, flags=Flag.READONLY, keys=KeySpec("RO access"), group="list", since="1.0.0",
         complexity="O(1)", syntax="key index")  # fmt: skip
def lindex(client: Client, argv: list[bytes]) -> bytes:
    """Return the element at an index of a list."""
    header = read_list(client, argv[1])
    if header is None:
        return client.null
    item = lists.get_at(client.engine, header, parse_integer(argv[2]))
    return client.null if item is None else bulk(item)


_RANK_IS_ZERO = (
    b"ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from "
    b"the end of the list"
)
_TOO_LOW = b"ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807"


def _parse_signed(text: bytes) -> int:
    """An integer whose negative is one too."""
    number = parse_integer(text)
    if number == INT64_MIN:
        raise CommandError(_TOO_LOW)
    return number


def _parse_lpos_options(argv: list[bytes]) -> tuple[int, int | None, int]:
    """(rank, count or None, number of elements to look at or 0)."""
    rank = 1
    count: int | None = None
    max_items = 0
    for at in range(3, len(argv), 2):
        option = argv[at].upper()
        if at + 1 == len(argv):
            raise CommandSyntaxError
        argument = argv[at + 1]
        if option == b"RANK":
            rank = _parse_signed(argument)
            if not rank:
                raise CommandError(_RANK_IS_ZERO)
        elif option == b"COUNT":
            count = parse_at_least(argument, 0, b"ERR COUNT can't be negative")
        elif option == b"MAXLEN":
            max_items = parse_at_least(argument, 0, b"ERR MAXLEN can't be negative")
        else:
            raise CommandSyntaxError
    return rank, count, max_items


@command("LPOS", arity=-3, flags=Flag.READONLY, keys=KeySpec("RO access"), group="list", since="6.0.6",
         complexity="O(N) where N is the number of elements looked at.",
         syntax="key element [RANK rank] [COUNT num-matches] [MAXLEN len]")  # fmt: skip
def lpos(client: Client, argv: list[bytes]) -> bytes:
    """Return the indexes of the elements of a list that equal a value."""
    rank, count, max_items = _parse_lpos_options(argv)
    header = read_list(client, argv[1])
    found: list[int] = []
    if header is not None:
        found = lists_edit.positions(client.engine, header, argv[2], rank, 1 if count is None else count, max_items)
    if count is not None:
        return integers(found)
    return integer(found[0]) if found else client.null


# ---- changing


@command("LSET", arity=4, flags=Flag.WRITE | Flag.DENYOOM, keys=KeySpec("RW update"), group="list", since="1.0.0",
         complexity="O(1)", syntax="key index element")  # fmt: skip
def lset(client: Client, argv: list[bytes]) -> bytes:
    """Replace the element at an index of a list."""
    key = argv[1]
    old = get_list(client, key)
    if old is None:
        raise CommandError(b"ERR no such key")
    if not lists_edit.set_at(client.db, key, old, parse_integer(argv[2]), argv[3]):
        raise CommandError(b"ERR index out of range")
    events = client.instance.notifications
    if events.enabled:
        events.event(notifications.LIST, b"lset", key, client.db)
    return OK


@command("LINSERT", arity=5, flags=Flag.WRITE | Flag.DENYOOM, keys=KeySpec("RW insert"), group="list", since="2.2.0",
         complexity="O(N+M) where N is the number of elements before the pivot, and M of those between the place and "
         "the nearer end of the list, which have to move.",
         syntax="key <BEFORE | AFTER> pivot element")  # fmt: skip
def linsert(client: Client, argv: list[bytes]) -> bytes:
    """Add an element before or after another one."""
    where = argv[2].upper()
    if where not in (b"BEFORE", b"AFTER"):
        raise CommandSyntaxError
    key = argv[1]
    old = get_list(client, key)
    if old is None:
        return ZERO
    count = lists_edit.insert(client.db, key, old, argv[3], argv[4], where == b"AFTER")
    if count < 0:
        return MINUS_ONE
    events = client.instance.notifications
    if events.enabled:
        events.event(notifications.LIST, b"linsert", key, client.db)
    return integer(count)


@command("LREM", arity=4, flags=Flag.WRITE, keys=KeySpec("RW delete"), group="list", since="1.0.0",
         complexity="O(N+M) where N is the number of elements looked at, and M of those between the removed ones and "
         "the nearer end of the list, which have to move.",
         syntax="key count element")  # fmt: skip
def lrem(client: Client, argv: list[bytes]) -> bytes:
    """Remove elements that equal a value."""
    count = _parse_signed(argv[2])
    key = argv[1]
    old = get_list(client, key)
    if old is None:
        return ZERO
    removed = lists_edit.remove(client.db, key, old, argv[3], count)
    if removed:
        notify_removed(client, b"lrem", key)
    return integer(removed)


@command("LTRIM", arity=4, flags=Flag.WRITE, keys=KeySpec("RW delete"), group="list", since="1.0.0",
         complexity="O(1) for what is removed in the background, O(N) for a small number of elements.",
         syntax="key start stop")  # fmt: skip
def ltrim(client: Client, argv: list[bytes]) -> bytes:
    """Keep only the elements of a list between two indexes."""
    start = parse_integer(argv[2])
    stop = parse_integer(argv[3])
    key = argv[1]
    old = get_list(client, key)
    if old is None:
        return OK
    count = lists.length(old)
    start, stop = lists.clamp_range(start, stop, count)
    if stop - start < count:
        lists.cut(client.db, key, old, start, count - stop)
    else:
        client.db.touch(key)
    notify_removed(client, b"ltrim", key)
    return OK
