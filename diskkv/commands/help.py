"""What the HELP subcommands answer."""

from __future__ import annotations

from diskkv.resp.reply import array, simple


def help_reply(command: str, *lines: str) -> bytes:
    """The subcommands of `command`: each line without indentation is a subcommand, the others tell about it."""
    text = [
        f"{command} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        *lines,
        "HELP",
        "    This text.",
    ]
    return array([simple(line.encode()) for line in text])
