"""Numbers between Lua and Redis: doubles in their shortest form, and what redis.call makes of a number argument."""

from __future__ import annotations

import math
import struct

_INTEGER_BOUND = float(2**62)
"""Doubles beyond it (exclusive) are printed as doubles even when they are whole."""


def format_double(value: float) -> bytes:
    """The shortest decimal text that reads back as `value`, laid out as Redis prints doubles (``1e+300``, ``0.1``).

    Whole numbers are padded with zeros or dotted only while the text stays short; otherwise an exponent is used.
    Infinities are ``inf`` and ``-inf``, NaN is ``nan``.
    """
    if math.isnan(value):
        return b"nan"
    if math.isinf(value):
        return b"inf" if value > 0 else b"-inf"
    if value == 0:
        return b"-0" if math.copysign(1.0, value) < 0 else b"0"
    sign, digits, exponent = _shortest_digits(value)
    count = len(digits)
    magnitude = abs(exponent + count - 1)
    if exponent >= 0 and magnitude < count + 7:
        return (sign + digits + "0" * exponent).encode()
    if exponent < 0 and (exponent > -7 or magnitude < 4):
        point = count + exponent
        if point <= 0:
            return (sign + "0." + "0" * -point + digits).encode()
        return (sign + digits[:point] + "." + digits[point:]).encode()
    fraction = "." + digits[1:] if count > 1 else ""
    direction = "-" if exponent + count - 1 < 0 else "+"
    return f"{sign}{digits[0]}{fraction}e{direction}{magnitude}".encode()


def _shortest_digits(value: float) -> tuple[str, str, int]:
    """Sign, digits without leading or trailing zeros, and the power of ten of the last digit."""
    mantissa, _, exponent_text = f"{value!r}".partition("e")
    exponent = int(exponent_text) if exponent_text else 0
    sign = ""
    if mantissa.startswith("-"):
        sign, mantissa = "-", mantissa[1:]
    whole, _, fraction = mantissa.partition(".")
    exponent -= len(fraction)
    digits = (whole + fraction).lstrip("0")
    stripped = digits.rstrip("0")
    return sign, stripped, exponent + len(digits) - len(stripped)


def format_argument(value: float) -> bytes:
    """A Lua number as an argument of redis.call: whole numbers as integers, others in the shortest form."""
    if isinstance(value, int):
        if -(2**62) <= value <= 2**62:
            return b"%d" % value
        return format_double(float(value))
    if value == 0:
        return b"0"
    if -_INTEGER_BOUND <= value <= _INTEGER_BOUND and value == int(value):
        return b"%d" % int(value)
    return format_double(value)


def pack_float(value: float) -> bytes:
    """A double as a big-endian IEEE 754 single, overflowing to infinity as a C cast does."""
    try:
        return struct.pack(">f", value)
    except OverflowError:
        return struct.pack(">f", math.copysign(math.inf, value))


def fits_float(value: float) -> bool:
    """Whether a single holds `value` exactly."""
    try:
        return bool(struct.unpack(">f", struct.pack(">f", value))[0] == value)
    except OverflowError:
        return False
