"""The names that clients use for commands, when `rename-command` gave them others than their own."""

from __future__ import annotations

ALIASES: dict[bytes, bytes] = {}
"""A command's own name by the one that clients use, both in upper case; only of commands that were renamed."""


def own_name(name: bytes) -> bytes:
    """The command's own name, in upper case, for the one that a client sent."""
    upper = name.upper()
    return ALIASES.get(upper, upper)
