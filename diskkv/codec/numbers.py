"""Numbers: Redis' textual forms of integers, doubles and long doubles, sizes, and order-preserving binary encodings.

Parsers accept exactly what Redis accepts and raise ValueError for the rest; formatters print what Redis prints.

Ordered encodings, fixed width, big-endian: ``a < b`` iff ``encode(a) < encode(b)`` as bytes.

    u64     8 bytes                     0 .. 2**64-1
    i64     8 bytes, sign bit flipped   -2**63 .. 2**63-1
    double  8 bytes, sign bit flipped; all other bits too when negative; -0.0 is 0.0; no NaN
"""

from __future__ import annotations

import re
import struct
from math import copysign
from typing import Final, NamedTuple

INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1

_LONGEST_INT64 = 20
_U64 = struct.Struct(">Q")
_DOUBLE = struct.Struct(">d")
_SIGN_BIT = 1 << 63
_SIGN_FLIPPED = tuple(bytes((byte ^ 0x80,)) for byte in range(256))
"""The first byte of a double with the other sign, by the first byte."""
_BITS_FLIPPED = bytes(range(255, -1, -1))
_ENCODED_ZERO = b"\x80" + bytes(7)
_NAN = "NaN has no place in an order"


# ---- Integers ----


def parse_int64(text: bytes) -> int:
    """The signed 64-bit integer that `text` is the canonical form of: no ``+``, space, leading zero or ``-0``.

    Raises:
        ValueError: Any other text, or out of range.
    """
    # isdigit() first: int() would also take spaces, underscores and a sign, and any length.
    size = len(text)
    if size < 19 and text.isdigit():
        if text[0] != 0x30 or size == 1:
            return int(text)
    elif size <= _LONGEST_INT64:
        digits = text[1:] if text[:1] == b"-" else text
        if digits.isdigit() and digits[0] != 0x30:
            value = int(text)
            if INT64_MIN <= value <= INT64_MAX:
                return value
    msg = "not a 64-bit integer"
    raise ValueError(msg)


# ---- Doubles ----

_HEX_FLOAT = re.compile(rb"([+-]?)0[xX]([0-9a-fA-F]*)(?:\.([0-9a-fA-F]*))?(?:[pP]([+-]?[0-9]+))?", re.ASCII)
_INTEGER_LIMIT = 2.0**62


def parse_float(text: bytes) -> float:
    """The double that `text` is a form of: decimal, hexadecimal (``0x1.8p3``) or an infinity in any case.

    Raises:
        ValueError: Empty, spaces, trailing bytes, NaN, overflow, or a non-zero number that is too small for a double.
    """
    # float() also strips spaces and takes underscores; both are errors here.
    if not text or text[0] <= 0x20 or text[-1] <= 0x20 or b"_" in text:
        raise ValueError(_NOT_A_FLOAT)
    try:
        value = float(text)
    except ValueError:
        value = _parse_hex_double(text)
    # value - value is 0.0 for finite numbers only, and != itself for infinities and NaN.
    if value and value - value == 0.0:
        return value
    if value == 0.0:
        if _has_nonzero_digit(text):
            raise ValueError(_NOT_A_FLOAT)
        return value
    if value != value or b"n" not in text.lower():
        raise ValueError(_NOT_A_FLOAT)
    return value


def format_double(value: float) -> bytes:
    """`value` as Redis 7.2 and later print scores: shortest digits that read back as the same double.

    Integers up to 2**62 have all their digits; other numbers have an exponent when they are far from 1 (``1.5e-7``,
    ``1e+20``, ``1.2345678901234567e+4``). Infinities are ``inf`` and ``-inf``, negative zero is ``-0``, NaN ``nan``.

    Redis' own algorithm misses the shortest (or closest) form in about 1 of 1000 random doubles, where it prints
    849.7570469999999 for 849.757047; here the digits are always the shortest and closest ones.
    """
    if value.is_integer() and -_INTEGER_LIMIT <= value <= _INTEGER_LIMIT:
        if value:
            return b"%d" % value
        return b"0" if copysign(1.0, value) > 0 else b"-0"
    if 1e-3 <= value < 1e4 or -1e4 < value <= -1e-3:
        return repr(value).encode()
    if value - value != 0.0:
        return b"nan" if value != value else (b"inf" if value > 0 else b"-inf")
    return _format_far_from_one(repr(value)).encode()


