"""The whole dataset, or a selection of it, out of a store: as records, or as the bytes of an RDB file.

Both read a snapshot of the store through an engine of their own, so that the running server goes on meanwhile; nothing
but one piece of one value is held in memory. What expired before the reading began is left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from diskkv.codec import rdb_const as rdb
from diskkv.codec.header import HASH, STREAM, STRING, TYPE_NAMES, Header, Value, expire_ms_of, is_gone, value_type
from diskkv.codec.keys import prefix_successor
from diskkv.codec.rdb_reader import RdbDatabaseSize, RdbFunction, RdbKey, RdbRecord
from diskkv.codec.rdb_stream import encode_stream_pieces
from diskkv.codec.rdb_strings import encode_length
from diskkv.codec.rdb_values import (
    HashValue,
    RdbUnsupportedError,
    RdbValue,
    StringValue,
)
from diskkv.codec.rdb_writer import RdbWriter
from diskkv.config import Config
from diskkv.datatypes import operations, pieces
from diskkv.engine.database import Database
from diskkv.engine.engine import Engine
from diskkv.engine.store import Store
from diskkv.services.info import REDIS_VERSION
from diskkv.services.scripts import stored_libraries

_CACHE_BYTES = 1 << 20
_CHUNK_BYTES = 64 * 1024
_KEY_COST_BYTES = 150
"""What a key costs besides its bytes, as work: a chunk of small keys must not take long to make."""


@dataclass(frozen=True)
class Selection:
    """Which part of the dataset. None stands for everything; `types` are type names such as b"hash"."""

    databases: frozenset[int] | None = None
    prefix: bytes = b""
    types: frozenset[bytes] | None = None
    keys: bool = True
    functions: bool = True

    def has_database(self, index: int) -> bool:
        """Whether keys of this database belong to it."""
        return self.keys and (self.databases is None or index in self.databases)

    def has_type(self, name: bytes) -> bool:
        """Whether keys of this type belong to it."""
        return self.types is None or name in self.types


EVERYTHING = Selection()


@dataclass
class ExportStats:
    """What has been read so far, and what the format could not take."""

    keys: int = 0
    functions: int = 0
    total_keys: int = 0
    lost: dict[str, int] = field(default_factory=dict)
    """How many keys or libraries lack something, by what they are and lack, when `lossy`."""


def note_lost(lost: dict[str, int], kind: str, exc: RdbUnsupportedError) -> None:
    """Count one of the `keys` or `libraries` from which something was left out."""
    reason = f"{kind}: {exc}"
    lost[reason] = lost.get(reason, 0) + 1


def unsupported_text(kind: str, name: bytes, exc: RdbUnsupportedError) -> str:
    """The same, as an error."""
    return f"{'key' if kind == 'keys' else 'library'} {name!r}: {exc}"


def open_snapshot(store: Store, now_ms: int) -> Engine:
    """An engine for reading the store as it is now; `close` lets go of it. Writes of the store go on."""
    config = Config()
    config.cache_size = _CACHE_BYTES
    engine = Engine(store.snapshot(), config)
    engine.begin(now_ms)
    return engine


def _selected(engine: Engine, selection: Selection) -> Iterator[Database]:
    for index, database in sorted(engine.databases.items()):
        if database.keys and selection.has_database(index):
            yield database


def _values(engine: Engine, database: Database, selection: Selection) -> Iterator[tuple[bytes, Value | None]]:
    """The live keys of the selection; None as value for one that was passed over."""
    prefix = selection.prefix
    stop_key = prefix_successor(prefix) if prefix.rstrip(b"\xff") else None
    now_ms = engine.now_ms
    types = selection.types
    for key, value in database.scan(prefix, stop_key):
        if value.__class__ is bytes:
            yield key, value if types is None or b"string" in types else None
        elif is_gone(value, now_ms) or not selection.has_type(TYPE_NAMES[value_type(value)]):
            yield key, None
        else:
            yield key, value


def needs_field_expiry(engine: Engine, selection: Selection = EVERYTHING) -> Iterator[bool | None]:
    """Whether a selected hash has fields with a time to live: None while looking, then the answer."""
    seen = 0
    for database in _selected(engine, selection):
        for _, value in _values(engine, database, selection):
            if isinstance(value, Header) and value.type == HASH and value.ext:
                yield True
                return
            seen += 1
            if not seen % 500:
                yield None
    yield False


def records(engine: Engine, selection: Selection, stats: ExportStats) -> Iterator[RdbRecord]:
    """Functions, then each database: its size, its keys in lexical order, large ones in pieces."""
    if selection.functions:
        for _, code in stored_libraries(engine.store):
            stats.functions += 1
            yield RdbFunction(code)
    for database in _selected(engine, selection):
        index = database.index
        yield RdbDatabaseSize(index, database.keys, database.expires)
        for key, value in _values(engine, database, selection):
            if value is not None:
                yield from _key_records(engine, index, key, value)
                stats.keys += 1


def _key_records(engine: Engine, index: int, key: bytes, value: Value) -> Iterator[RdbKey]:
    expire_ms = expire_ms_of(value)
    if not pieces.is_large(value) or value_type(value) == STRING:
        yield RdbKey(index, key, operations.of(value).export(engine, value), expire_ms)
        return
    assert isinstance(value, Header)
    if value.type == STREAM:
        for part, (piece, is_last) in enumerate(pieces.stream_pieces(engine, value)):
            yield RdbKey(index, key, piece, expire_ms, part=part, is_last=is_last)
        return
    waiting: RdbValue | None = None
    part = 0
    for piece in pieces.elements(engine, value):
        if waiting is not None:
            yield RdbKey(index, key, waiting, expire_ms, part=part, is_last=False)
            part += 1
        waiting = piece
    if waiting is not None:
        yield RdbKey(index, key, waiting, expire_ms, part=part)


# ---- RDB


class _Chunks:
    """Takes what the writer flushes."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def write(self, data: bytes, /) -> None:
        if data:
            self.parts.append(data)

    def take(self) -> bytes:
        data = b"".join(self.parts)
        self.parts.clear()
        return data


