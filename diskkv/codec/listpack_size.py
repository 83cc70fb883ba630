"""How many bytes elements take in a Redis listpack: what the limits of the packed encodings are measured against.

Source: the listpack format (https://github.com/antirez/listpack), as described in codec/rdb_packed.py.
"""

from __future__ import annotations

from collections.abc import Iterable

from diskkv.codec.rdb_packed import canonical_int

EMPTY_BYTES = 7
"""An empty listpack: total size, count and end mark."""

_MINUS = 0x2D
_BELOW_NINE = 0x3A


def entry_bytes(item: bytes) -> int:
    """What one element adds to a listpack."""
    size = len(item)
    if 0 < size < 21 and _MINUS <= item[0] < _BELOW_NINE:
        number = canonical_int(item)
        if number is not None:
            return integer_bytes(number)
    if size < 64:
        return size + 2
    if size < 4096:
        return size + (3 if size < 126 else 4)
    size += 5
    if size < 16383:
        return size + 2
    if size < 2097151:
        return size + 3
    return size + (4 if size < 268435455 else 5)


def integer_bytes(number: int) -> int:
    """What a signed 64-bit integer adds to a listpack."""
    if 0 <= number < 128:
        return 2
    magnitude = number if number >= 0 else ~number
    if magnitude < 1 << 12:
        return 3
    if magnitude < 1 << 15:
        return 4
    if magnitude < 1 << 23:
        return 5
    return 6 if magnitude < 1 << 31 else 10


def listpack_bytes(items: Iterable[bytes]) -> int:
    """The size of a listpack of these elements."""
    return EMPTY_BYTES + sum(map(entry_bytes, items))
