"""Lengths and strings of RDB, written. `RdbSource` reads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from diskkv.codec.lzf import compress as lzf_compress
from diskkv.codec.rdb_packed import canonical_int

StringEncoder: TypeAlias = Callable[[bytes], bytes]

SHORT_LENGTHS = [bytes((size,)) for size in range(64)]
"""The lengths of one byte."""

_COMPRESS_MIN_BYTES = 20


def encode_length(size: int) -> bytes:
    """A length, 0 .. 2**64 - 1."""
    if size < 0x40:
        return SHORT_LENGTHS[size]
    if size < 0x4000:
        return (0x4000 | size).to_bytes(2, "big")
    if size < 1 << 32:
        return b"\x80" + size.to_bytes(4, "big")
    return b"\x81" + size.to_bytes(8, "big")


def encode_raw_string(text: bytes) -> bytes:
    """A string as it is."""
    return encode_length(len(text)) + text


def encode_string(text: bytes) -> bytes:
    """A string, as an integer of 1, 2 or 4 bytes where it is one."""
    if len(text) <= 11 and (number := canonical_int(text)) is not None:
        for lead, size in ((b"\xc0", 1), (b"\xc1", 2), (b"\xc2", 4)):
            if -(1 << 8 * size - 1) <= number < 1 << 8 * size - 1:
                return lead + number.to_bytes(size, "little", signed=True)
    return encode_raw_string(text)


def encode_compressed_string(text: bytes) -> bytes:
    """A string in the shortest form, with LZF where that gains anything. Slow: some MB/s."""
    if len(text) > _COMPRESS_MIN_BYTES:
        packed = lzf_compress(text)
        if len(packed) < len(text) - 4:
            return b"\xc3" + encode_length(len(packed)) + encode_length(len(text)) + packed
    return encode_string(text)
