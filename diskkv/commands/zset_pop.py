"""Taking members from the ends of sorted sets: ZPOPMIN, ZPOPMAX, ZMPOP, BZPOPMIN, BZPOPMAX, BZMPOP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from diskkv.codec.header import ZSET
from diskkv.codec.numbers import format_double, parse_int64
from diskkv.commands.registry import Flag, KeySpec, command
from diskkv.commands.timeouts import parse_deadline_ms
from diskkv.commands.zset_replies import entries_reply, nested_reply, notify, score_bulk, write
from diskkv.datatypes import zsets
from diskkv.datatypes.zset_rows import Entry
from diskkv.errors import CommandError, CommandSyntaxError, WrongTypeError
from diskkv.resp.reply import EMPTY_ARRAY, bulk
from diskkv.services.blocking import Block
from diskkv.services.client import Client

_NUMKEYS = b"ERR numkeys should be greater than 0"
_COUNT = b"ERR count should be greater than 0"
_INT64_MAX = 2**63 - 1


def _positive(text: bytes, least: int, message: bytes) -> int:
    try:
        number = parse_int64(text)
    except ValueError:
        raise CommandError(message) from None
    if number < least:
        raise CommandError(message)
    return number


def _take(client: Client, key: bytes, highest: bool, count: int) -> list[Entry]:
    """Up to `count` members of a set, removed; empty when there is no set."""
    header = write(client, key)
    if header is None or not count:
        return []
    popped = zsets.pop(client.db, key, header, highest, count)
    if client.instance.notifications.enabled:
        gone = client.db.get(key) is None
        notify(client, b"zpopmax" if highest else b"zpopmin", key, gone)
    return popped


@command(
    "ZPOPMIN",
    arity=-2,
    flags=Flag.WRITE | Flag.FAST,
    keys=KeySpec("RW access delete"),
    group="sorted-set",
    since="5.0.0",
    complexity="O(M*log(N)) where N is the number of members and M how many are popped.",
    syntax="key [count]",
)
def zpopmin(client: Client, argv: list[bytes]) -> bytes:
    """Remove and return the members of lowest score of a sorted set."""
    return _pop(client, argv, False)


@command(
    "ZPOPMAX",
    arity=-2,
    flags=Flag.WRITE | Flag.FAST,
    keys=KeySpec("RW access delete"),
    group="sorted-set",
    since="5.0.0",
    complexity="O(M*log(N)) where N is the number of members and M how many are popped.",
    syntax="key [count]",
)
def zpopmax(client: Client, argv: list[bytes]) -> bytes:
    """Remove and return the members of highest score of a sorted set."""
    return _pop(client, argv, True)


def _pop(client: Client, argv: list[bytes], highest: bool) -> bytes:
    if len(argv) == 2:
        key = argv[1]
        database = client.db
        header = database.get(key)
        if header is None:
            return EMPTY_ARRAY
        if header.__class__ is bytes or header.type != ZSET:  # type: ignore[union-attr]
            raise WrongTypeError
        member, score = zsets.pop_one(database, key, header, highest)  # type: ignore[arg-type]
        if client.instance.notifications.enabled:
            notify(client, b"zpopmax" if highest else b"zpopmin", key, database.get(key) is None)
        text = format_double(score)
        if client.resp == 3:
            return b"*2\r\n$%d\r\n%b\r\n,%b\r\n" % (len(member), member, text)
        return b"*2\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(member), member, len(text), text)
    if len(argv) > 3:
        raise CommandSyntaxError
    count = _positive(argv[2], 0, b"ERR value is out of range, must be positive")
    return entries_reply(_take(client, argv[1], highest, count), client.resp)


def _parse_mpop(argv: list[bytes], at: int) -> tuple[Sequence[bytes], bool, int]:
    """(keys, whether the highest are popped, how many) of `numkeys key [key ...] MIN|MAX [COUNT count]`."""
    numkeys = _positive(argv[at], 1, _NUMKEYS)
    where_at = at + numkeys + 1
    if where_at >= len(argv):
        raise CommandSyntaxError
    where = argv[where_at].upper()
    if where not in (b"MIN", b"MAX"):
        raise CommandSyntaxError
    count = 1
    rest = argv[where_at + 1 :]
    if rest:
        if len(rest) < 2 or rest[0].upper() != b"COUNT":
            raise CommandSyntaxError
        count = _positive(rest[1], 1, _COUNT)
        if len(rest) > 2:
            raise CommandSyntaxError
    return argv[at + 1 : where_at], where == b"MAX", count


def _mpop(client: Client, keys: Sequence[bytes], highest: bool, count: int) -> bytes | None:
    for key in keys:
        popped = _take(client, key, highest, count)
        if popped:
            return b"*2\r\n" + bulk(key) + nested_reply(popped, client.resp)
    return None


@command(
    "ZMPOP",
    arity=-4,
    flags=Flag.WRITE | Flag.MOVABLEKEYS,
    keys=KeySpec("RW access delete", keynum=0, first=1),
    group="sorted-set",
    since="7.0.0",
    complexity="O(K) + O(M*log(N)) where K is the number of keys, N that of members and M how many are popped.",
    syntax="numkeys key [key ...] <MIN | MAX> [COUNT count]",
)
def zmpop(client: Client, argv: list[bytes]) -> bytes:
    """Remove and return members from an end of the first sorted set that is there."""
    return _mpop(client, *_parse_mpop(argv, 1)) or client.null_array


@command(
    "BZMPOP",
    arity=-5,
    flags=Flag.WRITE | Flag.BLOCKING | Flag.MOVABLEKEYS,
    keys=KeySpec("RW access delete", begin=2, keynum=0, first=1),
    group="sorted-set",
    since="7.0.0",
    complexity="O(K) + O(M*log(N)) where K is the number of keys, N that of members and M how many are popped.",
    syntax="timeout numkeys key [key ...] <MIN | MAX> [COUNT count]",
)
def bzmpop(client: Client, argv: list[bytes]) -> Any:
    """As ZMPOP; wait for one when no set is there."""
    keys, highest, count = _parse_mpop(argv, 2)
    deadline_ms = parse_deadline_ms(argv[1], client.engine.now_ms)
    popped = _mpop(client, keys, highest, count)
    return Block(keys, ZSET, deadline_ms, client.null_array) if popped is None else popped


@command(
    "BZPOPMIN",
    arity=-3,
    flags=Flag.WRITE | Flag.BLOCKING | Flag.FAST,
    keys=KeySpec("RW access delete", last=-2),
    group="sorted-set",
    since="5.0.0",
    complexity="O(log(N)) where N is the number of members.",
    syntax="key [key ...] timeout",
)
def bzpopmin(client: Client, argv: list[bytes]) -> Any:
    """Remove and return the member of lowest score of the first sorted set that is there, or wait for one."""
    return _blocking_pop(client, argv, False)


@command(
    "BZPOPMAX",
    arity=-3,
    flags=Flag.WRITE | Flag.BLOCKING | Flag.FAST,
    keys=KeySpec("RW access delete", last=-2),
    group="sorted-set",
    since="5.0.0",
    complexity="O(log(N)) where N is the number of members.",
    syntax="key [key ...] timeout",
)
def bzpopmax(client: Client, argv: list[bytes]) -> Any:
    """Remove and return the member of highest score of the first sorted set that is there, or wait for one."""
    return _blocking_pop(client, argv, True)


def _blocking_pop(client: Client, argv: list[bytes], highest: bool) -> Any:
    deadline_ms = parse_deadline_ms(argv[-1], client.engine.now_ms)
    keys = argv[1:-1]
    for key in keys:
        popped = _take(client, key, highest, 1)
        if popped:
            member, score = popped[0]
            return b"*3\r\n%b%b%b" % (bulk(key), bulk(member), score_bulk(score, client.resp))
    return Block(keys, ZSET, deadline_ms, client.null_array)
