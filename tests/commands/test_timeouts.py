"""The timeout argument of blocking commands."""

from __future__ import annotations

import pytest

from diskkv.commands.timeouts import parse_deadline_ms
from diskkv.errors import CommandError

NOW_MS = 1_700_000_000_000


@pytest.mark.parametrize(
    ("text", "wait_ms"),
    [
        (b"1", 1000),
        (b"0.5", 500),
        (b"0.0001", 1),
        (b"1e1", 10_000),
        (b"0x10", 16_000),
        (b"2.0011", 2002),
        (b"99999999999", 99_999_999_999_000),
        (b"999999999999", 999_999_999_999_000),
    ],
)
def test_deadlines(text: bytes, wait_ms: int) -> None:
    assert parse_deadline_ms(text, NOW_MS) == NOW_MS + wait_ms


@pytest.mark.parametrize("text", [b"0", b"0.0", b"00", b"-0"])
def test_zero_is_for_ever(text: bytes) -> None:
    assert parse_deadline_ms(text, NOW_MS) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "timeout is not a float or out of range"),
        (b"x", "timeout is not a float or out of range"),
        (b" 1", "timeout is not a float or out of range"),
        (b"nan", "timeout is not a float or out of range"),
        (b"-1", "timeout is negative"),
        (b"-0.5", "timeout is negative"),
        (b"-inf", "timeout is negative"),
        (b"inf", "timeout is out of range"),
        (b"1e300", "timeout is out of range"),
        (b"9223372036854775", "timeout is out of range"),
    ],
)
def test_errors(text: bytes, message: str) -> None:
    with pytest.raises(CommandError, match=message):
        parse_deadline_ms(text, NOW_MS)
