"""`diskkvctl compact`: finish reclaiming what was deleted, then rewrite the tables without it."""

from __future__ import annotations

import argparse
import os
import time

from diskkv.codec.keys import database_range, header_prefix, prefix_successor
from diskkv.config import Config
from diskkv.engine.engine import Engine
from diskkv.engine.leveldb import LevelDBStore
from diskkv.engine.reclaim import Reclaimer
from diskkv.errors import ConfigError
from tools.ctl import live
from tools.ctl.output import Outcome, size
from tools.ctl.stats import files
from tools.ctl.store import add_target, database, opened, store_path

NAME = "compact"
HELP = "give back the space of deleted data now"
DESCRIPTION = """\
Finish reclaiming what was deleted, then rewrite LevelDB's tables without it. That takes up to the size of the data in
free space, and reads and writes all of it, or the headers of one database or prefix. A server does it in the
background (COMPACT) while it serves clients; diskkvctl waits for the end.
"""
EPILOG = """\
examples:
  diskkvctl compact --dir data
  diskkvctl compact --url redis://localhost --io-limit 20mb
"""

_SLICE_ROWS = 10_000
_FIRST = b""
_LAST = b"\xff" * 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of compact."""
    add_target(parser)
    parser.add_argument("--db", type=int, metavar="INDEX", help="only the headers of this database (default: all rows)")
    parser.add_argument("--prefix", type=os.fsencode, default=b"", help="only the headers of keys that start with this")
    parser.add_argument("--io-limit", metavar="SIZE", help="bytes a second to read and write (with --url)")


def run(options: argparse.Namespace) -> Outcome:
    """Reclaim, compact, and say what came back."""
    if options.url is not None:
        return _live(options)
    if options.io_limit:
        message = "--io-limit is for a running server: in a directory nothing else is held up"
        raise ConfigError(message)
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
        store.compact(*_range(store, options))
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


def _range(store: LevelDBStore, options: argparse.Namespace) -> tuple[bytes, bytes]:
    if options.db is None and not options.prefix:
        return _FIRST, _LAST
    db_id = database(store, options.db or 0).id
    if not options.prefix:
        return database_range(db_id)
    start = header_prefix(db_id) + options.prefix
    return start, prefix_successor(start)


def _live(options: argparse.Namespace) -> Outcome:
    command: list[bytes | str | int] = ["COMPACT"]
    if options.db is not None:
        command += ["DB", options.db]
    if options.prefix:
        command += ["PREFIX", options.prefix]
    if options.io_limit:
        command += ["IOLIMIT", options.io_limit]
    began = time.monotonic()
    with live.connected(options.url, timeout_s=None) as server:
        before = _leveldb_mb(server)
        server.call(*command, "WAIT")
        after = _leveldb_mb(server)
    data = {"before_mb": before, "after_mb": after, "seconds": time.monotonic() - began}
    lines = [f"tables     {before} MB -> {after} MB", f"time       {data['seconds']:.1f} s"]
    return Outcome(lines, data)


def _leveldb_mb(server: live.Server) -> int:
    return int(server.info("leveldb").get("leveldb_size_mb", 0))


def _directory_bytes(options: argparse.Namespace) -> int:
    return sum(found["size_bytes"] for found in files(store_path(options.dir)).values())
