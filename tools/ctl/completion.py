"""`diskkvctl completion`: lets a shell complete sub-commands and options."""

from __future__ import annotations

import argparse
from pathlib import Path

import shtab

from tools.ctl.output import Outcome

NAME = "completion"
HELP = "print a script that lets a shell complete sub-commands and options"
DESCRIPTION = """\
Print a script for the shell. Load it once to try, or keep it where the shell looks.
"""
EPILOG = """\
examples:
  # bash, for this session
  eval "$(diskkvctl completion bash)"
  # bash, for good
  diskkvctl completion bash > /etc/bash_completion.d/diskkvctl
  # zsh: a directory of $fpath
  diskkvctl completion zsh > ~/.zfunc/_diskkvctl
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of completion."""
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"))


def run(options: argparse.Namespace) -> Outcome:
    """The script."""
    _complete_paths(options.parser)
    script = shtab.complete(options.parser, options.shell)
    return Outcome(script.rstrip("\n").splitlines(), {"shell": options.shell, "script": script})


def _complete_paths(parser: argparse.ArgumentParser) -> None:
    """Have every argument that is a path completed as one."""
    for action in parser._actions:
        if action.type is Path:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                _complete_paths(command)
