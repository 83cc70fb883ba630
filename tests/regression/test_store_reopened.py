"""After a failed sync a refused turn came back from the log, unknown to memory; a store left closed ended it all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from diskkv.config import Config
from diskkv.engine.engine import Engine
from diskkv.engine.leveldb import LevelDBStore
from diskkv.engine.reclaim import Reclaimer
from diskkv.errors import StorageError


def _fail_after_write(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    write = LevelDBStore.write

    def write_and_fail(store: LevelDBStore, rows: Any, sync: bool = False) -> None:
        write(store, rows, sync)
        raise StorageError("cannot sync")

    with monkeypatch.context() as patch:
        patch.setattr(LevelDBStore, "write", write_and_fail)
        with pytest.raises(StorageError):
            engine.commit()


def test_memory_follows_what_the_store_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(LevelDBStore(tmp_path / "db"), Config())
    database = engine.database(0)
    database.put(b"a", b"1", None)
    engine.commit()
    engine.flush(database)
    database.put(b"b", b"2", None)
    _fail_after_write(engine, monkeypatch)
    assert database.get(b"a") == b"1"
    engine.reopen()
    assert (database.get(b"a"), database.get(b"b"), database.keys) == (None, b"2", 1)
    database.put(b"c", b"3", None)
    engine.commit()
    reclaimer = Reclaimer(engine)
    while reclaimer.step(100):
        engine.commit()
    engine.close()
    engine = Engine(LevelDBStore(tmp_path / "db"), Config())
    assert [key for key, _ in engine.database(0).scan(b"")] == [b"b", b"c"]
    assert engine.database(0).keys == 2
    engine.close()


def test_a_closed_store_fails_as_a_broken_one(tmp_path: Path) -> None:
    store = LevelDBStore(tmp_path / "db")
    store.close()
    for use in (
        lambda: store.get(b"k"),
        lambda: store.write({b"k": b"v"}),
        lambda: list(store.scan(b"a", b"b")),
        lambda: list(store.scan_keys(b"a", b"b")),
        lambda: store.compact(b"a", b"b"),
        lambda: store.approximate_size_bytes(b"a", b"b"),
        lambda: store.property("leveldb.stats"),
    ):
        with pytest.raises(StorageError):
            use()
