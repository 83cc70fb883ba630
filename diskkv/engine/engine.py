"""The engine: databases over one store, and the turn that changes them atomically.

A turn is everything between `begin` and `commit`. Commands stage changes in overlays (Database.staged, Rows.staged);
each change leaves a journal entry, so that a failed command is undone by `rollback` to the mark taken before it.
`commit` writes all overlays as one batch and only then lets the cache see them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from diskkv.codec.header import STRING_TAG, Header, encode_header
from diskkv.codec.keys import (
    FORMAT_VERSION,
    GARBAGE_DATABASE,
    GARBAGE_OBJECT,
    SCANNED_KINDS,
    SYSTEM_COUNTS,
    SYSTEM_DATABASE,
    SYSTEM_DATABASE_LEASE,
    SYSTEM_FORMAT,
    SYSTEM_LEASE,
    U32,
    U64,
    decode_counts,
    encode_counts,
    expiry_row,
    garbage_row,
    object_range,
    prefix_successor,
)
from diskkv.config import Config
from diskkv.engine.cache import Cache
from diskkv.engine.database import Database
from diskkv.engine.dead_space import SAMPLED, DeadSpace
from diskkv.engine.overlay import ABSENT
from diskkv.engine.row_reader import RowReader
from diskkv.engine.rows import ELEMENT_TAG_BYTE, KIND_AT, Journal, Rows
from diskkv.engine.store import Store
from diskkv.engine.upgrades import require_current, stored_format
from diskkv.errors import StorageError

_OID_LEASE = 1 << 16
"""Object ids are leased from disk in blocks: one extra row every 65536 ids, at most that many unused after a crash."""

_INDEXED_KEYS = 50_000
_THINNED_ROWS = 10_000
_COUNTED_OBJECTS = 10_000
NEVER_MS = 1 << 62


class Engine:
    """Databases, rows, cache and the open turn. Not thread-safe: everything happens between two awaits."""

    def __init__(self, store: Store, config: Config) -> None:
        self.store = store
        self.config = config
        """Read by the data types: the limits up to which small collections stay packed."""
        self.cache = Cache(config.cache_size)
        self.journal: Journal = []
        self.dirty: list[Database] = []
        self.reader = RowReader(store, self.journal)
        self.rows = Rows(store, self.reader, self.cache.segment(), self.journal)
        self.databases: dict[int, Database] = {}
        self.by_id: dict[int, Database] = {}
        self.now_ms = 0
        self.changes = 0
        """Changes staged since the start (Redis' dirty counter)."""
        self.commits = 0
        self.turn = 1
        """Which turn this is, of those that staged something."""
        self.sync_requested = False
        """A command of this turn asked that its commit be on stable storage."""
        self.keyspace_hits = 0
        self.keyspace_misses = 0
        self.expired_keys = 0
        self.next_expiry_ms = NEVER_MS
        """No entry of the expiry index is earlier than this."""
        self.on_expired: Callable[[Database, bytes], None] | None = None
        self.on_due: Callable[[Database, bytes, Header], int] | None = None
        """Called with a hash whose index entry is due while the key itself is not: its fields may be. Deletes some of
        those that expired, indexes the next one, and answers how many it deleted."""
        self.on_fields_expired: Callable[[Database, bytes, bool], None] | None = None
        """Called after fields of a key expired, with whether that was the end of the key."""
        self.expired_fields = 0
        self.indexed: dict[tuple[int, bytes], int] = {}
        """The time of the latest entry in the expiry index by (database id, key), for keys that got one lately. Without
        it a time to live that jitters would leave an entry behind every time that it gets shorter."""
        self.on_miss: Callable[[Database, bytes], None] | None = None
        self.on_new: Callable[[Database, bytes], None] | None = None
        self.on_open: Callable[[Database], None] | None = None
        """Called with every database that comes into being."""
        self.swept_ms = 0
        """No entry of the expiry index is earlier, so that a sweep need not walk over what earlier ones deleted."""
        self._segments_changed = False
        self.has_garbage = True
        """Set whenever a garbage row is put; the reclaimer resets it when it finds none left."""
        self.failed_commits = 0
        """How many turns were lost; whoever remembers how far background work came must then forget it."""
        self.emptied: list[tuple[bytes, bytes]] = []
        """Ranges of the store that lost many rows, to be compacted in the background."""
        self._removed: dict[int, int] = {}
        self.dead_space = DeadSpace()
        self._unsampled = 0
        self.read_only = False
        """The store takes no writes now: nothing that only helps is to be staged."""
        self.expiry_paused = False
        """While set, expired values are hidden but not deleted."""
        self.mirrors: dict[int, Any] = {}
        """What data types keep in memory about big values, by object id, equal to rows as staged over stored. Whoever
        changes one journals (mirrors, oid, None) first: after a rollback it is made anew from the rows."""
        self._check_format()
        self._load_ids()

    def _check_format(self) -> None:
        version = stored_format(self.store)
        if version is None:
            self.store.write({SYSTEM_FORMAT: U32.pack(FORMAT_VERSION)})
        else:
            require_current(version, "the data directory")

    def _load_ids(self) -> None:
        raw = self.store.get(SYSTEM_LEASE)
        self._next_oid = U64.unpack(raw)[0] if raw else 1
        self._oid_lease = self._next_oid
        self.know_new_objects()
        raw = self.store.get(SYSTEM_DATABASE_LEASE)
        self._next_db_id: int = U32.unpack(raw)[0] if raw else 1
        for index, db_id in self._stored_databases():
            self._open_database(index, db_id, True)
        for row in self.store.scan_keys(b"t", b"u"):
            (self.next_expiry_ms,) = U64.unpack(row[1:9])
            break

    def _stored_databases(self) -> list[tuple[int, int]]:
        """(index, id) of every database that was ever written to."""
        return [
            (U32.unpack(row[len(SYSTEM_DATABASE) :])[0], U32.unpack(value)[0])
            for row, value in self.store.scan(SYSTEM_DATABASE, prefix_successor(SYSTEM_DATABASE))
            if len(row) == len(SYSTEM_DATABASE) + 4
        ]

    def _open_database(self, index: int, db_id: int, mapped: bool) -> Database:
        database = Database(self, index, db_id, mapped)
        raw = self.store.get(SYSTEM_COUNTS + U32.pack(db_id))
        if raw is not None:
            database.keys, database.expires = database.saved_counts = decode_counts(raw)
        self.databases[index] = database
        self.by_id[db_id] = database
        if self.on_open is not None:
            self.on_open(database)
        return database

    def database(self, index: int) -> Database:
        """The database with this number (the caller has checked its range); made when first asked for."""
        found = self.databases.get(index)
        return found or self._open_database(index, self._new_db_id(), False)

    def _new_db_id(self) -> int:
        db_id = self._next_db_id
        self._next_db_id += 1
        return db_id

    def new_oid(self) -> int:
        """A fresh object id, never used before on this store."""
        oid = self._next_oid
        if oid >= self._oid_lease:
            self.journal.append((self.__dict__, "_oid_lease", self._oid_lease))
            self._oid_lease = oid + _OID_LEASE
            self.rows.put(SYSTEM_LEASE, U64.pack(self._oid_lease))
        self._next_oid = oid + 1
        return oid

    def know_new_objects(self) -> None:
        """The cache will know all rows of the objects that are made from now on (see Rows)."""
        self.rows.know_from(self._next_oid)

    @property
    def oid_lease(self) -> int:
        """No object id in use is this large."""
        return self._oid_lease

    # ---- the turn

    def begin(self, now_ms: int) -> None:
        """Start a turn; every command in it sees the same clock."""
        self.now_ms = now_ms

    def rollback(self, mark: int) -> None:
        """Undo everything staged since the journal had `mark` entries."""
        journal = self.journal
        if len(journal) == mark:
            return
        while len(journal) > mark:
            target, key, before = journal.pop()
            if before is ABSENT:
                del target[key]
            else:
                target[key] = before
        self.rows.reset_index()
        for database in self.dirty:
            database.staged_index.reset()
        self._reindex()

    def commit(self, sync: bool = False) -> None:
        """Write everything staged in one batch. Raises StorageError after dropping the turn when that fails."""
        requested = self.sync_requested
        self.sync_requested = False
        if not self.journal:
            if requested:
                self.store.sync()
            return
        try:
            self._write(sync or requested)
        except StorageError:
            self.rollback(0)
            self._forget_staged()
            self.failed_commits += 1
            # What the sweeper dealt with in this turn is due again.
            self.next_expiry_ms = self.swept_ms = 0
            self.has_garbage = True
            raise
        self._publish()
        self._forget_staged()
        self.commits += 1

    def _write(self, sync: bool) -> None:
        rows: dict[bytes, bytes | None] = {}
        for database in self.dirty:
            prefix = database.prefix
            for key, value in database.staged.items():
                if value.__class__ is bytes:
                    rows[prefix + key] = STRING_TAG + value
                elif value is None:
                    rows[prefix + key] = None
                    self._unsampled += 1
                    if self._unsampled == SAMPLED:
                        self._unsampled = 0
                        self.dead_space.add_headers(prefix + key, SAMPLED)
                else:
                    rows[prefix + key] = encode_header(value)
            if not database.mapped:
                rows[SYSTEM_DATABASE + U32.pack(database.index)] = U32.pack(database.id)
                rows[SYSTEM_DATABASE_LEASE] = U32.pack(self._next_db_id)
            if database.saved_counts != (database.keys, database.expires):
                rows[SYSTEM_COUNTS + U32.pack(database.id)] = encode_counts(database.keys, database.expires)
        rows.update(self.rows.staged)
        self.store.write(rows, sync)

    def _publish(self) -> None:
        """Let the cache see what was committed; the only place that changes it besides filling after a read."""
        if self.reader.fetches:
            self._replace_fetched()
        for database in self.dirty:
            self.changes += len(database.staged)
            database.segment.store_all(database.staged)
            database.mapped = True
            database.saved_counts = (database.keys, database.expires)
        # As `is_cached_row`, which a call for every row would make twice as long.
        kept = {
            row: raw
            for row, raw in self.rows.staged.items()
            if row[0] == ELEMENT_TAG_BYTE and row[KIND_AT] not in SCANNED_KINDS
        }
        if kept:
            self.rows.segment.store_all(kept)

    def _replace_fetched(self) -> None:
        """Tell the reader of rows that changed while, or after, they were read for a command that has yet to run."""
        fetches = self.reader.fetches
        for database in self.dirty:
            prefix = database.prefix
            for key, value in database.staged.items():
                fetch = fetches.get(prefix + key)
                if fetch is None:
                    continue
                if value is None:
                    fetch.replace(None)
                else:
                    fetch.replace(STRING_TAG + value if value.__class__ is bytes else encode_header(value))
        for row, raw in self.rows.staged.items():
            fetch = fetches.get(row)
            if fetch is not None:
                fetch.replace(raw)

    def _forget_staged(self) -> None:
        for database in self.dirty:
            database.staged.clear()
            database.staged_index.reset()
        self.dirty.clear()
        self.rows.clear_staged()
        self.journal.clear()
        self.turn += 1
        if len(self.indexed) > _INDEXED_KEYS:
            self.indexed.clear()
        if self._segments_changed:
            self._segments_changed = False
            used = {id(database.segment) for database in self.databases.values()} | {id(self.rows.segment)}
            for segment in list(self.cache.segments):
                if id(segment) not in used:
                    self.cache.drop(segment)

    def reset_stats(self) -> None:
        """Start counting hits, misses and expired keys from zero."""
        self.keyspace_hits = self.keyspace_misses = self.expired_keys = self.expired_fields = 0

    def note_removed(self, oid: int, removed: int, remaining: int) -> None:
        """Count rows deleted from a big value that lives on with `remaining` elements.

        LevelDB's scans walk over what is left of deleted rows. Once there are more of those than elements, the value's
        range is to be compacted. The count is kept in memory: after a restart it starts again, which only costs time.
        """
        total = self._removed.get(oid, 0) + removed
        if total >= _THINNED_ROWS and total >= remaining:
            self.emptied.append(object_range(oid))
            total = 0
        elif len(self._removed) > _COUNTED_OBJECTS:
            self._removed.clear()
        self._removed[oid] = total

    # ---- expiry

    def index_expiry(self, at_ms: int, db_id: int, key: bytes) -> None:
        """Have the sweeper look at `key` at `at_ms`."""
        if at_ms < self.next_expiry_ms:
            self.next_expiry_ms = at_ms
            self.swept_ms = min(self.swept_ms, at_ms)
        name = (db_id, key)
        self.journal.append((self.indexed, name, self.indexed.get(name, ABSENT)))
        self.indexed[name] = at_ms
        self.rows.put(expiry_row(at_ms, db_id, key), b"")

    def index_earlier(self, at_ms: int, db_id: int, key: bytes) -> None:
        """Have the sweeper look at `key` at `at_ms` or before: an entry that is there may do."""
        known_ms = self.indexed.get((db_id, key))
        if known_ms is None or known_ms > at_ms:
            if known_ms is not None:
                self.rows.delete(expiry_row(known_ms, db_id, key))
            self.index_expiry(at_ms, db_id, key)

    def unindex_expiry(self, at_ms: int, db_id: int, key: bytes) -> None:
        """Take the entry out that a key with this time to live has, as far as it is known where it is."""
        name = (db_id, key)
        known_ms = self.indexed.get(name)
        if known_ms is not None:
            self.journal.append((self.indexed, name, known_ms))
            del self.indexed[name]
            at_ms = known_ms
        self.rows.delete(expiry_row(at_ms, db_id, key))

    def expire(self, database: Database, key: bytes, value: Header) -> None:
        """Delete a value past its time (unless that is paused); always answers None."""
        if self.expiry_paused:
            return
        database.delete(key, value)
        if not 0 < value.expire_ms <= self.now_ms:
            self.fields_expired(database, key, len(value.value) if value.value is not None else value.count, True)
            return
        self.expired_keys += 1
        if self.on_expired is not None:
            self.on_expired(database, key)

    def fields_expired(self, database: Database, key: bytes, fields: int, is_last: bool) -> None:
        """Note that `fields` of a hash expired; `is_last`: the key went with them."""
        self.expired_fields += fields
        if self.on_fields_expired is not None:
            self.on_fields_expired(database, key, is_last)

    # ---- whole databases

    def flush(self, database: Database) -> None:
        """Empty a database in constant time: it gets a new id, and the old one is left to the reclaimer."""
        if not database.keys and not database.staged:
            return
        # Not `mapped`: after a swap in the same turn the id is in use on disk, though under another index.
        if self.store.get(SYSTEM_COUNTS + U32.pack(database.id)) is not None:
            self.rows.put(garbage_row(GARBAGE_DATABASE, database.id), b"")
            self.has_garbage = True
            self.rows.delete(SYSTEM_COUNTS + U32.pack(database.id))
        self._settle(database)
        self._replace(database, self._new_db_id(), self.cache.segment(), 0, 0, {})
        self._reindex()

    def _settle(self, database: Database) -> None:
        """Keep for the reclaimer what the turn staged in a database that is given up.

        Stored headers that the turn deleted or replaced must go: the value may live on elsewhere (MOVE), and those that
        do not are garbage already. Big values that the turn made are known from what is staged only.
        """
        for key, value in database.staged.items():
            self.rows.delete(database.prefix + key)
            if isinstance(value, Header) and value.oid:
                self.rows.put(garbage_row(GARBAGE_OBJECT, value.oid), b"")
                self.has_garbage = True

    def swap(self, first: Database, second: Database) -> None:
        """Exchange what two databases show, in constant time."""
        if first is second:
            return
        mine = (first.id, first.segment, first.keys, first.expires, first.staged)
        self._replace(first, second.id, second.segment, second.keys, second.expires, second.staged)
        self._replace(second, *mine)
        self._reindex()

    def _reindex(self) -> None:
        self.by_id = {database.id: database for database in self.databases.values()}

    def _replace(self, database: Database, db_id: int, segment: Any, keys: int, expires: int, staged: Any) -> None:
        attributes = database.__dict__
        for name in ("id", "prefix", "segment", "cached", "cache_hits", "keys", "expires", "staged", "staged_index"):
            self.journal.append((attributes, name, attributes[name]))
        self.journal.append((attributes, "mapped", database.mapped))
        database.adopt(db_id, segment)
        database.keys = keys
        database.expires = expires
        database.staged = staged
        database.staged_index = type(database.staged_index)(staged)
        database.mapped = False
        database.saved_counts = (-1, -1)
        self._segments_changed = True
        if database not in self.dirty:
            self.dirty.append(database)

    def reopen(self) -> None:
        """Close and open the store, and see that it takes writes. Raises StorageError when it does not.

        A batch whose write failed may be in the store's log all the same (the sync was what failed) and comes back now.
        """
        self.reload()
        self.store.write({SYSTEM_FORMAT: U32.pack(FORMAT_VERSION)}, sync=True)

    def reload(self) -> None:
        """Open the store anew with empty caches, and read the counts from it again; nothing may be staged."""
        self.reader.suspend()
        self.store.reopen()
        for segment in self.cache.segments:
            segment.clear()
        self.know_new_objects()
        self.mirrors.clear()
        self.indexed.clear()
        for index, db_id in self._stored_databases():
            database = self.database(index)
            if database.id != db_id:
                database.adopt(db_id, database.segment)
                database.keys, database.expires = database.saved_counts = (0, 0)
            database.mapped = True
            self._next_db_id = max(self._next_db_id, db_id + 1)
        self._reindex()
        self.next_expiry_ms = self.swept_ms = 0
        for database in self.databases.values():
            raw = self.store.get(SYSTEM_COUNTS + U32.pack(database.id))
            if raw is not None:
                database.keys, database.expires = database.saved_counts = decode_counts(raw)
        self.has_garbage = True

    def close(self) -> None:
        """Commit nothing, release the store."""
        self.reader.close()
        self.store.close()
