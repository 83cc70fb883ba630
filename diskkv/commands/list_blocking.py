"""List commands that wait for an element: BLPOP, BRPOP, BLMOVE, BRPOPLPUSH, BLMPOP.

Each answers with a `Block` when there is nothing to pop, and is run again when one of its keys changes.
"""

from __future__ import annotations

from typing import Any

from diskkv.codec.header import LIST
from diskkv.commands.list import notify_removed
from diskkv.commands.list_move import MOVE_KEYS, first_list, move_item, parse_end, parse_mpop, pop_first
from diskkv.commands.registry import Flag, KeySpec, command
from diskkv.commands.timeouts import parse_deadline_ms
from diskkv.datatypes import lists
from diskkv.resp.reply import bulk
from diskkv.services.blocking import Block
from diskkv.services.client import Client

_WAITS = " An element that is pushed while clients wait goes to the one that has waited longest."


def _pop(client: Client, argv: list[bytes], at_head: bool) -> Any:
    deadline_ms = parse_deadline_ms(argv[-1], client.engine.now_ms)
    keys = argv[1:-1]
    found = first_list(client, keys)
    if found is None:
        return Block(keys, LIST, deadline_ms, client.null_array)
    key, header = found
    item = lists.pop(client.db, key, header, at_head)
    notify_removed(client, b"lpop" if at_head else b"rpop", key)
    return b"*2\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(key), key, len(item), item)


@command("BLPOP", arity=-3, flags=Flag.WRITE | Flag.BLOCKING, keys=KeySpec("RW access delete", last=-2), group="list",
         since="2.0.0", complexity="O(N) where N is the number of keys." + _WAITS,
         syntax="key [key ...] timeout")  # fmt: skip
def blpop(client: Client, argv: list[bytes]) -> Any:
    """Remove and return the first element of a list; wait for one when no list is there."""
    return _pop(client, argv, True)


@command("BRPOP", arity=-3, flags=Flag.WRITE | Flag.BLOCKING, keys=KeySpec("RW access delete", last=-2), group="list",
         since="2.0.0", complexity="O(N) where N is the number of keys." + _WAITS,
         syntax="key [key ...] timeout")  # fmt: skip
def brpop(client: Client, argv: list[bytes]) -> Any:
    """Remove and return the last element of a list; wait for one when no list is there."""
    return _pop(client, argv, False)


def _move(client: Client, argv: list[bytes], from_head: bool, to_head: bool) -> Any:
    deadline_ms = parse_deadline_ms(argv[-1], client.engine.now_ms)
    item = move_item(client, argv[1], argv[2], from_head, to_head)
    if item is None:
        # Redis answers a time-out with a null array, but with a null string in a transaction.
        return Block([argv[1]], LIST, deadline_ms, client.null_array, denied_reply=client.null)
    return bulk(item)


@command("BLMOVE", arity=6, flags=Flag.WRITE | Flag.DENYOOM | Flag.BLOCKING, keys=MOVE_KEYS, group="list",
         since="6.2.0", complexity="O(1)",
         syntax="source destination wherefrom=<LEFT | RIGHT> whereto=<LEFT | RIGHT> timeout")  # fmt: skip
def blmove(client: Client, argv: list[bytes]) -> Any:
    """Move an element from an end of a list to an end of another one; wait for one when there is none."""
    from_head = parse_end(argv[3])
    to_head = parse_end(argv[4])
    return _move(client, argv, from_head, to_head)


@command("BRPOPLPUSH", arity=4, flags=Flag.WRITE | Flag.DENYOOM | Flag.BLOCKING, keys=MOVE_KEYS, group="list",
         since="2.2.0", complexity="O(1)", syntax="source destination timeout")  # fmt: skip
def brpoplpush(client: Client, argv: list[bytes]) -> Any:
    """Move the last element of a list to the head of another one; wait for one when there is none."""
    return _move(client, argv, False, True)


@command("BLMPOP", arity=-5, flags=Flag.WRITE | Flag.BLOCKING | Flag.MOVABLEKEYS,
         keys=KeySpec("RW access delete", begin=2, keynum=0, first=1), group="list", since="7.0.0",
         complexity="O(N+M) where N is the number of keys and M that of elements returned." + _WAITS,
         syntax="timeout numkeys key [key ...] <LEFT | RIGHT> [COUNT count]")  # fmt: skip
def blmpop(client: Client, argv: list[bytes]) -> Any:
    """Remove and return elements from the first of several lists that is there; wait for one when none is."""
    keys, at_head, count = parse_mpop(argv, 2)
    deadline_ms = parse_deadline_ms(argv[1], client.engine.now_ms)
    popped = pop_first(client, keys, at_head, count)
    return Block(keys, LIST, deadline_ms, client.null_array) if popped is None else popped
