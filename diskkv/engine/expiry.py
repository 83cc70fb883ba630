"""The sweeper: deletes what expired without anybody asking for it, in bounded slices.

Reads hide expired values by themselves; this only frees their space and keeps the counts close to what is visible. An
index entry never kills by itself: the header decides, so an entry that outlived its key does no harm.
"""

from __future__ import annotations

from diskkv.codec.header import HASH, Header
from diskkv.codec.keys import EXPIRY_TAG, U64, decode_expiry_row
from diskkv.engine.engine import NEVER_MS, Engine

_INDEX_END = b"u"


def sweep(engine: Engine, limit: int) -> int:
    """Handle at most about `limit` due keys and fields inside the open turn; answers how many were handled."""
    if engine.expiry_paused or engine.next_expiry_ms > engine.now_ms:
        return 0
    start = EXPIRY_TAG + U64.pack(engine.swept_ms)
    due: list[tuple[bytes, int]] = []
    for row, _ in engine.rows.scan(start, _INDEX_END):
        at_ms = U64.unpack_from(row, 1)[0]
        if at_ms > engine.now_ms or len(due) >= limit:
            engine.next_expiry_ms = at_ms
            break
        due.append((row, at_ms))
    else:
        engine.next_expiry_ms = NEVER_MS
    handled = 0
    for row, at_ms in due:
        if handled >= limit:
            # Fields took up the room of the other entries, which stay for the next slice.
            engine.next_expiry_ms = min(engine.next_expiry_ms, at_ms)
            break
        handled += 1 + _handle(engine, row)
    engine.swept_ms = min(engine.now_ms, engine.next_expiry_ms)
    return handled


def _handle(engine: Engine, row: bytes) -> int:
    """Deal with one due entry; answers how many fields were deleted."""
    at_ms, db_id, key = decode_expiry_row(row)
    engine.rows.delete(row)
    if engine.indexed.get((db_id, key)) == at_ms:
        engine.journal.append((engine.indexed, (db_id, key), at_ms))
        del engine.indexed[(db_id, key)]
    database = engine.by_id.get(db_id)
    value = database.peek(key) if database is not None else None
    if database is None or not isinstance(value, Header):
        return 0
    if 0 < value.gone_ms <= engine.now_ms:
        engine.expire(database, key, value)
        return 0
    if value.expire_ms > at_ms:
        engine.index_expiry(value.expire_ms, db_id, key)
    if engine.on_due is None or value.type != HASH or not value.ext:
        return 0
    return engine.on_due(database, key, value)
