"""Strings: inline in the header while small, in chunks once large.

A string of up to `INLINE_MAX_BYTES` lies in its header: one row, one read. A longer one is cut into chunks of
`CHUNK_BYTES`, each a row of its object (`sub` is the chunk's index as u32), so that APPEND, SETRANGE, SETBIT and
GETRANGE touch only the chunks they need. A chunk that is absent is all zeros, and one that is short continues with
zeros: a sparse bitmap costs what is set in it. A string does not go back to inline, except by being replaced.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from diskkv.codec.header import STRING, Header, Value
from diskkv.codec.keys import KIND_STRING_CHUNK, U32, element_prefix
from diskkv.codec.numbers import parse_int64
from diskkv.codec.rdb_values import RdbValue, StringValue
from diskkv.datatypes import operations
from diskkv.engine.bulk import Bulk
from diskkv.engine.database import Database
from diskkv.engine.engine import Engine
from diskkv.errors import WrongTypeError

INLINE_MAX_BYTES = 32 * 1024
CHUNK_BYTES = 16 * 1024
PIECE_BYTES = 1 << 20

_EMBSTR_MAX_BYTES = 44
_INT_MAX_BYTES = 20


def require_string(value: Value) -> None:
    """Raise WrongTypeError unless the value is a string."""
    if value.__class__ is not bytes and value.type != STRING:  # type: ignore[union-attr]
        raise WrongTypeError


def make(engine: Engine, data: bytes, expire_ms: int = 0, raw: bool = False) -> Value:
    """A new string value, staging its chunks when it is long. `raw`: it comes from a change in place."""
    if len(data) <= INLINE_MAX_BYTES:
        return data if not expire_ms and not raw else Header(STRING, data, expire_ms, raw=raw)
    oid = engine.new_oid()
    prefix = element_prefix(oid, KIND_STRING_CHUNK)
    bulk = Bulk(engine, oid)
    for index, at in enumerate(range(0, len(data), CHUNK_BYTES)):
        bulk.put(prefix + U32.pack(index), data[at : at + CHUNK_BYTES])
    bulk.finish()
    return Header(STRING, None, expire_ms, oid, len(data), raw=raw)


def length(value: Value) -> int:
    """The length in bytes."""
    if isinstance(value, bytes):
        return len(value)
    return len(value.value) if value.value is not None else value.count


def read(engine: Engine, value: Value) -> bytes:
    """The whole string."""
    if isinstance(value, bytes):
        return value
    if value.value is not None:
        inline: bytes = value.value
        return inline
    return read_range(engine, value, 0, value.count)


def equals(engine: Engine, value: Value, data: bytes) -> bool:
    """Whether the string is `data`; it is read only when the lengths agree."""
    return length(value) == len(data) and read(engine, value) == data


def pieces(engine: Engine, value: Value) -> Iterator[bytes]:
    """The string in order, in pieces of at most `PIECE_BYTES`: for what needs all of it, but not at once."""
    for start in range(0, length(value), PIECE_BYTES):
        yield read_range(engine, value, start, min(start + PIECE_BYTES, length(value)))


def chunk(engine: Engine, header: Header, index: int) -> bytes | None:
    """The stored bytes of one chunk: None when it is all zeros, shorter than it covers when zeros follow."""
    return engine.rows.get(element_prefix(header.oid, KIND_STRING_CHUNK) + U32.pack(index))


def stored_chunks(engine: Engine, header: Header, first: int = 0, last: int | None = None) -> list[tuple[int, bytes]]:
    """(index, stored bytes) of the chunks that exist, from `first` up to and including `last` (None: the last)."""
    prefix = element_prefix(header.oid, KIND_STRING_CHUNK)
    if last is None:
        last = max(0, header.count - 1) // CHUNK_BYTES
    rows = engine.rows.scan(prefix + U32.pack(first), prefix + U32.pack(last + 1))
    return [(U32.unpack(row[-4:])[0], data) for row, data in rows]


def read_range(engine: Engine, value: Value, start: int, stop: int) -> bytes:
    """The bytes from `start` up to `stop` (exclusive); both within the string."""
    if isinstance(value, bytes):
        return value[start:stop]
    if value.value is not None:
        part: bytes = value.value[start:stop]
        return part
    if start >= stop:
        return b""
    first, last = start // CHUNK_BYTES, (stop - 1) // CHUNK_BYTES
    if last - first < 2:
        found = [(index, chunk(engine, value, index) or b"") for index in range(first, last + 1)]
    else:
        found = stored_chunks(engine, value, first, last)
    parts: list[bytes] = []
    at = start
    for index, data in found:
        begin = index * CHUNK_BYTES
        if begin > at:
            parts.append(bytes(begin - at))
            at = begin
        if at > begin or stop - begin < len(data):
            data = data[at - begin : stop - begin]
        parts.append(data)
        at += len(data)
    if at < stop:
        parts.append(bytes(stop - at))
    return b"".join(parts)


def stream_range(engine: Engine, header: Header, start: int, stop: int) -> Iterator[bytes]:
    """The bytes of a chunked string from `start` up to `stop` (exclusive), about a chunk at a time, from one scan."""
    prefix = element_prefix(header.oid, KIND_STRING_CHUNK)
    first, last = start // CHUNK_BYTES, (stop - 1) // CHUNK_BYTES
    at = start
    for row, data in engine.rows.scan(prefix + U32.pack(first), prefix + U32.pack(last + 1)):
        begin = U32.unpack(row[-4:])[0] * CHUNK_BYTES
        yield from _zeros(begin - at)
        at = max(at, begin)
        part = data[at - begin : stop - begin]
        yield part
        at += len(part)
    yield from _zeros(stop - at)


def _zeros(count: int) -> Iterator[bytes]:
    while count > 0:
        yield bytes(min(count, CHUNK_BYTES))
        count -= CHUNK_BYTES


def write_range(database: Database, key: bytes, old: Value | None, offset: int, data: bytes) -> int:
    """Overwrite from `offset` (zeros fill a gap before it) and stage the result; answers the new length in bytes.

    `data` is not empty, `old` a string or None. The time to live stays.
    """
    engine = database.engine
    end = offset + len(data)
    if isinstance(old, Header):
        if old.value is None:
            return _overwrite_chunks(database, key, old, offset, data)
        expire_ms = old.expire_ms
        content: bytes = old.value
    else:
        expire_ms = 0
        content = old or b""
    size = max(len(content), end)
    if size <= INLINE_MAX_BYTES:
        content = content[:offset].ljust(offset, b"\0") + data + content[end:]
        database.put(key, Header(STRING, content, expire_ms, raw=True), old)
        return size
    header = Header(STRING, None, expire_ms, engine.new_oid(), size, raw=True)
    _write_chunks(engine, header.oid, 0, content)
    _write_chunks(engine, header.oid, offset, data)
    database.put(key, header, old)
    return size


def append(database: Database, key: bytes, old: Value, data: bytes) -> int:
    """Add `data` (it may be empty) at the end of an existing string; answers the new length. The time to live stays."""
    if isinstance(old, Header):
        if old.value is None:
            return _overwrite_chunks(database, key, old, old.count, data)
        content: bytes = old.value
        expire_ms = old.expire_ms
    else:
        content = old
        expire_ms = 0
    content += data
    database.put(key, make(database.engine, content, expire_ms, raw=True), old)
    return len(content)


def _overwrite_chunks(database: Database, key: bytes, old: Header, offset: int, data: bytes) -> int:
    _write_chunks(database.engine, old.oid, offset, data)
    size = max(old.count, offset + len(data))
    if size == old.count:
        database.touch(key)
    else:
        database.put(key, Header(STRING, None, old.expire_ms, old.oid, size, raw=True), old)
    return size


def _write_chunks(engine: Engine, oid: int, offset: int, data: bytes) -> None:
    prefix = element_prefix(oid, KIND_STRING_CHUNK)
    rows = engine.rows
    at = 0
    while at < len(data):
        index, begin = divmod(offset + at, CHUNK_BYTES)
        part = data[at : at + CHUNK_BYTES - begin]
        row = prefix + U32.pack(index)
        if len(part) < CHUNK_BYTES:
            before = rows.get(row) or b""
            part = before[:begin].ljust(begin, b"\0") + part + before[begin + len(part) :]
        rows.put(row, part)
        at += CHUNK_BYTES - begin


# ---- the operations of every type


def encoding(engine: Engine, value: Value) -> bytes:
    """int, embstr or raw, as OBJECT ENCODING tells (https://redis.io/docs/latest/commands/object-encoding/)."""
    if isinstance(value, Header):
        if value.raw or value.value is None:
            return b"raw"
        data: bytes = value.value
    else:
        data = value
    if len(data) <= _INT_MAX_BYTES:
        try:
            parse_int64(data)
        except ValueError:
            return b"embstr"
        return b"int"
    return b"embstr" if len(data) <= _EMBSTR_MAX_BYTES else b"raw"


def export(engine: Engine, value: Value) -> RdbValue:
    """The string as the RDB codec takes it."""
    return StringValue(read(engine, value))


def load(engine: Engine, value: RdbValue, expire_ms: int) -> Value:
    """A string made of what the RDB codec read."""
    assert isinstance(value, StringValue)
    return make(engine, value.data, expire_ms)


def copy(engine: Engine, value: Value) -> Value:
    """An independent string of the same content."""
    if isinstance(value, bytes) or value.value is not None:
        return value
    oid = operations.copy_rows(engine, value, (KIND_STRING_CHUNK,))
    return Header(STRING, None, value.expire_ms, oid, value.count, raw=value.raw)


def memory_bytes(engine: Engine, value: Value, samples: int) -> int:
    """About what the string takes."""
    return length(value) + 16


operations.register(STRING, StringValue, sys.modules[__name__])
