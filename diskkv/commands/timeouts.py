"""The timeout argument of blocking commands."""

from __future__ import annotations

from diskkv.codec.numbers import INT64_MAX, LongDouble, parse_long_double
from diskkv.errors import CommandError

_NOT_A_FLOAT = b"ERR timeout is not a float or out of range"
_OUT_OF_RANGE = b"ERR timeout is out of range"
_NEGATIVE = b"ERR timeout is negative"


def parse_deadline_ms(text: bytes, now_ms: int) -> int:
    """The absolute time in ms at which a timeout given in seconds ends; 0 (never) for 0. Raises CommandError."""
    if text.isdigit() and len(text) < 12:
        seconds = int(text)
        return now_ms + 1000 * seconds if seconds else 0
    try:
        value = parse_long_double(text)
    except ValueError:
        raise CommandError(_NOT_A_FLOAT) from None
    timeout_ms = _milliseconds(value)
    if timeout_ms < 0:
        raise CommandError(_NEGATIVE)
    if timeout_ms > INT64_MAX - now_ms:
        raise CommandError(_OUT_OF_RANGE)
    return now_ms + timeout_ms if timeout_ms else 0


def _milliseconds(value: LongDouble) -> int:
    """Seconds as whole ms, rounded up; what is far out of range is capped."""
    if value.is_infinite or value.mantissa.bit_length() + value.exponent > 64:
        if value.mantissa < 0:
            raise CommandError(_NEGATIVE)
        raise CommandError(_OUT_OF_RANGE)
    scaled = value.mantissa * 1000
    if value.exponent >= 0:
        return scaled << value.exponent
    return -(-scaled >> -value.exponent)
