"""The keys and channels of a command with the access it needs, from the server's own command declarations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from diskkv.services.acl.rules import CHANNEL, CHANNEL_PATTERN, key_access

_FIRST_CHANNEL: Final = frozenset({"publish", "spublish"})
_ALL_CHANNELS: Final = frozenset({"subscribe", "ssubscribe"})
_ALL_PATTERNS: Final = frozenset({"psubscribe"})


def declared_keys(command: Any, argv: Sequence[bytes]) -> list[tuple[bytes, int]]:
    """Every key in `argv` with KEY_READ and KEY_WRITE; none when the arguments make no sense.

    `command` has `key_positions(argv)`, which answers positions with the flags of their key specifications.
    """
    return [(argv[at], key_access(flags)) for at, flags in command.key_positions(argv)]


def declared_channels(command: Any, argv: Sequence[bytes]) -> list[tuple[bytes, bool]]:
    """Every channel in `argv` that the command publishes or subscribes to. Unsubscribing needs no permission."""
    name = command.name
    if name in _FIRST_CHANNEL:
        return [(channel, CHANNEL) for channel in argv[1:2]]
    if name in _ALL_CHANNELS:
        return [(channel, CHANNEL) for channel in argv[1:]]
    if name in _ALL_PATTERNS:
        return [(channel, CHANNEL_PATTERN) for channel in argv[1:]]
    return []
