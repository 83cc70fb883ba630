"""`diskkvctl hex`: raw rows of the store, with what they mean."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from typing import Any

from diskkv.codec.header import Header, decode_header
from diskkv.codec.keys import expiry_row, header_prefix, object_range, prefix_successor
from diskkv.engine.leveldb import LevelDBStore
from diskkv.errors import ConfigError
from tools.ctl.output import Outcome, quoted
from tools.ctl.rowtext import TAGS, describe, one_line
from tools.ctl.snapshot import opened_target
from tools.ctl.store import add_database, add_target, database

NAME = "hex"
HELP = "raw rows of the store in hexadecimal, and what they mean"
DESCRIPTION = """\
Show rows as they are in LevelDB: the key of the row and its value in hexadecimal, and what they say. By default from
the first row on; --tag, --prefix and --key select. With --url a server on this machine is looked into as of one
instant.
"""
EPILOG = """\
examples:
  # the header of a key, its expiry entry, and the rows of its elements
  diskkvctl hex --dir data --key user:1
  # counts, leases, cursors
  diskkvctl hex --dir data --tag system
  # rows that start with these bytes
  diskkvctl hex --dir data --prefix 64000000000000002a
"""

_BYTES_A_LINE = 32
_SHOWN_VALUE_BYTES = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of hex."""
    add_target(parser)
    add_database(parser)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--tag", choices=list(TAGS), metavar="TAG", help=f"only rows of this kind: {', '.join(TAGS)}")
    which.add_argument("--prefix", type=bytes.fromhex, metavar="HEX", help="only rows that start with these bytes")
    which.add_argument("--key", type=os.fsencode, help="the rows of this key")
    parser.add_argument("--limit", type=int, default=100, metavar="N", help="stop after N rows (default 100; 0: all)")


def run(options: argparse.Namespace) -> Outcome:
    """The selected rows."""
    lines: list[str] = []
    data: list[dict[str, Any]] = []
    with opened_target(options) as store:
        for row, value in _rows(store, options):
            if options.limit and len(data) == options.limit:
                lines.append("... and more (--limit)")
                break
            facts = describe(row, value)
            data.append({"key": row.hex(), "value": value.hex(), "meaning": facts})
            lines += [*_hex("", row), *_hex("= ", value[:_SHOWN_VALUE_BYTES])]
            if len(value) > _SHOWN_VALUE_BYTES:
                lines.append(f"  ... {len(value):,} bytes")
            lines += [f"  {one_line(facts)}", ""]
    return Outcome(lines or ["no rows"], data)


def _hex(mark: str, raw: bytes) -> Iterator[str]:
    for at in range(0, len(raw), _BYTES_A_LINE):
        yield f"{mark if not at else ' ' * len(mark)}{raw[at : at + _BYTES_A_LINE].hex(' ', -4)}"


def _rows(store: LevelDBStore, options: argparse.Namespace) -> Iterator[tuple[bytes, bytes]]:
    if options.key is not None:
        return _rows_of_key(store, options.db or 0, options.key)
    prefix = TAGS[options.tag] if options.tag else options.prefix or b""
    stop = prefix_successor(prefix) if prefix.strip(b"\xff") else b"\xff" * 32
    return store.scan(prefix, stop)


def _rows_of_key(store: LevelDBStore, index: int, key: bytes) -> Iterator[tuple[bytes, bytes]]:
    entry = database(store, index)
    row = header_prefix(entry.id) + key
    record = store.get(row)
    if record is None:
        message = f"no key {quoted(key)} in db{index}"
        raise ConfigError(message)
    yield row, record
    value = decode_header(record, row)
    if isinstance(value, Header):
        if value.expire_ms:
            due = expiry_row(value.expire_ms, entry.id, key)
            raw = store.get(due)
            if raw is not None:
                yield due, raw
        if value.oid:
            yield from store.scan(*object_range(value.oid))
