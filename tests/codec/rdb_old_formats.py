"""Writers of the encodings that only old servers write, for tests: ziplist, zipmap and what is built on them."""

from __future__ import annotations

import struct

from diskkv.codec.rdb_packed import canonical_int


def ziplist(elements: list[bytes]) -> bytes:
    """A ziplist as Redis 2.6 .. 6.2 writes it."""
    body = b""
    previous = b""
    tail = 10
    for text in elements:
        link = bytes((len(previous),)) if len(previous) < 254 else b"\xfe" + struct.pack("<I", len(previous))
        tail = 10 + len(body)
        previous = link + _ziplist_content(text)
        body += previous
    return struct.pack("<IIH", len(body) + 11, tail, len(elements)) + body + b"\xff"


def _ziplist_content(text: bytes) -> bytes:
    number = canonical_int(text)
    if number is None:
        if len(text) < 64:
            return bytes((len(text),)) + text
        if len(text) < 16384:
            return struct.pack(">H", 0x4000 | len(text)) + text
        return b"\x80" + struct.pack(">I", len(text)) + text
    if 0 <= number <= 12:
        return bytes((0xF1 + number,))
    for lead, size in ((0xFE, 1), (0xC0, 2), (0xF0, 3), (0xD0, 4), (0xE0, 8)):
        if -(1 << 8 * size - 1) <= number < 1 << 8 * size - 1:
            return bytes((lead,)) + number.to_bytes(size, "little", signed=True)
    raise AssertionError(text)


def zipmap(pairs: list[tuple[bytes, bytes]]) -> bytes:
    """A zipmap as Redis before 2.6 writes it, with a byte of padding after every second value."""
    out = bytes((min(len(pairs), 254),))
    for index, (name, value) in enumerate(pairs):
        free = index % 2
        out += _zipmap_length(name) + name + _zipmap_length(value) + bytes((free,)) + value + b"\x00" * free
    return out + b"\xff"


def _zipmap_length(text: bytes) -> bytes:
    return bytes((len(text),)) if len(text) < 254 else b"\xfe" + struct.pack("<I", len(text))
