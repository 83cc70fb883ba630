"""`diskkvctl compact`: finish reclaiming what was deleted, then rewrite the tables without it."""

from __future__ import annotations

import argparse
import time

from diskkv.codec.keys import database_range
from diskkv.config import Config
from diskkv.engine.engine import Engine
from diskkv.engine.reclaim import Reclaimer
from tools.ctl.output import Outcome, size
from tools.ctl.stats import files
from tools.ctl.store import add_directory, database, opened, store_path

NAME = "compact"
HELP = "reclaim deleted data and rewrite the tables; takes up to the size of the data in free space"

_SLICE_ROWS = 10_000
_FIRST = b""
_LAST = b"\xff" * 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of compact."""
    add_directory(parser)
    parser.add_argument("--db", type=int, metavar="INDEX", help="only the headers of this database (default: all rows)")


def run(options: argparse.Namespace) -> Outcome:
    """Reclaim, compact, and say what came back."""
    path = store_path(options.dir)
    before = _directory_bytes(options)
    began = time.monotonic()
    with opened(options.dir) as store:
        engine = Engine(store, Config())
        reclaimer = Reclaimer(engine)
        engine.begin(time.time_ns() // 1_000_000)
        while reclaimer.step(_SLICE_ROWS):
            engine.commit()
        engine.commit(sync=True)
        start, stop = (_FIRST, _LAST) if options.db is None else database_range(database(store, options.db).id)
        store.compact(start, stop)
    data = {
        "directory": str(path),
        "reclaimed_rows": reclaimer.reclaimed_rows,
        "before_bytes": before,
        "after_bytes": _directory_bytes(options),
        "seconds": time.monotonic() - began,
    }
    lines = [
        f"reclaimed  {reclaimer.reclaimed_rows:,} rows",
        f"size       {size(before)} -> {size(_directory_bytes(options))}",
        f"time       {data['seconds']:.1f} s",
    ]
    return Outcome(lines, data)


def _directory_bytes(options: argparse.Namespace) -> int:
    return sum(found["size_bytes"] for found in files(store_path(options.dir)).values())
