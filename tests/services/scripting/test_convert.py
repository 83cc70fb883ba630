"""Numbers as Redis prints them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskkv.services.scripting.convert import fits_float, format_argument, format_double, pack_float


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, b"0"),
        (-0.0, b"-0"),
        (1.0, b"1"),
        (0.1, b"0.1"),
        (-1.5, b"-1.5"),
        (1e6, b"1000000"),
        (1e7, b"10000000"),
        (1e8, b"1e+8"),
        (123456789.125, b"123456789.125"),
        (12345678901234567890.0, b"12345678901234567000"),
        (1e300, b"1e+300"),
        (1e-5, b"0.00001"),
        (1e-7, b"1e-7"),
        (1.25e-7, b"1.25e-7"),
        (5e-324, b"5e-324"),
        (1 / 3, b"0.3333333333333333"),
        (math.inf, b"inf"),
        (-math.inf, b"-inf"),
        (math.nan, b"nan"),
    ],
)
def test_doubles_have_the_servers_layout(value: float, text: bytes) -> None:
    assert format_double(value) == text


@given(st.floats(allow_nan=False))
def test_doubles_read_back(value: float) -> None:
    assert float(format_double(value)) == value
    if abs(value) <= 2**53:
        assert float(format_argument(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [(1, b"1"), (1.0, b"1"), (-0.0, b"0"), (1e18, b"1000000000000000000"), (9.2e18, b"9.2e+18"), (2.5, b"2.5")],
)
def test_whole_arguments_are_integers_up_to_two_to_the_62(value: float, text: bytes) -> None:
    assert format_argument(value) == text


def test_floats_overflow_to_infinity() -> None:
    assert pack_float(-1e300) == pack_float(-math.inf) == b"\xff\x80\x00\x00"
    assert fits_float(1.5)
    assert not fits_float(0.1)
    assert not fits_float(1e300)
