"""`diskkvctl backups`: the backups in a directory."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from diskkv.engine.backups import BackupDirectory
from diskkv.engine.checkpoint import STORE, verify
from diskkv.errors import ConfigError, CorruptionError
from tools.ctl.output import Columns, Outcome, size

NAME = "backups"
HELP = "list the backups in a directory, and look whether they are whole"
DESCRIPTION = """\
List the backups in a directory with their sizes, and look whether each is whole: every file is there and of the
right size, and the log and the manifest have not changed. `alone` is what removing only this one would free: tables
that are linked from nowhere else. The exit status is 1 when one is not whole.
"""
EPILOG = """\
examples:
  diskkvctl backups /var/lib/diskkv/backups
  diskkvctl backups /mnt/other --prune 7
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of backups."""
    parser.add_argument("directory", type=Path, metavar="DIR", help="the directory of backups")
    parser.add_argument("--prune", type=int, default=0, metavar="N", help="first remove all but the newest N")


def run(options: argparse.Namespace) -> Outcome:
    """One line for each."""
    if not options.directory.is_dir():
        message = f"{options.directory} is not a directory"
        raise ConfigError(message)
    directory = BackupDirectory(options.directory)
    removed = directory.prune(options.prune) if options.prune else []
    rows = [_row(path) for path in directory.checkpoints()]
    table = Columns(["backup", "tables", "size", "alone", "state"])
    table.rows = [
        (row["name"], row["tables"], size(row["size_bytes"]), size(row["alone_bytes"]), row["problem"] or "whole")
        for row in rows
    ]
    lines = [f"removed  {path}" for path in removed] + (table.lines() if rows else ["no backups"])
    data = {"backups": rows, "removed": [str(path) for path in removed]}
    return Outcome(lines, data, 1 if any(row["problem"] for row in rows) else 0)


def _row(path: Path) -> dict[str, Any]:
    row: dict[str, Any] = {"name": path.name, "tables": 0, "size_bytes": 0, "alone_bytes": 0, "problem": None}
    try:
        found = verify(path)
    except CorruptionError as exc:
        row["problem"] = str(exc)
        return row
    row["tables"], row["size_bytes"] = len(found.tables), found.size_bytes
    for file in (path / STORE).iterdir():
        status = file.stat()
        if status.st_nlink == 1:
            row["alone_bytes"] += status.st_size
    return row
