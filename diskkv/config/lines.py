"""redis.conf syntax: reading files and command-line options into settings, and writing lines."""

from __future__ import annotations

import difflib
import errno
import glob
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from diskkv.config.parameters import Parameter
from diskkv.config.settings import BY_NAME, IN_MEMORY_DIRECTORY, Settings, absolute_directory
from diskkv.errors import ConfigError
from diskkv.resp.inline import split_inline

MAX_INCLUDE_DEPTH: Final = 16
_MAX_FILE_BYTES: Final = 16 << 20
_BLANK = " \t\r\n"
_PLAIN_WORD = re.compile(r"[^\s\"'#\\\x00-\x1f\x7f-\x9f\udc80-\udcff][^\s\"'\\\x00-\x1f\x7f-\x9f\udc80-\udcff]*")
_ESCAPED = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\a": "\\a", "\b": "\\b"}

OBSOLETE: Final = frozenset(
    {
        "aof-disable-auto-gc",
        "io-threads-do-reads",
        "list-max-ziplist-entries",
        "list-max-ziplist-value",
        "lua-replicate-commands",
    }
)
"""Names in old configuration files that are skipped: current versions of Redis know them no more."""

REFUSED: Final = {
    "loadmodule": "modules cannot be loaded",
    "loadmodule-ex": "modules cannot be loaded",
    "sentinel": "diskkv is no sentinel",
}
"""Directives of redis.conf that would be wrong to skip, and why."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a line comes from, for messages."""

    path: str
    number: int


COMMAND_LINE: Final = Origin("", 0)


def split_words(line: str) -> list[str] | None:
    """The words of one line without its comment rules, or None when quotes are not balanced."""
    words = split_inline(line.encode("utf-8", "surrogateescape"))
    return None if words is None else [word.decode("utf-8", "surrogateescape") for word in words]


def quote(word: str) -> str:
    """`word` as it stands in a line: with double quotes and escapes where they are needed."""
    if _PLAIN_WORD.fullmatch(word) and word.isprintable():
        return word
    return '"' + "".join(_escape(character) for character in word) + '"'


def join_words(words: Sequence[str]) -> str:
    """The line with these words; inverse of `split_words`."""
    return " ".join(map(quote, words))


def read_file(path: str) -> str:
    """The text of a configuration file.

    Raises:
        ConfigError: It cannot be read, or is larger than any configuration.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        msg = f"can't open config file '{path}': {error.strerror}"
        raise ConfigError(msg) from error
    if len(data) > _MAX_FILE_BYTES:
        msg = f"config file '{path}' is larger than {_MAX_FILE_BYTES >> 20} MB"
        raise ConfigError(msg)
    return data.decode("utf-8", "surrogateescape")


def load_file(settings: Settings, path: str) -> None:
    """Apply a configuration file and what it includes; ConfigError names the file and the line."""
    Loader(settings).load(read_file(path), path)


class Loader:
    """Applies lines to settings.

    `save` is special, as in Redis: the first line replaces the default, further lines add to it.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._changed: set[str] = set()

    def load(self, text: str, path: str, depth: int = 0) -> None:
        """Apply every line of `text`; `path` is for messages and for relative includes."""
        for number, raw in enumerate(text.split("\n"), 1):
            line = raw.strip(_BLANK)
            if line and not line.startswith("#"):
                self.line(line, Origin(path, number), depth)

    def line(self, line: str, origin: Origin, depth: int = 0) -> None:
        """Apply one line that is not blank."""
        words = split_words(line)
        if words is None:
            raise failure(origin, _without_secrets(line, origin), "Unbalanced quotes in configuration line")
        if not words:
            return
        name = words[0].lower()
        if name == "include":
            self._include(words[1:], line, origin, depth)
        else:
            self.words(name, words[1:], line, origin)

    def words(self, name: str, arguments: Sequence[str], line: str, origin: Origin) -> None:
        """Apply one parameter to its arguments."""
        if name in OBSOLETE:
            return
        parameter = BY_NAME.get(name)
        if parameter is None:
            raise failure(origin, line, REFUSED.get(name) or f"unknown option{_suggestion(name)}")
        try:
            if not arguments and not parameter.kind.multi_argument:
                raise ConfigError(_WRONG_NUMBER)
            self._assign(parameter, arguments)
        except ConfigError as error:
            raise failure(origin, _without_secrets(line, origin), str(error)) from None

    def _assign(self, parameter: Parameter, arguments: Sequence[str]) -> None:
        if len(arguments) > 1 and not parameter.kind.multi_argument:
            raise ConfigError(_WRONG_NUMBER)
        current = getattr(self.settings, parameter.attribute)
        if parameter.attribute == "save" and "save" not in self._changed:
            current = ()
        self._changed.add(parameter.attribute)
        setattr(self.settings, parameter.attribute, read_value(parameter, arguments, current))
        self.settings.given.add(parameter.attribute)

    def _include(self, arguments: Sequence[str], line: str, origin: Origin, depth: int) -> None:
        if len(arguments) != 1:
            raise failure(origin, line, _WRONG_NUMBER)
        if depth >= MAX_INCLUDE_DEPTH:
            raise failure(origin, line, f"more than {MAX_INCLUDE_DEPTH} nested includes")
        pattern = arguments[0]
        # As in Redis a pattern may match nothing, a plain name must exist.
        paths = sorted(glob.glob(pattern)) if glob.has_magic(pattern) else [pattern]
        for path in paths:
            try:
                text = read_file(path)
            except ConfigError as error:
                raise failure(origin, line, str(error)) from None
            self.load(text, path, depth + 1)


