"""The directive rename-command: commands under other names, or under none.

Access control, statistics, COMMAND INFO and error messages go on to use a command's own name, as in Redis.

Source: https://redis.io/docs/latest/operate/oss_and_stack/management/security/
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from diskkv.commands.registry import TABLE, Command, Handler
from diskkv.errors import ConfigError
from diskkv.services.renaming import ALIASES


def rename_commands(directives: Iterable[tuple[str, ...]]) -> None:
    """Apply pairs of old and new name to the command table; an empty new name disables the command.

    Raises:
        ConfigError: There is no command of the old name, or already one of the new name.
    """
    for old, new in directives:
        entry = TABLE.get(old.lower())
        if entry is None:
            message = f"rename-command {old}: No such command in rename-command"
            raise ConfigError(message)
        if new and new.lower() in TABLE:
            message = f"rename-command {old} {new}: Target command name already exists"
            raise ConfigError(message)
        del TABLE[old.lower()]
        if new:
            _put(entry, new)


def _put(entry: Command, new: str) -> None:
    TABLE[new.lower()] = entry
    own = entry.name.upper().encode()
    ALIASES[new.encode("utf-8", "surrogateescape").upper()] = own
    for each in (entry, *entry.subcommands.values()):
        each.fn = _named(each.fn, own)


def _named(function: Handler, own: bytes) -> Handler:
    """The function, called with the command's own name: some tell by it what to do."""

    def call(client: Any, argv: list[bytes]) -> Any:
        return function(client, [own, *argv[1:]])

    return call
