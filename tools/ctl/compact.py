"""`diskkvctl compact`: finish reclaiming what was deleted, then rewrite the tables without it."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from typing import Any

from diskkv.codec.header import Header
from diskkv.codec.keys import database_range, header_prefix, object_range, prefix_successor
from diskkv.codec.numbers import parse_memory
from diskkv.config import BY_NAME, Config
from diskkv.engine.engine import Engine
from diskkv.engine.leveldb import LevelDBStore
from diskkv.engine.reclaim import Reclaimer
from diskkv.errors import ConfigError
from diskkv.services.compaction import PIECE_BYTES, WHOLE, Range, in_window, join_objects
from tools.ctl import live
from tools.ctl.live import Server
from tools.ctl.output import Outcome, size
from tools.ctl.stats import files, parse_levels
from tools.ctl.store import add_target, database, headers, opened, store_path

NAME = "compact"
HELP = "give back the space of what was deleted"
DESCRIPTION = """\
Give back the space of what was deleted or overwritten, by rewriting LevelDB's tables; this takes free space meanwhile,
at most as much as the data has.

Of a running server (--url): with its COMPACT command, while it serves clients. Of a stopped server's directory (--dir):
at once. A daily compaction of a running server is its parameter compaction-window.
"""
EPILOG = """\
examples:
  diskkvctl compact --dir /var/lib/diskkv
  # 20 MB/s at most, and only at night, if need be in several nights
  diskkvctl compact --dir /var/lib/diskkv --io-limit 20mb --window 01:00-05:00
  # the keys session:* of database 2
  diskkvctl compact --url redis://localhost --db 2 --prefix session:
"""

_SLICE_ROWS = 10_000
_POLL_S = 0.2
_WINDOW_POLL_S = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of compact."""
    add_target(parser)
    parser.add_argument("--db", type=int, metavar="INDEX", help="only this database (default: all rows)")
    add = parser.add_argument
    add("--prefix", metavar="PREFIX", help="only keys that begin so, of database 0 unless --db is given")
    add("--io-limit", type=_bytes_per_s, default=0, metavar="BYTES", help="write so much a second at most")
    add("--window", type=_window, default="", metavar="HH:MM-HH:MM", help="only at this time of the day")


def _bytes_per_s(text: str) -> int:
    try:
        return parse_memory(text)
    except ValueError:
        message = f"{text!r} is no number of bytes such as 20mb"
        raise argparse.ArgumentTypeError(message) from None


def _window(text: str) -> str:
    try:
        found: str = BY_NAME["compaction-window"].kind.parse(text)
    except ConfigError:
        message = f"{text!r} is no time window such as 01:00-05:00"
        raise argparse.ArgumentTypeError(message) from None
    return found


def run(options: argparse.Namespace) -> Outcome:
    """Reclaim, compact, and say what came back."""
    if options.url is not None:
        with live.connected(options.url) as server:
            return _run_live(server, options)
    before = _directory_bytes(options)
    began = time.monotonic()
    with opened(options.dir) as store:
        engine = Engine(store, Config())
        reclaimer = Reclaimer(engine)
        engine.begin(time.time_ns() // 1_000_000)
        while reclaimer.step(_SLICE_ROWS):
            engine.commit()
        engine.commit(sync=True)
        compact_ranges(store, _ranges(store, options), options.io_limit, options.window)
    data = {
        "directory": str(store_path(options.dir)),
        "reclaimed_rows": reclaimer.reclaimed_rows,
        "before_bytes": before,
        "after_bytes": _directory_bytes(options),
        "seconds": time.monotonic() - began,
    }
    return _outcome(data)


def _outcome(data: dict[str, Any]) -> Outcome:
    lines = [
        f"reclaimed  {data['reclaimed_rows']:,} rows",
        f"size       {size(data['before_bytes'])} -> {size(data['after_bytes'])}",
        f"time       {data['seconds']:.1f} s",
    ]
    return Outcome(lines, data)


def _ranges(store: LevelDBStore, options: argparse.Namespace) -> list[Range]:
    """The rows to compact: headers, and the rows of their big values."""
    if options.db is None and options.prefix is None:
        return [WHOLE]
    ident = database(store, options.db or 0).id
    prefix = (options.prefix or "").encode("utf-8", "surrogateescape")
    start, stop = database_range(ident)
    if prefix:
        start = header_prefix(ident) + prefix
        stop = prefix_successor(start)
    values = (value for _, _, value in headers(store, ident, prefix))
    oids = sorted(value.oid for value in values if isinstance(value, Header) and value.oid)
    return [(start, stop), *((object_range(first)[0], object_range(last)[1]) for first, last in join_objects(oids))]


def compact_ranges(
    store: LevelDBStore,
    ranges: list[Range],
    io_limit: int,
    window: str,
    now: Callable[[], datetime] = datetime.now,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Compact piece after piece, within `io_limit` bytes per second (0: no limit) and a window of the day (or "")."""
    for start, stop in ranges:
        for piece in pairwise([start, *store.split_keys(start, stop, PIECE_BYTES), stop]):
            while window and not in_window(window, now()):
                sleep(_WINDOW_POLL_S)
            before_mib = _written_mib(store)
            began_s = time.monotonic()
            store.compact(*piece)
            if io_limit:
                allowed_s = (_written_mib(store) - before_mib) * (1 << 20) / io_limit
                sleep(max(0.0, allowed_s - (time.monotonic() - began_s)))


def _written_mib(store: LevelDBStore) -> float:
    return sum(level["written_mib"] for level in parse_levels(store.property("leveldb.stats") or ""))


def _run_live(server: Server, options: argparse.Namespace) -> Outcome:
    """Have the server do it, and wait for the end. At the end of the window it is stopped."""
    request: list[bytes | str | int] = ["COMPACT"]
    if options.db is not None:
        request += ["DB", options.db]
    if options.prefix is not None:
        request += ["PREFIX", options.prefix.encode("utf-8", "surrogateescape")]
    if options.io_limit:
        request += ["IOLIMIT", options.io_limit]
    while options.window and not in_window(options.window, datetime.now()):
        time.sleep(_WINDOW_POLL_S)
    began = time.monotonic()
    info = server.info("leveldb", "reclaim")
    before = {name: int(info.get(name, 0)) for name in ("leveldb_size_mb", "reclaimed_rows", "compactions_completed")}
    server.call(*request)
    while True:
        time.sleep(_POLL_S)
        info = server.info("leveldb", "reclaim")
        if info["compaction_queued"] == "0":
            break
        if options.window and not in_window(options.window, datetime.now()):
            server.call("COMPACT", "STOP")
            break
    data = {
        "server": server.name,
        "reclaimed_rows": int(info["reclaimed_rows"]) - before["reclaimed_rows"],
        "before_bytes": before["leveldb_size_mb"] << 20,
        "after_bytes": int(info.get("leveldb_size_mb", 0)) << 20,
        "seconds": time.monotonic() - began,
    }
    if int(info["compactions_completed"]) == before["compactions_completed"]:
        message = f"{server.name}: the compaction did not come to its end"
        raise ConfigError(message)
    return _outcome(data)


def _directory_bytes(options: argparse.Namespace) -> int:
    return sum(found["size_bytes"] for found in files(store_path(options.dir)).values())
