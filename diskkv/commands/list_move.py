"""Moving elements between lists and popping from the first of several: LMOVE, RPOPLPUSH, LMPOP."""

from __future__ import annotations

from collections.abc import Sequence

from diskkv.codec.header import Header
from diskkv.commands.list import get_list, notify_removed, parse_at_least
from diskkv.commands.registry import Flag, KeySpec, command
from diskkv.datatypes import lists
from diskkv.errors import CommandSyntaxError
from diskkv.resp.reply import bulk, bulks
from diskkv.services import notifications
from diskkv.services.client import Client

MOVE_KEYS = (KeySpec("RW access delete"), KeySpec("RW insert", begin=2))

_NOT_GIVEN = -1


def parse_end(text: bytes) -> bool:
    """Whether LEFT (and not RIGHT) is meant. Raises CommandSyntaxError."""
    where = text.upper()
    if where not in (b"LEFT", b"RIGHT"):
        raise CommandSyntaxError
    return where == b"LEFT"


def move_item(client: Client, source: bytes, target: bytes, from_head: bool, to_head: bool) -> bytes | None:
    """Move one element and answer it, None when there is no source. Raises WrongTypeError for either key."""
    old = get_list(client, source)
    if old is None:
        return None
    database = client.db
    # The target's type is looked at before anything changes.
    get_list(client, target)
    if source == target and lists.length(old) == 1:
        item = lists.get_at(client.engine, old, 0)
        assert item is not None
        database.touch(source)
    else:
        item = lists.pop(database, source, old, from_head)
        lists.push(database, target, database.get(target), [item], to_head)
    if client.instance.notifications.enabled:
        pushed = b"lpush" if to_head else b"rpush"
        client.instance.notifications.event(notifications.LIST, pushed, target, database)
        notify_removed(client, b"lpop" if from_head else b"rpop", source)
    return item


@command("LMOVE", arity=5, flags=Flag.WRITE | Flag.DENYOOM, keys=MOVE_KEYS, group="list", since="6.2.0",
         complexity="O(1)",
         syntax="source destination wherefrom=<LEFT | RIGHT> whereto=<LEFT | RIGHT>")  # fmt: skip
def lmove(client: Client, argv: list[bytes]) -> bytes:
    """Move an element from an end of a list to an end of another one."""
    from_head = parse_end(argv[3])
    to_head = parse_end(argv[4])
    item = move_item(client, argv[1], argv[2], from_head, to_head)
    return client.null if item is None else bulk(item)


@command("RPOPLPUSH", arity=3, flags=Flag.WRITE | Flag.DENYOOM, keys=MOVE_KEYS, group="list", since="1.2.0",
         complexity="O(1)", syntax="source destination")  # fmt: skip
def rpoplpush(client: Client, argv: list[bytes]) -> bytes:
    """Move the last element of a list to the head of another one."""
    item = move_item(client, argv[1], argv[2], False, True)
    return client.null if item is None else bulk(item)


# ---- popping from the first list that is there


def parse_mpop(argv: list[bytes], at: int) -> tuple[Sequence[bytes], bool, int]:
    """(keys, whether from the head, how many) of `numkeys key [key ...] LEFT|RIGHT [COUNT count]` from argv[at] on."""
    numkeys = parse_at_least(argv[at], 1, b"ERR numkeys should be greater than 0")
    where_at = at + numkeys + 1
    if where_at >= len(argv):
        raise CommandSyntaxError
    at_head = parse_end(argv[where_at])
    count = _NOT_GIVEN
    for option_at in range(where_at + 1, len(argv), 2):
        if argv[option_at].upper() != b"COUNT" or count != _NOT_GIVEN or option_at + 1 == len(argv):
            raise CommandSyntaxError
        count = parse_at_least(argv[option_at + 1], 1, b"ERR count should be greater than 0")
    return argv[at + 1 : where_at], at_head, 1 if count == _NOT_GIVEN else count


def first_list(client: Client, keys: Sequence[bytes]) -> tuple[bytes, Header] | None:
    """The first of the keys that exists. Raises WrongTypeError when it is not a list."""
    for key in keys:
        found = get_list(client, key)
        if found is not None:
            return key, found
    return None


def pop_first(client: Client, keys: Sequence[bytes], at_head: bool, count: int) -> bytes | None:
    """Pop from the first list that is there: the reply of LMPOP, None when there is none."""
    found = first_list(client, keys)
    if found is None:
        return None
    key, header = found
    items = lists.pop_many(client.db, key, header, count, at_head)
    notify_removed(client, b"lpop" if at_head else b"rpop", key)
    return b"*2\r\n%b%b" % (bulk(key), bulks(items))


@command("LMPOP", arity=-4, flags=Flag.WRITE | Flag.MOVABLEKEYS, keys=KeySpec("RW access delete", keynum=0, first=1),
         group="list", since="7.0.0",
         complexity="O(N+M) where N is the number of keys and M that of elements returned.",
         syntax="numkeys key [key ...] <LEFT | RIGHT> [COUNT count]")  # fmt: skip
def lmpop(client: Client, argv: list[bytes]) -> bytes:
    """Remove and return elements from the first of several lists that is there."""
    return pop_first(client, *parse_mpop(argv, 1)) or client.null_array
