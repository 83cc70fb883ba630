"""The write-ahead log on disk: a file header, then one record for every batch of rows.

    file     magic "dkvlog1\\n" | number u64 (everything little-endian)
    record   mark, 4 bytes | crc u32 | size u32 | durable: number u64, offset u64 | body of `size` bytes

The body is a msgpack map from row keys to values, nil for a deletion. `durable` tells up to where the logs were known
to be on stable storage when the record was written: a file and an offset in it. The mark is the CRC-32 of the file's
number, and the crc (CRC-32 of what follows it) begins with it, so that no record counts in a file to which it was not
written, and whole records behind a damaged one are found.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Final
from zlib import crc32

import msgpack

MAGIC: Final = b"dkvlog1\n"
_NUMBER = struct.Struct("<Q")
_HEAD = struct.Struct("<IIIQQ")
_CHECKED = struct.Struct("<IQQ")
FILE_HEADER_SIZE: Final = len(MAGIC) + _NUMBER.size
RECORD_HEADER_SIZE: Final = _HEAD.size
BODY_LIMIT: Final = (1 << 32) - 1

Changes = Mapping[bytes, bytes | None]
"""Row keys and their new values; None deletes the row."""

Place = tuple[int, int]
"""Number of a log file, and an offset in it."""

_LARGE_BODY = 4 << 20


def _packer() -> Callable[[Changes], bytes]:
    pack: Callable[[Changes], bytes] = msgpack.Packer(use_bin_type=True).pack
    return pack


_pack = _packer()


def file_header(number: int) -> bytes:
    """How log file `number` begins."""
    return MAGIC + _NUMBER.pack(number)


def mark_of(number: int) -> int:
    """What every record in file `number` begins with."""
    return crc32(_NUMBER.pack(number))


def encode_record(rows: Changes, durable: Place, mark: int) -> tuple[bytes, bytes]:
    """Header and body of a record. Raises ValueError when the body would exceed BODY_LIMIT."""
    global _pack
    body = _pack(rows)
    size = len(body)
    if size > _LARGE_BODY:
        # It keeps a buffer of the size of the largest body that it made.
        _pack = _packer()
    if size > BODY_LIMIT:
        message = f"{size} bytes do not fit into one record"
        raise ValueError(message)
    crc = crc32(body, crc32(_CHECKED.pack(size, *durable), mark))
    return _HEAD.pack(mark, crc, size, *durable), body


class LogReader:
    """The records of one file, from the first on. `end` is where the last whole one so far ends.

    `durable` is the furthest place up to which the records read so far said that the logs were on stable storage.
    """

    def __init__(self, data: memoryview | bytes, number: int) -> None:
        self._data = memoryview(data)
        self._mark = mark_of(number)
        self.is_log = bytes(self._data[:FILE_HEADER_SIZE]) == file_header(number)
        self.end = FILE_HEADER_SIZE if self.is_log else 0
        self.durable: Place = (0, 0)
        self.skipped_bytes = 0
        """How much `skip` left out."""

    @property
    def left_bytes(self) -> int:
        """How much of the file is behind the last whole record."""
        return len(self._data) - self.end

    def __iter__(self) -> Iterator[dict[bytes, bytes | None]]:
        if not self.is_log:
            return
        while (found := self._record(self.end)) is not None:
            body, durable = found
            rows: dict[bytes, bytes | None] = msgpack.unpackb(
                body, strict_map_key=False, max_bin_len=len(body), max_map_len=len(body)
            )
            self.end += RECORD_HEADER_SIZE + len(body)
            self.durable = max(self.durable, durable)
            yield rows

    def skip(self) -> bool:
        """Where the iteration ended, go on with the next whole record; False when there is none."""
        data = bytes(self._data)
        mark = self._mark.to_bytes(4, "little")
        at = data.find(mark, self.end + 1)
        while at >= 0:
            if self._record(at) is not None:
                self.skipped_bytes += at - self.end
                self.end = at
                return True
            at = data.find(mark, at + 1)
        return False

    def _record(self, at: int) -> tuple[memoryview, Place] | None:
        """Body and `durable` of the record at an offset; None when there is no whole one."""
        if len(self._data) - at < RECORD_HEADER_SIZE:
            return None
        mark, crc, size, *durable = _HEAD.unpack_from(self._data, at)
        body = self._data[at + RECORD_HEADER_SIZE : at + RECORD_HEADER_SIZE + size]
        if mark != self._mark or len(body) != size:
            return None
        if crc32(body, crc32(_CHECKED.pack(size, *durable), mark)) != crc:
            return None
        return body, (durable[0], durable[1])
