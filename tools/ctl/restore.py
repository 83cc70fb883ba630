"""`diskkvctl restore`: a new data directory from a backup."""

from __future__ import annotations

import argparse
import contextlib
import time
from pathlib import Path
from typing import Any

from diskkv.engine.backups import BackupDirectory
from diskkv.engine.checkpoint import STORE, Contents, copy_store, remove_tree, sync_path, verify
from diskkv.errors import ConfigError, CorruptionError
from tools.ctl.check import Checker
from tools.ctl.output import Bar, Outcome, Progress, size
from tools.ctl.store import databases, opened

NAME = "restore"
HELP = "make a new data directory from a backup"
DESCRIPTION = """\
Make a new data directory from a backup, and prove that it can be used: every file of the backup is there and of the
right size, the copy opens, and every row of it is read with its checksum (not with --quick).

The new directory must not exist or be empty, and the backup is left as it is. Start a server on the new directory:
diskkv-server --dir NEW.
"""
EPILOG = """\
examples:
  # this one
  diskkvctl restore /mnt/other/20260131T235959.123Z --dir /var/lib/diskkv
  # the newest one there
  diskkvctl restore /mnt/other --dir /var/lib/diskkv
  # to look into it: no copy, no time
  diskkvctl restore /mnt/other --dir /tmp/try --link --quick
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of restore."""
    parser.add_argument("backup", type=Path, help="a backup, or a directory of backups for its newest")
    parser.add_argument("--dir", type=Path, required=True, metavar="NEW", help="the data directory to make")
    parser.add_argument("--link", action="store_true", help="share tables with the backup where that is possible")
    parser.add_argument("--quick", action="store_true", help="do not read every row of the copy")
    parser.add_argument("--check", action="store_true", help="also check every invariant, as `diskkvctl check` does")


def run(options: argparse.Namespace) -> Outcome:
    """Restore and verify. Whatever fails, nothing is left behind."""
    began_s = time.monotonic()
    backup = find(options.backup)
    found = verify(backup)
    target: Path = options.dir
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        message = f"{target} is not empty; nothing was changed"
        raise ConfigError(message)
    existed = target.is_dir()
    try:
        target.mkdir(parents=True, exist_ok=True)
        _copy(backup, target, found, options.link)
        facts = _prove(target, options)
    except BaseException:
        with contextlib.suppress(OSError):
            for path in target.iterdir() if existed else [target]:
                remove_tree(path)
        raise
    data: dict[str, Any] = {
        "backup": str(backup),
        "directory": str(target),
        "size_bytes": found.size_bytes,
        **facts,
        "seconds": time.monotonic() - began_s,
    }
    lines = [f"restored  {backup}", f"into      {target}", f"size      {size(found.size_bytes)}"]
    lines += [f"keys      {facts['keys']:,}"]
    if not options.quick:
        lines.append(f"read      {facts['rows']:,} rows, all sound")
    if options.check:
        lines.append("check     ok")
    return Outcome([*lines, f"time      {data['seconds']:.2f} s"], data)


def find(path: Path) -> Path:
    """The backup at `path`, or the newest one in it. Raises ConfigError."""
    if (path / STORE).is_dir():
        return path
    found = BackupDirectory(path).checkpoints()
    if not found:
        message = f"{path} is no backup and holds none"
        raise ConfigError(message)
    return found[-1]


def _copy(backup: Path, target: Path, found: Contents, link: bool) -> None:
    unfinished = target / f"{STORE}.unfinished"
    with Bar("copied", found.size_bytes) as bar:
        copy_store(backup / STORE, unfinished, None, link, bar.advance)
    unfinished.rename(target / STORE)
    sync_path(target)
    sync_path(target.parent)


def _prove(target: Path, options: argparse.Namespace) -> dict[str, int]:
    """Open the new directory, and look into it as far as is wanted. Raises CorruptionError."""
    with opened(target) as store:
        facts = {"keys": sum(entry.keys for entry in databases(store))}
        if not options.quick:
            facts["rows"] = store.verify(Progress("read").count)
        if options.check:
            checker = Checker(store)
            checker.run()
            if checker.problem_count:
                message = f"the backup has {checker.problem_count} problems; the first: {checker.problems[0]}"
                raise CorruptionError(message)
    return facts
