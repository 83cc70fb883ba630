"""Unions, intersections and differences: ZUNION, ZINTER, ZDIFF, their STORE forms, and ZINTERCARD."""

from __future__ import annotations

from collections.abc import Sequence

from diskkv.codec.numbers import parse_float, parse_int64
from diskkv.commands.arguments import parse_integer
from diskkv.commands.registry import Flag, KeySpec, command
from diskkv.commands.zset_range import store_reply
from diskkv.commands.zset_replies import entries_reply, members_reply
from diskkv.datatypes import zset_algebra
from diskkv.datatypes.zset_algebra import AGGREGATES, Aggregate, Source
from diskkv.datatypes.zset_rows import Entry
from diskkv.errors import CommandError, CommandSyntaxError
from diskkv.resp.reply import integer
from diskkv.services.client import Client

_READ = Flag.READONLY | Flag.MOVABLEKEYS
_STORE = Flag.WRITE | Flag.DENYOOM | Flag.MOVABLEKEYS
_INPUTS = KeySpec("RO access", keynum=0, first=1)
_STORE_KEYS = (KeySpec("OW update"), KeySpec("RO access", begin=2, keynum=0, first=1))
_UNION_COST = "O(N)+O(M*log(M)) where N is the number of members of all inputs and M that of the result."
_INTER_COST = "O(N*K)+O(M*log(M)) where N is the size of the smallest of K inputs and M that of the result."
_DIFF_COST = "O(L)+O(M*log(M)) where L is the number of members of all inputs and M that of the result."
_OPTIONS = "[WEIGHTS weight [weight ...]] [AGGREGATE <SUM | MIN | MAX>]"
_BAD_WEIGHT = b"ERR weight value is not a float"
_BAD_LIMIT = b"ERR LIMIT can't be negative"


def _sources(client: Client, argv: list[bytes], at: int) -> tuple[list[Source], int]:
    """The inputs of `numkeys key [key ...]` at `at`, and where the options begin."""
    count = parse_integer(argv[at])
    if count < 1:
        name = argv[0].lower()
        raise CommandError(b"ERR at least 1 input key is needed for '%b' command" % name)
    first = at + 1
    if count > len(argv) - first:
        raise CommandSyntaxError
    engine = client.engine
    read = client.db.read
    return [Source(engine, read(key)) for key in argv[first : first + count]], first + count


def _parse_options(
    argv: list[bytes], at: int, sources: Sequence[Source], is_diff: bool, is_store: bool
) -> tuple[Aggregate, bool]:
    """(aggregate, WITHSCORES); the weights go into the sources."""
    aggregate = AGGREGATES[b"SUM"]
    with_scores = False
    while at < len(argv):
        option = argv[at].upper()
        if option == b"WEIGHTS" and not is_diff and len(argv) - at > len(sources):
            for source, text in zip(sources, argv[at + 1 :], strict=False):
                try:
                    source.weight = parse_float(text)
                except ValueError:
                    raise CommandError(_BAD_WEIGHT) from None
            at += 1 + len(sources)
        elif option == b"AGGREGATE" and not is_diff and at + 1 < len(argv):
            chosen = AGGREGATES.get(argv[at + 1].upper())
            if chosen is None:
                raise CommandSyntaxError
            aggregate = chosen
            at += 2
        elif option == b"WITHSCORES" and not is_store:
            with_scores = True
            at += 1
        else:
            raise CommandSyntaxError
    return aggregate, with_scores


def _reply(client: Client, entries: Sequence[Entry], with_scores: bool) -> bytes:
    if with_scores:
        return entries_reply(entries, client.resp)
    return members_reply([member for member, _ in entries])


@command(
    "ZUNION",
    arity=-3,
    flags=_READ,
    keys=_INPUTS,
    group="sorted-set",
    since="6.2.0",
    complexity=_UNION_COST,
    syntax=f"numkeys key [key ...] {_OPTIONS} [withscores=WITHSCORES]",
)
def zunion(client: Client, argv: list[bytes]) -> bytes:
    """Return the members of any of several sorted sets."""
    sources, at = _sources(client, argv, 1)
    aggregate, with_scores = _parse_options(argv, at, sources, False, False)
    return _reply(client, zset_algebra.union(sources, aggregate), with_scores)


