"""Values in pieces: for writing and loading collections that are larger than memory.

`elements` reads any collection piece by piece; `extend` adds a piece to one that was begun with `operations.load`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from diskkv.codec.header import HASH, LIST, SET, STREAM, STRING, ZSET, Header, Value, value_type
from diskkv.codec.rdb_values import (
    HashValue,
    ListValue,
    RdbDataError,
    RdbValue,
    SetValue,
    StreamEntry,
    StreamValue,
    StringValue,
    ZSetValue,
)
from diskkv.datatypes import hashes, lists, lists_edit, sets, streams, streams_transfer, strings, zsets
from diskkv.datatypes.hashes_edit import HashEdit
from diskkv.datatypes.streams import MAX_ID, ZERO_ID, Stream, unpack_fields, unpack_id
from diskkv.engine.database import Database
from diskkv.engine.engine import Engine

PIECE_ELEMENTS = 500
PIECE_BYTES = 64 * 1024
_ELEMENT_COST_BYTES = 32

RDB_CLASSES: dict[int, type[RdbValue]] = {
    STRING: StringValue,
    LIST: ListValue,
    SET: SetValue,
    ZSET: ZSetValue,
    HASH: HashValue,
    STREAM: StreamValue,
}


def is_large(value: Value) -> bool:
    """Whether a value should be read in pieces: it is not in its header, and longer than a piece."""
    if value.__class__ is bytes:
        return False
    assert isinstance(value, Header)
    return value.value is None and value.count > (PIECE_BYTES if value.type == STRING else PIECE_ELEMENTS)


def counts_expired(engine: Engine, value: Header) -> bool:
    """Whether `count` includes fields that expired: the number of elements is then only known from reading them."""
    return value.type == HASH and hashes.has_expired(engine, value)


def elements(engine: Engine, value: Header) -> Iterator[RdbValue]:
    """A list, set, sorted set or hash in pieces of bounded size; of a hash without the fields that expired."""
    if value.type == LIST:
        return _cut(ListValue, lists_edit.items(engine, value), len)
    if value.type == SET:
        return _cut(SetValue, sets.iterate(engine, value), len)
    if value.type == ZSET:
        return _cut(ZSetValue, zsets.entries(engine, value), lambda entry: len(entry[0]))
    now_ms = engine.now_ms
    live = (entry for entry in hashes.entries(engine, value) if not 0 < entry[2] <= now_ms)
    return _cut(HashValue, live, lambda entry: len(entry[0]) + len(entry[1]))


def stream_entries(engine: Engine, value: Header) -> Iterator[StreamEntry]:
    """All entries of a stream, lazily."""
    for entry_id, raw in streams.iterate(engine, Stream(value), ZERO_ID, MAX_ID):
        yield StreamEntry(unpack_id(entry_id), unpack_fields(raw))


def stream_rest(engine: Engine, value: Header) -> StreamValue:
    """All of a stream but its entries, of which it has the first one."""
    rest = streams_transfer.export_rest(engine, value)
    rest.entries.extend(islice(stream_entries(engine, value), 1))
    return rest


def stream_pieces(engine: Engine, value: Header) -> Iterator[tuple[RdbValue, bool]]:
    """(piece, is_last) of a stream: entries, and last of all everything else."""
    for piece in _cut(StreamValue, stream_entries(engine, value), lambda entry: sum(map(len, entry.fields))):
        yield piece, False
    yield streams_transfer.export_rest(engine, value), True


def string_pieces(engine: Engine, value: Header) -> Iterator[bytes]:
    """A chunked string, about a chunk at a time."""
    return strings.stream_range(engine, value, 0, value.count)


def _cut(make: Callable[[list[Any]], RdbValue], items: Iterable[Any], size: Callable[[Any], int]) -> Iterator[RdbValue]:
    gathered: list[Any] = []
    room_bytes = PIECE_BYTES
    for item in items:
        gathered.append(item)
        room_bytes -= size(item) + _ELEMENT_COST_BYTES
        if room_bytes < 0 or len(gathered) >= PIECE_ELEMENTS:
            yield make(gathered)
            gathered = []
            room_bytes = PIECE_BYTES
    if gathered:
        yield make(gathered)


def extend(database: Database, key: bytes, piece: RdbValue, is_last: bool) -> None:
    """Add a further piece to a key that holds the ones before. Raises RdbDataError when it holds another type."""
    old = database.get(key)
    if old is None or not isinstance(old, Header) or RDB_CLASSES[value_type(old)] is not type(piece):
        raise RdbDataError("a piece of a value without those before it")
    match piece:
        case ListValue(items):
            if items:
                lists.push(database, key, old, items, False)
        case SetValue(members):
            sets.add_members(database, key, old, members)
        case ZSetValue(entries):
            zsets.add(database, key, entries, zsets.UNCONDITIONAL)
        case HashValue(fields):
            _extend_hash(database, key, old, fields)
        case StreamValue():
            database.put(key, streams_transfer.extend(database.engine, old, piece, is_last), old)
        case _:
            raise RdbDataError("a string in pieces")


def _extend_hash(database: Database, key: bytes, old: Header, fields: list[tuple[bytes, bytes, int]]) -> None:
    now_ms = database.engine.now_ms
    edit = HashEdit(database, key, old)
    for field, data, expire_ms in fields:
        if not 0 < expire_ms <= now_ms:
            edit.put(field, data, expire_ms)
    edit.save()
