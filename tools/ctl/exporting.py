"""`diskkvctl export`: write data to a file that Redis, or any other program, reads."""

from __future__ import annotations

import argparse
import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diskkv.codec import rdb_const as rdb
from diskkv.codec.crc64 import crc64
from diskkv.codec.header import TYPE_NAMES
from diskkv.codec.rdb_values import RdbError, RdbUnsupportedError
from diskkv.engine.store import Store
from diskkv.services.dataset_export import (
    RdbExport,
    Selection,
    needs_field_expiry,
    open_snapshot,
)
from tools.ctl.output import Outcome, size
from tools.ctl.store import opened
from tools.ctl.transfer.directory import StoreSource
from tools.ctl.transfer.items import Sink, TransferError
from tools.ctl.transfer.meter import EVERY_MASK, Meter
from tools.ctl.transfer.outputs import STANDARD_OUTPUT, LineSink, OutputFile, RdbSink, lost_notes, unsupported
from tools.ctl.transfer.replica import ReplicaSource
from tools.ctl.transfer.wire import parse_url

NAME = "export"
HELP = "write data to a file: RDB, append-only file, command stream, JSON lines"
DESCRIPTION = """\
Write data, all of it or a selection, to a file that appears under its name when it is complete. A running server is
asked for a copy and goes on serving; the file holds what there was at one moment.

formats:
  rdb    what redis-server loads at start as dump.rdb
  aof    a directory: the appendonlydir of redis-server 7 and later
  resp   commands, for redis-cli --pipe, or as an append-only file of any Redis
  jsonl  JSON, one key a line
"""
EPILOG = """\
examples:
  diskkvctl export dump.rdb --dir data
  diskkvctl export dump.rdb --url redis://localhost:6379 --rdb-version 11
  diskkvctl export - --format resp --dir data --db 0 | redis-cli -p 6380 --pipe
  diskkvctl export users.jsonl --url redis://localhost:6379 --type hash
"""

_VERSIONS = (6, 7, 8, 9, 10, 11, 12, rdb.VALKEY_VERSION)
_TAIL_BYTES = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of export."""
    parser.add_argument("file", metavar="FILE", type=Path, help="what to write; - is standard output")
    origin = parser.add_mutually_exclusive_group(required=True)
    origin.add_argument("--dir", type=Path, help="data directory; no server may use it")
    origin.add_argument("--url", help="running server: redis://[USER:PASSWORD@]HOST[:PORT], rediss://, unix:///PATH")
    parser.add_argument("--format", choices=("rdb", "aof", "resp", "jsonl"), help="default: by the name, else rdb")
    parser.add_argument("--db", type=int, action="append", metavar="INDEX", help="only this database; may be repeated")
    parser.add_argument("--prefix", type=os.fsencode, default=b"", help="only keys that start with this")
    parser.add_argument(
        "--type", action="append", choices=[name.decode() for name in TYPE_NAMES.values()], help="only this type"
    )
    parser.add_argument(
        "--rdb-version",
        type=int,
        choices=_VERSIONS,
        default=0,
        help="6: Redis 2.6, 7: 3.2, 8: 4, 9: 5 and 6, 10: 7.0, 11: 7.2 and Valkey, 12: 7.4 to 8.2, 80: Valkey 9"
        " (default: 10, or 12 when fields of hashes expire)",
    )
    parser.add_argument("--lossy", action="store_true", help="leave out what the RDB version cannot express")


def run(options: argparse.Namespace) -> Outcome:
    """Write the file, and say what is in it."""
    selection = Selection(
        frozenset(options.db) if options.db else None,
        options.prefix,
        frozenset(name.encode() for name in options.type) if options.type else None,
        functions=not (options.db or options.prefix or options.type),
    )
    kind = options.format or _format_of(options.file)
    if kind == "aof":
        return _export_aof(options, selection)
    file = OutputFile(options.file)
    try:
        outcome = _write(options, selection, kind, file)
    except RdbUnsupportedError as exc:
        raise unsupported(str(exc)) from exc
    except RdbError as exc:
        raise TransferError(str(exc)) from exc
    except KeyboardInterrupt as exc:
        raise TransferError("interrupted: nothing was written") from exc
    finally:
        file.discard()
    outcome.took_output = options.file == STANDARD_OUTPUT
    return outcome


def _format_of(path: Path) -> str:
    return {".jsonl": "jsonl", ".json": "jsonl", ".resp": "resp", ".aof": "resp"}.get(path.suffix, "rdb")


def _write(options: argparse.Namespace, selection: Selection, kind: str, file: OutputFile) -> Outcome:
    if options.url is not None:
        return _write_live(options, selection, kind, file)
    with opened(options.dir) as store:
        if kind == "rdb":
            return _write_rdb(options, selection, store, file)
        with contextlib.closing(StoreSource(store, str(options.dir), selection)) as source:
            return _move(source, LineSink(file, kind == "jsonl"), file)


def _write_rdb(options: argparse.Namespace, selection: Selection, store: Store, file: OutputFile) -> Outcome:
    engine = open_snapshot(store, time.time_ns() // 1_000_000)
    with contextlib.closing(engine):
        version = options.rdb_version
        if not version:
            found = list(needs_field_expiry(engine, selection))[-1]
            version = rdb.FIELD_EXPIRY_VERSION if found else rdb.LISTPACK_VERSION
        export = RdbExport(engine, version, selection, lossy=options.lossy)
        meter = Meter(NAME, 0, sum(database.keys for database in engine.databases.values()))
        try:
            for piece in export.pieces():
                file.write(piece)
                meter.update(export.size_bytes, export.stats.keys)
        finally:
            meter.close()
    file.commit()
    counts = {"keys": export.stats.keys, "functions": export.stats.functions}
    return _outcome(file, counts, lost_notes(export.stats.lost), meter, version)


def _write_live(options: argparse.Namespace, selection: Selection, kind: str, file: OutputFile) -> Outcome:
    address = parse_url(options.url)
    version = options.rdb_version
    # A server does not tell what it left out: versions that cannot express everything are written here.
    is_old = 0 < version < rdb.FIELD_EXPIRY_VERSION
    with contextlib.closing(
        ReplicaSource(address, selection, rdb_version=0 if is_old else version, whole=kind == "rdb")
    ) as source:
        if kind != "rdb":
            return _move(source, LineSink(file, kind == "jsonl"), file)
        is_whole = selection == Selection() and not version
        if is_whole or (source.can_select and not is_old):
            return _copy(source, file)
        return _move(source, RdbSink(file, version or rdb.FIELD_EXPIRY_VERSION, options.lossy), file)


def _copy(source: ReplicaSource, file: OutputFile) -> Outcome:
    """The server's RDB file as it is, with its checksum verified."""
    payload = source.payload()
    meter = Meter(NAME, source.total_bytes)
    crc = 0
    tail = b""
    try:
        while data := payload.read(1 << 18):
            file.write(data)
            tail += data
            crc = crc64(memoryview(tail)[:-_TAIL_BYTES], crc)
            tail = tail[-_TAIL_BYTES:]
            meter.update(file.size_bytes, 0)
    finally:
        meter.close()
    if int.from_bytes(tail, "little") not in (0, crc):
        raise TransferError(f"{source.name}: the checksum does not fit what was received")
    file.commit()
    return _outcome(file, {}, source.notes, meter)


