"""Arguments that many commands have."""

from __future__ import annotations

from diskkv.codec.numbers import parse_int64
from diskkv.errors import NotIntegerError


def parse_integer(text: bytes) -> int:
    """A signed 64-bit integer. Raises NotIntegerError."""
    try:
        return parse_int64(text)
    except ValueError:
        raise NotIntegerError from None
