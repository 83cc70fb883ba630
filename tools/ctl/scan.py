"""`diskkvctl keys` (or scan): list keys."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from itertools import islice

from diskkv.codec.glob import compile_glob
from diskkv.codec.header import TYPE_NAMES, expire_ms_of, value_type
from tools.ctl import live, live_keys
from tools.ctl.live_keys import LiveKey
from tools.ctl.output import Outcome, quoted
from tools.ctl.store import add_database, add_target, database, headers, opened

NAME = "keys"
ALIASES = ("scan",)
HELP = "list keys by prefix, pattern and type"
DESCRIPTION = """\
List keys. Those of a directory come in lexical order, expired ones included, and a prefix is found at once however
many others there are. Those of a server come as SCAN gives them; keys that are added or deleted meanwhile may be there
or not.

Keys are shown in double quotes with escapes, as redis-cli does; --json adds type and time to live.
"""
EPILOG = """\
examples:
  diskkvctl keys --dir data --prefix user: --limit 20
  diskkvctl keys --url redis://localhost/3 --type zset --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of keys."""
    add_target(parser)
    add_database(parser)
    parser.add_argument("--prefix", type=os.fsencode, default=b"", help="only keys that start with this (fast)")
    parser.add_argument("--match", type=os.fsencode, default=b"*", help="only keys that match this glob pattern")
    parser.add_argument("--type", choices=[name.decode() for name in TYPE_NAMES.values()], help="only this type")
    parser.add_argument("--limit", type=int, default=1000, help="stop after so many keys (default 1000; 0: all)")


def run(options: argparse.Namespace) -> Outcome:
    """Keys with type and expiry."""
    found = _stored(options) if options.url is None else _live(options)
    shown = [
        {"key": quoted(entry.key), "type": entry.type, "expire_ms": entry.expire_ms}
        for entry in islice(found, options.limit or None)
    ]
    return Outcome([str(row["key"]) for row in shown], shown)


def _stored(options: argparse.Namespace) -> Iterator[LiveKey]:
    matches = compile_glob(options.match) if options.match != b"*" else lambda _: True
    with opened(options.dir) as store:
        entry = database(store, options.db or 0)
        for key, _, value in headers(store, entry.id, options.prefix):
            name = TYPE_NAMES[value_type(value)].decode()
            if matches(key) and options.type in {None, name}:
                yield LiveKey(key, name, expire_ms_of(value))


def _live(options: argparse.Namespace) -> Iterator[LiveKey]:
    with live.connected(options.url, options.db) as server:
        for batch in live_keys.batches(server, options.prefix, options.match, options.type):
            yield from live_keys.typed(server, batch)