class RdbExport:
    """The bytes of an RDB file of a selection, made piece by piece.

    `lossy` leaves out what `version` cannot express and counts it; otherwise RdbUnsupportedError tells of it.
    """

    def __init__(
        self, engine: Engine, version: int, selection: Selection = EVERYTHING, *, lossy: bool = False,
        compress: bool = False,
    ) -> None:  # fmt: skip
        self.stats = ExportStats()
        self._engine = engine
        self._version = version
        self._selection = selection
        self._lossy = lossy
        self._chunks = _Chunks()
        self._writer = RdbWriter(self._chunks, version=version, compress=compress)
        self._compress = compress

    @property
    def size_bytes(self) -> int:
        """How many bytes have been made."""
        return self._writer.size_bytes

    def pieces(self) -> Iterator[bytes]:
        """The file; each piece is half a millisecond's work or so, b"" when that led to no bytes yet."""
        cost = 0
        for step_cost in self._steps():
            cost += step_cost
            if cost >= _CHUNK_BYTES:
                cost = 0
                self._writer.flush()
                yield self._chunks.take()
        self._writer.finish()
        yield self._chunks.take()

    def _steps(self) -> Iterator[int]:
        """Write everything but the end, in steps that tell what they cost, in bytes."""
        engine, writer, selection = self._engine, self._writer, self._selection
        writer.aux(b"redis-ver", REDIS_VERSION.encode())
        writer.aux(b"redis-bits", b"64")
        writer.aux(b"ctime", b"%d" % (engine.now_ms // 1000))
        writer.aux(b"aof-base", b"0")
        self.stats.total_keys = sum(database.keys for database in _selected(engine, selection))
        if selection.functions:
            for name, code in stored_libraries(engine.store):
                try:
                    writer.function(code)
                    self.stats.functions += 1
                except RdbUnsupportedError as exc:
                    self._note_lost("libraries", name, exc)
                yield len(code)
        for database in _selected(engine, selection):
            is_whole = not selection.prefix and selection.types is None
            writer.select(database.index, database.keys if is_whole else 0, database.expires if is_whole else 0)
            for key, value in _values(engine, database, selection):
                if value is None:
                    yield _KEY_COST_BYTES
                    continue
                before = writer.size_bytes
                if value.__class__ is bytes:
                    writer.add(key, StringValue(value))
                elif pieces.is_large(value):
                    yield from self._large(key, value)  # type: ignore[arg-type]
                else:
                    self._add(key, operations.of(value).export(engine, value), expire_ms_of(value))
                self.stats.keys += 1
                yield writer.size_bytes - before + _KEY_COST_BYTES

    def _add(self, key: bytes, value: RdbValue, expire_ms: int) -> None:
        if isinstance(value, HashValue) and not value.entries:
            return
        try:
            self._writer.add(key, value, expire_ms)
        except RdbUnsupportedError as exc:
            self._note_lost("keys", key, exc)
            if isinstance(value, HashValue):
                fields = [(name, data, 0) for name, data, _ in value.entries]
                self._writer.add(key, HashValue(fields), expire_ms)

    def _note_lost(self, kind: str, name: bytes, exc: RdbUnsupportedError) -> None:
        if not self._lossy:
            raise RdbUnsupportedError(unsupported_text(kind, name, exc)) from exc
        note_lost(self.stats.lost, kind, exc)

    # ---- values that are not held as a whole

    def _large(self, key: bytes, value: Header) -> Iterator[int]:
        if value.type == STRING:
            yield from self._large_string(key, value)
        elif value.type == STREAM:
            yield from self._large_stream(key, value)
        else:
            yield from self._large_collection(key, value)

    def _large_string(self, key: bytes, value: Header) -> Iterator[int]:
        self._writer.begin_raw(key, rdb.STRING, value.expire_ms)
        self._writer.raw(encode_length(value.count))
        for part in pieces.string_pieces(self._engine, value):
            self._writer.raw(part)
            yield len(part)

    def _large_stream(self, key: bytes, value: Header) -> Iterator[int]:
        engine = self._engine
        rest = pieces.stream_rest(engine, value)
        try:
            type_number, parts = encode_stream_pieces(
                rest, value.count, lambda: pieces.stream_entries(engine, value), self._version
            )
        except RdbUnsupportedError as exc:
            self._note_lost("keys", key, exc)
            return
        self._writer.begin_raw(key, type_number, value.expire_ms)
        for part in parts:
            self._writer.raw(part)
            yield max(len(part), pieces.PIECE_BYTES // 16)

    def _large_collection(self, key: bytes, value: Header) -> Iterator[int]:
        engine = self._engine
        count = value.count
        if pieces.counts_expired(engine, value):
            count = 0
            for piece in pieces.elements(engine, value):
                assert isinstance(piece, HashValue)
                count += len(piece.entries)
                yield pieces.PIECE_BYTES
            if not count:
                return
        field_expiry = value.type == HASH and bool(value.ext)
        kind = pieces.RDB_CLASSES[value.type]
        drop_times = False
        try:
            self._writer.begin(key, kind, count, value.expire_ms, field_expiry)  # type: ignore[arg-type]
        except RdbUnsupportedError as exc:
            self._note_lost("keys", key, exc)
            drop_times = True
            self._writer.begin(key, kind, count, value.expire_ms)  # type: ignore[arg-type]
        for piece in pieces.elements(engine, value):
            if drop_times and isinstance(piece, HashValue):
                piece = HashValue([(name, data, 0) for name, data, _ in piece.entries])
            self._writer.piece(piece)
            yield _CHUNK_BYTES
        self._writer.end()
