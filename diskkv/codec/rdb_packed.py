"""The packed containers inside RDB strings: listpack, ziplist, zipmap, intset. Readers for all, writers for two.

    listpack := total_bytes:u32le count:u16le entry* 0xff          count 65535: not known
    entry    := encoding content backlen                           backlen: size of the two before it, 1 .. 5 bytes
    ziplist  := total_bytes:u32le tail:u32le count:u16le (prevlen encoding content)* 0xff
    zipmap   := count:u8 (len field len free:u8 value padding)* 0xff
    intset   := width:u32le (2, 4, 8) count:u32le integer_le*      strictly ascending

Integers become their decimal text, as a client would see them. Every reader raises RdbDataError unless the container
fills its string exactly and its own bookkeeping (counts, back links, order) fits.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from operator import ge

from diskkv.codec.rdb_values import RdbDataError

INT64_MIN = -(1 << 63)
INT64_MAX = (1 << 63) - 1

_COUNT_UNKNOWN = 0xFFFF
_HEADER = struct.Struct("<IH")
_ZIPLIST_HEADER = struct.Struct("<IIH")
_SMALL_INTS = [b"%d" % number for number in range(128)]
_SMALL_ENTRIES = {text: bytes((number, 1)) for number, text in enumerate(_SMALL_INTS)}
_INTSET_CODES = {2: "h", 4: "i", 8: "q"}
# Encoding byte -> size of the integer that follows.
_LISTPACK_INT_SIZES = {0xF1: 2, 0xF2: 3, 0xF3: 4, 0xF4: 8}
_ZIPLIST_INT_SIZES = {0xC0: 2, 0xD0: 4, 0xE0: 8, 0xF0: 3, 0xFE: 1}


def canonical_int(text: bytes) -> int | None:
    """The signed 64-bit integer whose one decimal spelling is `text`, or None."""
    if text.isdigit():
        if len(text) > 19 or (text[0] == 48 and len(text) > 1):
            return None
        number = int(text)
        return number if number <= INT64_MAX else None
    if text[:1] != b"-" or not 1 < len(text) <= 20 or text[1] == 48 or not text[1:].isdigit():
        return None
    number = int(text)
    return number if number >= INT64_MIN else None


# --- listpack


def decode_listpack(data: bytes) -> list[bytes]:
    """All elements, first to last."""
    end = len(data)
    if end < 7 or data[-1] != 0xFF:
        raise RdbDataError("listpack is cut off")
    total, count = _HEADER.unpack_from(data)
    if total != end:
        raise RdbDataError("listpack has another size than it says")
    out: list[bytes] = []
    append = out.append
    pos = 6
    last = end - 1
    try:
        while True:
            lead = data[pos]
            if lead < 0x80:
                append(_SMALL_INTS[lead])
                size = 1
            elif lead < 0xC0:
                size = 1 + (lead & 0x3F)
                append(data[pos + 1 : pos + size])
            elif lead == 0xFF:
                break
            else:
                text, size = _decode_wide_entry(data, pos, lead)
                append(text)
            pos += size
            if size < 128:
                if data[pos] != size:
                    raise RdbDataError("listpack back link is wrong")
                pos += 1
            else:
                link = _back_link(size)
                if data[pos : pos + len(link)] != link:
                    raise RdbDataError("listpack back link is wrong")
                pos += len(link)
    except IndexError:
        raise RdbDataError("listpack element overruns its end") from None
    if pos != last or (count not in (_COUNT_UNKNOWN, len(out))):
        raise RdbDataError("listpack does not hold what it says")
    return out


def _decode_wide_entry(data: bytes, pos: int, lead: int) -> tuple[bytes, int]:
    """The entry at `pos` whose encoding byte is 0xC0 or more, and its size without the back link."""
    if lead < 0xE0:
        number = (lead & 0x1F) << 8 | data[pos + 1]
        return b"%d" % (number - 8192 if number >= 4096 else number), 2
    if lead < 0xF0:
        size = 2 + ((lead & 0x0F) << 8 | data[pos + 1])
        return data[pos + 2 : pos + size], size
    if lead == 0xF0:
        size = 5 + int.from_bytes(data[pos + 1 : pos + 5], "little")
        return data[pos + 5 : pos + size], size
    width = _LISTPACK_INT_SIZES.get(lead)
    if width is None:
        raise RdbDataError("listpack element has an unknown encoding")
    return b"%d" % int.from_bytes(data[pos + 1 : pos + 1 + width], "little", signed=True), 1 + width


def _back_link(size: int) -> bytes:
    """`size` in groups of 7 bits, highest first; all but the first byte have the high bit set."""
    if size < 128:
        return bytes((size,))
    # Redis compares with "<", so that 16383, 2097151 and 268435455 take a byte more than they need.
    groups = 2 if size < 0x3FFF else 3 if size < 0x1FFFFF else 4 if size < 0xFFFFFFF else 5
    shifts = range(7 * (groups - 1), -1, -7)
    return bytes((size >> shift & 0x7F) | (0x80 if index else 0) for index, shift in enumerate(shifts))


def listpack_entry(text: bytes) -> bytes:
    """One element; canonical 64-bit integers take their short form, as in Redis."""
    small = _SMALL_ENTRIES.get(text)
    if small is not None:
        return small
    size = len(text)
    if 0 < size <= 20 and (number := canonical_int(text)) is not None:
        return listpack_int(number)
    if size < 64:
        return b"%c%b%c" % (0x80 | size, text, size + 1)
    if size < 4096:
        return b"%c%c%b%b" % (0xE0 | size >> 8, size & 0xFF, text, _back_link(size + 2))
    return b"\xf0%b%b%b" % (size.to_bytes(4, "little"), text, _back_link(size + 5))


def listpack_int(number: int) -> bytes:
    """One element, a signed 64-bit integer."""
    if 0 <= number < 128:
        return bytes((number, 1))
    if -4096 <= number < 4096:
        number &= 0x1FFF
        return bytes((0xC0 | number >> 8, number & 0xFF, 2))
    for lead, width in _LISTPACK_INT_SIZES.items():
        if -(1 << 8 * width - 1) <= number < 1 << 8 * width - 1:
            return b"%c%b%c" % (lead, number.to_bytes(width, "little", signed=True), width + 1)
    raise ValueError("not a signed 64-bit integer")


def join_listpack(entries: list[bytes]) -> bytes:
    """The listpack of elements made by `listpack_entry`; the whole must stay below 4 GiB."""
    body = b"".join(entries)
    return b"%b%b\xff" % (_HEADER.pack(len(body) + 7, min(len(entries), _COUNT_UNKNOWN)), body)


def encode_listpack(elements: Iterable[bytes]) -> bytes:
    """The listpack of `elements`."""
    return join_listpack([listpack_entry(element) for element in elements])


# --- ziplist


def decode_ziplist(data: bytes) -> list[bytes]:
    """All elements, first to last."""
    end = len(data)
    if end < 11 or data[-1] != 0xFF:
        raise RdbDataError("ziplist is cut off")
    total, tail, count = _ZIPLIST_HEADER.unpack_from(data)
    if total != end:
        raise RdbDataError("ziplist has another size than it says")
    out: list[bytes] = []
    pos = last_start = 10
    previous_size = 0
    try:
        while data[pos] != 0xFF:
            last_start = pos
            link = data[pos]
            pos += 1
            if link == 0xFE:
                link = int.from_bytes(data[pos : pos + 4], "little")
                pos += 4
            if link != previous_size:
                raise RdbDataError("ziplist back link is wrong")
            text, size = _decode_ziplist_entry(data, pos)
            out.append(text)
            pos += size
            previous_size = pos - last_start
    except IndexError:
        raise RdbDataError("ziplist element overruns its end") from None
    if pos != end - 1 or tail != last_start or count not in (_COUNT_UNKNOWN, len(out)):
        raise RdbDataError("ziplist does not hold what it says")
    return out


def _decode_ziplist_entry(data: bytes, pos: int) -> tuple[bytes, int]:
    """The entry whose encoding starts at `pos`, and its size without the back link."""
    lead = data[pos]
    if lead < 0x40:
        size = 1 + lead
        return data[pos + 1 : pos + size], size
    if lead < 0x80:
        size = 2 + ((lead & 0x3F) << 8 | data[pos + 1])
        return data[pos + 2 : pos + size], size
    if lead == 0x80:
        size = 5 + int.from_bytes(data[pos + 1 : pos + 5], "big")
        return data[pos + 5 : pos + size], size
    if 0xF1 <= lead <= 0xFD:
        return _SMALL_INTS[(lead & 0x0F) - 1], 1
    width = _ZIPLIST_INT_SIZES.get(lead)
    if width is None:
        raise RdbDataError("ziplist element has an unknown encoding")
    return b"%d" % int.from_bytes(data[pos + 1 : pos + 1 + width], "little", signed=True), 1 + width


# --- zipmap


def decode_zipmap(data: bytes) -> list[bytes]:
    """Field, value, field, value ... of a hash that Redis before 2.6 has written."""
    out: list[bytes] = []
    pos = 1
    try:
        while data[pos] != 0xFF:
            size, pos = _zipmap_length(data, pos)
            out.append(data[pos : pos + size])
            size, pos = _zipmap_length(data, pos + size)
            free = data[pos]
            out.append(data[pos + 1 : pos + 1 + size])
            pos += 1 + size + free
    except IndexError:
        raise RdbDataError("zipmap element overruns its end") from None
    if pos != len(data) - 1 or (data[0] < 254 and data[0] * 2 != len(out)):
        raise RdbDataError("zipmap does not hold what it says")
    return out


def _zipmap_length(data: bytes, pos: int) -> tuple[int, int]:
    """The length at `pos`, and where the next thing starts."""
    lead = data[pos]
    if lead < 254:
        return lead, pos + 1
    if lead == 255:
        raise RdbDataError("zipmap ends inside a pair")
    return int.from_bytes(data[pos + 1 : pos + 5], "little"), pos + 5


# --- intset


def decode_intset(data: bytes) -> list[bytes]:
    """All members, ascending."""
    if len(data) < 8:
        raise RdbDataError("intset is cut off")
    width, count = struct.unpack_from("<II", data)
    code = _INTSET_CODES.get(width)
    if code is None or len(data) != 8 + width * count:
        raise RdbDataError("intset has another size than it says")
    numbers = struct.unpack_from(f"<{count}{code}", data, 8)
    if any(map(ge, numbers, numbers[1:])):
        raise RdbDataError("intset is out of order")
    return [b"%d" % number for number in numbers]


def encode_intset(numbers: Iterable[int]) -> bytes:
    """The intset of distinct signed 64-bit integers, in the narrowest width for all of them."""
    members = sorted(numbers)
    low, high = (members[0], members[-1]) if members else (0, 0)
    width = next(size for size in (2, 4, 8) if -(1 << 8 * size - 1) <= low and high < 1 << 8 * size - 1)
    return struct.pack(f"<II{len(members)}{_INTSET_CODES[width]}", width, len(members), *members)
