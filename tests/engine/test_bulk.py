"""Objects that are built ahead of the commit: visible only with it, reclaimed without it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from diskkv.codec.header import SET, Header
from diskkv.codec.keys import GARBAGE_OBJECT, element_prefix, garbage_row, object_range
from diskkv.config import Config
from diskkv.engine import bulk
from diskkv.engine.bulk import Bulk
from diskkv.engine.engine import Engine
from diskkv.engine.leveldb import LevelDBStore
from diskkv.engine.memory import MemoryStore
from diskkv.engine.reclaim import Reclaimer

KEY = b"key"
COUNT = 500


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "PIECE_BYTES", 5000)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LevelDBStore]:
    made = LevelDBStore(tmp_path)
    yield made
    made.close()


def build(engine: Engine, count: int = COUNT) -> Header:
    oid = engine.new_oid()
    made = Bulk(engine, oid)
    prefix = element_prefix(oid, 0x40)
    for number in range(count):
        made.put(prefix + b"%d" % number, b"")
    made.finish()
    return Header(SET, None, 0, oid, count)


def stored(store: LevelDBStore | MemoryStore, oid: int) -> int:
    return len(list(store.scan(*object_range(oid))))


def test_a_committed_object_is_whole(store: LevelDBStore) -> None:
    engine = Engine(store, Config())
    database = engine.database(0)
    header = build(engine)
    assert 400 < stored(store, header.oid) < COUNT
    assert len(engine.rows.staged) < 100
    assert len(list(engine.rows.scan(*object_range(header.oid)))) == COUNT
    database.put(KEY, header, None)
    engine.commit()
    reclaimer = Reclaimer(engine)
    while reclaimer.step(100):
        engine.commit()
    assert stored(store, header.oid) == COUNT
    assert store.get(garbage_row(GARBAGE_OBJECT, header.oid)) is None
    assert database.get(KEY) == header


def test_a_rolled_back_object_is_reclaimed(store: LevelDBStore) -> None:
    engine = Engine(store, Config())
    database = engine.database(0)
    mark = len(engine.journal)
    header = build(engine)
    database.put(KEY, header, None)
    engine.rollback(mark)
    engine.commit()
    reclaimer = Reclaimer(engine)
    assert not reclaimer.idle
    while reclaimer.step(100):
        engine.commit()
    assert stored(store, header.oid) == 0
    assert engine.new_oid() > header.oid


def test_a_crash_before_the_commit_leaves_garbage_and_no_id_twice(store: LevelDBStore) -> None:
    engine = Engine(store, Config())
    header = build(engine)
    engine.database(0).put(KEY, header, None)

    engine = Engine(store, Config())
    assert engine.database(0).get(KEY) is None
    assert engine.new_oid() > header.oid
    reclaimer = Reclaimer(engine)
    while reclaimer.step(100):
        engine.commit()
    assert stored(store, header.oid) == 0


def test_a_small_object_is_staged_as_usual(store: LevelDBStore) -> None:
    engine = Engine(store, Config())
    header = build(engine, 10)
    assert stored(store, header.oid) == 0
    assert garbage_row(GARBAGE_OBJECT, header.oid) not in engine.rows.staged


def test_a_store_in_memory_has_everything_staged() -> None:
    engine = Engine(MemoryStore(), Config())
    header = build(engine)
    assert stored(engine.store, header.oid) == 0  # type: ignore[arg-type]
    assert len(list(engine.rows.scan(*object_range(header.oid)))) == COUNT
