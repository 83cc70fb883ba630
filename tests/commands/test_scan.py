"""SCAN and KEYS."""

from __future__ import annotations

from tests.commands.session import Session


def test_keys_and_the_empty_key() -> None:
    """All keys are listed by *, although as a pattern it does not match an empty key."""
    Session().check(r"""
        SET "" v -> OK
        SET a v -> OK
        KEYS * -> ["", "a"]
        KEYS ** -> ["a"]
        SCAN 0 MATCH * -> ["0", ["", "a"]]
        SCAN 0 MATCH ** -> ["0", ["a"]]
    """)
