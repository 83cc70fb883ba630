"""Digests of values: known ones, and the arguments of IFDEQ and IFDNE."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskkv.codec.digest import check_digest, chunked_digest, same_digest, value_digest
from diskkv.errors import CommandError

# The first is the example of the command's page, the second has leading zeros.
KNOWN = {
    b"Hello world": b"b6acb9d84a38ff74",
    b"v8lf0c11xh8ymlqztfd3eeq16kfn4sspw7fqmnuuq3k3t75em5wdizgcdw7uc26nnf961u2jkfzkjytls2kwlj7626sd": (
        b"00006c38adf31777"
    ),
    b"": b"2d06800538d394c2",
}


@pytest.mark.parametrize("value", KNOWN)
def test_known_digests(value: bytes) -> None:
    assert value_digest(value) == KNOWN[value]


@given(st.lists(st.binary(max_size=400), max_size=5))
def test_digest_in_pieces(chunks: list[bytes]) -> None:
    assert chunked_digest(chunks) == value_digest(b"".join(chunks))


def test_case_does_not_matter() -> None:
    digest = value_digest(b"Hello world")
    assert same_digest(digest, b"B6ACB9D84A38FF74")
    assert same_digest(digest, digest)
    assert not same_digest(digest, b"b6acb9d84a38ff75")
    assert not same_digest(digest, b"zzzzzzzzzzzzzzzz")


@pytest.mark.parametrize("argument", [b"", b"6c38adf31777", b"0" * 15, b"0" * 17])
def test_other_lengths_are_refused(argument: bytes) -> None:
    with pytest.raises(CommandError, match="ERR must be exactly 16 hexadecimal characters"):
        check_digest(argument)


def test_only_the_length_is_checked() -> None:
    check_digest(b"not hexadecimal!")
