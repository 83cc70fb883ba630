"""CRC-64 as Redis uses it in RDB files and DUMP payloads (Jones polynomial, reflected, no final xor)."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from anycrc import Model  # type: ignore[import-untyped]

# A wheel with carry-less multiplication: about 9 GB/s, where a table in Python would make 5 MB/s.
_calc = cast("Callable[[bytes | bytearray | memoryview, int], int]", Model("CRC64-REDIS").calc)


def crc64(data: bytes | bytearray | memoryview, crc: int = 0) -> int:
    """Continue `crc` (0 to start) over `data`; the result is in 0 .. 2**64 - 1.

    ``crc64(a + b) == crc64(b, crc64(a))``. Check value: ``crc64(b"123456789") == 0xE9C6D914C4B8D9CA``.
    """
    return _calc(data, crc)
