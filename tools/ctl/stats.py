"""`diskkvctl stats`: what is in a data directory and where the space goes."""

from __future__ import annotations

import argparse
import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diskkv.codec import keys
from diskkv.codec.keys import prefix_successor
from diskkv.engine.checkpoint import VALUES_SUFFIX, WRITE_LOG_SUFFIX
from diskkv.engine.leveldb import LevelDBStore
from tools.ctl import live
from tools.ctl.output import Columns, Outcome, size
from tools.ctl.rowtext import KINDS
from tools.ctl.store import add_target, check_format, databases, opened, store_path

NAME = "stats"
HELP = "sizes, levels, rows by kind and keys by database"
DESCRIPTION = """\
Show where the space goes. Of a directory: files, LevelDB's levels, rows by kind, keys by database; counting rows
reads every key of the store, which --quick leaves out. Of a server: what INFO says of these, of memory and of backups.
"""
EPILOG = """\
examples:
  diskkvctl stats --dir data --quick
  diskkvctl stats --url redis://localhost --json
"""

TAGS = {
    "system": keys.SYSTEM_TAG,
    "headers": keys.HEADER_TAG,
    "elements": keys.ELEMENT_TAG,
    "expiry index": keys.EXPIRY_TAG,
    "garbage queue": keys.GARBAGE_TAG,
}
_KIND_AT = keys.ELEMENT_PREFIX_SIZE - 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of stats."""
    add_target(parser)
    parser.add_argument("--quick", action="store_true", help="do not count rows, which reads every key")


def run(options: argparse.Namespace) -> Outcome:
    """Everything at once."""
    if options.url is not None:
        return _live(options.url)
    path = store_path(options.dir)
    with opened(options.dir) as store:
        data: dict[str, Any] = {
            "directory": str(path),
            "format": check_format(store, options.dir),
            "files": files(path),
            "levels": parse_levels(store.property("leveldb.stats") or ""),
            "tags": {name: _tag(store, tag, options.quick) for name, tag in TAGS.items()},
            "element_kinds": {} if options.quick else element_kinds(store),
            "databases": [vars(entry) for entry in databases(store)],
        }
    return Outcome(list(_lines(data)), data)


_SHOWN = {
    "server": ("diskkv_version", "redis_version", "uptime_in_seconds", "process_id", "config_file"),
    "clients": ("connected_clients", "blocked_clients"),
    "memory": ("used_memory_rss_human", "used_memory_peak_human"),
    "disk": ("data_directory", "appendfsync", "disk_total_bytes", "disk_free_bytes", "write_error"),
    "cache": ("cache_size_bytes", "cache_limit_bytes", "cache_entries"),
    "reclaim": ("reclaim_backlog", "reclaim_pending_compactions"),
    "persistence": ("rdb_last_save_time", "rdb_last_bgsave_status", "backup_last"),
    "stats": ("instantaneous_ops_per_sec", "keyspace_hits", "keyspace_misses", "expired_keys"),
}


def _live(url: str) -> Outcome:
    """What INFO says."""
    with live.connected(url) as server:
        sections = {name: server.info(name) for name in (*_SHOWN, "leveldb", "keyspace")}
    lines: list[str] = []
    for name, fields in _SHOWN.items():
        shown = [(field, sections[name][field]) for field in fields if sections[name].get(field)]
        lines += [f"{field:<28}{_readable(field, value)}" for field, value in shown]
    lines.append("")
    for name in ("leveldb", "keyspace"):
        lines += [f"{field:<28}{value}" for field, value in sections[name].items()]
    return Outcome(lines, sections)


def _readable(field: str, value: str) -> str:
    return f"{value} ({size(int(value))})" if field.endswith("_bytes") and value.isdigit() else value


def _tag(store: LevelDBStore, tag: bytes, quick: bool) -> dict[str, int | None]:
    stop = prefix_successor(tag)
    rows = None if quick else sum(1 for _ in store.scan_keys(tag, stop))
    return {"rows": rows, "size_bytes": store.approximate_size_bytes(tag, stop)}


def element_kinds(store: LevelDBStore) -> dict[str, int]:
    """Element rows by the kind in their key; a kind that this version does not know shows as its number."""
    tag = keys.ELEMENT_TAG
    counts = Counter(row[_KIND_AT] for row in store.scan_keys(tag, prefix_successor(tag)))
    return {KINDS.get(kind, f"kind 0x{kind:02x}"): count for kind, count in sorted(counts.items())}


def files(path: Path) -> dict[str, dict[str, int]]:
    """Number and allocated bytes of the files in a directory by what they are."""
    found: dict[str, dict[str, int]] = {}
    for entry in path.iterdir():
        with contextlib.suppress(FileNotFoundError):  # opening the store removes what it has replaced
            if entry.is_file():
                kind = _file_kind(entry.name)
                total = found.setdefault(kind, {"files": 0, "size_bytes": 0})
                total["files"] += 1
                total["size_bytes"] += entry.stat().st_size
    return dict(sorted(found.items()))


def _file_kind(name: str) -> str:
    if name.endswith((".ldb", ".sst")):
        return "tables"
    if name.endswith(VALUES_SUFFIX):
        return "long strings"
    if name.endswith((".log", WRITE_LOG_SUFFIX)):
        return "write-ahead log"
    return "manifest" if name.startswith("MANIFEST") else "other"


def parse_levels(text: str) -> list[dict[str, float]]:
    """The rows of LevelDB's leveldb.stats property; sizes in MiB, time in seconds. Other lines are skipped."""
    names = ("level", "files", "size_mib", "time_s", "read_mib", "written_mib")
    levels = []
    for line in text.splitlines():
        words = line.split()
        if len(words) == len(names) and words[0].isdigit():
            levels.append({name: float(word) for name, word in zip(names, words, strict=True)})
    return levels


def _lines(data: dict[str, Any]) -> Iterator[str]:
    yield f"directory  {data['directory']}"
    yield f"format     {data['format']}"
    yield ""
    table = Columns(["files", "count", "size"])
    table.rows = [(kind, found["files"], size(found["size_bytes"])) for kind, found in data["files"].items()]
    yield from table.lines()
    yield ""
    table = Columns(["level", "tables", "MiB"])
    table.rows = [(int(row["level"]), int(row["files"]), int(row["size_mib"])) for row in data["levels"]]
    yield from table.lines() if table.rows else ["no tables yet: everything is in the write-ahead log"]
    yield ""
    table = Columns(["rows", "count", "about"])
    for name, found in data["tags"].items():
        table.rows.append((name, "-" if found["rows"] is None else found["rows"], size(found["size_bytes"])))
    table.rows += [(f"  {name}", count, "") for name, count in data["element_kinds"].items()]
    yield from table.lines()
    yield ""
    table = Columns(["database", "keys", "expires", "id"])
    table.rows = [(f"db{row['index']}", row["keys"], row["expires"], row["id"]) for row in data["databases"]]
    yield from table.lines() if table.rows else ["no databases yet"]
