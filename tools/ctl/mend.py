"""Mends what follows from other rows, after rows were lost: counts, leases, the expiry index, objects without a key.

Not mended is what a lost row said itself: a collection that misses elements stays as it is, and `check` names it.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from itertools import count
from struct import Struct

from diskkv.codec import keys
from diskkv.codec.header import Header, Value, decode_header, expire_ms_of
from diskkv.codec.keys import (
    ELEMENT_TAG,
    GARBAGE_DATABASE,
    GARBAGE_OBJECT,
    GARBAGE_TAG,
    HEADER_PREFIX_SIZE,
    HEADER_TAG,
    SYSTEM_COUNTS,
    SYSTEM_DATABASE,
    SYSTEM_DATABASE_LEASE,
    SYSTEM_FORMAT,
    SYSTEM_LEASE,
    U32,
    U64,
    decode_garbage_row,
    encode_counts,
    expiry_row,
    garbage_row,
    object_range,
    prefix_successor,
)
from diskkv.engine.leveldb import LevelDBStore
from diskkv.errors import CorruptionError
from tools.ctl.check import due_ms
from tools.ctl.output import Progress, quoted
from tools.ctl.store import databases

_BATCH_ROWS = 10_000


class _Writer:
    """Writes rows in batches."""

    def __init__(self, store: LevelDBStore) -> None:
        self._store = store
        self._rows: dict[bytes, bytes | None] = {}

    def put(self, row: bytes, value: bytes | None) -> None:
        """Put a row, or delete it (None)."""
        self._rows[row] = value
        if len(self._rows) >= _BATCH_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what was put so far, on stable storage."""
        self._store.write(self._rows, sync=True)
        self._rows.clear()


def mend(store: LevelDBStore) -> list[str]:
    """Mend everything that can be; answers what was."""
    mender = Mender(store)
    mender.run()
    return mender.done


