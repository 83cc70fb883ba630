"""SCAN's numeric cursors over keys in lexical order.

A cursor is a number that stands for the key after which the scan goes on. The newest 32768 of them are kept, on disk
with everything else, so that a scan goes on over a restart. A cursor that was overwritten by newer ones is refused
rather than guessed: a scan that silently started again would break SCAN's promise to end.
"""

from __future__ import annotations

from diskkv.codec.keys import SYSTEM_CURSOR, U16, U64
from diskkv.engine.engine import Engine

_SLOTS = 1 << 15


class Cursors:
    """The ring of positions."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._unsaved: dict[int, bytes] = {}
        """Positions given while the store took no writes, by slot."""
        self._next = 1
        for _, record in engine.store.scan(SYSTEM_CURSOR, SYSTEM_CURSOR + b"\xff\xff\xff"):
            self._next = max(self._next, U64.unpack_from(record)[0] + 1)

    def save(self, key: bytes) -> int:
        """A cursor (1 .. 2**64-1) that leads back to `key`."""
        cursor = self._next
        self._next += 1
        slot = cursor % _SLOTS
        record = U64.pack(cursor) + key
        if self._engine.read_only:
            self._unsaved[slot] = record
        else:
            self._unsaved.pop(slot, None)
            self._engine.rows.put(SYSTEM_CURSOR + U16.pack(slot), record)
        return cursor

    def load(self, cursor: int) -> bytes | None:
        """The key a cursor stands for, or None when it is unknown (never given, or overwritten since)."""
        slot = cursor % _SLOTS
        record = self._unsaved.get(slot) or self._engine.rows.get(SYSTEM_CURSOR + U16.pack(slot))
        if record is None or U64.unpack_from(record)[0] != cursor:
            return None
        return record[8:]
