"""Sorted sets, member by member: ZADD, ZINCRBY, ZREM, ZCARD, ZSCORE, ZMSCORE, ZRANK, ZREVRANK, ZSCAN, ZRANDMEMBER."""

from __future__ import annotations

from diskkv.codec.numbers import format_double, parse_float
from diskkv.commands.draws import draws_reply, parse_draws, require_room
from diskkv.commands.registry import Flag, KeySpec, command
from diskkv.commands.scan import parse_cursor, parse_options
from diskkv.commands.zset_replies import (
    entry_items,
    notify,
    read,
    score_bulk,
)
from diskkv.datatypes import zsets
from diskkv.datatypes.zset_rows import Entry
from diskkv.errors import CommandError, CommandSyntaxError, NotFloatError
from diskkv.resp.reply import EMPTY_ARRAY, ONE, ZERO, array, bulk, bulks, integer
from diskkv.services.client import Client
from diskkv.services.streaming import Reply

_LONGEST_INTEGER_SCORE = 300
_INT64_MAX = 2**63 - 1


@command(
    "ZADD",
    arity=-4,
    flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST,
    keys=KeySpec("RW update"),
    group="sorted-set",
    since="1.2.0",
    complexity="O(log(N)) for each member added, where N is the number of members.",
    syntax="key [NX | XX]@3.0.2 [GT | LT]@6.2.0 [change=CH]@3.0.2 [increment=INCR]@3.0.2 "
    "score member [score member ...]",
)
def zadd(client: Client, argv: list[bytes]) -> bytes:
    """Add members to a sorted set, or change their scores."""
    if len(argv) != 4:
        return _zadd(client, argv)
    text = argv[2]
    try:
        score = float(text) if text.isdigit() and len(text) < _LONGEST_INTEGER_SCORE else parse_float(text)
    except ValueError:
        return _zadd(client, argv)
    changed = zsets.add_one(client.db, argv[1], argv[3], score)
    if changed < 0:
        return ZERO
    if client.instance.notifications.enabled:
        notify(client, b"zadd", argv[1])
    return ONE if changed else ZERO


_OPTIONS = frozenset({b"NX", b"XX", b"GT", b"LT", b"CH", b"INCR"})


def _zadd(client: Client, argv: list[bytes], increment: bool = False) -> bytes:
    at = 2
    options: set[bytes] = set()
    while at < len(argv) and (option := argv[at].upper()) in _OPTIONS:
        options.add(option)
        at += 1
    if (len(argv) - at) % 2 or at == len(argv):
        raise CommandSyntaxError
    add_only, update_only, greater, less = (name in options for name in (b"NX", b"XX", b"GT", b"LT"))
    increment = increment or b"INCR" in options
    if add_only and update_only:
        raise CommandError(b"ERR XX and NX options at the same time are not compatible")
    if (greater and add_only) or (less and add_only) or (greater and less):
        raise CommandError(b"ERR GT, LT, and/or NX options at the same time are not compatible")
    if increment and len(argv) - at > 2:
        raise CommandError(b"ERR INCR option supports a single increment-element pair")
    entries = _parse_entries(argv, at)
    conditions = zsets.Conditions(add_only, update_only, greater, less, increment)
    done = zsets.add(client.db, argv[1], entries, conditions)
    if done.added or done.updated:
        notify(client, b"zincr" if increment else b"zadd", argv[1])
    if increment:
        return client.null if done.score is None else score_bulk(done.score, client.resp)
    return integer(done.added + done.updated if b"CH" in options else done.added)


def _parse_entries(argv: list[bytes], at: int) -> list[Entry]:
    try:
        return [(argv[place + 1], parse_float(argv[place])) for place in range(at, len(argv), 2)]
    except ValueError:
        raise NotFloatError from None


@command(
    "ZINCRBY",
    arity=4,
    flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST,
    keys=KeySpec("RW access update"),
    group="sorted-set",
    since="1.2.0",
    complexity="O(log(N)) where N is the number of members.",
    syntax="key increment member",
)
def zincrby(client: Client, argv: list[bytes]) -> bytes:
    """Add to the score of a member of a sorted set."""
    return _zadd(client, argv, True)


@command(
    "ZREM",
    arity=-3,
    flags=Flag.WRITE | Flag.FAST,
    keys=KeySpec("RW delete"),
    group="sorted-set",
    since="1.2.0",
    complexity="O(M*log(N)) where N is the number of members and M how many are removed.",
    syntax="key member [member ...]",
)
def zrem(client: Client, argv: list[bytes]) -> bytes:
    """Remove members from a sorted set."""
    key = argv[1]
    removed, gone = zsets.remove(client.db, key, argv[2:])
    if removed and client.instance.notifications.enabled:
        notify(client, b"zrem", key, gone)
    return integer(removed)


@command(
    "ZCARD",
    arity=2,
    flags=Flag.READONLY | Flag.FAST,
    keys=KeySpec("RO"),
    group="sorted-set",
    since="1.2.0",
    complexity="O(1)",
    syntax="key",
)
def zcard(client: Client, argv: list[bytes]) -> bytes:
    """Return the number of members of a sorted set."""
    header = read(client, argv[1])
    return ZERO if header is None else integer(zsets.cardinality(header))


