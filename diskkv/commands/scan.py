"""Walking over all keys: SCAN and KEYS, and the argument parsing that HSCAN, SSCAN and ZSCAN share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from diskkv.codec.glob import compile_glob, literal_prefix
from diskkv.codec.header import TYPE_NAMES, Value, is_gone, value_type
from diskkv.codec.keys import prefix_successor
from diskkv.codec.numbers import parse_int64
from diskkv.commands.registry import Flag, command
from diskkv.engine.database import Database
from diskkv.errors import CommandError, CommandSyntaxError, NotIntegerError
from diskkv.resp.reply import array_header, bulk, bulks
from diskkv.services.client import Client
from diskkv.services.streaming import Reply, counted_reply

_DEFAULT_COUNT = 10
_UINT64_MAX = 2**64 - 1


@dataclass(slots=True)
class ScanOptions:
    """The options of a SCAN-like command. `matches` is None when every element does."""

    cursor: int
    count: int = _DEFAULT_COUNT
    pattern: bytes | None = None
    matches: Callable[[bytes], bool] | None = None
    type_name: bytes | None = None
    no_values: bool = False


_NUMBER = re.compile(rb"[ \t\n\r\v\f]*([+-]?)([0-9]{1,100})")


def parse_cursor(text: bytes) -> int:
    """A cursor argument (0 .. 2**64-1). Raises Redis' error.

    Redis reads it with strtoull(), which skips white space and takes what a minus precedes modulo 2**64; only what is
    plainly a negative number is refused.
    """
    text = text.partition(b"\0")[0]
    found = _NUMBER.fullmatch(text)
    number = int(found[2]) if found is not None else _UINT64_MAX + 1
    if number > _UINT64_MAX or (number <= 2**63 and text == b"-%d" % number and number):
        raise CommandError(b"ERR invalid cursor")
    return -number % 2**64 if found is not None and found[1] == b"-" else number


def parse_options(argv: list[bytes], at: int, *, is_top_level: bool = False, is_hash: bool = False) -> ScanOptions:
    """The cursor in argv[at - 1] and the options from `at` on. Raises Redis' errors."""
    options = ScanOptions(parse_cursor(argv[at - 1]))
    while at < len(argv):
        name = argv[at].upper()
        if name == b"NOVALUES":
            if not is_hash:
                raise CommandError(b"ERR NOVALUES option can only be used in HSCAN")
            options.no_values = True
            at += 1
            continue
        if at + 1 == len(argv):
            raise CommandSyntaxError
        argument = argv[at + 1]
        if name == b"COUNT":
            options.count = _parse_count(argument)
        elif name == b"MATCH":
            options.pattern = argument
            options.matches = None if argument == b"*" else compile_glob(argument)
        elif name == b"TYPE" and is_top_level:
            options.type_name = argument.lower()
        else:
            raise CommandSyntaxError
        at += 2
    return options


def _parse_count(text: bytes) -> int:
    try:
        count = parse_int64(text)
    except ValueError:
        raise NotIntegerError from None
    if count < 1:
        raise CommandSyntaxError
    return count


def live_keys(database: Database, start: bytes, stop: bytes | None) -> Iterator[tuple[bytes, Value | None]]:
    """(key, value) in order, the value None for a key that is past its time."""
    now_ms = database.engine.now_ms
    for key, value in database.scan_heads(start, stop):
        yield key, None if is_gone(value, now_ms) else value


def _range_of(pattern: bytes | None) -> tuple[bytes, bytes | None]:
    """The range of keys that can match: a literal prefix makes the scan a seek."""
    prefix = b"" if pattern is None else literal_prefix(pattern)
    if not prefix.rstrip(b"\xff"):
        return prefix, None
    return prefix, prefix_successor(prefix)


@command(
    "SCAN",
    arity=-2,
    flags=Flag.READONLY | Flag.TOUCHES_ARBITRARY_KEYS,
    group="generic",
    since="2.8.0",
    complexity="O(COUNT) for every call; a MATCH with a literal prefix only walks over the keys that have it.",
    syntax="cursor [MATCH pattern] [COUNT count] [TYPE@6.0.0 type]",
    tips=("nondeterministic_output", "request_policy:special", "response_policy:special"),
)
def scan(client: Client, argv: list[bytes]) -> bytes:
    """Walk over the keys of the database, some at a time."""
    options = parse_options(argv, 2, is_top_level=True)
    start, stop = _range_of(options.pattern)
    if options.cursor:
        position = client.instance.cursors.load(options.cursor)
        if position is None:
            raise CommandError(b"ERR invalid cursor")
        start = max(start, position + b"\0")
    found: list[bytes] = []
    cursor = 0
    matches, wanted = options.matches, options.type_name
    seen = 0
    last = b""
    for key, value in live_keys(client.db, start, stop):
        if seen == options.count:
            cursor = client.instance.cursors.save(last)
            break
        seen += 1
        last = key
        if value is None or (matches is not None and not matches(key)):
            continue
        if wanted is None or TYPE_NAMES[value_type(value)] == wanted:
            found.append(key)
    return b"*2\r\n" + bulk(b"%d" % cursor) + bulks(found)


@command(
    "KEYS",
    arity=2,
    flags=Flag.READONLY | Flag.DANGEROUS,
    group="generic",
    since="1.0.0",
    complexity="O(N) where N is the number of keys; with a literal prefix, of the keys that have it.",
    syntax="pattern",
    tips=("request_policy:all_shards", "nondeterministic_output_order"),
)
def keys(client: Client, argv: list[bytes]) -> Reply:
    """List all keys that match a pattern."""
    # The glob * does not match the empty key, but as the whole pattern it means all keys.
    matches = None if argv[1] == b"*" else compile_glob(argv[1])
    start, stop = _range_of(argv[1])
    database = client.db

    def items() -> Iterator[bytes]:
        found = live_keys(database, start, stop)
        if matches is None:
            return (b"" if value is None else bulk(key) for key, value in found)
        return (b"" if value is None or not matches(key) else bulk(key) for key, value in found)

    return counted_reply(client, array_header, items)
