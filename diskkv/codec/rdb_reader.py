"""RDB files, read one value at a time from any file object.

    file   := "REDIS" version:4 digits | "VALKEY" version:3 digits, record*, 255 crc:u64le (from version 5 on)
    record := 254 db | 251 keys expires | 250 name value | 245 function | 244 slot keys expires | 243 slot import
            | 247 module aux | [252 at_ms:i64le | 253 at_s:i32le] [248 idle_s] [249 freq:u8] type:u8 key value

A checksum of 0 stands for none. Source: https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from diskkv.codec import rdb_const as rdb
from diskkv.codec.rdb_decode import is_empty, read_pieces
from diskkv.codec.rdb_packed import INT64_MAX
from diskkv.codec.rdb_source import BinaryFile, FileSource
from diskkv.codec.rdb_values import RdbDataError, RdbUnsupportedError, RdbValue, RdbVersionError

DEFAULT_EXPAND_LIMIT_BYTES = 1 << 32

_CHECKSUM_VERSION = 5
_MODULE_NAME_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_WHOLE = 1 << 64


@dataclass(frozen=True, slots=True)
class RdbAux:
    """An information field: redis-ver, ctime, used-mem, repl-id and so on."""

    name: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class RdbFunction:
    """The whole code of a function library."""

    code: bytes


@dataclass(frozen=True, slots=True)
class RdbDatabaseSize:
    """How many keys, and keys with an expiry, the database had; a hint."""

    db: int
    keys: int
    expires: int


@dataclass(frozen=True, slots=True)
class RdbSlotInfo:
    """How many keys, and keys with an expiry, a cluster slot of the database had; a hint."""

    db: int
    slot: int
    keys: int
    expires: int


@dataclass(frozen=True, slots=True)
class RdbKey:
    """A key with its value, or with a piece of it: then `part` counts from 0 and the last one has `is_last`.

    Of a stream in pieces, all but the last have entries only (and the last may have none).
    """

    db: int
    key: bytes
    value: RdbValue
    expire_ms: int = 0
    """Absolute; 0: none. It may have passed."""
    idle_s: int | None = None
    freq: int | None = None
    part: int = 0
    is_last: bool = True


@dataclass(frozen=True, slots=True)
class RdbSkipped:
    """Something that was read but has no place here; `key` is None when it does not belong to a key."""

    db: int
    key: bytes | None
    reason: str


RdbRecord: TypeAlias = RdbAux | RdbFunction | RdbDatabaseSize | RdbSlotInfo | RdbKey | RdbSkipped


class RdbReader:
    """Iterates over the records of one RDB file, once, holding one value (or piece of it) at a time.

    Args:
        file: Anything with read(size) -> bytes; it is left somewhere after the end, see `unread`.
        max_elements: Collections with more elements come in pieces of about so many; None: all come whole.
            Duplicate members are then only noticed within a piece.
        expand_limit_bytes: What the compressed strings of one value may become, all together.
        verify_checksum: Whether the checksum at the end must fit.
        block_bytes: How much is read from the file at a time.

    Raises RdbVersionError from the constructor for a version that is not known, and from the iterator for a wrong
    checksum; RdbDataError for anything that does not decode, with the offset in its text; RdbUnsupportedError for
    modules' values in the format that cannot be skipped, and for functions of Redis 7.0's release candidates.
    """

    def __init__(
        self,
        file: BinaryFile,
        *,
        max_elements: int | None = None,
        expand_limit_bytes: int = DEFAULT_EXPAND_LIMIT_BYTES,
        verify_checksum: bool = True,
        block_bytes: int = 1 << 20,
    ) -> None:
        if max_elements is not None and max_elements < 1:
            raise ValueError("max_elements must be at least 1")
        self._source = FileSource(file, expand_limit_bytes, block_bytes)
        self._expand_limit_bytes = expand_limit_bytes
        self._max_elements = max_elements or _WHOLE
        self._verify_checksum = verify_checksum
        self._db = 0
        self.version = self._read_header()

    @property
    def offset(self) -> int:
        """How many bytes of the file have been consumed: for progress."""
        return self._source.offset

    @property
    def unread(self) -> bytes:
        """What has been read from the file and not consumed; after the last record, what follows the RDB content."""
        return self._source.buf[self._source.pos :]

    def __iter__(self) -> Iterator[RdbRecord]:
        try:
            yield from self._records()
        except RdbDataError as exc:
            raise RdbDataError(f"{exc}, at about byte {self.offset}") from exc

    def _read_header(self) -> int:
        magic = self._source.take(9)
        if magic[:5] == b"REDIS" and magic[5:].isdigit():
            version, known = int(magic[5:]), range(rdb.MIN_VERSION, rdb.MAX_VERSION + 1)
        elif magic[:6] == b"VALKEY" and magic[6:].isdigit():
            version, known = int(magic[6:]), range(rdb.VALKEY_VERSION, rdb.VALKEY_VERSION + 1)
        else:
            raise RdbDataError("not an RDB file")
        if version not in known:
            raise RdbVersionError(f"RDB version {version} is not known")
        return version

    def _records(self) -> Iterator[RdbRecord]:
        source = self._source
        expire_ms = 0
        idle_s: int | None = None
        freq: int | None = None
        while True:
            source.expand_budget_bytes = self._expand_limit_bytes
            opcode = source.byte()
            if opcode == rdb.OP_EXPIRETIME_MS:
                expire_ms = self._require_time(source.int64())
            elif opcode == rdb.OP_EXPIRETIME:
                expire_ms = self._require_time(int.from_bytes(source.take(4), "little", signed=True) * 1000)
            elif opcode == rdb.OP_IDLE:
                idle_s = source.length()
            elif opcode == rdb.OP_FREQ:
                freq = source.byte()
            elif opcode == rdb.OP_EOF:
                self._check_end()
                return
            elif opcode == rdb.OP_SELECTDB:
                self._db = source.length()
            elif opcode >= rdb.OP_SLOT_IMPORT:
                yield from self._read_other(opcode)
            else:
                yield from self._read_key(opcode, expire_ms, idle_s, freq)
                expire_ms, idle_s, freq = 0, None, None

    @staticmethod
    def _require_time(at_ms: int) -> int:
        if not 0 <= at_ms <= INT64_MAX:
            raise RdbDataError("expiry is out of range")
        return at_ms or 1  # 0 means none here, and 1 ms after the epoch is as expired as the epoch

    def _read_key(
        self, type_number: int, expire_ms: int, idle_s: int | None, freq: int | None
    ) -> Iterator[RdbRecord]:
        source = self._source
        key = source.string()
        if type_number == rdb.MODULE_2:
            module = _skip_module(source)
            yield RdbSkipped(self._db, key, f"value of module type {module}")
            return
        pieces = read_pieces(source, type_number, self.version, self._max_elements)
        for part, (value, is_last) in enumerate(pieces):
            if is_last and part == 0 and is_empty(value):
                yield RdbSkipped(self._db, key, "empty collection")
                return
            yield RdbKey(self._db, key, value, expire_ms, idle_s, freq, part, is_last)
            source.expand_budget_bytes = self._expand_limit_bytes

    def _read_other(self, opcode: int) -> Iterator[RdbRecord]:
        source = self._source
        if opcode == rdb.OP_AUX:
            yield RdbAux(source.string(), source.string())
        elif opcode == rdb.OP_RESIZEDB:
            yield RdbDatabaseSize(self._db, source.length(), source.length())
        elif opcode == rdb.OP_FUNCTION2:
            yield RdbFunction(source.string())
        elif opcode == rdb.OP_SLOT_INFO:
            yield RdbSlotInfo(self._db, source.length(), source.length(), source.length())
        elif opcode == rdb.OP_MODULE_AUX:
            module = _skip_module(source)
            yield RdbSkipped(self._db, None, f"data of module {module}")
        elif opcode == rdb.OP_SLOT_IMPORT and self.version >= rdb.VALKEY_VERSION:
            source.string()
            for _ in range(source.length()):
                source.length()
                source.length()
            yield RdbSkipped(self._db, None, "slot import in progress")
        elif opcode == rdb.OP_FUNCTION_PRE_GA:
            raise RdbUnsupportedError("functions in the format of Redis 7.0's release candidates")
        else:
            raise RdbDataError(f"unknown opcode {opcode}")

    def _check_end(self) -> None:
        if self.version < _CHECKSUM_VERSION:
            return
        expected = self._source.checksum()
        stored = int.from_bytes(self._source.take(8), "little")
        if self._verify_checksum and stored not in (0, expected):
            raise RdbVersionError("the file's checksum does not fit its content")


def _skip_module(source: FileSource) -> str:
    """Read over a module's data; the name of its type."""
    module_id = source.length()
    while (opcode := source.length()) != rdb.MODULE_EOF:
        if opcode in (rdb.MODULE_SINT, rdb.MODULE_UINT):
            source.length()
        elif opcode == rdb.MODULE_FLOAT:
            source.take(4)
        elif opcode == rdb.MODULE_DOUBLE:
            source.take(8)
        elif opcode == rdb.MODULE_STRING:
            source.string()
        else:
            raise RdbDataError("unknown opcode in a module's data")
    # Nine characters of 6 bits, above 10 bits of version.
    return "".join(_MODULE_NAME_CHARACTERS[module_id >> shift & 63] for shift in range(58, 4, -6))
