"""Long strings outside of LevelDB: their records in value files, and the pointers that LevelDB has instead.

    file      magic "dkvval1\\n" | records                  (integers little-endian)
    record    crc u32 | row_size u32 | body_size u32 | row | body
    pointer   0xff | file u32 | offset u64 | size u32 | head

`row` is the key of the row, `body` the string. The crc (CRC-32) covers everything behind it. `size` is that of the
record. `head` is the header record of the row without its body: what type it has and when it expires is so known
without reading the value file. No header record begins with 0xff.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple
from zlib import crc32

from diskkv.codec.header import FLAG_EXPIRES, FLAG_RAW, STRING
from diskkv.codec.keys import HEADER_TAG

MAGIC: Final = b"dkvval1\n"
POINTER_TAG: Final = b"\xff"
HEADER_TAG_BYTE = HEADER_TAG[0]
_RECORD = struct.Struct("<III")
_SIZES = struct.Struct("<II")
_POINTER = struct.Struct("<BIQI")
RECORD_HEADER_SIZE: Final = _RECORD.size
POINTER_SIZE: Final = _POINTER.size
_EXPIRE_SIZE = 8
_NOT_INLINE = 0xFF & ~(FLAG_EXPIRES | FLAG_RAW)


class Pointer(NamedTuple):
    """Where a record is, and the row's head."""

    file: int
    offset: int
    size: int
    head: bytes


def encode_pointer(pointer: Pointer) -> bytes:
    """What LevelDB has instead of the row's value."""
    return _POINTER.pack(POINTER_TAG[0], *pointer[:3]) + pointer.head


def decode_pointer(raw: bytes) -> Pointer:
    """The inverse. Raises ValueError when it does not decode."""
    if len(raw) <= POINTER_SIZE:
        raise ValueError(raw)
    _, file, offset, size = _POINTER.unpack_from(raw)
    return Pointer(file, offset, size, raw[POINTER_SIZE:])


def head_of(row: bytes, value: bytes) -> bytes | None:
    """The head of a row whose value is a string that may be kept outside; None for any other row."""
    if row[0] != HEADER_TAG_BYTE or value[0] & _NOT_INLINE != STRING:
        return None
    return value[: 1 + _EXPIRE_SIZE] if value[0] & FLAG_EXPIRES else value[:1]


def encode_record(row: bytes, body: bytes) -> bytes:
    """The record of a string."""
    sizes = _SIZES.pack(len(row), len(body))
    crc = crc32(body, crc32(row, crc32(sizes)))
    return b"".join((crc.to_bytes(4, "little"), sizes, row, body))


def decode_record(record: bytes | memoryview, row: bytes) -> bytes:
    """The body of a whole record. Raises ValueError when it is damaged or belongs to another row."""
    if len(record) < RECORD_HEADER_SIZE:
        raise ValueError(bytes(record))
    crc, row_size, body_size = _RECORD.unpack_from(record)
    body_at = RECORD_HEADER_SIZE + row_size
    if len(record) != body_at + body_size or record[RECORD_HEADER_SIZE:body_at] != row:
        raise ValueError(bytes(record[:64]))
    if crc32(memoryview(record)[4:]) != crc:
        raise ValueError(bytes(record[:64]))
    return bytes(record[body_at:])


def record_at(data: bytes, at: int) -> tuple[bytes, int] | None:
    """The row of the record at an offset, and the record's size; None when it goes on behind the end of `data`."""
    if len(data) - at < RECORD_HEADER_SIZE:
        return None
    _, row_size, body_size = _RECORD.unpack_from(data, at)
    row_at = at + RECORD_HEADER_SIZE
    if len(data) < row_at + row_size:
        return None
    return data[row_at : row_at + row_size], RECORD_HEADER_SIZE + row_size + body_size
