"""One logical database: keys to values, with the turn's changes over the cache over the store.

The methods here run several times in every command, hence their plainness: no wrappers, no properties, local names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import repeat
from typing import TYPE_CHECKING, Any

from diskkv.codec.header import HASH, Header, Value, decode_header, expire_ms_of, next_field_expiry
from diskkv.codec.keys import GARBAGE_OBJECT, garbage_row, header_prefix, prefix_successor
from diskkv.engine.overlay import ABSENT, KeyIndex, merge_staged
from diskkv.engine.rows import Undo

if TYPE_CHECKING:
    from diskkv.engine.engine import Engine


_ONLY_PLAIN = {bytes}
Scan = Callable[[bytes, bytes, bool], Iterator[tuple[bytes, bytes]]]


class Database:
    """The database that SELECT `index` shows.

    `id` is its number on disk (FLUSHDB and SWAPDB change it), `keys` and `expires` are exact. `staged` holds the turn's
    changes by key; None deletes.
    """

    # No __slots__: journal entries restore attributes through __dict__.

    def __init__(self, engine: Engine, index: int, db_id: int, mapped: bool) -> None:
        self.engine = engine
        self.read_row = engine.reader.read
        self.index = index
        self.keys = 0
        self.expires = 0
        self.saved_counts = (0, 0)
        self.mapped = mapped
        self.staged: dict[bytes, Value | None] = {}
        self.staged_index = KeyIndex(self.staged)
        self.observer: Callable[[Database, bytes], None] | None = None
        """Called with every key that changes while someone watches, tracks or waits on this database."""
        self.adopt(db_id, engine.cache.segment())

    def adopt(self, db_id: int, segment: Any) -> None:
        """Show the database that has this id on disk."""
        self.id = db_id
        self.prefix = header_prefix(db_id)
        self.segment = segment
        self.cached: dict[bytes, Value] = segment.data
        self.cache_hits: set[bytes] = segment.hits

    # ---- reading

    def get(self, key: bytes) -> Value | None:
        """The live value of `key`, or None. A value past its time is deleted on the way."""
        value = self.staged.get(key, ABSENT)
        if value is ABSENT:
            value = self.cached.get(key)
            if value is None:
                value = self._load(key)
            elif self.segment.is_pressed:
                self.cache_hits.add(key)
        if value.__class__ is bytes or value is None:
            return value
        gone_ms: int = value.gone_ms  # type: ignore[union-attr]
        if gone_ms and gone_ms <= self.engine.now_ms:
            self.engine.expire(self, key, value)  # type: ignore[arg-type]
            return None
        return value  # type: ignore[return-value]

    def read(self, key: bytes) -> Value | None:
        """As `get`, for the lookups of read commands, which count as keyspace hits and misses."""
        # The common case of `get`, once more: a plain string in the cache.
        value = self.cached.get(key)
        if value.__class__ is bytes and key not in self.staged:
            if self.segment.is_pressed:
                self.cache_hits.add(key)
            self.engine.keyspace_hits += 1
            return value
        value = self.get(key)
        if value is None:
            self.engine.keyspace_misses += 1
            miss = self.engine.on_miss
            if miss is not None:
                miss(self, key)
        else:
            self.engine.keyspace_hits += 1
        return value

    def read_many(self, keys: list[bytes]) -> list[Value | None]:
        """`read` of every key."""
        if self.staged:
            return list(map(self.read, keys))
        values: list[Value | None] = list(map(self.cached.get, keys))
        others = [at for at, value in enumerate(values) if value.__class__ is not bytes]
        self.engine.keyspace_hits += len(keys) - len(others)
        for at in others:
            values[at] = self.read(keys[at])
        if self.segment.is_pressed:
            self.cache_hits.update(keys)
        return values

    def get_many(self, keys: list[bytes]) -> list[Value | None]:
        """`get` of every key, but as if nobody read them; for those that are put next."""
        if self.staged and not self.staged.keys().isdisjoint(keys):
            return list(map(self.get, keys))
        values: list[Value | None] = list(map(self.cached.get, keys))
        if set(map(type, values)) != _ONLY_PLAIN:
            is_complete = self.is_complete
            for at, value in enumerate(values):
                if value.__class__ is not bytes and not (value is None and is_complete):
                    values[at] = self.get(keys[at])
        return values

    def peek(self, key: bytes) -> Value | None:
        """The value of `key` whether expired or not, leaving the cache as it is."""
        value = self.staged.get(key, ABSENT)
        if value is not ABSENT:
            return value  # type: ignore[return-value]
        cached = self.cached.get(key)
        if cached is not None:
            return cached
        row = self.prefix + key
        record = self.read_row(row)
        return None if record is None else decode_header(record, row)

    @property
    def is_complete(self) -> bool:
        """Whether all keys that the store has are cached."""
        return len(self.cached) == self.saved_counts[0]

    def _load(self, key: bytes) -> Value | None:
        if len(self.cached) == self.saved_counts[0]:
            return None
        row = self.prefix + key
        record = self.read_row(row)
        if record is None:
            return None
        value = decode_header(record, row)
        self.segment.store(key, value)
        return value

    def scan_heads(
        self, start: bytes, stop: bytes | None = None, reverse: bool = False
    ) -> Iterator[tuple[bytes, Value]]:
        """As `scan`, for type and time to live only: long strings may come without their bytes."""
        return self.scan(start, stop, reverse, self.engine.store.scan_heads)

    def scan(
        self, start: bytes, stop: bytes | None = None, reverse: bool = False, read: Scan | None = None
    ) -> Iterator[tuple[bytes, Value]]:
        """(key, value) of keys with start <= key < stop (None: no end), expired ones included, in lexical order."""
        prefix = self.prefix
        size = len(prefix)
        end = prefix_successor(prefix) if stop is None else prefix + stop
        read = read or self.engine.store.scan
        stored = ((row[size:], record) for row, record in read(prefix + start, end, reverse))
        rows: Iterator[tuple[bytes, Any]] = stored
        keys: list[bytes] = []
        if self.staged:
            # A staged key has no upper bound to compare with when stop is None: every key sorts below this one.
            limit = b"\xff" * (1 + max(map(len, self.staged))) if stop is None else stop
            keys = self.staged_index.range(start, limit, reverse)
            if keys:
                rows = merge_staged(stored, self.staged, keys, reverse)
        # Of what is staged now: the scan of a reply that is streamed goes on in later turns.
        merged = frozenset(keys)
        for key, found in rows:
            if found.__class__ is bytes and key not in merged:
                yield key, decode_header(found, prefix + key)
            else:
                yield key, found

    # ---- writing

    def put(self, key: bytes, new: Value, old: Value | None) -> None:
        """Stage `new` as the value of `key`. `old` is what `get` just answered for it.

        Counts, the expiry index and the reclaim of rows that only `old` refers to follow from the difference.
        """
        engine = self.engine
        staged = self.staged
        journal = engine.journal
        if not staged and self not in engine.dirty:
            engine.dirty.append(self)
        journal.append((staged, key, staged.get(key, ABSENT)))
        staged[key] = new
        if old is None:
            journal.append((self.__dict__, "keys", self.keys))
            self.keys += 1
            if engine.on_new is not None:
                engine.on_new(self, key)
        if new.__class__ is not bytes or (old is not None and old.__class__ is not bytes):
            self._link(key, new, old)
        if self.observer is not None:
            self.observer(self, key)

    def adjust(self, key: bytes, header: Header, count: int, ext: Any) -> None:
        """Give the big value `header`, which `get` just answered for `key`, another count (not 0) and ext.

        As `put` of such a copy, but the copy is made once in a turn and then changed in place: nobody else has it yet.
        Not for hashes with fields that expire: these have more to adjust.
        """
        engine = self.engine
        if header.turn == engine.turn:
            engine.journal.append((header, "", (header.count, header.ext)))
            header.count = count
            header.ext = ext
            if self.observer is not None:
                self.observer(self, key)
            return
        new = Header(header.type, None, header.expire_ms, header.oid, count, ext, header.raw)
        new.turn = engine.turn
        self.put(key, new, header)

    def replace_plain(self, key: bytes, data: bytes) -> bool:
        """Put a plain string where there is one already: the common case of SET, with nothing else to adjust.

        False, with nothing done, when the case is another one.
        """
        staged = self.staged
        before = staged.get(key, ABSENT)
        old = self.cached.get(key) if before is ABSENT else before
        if old.__class__ is not bytes or not staged or self.observer is not None:
            return False
        if self.segment.is_pressed:
            self.cache_hits.add(key)
        self.engine.journal.append((staged, key, before))
        staged[key] = data
        return True

    def put_plain(self, keys: list[bytes], values: list[bytes]) -> None:
        """Put short plain strings, whatever was there before; nobody may observe the database."""
        new = dict(zip(keys, values, strict=True))
        olds: list[Any] = list(map(self.cached.get, new))
        if self.staged and not self.staged.keys().isdisjoint(new):
            found = map(self.staged.get, new, repeat(ABSENT))
            olds = [cached if old is ABSENT else old for old, cached in zip(found, olds, strict=True)]
        made: list[bytes] = []
        if set(map(type, olds)) != _ONLY_PLAIN:
            is_complete = self.is_complete
            for key, old in zip(list(new), olds, strict=True):
                if old.__class__ is not bytes:
                    if old is None and is_complete and key not in self.staged:
                        made.append(key)
                        continue
                    value = self.get(key)
                    if value is None:
                        made.append(key)
                    elif value.__class__ is not bytes:
                        self.put(key, new.pop(key), value)
        self.stage_plain(new, made)

    def stage_plain(self, new: dict[bytes, bytes], made: list[bytes]) -> None:
        """Stage plain strings of keys for which `get` just answered a plain string, or None for those in `made`."""
        engine = self.engine
        staged = self.staged
        if not staged and self not in engine.dirty:
            engine.dirty.append(self)
        if made:
            engine.journal.append((self.__dict__, "keys", self.keys))
            self.keys += len(made)
            if engine.on_new is not None:
                for key in made:
                    engine.on_new(self, key)
        if staged and not staged.keys().isdisjoint(new):
            engine.journal.extend(zip(repeat(staged), new, map(staged.get, new, repeat(ABSENT))))
        else:
            engine.journal.append((Undo(staged), list(new), None))
        staged.update(new)
        if self.segment.is_pressed:
            self.cache_hits.update(new)

    def delete(self, key: bytes, old: Value, reclaim: bool = True) -> None:
        """Stage the deletion of `key`, whose value is `old`; without `reclaim` its rows live on under another key."""
        engine = self.engine
        staged = self.staged
        journal = engine.journal
        if not staged and self not in engine.dirty:
            engine.dirty.append(self)
        journal.append((staged, key, staged.get(key, ABSENT)))
        staged[key] = None
        journal.append((self.__dict__, "keys", self.keys))
        self.keys -= 1
        if old.__class__ is not bytes:
            if old.expire_ms:  # type: ignore[union-attr]
                self._count_expires(-1)
                engine.unindex_expiry(old.expire_ms, self.id, key)  # type: ignore[union-attr]
            if reclaim and old.oid:  # type: ignore[union-attr]
                engine.rows.put(garbage_row(GARBAGE_OBJECT, old.oid), b"")  # type: ignore[union-attr]
                engine.has_garbage = True
        if self.observer is not None:
            self.observer(self, key)

    def touch(self, key: bytes) -> None:
        """Tell watchers that rows of `key` changed while its header did not."""
        self.engine.changes += 1
        if self.observer is not None:
            self.observer(self, key)

    def _link(self, key: bytes, new: Value, old: Value | None) -> None:
        """Adjust what hangs on a header: the expiry index, the count of keys with a TTL, rows that became garbage."""
        engine = self.engine
        new_ms = expire_ms_of(new)
        old_ms = 0 if old is None else expire_ms_of(old)
        has_timed_fields = isinstance(new, Header) and new.type == HASH and bool(new.ext)
        if new_ms != old_ms:
            if not old_ms:
                self._count_expires(1)
            if not new_ms:
                self._count_expires(-1)
                if not has_timed_fields:
                    # The fields' entry may be this one.
                    engine.unindex_expiry(old_ms, self.id, key)
            elif not old_ms or new_ms < old_ms:
                # An entry may be early: when a time to live is extended the old entry stays, and the sweeper that
                # meets it puts the later one. A session that is refreshed all the time so costs no index writes.
                engine.index_earlier(new_ms, self.id, key)
        if has_timed_fields:
            self._index_fields(key, new, old)  # type: ignore[arg-type]
        if isinstance(old, Header) and old.oid and not (isinstance(new, Header) and new.oid == old.oid):
            engine.rows.put(garbage_row(GARBAGE_OBJECT, old.oid), b"")
            engine.has_garbage = True

    def _index_fields(self, key: bytes, new: Header, old: Value | None) -> None:
        """Keep an index entry at or before the time at which the next field of a hash expires."""
        new_ms = next_field_expiry(new)
        old_ms = next_field_expiry(old) if isinstance(old, Header) and old.type == HASH else 0
        if new_ms and not 0 < old_ms <= new_ms:
            self.engine.index_expiry(new_ms, self.id, key)

    def _count_expires(self, delta: int) -> None:
        self.engine.journal.append((self.__dict__, "expires", self.expires))
        self.expires += delta
