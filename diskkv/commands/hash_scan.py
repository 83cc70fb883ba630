"""Hashes a part at a time: HSCAN and HRANDFIELD."""

from __future__ import annotations

from collections.abc import Iterable

from diskkv.codec.numbers import INT64_MAX, parse_int64
from diskkv.commands.hash import read_hash
from diskkv.commands.registry import Flag, KeySpec, command
from diskkv.commands.scan import parse_cursor, parse_options
from diskkv.datatypes import hashes
from diskkv.errors import CommandError, CommandSyntaxError, NotIntegerError
from diskkv.resp.reply import EMPTY_ARRAY, bulk, bulks
from diskkv.services.client import Client

EMPTY_PAGE = b"*2\r\n$1\r\n0\r\n*0\r\n"
"""The end of a scan over nothing."""

_PIECE_BYTES = 64
"""What an element takes at least while a reply is built."""


def parse_draws(client: Client, text: bytes) -> int:
    """The count of a command that draws random elements. Raises Redis' errors.

    A negative count asks for elements that may repeat: only the count bounds such a reply, and one that could not be
    sent is refused.
    """
    try:
        count = parse_int64(text)
    except ValueError:
        raise NotIntegerError from None
    if count < -INT64_MAX:
        raise CommandError(
            f"ERR value is out of range, value must between {-INT64_MAX} and {INT64_MAX}"
        )
    return count


def require_room(client: Client, count: int) -> None:
    """Raise unless -`count` draws fit into a reply."""
    if -count * _PIECE_BYTES > client.instance.config.proto_max_bulk_len:
        raise CommandError(b"ERR the reply would exceed proto-max-bulk-len")


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
def hrandfield(client: Client, argv: list[bytes]) -> bytes:
    """Return random fields of a hash."""
    if len(argv) == 2:
        header = read_hash(client, argv[1])
        pair = None if header is None else hashes.random_pair(client.engine, header)
        return client.null if pair is None else bulk(pair[0])
    count = parse_draws(client, argv[2])
    with_values = len(argv) > 3
    if with_values:
        if len(argv) > 4 or argv[3].upper() != b"WITHVALUES":
            raise CommandSyntaxError
        if abs(count) > INT64_MAX // 2:
            raise CommandError(b"ERR value is out of range")
    header = read_hash(client, argv[1])
    if header is None or not count:
        return EMPTY_ARRAY
    require_room(client, count)
    drawn = hashes.random_pairs(client.engine, header, count)
    return _with_values(client, drawn) if with_values else bulks([field for field, _ in drawn])


def _with_values(client: Client, drawn: Iterable[tuple[bytes, bytes]]) -> bytes:
    if client.resp == 3:
        pieces = [
            b"*2\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(field), field, len(value), value) for field, value in drawn
        ]
        return b"*%d\r\n%b" % (len(pieces), b"".join(pieces))
    return bulks([text for pair in drawn for text in pair])
