from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from diskkv.codec.crc64 import crc64


def test_check_value() -> None:
    assert crc64(b"123456789") == 0xE9C6D914C4B8D9CA


def test_nothing_changes_nothing() -> None:
    assert crc64(b"") == 0
    assert crc64(b"", 123) == 123


@given(st.binary(), st.binary())
def test_continues_where_it_stopped(head: bytes, tail: bytes) -> None:
    assert crc64(memoryview(tail), crc64(bytearray(head))) == crc64(head + tail)
