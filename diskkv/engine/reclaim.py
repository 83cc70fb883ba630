"""Gives back the space of dead objects and databases, a bounded slice at a time.

DEL, overwriting, expiry and FLUSHDB only put a garbage row; the rows behind it are deleted here, in the background, and
the emptied ranges are handed to the store's compaction.
"""

from __future__ import annotations

import logging

from diskkv.codec.header import Header, decode_header
from diskkv.codec.keys import (
    ELEMENT_PREFIX_SIZE,
    GARBAGE_DATABASE,
    GARBAGE_LIST_HEAD,
    GARBAGE_LIST_TAIL,
    GARBAGE_OBJECT,
    GARBAGE_ROWS,
    GARBAGE_TAG,
    HEADER_PREFIX_SIZE,
    KIND_LIST_ITEM,
    database_range,
    decode_garbage_row,
    decode_index_range,
    decode_row_range,
    element_prefix,
    encode_index_range,
    expiry_row,
    garbage_row,
    object_range,
)
from diskkv.codec.list_block import BLOCK_ITEMS, BLOCK_MASK
from diskkv.codec.numbers import decode_i64, encode_i64
from diskkv.engine.engine import Engine
from diskkv.errors import StorageError

log = logging.getLogger(__name__)

_QUEUE_END = b"h"
_COMPACT_ROWS = 10_000
"""A range that lost fewer rows than this is left to LevelDB's own compactions."""


class Reclaimer:
    """Works through the garbage rows. `ranges` collects emptied ranges that are worth a compaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._position: dict[bytes, bytes] = {}
        self._deleted: dict[bytes, int] = {}
        self._failed_commits = 0
        self._unreadable: set[bytes] = set()
        """Garbage rows that are left alone: what is behind them cannot be read."""
        self.ranges = engine.emptied
        self.reclaimed_rows = 0

    @property
    def idle(self) -> bool:
        """Whether there is nothing to reclaim."""
        return not self._engine.has_garbage

    def backlog(self, limit: int = 10_000) -> int:
        """How many dead objects and databases wait, counting at most `limit`."""
        count = 0
        for _ in self._engine.rows.scan(GARBAGE_TAG, _QUEUE_END):
            count += 1
            if count >= limit:
                break
        return count

    def step(self, limit: int) -> int:
        """Delete at most about `limit` rows inside the open turn; answers how many, 0 when nothing is left to do."""
        if self._failed_commits != self._engine.failed_commits:
            # Deletions of a turn that was lost are to be done again.
            self._failed_commits = self._engine.failed_commits
            self._position.clear()
            self._unreadable.clear()
        journal = self._engine.journal
        done = 0
        for row, raw in self._engine.rows.scan(GARBAGE_TAG, _QUEUE_END):
            if row in self._unreadable:
                continue
            mark = len(journal)
            try:
                done += self._reclaim(row, raw, limit - done)
            except StorageError as exc:
                # Others behind it have theirs all the same.
                self._engine.rollback(mark)
                self._unreadable.add(row)
                log.error("space of deleted data (row %s) cannot be given back: %s", row.hex(), exc)
            if done >= limit:
                break
        self.reclaimed_rows += done
        self._engine.has_garbage = done > 0
        return done

    def _reclaim(self, garbage: bytes, raw: bytes, limit: int) -> int:
        what, ident = decode_garbage_row(garbage)
        if what in (GARBAGE_LIST_HEAD, GARBAGE_LIST_TAIL):
            return self._list_slice(garbage, ident, what == GARBAGE_LIST_TAIL, raw, limit)
        return self._slice(garbage, raw, limit)

    def _slice(self, garbage: bytes, raw: bytes, limit: int) -> int:
        """Delete up to `limit` rows of one dead thing, and its garbage row (which counts as one) at the end."""
        rows = self._engine.rows
        what, ident = decode_garbage_row(garbage)
        if what == GARBAGE_ROWS:
            start, stop = decode_row_range(raw)
        else:
            start, stop = object_range(ident) if what == GARBAGE_OBJECT else database_range(ident)
        # Going on behind the last deleted row instead of at `start` avoids walking over the tombstones left so far.
        position = self._position.get(garbage, start)
        done = size_bytes = 0
        for row, record in rows.scan(position, stop, heads=True):
            if done >= limit:
                self._position[garbage] = row
                self._deleted[garbage] = self._deleted.get(garbage, 0) + done
                self._engine.dead_space.add_rows(position, size_bytes)
                return done
            size_bytes += len(row) + len(record)
            if what == GARBAGE_DATABASE:
                self._bury(ident, row, record)
            rows.delete(row)
            done += 1
        rows.delete(garbage)
        if size_bytes:
            self._engine.dead_space.add_rows(position, size_bytes)
        self._position.pop(garbage, None)
        if self._deleted.pop(garbage, 0) + done >= _COMPACT_ROWS:
            self.ranges.append((start, stop))
        return done + 1

    def _list_slice(self, garbage: bytes, oid: int, is_tail: bool, raw: bytes, limit: int) -> int:
        """Delete up to `limit` rows that were cut off an end of a list, the outermost ones first.

        The list may grow back meanwhile and then changes the garbage row; so how far this came is kept there too.
        """
        rows = self._engine.rows
        prefix = element_prefix(oid, KIND_LIST_ITEM)
        first, last = decode_index_range(raw)
        start, stop = prefix + encode_i64(first), prefix + encode_i64(last)
        done = size_bytes = 0
        for row, record in rows.scan(start, stop, is_tail):
            if done >= limit:
                # A block that is not gone with all its long items stays garbage as a whole.
                block = decode_i64(row[ELEMENT_PREFIX_SIZE : ELEMENT_PREFIX_SIZE + 8]) & BLOCK_MASK
                left = (first, block + BLOCK_ITEMS) if is_tail else (block, last)
                rows.put(garbage, encode_index_range(*left))
                self._deleted[garbage] = self._deleted.get(garbage, 0) + done
                self._engine.dead_space.add_rows(start, size_bytes)
                return done
            size_bytes += len(row) + len(record)
            rows.delete(row)
            done += 1
        rows.delete(garbage)
        if size_bytes:
            self._engine.dead_space.add_rows(start, size_bytes)
        if self._deleted.pop(garbage, 0) + done >= _COMPACT_ROWS:
            self.ranges.append((prefix, stop) if not is_tail else (start, object_range(oid)[1]))
        return done + 1

    def _bury(self, db_id: int, row: bytes, record: bytes) -> None:
        """What hangs on a header of a dead database dies with it."""
        value = decode_header(record, row)
        if isinstance(value, Header):
            if value.oid:
                self._engine.rows.put(garbage_row(GARBAGE_OBJECT, value.oid), b"")
            if value.expire_ms:
                self._engine.rows.delete(expiry_row(value.expire_ms, db_id, row[HEADER_PREFIX_SIZE:]))