def _move(source: StoreSource | ReplicaSource, sink: Sink, file: OutputFile) -> Outcome:
    meter = Meter(NAME, 0, source.total_keys)
    try:
        for number, item in enumerate(source.items()):
            sink.put(item)
            if not number & EVERY_MASK:
                meter.update(0, sink.counts()["keys"])
        sink.finish()
    finally:
        meter.close()
    return _outcome(file, sink.counts(), source.notes + sink.notes, meter)


def _outcome(file: OutputFile, counts: dict[str, int], notes: list[str], meter: Meter, version: int = 0) -> Outcome:
    data: dict[str, Any] = {"file": str(file.path), "size_bytes": file.size_bytes, **counts, "notes": notes}
    data["seconds"] = meter.seconds
    lines = [f"file       {file.path}, {size(file.size_bytes)}"]
    if version:
        data["rdb_version"] = version
        lines.append(f"version    {version}")
    lines += [f"{name:<10} {count:,}" for name, count in counts.items() if count or name == "keys"]
    return Outcome([*lines, f"time       {meter.seconds:.1f} s", *notes], data)


# ---- an append-only file in parts

_BASE = "appendonly.aof.1.base.rdb"
_INCREMENT = "appendonly.aof.1.incr.aof"
_MANIFEST = "appendonly.aof.manifest"


def _export_aof(options: argparse.Namespace, selection: Selection) -> Outcome:
    """A directory that appears when it is complete: an RDB file as base, an increment without commands, a manifest."""
    with _new_directory(options.file) as part:
        inner = argparse.Namespace(**{**vars(options), "file": part / _BASE})
        file = OutputFile(inner.file)
        try:
            outcome = _write(inner, selection, "rdb", file)
        except RdbUnsupportedError as exc:
            raise unsupported(str(exc)) from exc
        finally:
            file.discard()
        (part / _INCREMENT).touch()
        (part / _MANIFEST).write_text(f"file {_BASE} seq 1 type b\nfile {_INCREMENT} seq 1 type i\n")
    outcome.lines[0] = f"directory  {options.file}, {size(outcome.data['size_bytes'])}"
    outcome.data["file"] = str(options.file)
    return outcome


@contextlib.contextmanager
def _new_directory(path: Path) -> Iterator[Path]:
    if path.exists():
        message = f"{path} exists already"
        raise TransferError(message)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.mkdir()
    try:
        yield part
        part.rename(path)
    finally:
        if part.exists():
            for found in part.iterdir():
                found.unlink()
            part.rmdir()
