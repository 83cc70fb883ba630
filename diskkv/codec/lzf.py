"""LZF, the compression of strings inside RDB: a byte-oriented LZ77 without entropy coding.

Stream grammar (ctrl is one byte):
    literal   := ctrl < 32, then ctrl + 1 bytes as they are
    short ref := ctrl = length(3 bits, 1..6) offset_high(5 bits), offset_low        copies length + 2 bytes
    long ref  := ctrl = 7 (3 bits) offset_high(5 bits), length, offset_low          copies length + 9 bytes
A reference copies from `offset + 1` bytes back and may overlap what it writes.
"""

from __future__ import annotations

MAX_EXPANSION = 88
"""Output bytes per input byte at most: a long reference makes up to 264 bytes from 3."""

_MAX_OFFSET = 1 << 13
_MAX_REF = 264
_MAX_LITERAL = 32


class LzfError(ValueError):
    """The compressed bytes are damaged or do not have the declared length."""


def decompress(data: bytes, size_bytes: int) -> bytes:
    """Decompress all of `data`, which must give exactly `size_bytes` bytes.

    Never holds more than `size_bytes` plus one reference. Raises LzfError on damage, and at once when `size_bytes` is
    more than `data` could ever expand to.
    """
    end = len(data)
    if size_bytes > end * MAX_EXPANSION:
        raise LzfError("declared length is out of reach")
    out = bytearray()
    pos = 0
    try:
        while pos < end:
            ctrl = data[pos]
            if ctrl < 32:
                stop = pos + ctrl + 2
                if stop > end:
                    raise LzfError("literal run is cut off")
                out += data[pos + 1 : stop]
                pos = stop
            else:
                length = ctrl >> 5
                if length == 7:
                    pos += 1
                    length += data[pos]
                length += 2
                start = len(out) - ((ctrl & 31) << 8) - data[pos + 1] - 1
                pos += 2
                if start < 0:
                    raise LzfError("reference before the start")
                chunk = out[start : start + length]
                if len(chunk) < length:  # overlaps itself: the bytes since `start` repeat
                    chunk = (chunk * (length // len(chunk) + 1))[:length]
                out += chunk
            if len(out) > size_bytes:
                raise LzfError("more output than declared")
    except IndexError:
        raise LzfError("reference is cut off") from None
    if len(out) != size_bytes:
        raise LzfError("less output than declared")
    return bytes(out)


def compress(data: bytes) -> bytes:
    """Compress greedily; the result can be longer than `data` (by one byte in 32) when nothing repeats."""
    out = bytearray()
    last_seen: dict[bytes, int] = {}
    end = len(data)
    pos = literal_start = 0
    limit = end - 2
    while pos < limit:
        triple = data[pos : pos + 3]
        candidate = last_seen.get(triple, -1)
        last_seen[triple] = pos
        offset = pos - candidate - 1
        if candidate < 0 or offset >= _MAX_OFFSET:
            pos += 1
            continue
        length = _match_length(data, candidate, pos, min(_MAX_REF, end - pos))
        _put_literals(out, data, literal_start, pos)
        if length < 9:
            out.append((length - 2) << 5 | offset >> 8)
        else:
            out.append(7 << 5 | offset >> 8)
            out.append(length - 9)
        out.append(offset & 0xFF)
        pos += length
        literal_start = pos
    _put_literals(out, data, literal_start, end)
    return bytes(out)


def _match_length(data: bytes, old: int, new: int, limit: int) -> int:
    """How many bytes at `old` and `new` agree, 3 .. limit; the first three are known to."""
    low, high = 3, limit
    while low < high:  # halving with slices compares at C speed
        middle = (low + high + 1) // 2
        if data[old + low : old + middle] == data[new + low : new + middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _put_literals(out: bytearray, data: bytes, start: int, stop: int) -> None:
    for pos in range(start, stop, _MAX_LITERAL):
        run = data[pos : min(pos + _MAX_LITERAL, stop)]
        out.append(len(run) - 1)
        out += run
