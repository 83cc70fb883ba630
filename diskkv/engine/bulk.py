"""Building an object with more rows than fit into a turn's batch.

Rows of an object that no header refers to yet are invisible, so they may be written ahead of the commit. The first
piece that is written also puts a garbage row for the object, and the turn's commit, which makes the object visible,
deletes that row again. A command that fails, or a crash in between, thus leaves the object to the reclaimer.
"""

from __future__ import annotations

from diskkv.codec.keys import GARBAGE_OBJECT, SYSTEM_LEASE, U64, garbage_row
from diskkv.engine.engine import Engine

PIECE_BYTES = 4 << 20
"""Rows of about this size are held in memory at a time."""

_ROW_OVERHEAD_BYTES = 100


class Bulk:
    """Puts rows of the new object `oid`; `finish` must come before the header that refers to it is staged."""

    __slots__ = ("_engine", "_oid", "_room_bytes", "_rows", "_written")

    def __init__(self, engine: Engine, oid: int) -> None:
        self._engine = engine
        self._oid = oid
        self._rows: dict[bytes, bytes] = {}
        self._room_bytes = PIECE_BYTES
        self._written = False

    def put(self, row: bytes, value: bytes) -> None:
        """Add a row of the object."""
        self._rows[row] = value
        self._room_bytes -= len(row) + len(value) + _ROW_OVERHEAD_BYTES
        if self._room_bytes < 0:
            self._write()

    def _write(self) -> None:
        engine = self._engine
        self._room_bytes = PIECE_BYTES
        if not engine.store.persistent:
            # A store in memory gains nothing from it, and its scans do not bear writes.
            self._stage()
            return
        if not self._written:
            self._written = True
            engine.has_garbage = True
            self._rows[garbage_row(GARBAGE_OBJECT, self._oid)] = b""
            # The ids in use must be known to be so even if this turn is never committed.
            self._rows[SYSTEM_LEASE] = U64.pack(engine.oid_lease)
        engine.store.write(self._rows)
        engine.know_new_objects()
        self._rows.clear()

    def _stage(self) -> None:
        put = self._engine.rows.put
        for row, value in self._rows.items():
            put(row, value)
        self._rows.clear()

    def finish(self) -> None:
        """Stage what is not written yet."""
        self._stage()
        if self._written:
            self._engine.rows.delete(garbage_row(GARBAGE_OBJECT, self._oid))
