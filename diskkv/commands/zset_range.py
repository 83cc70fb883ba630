"""Ranges of sorted sets: ZRANGE in all forms and its older relatives, ZRANGESTORE, counting and removing ranges."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from diskkv.commands.arguments import parse_integer
from diskkv.commands.registry import Flag, KeySpec, command
from diskkv.commands.zset_replies import (
    entries_reply,
    entry_items,
    members_reply,
    notify,
    parse_lex_range,
    parse_rank_range,
    parse_score_range,
    read,
    write,
)
from diskkv.datatypes import zset_ranges, zset_rows, zsets
from diskkv.datatypes.zset_ranges import Range
from diskkv.datatypes.zset_rows import Entry
from diskkv.errors import CommandError, CommandSyntaxError
from diskkv.resp.reply import EMPTY_ARRAY, ZERO, array_header, bulk, integer
from diskkv.services import notifications
from diskkv.services.client import Client
from diskkv.services.streaming import Reply, measured_reply

_LIMIT_BY_RANK = b"ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX"
_SCORES_BY_LEX = b"ERR syntax error, WITHSCORES not supported in combination with BYLEX"
_PARSERS: dict[bytes, Callable[[bytes, bytes], Range]] = {
    b"RANK": parse_rank_range,
    b"BYSCORE": parse_score_range,
    b"BYLEX": parse_lex_range,
}


@dataclass(slots=True)
class _Query:
    """A parsed range command. `by` and `reverse` are None while the arguments may still say so."""

    by: bytes | None
    reverse: bool | None
    with_scores: bool = False
    offset: int = 0
    limit: int = -1
    range: Range | None = None


def _parse(argv: list[bytes], at: int, by: bytes | None, reverse: bool | None, can_score: bool = True) -> _Query:
    """The range at argv[at] and argv[at + 1], and the options behind it."""
    query = _Query(by, reverse)
    place = at + 2
    while place < len(argv):
        option = argv[place].upper()
        if option == b"WITHSCORES" and can_score:
            query.with_scores = True
        elif option == b"LIMIT" and place + 2 < len(argv):
            query.offset = parse_integer(argv[place + 1])
            query.limit = parse_integer(argv[place + 2])
            place += 2
        elif option == b"REV" and query.reverse is None:
            query.reverse = True
        elif option in (b"BYSCORE", b"BYLEX") and query.by is None:
            query.by = option
        else:
            raise CommandSyntaxError
        place += 1
    query.by = query.by or b"RANK"
    query.reverse = bool(query.reverse)
    if query.limit != -1 and query.by == b"RANK":
        raise CommandError(_LIMIT_BY_RANK)
    if query.with_scores and query.by == b"BYLEX":
        raise CommandError(_SCORES_BY_LEX)
    low, high = argv[at], argv[at + 1]
    if query.reverse and query.by != b"RANK":
        low, high = high, low
    query.range = _PARSERS[query.by](low, high)
    if query.by == b"RANK":
        query.offset = 0
    return query


def _range(client: Client, argv: list[bytes], by: bytes | None, reverse: bool | None) -> Reply:
    query = _parse(argv, 2, by, reverse)
    header = read(client, argv[1])
    if header is None:
        return EMPTY_ARRAY
    assert query.range is not None
    arguments = (client.engine, header, query.range, bool(query.reverse), query.offset, query.limit)
    if query.with_scores:
        found = zset_ranges.select(*arguments)
        if header.value is not None or not zset_rows.is_plain(header):
            return entries_reply(found, client.resp)
        head = array_header if client.resp == 3 else _pairs_header
        items = entry_items(found, client.resp)
        return measured_reply(client, head, items, lambda: zset_ranges.count_selected(*arguments))
    members = zset_ranges.select_members(*arguments)
    if header.value is not None:
        return members_reply(members)
    return measured_reply(client, array_header, map(bulk, members), lambda: zset_ranges.count_selected(*arguments))


def _pairs_header(count: int) -> bytes:
    return array_header(2 * count)


@command(
    "ZRANGE",
    arity=-4,
    flags=Flag.READONLY,
    keys=KeySpec("RO access"),
    group="sorted-set",
    since="1.2.0",
    complexity="O(log(N)+M) where N is the number of members and M how many are returned.",
    syntax="key start:string stop:string [BYSCORE | BYLEX]@6.2.0 [rev=REV]@6.2.0 [LIMIT offset count]@6.2.0 "
    "[withscores=WITHSCORES]",
)
def zrange(client: Client, argv: list[bytes]) -> Reply:
    """Return members of a sorted set by rank, score or name."""
    return _range(client, argv, None, None)


@command(
    "ZREVRANGE",
    arity=-4,
    flags=Flag.READONLY,
    keys=KeySpec("RO access"),
    group="sorted-set",
    since="1.2.0",
    complexity="O(log(N)+M) where N is the number of members and M how many are returned.",
    syntax="key start stop [withscores=WITHSCORES]",
)
def zrevrange(client: Client, argv: list[bytes]) -> Reply:
    """Return members of a sorted set by rank, the highest score first."""
    return _range(client, argv, b"RANK", True)


@command(
    "ZRANGEBYSCORE",
    arity=-4,
    flags=Flag.READONLY,
    keys=KeySpec("RO access"),
    group="sorted-set",
    since="1.0.5",
    complexity="O(log(N)+M) where N is the number of members and M how many are returned.",
    syntax="key min:double max:double [withscores=WITHSCORES]@2.0.0 [LIMIT offset count]",
)
def zrangebyscore(client: Client, argv: list[bytes]) -> Reply:
    """Return members of a sorted set whose scores lie in a range."""
    return _range(client, argv, b"BYSCORE", False)


@command(
    "ZREVRANGEBYSCORE",
    arity=-4,
    flags=Flag.READONLY,
    keys=KeySpec("RO access"),
    group="sorted-set",
    since="2.2.0",
    complexity="O(log(N)+M) where N is the number of members and M how many are returned.",
    syntax="key max:double min:double [withscores=WITHSCORES] [LIMIT offset count]",
)
def zrevrangebyscore(client: Client, argv: list[bytes]) -> Reply:
    """Return members of a sorted set whose scores lie in a range, the highest first."""
    return _range(client, argv, b"BYSCORE", True)


@command(
    "ZRANGEBYLEX",
    arity=-4,
    flags=Flag.READONLY,
    keys=KeySpec("RO access"),
    group="sorted-set",
    since="2.8.9",
    complexity="O(log(N)+M) where N is the number of members and M how many are returned.",
    syntax="key min max [LIMIT offset count]",
)
def zrangebylex(client: Client, argv: list[bytes]) -> Reply:
    """Return members of a sorted set by name; all have to have the same score."""
    return _range(client, argv, b"BYLEX", False)


@command(
    "ZREVRANGEBYLEX",
    arity=-4,
    flags=Flag.READONLY,
    keys=KeySpec("RO access"),
    group="sorted-set",
    since="2.8.9",
    complexity="O(log(N)+M) where N is the number of members and M how many are returned.",
    syntax="key max min [LIMIT offset count]",
)
def zrevrangebylex(client: Client, argv: list[bytes]) -> Reply:
    """Return members of a sorted set by name, the last first; all have to have the same score."""
    return _range(client, argv, b"BYLEX", True)


@command(
    "ZRANGESTORE",
    arity=-5,
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=(KeySpec("OW update"), KeySpec("RO access", begin=2)),
    group="sorted-set",
    since="6.2.0",
    complexity="O(log(N)+M) where N is the number of members and M how many are stored.",
    syntax="dst src min:string max:string [BYSCORE | BYLEX] [rev=REV] [LIMIT offset count]",
)
def zrangestore(client: Client, argv: list[bytes]) -> bytes:
    """Store a range of a sorted set under another key."""
    query = _parse(argv, 3, None, None, False)
    key = argv[1]
    header = read(client, argv[2])
    assert query.range is not None
    entries: list[Entry] = []
    if header is not None:
        found = zset_ranges.select(client.engine, header, query.range, bool(query.reverse), query.offset, query.limit)
        entries = list(found)
        if query.reverse:
            entries.reverse()
    return store_reply(client, key, entries, b"zrangestore")


def store_reply(client: Client, key: bytes, entries: list[Entry], event: bytes) -> bytes:
    """Store a result (ascending) under `key` and answer its size; nothing deletes the key."""
    database = client.db
    existed = not entries and database.get(key) is not None
    zsets.store(database, key, entries)
    if entries:
        notify(client, event, key)
        return integer(len(entries))
    events = client.instance.notifications
    if existed and events.enabled:
        events.event(notifications.GENERIC, b"del", key, database)
    return ZERO


# ---- counting and removing


@command(
    "ZCOUNT",
    arity=4,
    flags=Flag.READONLY | Flag.FAST,
    keys=KeySpec("RO access"),
    group="sorted-set",
    since="2.0.0",
    complexity="O(log(N)) where N is the number of members.",
    syntax="key min:double max:double",
)
def zcount(client: Client, argv: list[bytes]) -> bytes:
    """Count the members of a sorted set whose scores lie in a range."""
    return _count(client, argv[1], parse_score_range(argv[2], argv[3]))


@command(
    "ZLEXCOUNT",
    arity=4,
    flags=Flag.READONLY | Flag.FAST,
    keys=KeySpec("RO access"),
    group="sorted-set",
    since="2.8.9",
    complexity="O(log(N)) where N is the number of members.",
    syntax="key min max",
)
def zlexcount(client: Client, argv: list[bytes]) -> bytes:
    """Count the members of a sorted set in a range of names; all have to have the same score."""
    return _count(client, argv[1], parse_lex_range(argv[2], argv[3]))


def _count(client: Client, key: bytes, part: Range) -> bytes:
    header = read(client, key)
    return ZERO if header is None else integer(zset_ranges.count(client.engine, header, part))


@command(
    "ZREMRANGEBYRANK",
    arity=4,
    flags=Flag.WRITE,
    keys=KeySpec("RW delete"),
    group="sorted-set",
    since="2.0.0",
    complexity="O(log(N)+M) where N is the number of members and M how many are removed.",
    syntax="key start stop",
)
def zremrangebyrank(client: Client, argv: list[bytes]) -> bytes:
    """Remove members of a sorted set by rank."""
    return _remove(client, argv[1], parse_rank_range(argv[2], argv[3]), b"zremrangebyrank")


@command(
    "ZREMRANGEBYSCORE",
    arity=4,
    flags=Flag.WRITE,
    keys=KeySpec("RW delete"),
    group="sorted-set",
    since="1.2.0",
    complexity="O(log(N)+M) where N is the number of members and M how many are removed.",
    syntax="key min:double max:double",
)
def zremrangebyscore(client: Client, argv: list[bytes]) -> bytes:
    """Remove members of a sorted set whose scores lie in a range."""
    return _remove(client, argv[1], parse_score_range(argv[2], argv[3]), b"zremrangebyscore")


@command(
    "ZREMRANGEBYLEX",
    arity=4,
    flags=Flag.WRITE,
    keys=KeySpec("RW delete"),
    group="sorted-set",
    since="2.8.9",
    complexity="O(log(N)+M) where N is the number of members and M how many are removed.",
    syntax="key min max",
)
def zremrangebylex(client: Client, argv: list[bytes]) -> bytes:
    """Remove members of a sorted set by name; all have to have the same score."""
    return _remove(client, argv[1], parse_lex_range(argv[2], argv[3]), b"zremrangebylex")


def _remove(client: Client, key: bytes, part: Range, event: bytes) -> bytes:
    header = write(client, key)
    if header is None:
        return ZERO
    removed, gone = zset_ranges.remove(client.db, key, header, part)
    if removed:
        notify(client, event, key, gone)
    return integer(removed)
