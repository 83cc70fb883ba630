"""KEYS * left out the empty key, which SCAN showed."""

from __future__ import annotations

from tests.commands.session import Session


def test_keys_shows_the_empty_key() -> None:
    Session().check("""
        MSET '' 1 a 2 -> OK
        KEYS * -> ["", "a"]
        KEYS ** -> ["a"]
        KEYS a* -> ["a"]
    """)
