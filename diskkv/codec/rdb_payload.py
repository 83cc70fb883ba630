"""The payloads of DUMP / RESTORE and of FUNCTION DUMP / RESTORE.

    value payload    := type:u8 value version:u16le crc:u64le
    function payload := (245 code:string)* version:u16le crc:u64le

The checksum covers everything before it. Source: https://redis.io/docs/latest/commands/dump/
"""

from __future__ import annotations

from collections.abc import Iterable

from diskkv.codec import rdb_const as rdb
from diskkv.codec.crc64 import crc64
from diskkv.codec.rdb_decode import is_empty, read_value
from diskkv.codec.rdb_encode import encode_value
from diskkv.codec.rdb_source import RdbSource
from diskkv.codec.rdb_strings import encode_raw_string
from diskkv.codec.rdb_values import HashValue, RdbDataError, RdbValue, RdbVersionError, StreamValue

DEFAULT_EXPAND_LIMIT_BYTES = 1 << 30

_FOOTER_BYTES = 10


def is_known_version(version: int) -> bool:
    """Whether values of this RDB version can be read."""
    return rdb.MIN_VERSION <= version <= rdb.MAX_VERSION or version == rdb.VALKEY_VERSION


def dump_version(value: RdbValue) -> int:
    """The RDB version to write: 12 for field expiry, 11 for streams (whose consumers' times 10 lacks), else 10.

    Redis 7.0 and later read 10, 7.2 and later and every Valkey 11, 7.4 and later 12.
    """
    if isinstance(value, HashValue) and value.has_expiry:
        return rdb.FIELD_EXPIRY_VERSION
    return rdb.LOSSLESS_VERSION if isinstance(value, StreamValue) else rdb.LISTPACK_VERSION


def dump_payload(value: RdbValue, version: int | None = None, compress: bool = False) -> bytes:
    """The DUMP payload of `value` for servers with RDB version `version` and later (None: `dump_version`).

    Versions 6 (Redis 2.6) .. 12 and 80 (Valkey 9) can be asked for. Below 11 the active times of stream consumers are
    lost. `compress` packs strings with LZF, at some MB/s. Raises RdbUnsupportedError when the version cannot express
    the value, ValueError for an empty collection.
    """
    if version is None:
        version = dump_version(value)
    type_number, body = encode_value(value, version, compress)
    return _seal(b"%c%b%b" % (type_number, body, version.to_bytes(2, "little")))


def load_payload(payload: bytes, expand_limit_bytes: int = DEFAULT_EXPAND_LIMIT_BYTES) -> RdbValue:
    """The value in a DUMP payload of any Redis up to 8.2, or Valkey up to 9.

    `expand_limit_bytes` bounds what compressed strings may become, all together. Raises RdbVersionError for a newer
    version or a wrong checksum, RdbDataError when the content does not decode or is an empty collection, and
    RdbUnsupportedError for a module's value.
    """
    version = _verify(payload)
    source = RdbSource(payload[:-_FOOTER_BYTES], expand_limit_bytes)
    value = read_value(source, source.byte(), version)
    if source.pos != len(source.buf):
        raise RdbDataError("bytes after the value")
    if is_empty(value):
        raise RdbDataError("empty collection")
    return value


def dump_functions(codes: Iterable[bytes], version: int = rdb.LOSSLESS_VERSION) -> bytes:
    """The FUNCTION DUMP payload of libraries, each given by its whole code with the shebang line."""
    body = b"".join(b"%c%b" % (rdb.OP_FUNCTION2, encode_raw_string(code)) for code in codes)
    return _seal(body + version.to_bytes(2, "little"))


def load_functions(payload: bytes, expand_limit_bytes: int = DEFAULT_EXPAND_LIMIT_BYTES) -> list[bytes]:
    """The codes of the libraries in a FUNCTION DUMP payload; errors as in `load_payload`."""
    _verify(payload)
    source = RdbSource(payload[:-_FOOTER_BYTES], expand_limit_bytes)
    codes = []
    while source.pos < len(source.buf):
        if source.byte() != rdb.OP_FUNCTION2:
            raise RdbDataError("given type is not a function")
        codes.append(source.string())
    return codes


def _seal(content: bytes) -> bytes:
    return content + crc64(content).to_bytes(8, "little")


def _verify(payload: bytes) -> int:
    """The RDB version of a payload that is whole."""
    if len(payload) < _FOOTER_BYTES:
        raise RdbVersionError("payload is too short")
    version = int.from_bytes(payload[-10:-8], "little")
    if not is_known_version(version):
        raise RdbVersionError(f"RDB version {version} is not known")
    if crc64(memoryview(payload)[:-8]) != int.from_bytes(payload[-8:], "little"):
        raise RdbVersionError("checksum does not fit")
    return version
