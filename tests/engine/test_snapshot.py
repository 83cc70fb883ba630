"""Snapshots of both stores: what they show, and what they refuse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from diskkv.engine.leveldb import LevelDBStore
from diskkv.engine.memory import MemoryStore
from diskkv.engine.store import Store
from diskkv.errors import StorageError


@pytest.fixture(params=["memory", "leveldb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store = MemoryStore() if request.param == "memory" else LevelDBStore(tmp_path / "db")
    made.write({b"a": b"1", b"b": b"2", b"c": b"3"})
    yield made
    made.close()


def test_it_shows_what_there_was(store: Store) -> None:
    snapshot = store.snapshot()
    begun = snapshot.scan(b"a", b"d")
    first = next(begun)
    store.write({b"a": None, b"b": b"new", b"bb": b"more"})
    assert [first, *begun] == [(b"a", b"1"), (b"b", b"2"), (b"c", b"3")]
    assert snapshot.get(b"a") == b"1"
    assert snapshot.get(b"bb") is None
    assert list(snapshot.scan_keys(b"a", b"c")) == [b"a", b"b"]
    assert list(snapshot.scan(b"a", b"d", True)) == [(b"c", b"3"), (b"b", b"2"), (b"a", b"1")]
    assert list(snapshot.scan_keys(b"a", b"d", True)) == [b"c", b"b", b"a"]
    assert snapshot.read_apart(b"a", b"d", 2) == [(b"a", b"1"), (b"b", b"2")]
    assert snapshot.snapshot().get(b"b") == b"2"
    snapshot.close()
    assert store.get(b"b") == b"new"


def test_the_only_row_of_a_range_in_reverse(store: Store) -> None:
    assert list(store.snapshot().scan(b"b", b"b\0", True)) == [(b"b", b"2")]


def test_a_snapshot_of_leveldb_takes_no_writes(tmp_path: Path) -> None:
    store = LevelDBStore(tmp_path / "db")
    snapshot = store.snapshot()
    for refused in (snapshot.reopen, lambda: snapshot.write({})):
        with pytest.raises(StorageError, match="no writes"):
            refused()
    store.close()
    for gone in (lambda: snapshot.get(b"a"), lambda: list(snapshot.scan(b"a", b"b"))):
        with pytest.raises(StorageError):
            gone()
    snapshot.close()
