"""`diskkvctl du`: what keys take, summed up by the parts of their names."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from diskkv.codec.header import TYPE_NAMES, value_type
from diskkv.errors import ConfigError
from tools.ctl import live, live_keys
from tools.ctl.bigkeys import element_count, size_on_disk
from tools.ctl.live_keys import LiveKey
from tools.ctl.output import Columns, Outcome, Progress, quoted, size
from tools.ctl.store import add_database, add_target, database, headers, opened

NAME = "du"
HELP = "what keys take, summed up by prefix"
DESCRIPTION = """\
Sum up keys, elements and bytes by the first parts of the names: with --depth 1, user:1:name and user:2 both count for
user:. The largest come first. Names without a separator are one group.

Bytes are about what is on disk for a directory (headers before compression, tables of large values as LevelDB estimates
them), and what MEMORY USAGE answers for a server.
"""
EPILOG = """\
examples:
  diskkvctl du --dir data
  diskkvctl du --url redis://localhost --prefix user: --depth 2
  diskkvctl du --dir data --db 3 --separator / --top 50
"""

MAX_GROUPS = 100_000
_OTHERS = b""
"""What does not get a group of its own any more."""


@dataclass
class Sum:
    """What the keys of a group take together."""

    keys: int = 0
    elements: int = 0
    size_bytes: int = 0

    def add(self, found: LiveKey) -> None:
        """Another key."""
        self.keys += 1
        self.elements += found.count
        self.size_bytes += found.size_bytes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of du."""
    add_target(parser)
    add_database(parser)
    parser.add_argument("--prefix", type=os.fsencode, default=b"", help="only keys that start with this")
    parser.add_argument("--separator", type=os.fsencode, default=b":", help="what parts names (default :)")
    parser.add_argument("--depth", type=int, default=1, metavar="N", help="how many parts make a group (default 1)")
    parser.add_argument("--top", type=int, default=20, metavar="N", help="groups to show (default 20; 0: all)")


def run(options: argparse.Namespace) -> Outcome:
    """The groups by size."""
    if not options.separator or options.depth < 1:
        message = "--separator must not be empty, --depth must be at least 1"
        raise ConfigError(message)
    sums: dict[bytes, Sum] = {}
    total = Sum()
    for found in Progress("measured").watch(_keys(options)):
        name = group(found.key, options.separator, options.depth)
        if name not in sums and len(sums) >= MAX_GROUPS:
            name = _OTHERS
        sums.setdefault(name, Sum()).add(found)
        total.add(found)
    ordered = sorted(sums.items(), key=lambda item: (-item[1].size_bytes, item[0]))
    shown = ordered[: options.top or None]
    data: dict[str, Any] = {
        "groups": [{"prefix": quoted(name), **vars(found)} for name, found in shown],
        "group_count": len(ordered),
        "total": vars(total),
    }
    table = Columns(["prefix", "keys", "elements or bytes", "about"])
    table.rows = [(quoted(name), found.keys, found.elements, size(found.size_bytes)) for name, found in shown]
    if len(shown) < len(ordered):
        table.rows.append((f"{len(ordered) - len(shown)} more", "", "", ""))
    table.rows.append(("total", total.keys, total.elements, size(total.size_bytes)))
    return Outcome(table.lines(), data)


def group(key: bytes, separator: bytes, depth: int) -> bytes:
    """The first parts of a name with the separator behind them; b"" when there is none."""
    at = 0
    for _ in range(depth):
        found = key.find(separator, at)
        if found < 0:
            break
        at = found + len(separator)
    return key[:at]


def _keys(options: argparse.Namespace) -> Iterator[LiveKey]:
    if options.url is not None:
        with live.connected(options.url, options.db) as server:
            for batch in live_keys.batches(server, options.prefix, b"*", None):
                yield from live_keys.measured(server, batch)
        return
    with opened(options.dir) as store:
        entry = database(store, options.db or 0)
        for key, record, value in headers(store, entry.id, options.prefix):
            kind = TYPE_NAMES[value_type(value)].decode()
            yield LiveKey(key, kind, 0, size_on_disk(store, key, record, value), element_count(value))
