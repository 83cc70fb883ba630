"""Writes the generated parts of README.md: the command table and the configuration reference.

    python -m tools.readme

A part stands between `<!-- name:begin -->` and `<!-- name:end -->`; a test keeps the file up to date.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

from diskkv.commands.registry import Command, load_all
from diskkv.config import render_markdown

README = Path(__file__).resolve().parent.parent / "README.md"

_GROUP_TITLES = {
    "string": "Strings",
    "hash": "Hashes",
    "list": "Lists",
    "set": "Sets",
    "sorted-set": "Sorted sets",
    "stream": "Streams",
    "bitmap": "Bitmaps",
    "hyperloglog": "HyperLogLog",
    "geo": "Geospatial",
    "generic": "Keys",
    "pubsub": "Publish and subscribe",
    "transactions": "Transactions",
    "scripting": "Scripts and functions",
    "connection": "Connections",
    "server": "Server",
}


def command_table() -> str:
    """One row for each group: its commands, subcommands in brackets behind their container."""
    order = {group: at for at, group in enumerate(_GROUP_TITLES)}
    commands = sorted(load_all().values(), key=lambda command: (order[command.group], command.name))
    rows = ["| group | commands |", "|---|---|"]
    for group, members in groupby(commands, key=lambda command: command.group):
        names = [_shown(command) for command in members]
        rows.append(f"| {_GROUP_TITLES[group]} ({len(names)}) | {', '.join(names)} |")
    return "\n".join(rows)


def _shown(command: Command) -> str:
    name = command.name.upper()
    if not command.subcommands:
        return name
    return f"{name} ({', '.join(sorted(sub.upper() for sub in command.subcommands if sub != 'help'))})"


PARTS: dict[str, Callable[[], str]] = {"commands": command_table, "configuration": render_markdown}


def render(text: str) -> str:
    """The README with its generated parts made anew. Raises ValueError when a part's markers are missing."""
    for name, generate in PARTS.items():
        pattern = re.compile(rf"(<!-- {name}:begin -->\n).*?(<!-- {name}:end -->)", re.DOTALL)
        if not pattern.search(text):
            message = f"README.md has no part {name}"
            raise ValueError(message)
        content = generate()
        text = pattern.sub(lambda match, content=content: f"{match[1]}{content}\n{match[2]}", text)  # type: ignore[misc]
    return text


def main() -> int:
    """Rewrite README.md in place."""
    README.write_text(render(README.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
