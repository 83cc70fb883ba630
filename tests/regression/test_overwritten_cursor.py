"""A SCAN cursor whose slot was reused led to a stale position: system rows were cached but never updated there."""

from __future__ import annotations

from diskkv.config import Config
from diskkv.engine.cursors import Cursors
from diskkv.engine.engine import Engine
from diskkv.engine.memory import MemoryStore


def test_a_reused_slot_is_read_anew() -> None:
    engine = Engine(MemoryStore(), Config())
    cursors = Cursors(engine)
    first = cursors.save(b"old")
    engine.commit()
    assert cursors.load(first) == b"old"
    cursors._next = first + (1 << 15)
    second = cursors.save(b"new")
    engine.commit()
    assert cursors.load(first) is None
    assert cursors.load(second) == b"new"