@command(
    "ZSCORE",
    arity=3,
    flags=Flag.READONLY | Flag.FAST,
    keys=KeySpec("RO access"),
    group="sorted-set",
    since="1.2.0",
    complexity="O(1)",
    syntax="key member",
)
def zscore(client: Client, argv: list[bytes]) -> bytes:
    """Return the score of a member of a sorted set."""
    header = read(client, argv[1])
    if header is None:
        return client.null
    score = zsets.score_of(client.engine, header, argv[2])
    return client.null if score is None else score_bulk(score, client.resp)


@command(
    "ZMSCORE",
    arity=-3,
    flags=Flag.READONLY | Flag.FAST,
    keys=KeySpec("RO access"),
    group="sorted-set",
    since="6.2.0",
    complexity="O(N) where N is the number of members asked for.",
    syntax="key member [member ...]",
)
def zmscore(client: Client, argv: list[bytes]) -> bytes:
    """Return the scores of members of a sorted set."""
    header = read(client, argv[1])
    if header is None:
        return array([client.null] * (len(argv) - 2))
    engine = client.engine
    scores = [zsets.score_of(engine, header, member) for member in argv[2:]]
    return array([client.null if score is None else score_bulk(score, client.resp) for score in scores])


# ---- ranks


@command(
    "ZRANK",
    arity=-3,
    flags=Flag.READONLY | Flag.FAST,
    keys=KeySpec("RO access"),
    group="sorted-set",
    since="2.0.0",
    complexity="O(log(N)) where N is the number of members.",
    syntax="key member [withscore=WITHSCORE]",
)
def zrank(client: Client, argv: list[bytes]) -> bytes:
    """Return the place of a member of a sorted set, counted from the lowest score."""
    return _rank(client, argv, False)


@command(
    "ZREVRANK",
    arity=-3,
    flags=Flag.READONLY | Flag.FAST,
    keys=KeySpec("RO access"),
    group="sorted-set",
    since="2.0.0",
    complexity="O(log(N)) where N is the number of members.",
    syntax="key member [withscore=WITHSCORE]",
)
def zrevrank(client: Client, argv: list[bytes]) -> bytes:
    """Return the place of a member of a sorted set, counted from the highest score."""
    return _rank(client, argv, True)


def _rank(client: Client, argv: list[bytes], reverse: bool) -> bytes:
    if len(argv) > 4:
        raise CommandError(b"ERR wrong number of arguments for '%b' command" % argv[0].lower())
    with_score = len(argv) == 4
    if with_score and argv[3].upper() != b"WITHSCORE":
        raise CommandSyntaxError
    header = read(client, argv[1])
    found = None if header is None else zsets.rank_of(client.engine, header, argv[2], reverse)
    if found is None:
        return client.null_array if with_score else client.null
    rank, score = found
    if with_score:
        return b"*2\r\n:%d\r\n%b" % (rank, score_bulk(score, client.resp))
    return integer(rank)


# ---- walking and drawing


@command(
    "ZSCAN",
    arity=-3,
    flags=Flag.READONLY,
    keys=KeySpec("RO access"),
    group="sorted-set",
    since="2.8.0",
    complexity="O(COUNT) for every call.",
    syntax="key cursor [MATCH pattern] [COUNT count]",
    tips=("nondeterministic_output",),
)
def zscan(client: Client, argv: list[bytes]) -> bytes:
    """Walk over the members of a sorted set with their scores, some at a time."""
    parse_cursor(argv[2])
    header = read(client, argv[1])
    if header is None:
        return b"*2\r\n$1\r\n0\r\n*0\r\n"
    options = parse_options(argv, 3)
    cursor, found = zsets.scan(client.engine, header, options.cursor, options.count)
    matches = options.matches
    items: list[bytes] = []
    for member, score in found:
        if matches is None or matches(member):
            items += (member, format_double(score))
    return b"*2\r\n%b%b" % (bulk(b"%d" % cursor), bulks(items))


@command(
    "ZRANDMEMBER",
    arity=-2,
    flags=Flag.READONLY,
    keys=KeySpec("RO access"),
    group="sorted-set",
    since="6.2.0",
    complexity="O(N*log(M)) where N is the number of members returned and M that of the set.",
    syntax="key [options={count [withscores=WITHSCORES]}]",
    tips=("nondeterministic_output",),
)
def zrandmember(client: Client, argv: list[bytes]) -> Reply:
    """Return random members of a sorted set."""
    engine = client.engine
    if len(argv) == 2:
        header = read(client, argv[1])
        if header is None:
            return client.null
        return bulk(zsets.random_entries(engine, header, 1, True)[0][0])
    count = parse_draws(argv[2])
    if len(argv) > 4 or (len(argv) == 4 and argv[3].upper() != b"WITHSCORES"):
        raise CommandSyntaxError
    with_scores = len(argv) == 4
    if with_scores and not -(_INT64_MAX // 2) <= count <= _INT64_MAX // 2:
        raise CommandError(b"ERR value is out of range")
    header = read(client, argv[1])
    if header is None or not count:
        return EMPTY_ARRAY
    size = min(count, zsets.cardinality(header)) if count > 0 else -count
    is_lazy = count < 0 and header.value is not None
    if is_lazy:
        drawn = zsets.random_draws(header, size)
    else:
        require_room(client, size)
        drawn = iter(zsets.random_entries(engine, header, size, count > 0))
    if with_scores:
        items = entry_items(drawn, client.resp)
        head = b"*%d\r\n" % (size if client.resp == 3 else 2 * size)
    else:
        items = (bulk(member) for member, _ in drawn)
        head = b"*%d\r\n" % size
    return draws_reply(client, head, items, is_lazy=is_lazy, count=size)
