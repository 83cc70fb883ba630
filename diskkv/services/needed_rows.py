"""Which rows a command will read, as far as its arguments tell: the headers of its keys, then the elements it names.

This is for reading them ahead, several at a time, so it may be incomplete: what is missing is found when the command
runs. Rows that are in memory are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from diskkv.codec.header import HASH, SET, STRING, ZSET, Header
from diskkv.codec.keys import KIND_HASH_FIELD, KIND_SET_MEMBER, KIND_STRING_CHUNK, KIND_ZSET_MEMBER, U32, element_prefix
from diskkv.datatypes.members import member_row
from diskkv.datatypes.strings import CHUNK_BYTES
from diskkv.engine.database import Database
from diskkv.errors import CommandError

_ROWS = 16_384
"""At most so many rows are read ahead for one command."""

_Elements = Callable[[Sequence[bytes]], Sequence[bytes]]
"""argv -> the fields or members it names."""

_KINDS = {HASH: KIND_HASH_FIELD, SET: KIND_SET_MEMBER, ZSET: KIND_ZSET_MEMBER}


def _third(argv: Sequence[bytes]) -> Sequence[bytes]:
    return argv[2:3]


def _fourth(argv: Sequence[bytes]) -> Sequence[bytes]:
    return argv[3:4]


def _all_behind_key(argv: Sequence[bytes]) -> Sequence[bytes]:
    return argv[2:]


def _firsts_of_pairs(argv: Sequence[bytes]) -> Sequence[bytes]:
    return argv[2::2]


def _seconds_of_pairs(argv: Sequence[bytes]) -> Sequence[bytes]:
    """ZADD, GEOADD: members are the last of two or three arguments, and options come before all of them."""
    return argv[: 2 if argv[0][:1] in b"zZ" else 3 : -2 if argv[0][:1] in b"zZ" else -3]


_ELEMENTS: dict[str, tuple[int, _Elements]] = {
    **dict.fromkeys(("hget", "hexists", "hstrlen", "hincrby", "hincrbyfloat", "hsetnx"), (HASH, _third)),
    **dict.fromkeys(("hmget", "hdel"), (HASH, _all_behind_key)),
    **dict.fromkeys(("hset", "hmset"), (HASH, _firsts_of_pairs)),
    "sismember": (SET, _third),
    **dict.fromkeys(("smismember", "sadd", "srem"), (SET, _all_behind_key)),
    "smove": (SET, _fourth),
    **dict.fromkeys(("zscore", "zrank", "zrevrank"), (ZSET, _third)),
    "zincrby": (ZSET, _fourth),
    **dict.fromkeys(("zmscore", "zrem", "geopos", "geohash", "geodist"), (ZSET, _all_behind_key)),
    **dict.fromkeys(("zadd", "geoadd"), (ZSET, _seconds_of_pairs)),
}
_WHOLE_STRINGS = frozenset({"get", "mget", "getex", "getdel", "bitcount", "bitop", "copy", "dump"})


def collects_first(entry: Any) -> bool:
    """Whether a command may stage something before all rows that it needs were read: then they come first."""
    if "write" not in entry.flag_names:
        return False
    several_keys = entry.get_keys is not None or len(entry.keys) > 1 or any(_has_several(spec) for spec in entry.keys)
    return several_keys or (entry.name in _ELEMENTS and _ELEMENTS[entry.name][1] not in (_third, _fourth))


Element = tuple[int, int, int]
"""The type that a value must have, the kind of its rows, and which argument names the element."""


def has_one_key(entry: Any) -> bool:
    """Whether a command reads the header of its first argument, and no other key's."""
    if entry.get_keys is not None or len(entry.keys) != 1:
        return False
    spec = entry.keys[0]
    return spec.begin == 1 and not (spec.unknown or spec.keyword or _has_several(spec))


def one_element(entry: Any) -> Element | None:
    """The element that a command of one key reads, if it is one."""
    type_, named = _ELEMENTS.get(entry.name, (STRING, None))
    if named is _third or named is _fourth:
        return type_, _KINDS[type_], 2 if named is _third else 3
    return None


def first_row(database: Database, argv: Sequence[bytes], element: Element | None) -> bytes | None:
    """The row that a command of one key needs first, if it is not in memory; the common case of `add_needed`."""
    key = argv[1]
    if key in database.staged:
        return None
    header = database.cached.get(key)
    engine = database.engine
    if header is None:
        row = database.prefix + key
    elif element is not None and header.__class__ is Header and header.oid and header.type == element[0]:
        row = member_row(header.oid, element[1], argv[element[2]])
        if row in engine.rows.cached or row in engine.rows.staged:
            return None
    else:
        return None
    return None if engine.reader.is_at_hand(row) else row


def _has_several(spec: Any) -> bool:
    return spec.last != 0 or spec.keynum is not None


def add_needed(rows: dict[bytes, None], database: Database, entry: Any, argv: Sequence[bytes]) -> None:
    """Add the rows that are not in memory: of headers, and of elements whose header is known."""
    staged, cached = database.staged, database.cached
    reader = database.engine.reader
    prefix = database.prefix
    name = entry.name
    elements = _ELEMENTS.get(name)
    reads_chunks = name in _WHOLE_STRINGS
    try:
        positions = entry.key_positions(argv)
    except CommandError:
        return
    for at, _ in positions:
        key = argv[at]
        if key not in staged and key not in cached:
            row = prefix + key
            if not reader.is_at_hand(row):
                rows[row] = None
                if len(rows) >= _ROWS:
                    return
                continue
        if elements is not None or reads_chunks:
            header = database.peek(key)
            if isinstance(header, Header) and header.oid:
                if elements is not None:
                    _add_elements(rows, database, header, elements, argv)
                elif header.type == STRING:
                    _add_chunks(rows, database, header)


def _add_elements(
    rows: dict[bytes, None],
    database: Database,
    header: Header,
    elements: tuple[int, _Elements],
    argv: Sequence[bytes],
) -> None:
    type_, named = elements
    if header.type != type_:
        return
    kind = _KINDS[type_]
    oid = header.oid
    for member in named(argv):
        _add(rows, database, member_row(oid, kind, member))


def _add_chunks(rows: dict[bytes, None], database: Database, header: Header) -> None:
    prefix = element_prefix(header.oid, KIND_STRING_CHUNK)
    for index in range(min(-(-header.count // CHUNK_BYTES), _ROWS)):
        _add(rows, database, prefix + U32.pack(index))


def _add(rows: dict[bytes, None], database: Database, row: bytes) -> None:
    engine = database.engine
    if (
        len(rows) < _ROWS
        and row not in engine.rows.staged
        and row not in engine.rows.cached
        and not engine.reader.is_at_hand(row)
    ):
        rows[row] = None
