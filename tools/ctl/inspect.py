"""`diskkvctl inspect`: everything that is stored of one key."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from diskkv.codec.header import TYPE_NAMES, Header, decode_header, expire_ms_of, value_type
from diskkv.codec.keys import ELEMENT_PREFIX_SIZE, expiry_row, header_prefix, object_range
from diskkv.engine.leveldb import LevelDBStore
from diskkv.errors import ConfigError
from tools.ctl import live, live_keys
from tools.ctl.bigkeys import element_count
from tools.ctl.output import Outcome, quoted
from tools.ctl.rowtext import KINDS, describe
from tools.ctl.store import add_database, add_target, database, opened

NAME = "inspect"
HELP = "everything that is stored of one key"
DESCRIPTION = """\
Show one key: type, how it is stored, number of elements, sizes, time to live. With --rows also its first elements: of a
directory the rows as they are in LevelDB, of a server what commands answer.
"""
EPILOG = """\
examples:
  diskkvctl inspect --dir data user:1 --rows 10
  diskkvctl inspect --url redis://localhost/3 user:1
"""

_PREVIEW_BYTES = 120


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of inspect."""
    add_target(parser)
    add_database(parser)
    parser.add_argument("--rows", type=int, default=0, metavar="N", help="also show the first N element rows")
    parser.add_argument("key", type=os.fsencode)


def run(options: argparse.Namespace) -> Outcome:
    """What is known of the key."""
    data = _stored(options) if options.url is None else _live(options)
    lines = [f"{name:<15}{shown}" for name, shown in data.items() if name != "rows"]
    lines += [f"  {row['row']}  {row['value']}" for row in data.get("rows", [])]
    return Outcome(lines, data)


def _live(options: argparse.Namespace) -> dict[str, Any]:
    key = options.key
    with live.connected(options.url, options.db) as server:
        found = next(live_keys.measured(server, [key]), None)
        if found is None:
            message = f"no key {quoted(key)} in db{server.db}"
            raise ConfigError(message)
        data: dict[str, Any] = {
            "key": quoted(key),
            "db": server.db,
            "type": found.type,
            "encoding": server.call("OBJECT", "ENCODING", key).decode(),
            "count": found.count,
            "size_bytes": found.size_bytes,
            "expire_ms": found.expire_ms,
        }
        if found.expire_ms:
            data["expires"] = _moment(found.expire_ms)
        if found.type == "string":
            data["value"] = quoted(live_keys.preview(server, found, _PREVIEW_BYTES)[0])
        elif options.rows:
            elements = live_keys.preview(server, found, options.rows)
            data["rows"] = [_element(element) for element in elements]
    return data


def _element(element: bytes | list[bytes]) -> dict[str, str]:
    first, *rest = element if isinstance(element, list) else [element]
    return {
        "row": quoted(first, _PREVIEW_BYTES),
        "value": " ".join(quoted(part, _PREVIEW_BYTES) for part in rest),
    }


def _stored(options: argparse.Namespace) -> dict[str, Any]:
    """Header, expiry and element rows of the key."""
    index = options.db or 0
    with opened(options.dir) as store:
        entry = database(store, index)
        row = header_prefix(entry.id) + options.key
        record = store.get(row)
        if record is None:
            message = f"no key {quoted(options.key)} in db{index}"
            raise ConfigError(message)
        value = decode_header(record, row)
        data: dict[str, Any] = {
            "key": quoted(options.key),
            "db": index,
            "row": row.hex(),
            "type": TYPE_NAMES[value_type(value)].decode(),
            "layout": "rows" if isinstance(value, Header) and value.value is None else "inline",
            "count": element_count(value),
            "record_bytes": len(record),
            "expire_ms": expire_ms_of(value),
        }
        if data["expire_ms"]:
            data["expires"] = _moment(data["expire_ms"])
            data["own expiry row"] = store.get(expiry_row(data["expire_ms"], entry.id, options.key)) is not None
        if isinstance(value, Header) and value.oid:
            data |= _object(store, value.oid, options.rows)
            data["ext"] = repr(value.ext)
        else:
            inline = value.value if isinstance(value, Header) else value
            data["value"] = quoted(inline, _PREVIEW_BYTES) if isinstance(inline, bytes) else _preview(inline)
    return data


def _object(store: LevelDBStore, oid: int, limit: int) -> dict[str, Any]:
    start, stop = object_range(oid)
    counts: Counter[int] = Counter()
    total_bytes = 0
    rows: list[dict[str, str]] = []
    for row, value in store.scan(start, stop):
        kind = row[ELEMENT_PREFIX_SIZE - 1]
        counts[kind] += 1
        total_bytes += len(row) + len(value)
        if len(rows) < limit:
            facts = describe(row, value)
            rest = " ".join(f"{name}={fact}" for name, fact in facts.items() if name not in {"row", "oid", "kind"})
            rows.append({"row": facts.get("kind", "row"), "value": rest})
    kinds = {KINDS.get(kind, hex(kind)): count for kind, count in sorted(counts.items())}
    return {"oid": oid, "element rows": kinds, "element_bytes": total_bytes, "rows": rows}


def _preview(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _PREVIEW_BYTES else f"{text[:_PREVIEW_BYTES]}..."


def _moment(at_ms: int) -> str:
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError):  # beyond the year 9999
        return "in the far future"
