"""Parts and lengths of strings: STRLEN, GETRANGE, SUBSTR, APPEND, SETRANGE; and LCS, which compares two."""

from __future__ import annotations

from diskkv.codec.header import STRING, Value, value_type
from diskkv.codec.lcs import Match, check_lcs_size, lcs_length, longest_common_subsequence
from diskkv.commands.arguments import parse_integer
from diskkv.commands.registry import Flag, KeySpec, command
from diskkv.commands.string import part_reply
from diskkv.datatypes import strings
from diskkv.errors import CommandError, CommandSyntaxError
from diskkv.resp.reply import EMPTY_BULK, ZERO, array, bulk, integer, map_of
from diskkv.services import notifications
from diskkv.services.client import Client
from diskkv.services.streaming import Reply


@command(
    "STRLEN",
    arity=2,
    flags=Flag.READONLY | Flag.FAST,
    keys=KeySpec("RO"),
    group="string",
    since="2.2.0",
    complexity="O(1)",
    syntax="key",
)
def strlen(client: Client, argv: list[bytes]) -> bytes:
    """Return the length of the string at a key in bytes."""
    value = client.db.read(argv[1])
    if value is None:
        return ZERO
    strings.require_string(value)
    return integer(strings.length(value))


@command(
    "GETRANGE",
    arity=4,
    flags=Flag.READONLY,
    keys=KeySpec("RO access"),
    group="string",
    since="2.4.0",
    complexity="O(N) where N is the length of the part",
    syntax="key start end",
)
def getrange(client: Client, argv: list[bytes]) -> Reply:
    """Return a part of the string at a key; negative positions count from its end, which is included."""
    return _part(client, argv)


def _part(client: Client, argv: list[bytes]) -> Reply:
    start = parse_integer(argv[2])
    end = parse_integer(argv[3])
    value = client.db.read(argv[1])
    if value is None:
        return EMPTY_BULK
    strings.require_string(value)
    if start < 0 and end < 0 and start > end:
        return EMPTY_BULK
    size = strings.length(value)
    # A position before the beginning is the first byte, even as the end.
    start = max(start + size, 0) if start < 0 else start
    end = max(end + size, 0) if end < 0 else end
    if start > end or start >= size:
        return EMPTY_BULK
    return part_reply(client, value, start, min(end + 1, size))


@command(
    "SUBSTR",
    arity=4,
    flags=Flag.READONLY,
    keys=KeySpec("RO access"),
    group="string",
    since="1.0.0",
    complexity="O(N) where N is the length of the part",
    syntax="key start end",
)
def substr(client: Client, argv: list[bytes]) -> Reply:
    """Return a part of the string at a key: the old name of GETRANGE."""
    return _part(client, argv)


@command(
    "APPEND",
    arity=3,
    flags=Flag.WRITE | Flag.DENYOOM | Flag.FAST,
    keys=KeySpec("RW insert"),
    group="string",
    since="2.0.0",
    complexity="O(1) for short strings and for each 16 KiB that are added to a long one",
    syntax="key value",
)
def append(client: Client, argv: list[bytes]) -> bytes:
    """Add to the end of the string at a key, which is empty when it does not exist; return its new length."""
    key = argv[1]
    data = argv[2]
    database = client.db
    old = database.get(key)
    if old is None:
        database.put(key, strings.make(client.engine, data), None)
        size = len(data)
    else:
        strings.require_string(old)
        _check_size(client, strings.length(old) + len(data))
        size = strings.append(database, key, old, data)
    events = client.instance.notifications
    if events.enabled:
        events.event(notifications.STRING, b"append", key, database)
    return integer(size)


def _check_size(client: Client, size_bytes: int) -> None:
    if size_bytes > client.instance.config.proto_max_bulk_len:
        raise CommandError(b"ERR string exceeds maximum allowed size (proto-max-bulk-len)")


@command(
    "SETRANGE",
    arity=4,
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=KeySpec("RW update"),
    group="string",
    since="2.2.0",
    complexity="O(1) for short strings and for each 16 KiB that are written into a long one",
    syntax="key offset value",
)
def setrange(client: Client, argv: list[bytes]) -> bytes:
    """Overwrite a part of the string at a key, with zeros before it where the string is shorter; return its length."""
    offset = parse_integer(argv[2])
    if offset < 0:
        raise CommandError(b"ERR offset is out of range")
    key = argv[1]
    data = argv[3]
    database = client.db
    old = database.get(key)
    if old is not None:
        strings.require_string(old)
    if not data:
        return integer(0 if old is None else strings.length(old))
    _check_size(client, offset + len(data))
    size = strings.write_range(database, key, old, offset, data)
    events = client.instance.notifications
    if events.enabled:
        events.event(notifications.STRING, b"setrange", key, database)
    return integer(size)


# ---- LCS


@command(
    "LCS",
    arity=-3,
    flags=Flag.READONLY,
    keys=KeySpec("RO access", last=1),
    group="string",
    since="7.0.0",
    complexity="O(N*M) where N and M are the lengths of the strings",
    syntax="key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN]",
)
def lcs(client: Client, argv: list[bytes]) -> bytes:
    """Find the longest common subsequence of the strings at two keys: itself, its length or where it is."""
    first = client.db.read(argv[1])
    second = client.db.read(argv[2])
    if any(value is not None and value_type(value) != STRING for value in (first, second)):
        raise CommandError(b"ERR The specified keys must contain string values")
    chosen, min_length = _lcs_options(argv)
    if {b"IDX", b"LEN"} <= chosen:
        raise CommandError(b"ERR If you want both the length and indexes, please just use IDX.")
    check_lcs_size(_length(first), _length(second), client.instance.config.proto_max_bulk_len)
    a = b"" if first is None else strings.read(client.engine, first)
    b = b"" if second is None else strings.read(client.engine, second)
    if b"LEN" in chosen:
        return integer(lcs_length(a, b))
    found = longest_common_subsequence(a, b)
    if b"IDX" not in chosen:
        return bulk(found.text)
    matches = [_match_reply(match, b"WITHMATCHLEN" in chosen) for match in found.matches if match.length >= min_length]
    return map_of([(bulk(b"matches"), array(matches)), (bulk(b"len"), integer(len(found.text)))], client.resp)


def _length(value: Value | None) -> int:
    return 0 if value is None else strings.length(value)


def _lcs_options(argv: list[bytes]) -> tuple[set[bytes], int]:
    """The flags, in capitals, and the shortest match to show."""
    chosen: set[bytes] = set()
    min_length = 0
    rest = iter(argv[3:])
    for argument in rest:
        word = argument.upper()
        if word in (b"IDX", b"LEN", b"WITHMATCHLEN"):
            chosen.add(word)
        elif word == b"MINMATCHLEN" and (operand := next(rest, None)) is not None:
            min_length = parse_integer(operand)
        else:
            raise CommandSyntaxError
    return chosen, min_length


def _match_reply(match: Match, with_length: bool) -> bytes:
    ranges = [
        array([integer(match.first_a), integer(match.last_a)]),
        array([integer(match.first_b), integer(match.last_b)]),
    ]
    return array([*ranges, integer(match.length)] if with_length else ranges)
