"""Encoders of replies. Every command answers with bytes made here; RESP3 differs only where a function takes `resp`.

Source: the RESP2 and RESP3 specifications at redis.io.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from diskkv.codec.numbers import format_double

OK = b"+OK\r\n"
PONG = b"+PONG\r\n"
QUEUED = b"+QUEUED\r\n"
ZERO = b":0\r\n"
ONE = b":1\r\n"
MINUS_ONE = b":-1\r\n"
MINUS_TWO = b":-2\r\n"
EMPTY_BULK = b"$0\r\n\r\n"
EMPTY_ARRAY = b"*0\r\n"
NULL_BULK = b"$-1\r\n"
NULL_ARRAY = b"*-1\r\n"
NULL = b"_\r\n"

BULK_HEADS = [b"$%d\r\n" % size for size in range(2048)]
"""The first line of strings of common sizes: concatenation takes half the time of formatting."""

_SMALL = [b":%d\r\n" % number for number in range(1024)]


def integer(number: int) -> bytes:
    """A signed 64-bit integer."""
    if 0 <= number < 1024:
        return _SMALL[number]
    return b":%d\r\n" % number


def bulk(data: bytes) -> bytes:
    """A binary-safe string."""
    size = len(data)
    return BULK_HEADS[size] + data + b"\r\n" if size < 2048 else b"$%d\r\n%b\r\n" % (size, data)


def simple(text: bytes) -> bytes:
    """A status line; `text` has no line break."""
    return b"+%b\r\n" % text


def error(message: bytes) -> bytes:
    """An error line; its first word is the code."""
    return b"-%b\r\n" % message


def null(resp: int) -> bytes:
    """No value, where RESP2 has a null bulk string."""
    return NULL if resp == 3 else NULL_BULK


def null_array(resp: int) -> bytes:
    """No value, where RESP2 has a null array."""
    return NULL if resp == 3 else NULL_ARRAY


def optional(data: bytes | None, resp: int) -> bytes:
    """A string, or null."""
    if data is None:
        return NULL if resp == 3 else NULL_BULK
    return b"$%d\r\n%b\r\n" % (len(data), data)


def array(items: Sequence[bytes]) -> bytes:
    """An array of encoded items."""
    return b"*%d\r\n%b" % (len(items), b"".join(items))


def bulks(items: Sequence[bytes]) -> bytes:
    """An array of strings."""
    return b"*%d\r\n%b" % (len(items), b"".join([b"$%d\r\n%b\r\n" % (len(item), item) for item in items]))


def optional_bulks(items: Sequence[bytes | None], resp: int) -> bytes:
    """An array of strings or nulls."""
    none = NULL if resp == 3 else NULL_BULK
    encoded = [none if item is None else b"$%d\r\n%b\r\n" % (len(item), item) for item in items]
    return b"*%d\r\n%b" % (len(items), b"".join(encoded))


def integers(numbers: Sequence[int]) -> bytes:
    """An array of integers."""
    return b"*%d\r\n%b" % (len(numbers), b"".join([b":%d\r\n" % number for number in numbers]))


def set_of(items: Sequence[bytes], resp: int) -> bytes:
    """A RESP3 set of encoded items; an array in RESP2."""
    return b"%b%d\r\n%b" % (b"~" if resp == 3 else b"*", len(items), b"".join(items))


def map_of(pairs: Iterable[tuple[bytes, bytes]], resp: int) -> bytes:
    """A RESP3 map of encoded keys and values; a flat array in RESP2."""
    flat: list[bytes] = []
    for pair in pairs:
        flat += pair
    if resp == 3:
        return b"%%%d\r\n%b" % (len(flat) // 2, b"".join(flat))
    return b"*%d\r\n%b" % (len(flat), b"".join(flat))


def array_header(size: int) -> bytes:
    """The header of an array of `size` items."""
    return b"*%d\r\n" % size


def set_header(size: int, resp: int) -> bytes:
    """The header of a set of `size` items."""
    return b"~%d\r\n" % size if resp == 3 else b"*%d\r\n" % size


def map_header(size: int, resp: int) -> bytes:
    """The header of a map of `size` pairs."""
    return b"%%%d\r\n" % size if resp == 3 else b"*%d\r\n" % (2 * size)


def double(number: float, resp: int) -> bytes:
    """A double; a string in RESP2."""
    text = format_double(number)
    return b",%b\r\n" % text if resp == 3 else b"$%d\r\n%b\r\n" % (len(text), text)


def boolean(value: bool, resp: int) -> bytes:
    """A boolean; 0 or 1 in RESP2."""
    if resp == 3:
        return b"#t\r\n" if value else b"#f\r\n"
    return ONE if value else ZERO


def verbatim(text: bytes, resp: int, kind: bytes = b"txt") -> bytes:
    """Text with its format (three letters); a plain string in RESP2."""
    if resp == 3:
        return b"=%d\r\n%b:%b\r\n" % (len(text) + 4, kind, text)
    return bulk(text)


def big_number(number: int, resp: int) -> bytes:
    """An integer of any size; a string in RESP2."""
    text = b"%d" % number
    return b"(%b\r\n" % text if resp == 3 else bulk(text)


def push(items: Sequence[bytes], resp: int) -> bytes:
    """An out-of-band message of encoded items; an array in RESP2."""
    return b"%b%d\r\n%b" % (b">" if resp == 3 else b"*", len(items), b"".join(items))
