"""Users in an ACL file: reading all of it or nothing, and replacing it atomically."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from diskkv.services.acl.rules import CommandTable, RuleError, has_spaces, merge_selectors
from diskkv.services.acl.user import User

_NOTHING_CHANGED = "WARNING: ACL errors detected, no change to the previously active ACL rules was performed"


class AclFileError(Exception):
    """An ACL file that cannot be read or has bad lines; the message names each of them."""


def read_users(path: Path, table: CommandTable, *, pubsub_default_all: bool) -> dict[bytes, User]:
    """The users of an ACL file, by name. Raises AclFileError, which lists the errors of all lines."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise AclFileError(f"Error loading ACLs, opening file '{path}': {error.strerror}") from error
    users: dict[bytes, User] = {}
    errors: list[str] = []
    for number, line in enumerate(content.split(b"\n"), 1):
        line = line.strip(b" \t\r\n")
        if line:
            errors += _read_line(line, f"{path}:{number}", number, users, table, pubsub_default_all)
    if errors:
        raise AclFileError("".join(errors) + _NOTHING_CHANGED)
    return users


def _read_line(
    line: bytes, place: str, number: int, users: dict[bytes, User], table: CommandTable, pubsub_default_all: bool
) -> Iterable[str]:
    keyword, *words = line.split(b" ")
    if keyword != b"user" or not words:
        yield f"{place} should start with user keyword followed by the username. "
        return
    name, *rules = words
    if has_spaces(name):
        yield f"'{place}: username '{_text(name)}' contains invalid characters. "
        return
    if name in users:
        yield f"WARNING: Duplicate user '{_text(name)}' found on line {number}. "
        return
    users[name] = user = User(name, all_channels=pubsub_default_all)
    merged, unmatched = merge_selectors(rules)
    if unmatched is not None:
        yield f"{place}: Unmatched parenthesis in selector definition."
        return
    has_error = False
    for rule in merged:
        rule = rule.strip(b"\t\r\n")
        try:
            user.set_rule(rule, table, pubsub_default_all=pubsub_default_all)
        except RuleError as error:
            if error.is_unknown_name:
                yield f"{place}: Error in applying operation '{_text(rule)}': {error}. "
            elif not has_error:
                has_error = True
                yield f"{place}: {error}. "


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def write_users(path: Path, users: Iterable[User]) -> None:
    """Replace an ACL file by one with these users: after a crash it is either the old or the new one.

    Raises OSError; the old file is untouched then.
    """
    content = b"".join(b"user %b %b\n" % (user.name, user.describe()) for user in users)
    temporary = path.with_name(f"{path.name}.tmp-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        # Password hashes are in it: for the owner only, but never wider or narrower than the file it replaces.
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
