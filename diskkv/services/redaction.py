"""Passwords never appear in MONITOR or SLOWLOG: what is shown of the arguments of commands that carry some."""

from __future__ import annotations

from diskkv.config import BY_NAME
from diskkv.services.renaming import own_name

_HIDDEN = b"(redacted)"


def shown_arguments(argv: list[bytes]) -> list[bytes]:
    """The arguments with secrets replaced; `argv` itself when it has none."""
    hide = _RULES.get(own_name(argv[0]))
    if hide is None:
        return argv
    hidden = hide(argv)
    return [_HIDDEN if at in hidden else argument for at, argument in enumerate(argv)] if hidden else argv


def _all_arguments(argv: list[bytes]) -> set[int]:
    return set(range(1, len(argv)))


def _hello(argv: list[bytes]) -> set[int]:
    """HELLO protover AUTH username password."""
    at = 2
    while at < len(argv):
        if argv[at].upper() == b"AUTH":
            return {at + 1, at + 2}
        at += 2
    return set()


def _migrate(argv: list[bytes]) -> set[int]:
    """MIGRATE ... AUTH password, or AUTH2 username password."""
    for at in range(6, len(argv)):
        option = argv[at].upper()
        if option in (b"AUTH", b"AUTH2"):
            return {at + 1, at + 2} if option == b"AUTH2" else {at + 1}
    return set()


def _config(argv: list[bytes]) -> set[int]:
    """CONFIG SET parameter value ..., where the parameter is a secret."""
    if len(argv) < 4 or argv[1].upper() != b"SET":
        return set()
    return {at + 1 for at in range(2, len(argv), 2) if _is_secret(argv[at].decode("latin-1").lower())}


def _is_secret(name: str) -> bool:
    parameter = BY_NAME.get(name)
    return parameter is not None and parameter.secret


def _acl(argv: list[bytes]) -> set[int]:
    names_users = len(argv) > 1 and argv[1].upper() in (b"SETUSER", b"DELUSER", b"GETUSER")
    return set(range(2, len(argv))) if names_users else set()


_RULES = {b"AUTH": _all_arguments, b"HELLO": _hello, b"MIGRATE": _migrate, b"CONFIG": _config, b"ACL": _acl}
