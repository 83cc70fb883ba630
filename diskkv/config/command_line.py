"""The command line of diskkv-server, which is that of redis-server: a file, options, several values to an option."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TextIO

from diskkv import __version__
from diskkv.config.config import Config
from diskkv.config.lines import COMMAND_LINE, Loader, join_words, printable, read_file, split_words
from diskkv.config.reference import render_options
from diskkv.config.settings import BY_NAME, Settings
from diskkv.errors import ConfigError

Action = Literal["run", "check-config", "help", "version"]

_INFORMATION: dict[str, Action] = {"--help": "help", "-h": "help", "--version": "version", "-v": "version"}

USAGE = """\
Usage: diskkv-server [/path/to/redis.conf] [-] [--option value ...]
       diskkv-server --check-config [/path/to/redis.conf] [--option value ...]
       diskkv-server --version | --help

Options come after the file and win over it; "-" reads further lines from standard input. An option can have several
values (--save 900 1 300 10), an empty one (--save ""), and be written as --option=value.

Examples:
       diskkv-server --port 7000 --dir /var/lib/diskkv --appendfsync always
       diskkv-server /etc/diskkv.conf --loglevel verbose
       diskkv-server --dir :memory: --port 0 --unixsocket /run/diskkv.sock
"""


@dataclass(frozen=True, slots=True)
class Invocation:
    """What the command line asks for; `text` is what help or version print, `config` what run and check-config use."""

    action: Action
    config: Config
    text: str = ""


def parse_command_line(arguments: Sequence[str], stdin: TextIO | None = None) -> Invocation:
    """Read the arguments after the program's name, and the configuration file they name.

    Args:
        arguments: As in sys.argv[1:].
        stdin: Read to its end when an argument is ``-``; sys.stdin unless given.

    Raises:
        ConfigError: One line for the operator, with the file and line number or the option.
    """
    if len(arguments) == 1 and arguments[0] in _INFORMATION:
        action = _INFORMATION[arguments[0]]
        return Invocation(action, Config(), help_text() if action == "help" else version_text())
    remaining = [argument for argument in arguments if argument != "--check-config"]
    action = "run" if len(remaining) == len(arguments) else "check-config"
    path = remaining.pop(0) if remaining and not remaining[0].startswith("-") else ""
    from_stdin, options = _parse_options(remaining)
    piped = (stdin or sys.stdin).read() if from_stdin else ""
    config = Config()

    def read(settings: Settings) -> None:
        loader = Loader(settings)
        if path:
            loader.load(read_file(path), path)
        loader.load(piped, "standard input")
        for words in options:
            _apply_option(loader, words)

    def read_again() -> Settings:
        fresh = Settings()
        read(fresh)
        return fresh

    read(config)
    path = os.path.abspath(path) if path else ""
    config.config_file = path
    config.remember_source(read_again)
    return Invocation(action, config)


def version_text() -> str:
    """One line for --version."""
    return f"diskkv-server v={__version__} python={platform.python_version()} bits=64"


def help_text() -> str:
    """Usage and all options, for --help."""
    return f"{USAGE}\nOptions:\n\n{render_options()}"


def _parse_options(arguments: Sequence[str]) -> tuple[bool, list[list[str]]]:
    """Whether standard input is to be read, and each option with its values.

    The word after an option is its value even when it begins with ``--``; only then ``--`` begins the next option.
    """
    from_stdin = False
    options: list[list[str]] = []
    value_expected = False
    for index, argument in enumerate(arguments):
        if argument == "-" and index in (0, len(arguments) - 1):
            from_stdin = True
        elif argument.startswith("--") and not value_expected:
            options.append(_option_words(argument))
            # `--save --port 1`: a lone --save means no snapshots, as for redis-server.
            lone_save = options[-1] == ["save"] and (arguments[index + 1 : index + 2] or ["--"])[0].startswith("--")
            if lone_save:
                options[-1].append("")
            value_expected = len(options[-1]) == 1 and not _takes_no_value(options[-1][0], arguments, index)
        elif not options:
            msg = f"bad argument '{printable(argument)}': options begin with --, and the configuration file comes first"
            raise ConfigError(msg)
        else:
            options[-1].append(argument)
            value_expected = False
    return from_stdin, options


def _takes_no_value(name: str, arguments: Sequence[str], index: int) -> bool:
    """Whether an option without a value is followed by another one: `--bind --port 1`."""
    parameter = BY_NAME.get(name.lower())
    following = arguments[index + 1 : index + 2]
    return (
        parameter is not None
        and parameter.kind.multi_argument
        and bool(following)
        and following[0].startswith("--")
        and following[0][2:].partition("=")[0] in BY_NAME
    )


def _option_words(argument: str) -> list[str]:
    """``--port``, ``--port=7000`` and ``"--port 7000"`` in one argument."""
    text = argument[2:]
    name, equals, value = text.partition("=")
    if equals and name.lower() in BY_NAME:
        return [name, value]
    return split_words(text) or [text]


def _apply_option(loader: Loader, words: list[str]) -> None:
    name = words[0].lower()
    line = join_words(words)
    if name == "include":
        loader.line(line, COMMAND_LINE)
    else:
        loader.words(name, words[1:], f"--{line}", COMMAND_LINE)
