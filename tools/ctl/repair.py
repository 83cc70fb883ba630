"""`diskkvctl repair`: make a damaged data directory usable again."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from diskkv.codec.keys import HEADER_TAG
from diskkv.engine.backups import checkpoint_name
from diskkv.engine.checkpoint import STORE
from diskkv.engine.leveldb import LevelDBStore
from diskkv.engine.repair import mend_values, repair_store, salvage_logs, save_files
from diskkv.engine.upgrades import require_current, stored_format
from diskkv.errors import ConfigError
from tools.ctl.check import Checker
from tools.ctl.mend import mend
from tools.ctl.output import Outcome

NAME = "repair"
HELP = "make a damaged data directory usable again"
DESCRIPTION = """\
Make a data directory usable again that does not open or fails `diskkvctl check`. Restoring a backup is the better way
when there is one: a repair keeps what can be read, and cannot know what was lost.

It first keeps all files as they are under before-repair-TIME in the data directory (tables are linked). Then it has
LevelDB make a new manifest from all tables and logs that can be read (--mend-only leaves this out), and mends what
follows from other rows: counts of keys, missing expiry entries, leases, headers that do not decode (removed), and
objects that no key has (reclaimed). Last it checks everything; what is still wrong is listed, and the exit status is 1.

LevelDB counts every readable table, also one that had been replaced: rows that were deleted may come back.
"""
EPILOG = """\
examples:
  diskkvctl repair --dir /var/lib/diskkv
  # the rows only, when LevelDB itself opens the directory
  diskkvctl repair --dir /var/lib/diskkv --mend-only
"""

_SHOWN_PROBLEMS = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of repair."""
    parser.add_argument("--dir", type=Path, required=True, help="the server's data directory; no server may use it")
    parser.add_argument("--mend-only", action="store_true", help="do not rebuild LevelDB's files, only mend rows")


def run(options: argparse.Namespace) -> Outcome:
    """Keep, repair, mend, check."""
    store = _damaged_store(options.dir)
    base = store.parent if store.name == STORE else store
    kept = base / f"before-repair-{checkpoint_name(time.time_ns() // 1_000_000)}"
    files = save_files(store, kept / STORE)
    if not options.mend_only:
        repair_store(store)
    mended = mend_values(store) + salvage_logs(store)
    lost = sorted(path.name for path in (store / "lost").glob("*")) if (store / "lost").is_dir() else []
    repaired = LevelDBStore(store, create=False)
    try:
        _require_diskkv(repaired, options.dir)
        mended += mend(repaired)
        checker = Checker(repaired)
        checker.run()
    finally:
        repaired.close()
    data: dict[str, Any] = {
        "kept": str(kept),
        "lost": lost,
        "mended": mended,
        "problem_count": checker.problem_count,
        "problems": checker.problems,
    }
    lines = [f"kept      {files} files in {kept}"]
    if not options.mend_only:
        lines.append(f"lost      {len(lost)} files that could not be read or are of no use now, in {store / 'lost'}")
    lines += [f"mended    {line}" for line in mended] or ["mended    nothing"]
    lines += [f"problem   {line}" for line in checker.problems[:_SHOWN_PROBLEMS]]
    verdict = f"{checker.problem_count} problems" if checker.problem_count else "ok"
    lines.append(f"check     {verdict}, {checker.facts['keys']:,} keys")
    return Outcome(lines, data, 1 if checker.problem_count else 0)


def _require_diskkv(store: LevelDBStore, directory: Path) -> None:
    """The format may be among what was lost; then the rest has to look like diskkv's."""
    version = stored_format(store)
    if version is not None:
        require_current(version, str(directory))
    elif next(iter(store.scan_keys(HEADER_TAG + b"\0", HEADER_TAG + b"\1")), None) is None:
        message = f"{directory} holds a LevelDB database that is not diskkv's"
        raise ConfigError(message)


def _damaged_store(directory: Path) -> Path:
    """Where LevelDB's files are, even if CURRENT is missing."""
    for path in (directory / STORE, directory, *sorted(directory.glob("*/"))):
        if path.is_dir() and any(any(path.glob(pattern)) for pattern in ("CURRENT", "MANIFEST-*", "*.ldb", "*.log")):
            return path
    message = f"{directory} holds no diskkv data"
    raise ConfigError(message)
