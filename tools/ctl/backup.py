"""`diskkvctl backup`: a backup of a live server or of a directory, or a copy of one to another place."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from diskkv.engine.backups import BackupDirectory
from diskkv.engine.checkpoint import STORE, Step, Taken, contents, copy_store, no_step, remove_tree, verify
from diskkv.errors import ConfigError
from tools.ctl import live
from tools.ctl.live import Server
from tools.ctl.output import Bar, Outcome, size
from tools.ctl.store import add_target, opened, store_path

NAME = "backup"
HELP = "make a backup of a running server or of a directory"
DESCRIPTION = """\
Make a backup: a whole data directory as of one instant, named by its time (UTC).

Of a running server (--url): the server makes it as with BGSAVE, under its backup-dir, while clients read and
write. With --to it is then copied to another directory, which has to be done on the server's machine. Of a stopped
server's directory (--dir): it goes to the directory given by --to, or to backups/ in the data directory.

LevelDB's tables never change. Where the file system allows it they are linked, which takes no time and no space;
elsewhere they are copied, but for those that the newest backup in the target directory has already, which are linked
from there. So every backup is complete by itself, and a further one takes as long and as much space as what changed.
"""
EPILOG = """\
examples:
  # the server keeps it, see its backup-dir
  diskkvctl backup --url redis://localhost
  # and a copy on another disk; the last seven stay
  diskkvctl backup --url redis://localhost --to /mnt/other --keep 7
  # of a server that is not running
  diskkvctl backup --dir /var/lib/diskkv --to /mnt/other
"""

_POLL_S = 0.02
_LOCAL_KEEP = 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of backup."""
    add_target(parser)
    parser.add_argument("--to", type=Path, metavar="DIR", help="directory of backups to put it into")
    parser.add_argument(
        "--keep", type=int, default=_LOCAL_KEEP, metavar="N", help="remove all but the newest N backups there (0: none)"
    )
    parser.add_argument("--copy", action="store_true", help="share no tables with the source, only with older backups")


def run(options: argparse.Namespace) -> Outcome:
    """Make it; the outcome names it and what it took."""
    began_s = time.monotonic()
    at_ms = time.time_ns() // 1_000_000
    if options.url is None:
        target = BackupDirectory(options.to or store_path(options.dir).parent / "backups")
        with opened(options.dir) as store:

            def fill(place: Path, earlier: Path | None) -> Taken:
                if not options.copy:
                    return store.checkpoint(place, earlier)
                return _copied(store.path, store.checkpoint, place, earlier)

            path, taken = target.make(fill, at_ms, options.keep, {})
    else:
        made = make_live(options.url)
        if options.to is None:
            path, taken = made, _taken_live(made)
        else:
            path, taken = _copy_made(made, options, at_ms)
    return _outcome(path, taken, time.monotonic() - began_s)


def make_live(url: str) -> Path:
    """Have a server make a backup; answers its path on the server's machine. Raises ConfigError."""
    with live.connected(url) as server:
        before = _persistence(server)
        if not before["backup_directory"]:
            message = "the server keeps its data in memory: there is nothing to back up"
            raise ConfigError(message)
        while not _begun(server):
            _wait(server)
        found = _wait(server)
    if found["rdb_last_bgsave_status"] != "ok" or not found["backup_last"]:
        message = "the server could not make a backup; its log says why"
        raise ConfigError(message)
    return Path(found["backup_last"])


def _persistence(server: Server) -> dict[str, str]:
    found = server.info("persistence")
    if "backup_directory" not in found:
        message = "the server is not diskkv, or an old version: it cannot make a backup"
        raise ConfigError(message)
    return found


def _begun(server: Server) -> bool:
    """Whether a backup was begun; False when another one is under way."""
    try:
        server.call("BGSAVE")
    except live.CommandFailed as exc:
        if "in progress" in str(exc):
            return False
        raise
    return True


def _wait(server: Server) -> dict[str, str]:
    while (found := _persistence(server))["rdb_bgsave_in_progress"] == "1":
        time.sleep(_POLL_S)
    return found


def _taken_live(path: Path) -> Taken:
    """What the server's backup is, when this is its machine."""
    if not path.is_dir():
        return Taken()
    found = contents(path / STORE)
    return Taken(len(found.tables), found.size_bytes)


def _copy_made(made: Path, options: argparse.Namespace, at_ms: int) -> tuple[Path, Taken]:
    if not made.is_dir():
        message = f"the server made {made}, which is not on this machine: run diskkvctl there, or copy it yourself"
        raise ConfigError(message)
    found = verify(made)

    def fill(place: Path, earlier: Path | None) -> Taken:
        with Bar("copied", found.size_bytes) as bar:
            return copy_store(made / STORE, place, earlier, not options.copy, bar.advance)

    return BackupDirectory(options.to).make(fill, at_ms, options.keep, {"copy_of": made.name})


def _copied(source: Path, checkpoint: Any, place: Path, earlier: Path | None, step: Step = no_step) -> Taken:
    """As a checkpoint, but no table is shared with the source."""
    links = source.parent / f".checkpoint-{place.parent.name}"
    checkpoint(links)
    try:
        return copy_store(links, place, earlier, False, step)
    finally:
        remove_tree(links)


def _outcome(path: Path, taken: Taken, seconds: float) -> Outcome:
    data = {"path": str(path), **vars(taken), "seconds": seconds}
    lines = [f"backup  {path}"]
    if taken.size_bytes:
        lines += [
            f"size    {size(taken.size_bytes)} in {taken.tables} tables",
            f"copied  {size(taken.copied_bytes)} in {taken.copied_tables} tables; the others are links",
        ]
    return Outcome([*lines, f"time    {seconds:.2f} s"], data)
