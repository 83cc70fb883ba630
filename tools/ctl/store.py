"""Opening a data directory while no server uses it, and walking what is in it."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from diskkv.codec.header import Value, decode_header
from diskkv.codec.keys import (
    HEADER_PREFIX_SIZE,
    SYSTEM_COUNTS,
    SYSTEM_DATABASE,
    SYSTEM_FORMAT,
    U32,
    database_range,
    decode_counts,
    prefix_successor,
)
from diskkv.engine.leveldb import LevelDBStore
from diskkv.engine.store import Store
from diskkv.engine.upgrades import require_current
from diskkv.errors import ConfigError


def add_directory(parser: argparse.ArgumentParser) -> None:
    """The option --dir."""
    parser.add_argument("--dir", type=Path, required=True, help="the server's data directory; no server may use it")


def add_target(parser: argparse.ArgumentParser) -> None:
    """The options --dir and --url, one of which has to be given."""
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--dir", type=Path, help="the data directory of a server that is not running")
    target.add_argument(
        "--url",
        metavar="URL",
        help="a running server: redis://[USER:PASSWORD@]HOST[:PORT][/DB], rediss:// for TLS, unix:///PATH",
    )


def add_database(parser: argparse.ArgumentParser) -> None:
    """The option --db."""
    parser.add_argument("--db", type=int, metavar="INDEX", help="database, as in SELECT (default: the URL's, or 0)")


def store_path(directory: Path) -> Path:
    """Where LevelDB's files are: `directory` itself or the one directory in it that has them."""
    if not directory.is_dir():
        message = f"{directory} is not a directory"
        raise ConfigError(message)
    found = [path.parent for path in (directory / "CURRENT", *sorted(directory.glob("*/CURRENT"))) if path.is_file()]
    if not found:
        message = f"{directory} holds no diskkv data"
        raise ConfigError(message)
    return found[0]


@contextlib.contextmanager
def opened(directory: Path, any_format: bool = False) -> Iterator[LevelDBStore]:
    """The store in `directory`. Raises ConfigError when it is in use, not there, or (unless `any_format`) of another
    format than this version's."""
    try:
        store = LevelDBStore(store_path(directory), create=False)
    except ConfigError as exc:
        if "in use" in str(exc):
            message = f"{exc}; for a running server use --url"
            raise ConfigError(message) from exc
        raise
    try:
        version = check_format(store, directory)
        if not any_format:
            require_current(version, str(directory))
        yield store
    finally:
        store.close()


def check_format(store: Store, directory: Path) -> int:
    """The store's format version; ConfigError when it is none of diskkv's."""
    raw = store.get(SYSTEM_FORMAT)
    if raw is None or len(raw) != U32.size:
        message = f"{directory} holds a LevelDB database that is not diskkv's"
        raise ConfigError(message)
    version: int = U32.unpack(raw)[0]
    return version


@dataclass(frozen=True)
class DatabaseEntry:
    """One database: its number for SELECT, its number on disk, and the counts kept for it."""

    index: int
    id: int
    keys: int
    expires: int


def databases(store: Store) -> list[DatabaseEntry]:
    """All databases that were ever written to, by index."""
    found = []
    for row, value in store.scan(SYSTEM_DATABASE, prefix_successor(SYSTEM_DATABASE)):
        if len(row) != len(SYSTEM_DATABASE) + U32.size:
            continue  # another system row whose name begins with the same letter
        (index,) = U32.unpack(row[len(SYSTEM_DATABASE) :])
        (ident,) = U32.unpack(value)
        raw = store.get(SYSTEM_COUNTS + U32.pack(ident))
        keys, expires = decode_counts(raw) if raw is not None else (0, 0)
        found.append(DatabaseEntry(index, ident, keys, expires))
    return found


def database(store: Store, index: int) -> DatabaseEntry:
    """The database that SELECT `index` shows; an empty one when it was never written to."""
    return next((entry for entry in databases(store) if entry.index == index), DatabaseEntry(index, 0, 0, 0))


def headers(store: Store, db_id: int, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes, Value]]:
    """(key, record, value) of every key of a database that starts with `prefix`, in lexical order, expired ones too."""
    start, stop = database_range(db_id)
    if prefix:
        start += prefix
        stop = prefix_successor(start)
    for row, record in store.scan(start, stop):
        yield row[HEADER_PREFIX_SIZE:], record, decode_header(record, row)
