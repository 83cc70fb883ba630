"""`diskkvctl upgrade`: bring a data directory to this version's on-disk format."""

from __future__ import annotations

import argparse
import sys
import time

from diskkv.codec import keys
from diskkv.engine import upgrades
from diskkv.engine.backups import BackupDirectory
from diskkv.errors import ConfigError
from tools.ctl.output import Outcome
from tools.ctl.store import add_directory, opened, store_path

NAME = "upgrade"
HELP = "bring a data directory to this version's on-disk format"
DESCRIPTION = """\
Bring the data directory of a stopped server to the on-disk format of this version. A server says when that is needed:
it refuses the directory. First a backup is made under backups/ in the data directory (links, so it takes no time), to
which one can go back with the old version.

When the format is current already, nothing is done. An upgrade that was interrupted goes on where it stopped.
"""
EPILOG = """\
examples:
  diskkvctl upgrade --dir /var/lib/diskkv
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of upgrade."""
    add_directory(parser)
    parser.add_argument("--no-backup", action="store_true", help="make no backup first")


def run(options: argparse.Namespace) -> Outcome:
    """Back up and upgrade."""
    current = keys.FORMAT_VERSION
    with opened(options.dir, any_format=True) as store:
        stored = upgrades.stored_format(store) or 0
        version = stored & ~upgrades.UPGRADING
        if version > current:
            message = f"{options.dir} has format {version}; this version of diskkv knows formats up to {current}"
            raise ConfigError(message)
        data: dict[str, object] = {"format": current, "was": version, "backup": None, "steps": []}
        if version == current:
            return Outcome([f"format {version} is current; nothing to do"], data)
        upgrades.missing_steps(version, current, upgrades.STEPS)
        lines = [f"format  {version} -> {current}"]
        # One that was interrupted has its backup.
        if stored == version and not options.no_backup:
            target = BackupDirectory(store_path(options.dir).parent / "backups")
            at_ms = time.time_ns() // 1_000_000
            path, _ = target.make(store.checkpoint, at_ms, 0, {"format": version})
            data["backup"] = str(path)
            lines.append(f"backup  {path}")
        data["steps"] = upgrades.upgrade(store, current, upgrades.STEPS, _tell)
        store.compact(b"", b"\xff" * 8)
    return Outcome(lines, data)


def _tell(number: int) -> None:
    print(f"upgrading from format {number} to {number + 1}", file=sys.stderr, flush=True)
