"""All users of a server: what dispatch asks, and what the ACL commands and the configuration do."""

from __future__ import annotations

import hmac
import logging
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from diskkv.errors import CommandError, ConfigError
from diskkv.services.acl.access import declared_channels, declared_keys
from diskkv.services.acl.files import AclFileError, read_users, write_users
from diskkv.services.acl.log import AclLog, AclLogEntry
from diskkv.services.acl.rules import (
    CATEGORIES,
    AclCommand,
    CommandTable,
    RuleError,
    c_string,
    has_spaces,
    merge_selectors,
)
from diskkv.services.acl.user import ChannelsOf, Denial, KeysOf, User, hash_password

_log = logging.getLogger("diskkv.acl")

DEFAULT_USER: Final = b"default"
MAX_GENPASS_BITS: Final = 4096

_NO_FILE = (
    "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER"
    " command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store"
    " users in the Redis configuration."
)


def _ignore(user: User) -> None:
    return None


class Acl:
    """The users of one server, and the log of what they were denied.

    `commands` is the server's command table. `keys_of` and `channels_of` find a command's keys and channels in its
    arguments; they are only asked for users whose rules restrict them, and answer nothing when the arguments make no
    sense. `pubsub_default_all` (acl-pubsub-default allchannels) is what new users and selectors may do with channels.
    """

    def __init__(
        self,
        commands: CommandTable,
        keys_of: KeysOf = declared_keys,
        channels_of: ChannelsOf = declared_channels,
        *,
        pubsub_default_all: bool = False,
    ) -> None:
        self._commands = commands
        self._keys_of = keys_of
        self._channels_of = channels_of
        self.pubsub_default_all = pubsub_default_all
        self.file: Path | None = None
        """The `aclfile`, None when users are kept in redis.conf."""
        self.log = AclLog()
        self.on_changed: Callable[[User], None] = _ignore
        """Called after a user's rules changed: `unrestricted` may be another now."""
        self.on_channels_narrowed: Callable[[User], None] = _ignore
        """Called when a user may have lost channels: connections with a subscription that
        `User.allows_channel` denies now have to be closed."""
        self.on_removed: Callable[[User], None] = _ignore
        """Called when a user is gone: its connections have to be closed."""
        self.default_user = _all_powerful_user()
        self._users: dict[bytes, User] = {DEFAULT_USER: self.default_user}
        self._configured: set[bytes] = set()

    def use_commands(self, commands: CommandTable) -> None:
        """Take another command table; rules that were applied keep naming the same commands."""
        self._commands = commands
        for user in self._users.values():
            user.forget_decisions()

    # ---- what dispatch asks

    def check(self, user: User, command: AclCommand, argv: Sequence[bytes]) -> Denial | None:
        """None when the user may run the command with these arguments, else why not.

        Dispatch need not ask for a user that is `unrestricted`. Nothing is logged, see `log_denial`.
        """
        if user.unrestricted:
            return None
        return user.check(command, argv, self._commands, self._keys_of, self._channels_of)

    def log_denial(self, denial: Denial, context: str, client_info: bytes, now_ms: int) -> AclLogEntry | None:
        """Show a denial in ACL LOG. `context` is toplevel, multi or lua."""
        return self.log.add(denial.reason, context, denial.object, denial.user, client_info, now_ms)

    def authenticate(self, username: bytes, password: bytes) -> User | None:
        """The user with this name and password; None when there is none, or it is off.

        Takes the same time whether the user is unknown, off, or the password wrong.
        """
        user = self._users.get(username)
        if user is None:
            hmac.compare_digest(hash_password(password), _NO_HASH)
            return None
        accepted = user.accepts_password(password)
        return user if accepted and user.enabled else None

    @property
    def default_needs_password(self) -> bool:
        """Whether new connections have to authenticate before anything else."""
        return not self.default_user.nopass or not self.default_user.enabled

    # ---- users

    def find(self, username: bytes) -> User | None:
        """The user with this name."""
        return self._users.get(username)

    def users(self) -> list[User]:
        """All users, sorted by name."""
        return [user for _, user in sorted(self._users.items())]

    def describe_users(self) -> list[bytes]:
        """One line for each user, as in ACL LIST and redis.conf."""
        return [b"user %b %b" % (user.name, user.describe()) for user in self.users()]

    def set_user(self, username: bytes, rules: Sequence[bytes]) -> None:
        """Create or change a user (ACL SETUSER). Raises CommandError, with nothing changed."""
        if has_spaces(username):
            raise CommandError(b"ERR Usernames can't contain spaces or null characters")
        merged, unmatched = merge_selectors(rules)
        if unmatched is not None:
            raise CommandError(b"ERR Unmatched parenthesis in acl selector starting at '%b'." % c_string(unmatched))
        user = self._users.get(username)
        draft = User(username, all_channels=self.pubsub_default_all) if user is None else user.copy()
        for rule in merged:
            try:
                draft.set_rule(rule, self._commands, pubsub_default_all=self.pubsub_default_all)
            except RuleError as error:
                prefix = b"ERR Error in ACL SETUSER modifier '%b': " % c_string(rule)
                raise CommandError(prefix + str(error).encode()) from error
        if user is None:
            self._users[username] = draft
        else:
            self._replace(user, draft)

    def _replace(self, user: User, draft: User) -> None:
        narrowed = _may_lose_channels(user, draft)
        user.adopt(draft)
        self.on_changed(user)
        if narrowed:
            self.on_channels_narrowed(user)

    def delete_users(self, usernames: Sequence[bytes]) -> int:
        """Remove users and close their connections; answers how many there were. Raises CommandError for default."""
        if DEFAULT_USER in usernames:
            raise CommandError(b"ERR The 'default' user cannot be removed")
        removed = [user for name in usernames if (user := self._users.pop(name, None)) is not None]
        for user in removed:
            self.on_removed(user)
        return len(removed)

    def set_default_password(self, password: bytes) -> None:
        """Apply `requirepass`: the default user's only password, or none needed when empty."""
        draft = self.default_user.copy()
        draft.set_rule(b"resetpass", self._commands)
        draft.set_rule(b">" + password if password else b"nopass", self._commands)
        self._replace(self.default_user, draft)

    def command_names(self, category: str) -> list[str] | None:
        """The full names of a category's commands and subcommands (ACL CAT); None when there is no such category."""
        category = category.lower()
        if category not in CATEGORIES:
            return None
        names = []
        for entry in self._commands.values():
            for candidate in (entry, *(entry.subcommands or {}).values()):
                if category in candidate.categories:
                    names.append(candidate.name)
        return names

    # ---- redis.conf and the ACL file

    def configure_user(self, words: Sequence[bytes]) -> None:
        """Apply one line of redis.conf, `words` being what follows "user". Raises ConfigError, with nothing changed."""
        if not words:
            raise ConfigError("wrong number of arguments")
        name, *rules = words
        shown = name.decode("utf-8", "surrogateescape")
        if has_spaces(name):
            raise ConfigError("Spaces not allowed in ACL usernames")
        if name in self._configured:
            duplicate = "Duplicate user found. A user can only be defined once in config files"
            raise ConfigError(f"Error in user declaration '{shown}': {duplicate}")
        merged, unmatched = merge_selectors(rules)
        if unmatched is not None:
            raise ConfigError(f"Error in user declaration '{shown}': Unmatched parenthesis in selector definition")
        draft = User(name, all_channels=self.pubsub_default_all)
        for rule in merged:
            try:
                draft.set_rule(rule, self._commands, pubsub_default_all=self.pubsub_default_all)
            except RuleError as error:
                where = f"Error loading ACL rule '{_redacted(rule)}' for the user '{shown}'"
                raise ConfigError(f"{where}: {error}") from error
        self._configured.add(name)
        if not draft.enabled:
            _log.warning("The user '%s' is disabled: there is no 'on' rule in its declaration", shown)
        existing = self._users.get(name)
        if existing is None:
            self._users[name] = draft
        else:
            self._replace(existing, draft)

    def load(self) -> None:
        """Replace all users by those of the ACL file (ACL LOAD); a default user that is not in it may do everything.

        Connections keep their user when it is still there, with its new rules. Raises CommandError, which lists every
        error of the file, with nothing changed.
        """
        loaded = self._read_file()
        for name in [name for name in self._users if name not in loaded]:
            self.on_removed(self._users.pop(name))
        for name, draft in loaded.items():
            user = self._users.get(name)
            if user is None:
                self._users[name] = draft
            else:
                self._replace(user, draft)

    def _read_file(self) -> dict[bytes, User]:
        if self.file is None:
            raise CommandError(_NO_FILE)
        try:
            loaded = read_users(self.file, self._commands, pubsub_default_all=self.pubsub_default_all)
        except AclFileError as error:
            raise CommandError(b"ERR " + str(error).encode("utf-8", "surrogateescape")) from error
        loaded.setdefault(DEFAULT_USER, _all_powerful_user())
        return loaded

    def save(self) -> None:
        """Write all users to the ACL file (ACL SAVE). Raises CommandError; the file is untouched then."""
        if self.file is None:
            raise CommandError(_NO_FILE)
        try:
            write_users(self.file, self.users())
        except OSError as error:
            _log.warning("Saving the ACL file %s failed: %s", self.file, error)
            raise CommandError(
                b"ERR There was an error trying to save the ACLs. Please check the server logs for more information"
            ) from error


_NO_HASH: Final = hash_password(b"")


def generate_password(bits: int = 256) -> bytes:
    """A random password of `bits` bits (1 to 4096) as lower-case hex digits. Raises CommandError (ACL GENPASS)."""
    if not 0 < bits <= MAX_GENPASS_BITS:
        raise CommandError(
            b"ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to %d"
            % MAX_GENPASS_BITS
        )
    digits = (bits + 3) // 4
    return secrets.token_hex((digits + 1) // 2)[:digits].encode()


def _all_powerful_user() -> User:
    user = User(DEFAULT_USER)
    for rule in (b"on", b"nopass", b"~*", b"&*", b"+@all"):
        user.set_rule(rule, {})
    return user


def _may_lose_channels(old: User, new: User) -> bool:
    if any(selector.all_channels for selector in new.selectors):
        return False
    kept = {pattern for selector in new.selectors for pattern in selector.channel_patterns}
    return any(selector.all_channels or not kept.issuperset(selector.channel_patterns) for selector in old.selectors)


def _redacted(rule: bytes) -> str:
    """The rule for a log or error message: never a password."""
    if rule[:1] in (b">", b"<"):
        return rule[:1].decode() + "(redacted)"
    return rule.decode("utf-8", "surrogateescape")
