"""RDB files, written value by value to any file object. The layout is described in rdb_reader."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Protocol

from diskkv.codec import rdb_const as rdb
from diskkv.codec.crc64 import crc64
from diskkv.codec.rdb_encode import encode_value, plain_expiring_fields, plain_scores, plain_strings, plain_type
from diskkv.codec.rdb_strings import encode_compressed_string, encode_length, encode_raw_string, encode_string
from diskkv.codec.rdb_values import (
    HashValue,
    ListValue,
    RdbUnsupportedError,
    RdbValue,
    SetValue,
    ZSetValue,
)

_FLUSH_BYTES = 1 << 18
_EXPIRETIME_MS = struct.Struct("<Bq")


class WritableFile(Protocol):
    """What a file object must offer; write takes all bytes, or raises."""

    def write(self, data: bytes, /) -> object: ...


class RdbWriter:
    """Writes one RDB file: aux fields and functions, then each database with `select` and its keys, then `finish`.

    Args:
        file: Gets blocks of some 256 KiB, or one value if that is larger. It is neither flushed nor closed here.
        version: The RDB version: 10 for Redis 7.0 and later, 11 for Redis 7.2 and later and Valkey, 12 for Redis 7.4
            and later (field expiry), 80 for Valkey 9 (field expiry). A value that the version cannot express raises
            RdbUnsupportedError before anything of it is written.
        compress: Pack strings with LZF, at some MB/s.
    """

    def __init__(self, file: WritableFile, *, version: int, compress: bool = False) -> None:
        self._file = file
        self._version = version
        self._compress = compress
        self._string = encode_compressed_string if compress else encode_raw_string
        self._parts: list[bytes] = []
        self._buffered_bytes = 0
        self._crc = 0
        self._kind: type[RdbValue] = ListValue
        self._remaining = 0
        self._field_expiry = False
        self.size_bytes = 0
        """How much has been written, buffered bytes included."""
        self._put(b"VALKEY%03d" % version if version >= rdb.VALKEY_VERSION else b"REDIS%04d" % version)

    def aux(self, name: bytes, value: bytes) -> None:
        """An information field; `redis-ver`, `redis-bits`, `ctime`, `used-mem` are the usual ones."""
        self._put(b"%c%b%b" % (rdb.OP_AUX, encode_string(name), encode_string(value)))

    def function(self, code: bytes) -> None:
        """A function library, by its whole code."""
        if self._version < rdb.LISTPACK_VERSION:
            raise RdbUnsupportedError(f"RDB version {self._version} has no functions")
        self._put(b"%c%b" % (rdb.OP_FUNCTION2, self._string(code)))

    def select(self, db: int, keys: int = 0, expires: int = 0) -> None:
        """The database of the following keys, with hints of how many keys, and keys with an expiry, come."""
        self._put(b"%c%b" % (rdb.OP_SELECTDB, encode_length(db)))
        self._put(b"%c%b%b" % (rdb.OP_RESIZEDB, encode_length(keys), encode_length(expires)))

    def add(
        self, key: bytes, value: RdbValue, expire_ms: int = 0, idle_s: int | None = None, freq: int | None = None
    ) -> None:
        """A key. `expire_ms` is absolute, 0 for none; `idle_s` and `freq` (0 .. 255) are for eviction."""
        type_number, body = encode_value(value, self._version, self._compress)
        self._put_head(expire_ms, idle_s, freq)
        self._put(b"%c%b" % (type_number, encode_string(key)))
        self._put(body)

    def add_pieces(
        self,
        key: bytes,
        kind: type[ListValue | SetValue | ZSetValue | HashValue],
        count: int,
        pieces: Iterable[RdbValue],
        expire_ms: int = 0,
        field_expiry: bool = False,
    ) -> None:
        """A key with a collection of `count` elements that comes in pieces, for those that do not fit in memory.

        Every piece is a `kind`. A hash any of whose fields expires needs `field_expiry`. Raises ValueError when `count`
        was wrong: the file is then broken.
        """
        self.begin(key, kind, count, expire_ms, field_expiry)
        for piece in pieces:
            self.piece(piece)
        self.end()

    def begin(
        self,
        key: bytes,
        kind: type[ListValue | SetValue | ZSetValue | HashValue],
        count: int,
        expire_ms: int = 0,
        field_expiry: bool = False,
    ) -> None:
        """Begin what `add_pieces` does in one go: `piece` of each piece, then `end` follow."""
        if count < 1:
            raise ValueError("an empty collection has no RDB encoding")
        type_number = self._pieces_type(kind, field_expiry)
        self.begin_raw(key, type_number, expire_ms)
        if type_number == rdb.HASH_METADATA:
            # The base that expiries are told relative to: with 1, they stand as they are.
            self._put((1).to_bytes(8, "little"))
        self._put(encode_length(count))
        self._kind, self._remaining, self._field_expiry = kind, count, field_expiry

    def piece(self, piece: RdbValue) -> None:
        """Some more elements of the collection that was begun."""
        if type(piece) is not self._kind:
            raise ValueError(f"a {type(piece).__name__} among pieces of {self._kind.__name__}")
        size, body = self._encode_piece(piece, self._field_expiry)
        self._remaining -= size
        self._put(body)

    def end(self) -> None:
        """All pieces are written."""
        if self._remaining:
            raise ValueError("the pieces do not add up to the count")

    def begin_raw(self, key: bytes, type_number: int, expire_ms: int = 0) -> None:
        """Begin a key whose encoded value the caller writes with `raw`."""
        self._put_head(expire_ms, None, None)
        self._put(b"%c%b" % (type_number, encode_string(key)))

    def raw(self, data: bytes) -> None:
        """Write bytes that are encoded already."""
        self._put(data)

    def finish(self) -> None:
        """Write the end mark, the checksum and what is buffered."""
        self._put(b"%c" % rdb.OP_EOF)
        self.flush()
        checksum = self._crc.to_bytes(8, "little")
        self._file.write(checksum)
        self.size_bytes += len(checksum)

    def _pieces_type(self, kind: type[ListValue | SetValue | ZSetValue | HashValue], field_expiry: bool) -> int:
        if not field_expiry:
            return plain_type(kind.type_name, self._version)
        if self._version < rdb.FIELD_EXPIRY_VERSION:
            raise RdbUnsupportedError(f"RDB version {self._version} has no expiry of hash fields")
        return rdb.HASH_2_VALKEY if self._version >= rdb.VALKEY_VERSION else rdb.HASH_METADATA

    def _encode_piece(self, piece: RdbValue, field_expiry: bool) -> tuple[int, bytes]:
        """How many elements the piece has, and their bytes."""
        match piece:
            case ListValue(elements):
                return len(elements), plain_strings(elements, self._string)
            case SetValue(members):
                return len(members), plain_strings(members, self._string)
            case ZSetValue(entries):
                return len(entries), plain_scores(entries, self._version, self._string)
            case HashValue(fields):
                if field_expiry:
                    return len(fields), plain_expiring_fields(fields, 1, self._version, self._string)
                if piece.has_expiry:
                    raise ValueError("a field with an expiry in a hash that was to have none")
                flat = [text for name, value, _ in fields for text in (name, value)]
                return len(fields), plain_strings(flat, self._string)
            case _:
                raise ValueError("only lists, sets, sorted sets and hashes come in pieces")

    def _put_head(self, expire_ms: int, idle_s: int | None, freq: int | None) -> None:
        if expire_ms:
            self._put(_EXPIRETIME_MS.pack(rdb.OP_EXPIRETIME_MS, expire_ms))
        if idle_s is not None:
            self._put(b"%c%b" % (rdb.OP_IDLE, encode_length(idle_s)))
        if freq is not None:
            self._put(b"%c%c" % (rdb.OP_FREQ, freq))

    def _put(self, data: bytes) -> None:
        self._parts.append(data)
        self._buffered_bytes += len(data)
        self.size_bytes += len(data)
        if self._buffered_bytes >= _FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Hand everything so far to the file."""
        block = b"".join(self._parts)
        self._crc = crc64(block, self._crc)
        self._file.write(block)
        self._parts.clear()
        self._buffered_bytes = 0
