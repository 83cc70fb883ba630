"""`diskkvctl scan`: list keys."""

from __future__ import annotations

import argparse
import os
from itertools import islice

from diskkv.codec.glob import compile_glob
from diskkv.codec.header import TYPE_NAMES, expire_ms_of, value_type
from tools.ctl.output import Outcome, quoted
from tools.ctl.store import add_database, add_directory, database, headers, opened

NAME = "scan"
HELP = "list keys in lexical order, expired ones included"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of scan."""
    add_directory(parser)
    add_database(parser)
    parser.add_argument("--prefix", type=os.fsencode, default=b"", help="only keys that start with this (fast)")
    parser.add_argument("--match", type=os.fsencode, default=b"*", help="only keys that match this glob pattern")
    parser.add_argument("--type", choices=[name.decode() for name in TYPE_NAMES.values()], help="only this type")
    parser.add_argument("--limit", type=int, default=1000, help="stop after so many keys (default 1000; 0: all)")


def run(options: argparse.Namespace) -> Outcome:
    """Keys with type and expiry."""
    matches = compile_glob(options.match) if options.match != b"*" else lambda _: True
    with opened(options.dir) as store:
        entry = database(store, options.db)
        found = (
            {"key": quoted(key), "type": TYPE_NAMES[value_type(value)].decode(), "expire_ms": expire_ms_of(value)}
            for key, _, value in headers(store, entry.id, options.prefix)
            if matches(key) and options.type in {None, TYPE_NAMES[value_type(value)].decode()}
        )
        shown = list(islice(found, options.limit or None))
    return Outcome([str(row["key"]) for row in shown], shown)
