"""The vocabulary of ACL rules: categories, kinds of access, commands as the ACL engine sees them, and errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final, Protocol

CATEGORIES: Final = (
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
)
"""Every command category, in the order of ACL CAT."""

KEY_READ: Final = 1
"""A command returns, copies or otherwise shows the value of the key."""
KEY_WRITE: Final = 2
"""A command creates, changes or deletes the value of the key."""
KEY_ANY: Final = KEY_READ | KEY_WRITE

CHANNEL: Final = False
"""A channel by its name (PUBLISH, SUBSCRIBE): has to match one of the user's patterns."""
CHANNEL_PATTERN: Final = True
"""A pattern of channels (PSUBSCRIBE): has to be one of the user's patterns, letter by letter."""

NO_AUTH_COMMANDS: Final = frozenset({"auth", "hello", "quit", "reset"})
"""Commands that every user may run, whatever the rules say: without them nobody could become another user."""

_UNKNOWN = "Unknown command or category name in ACL"
_SYNTAX = "Syntax error"
_AFTER_ALL_KEYS = (
    "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect."
    " Try 'resetkeys' to start with an empty list of patterns"
)
_AFTER_ALL_CHANNELS = (
    "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any effect."
    " Try 'resetchannels' to start with an empty list of channels"
)


class AclCommand(Protocol):
    """A command or subcommand as the ACL engine sees it.

    `name` is the full name in lower case, "config|get" for a subcommand. `categories` are without the leading @;
    `subcommands` are by their own lower-case name ("get").
    """

    @property
    def name(self) -> str: ...

    @property
    def categories(self) -> frozenset[str]: ...

    @property
    def subcommands(self) -> Mapping[str, Any]: ...


CommandTable = Mapping[str, Any]
"""Top-level commands (AclCommand) by lower-case name."""


class RuleError(Exception):
    """A rule that cannot be applied. The message says why, without the rule; `is_unknown_name` marks the one kind of
    error after which an ACL file's line is read on.
    """

    def __init__(self, message: str, *, is_unknown_name: bool = False) -> None:
        super().__init__(message)
        self.is_unknown_name = is_unknown_name

    @classmethod
    def unknown(cls) -> RuleError:
        return cls(_UNKNOWN, is_unknown_name=True)

    @classmethod
    def syntax(cls) -> RuleError:
        return cls(_SYNTAX)

    @classmethod
    def after_all_keys(cls) -> RuleError:
        return cls(_AFTER_ALL_KEYS)

    @classmethod
    def after_all_channels(cls) -> RuleError:
        return cls(_AFTER_ALL_CHANNELS)

    @classmethod
    def first_argument_of_subcommand(cls) -> RuleError:
        return cls("Allowing first-arg of a subcommand is not supported")

    @classmethod
    def no_such_password(cls) -> RuleError:
        return cls("The password you are trying to remove from the user does not exist")

    @classmethod
    def bad_hash(cls) -> RuleError:
        return cls("The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters")


def has_spaces(text: bytes) -> bool:
    """Whether `text` holds white space or a NUL, which no name or pattern may."""
    return b"\0" in text or any(byte in text for byte in b" \t\n\v\f\r")


def find_command(table: CommandTable, name: str) -> AclCommand | None:
    """The command "get" or the subcommand "config|get", in any case; None when there is none."""
    container, separator, sub = name.lower().partition("|")
    entry: AclCommand | None = table.get(container)
    if entry is None or not separator:
        return entry
    found: AclCommand | None = (entry.subcommands or {}).get(sub)
    return found


def c_string(text: bytes) -> bytes:
    """The part before a NUL, which is all that Redis takes in a few places."""
    return text.split(b"\0", 1)[0]


@cache
def key_access(spec_flags: str) -> int:
    """KEY_READ and KEY_WRITE as they follow from the flags of a key specification, such as "RW access update".

    Neither (0) means that any permission on the key will do, as for EXISTS and TYPE.
    """
    flags = set(spec_flags.lower().split())
    return KEY_READ * ("access" in flags) | KEY_WRITE * bool(flags & {"insert", "delete", "update"})


def merge_selectors(rules: Sequence[bytes]) -> tuple[list[bytes], bytes | None]:
    """Join selectors that were split at their spaces: ``(+get`` ``~a)`` becomes one rule.

    Answers the rules, and the word that opens a parenthesis which is never closed (else None).
    """
    merged: list[bytes] = []
    opened: list[bytes] = []
    for rule in rules:
        if opened:
            opened.append(c_string(rule))
            if rule.endswith(b")"):
                merged.append(b" ".join(opened))
                opened = []
        elif rule.startswith(b"(") and not rule.endswith(b")"):
            opened.append(rule)
        else:
            merged.append(rule)
    return merged, opened[0] if opened else None