def _format_far_from_one(text: str) -> str:
    """Lay out the digits of `text`, a repr(), by the rules of Redis' printer."""
    sign = "-" if text[0] == "-" else ""
    mantissa, _, exponent_text = text.lstrip("-").partition("e")
    whole, _, fraction = mantissa.partition(".")
    if fraction == "0":
        fraction = ""
    digits = (whole + fraction).lstrip("0")
    scale = int(exponent_text or 0) - len(fraction)  # the value is int(digits) * 10**scale
    stripped = digits.rstrip("0")
    scale += len(digits) - len(stripped)
    digits = stripped
    count = len(digits)
    exponent = scale + count - 1
    if scale >= 0 and exponent < count + 7:
        return sign + digits + "0" * scale
    if scale < 0 and (scale > -7 or abs(exponent) < 4):
        point = count + scale
        if point <= 0:
            return f"{sign}0.{'0' * -point}{digits}"
        return f"{sign}{digits[:point]}.{digits[point:]}"
    point_and_rest = "." + digits[1:] if count > 1 else ""
    return f"{sign}{digits[0]}{point_and_rest}e{exponent:+d}"


def _parse_hex_double(text: bytes) -> float:
    match = _HEX_FLOAT.fullmatch(text)
    if match is None or not (match[2] or match[3]):
        raise ValueError(_NOT_A_FLOAT)
    try:
        return float.fromhex(text.decode("ascii"))
    except OverflowError:
        raise ValueError(_NOT_A_FLOAT) from None


def _has_nonzero_digit(text: bytes) -> bool:
    """Whether the mantissa of a number that became zero has a digit other than 0: then it is an underflow."""
    match = _HEX_FLOAT.fullmatch(text)
    mantissa = match[2] + (match[3] or b"") if match else re.split(rb"[eE]", text, maxsplit=1)[0]
    return mantissa.strip(b"+-.0").replace(b".", b"").strip(b"0") != b""


_NOT_A_FLOAT = "not a valid float"


# ---- Long doubles: INCRBYFLOAT and HINCRBYFLOAT calculate with the 64-bit mantissa of the x87 ----


class LongDouble(NamedTuple):
    """The number mantissa * 2**exponent, or an infinity with the sign of the mantissa."""

    mantissa: int
    exponent: int

    @property
    def is_infinite(self) -> bool:
        """Whether this is plus or minus infinity."""
        return self.exponent == _INFINITE_EXPONENT


_INFINITE_EXPONENT = 1 << 20
_MANTISSA_BITS = 64
_LOWEST_EXPONENT = -16445  # of the smallest subnormal number
_OVERFLOW_EXPONENT = 16384
_LONGEST_LONG_DOUBLE = 5 * 1024 - 1
_DECIMAL = re.compile(rb"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]+))?", re.ASCII)
_INFINITY = re.compile(rb"([+-]?)inf(?:inity)?", re.IGNORECASE)
_MANY_DIGITS = 4000  # int() and str() refuse more than 4300 digits
_POWER_OF_MANY_DIGITS: int = 10**_MANY_DIGITS
_HUMAN_DIGITS = 17
_HUMAN_SCALE: int = 10**_HUMAN_DIGITS


def parse_long_double(text: bytes) -> LongDouble:
    """The long double nearest to `text`, which has the forms of `parse_float` and at most 5119 bytes.

    Raises:
        ValueError: As for `parse_float`, with the range of the x87 format (about 1e-4951 to 1e4932).
    """
    if not text or len(text) > _LONGEST_LONG_DOUBLE:
        raise ValueError(_NOT_A_FLOAT)
    if match := _DECIMAL.fullmatch(text):
        sign, whole, fraction, exponent = match.groups()
        fraction = fraction or b""
        if not (whole or fraction):
            raise ValueError(_NOT_A_FLOAT)
        return _long_double_from_decimal(sign == b"-", whole + fraction, _bounded_int(exponent) - len(fraction))
    if match := _HEX_FLOAT.fullmatch(text):
        sign, whole, fraction, exponent = match.groups()
        fraction = fraction or b""
        if not (whole or fraction):
            raise ValueError(_NOT_A_FLOAT)
        digits = int(whole + fraction, 16)
        shift = max(-50_000, min(50_000, _bounded_int(exponent) - 4 * len(fraction)))
        return _checked(sign == b"-", digits, _round(digits << max(shift, 0), 1 << max(-shift, 0)))
    if match := _INFINITY.fullmatch(text):
        return LongDouble(-1 if match[1] == b"-" else 1, _INFINITE_EXPONENT)
    raise ValueError(_NOT_A_FLOAT)


