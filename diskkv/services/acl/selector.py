"""A selector: command rules, key patterns and channel patterns that hold together.

A user has a root selector and any number of further ones; a command may run when one of them allows all of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from diskkv.codec.glob import Matcher, compile_glob
from diskkv.services.acl.rules import (
    CATEGORIES,
    KEY_ANY,
    KEY_READ,
    KEY_WRITE,
    NO_AUTH_COMMANDS,
    AclCommand,
    CommandTable,
    RuleError,
    find_command,
    has_spaces,
)

_log = logging.getLogger("diskkv.acl")

_ACCESS_PREFIX: Final = {KEY_READ: b"%R~", KEY_WRITE: b"%W~", KEY_ANY: b"~"}
_ACCESS_LETTER: Final = {ord("R"): KEY_READ, ord("W"): KEY_WRITE}


@dataclass(slots=True, eq=False)
class Selector:
    """One selector. `key_patterns` has the access (KEY_READ, KEY_WRITE) that each pattern gives.

    `commands` are the command rules in order, such as "+get" or "-@admin", after `all_commands`, which says whether
    everything ("+@all") or nothing ("-@all") comes before them.
    """

    all_keys: bool = False
    all_channels: bool = False
    all_commands: bool = False
    key_patterns: dict[bytes, int] = field(default_factory=dict)
    channel_patterns: list[bytes] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)

    def copy(self) -> Selector:
        """An independent selector with the same rules."""
        return Selector(
            self.all_keys,
            self.all_channels,
            self.all_commands,
            dict(self.key_patterns),
            list(self.channel_patterns),
            list(self.commands),
        )

    @property
    def unrestricted(self) -> bool:
        """Whether it allows every command, key and channel."""
        return self.all_keys and self.all_channels and self.all_commands and not self.commands

    # ---- changing

    def set_rule(self, rule: bytes, table: CommandTable) -> None:
        """Apply one rule. Raises RuleError, with nothing changed."""
        word = rule.lower()
        change = _WORDS.get(word)
        if change is not None:
            change(self)
        elif rule[:1] in (b"~", b"%"):
            self._add_key_pattern(rule)
        elif rule[:1] == b"&":
            self._add_channel_pattern(rule[1:])
        elif rule[:2] in (b"+@", b"-@"):
            self._set_category(word.decode("latin-1"))
        elif rule[:1] == b"+":
            self._allow_command(word[1:].decode("latin-1"), rule[1:].decode("latin-1"), table)
        elif rule[:1] == b"-":
            entry = find_command(table, word[1:].decode("latin-1"))
            if entry is None:
                raise RuleError.unknown()
            self._set_command("-", entry.name)
        else:
            raise RuleError.syntax()

    def _add_key_pattern(self, rule: bytes) -> None:
        if self.all_keys:
            raise RuleError.after_all_keys()
        access, pattern = (KEY_ANY, rule[1:]) if rule[:1] == b"~" else _parse_access(rule)
        if has_spaces(pattern):
            raise RuleError.syntax()
        self.key_patterns[pattern] = self.key_patterns.get(pattern, 0) | access

    def _add_channel_pattern(self, pattern: bytes) -> None:
        if self.all_channels:
            raise RuleError.after_all_channels()
        if has_spaces(pattern):
            raise RuleError.syntax()
        if pattern not in self.channel_patterns:
            self.channel_patterns.append(pattern)

    def _set_category(self, rule: str) -> None:
        if rule[2:] not in CATEGORIES:
            raise RuleError.unknown()
        self._set_command(rule[0], rule[1:])

    def _allow_command(self, name: str, as_written: str, table: CommandTable) -> None:
        container, separator, last = name.rpartition("|")
        if not separator:
            entry = find_command(table, name)
            if entry is None:
                raise RuleError.unknown()
            self._set_command("+", entry.name)
            return
        entry = find_command(table, container)
        if entry is None:
            raise RuleError.unknown()
        if "|" in entry.name:
            raise RuleError.first_argument_of_subcommand()
        if not last:
            raise RuleError.syntax()
        if entry.subcommands:
            if last not in entry.subcommands:
                raise RuleError.unknown()
        else:
            _log.warning(
                "Allowing only a first argument of a command (+%s) is deprecated and may be dropped in the future",
                as_written,
            )
        self._set_command("+", name)

    def _set_command(self, sign: str, name: str) -> None:
        """Append a rule, in place of earlier ones about the same command or its subcommands."""
        below = name + "|"
        self.commands = [rule for rule in self.commands if rule[1:] != name and not rule[1:].startswith(below)]
        self.commands.append(sign + name)

    def _allow_all_keys(self) -> None:
        self.all_keys = True
        self.key_patterns.clear()

    def _reset_keys(self) -> None:
        self.all_keys = False
        self.key_patterns.clear()

    def _allow_all_channels(self) -> None:
        self.all_channels = True
        self.channel_patterns.clear()

    def _reset_channels(self) -> None:
        self.all_channels = False
        self.channel_patterns.clear()

    def _allow_all_commands(self) -> None:
        self.all_commands = True
        self.commands.clear()

    def _deny_all_commands(self) -> None:
        self.all_commands = False
        self.commands.clear()

    # ---- showing

    def describe(self) -> bytes:
        """The rules that make this selector from an empty one, in the form of ACL LIST."""
        parts = [self.describe_keys()] if self.all_keys or self.key_patterns else []
        if not self.all_channels:
            parts.append(b"resetchannels")
        if self.all_channels or self.channel_patterns:
            parts.append(self.describe_channels())
        parts.append(self.describe_commands())
        return b" ".join(parts)

    def describe_commands(self) -> bytes:
        """The command rules, always beginning with +@all or -@all."""
        return " ".join(["+@all" if self.all_commands else "-@all", *self.commands]).encode("latin-1")

    def describe_keys(self) -> bytes:
        """The key patterns; empty when there are none."""
        if self.all_keys:
            return b"~*"
        return b" ".join(_ACCESS_PREFIX[access] + pattern for pattern, access in self.key_patterns.items())

    def describe_channels(self) -> bytes:
        """The channel patterns; empty when there are none."""
        if self.all_channels:
            return b"&*"
        return b" ".join(b"&" + pattern for pattern in self.channel_patterns)

    # ---- deciding

    def allows_command(self, entry: AclCommand, parent: AclCommand | None) -> bool | frozenset[bytes]:
        """Whether the command may run: always, never, or only with one of these (lower case) as first argument."""
        if entry.name in NO_AUTH_COMMANDS:
            return True
        names = {entry.name} if parent is None else {entry.name, parent.name}
        categories = entry.categories if parent is None else entry.categories | parent.categories
        below = entry.name + "|"
        allowed = self.all_commands
        first_arguments: set[bytes] = set()
        for rule in self.commands:
            target = rule[1:]
            if target in names or (target[0] == "@" and target[1:] in categories):
                allowed = rule[0] == "+"
                first_arguments.clear()
            elif target.startswith(below):
                first_arguments.add(target[len(below) :].encode("latin-1"))
        if not allowed and first_arguments:
            return frozenset(first_arguments)
        return allowed

    def key_matchers(self) -> tuple[tuple[Matcher, ...], ...] | None:
        """By needed access (0 to KEY_ANY) the matchers of the patterns that give it; None when every key is allowed."""
        if self.all_keys:
            return None
        return tuple(
            tuple(compile_glob(pattern) for pattern, access in self.key_patterns.items() if access & needed == needed)
            for needed in range(KEY_ANY + 1)
        )

    def allows_channel(self, channel: bytes, is_pattern: bool) -> bool:
        """Whether the channel may be used; a pattern has to be among the selector's own."""
        if self.all_channels:
            return True
        if is_pattern:
            return channel in self.channel_patterns
        return any(compile_glob(pattern)(channel) for pattern in self.channel_patterns)


_WORDS: Final[dict[bytes, Callable[[Selector], None]]] = {
    b"allkeys": Selector._allow_all_keys,
    b"~*": Selector._allow_all_keys,
    b"resetkeys": Selector._reset_keys,
    b"allchannels": Selector._allow_all_channels,
    b"&*": Selector._allow_all_channels,
    b"resetchannels": Selector._reset_channels,
    b"allcommands": Selector._allow_all_commands,
    b"+@all": Selector._allow_all_commands,
    b"nocommands": Selector._deny_all_commands,
    b"-@all": Selector._deny_all_commands,
}


def _parse_access(rule: bytes) -> tuple[int, bytes]:
    """The access and the pattern of ``%R~pattern``; as in Redis a missing ``~pattern`` is the empty pattern."""
    letters, _, pattern = rule[1:].partition(b"~")
    access = 0
    for letter in letters.upper():
        bit = _ACCESS_LETTER.get(letter, 0)
        if not bit or access & bit:
            raise RuleError.syntax()
        access |= bit
    if not access:
        raise RuleError.syntax()
    return access, pattern
