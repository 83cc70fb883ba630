"""A user: passwords, flags and selectors, and the decision whether one of its commands may run."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from diskkv.codec.glob import Matcher
from diskkv.resp.inline import split_inline
from diskkv.services.acl.rules import AclCommand, CommandTable, RuleError
from diskkv.services.acl.selector import Selector

KeysOf = Callable[[Any, Sequence[bytes]], Sequence[tuple[bytes, int]]]
"""(command, argv) -> (key, KEY_READ | KEY_WRITE) of every key in argv."""
ChannelsOf = Callable[[Any, Sequence[bytes]], Sequence[tuple[bytes, bool]]]
"""(command, argv) -> (channel, CHANNEL or CHANNEL_PATTERN) of every channel to publish or subscribe to."""

_HASH = re.compile(rb"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Denial:
    """Why a command may not run. `reason` is command, key or channel; `object` the command's full name, the key or
    the channel.
    """

    user: bytes
    reason: str
    object: bytes

    @property
    def text(self) -> bytes:
        """The reason without its code, and without telling the key or channel; scripts use it in their own error."""
        if self.reason == "command":
            return b"User %b has no permissions to run the '%b' command" % (self.user, self.object)
        return b"No permissions to access a " + self.reason.encode()

    @property
    def message(self) -> bytes:
        """The error reply's text, with its code NOPERM."""
        return b"NOPERM " + self.text

    @property
    def explanation(self) -> bytes:
        """The reason with the key or channel, as ACL DRYRUN answers it."""
        if self.reason == "command":
            return self.text
        return b"User %b has no permissions to access the '%b' %b" % (self.user, self.object, self.reason.encode())


# Of several selectors' denials, the one with the highest rank is reported: that selector came closest.
_ALLOWED: Final = 0
_DENIED_COMMAND: Final = 1
_DENIED_KEY: Final = 2
_DENIED_CHANNEL: Final = 3


@dataclass(frozen=True, slots=True)
class Grant:
    """What one selector asks of the arguments of a command that it allows; None asks nothing.

    `key_matchers` are by needed access; `channels` is the selector itself.
    """

    first_arguments: frozenset[bytes] | None = None
    key_matchers: tuple[tuple[Matcher, ...], ...] | None = None
    channels: Selector | None = None

    def check(
        self, argv: Sequence[bytes], keys: Sequence[tuple[bytes, int]], channels: Sequence[tuple[bytes, bool]]
    ) -> tuple[int, int]:
        """Answer (0, 0), or the rank of what is denied and its place in `keys` or `channels`."""
        if self.first_arguments is not None and (len(argv) < 2 or argv[1].lower() not in self.first_arguments):
            return _DENIED_COMMAND, 0
        if self.key_matchers is not None:
            for at, (key, access) in enumerate(keys):
                for matches in self.key_matchers[access]:
                    if matches(key):
                        break
                else:
                    return _DENIED_KEY, at
        if self.channels is not None:
            for at, (channel, is_pattern) in enumerate(channels):
                if not self.channels.allows_channel(channel, is_pattern):
                    return _DENIED_CHANNEL, at
        return _ALLOWED, 0


@dataclass(frozen=True, slots=True)
class Decision:
    """What a user's rules say about one command. `always` needs no look at the arguments; no grants mean never."""

    grants: tuple[Grant, ...]
    always: bool
    needs_keys: bool
    needs_channels: bool