def add_long_doubles(left: LongDouble, right: LongDouble) -> LongDouble:
    """The sum, rounded to nearest even as the x87 does.

    Raises:
        OverflowError: The sum is not finite.
    """
    if left.is_infinite or right.is_infinite:
        msg = "not a finite sum"
        raise OverflowError(msg)
    exponent = min(left.exponent, right.exponent)
    total = (left.mantissa << (left.exponent - exponent)) + (right.mantissa << (right.exponent - exponent))
    if total.bit_length() <= _MANTISSA_BITS and exponent <= 0:
        return LongDouble(total, exponent)  # exact; such a number cannot overflow
    rounded = _round(abs(total) << max(exponent, 0), 1 << max(-exponent, 0))
    if rounded.mantissa.bit_length() + rounded.exponent > _OVERFLOW_EXPONENT:
        msg = "not a finite sum"
        raise OverflowError(msg)
    return LongDouble(-rounded.mantissa, rounded.exponent) if total < 0 else rounded


def format_long_double(value: LongDouble) -> bytes:
    """Decimal with up to 17 digits after the point, exactly rounded, without trailing zeros; never an exponent."""
    if value.is_infinite:
        return b"inf" if value.mantissa > 0 else b"-inf"
    magnitude = abs(value.mantissa) * _HUMAN_SCALE
    if value.exponent >= 0:
        scaled = magnitude << value.exponent
    else:
        scaled = _shift_right_to_even(magnitude, -value.exponent)
    whole, fraction = divmod(scaled, _HUMAN_SCALE)
    text = _digits(whole)
    if fraction:
        text += (b".%0*d" % (_HUMAN_DIGITS, fraction)).rstrip(b"0")
    return b"-" + text if value.mantissa < 0 and scaled else text


def format_human_double(value: float) -> bytes:
    """A double in the form of `format_long_double`, as in GEOPOS replies."""
    text = b"%.17f" % value
    if b"." in text:
        text = text.rstrip(b"0").rstrip(b".")
    return b"0" if text == b"-0" else text


def _long_double_from_decimal(negative: bool, digits: bytes, exponent: int) -> LongDouble:
    number = _int_of_digits(digits)
    # Far outside the range the result is known; it must not cost a power of ten with billions of digits.
    exponent = max(-20_000, min(20_000, exponent))
    if exponent >= 0:
        return _checked(negative, number, _round(number * 10**exponent, 1))
    return _checked(negative, number, _round(number, 10**-exponent))


def _checked(negative: bool, digits: int, rounded: LongDouble) -> LongDouble:
    overflow = rounded.mantissa.bit_length() + rounded.exponent > _OVERFLOW_EXPONENT
    underflow = not rounded.mantissa and digits
    if overflow or underflow:
        raise ValueError(_NOT_A_FLOAT)
    return LongDouble(-rounded.mantissa, rounded.exponent) if negative else rounded


def _round(numerator: int, denominator: int) -> LongDouble:
    """The non-negative fraction rounded to a 64-bit mantissa, half to even; the exponent may be too large."""
    if denominator == 1 and numerator.bit_length() <= _MANTISSA_BITS:
        return LongDouble(numerator, 0)
    if not numerator:
        return LongDouble(0, 0)
    exponent = max(numerator.bit_length() - denominator.bit_length() - _MANTISSA_BITS, _LOWEST_EXPONENT)
    while True:
        quotient, rest = divmod(numerator << max(-exponent, 0), denominator << max(exponent, 0))
        if quotient.bit_length() <= _MANTISSA_BITS:
            break
        exponent += 1
    twice = 2 * rest
    divisor = denominator << max(exponent, 0)
    if twice > divisor or (twice == divisor and quotient & 1):
        quotient += 1
    return LongDouble(quotient, exponent)


def _shift_right_to_even(value: int, bits: int) -> int:
    quotient = value >> bits
    rest = value - (quotient << bits)
    half = 1 << (bits - 1)
    return quotient + (rest > half or (rest == half and quotient & 1))