class Mender:
    """One pass over the headers, then one over the first row of every object. `done` says what was mended."""

    def __init__(self, store: LevelDBStore) -> None:
        self.done: list[str] = []
        self._store = store
        self._writer = _Writer(store)
        self._counts: dict[int, list[int]] = {}
        self._objects: array[int] = array("Q")
        self._expiry_entries = 0

    def run(self) -> None:
        """Mend everything."""
        if self._store.get(SYSTEM_FORMAT) is None:
            self._writer.put(SYSTEM_FORMAT, U32.pack(keys.FORMAT_VERSION))
            self.done.append(f"the format was missing, it is taken to be {keys.FORMAT_VERSION}")
        self._adopt_databases()
        self._counts = {entry.id: [0, 0] for entry in databases(self._store)}
        for row, record in Progress("mended").watch(self._store.scan(HEADER_TAG, prefix_successor(HEADER_TAG))):
            self._look_at(row, record)
        if self._expiry_entries:
            self.done.append(f"{self._expiry_entries} expiry entries were missing")
        self._mend_counts()
        self._objects = array("Q", sorted(self._objects))
        self._mend_objects()
        self._mend_garbage()
        self._mend_leases()
        self._writer.flush()

    def _adopt_databases(self) -> None:
        """Give keys of a database that no index shows an index, unless they wait to be reclaimed."""
        known = databases(self._store)
        ids = {entry.id for entry in known}
        free = (index for index in count() if all(entry.index != index for entry in known))
        position, stop = HEADER_TAG + U32.pack(0), prefix_successor(HEADER_TAG)
        while (row := next(iter(self._store.scan_keys(position, stop)), None)) is not None:
            if len(row) < HEADER_PREFIX_SIZE:
                position = row + b"\x00"
                continue
            (db_id,) = U32.unpack_from(row, 1)
            if db_id not in ids and self._store.get(garbage_row(GARBAGE_DATABASE, db_id)) is None:
                index = next(free)
                self._writer.put(SYSTEM_DATABASE + U32.pack(index), U32.pack(db_id))
                self.done.append(f"the keys with database id {db_id} belonged to no database; they are db{index} now")
            position = keys.database_range(db_id)[1]
        self._writer.flush()

    def _look_at(self, row: bytes, record: bytes) -> None:
        if len(row) < HEADER_PREFIX_SIZE:
            self._writer.put(row, None)
            self.done.append(f"the row {row.hex()} was too short: removed")
            return
        (db_id,) = U32.unpack_from(row, 1)
        key = row[HEADER_PREFIX_SIZE:]
        try:
            value = decode_header(record, row)
        except CorruptionError:
            self._writer.put(row, None)
            self.done.append(f"the header of {quoted(key, 200)} does not decode: removed")
            return
        if isinstance(value, Header) and value.oid:
            self._objects.append(value.oid)
        counts = self._counts.get(db_id)
        if counts is not None:
            counts[0] += 1
            counts[1] += bool(expire_ms_of(value))
            self._mend_expiry(db_id, key, value)

    def _mend_expiry(self, db_id: int, key: bytes, value: Value) -> None:
        at_ms = due_ms(value)
        # An earlier entry does as well, but looking for one costs more than another entry.
        if at_ms and self._store.get(row := expiry_row(at_ms, db_id, key)) is None:
            self._writer.put(row, b"")
            self._expiry_entries += 1

    def _mend_counts(self) -> None:
        for entry in databases(self._store):
            found_keys, found_expires = self._counts[entry.id]
            if (entry.keys, entry.expires) != (found_keys, found_expires):
                self._writer.put(SYSTEM_COUNTS + U32.pack(entry.id), encode_counts(found_keys, found_expires))
                self.done.append(
                    f"db{entry.index} counted {entry.keys} keys, {entry.expires} of them with a time to live; it has "
                    f"{found_keys} and {found_expires}"
                )
        for row in self._store.scan_keys(SYSTEM_COUNTS, prefix_successor(SYSTEM_COUNTS)):
            if len(row) == len(SYSTEM_COUNTS) + U32.size and U32.unpack(row[-U32.size :])[0] not in self._counts:
                self._writer.put(row, None)
                self.done.append(f"counts of the unknown database id {U32.unpack(row[-U32.size :])[0]}: removed")

    def _in_use(self, oid: int) -> bool:
        at = bisect_left(self._objects, oid)
        return at < len(self._objects) and self._objects[at] == oid

    def _mend_objects(self) -> None:
        orphans = 0
        position, stop = ELEMENT_TAG + U64.pack(0), prefix_successor(ELEMENT_TAG)
        while (row := next(iter(self._store.scan_keys(position, stop)), None)) is not None:
            if len(row) <= U64.size:
                position = row + b"\x00"
                continue
            (oid,) = U64.unpack_from(row, 1)
            if not self._in_use(oid) and self._store.get(garbage_row(GARBAGE_OBJECT, oid)) is None:
                self._writer.put(garbage_row(GARBAGE_OBJECT, oid), b"")
                orphans += 1
            position = object_range(oid)[1]
        if orphans:
            self.done.append(f"{orphans} objects belonged to no key: they will be reclaimed")

    def _mend_garbage(self) -> None:
        """Living objects and databases must not be reclaimed."""
        for row in self._store.scan_keys(GARBAGE_TAG, prefix_successor(GARBAGE_TAG)):
            if len(row) != 2 + U64.size:
                continue
            what, ident = decode_garbage_row(row)
            if (what == GARBAGE_OBJECT and self._in_use(ident)) or (what == GARBAGE_DATABASE and ident in self._counts):
                self._writer.put(row, None)
                self.done.append(f"{'object' if what == GARBAGE_OBJECT else 'database id'} {ident} was to be reclaimed")

    def _mend_leases(self) -> None:
        last = next(iter(self._store.scan_keys(ELEMENT_TAG, prefix_successor(ELEMENT_TAG), True)), b"")
        garbage = (decode_garbage_row(row) for row in self._store.scan_keys(GARBAGE_TAG, prefix_successor(GARBAGE_TAG)))
        ids = [int.from_bytes(last[1 : 1 + U64.size]), *self._objects[-1:], *(ident for _, ident in garbage)]
        self._raise_lease(SYSTEM_LEASE, U64, max(ids))
        headers = next(iter(self._store.scan_keys(HEADER_TAG, prefix_successor(HEADER_TAG), True)), b"")
        self._raise_lease(SYSTEM_DATABASE_LEASE, U32, max([int.from_bytes(headers[1:5]), *self._counts]))

    def _raise_lease(self, row: bytes, form: Struct, highest: int) -> None:
        raw = self._store.get(row)
        lease = form.unpack(raw)[0] if raw is not None and len(raw) == form.size else 1
        if lease <= highest:
            self._writer.put(row, form.pack(highest + 1))
            self.done.append(f"the lease of {'objects' if row == SYSTEM_LEASE else 'databases'} was {lease}")
