"""`diskkvctl bigkeys`: the largest keys of every type, and what the types take together."""

from __future__ import annotations

import argparse
import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from diskkv.codec.header import TYPE_NAMES, Header, Value, value_type
from diskkv.codec.keys import object_range
from diskkv.engine.leveldb import LevelDBStore
from tools.ctl import live, live_keys
from tools.ctl.output import Columns, Outcome, Progress, quoted, size
from tools.ctl.store import add_database, add_target, databases, headers, opened

NAME = "bigkeys"
HELP = "the largest keys of every type, and what the types take together"
DESCRIPTION = """\
Show the largest keys of every type, and the sums over all keys. Of a directory: all databases, by about the bytes on
disk. Of a server: the database of the URL (or --db), by MEMORY USAGE.
"""
EPILOG = """\
examples:
  diskkvctl bigkeys --dir data --top 10
  diskkvctl bigkeys --url redis://localhost/3
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of bigkeys."""
    add_target(parser)
    add_database(parser)
    parser.add_argument("--top", type=int, default=5, help="keys to show for each type (default 5)")


@dataclass(order=True)
class Big:
    """One key; ordered by its size."""

    size_bytes: int
    count: int
    index: int
    key: bytes


def element_count(value: Value) -> int:
    """Elements of a collection; for a string its length in bytes."""
    if isinstance(value, bytes):
        return len(value)
    return value.count if value.value is None else len(value.value)


def size_on_disk(store: LevelDBStore, key: bytes, record: bytes, value: Value) -> int:
    """Bytes of the header row before compression, plus about what LevelDB's tables hold of its other rows."""
    rows = store.approximate_size_bytes(*object_range(value.oid)) if isinstance(value, Header) and value.oid else 0
    return len(key) + len(record) + rows


def run(options: argparse.Namespace) -> Outcome:
    """One pass over all keys; memory for the largest ones only."""
    top: dict[str, list[Big]] = {}
    totals: dict[str, dict[str, int]] = {}
    for kind, big in Progress("measured").watch(_stored(options) if options.url is None else _live(options)):
        total = totals.setdefault(kind, {"keys": 0, "size_bytes": 0, "elements": 0})
        total["keys"] += 1
        total["size_bytes"] += big.size_bytes
        total["elements"] += big.count
        heap = top.setdefault(kind, [])
        (heapq.heappush if len(heap) < options.top else heapq.heappushpop)(heap, big)
    data: dict[str, Any] = {
        "totals": totals,
        "largest": {
            kind: [
                {"db": big.index, "key": quoted(big.key), "size_bytes": big.size_bytes, "elements": big.count}
                for big in sorted(heap, reverse=True)
            ]
            for kind, heap in top.items()
        },
    }
    summary = Columns(["type", "keys", "elements or bytes", "about"])
    summary.rows = [(kind, t["keys"], t["elements"], size(t["size_bytes"])) for kind, t in totals.items()]
    largest = Columns(["type", "db", "elements or bytes", "about", "key"])
    largest.rows = [
        (kind, row["db"], row["elements"], size(row["size_bytes"]), row["key"])
        for kind, rows in data["largest"].items()
        for row in rows
    ]
    return Outcome([*summary.lines(), "", *largest.lines()], data)


def _stored(options: argparse.Namespace) -> Iterator[tuple[str, Big]]:
    with opened(options.dir) as store:
        for entry in databases(store):
            if options.db in {None, entry.index}:
                for key, record, value in headers(store, entry.id):
                    size_bytes = size_on_disk(store, key, record, value)
                    kind = TYPE_NAMES[value_type(value)].decode()
                    yield kind, Big(size_bytes, element_count(value), entry.index, key)


def _live(options: argparse.Namespace) -> Iterator[tuple[str, Big]]:
    with live.connected(options.url, options.db) as server:
        for batch in live_keys.batches(server, b"", b"*", None):
            for found in live_keys.measured(server, batch):
                yield found.type, Big(found.size_bytes, found.count, server.db, found.key)