def _bounded_int(exponent: bytes | None) -> int:
    """An exponent's value; one of absurd length is replaced by one that is as far out of range."""
    if exponent is None:
        return 0
    if len(exponent.lstrip(b"+-0")) > 9:
        return -(10**9) if exponent[:1] == b"-" else 10**9
    return int(exponent)


def _int_of_digits(digits: bytes) -> int:
    if len(digits) <= _MANY_DIGITS:
        return int(digits)
    return int(digits[:-_MANY_DIGITS]) * _POWER_OF_MANY_DIGITS + int(digits[-_MANY_DIGITS:])


def _digits(number: int) -> bytes:
    if number < _POWER_OF_MANY_DIGITS:
        return b"%d" % number
    high, low = divmod(number, _POWER_OF_MANY_DIGITS)
    return b"%d%0*d" % (high, _MANY_DIGITS, low)


# ---- Sizes and durations ----

_MEMORY = re.compile(r"([0-9]+)(b|kb?|mb?|gb?)?", re.IGNORECASE | re.ASCII)
_LONGEST_MEMORY = 127
_MEMORY_UNITS = {
    "": 1,
    "b": 1,
    "k": 1000,
    "kb": 1 << 10,
    "m": 1000**2,
    "mb": 1 << 20,
    "g": 1000**3,
    "gb": 1 << 30,
}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)?", re.ASCII)
_DURATION_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def parse_memory(text: str) -> int:
    """Bytes from ``1024``, ``1k`` (1000), ``1kb`` (1024), ``m``, ``mb``, ``g``, ``gb`` in any case; else ValueError."""
    match = _MEMORY.fullmatch(text)
    if match is None or len(match[1]) > _LONGEST_MEMORY:
        msg = "not a memory size"
        raise ValueError(msg)
    return int(match[1]) * _MEMORY_UNITS[(match[2] or "").lower()]


def format_memory(size_bytes: int) -> str:
    """The shortest exact form with a binary unit: 67108864 is ``64mb``; inverse of `parse_memory`."""
    for unit, factor in (("gb", 1 << 30), ("mb", 1 << 20), ("kb", 1 << 10)):
        if size_bytes and size_bytes % factor == 0:
            return f"{size_bytes // factor}{unit}"
    return str(size_bytes)


def parse_duration_ms(text: str) -> int:
    """Milliseconds from ``500ms``, ``1.5s``, ``5m``, ``2h``, ``1d``; a number alone is seconds; ValueError else."""
    match = _DURATION.fullmatch(text)
    if match is None or len(match[1]) > 15:
        msg = "not a duration"
        raise ValueError(msg)
    return round(float(match[1]) * _DURATION_UNITS_MS[match[2] or "s"])


# ---- Ordered encodings ----


def encode_u64(value: int) -> bytes:
    """8 bytes; struct.error outside 0 .. 2**64-1."""
    return _U64.pack(value)


def decode_u64(data: bytes) -> int:
    """Inverse of `encode_u64`; struct.error unless `data` has 8 bytes."""
    value: int = _U64.unpack(data)[0]
    return value


def encode_i64(value: int) -> bytes:
    """8 bytes; struct.error outside -2**63 .. 2**63-1."""
    return _U64.pack(value + _SIGN_BIT)


def decode_i64(data: bytes) -> int:
    """Inverse of `encode_i64`; struct.error unless `data` has 8 bytes."""
    value: int = _U64.unpack(data)[0]
    return value - _SIGN_BIT


def encode_double(value: float) -> bytes:
    """8 bytes; -0.0 encodes as 0.0.

    Raises:
        ValueError: NaN.
    """
    packed: bytes = _DOUBLE.pack(value)
    if packed[0] < 0x80:
        if value != value:
            raise ValueError(_NAN)
        return _SIGN_FLIPPED[packed[0]] + packed[1:]
    if value < 0.0:
        return packed.translate(_BITS_FLIPPED)
    if value != value:
        raise ValueError(_NAN)
    return _ENCODED_ZERO


def decode_double(data: bytes) -> float:
    """Inverse of `encode_double`; struct.error unless `data` has 8 bytes."""
    value: float
    if data[:1] >= b"\x80":
        (value,) = _DOUBLE.unpack(_SIGN_FLIPPED[data[0]] + data[1:])
    else:
        (value,) = _DOUBLE.unpack(data.translate(_BITS_FLIPPED))
    return value
