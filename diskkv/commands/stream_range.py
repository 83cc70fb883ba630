"""Reading intervals of streams: XRANGE and XREVRANGE."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, starmap

from diskkv.commands.registry import Flag, KeySpec, command
from diskkv.commands.stream_arguments import entry_reply, parse_end, parse_integer, parse_start, read_stream
from diskkv.datatypes import streams
from diskkv.errors import CommandSyntaxError
from diskkv.resp.reply import EMPTY_ARRAY, array_header
from diskkv.services.client import Client
from diskkv.services.streaming import Reply, counted_reply, reply_of

_FEW = 500
"""Up to so many entries are gathered without asking whether they are to be streamed."""


def _range(client: Client, argv: list[bytes], reverse: bool) -> Reply:
    start = parse_start(argv[3] if reverse else argv[2])
    end = parse_end(argv[2] if reverse else argv[3])
    count = -1
    at = 4
    while at < len(argv):
        if argv[at].upper() != b"COUNT" or at + 1 == len(argv):
            raise CommandSyntaxError
        count = max(parse_integer(argv[at + 1]), 0)
        at += 2
    stream = read_stream(client, argv[1])
    if stream is None:
        return EMPTY_ARRAY
    if not count:
        return client.null_array
    engine = client.engine
    if 0 < count <= _FEW:
        found = [entry_reply(*entry) for entry in streams.read_range(engine, stream, start, end, count, reverse)]
        return b"*%d\r\n%b" % (len(found), b"".join(found))

    def items() -> Iterator[bytes]:
        found = starmap(entry_reply, streams.iterate(engine, stream, start, end, reverse))
        return found if count < 0 else islice(found, count)

    if count < 0 and start == streams.ZERO_ID and end == streams.MAX_ID:
        return reply_of(client, array_header(stream.length), items(), stream.length)
    return counted_reply(client, array_header, items)


@command(
    "XRANGE",
    arity=-4,
    flags=Flag.READONLY,
    keys=KeySpec("RO access"),
    group="stream",
    since="5.0.0",
    complexity="O(N) with N being the number of entries returned.",
    syntax="key start:string end:string [COUNT count]",
)
def xrange(client: Client, argv: list[bytes]) -> Reply:
    """Return the entries in an interval of IDs."""
    return _range(client, argv, False)


@command(
    "XREVRANGE",
    arity=-4,
    flags=Flag.READONLY,
    keys=KeySpec("RO access"),
    group="stream",
    since="5.0.0",
    complexity="O(N) with N being the number of entries returned.",
    syntax="key end:string start:string [COUNT count]",
)
def xrevrange(client: Client, argv: list[bytes]) -> Reply:
    """Return the entries in an interval of IDs, the newest first."""
    return _range(client, argv, True)
