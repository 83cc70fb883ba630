"""Hashes a part at a time: HSCAN and HRANDFIELD."""

from __future__ import annotations

from diskkv.codec.numbers import INT64_MAX
from diskkv.commands.draws import bounded, draws_reply, parse_draws, require_room
from diskkv.commands.hash import read_hash
from diskkv.commands.registry import Flag, KeySpec, command
from diskkv.commands.scan import parse_cursor, parse_options
from diskkv.datatypes import hashes
from diskkv.errors import CommandError, CommandSyntaxError
from diskkv.resp.reply import EMPTY_ARRAY, bulk, bulks
from diskkv.services.client import Client
from diskkv.services.streaming import Reply

EMPTY_PAGE = b"*2\r\n$1\r\n0\r\n*0\r\n"
"""The end of a scan over nothing."""


@command("HSCAN", arity=-3, flags=Flag.READONLY, keys=KeySpec("RO access"), group="hash", since="2.8.0",
         complexity="O(COUNT) for every call.",
         syntax="key cursor [MATCH pattern] [COUNT count] [NOVALUES]",
         tips=("nondeterministic_output",))  # fmt: skip
def hscan(client: Client, argv: list[bytes]) -> bytes:
    """Walk over the fields of a hash, some at a time."""
    parse_cursor(argv[2])
    header = read_hash(client, argv[1])
    if header is None:
        return EMPTY_PAGE
    options = parse_options(argv, 3, is_hash=True)
    cursor, found = hashes.scan(client.engine, header, options.cursor, options.count)
    matches = options.matches
    if matches is not None:
        found = [pair for pair in found if matches(pair[0])]
    shown = [pair[0] for pair in found] if options.no_values else [text for pair in found for text in pair]
    return b"*2\r\n" + bulk(b"%d" % cursor) + bulks(shown)


@command("HRANDFIELD", arity=-2, flags=Flag.READONLY, keys=KeySpec("RO access"), group="hash", since="6.2.0",
         complexity="O(N) where N is the number of fields that are returned.",
         syntax="key options=[count [WITHVALUES]]", tips=("nondeterministic_output",))  # fmt: skip
def hrandfield(client: Client, argv: list[bytes]) -> Reply:
    """Return random fields of a hash."""
    if len(argv) == 2:
        header = read_hash(client, argv[1])
        pair = None if header is None else hashes.random_pair(client.engine, header)
        return client.null if pair is None else bulk(pair[0])
    count = parse_draws(argv[2])
    with_values = len(argv) > 3
    if with_values:
        if len(argv) > 4 or argv[3].upper() != b"WITHVALUES":
            raise CommandSyntaxError
        if abs(count) > INT64_MAX // 2:
            raise CommandError(b"ERR value is out of range")
    header = read_hash(client, argv[1])
    if header is None or not count:
        return EMPTY_ARRAY
    drawn = hashes.random_pairs(client.engine, header, count)
    if not with_values:
        items = (b"$%d\r\n%b\r\n" % (len(field), field) for field, _ in drawn)
    elif client.resp == 3:
        items = (b"*2\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % _measured(pair) for pair in drawn)
    else:
        items = (b"$%d\r\n%b\r\n$%d\r\n%b\r\n" % _measured(pair) for pair in drawn)
    width = 2 if with_values and client.resp == 2 else 1
    size = hashes.drawn_count(header, count)
    if size is None:
        # How many of the drawn ones are still there is known when they were looked at.
        require_room(client, -count)
        found = bounded(client, items)
        return b"*%d\r\n%b" % (width * len(found), b"".join(found))
    is_lazy = hashes.is_drawn_lazily(header, count)
    return draws_reply(client, b"*%d\r\n" % (width * size), items, is_lazy=is_lazy, count=size)


def _measured(pair: tuple[bytes, bytes]) -> tuple[int, bytes, int, bytes]:
    field, value = pair
    return len(field), field, len(value), value