@command(
    "ZINTER",
    arity=-3,
    flags=_READ,
    keys=_INPUTS,
    group="sorted-set",
    since="6.2.0",
    complexity=_INTER_COST,
    syntax=f"numkeys key [key ...] {_OPTIONS} [withscores=WITHSCORES]",
)
def zinter(client: Client, argv: list[bytes]) -> bytes:
    """Return the members that several sorted sets have in common."""
    sources, at = _sources(client, argv, 1)
    aggregate, with_scores = _parse_options(argv, at, sources, False, False)
    return _reply(client, zset_algebra.intersection(sources, aggregate), with_scores)


@command(
    "ZDIFF",
    arity=-3,
    flags=_READ,
    keys=_INPUTS,
    group="sorted-set",
    since="6.2.0",
    complexity=_DIFF_COST,
    syntax="numkeys key [key ...] [withscores=WITHSCORES]",
)
def zdiff(client: Client, argv: list[bytes]) -> bytes:
    """Return the members of the first sorted set that are in none of the others."""
    sources, at = _sources(client, argv, 1)
    _, with_scores = _parse_options(argv, at, sources, True, False)
    return _reply(client, zset_algebra.difference(sources), with_scores)


@command(
    "ZUNIONSTORE",
    arity=-4,
    flags=_STORE,
    keys=_STORE_KEYS,
    group="sorted-set",
    since="2.0.0",
    complexity=_UNION_COST,
    syntax=f"destination numkeys key [key ...] {_OPTIONS}",
)
def zunionstore(client: Client, argv: list[bytes]) -> bytes:
    """Store the members of any of several sorted sets under another key."""
    sources, at = _sources(client, argv, 2)
    aggregate, _ = _parse_options(argv, at, sources, False, True)
    return store_reply(client, argv[1], zset_algebra.union(sources, aggregate), b"zunionstore")


@command(
    "ZINTERSTORE",
    arity=-4,
    flags=_STORE,
    keys=_STORE_KEYS,
    group="sorted-set",
    since="2.0.0",
    complexity=_INTER_COST,
    syntax=f"destination numkeys key [key ...] {_OPTIONS}",
)
def zinterstore(client: Client, argv: list[bytes]) -> bytes:
    """Store the members that several sorted sets have in common under another key."""
    sources, at = _sources(client, argv, 2)
    aggregate, _ = _parse_options(argv, at, sources, False, True)
    return store_reply(client, argv[1], zset_algebra.intersection(sources, aggregate), b"zinterstore")


@command(
    "ZDIFFSTORE",
    arity=-4,
    flags=_STORE,
    keys=_STORE_KEYS,
    group="sorted-set",
    since="6.2.0",
    complexity=_DIFF_COST,
    syntax="destination numkeys key [key ...]",
)
def zdiffstore(client: Client, argv: list[bytes]) -> bytes:
    """Store the members of the first sorted set that are in none of the others under another key."""
    sources, at = _sources(client, argv, 2)
    _parse_options(argv, at, sources, True, True)
    return store_reply(client, argv[1], zset_algebra.difference(sources), b"zdiffstore")


@command(
    "ZINTERCARD",
    arity=-3,
    flags=_READ,
    keys=_INPUTS,
    group="sorted-set",
    since="7.0.0",
    complexity="O(N*K) where N is the size of the smallest of K inputs.",
    syntax="numkeys key [key ...] [LIMIT limit]",
)
def zintercard(client: Client, argv: list[bytes]) -> bytes:
    """Count the members that several sorted sets have in common."""
    sources, at = _sources(client, argv, 1)
    limit = 0
    while at < len(argv):
        if argv[at].upper() != b"LIMIT" or at + 1 == len(argv):
            raise CommandSyntaxError
        try:
            limit = parse_int64(argv[at + 1])
        except ValueError:
            raise CommandError(_BAD_LIMIT) from None
        if limit < 0:
            raise CommandError(_BAD_LIMIT)
        at += 2
    return integer(zset_algebra.intersection_size(sources, limit))
