"""The operator's command line for diskkv: data directories, running servers, backups."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

if __package__ in {None, ""}:  # run as a file: tools/ is on the path, its parent is not
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from diskkv import __version__
from diskkv.errors import ConfigError, StorageError
from tools.ctl import (
    backup,
    backups,
    bigkeys,
    check,
    compact,
    completion,
    diskusage,
    exporting,
    hexdump,
    importing,
    inspect,
    repair,
    restore,
    scan,
    stats,
    upgrade,
)

COMMANDS = (
    stats, scan, inspect, bigkeys, diskusage, hexdump, check, repair, compact, backup, backups, restore, upgrade,
    importing, exporting, completion,
)  # fmt: skip


EXIT_STATUS = """\
exit status:
  0  done
  1  it found problems, or could not run: one line on standard error says why
  2  wrong usage
"""


class Paragraphs(argparse.HelpFormatter):
    """Folds paragraphs to the width of the terminal; those that have indented lines stay as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        fold = super()._fill_text
        parts = text.strip().split("\n\n")
        return "\n\n".join(part if "\n  " in part else fold(part, width, indent) for part in parts)


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="diskkvctl", description=__doc__, epilog=EXIT_STATUS, formatter_class=Paragraphs
    )
    parser.add_argument("--version", action="version", version=f"diskkvctl {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in COMMANDS:
        command = commands.add_parser(
            module.NAME,
            aliases=getattr(module, "ALIASES", ()),
            help=module.HELP,
            description=getattr(module, "DESCRIPTION", module.HELP),
            epilog=f"{getattr(module, 'EPILOG', '')}\n{EXIT_STATUS}",
            formatter_class=Paragraphs,
        )
        module.add_arguments(command)
        command.add_argument("--json", action="store_true", help="print JSON")
        command.set_defaults(run=module.run, parser=parser)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run one command. 0: done; 1: it found problems or could not run (one line on standard error); 2: bad usage."""
    options = build_parser().parse_args(arguments)
    try:
        outcome = options.run(options)
    except (ConfigError, StorageError, OSError) as error:
        print(f"diskkvctl: {error}", file=sys.stderr)
        return 1
    try:
        text = json.dumps(outcome.data, indent=1) if options.json else "\n".join(outcome.lines)
        print(text, file=sys.stderr if outcome.took_output else sys.stdout, flush=True)
    except BrokenPipeError:
        # The reader (head, less) has seen enough; Python would complain once more when it closes standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    status: int = outcome.status
    return status


if __name__ == "__main__":
    sys.exit(main())
