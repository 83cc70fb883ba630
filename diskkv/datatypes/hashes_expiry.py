"""Hash fields that expired: hidden at once, deleted in slices.

A packed hash loses its expired fields whenever it is read. Those of a big one stay until the sweeper comes: the
engine's expiry index has an entry for the time of the hash's next expiry (Database.put sees to that), and `reap`, wired
as `Engine.on_due`, deletes up to SLICE_FIELDS fields and indexes the hash again.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from diskkv.codec.header import HASH, Header, next_field_expiry
from diskkv.codec.keys import KIND_HASH_EXPIRY, KIND_HASH_FIELD, U64, element_prefix, prefix_successor
from diskkv.engine.database import Database
from diskkv.engine.engine import Engine

SLICE_FIELDS = 100
_INDEX_PREFIX_BYTES = 18
"""Before the hash and the field in an index row: tag, object id, kind and time."""


def settle(database: Database, key: bytes, header: Header) -> Header:
    """The hash without packed fields that expired, which are deleted; one in rows is answered as it is."""
    now_ms = database.engine.now_ms
    times = header.ext
    if header.value is None or not times or min(times.values()) > now_ms:
        return header
    expired = [field for field, expire_ms in times.items() if expire_ms <= now_ms]
    fields = header.value.copy()
    times = times.copy()
    for field in expired:
        del fields[field], times[field]
    settled = Header(HASH, fields, header.expire_ms, ext=times or None, raw=True)
    if not database.engine.expiry_paused:
        database.put(key, settled, header)
        database.engine.fields_expired(database, key, len(expired), False)
    return settled


def due_rows(engine: Engine, header: Header) -> Iterator[bytes]:
    """The index rows of the expired fields of a hash in rows, earliest first."""
    prefix = element_prefix(header.oid, KIND_HASH_EXPIRY)
    # Everything before next_ms has been deleted: starting there avoids walking over what LevelDB keeps of it.
    rows = engine.rows.scan(prefix + U64.pack(header.ext[0]), prefix + U64.pack(engine.now_ms + 1))
    return (row for row, _ in rows)


def reap(database: Database, key: bytes, header: Header) -> int:
    """Delete some of the expired fields of a hash that has others, and index its next expiry.

    Answers how many were deleted.
    """
    engine = database.engine
    if header.value is not None:
        settled = settle(database, key, header)
        _index(database, key, settled)
        return len(header.value) - len(settled.value)
    due = list(islice(due_rows(engine, header), SLICE_FIELDS))
    rows = engine.rows
    field_prefix = element_prefix(header.oid, KIND_HASH_FIELD)
    for row in due:
        rows.delete(row)
        rows.delete(field_prefix + row[_INDEX_PREFIX_BYTES:])
    next_ms, last_ms, timed = header.ext
    count = header.count - len(due)
    if not count:
        database.delete(key, header)
        engine.fields_expired(database, key, len(due), True)
        return len(due)
    timed -= len(due)
    ext = [_first_time(engine, header.oid, next_ms), last_ms, timed] if timed else None
    settled = Header(HASH, None, header.expire_ms, header.oid, count, ext)
    if settled != header:
        database.put(key, settled, header)
    if due:
        engine.note_removed(header.oid, 2 * len(due), count)
        engine.fields_expired(database, key, len(due), False)
    _index(database, key, settled)
    return len(due)


def _first_time(engine: Engine, oid: int, from_ms: int) -> int:
    """The earliest expiry in the index of a hash, which has one at `from_ms` or later."""
    prefix = element_prefix(oid, KIND_HASH_EXPIRY)
    row = next(engine.rows.scan(prefix + U64.pack(from_ms), prefix_successor(prefix)))[0]
    return int(U64.unpack_from(row, len(prefix))[0])


def _index(database: Database, key: bytes, header: Header) -> None:
    next_ms = next_field_expiry(header)
    if next_ms:
        database.engine.index_expiry(next_ms, database.id, key)
