"""`diskkvctl bigkeys`: the largest keys of every type, and what the types take together."""

from __future__ import annotations

import argparse
import heapq
from dataclasses import dataclass
from typing import Any

from diskkv.codec.header import TYPE_NAMES, Header, Value, value_type
from diskkv.codec.keys import object_range
from diskkv.engine.leveldb import LevelDBStore
from tools.ctl.output import Columns, Outcome, quoted, size
from tools.ctl.store import add_directory, databases, headers, opened

NAME = "bigkeys"
HELP = "the largest keys of every type, by bytes on disk (about)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of bigkeys."""
    add_directory(parser)
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
    """One pass over all headers; memory for the largest ones only."""
    top: dict[str, list[Big]] = {}
    totals: dict[str, dict[str, int]] = {}
    with opened(options.dir) as store:
        for entry in databases(store):
            for key, record, value in headers(store, entry.id):
                kind = TYPE_NAMES[value_type(value)].decode()
                big = Big(size_on_disk(store, key, record, value), element_count(value), entry.index, key)
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