def read_value(parameter: Parameter, arguments: Sequence[str], current: object) -> object:
    """The value that `arguments` give a parameter, with the checks that concern more than its type."""
    value = parameter.kind.read(arguments, current)
    check = _CHECKS.get(parameter.attribute)
    return check(value) if check else value


def failure(origin: Origin, line: str, reason: str) -> ConfigError:
    """The error for one line."""
    if origin == COMMAND_LINE:
        return ConfigError(f"*** FATAL OPTION ERROR *** '{printable(line)}': {reason}")
    return ConfigError(
        f"*** FATAL CONFIG FILE ERROR *** {origin.path}, line {origin.number}: '{printable(line)}': {reason}"
    )


def _without_secrets(line: str, origin: Origin) -> str:
    """`line`, or only its first word when the rest may contain a password."""
    first = line.split(maxsplit=1)[0]
    parameter = BY_NAME.get((first[2:] if origin == COMMAND_LINE else first).lower())
    return first if parameter is not None and (parameter.secret or parameter.attribute == "user") else line


def printable(text: str) -> str:
    """`text` with control characters and undecodable bytes escaped, for messages of one line."""
    return "".join(c if c.isprintable() else _escape(c) for c in text)


_WRONG_NUMBER = "wrong number of arguments"


def _check_directory(path: object) -> str:
    path = str(path)
    if not path:
        raise ConfigError(os.strerror(errno.ENOENT))
    if path != IN_MEMORY_DIRECTORY and os.path.exists(path) and not os.path.isdir(path):
        raise ConfigError(os.strerror(errno.ENOTDIR))
    return absolute_directory(path)


def _check_cluster(value: object) -> bool:
    if value:
        msg = "diskkv has no cluster mode"
        raise ConfigError(msg)
    return False


def _check_title(value: object) -> str:
    known = ("title", "listen-addr", "server-mode", "port", "tls-port", "unixsocket", "config-file")
    text = str(value)
    for name in known:
        text = text.replace("{" + name + "}", "")
    if not value or "{" in text or "}" in text:
        msg = "template format is invalid or contains unknown variables"
        raise ConfigError(msg)
    return str(value)


_CHECKS: dict[str, Callable[[object], object]] = {
    "dir": _check_directory,
    "cluster_enabled": _check_cluster,
    "proc_title_template": _check_title,
}


def _escape(character: str) -> str:
    if character in _ESCAPED:
        return _ESCAPED[character]
    if character.isprintable():
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))


def _suggestion(name: str) -> str:
    close = difflib.get_close_matches(name.replace("_", "-"), BY_NAME, n=1)
    return f", did you mean '{close[0]}'?" if close else ""
