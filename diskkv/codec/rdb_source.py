"""Reading RDB's basic forms (lengths, strings, numbers) from bytes or, block by block, from a file.

    length := 00 n:6 | 01 n:14 | 0x80 n:u32be | 0x81 n:u64be | 11 encoding:6
    string := length bytes | 0xC0 i8 | 0xC1 i16le | 0xC2 i32le | 0xC3 length(packed) length(plain) lzf

`buf` and `pos` are public on purpose: the loops over millions of members read them as locals and come back to the
methods only near the end of the buffer.
"""

from __future__ import annotations

import struct
from typing import Protocol

from diskkv.codec.crc64 import crc64
from diskkv.codec.lzf import LzfError, decompress
from diskkv.codec.rdb_values import RdbDataError

_DOUBLE = struct.Struct("<d")
_INT64 = struct.Struct("<q")


class BinaryFile(Protocol):
    """What a file object must offer; a short read is not the end, an empty one is."""

    def read(self, size: int, /) -> bytes: ...


class RdbSource:
    """A cursor over the whole input.

    `expand_budget_bytes` bounds what LZF strings may expand to, all together; whoever reads several values resets it.
    """

    __slots__ = ("buf", "expand_budget_bytes", "pos")

    def __init__(self, data: bytes, expand_limit_bytes: int) -> None:
        self.buf = data
        self.pos = 0
        self.expand_budget_bytes = expand_limit_bytes

    def refill(self, size: int) -> None:
        """Make `size` bytes available at `pos`, or raise RdbDataError. `buf` and `pos` may change."""
        if len(self.buf) - self.pos < size:
            raise RdbDataError("unexpected end")

    def check_count(self, count: int, min_size: int) -> None:
        """Refuse a declared count of things of at least `min_size` bytes that the rest of the input cannot hold."""
        if count * min_size > len(self.buf) - self.pos:
            raise RdbDataError("more elements declared than there are bytes")

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        if len(self.buf) - self.pos < size:
            self.refill(size)
        start = self.pos
        self.pos = start + size
        return self.buf[start : start + size]

    def byte(self) -> int:
        """The next byte."""
        if self.pos >= len(self.buf):
            self.refill(1)
        value = self.buf[self.pos]
        self.pos += 1
        return value

    def length(self) -> int:
        """A plain length, 0 .. 2**64 - 1."""
        lead = self.byte()
        if lead >= 0xC0:
            raise RdbDataError("a length is expected, not an encoded string")
        return self._length_after(lead)

    def _length_after(self, lead: int) -> int:
        if lead < 0x40:
            return lead
        if lead < 0x80:
            return (lead & 0x3F) << 8 | self.byte()
        if lead == 0x80:
            return int.from_bytes(self.take(4), "big")
        if lead == 0x81:
            return int.from_bytes(self.take(8), "big")
        raise RdbDataError("unknown form of a length")

    def string(self) -> bytes:
        """A string in any of its encodings."""
        lead = self.byte()
        if lead < 0xC0:
            return self.take(self._length_after(lead))
        if lead < 0xC3:
            return b"%d" % int.from_bytes(self.take(1 << (lead & 3)), "little", signed=True)
        if lead != 0xC3:
            raise RdbDataError("unknown form of a string")
        packed_size = self.length()
        plain_size = self.length()
        if plain_size > self.expand_budget_bytes:
            raise RdbDataError("compressed strings expand beyond the limit")
        packed = self.take(packed_size)
        try:
            plain = decompress(packed, plain_size)
        except LzfError as exc:
            raise RdbDataError(f"compressed string: {exc}") from exc
        self.expand_budget_bytes -= plain_size
        return plain

    def strings(self, count: int) -> list[bytes]:
        """`count` strings."""
        self.check_count(count, 1)
        out: list[bytes] = []
        append = out.append
        buf, pos = self.buf, self.pos
        fast_end = len(buf) - 64
        while count:
            count -= 1
            if pos < fast_end and (size := buf[pos]) < 64:
                start = pos + 1
                pos = start + size
                append(buf[start:pos])
            else:
                self.pos = pos
                append(self.string())
                if self.buf is not buf:
                    buf = self.buf
                    fast_end = len(buf) - 64
                pos = self.pos
        self.pos = pos
        return out

    def double(self) -> float:
        """A little-endian IEEE double; NaN is refused, for no score can be one."""
        number: float = _DOUBLE.unpack(self.take(8))[0]
        if number != number:
            raise RdbDataError("score is not a number")
        return number

    def int64(self) -> int:
        """A little-endian signed 64-bit integer."""
        number: int = _INT64.unpack(self.take(8))[0]
        return number


class FileSource(RdbSource):
    """A cursor over a file that holds one block, or one string if that is larger, and keeps the checksum."""

    __slots__ = ("_base", "_block_bytes", "_crc", "_crc_pos", "_file")

    def __init__(self, file: BinaryFile, expand_limit_bytes: int, block_bytes: int = 1 << 20) -> None:
        super().__init__(b"", expand_limit_bytes)
        self._file = file
        self._block_bytes = block_bytes
        self._crc = 0
        self._crc_pos = 0  # in buf: up to where the checksum has come
        self._base = 0  # offset in the file of buf[0]

    @property
    def offset(self) -> int:
        """How many bytes have been consumed."""
        return self._base + self.pos

    def refill(self, size: int) -> None:
        self.checksum()
        parts = [self.buf[self.pos :]]
        have = len(parts[0])
        self._base += self.pos
        while have < size:
            # Never ask for more than a block: a damaged length must not allocate what is not there.
            block = self._file.read(self._block_bytes)
            if not block:
                raise RdbDataError("unexpected end of file")
            parts.append(block)
            have += len(block)
        self.buf = b"".join(parts)
        self.pos = self._crc_pos = 0

    def check_count(self, count: int, min_size: int) -> None:
        """Cannot tell: the file ends where it ends."""

    def checksum(self) -> int:
        """CRC-64 of all that has been consumed."""
        if self.pos > self._crc_pos:
            self._crc = crc64(memoryview(self.buf)[self._crc_pos : self.pos], self._crc)
            self._crc_pos = self.pos
        return self._crc
