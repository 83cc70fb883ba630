"""A stopped server's data directory as sink and as source.

An import is written in steps, each one atomic and with a note of how far it is: when it is interrupted, the same
import goes on from there. The note is a system row that is gone when the import is complete.

    SYSTEM_NAMED "import"      value: msgpack [identity of the source, items done, [db, key] that is passed over or nil]
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import msgpack

from diskkv.codec.rdb_reader import RdbAux, RdbFunction, RdbKey
from diskkv.codec.rdb_values import HashValue, RdbDataError
from diskkv.commands.dispatch import execute_batch
from diskkv.commands.registry import Flag, load_all
from diskkv.config import Config
from diskkv.datatypes import operations, pieces
from diskkv.engine.leveldb import LevelDBOptions, LevelDBStore
from diskkv.engine.store import Store
from diskkv.errors import CommandError
from diskkv.services.dataset_export import ExportStats, Selection, open_snapshot, records
from diskkv.services.instance import Instance
from diskkv.services.unfinished import UNFINISHED_IMPORT
from tools.ctl.transfer.clock import needs_clock
from tools.ctl.transfer.items import Command, Item, TransferError

_STEP_BYTES = 4 << 20
_STEP_CHANGES = 20_000
_CHANGE_BYTES = 100
_MAX_SHOWN_ERRORS = 10
_LONG_AGO_MS = 1
_CACHE_BYTES = 16 << 20
_OPTIONS = LevelDBOptions(write_buffer_size=16 << 20)


class DirectorySink:
    """Puts items into a data directory, which is made when it is not there.

    Args:
        directory: The server's `dir`.
        identity: Names the source and its content, so that an interrupted import of the same can go on.
        existing: What to do with keys that are there already: replace, skip or fail. With fail, the directory must be
            empty.
    """

    def __init__(self, directory: Path, identity: str, existing: str = "fail") -> None:
        self.notes: list[str] = []
        self._identity = identity
        self._existing = existing
        self._counts = {"keys": 0, "functions": 0, "commands": 0, "errors": 0, "expired": 0, "skipped": 0}
        directory.mkdir(parents=True, exist_ok=True)
        self._store = LevelDBStore(directory / "leveldb", _OPTIONS)
        try:
            self._open()
        except BaseException:
            self._store.close()
            raise

    def _open(self) -> None:
        config = Config()
        config.databases = 1 << 31
        config.cache_size = _CACHE_BYTES
        self._instance = instance = Instance(config, self._store)
        instance.use_commands(load_all(), Flag.PLAIN, Flag.SKIP_SLOWLOG)
        self._engine = instance.engine
        self._client = instance.new_client()
        self._now_ms = time.time_ns() // 1_000_000
        self._load_ms = self._now_ms
        self._engine.begin(self._now_ms)
        self._staged_bytes = 0
        self._done = 0
        self._passed_over: tuple[int, bytes] | None = None
        self._to_skip = self._unfinished()
        has_keys = any(database.keys for database in self._engine.databases.values())
        if has_keys and self._existing == "fail" and not self._to_skip:
            raise TransferError("the directory holds keys already; use --existing replace or --existing skip")

    def _unfinished(self) -> int:
        """How many items an interrupted import of the same source has done."""
        raw = self._store.get(UNFINISHED_IMPORT)
        if raw is None:
            return 0
        identity, done, passed_over = msgpack.unpackb(raw)
        if identity != self._identity:
            if self._existing == "replace":
                self.notes.append(f"began anew where an import of {identity} was interrupted")
                return 0
            message = f"an import of {identity} was interrupted here: run it again, or give --existing replace"
            raise TransferError(message)
        self._passed_over = None if passed_over is None else (passed_over[0], passed_over[1])
        self.notes.append(f"went on after the {done:,} items of an interrupted import")
        return int(done)

    def counts(self) -> dict[str, int]:
        return dict(self._counts)

    def put(self, item: Item) -> None:
        self._done += 1
        if self._done <= self._to_skip:
            if isinstance(item, Command) and item.argv[0].upper() == b"SELECT":
                self._run(item.argv)
            return
        if isinstance(item, Command):
            self._run(item.argv)
        elif isinstance(item, RdbKey):
            self._put_key(item)
        elif isinstance(item, RdbFunction):
            self._put_function(item.code)
        elif isinstance(item, RdbAux):
            self._note_preamble(item)
        full = self._staged_bytes + _CHANGE_BYTES * len(self._engine.journal) > _STEP_BYTES
        if (full or len(self._engine.journal) > _STEP_CHANGES) and self._client.transaction is None:
            self._commit()

    # ---- records

    def _note_preamble(self, aux: RdbAux) -> None:
        """Commands follow the preamble of an append-only file, and may give keys that expired another time to live."""
        if aux.name in (b"aof-base", b"aof-preamble") and aux.value == b"1":
            self._load_ms = self._engine.now_ms = _LONG_AGO_MS

    def _put_key(self, record: RdbKey) -> None:
        place = (record.db, record.key)
        if record.part:
            if self._passed_over != place:
                self._extend(record)
            return
        self._passed_over = place
        if 0 < record.expire_ms <= self._load_ms or self._is_expired_hash(record):
            self._counts["expired"] += 1
            return
        database = self._engine.database(record.db)
        old = database.get(record.key)
        if old is not None and self._existing == "skip":
            self._counts["skipped"] += 1
            return
        self._passed_over = None
        value = operations.load(self._engine, record.value, record.expire_ms)
        if value is None:
            raise TransferError(f"key {record.key!r} has a type that is not supported")
        database.put(record.key, value, old)
        self._counts["keys"] += 1
        self._staged_bytes += len(record.key) + _size(value)

    def _is_expired_hash(self, record: RdbKey) -> bool:
        value = record.value
        return (
            isinstance(value, HashValue)
            and record.is_last
            and value.has_expiry
            and all(0 < entry[2] <= self._load_ms for entry in value.entries)
        )

    def _extend(self, record: RdbKey) -> None:
        try:
            pieces.extend(self._engine.database(record.db), record.key, record.value, record.is_last)
        except RdbDataError as exc:
            message = f"key {record.key!r}: {exc}"
            raise TransferError(message) from exc

    def _put_function(self, code: bytes) -> None:
        try:
            self._instance.scripts.change_libraries(lambda functions: functions.load(code, replace=True))
        except CommandError as exc:
            self._note_error(f"a function library was not loaded: {exc}")
            return
        self._counts["functions"] += 1

    # ---- commands

    def _run(self, argv: list[bytes]) -> None:
        """Execute a command of a stream.

        Nothing expires while a stream is read: what it has to say about keys came from a time at which they lived, and
        their end is in the stream too, or comes when the server finds them expired.
        """
        client, engine = self._client, self._engine
        engine.now_ms = self._now_ms if needs_clock(argv) else _LONG_AGO_MS
        execute_batch(client, [argv], 0, 1)
        engine.now_ms = self._load_ms
        if client.blocked is not None:
            self._instance.blocking.unblock(client)
            self._note_error(f"{argv[0].decode('latin-1')} would block")
        self._counts["commands"] += 1
        for reply in client.out:
            if reply[:1] == b"-":
                self._note_error(f"{argv[0].decode('latin-1')}: {reply[1:].strip().decode('utf-8', 'replace')}")
        client.out.clear()

    def _note_error(self, message: str) -> None:
        self._counts["errors"] += 1
        if self._counts["errors"] <= _MAX_SHOWN_ERRORS:
            self.notes.append(f"error: {message}")

    # ---- steps

    def _commit(self) -> None:
        self._engine.rows.put(UNFINISHED_IMPORT, msgpack.packb([self._identity, self._done, self._passed_over]))
        self._engine.commit()
        self._instance.woken.clear()
        self._staged_bytes = 0

    def flush(self) -> None:
        """Commit what is staged, unless a transaction is under way."""
        if self._client.transaction is None:
            self._commit()

    def finish(self) -> None:
        if self._client.transaction is not None:
            execute_batch(self._client, [[b"DISCARD"]], 0, 1)
        self._engine.rows.delete(UNFINISHED_IMPORT)
        self._engine.commit(sync=True)
        over = max((index for index, found in self._engine.databases.items() if found.keys), default=0)
        if over >= Config().databases:
            self.notes.append(f"keys are in database {over}: start the server with --databases {over + 1} or more")
        self.close()

    def close(self) -> None:
        """Let go of the directory; what was not committed is left to the next attempt."""
        self._store.close()


def _size(value: object) -> int:
    return len(value) if isinstance(value, bytes) else 200


class StoreSource:
    """A stopped directory as source."""

    def __init__(self, store: Store, name: str, selection: Selection) -> None:
        self.name = name
        self.notes: list[str] = []
        self.total_bytes = 0
        self.stats = ExportStats()
        self._selection = selection
        self._engine = open_snapshot(store, time.time_ns() // 1_000_000)
        self.total_keys = sum(
            database.keys for index, database in self._engine.databases.items() if selection.has_database(index)
        )

    @property
    def offset(self) -> int:
        return 0

    def items(self) -> Iterator[Item]:
        yield from records(self._engine, self._selection, self.stats)

    def close(self) -> None:
        self._engine.close()