class User:
    """One user. `unrestricted` is kept up to date: true when no command of the user ever needs a check.

    A user that is not `enabled` cannot authenticate; connections that already did go on. The object stays the same
    when the user is changed, so connections can hold it.
    """

    __slots__ = (
        "_decisions",
        "enabled",
        "name",
        "nopass",
        "passwords",
        "sanitize_payload",
        "selectors",
        "unrestricted",
    )

    def __init__(self, name: bytes, *, all_channels: bool = False) -> None:
        self.name = name
        self.enabled = False
        self.nopass = False
        self.sanitize_payload = True
        self.passwords: list[bytes] = []
        """SHA-256 of each password, in lower-case hex."""
        self.selectors = [Selector(all_channels=all_channels)]
        """The root selector first."""
        self.unrestricted = False
        self._decisions: dict[str, Decision] = {}

    def copy(self) -> User:
        """An independent user with the same rules."""
        twin = User(self.name)
        twin.adopt(self)
        return twin

    def adopt(self, other: User) -> None:
        """Take over all rules of `other`."""
        self.enabled = other.enabled
        self.nopass = other.nopass
        self.sanitize_payload = other.sanitize_payload
        self.passwords = list(other.passwords)
        self.selectors = [selector.copy() for selector in other.selectors]
        self._changed()

    def forget_decisions(self) -> None:
        """Decide anew which commands may run; needed when the command table changed."""
        self._decisions = {}

    def _changed(self) -> None:
        self.forget_decisions()
        self.unrestricted = any(selector.unrestricted for selector in self.selectors)

    # ---- changing

    def set_rule(self, rule: bytes, table: CommandTable, *, pubsub_default_all: bool = False) -> None:
        """Apply one rule of ACL SETUSER; `pubsub_default_all` is what a new selector allows. Raises RuleError."""
        if not rule:
            return
        word = rule.lower()
        if word in _FLAGS:
            name, value = _FLAGS[word]
            setattr(self, name, value)
        elif word == b"nopass":
            self.nopass = True
            self.passwords.clear()
        elif word == b"resetpass":
            self.nopass = False
            self.passwords.clear()
        elif rule[:1] in b"><#!":
            self._set_password(rule)
        elif rule[:1] == b"(" and rule[-1:] == b")":
            self.selectors.append(_parse_selector(rule, table, pubsub_default_all))
        elif word == b"clearselectors":
            del self.selectors[1:]
        elif word == b"reset":
            self.adopt(User(self.name, all_channels=pubsub_default_all))
        else:
            self.selectors[0].set_rule(rule, table)
        self._changed()

    def _set_password(self, rule: bytes) -> None:
        kind, secret = rule[:1], rule[1:]
        if kind in b"><":
            digest = hash_password(secret)
        elif _HASH.fullmatch(secret):
            digest = secret
        else:
            raise RuleError.bad_hash()
        if kind in b">#":
            if digest not in self.passwords:
                self.passwords.append(digest)
            self.nopass = False
        elif digest in self.passwords:
            self.passwords.remove(digest)
        else:
            raise RuleError.no_such_password()

    # ---- showing

    @property
    def flags(self) -> list[str]:
        """The flags in the order of ACL GETUSER."""
        flags = ["on" if self.enabled else "off"]
        if self.nopass:
            flags.append("nopass")
        flags.append("sanitize-payload" if self.sanitize_payload else "skip-sanitize-payload")
        return flags

    def describe(self) -> bytes:
        """The rules that make this user from a new one, as ACL LIST shows them and an ACL file keeps them."""
        parts = [flag.encode() for flag in self.flags]
        parts += [b"#" + password for password in self.passwords]
        root, *others = self.selectors
        parts.append(root.describe())
        parts += [b"(%b)" % selector.describe() for selector in others]
        return b" ".join(parts)

    # ---- deciding

    def accepts_password(self, password: bytes) -> bool:
        """Whether `password` is one of the user's; takes the same time whichever it is, or none."""
        digest = hash_password(password)
        matches = [hmac.compare_digest(digest, known) for known in self.passwords]
        return self.nopass or any(matches)

    def allows_channel(self, channel: bytes, is_pattern: bool) -> bool:
        """Whether the user may subscribe to the channel, or to the pattern of channels."""
        return any(selector.allows_channel(channel, is_pattern) for selector in self.selectors)

    def decide(self, entry: AclCommand, table: CommandTable) -> Decision:
        """What the rules say about a command. Kept until the user changes."""
        decision = self._decisions.get(entry.name)
        if decision is None:
            decision = self._decisions[entry.name] = self._compile(entry, table)
        return decision

    def _compile(self, entry: AclCommand, table: CommandTable) -> Decision:
        container, separator, _ = entry.name.partition("|")
        parent: AclCommand | None = table[container] if separator else None
        # Every command that publishes or subscribes is in this category.
        has_channels = "pubsub" in entry.categories
        grants = []
        for selector in self.selectors:
            allowed = selector.allows_command(entry, parent)
            if allowed is not False:
                channels = selector if has_channels and not selector.all_channels else None
                grants.append(Grant(None if allowed is True else allowed, selector.key_matchers(), channels))
        return Decision(
            tuple(grants),
            always=Grant() in grants,
            needs_keys=any(grant.key_matchers is not None for grant in grants),
            needs_channels=any(grant.channels is not None for grant in grants),
        )

    def check(
        self,
        entry: AclCommand,
        argv: Sequence[bytes],
        table: CommandTable,
        keys_of: KeysOf,
        channels_of: ChannelsOf,
    ) -> Denial | None:
        """None when the command may run with these arguments, else why not."""
        decision = self.decide(entry, table)
        if decision.always:
            return None
        keys = keys_of(entry, argv) if decision.needs_keys else ()
        channels = channels_of(entry, argv) if decision.needs_channels else ()
        worst, place = _DENIED_COMMAND, 0
        for grant in decision.grants:
            rank, at = grant.check(argv, keys, channels)
            if rank == _ALLOWED:
                return None
            if (rank, at) > (worst, place):
                worst, place = rank, at
        if worst == _DENIED_KEY:
            return Denial(self.name, "key", keys[place][0])
        if worst == _DENIED_CHANNEL:
            return Denial(self.name, "channel", channels[place][0])
        return Denial(self.name, "command", entry.name.encode())


_FLAGS: Final[dict[bytes, tuple[str, bool]]] = {
    b"on": ("enabled", True),
    b"off": ("enabled", False),
    b"sanitize-payload": ("sanitize_payload", True),
    b"skip-sanitize-payload": ("sanitize_payload", False),
}


def hash_password(password: bytes) -> bytes:
    """The form in which passwords are kept: SHA-256 in lower-case hex."""
    return hashlib.sha256(password).hexdigest().encode()


def _parse_selector(rule: bytes, table: CommandTable, all_channels: bool) -> Selector:
    selector = Selector(all_channels=all_channels)
    # Quotes that do not balance leave the selector empty, as in Redis: it then allows nothing.
    for word in split_inline(rule[1:-1]) or ():
        selector.set_rule(word, table)
    return selector
