"""What the cache knows to be absent is not looked for in the store, and really is not there."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diskkv.codec.header import HASH, Header
from diskkv.codec.keys import KIND_HASH_FIELD, KIND_ZSET_SCORE, element_prefix
from diskkv.engine.bulk import Bulk
from diskkv.engine.engine import Engine
from diskkv.engine.leveldb import LevelDBStore
from diskkv.engine.memory import MemoryStore
from diskkv.engine.store import Store
from diskkv.errors import StorageError
from tests.engine.making import make_engine

KINDS = (KIND_HASH_FIELD, KIND_ZSET_SCORE)
SUBS = [b"a", b"b", b"c"]
OBJECTS = st.integers(0, 4)
PLACES = st.tuples(OBJECTS, st.sampled_from(KINDS), st.sampled_from(SUBS))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("new"), st.none()),
        st.tuples(st.just("bulk"), st.none()),
        st.tuples(st.just("put"), PLACES),
        st.tuples(st.just("delete"), PLACES),
        st.tuples(st.just("many"), st.tuples(OBJECTS, st.lists(st.sampled_from(SUBS), unique=True, min_size=1))),
        st.tuples(st.sampled_from(["commit", "rollback", "reload", "evict", "fail"]), st.none()),
    ),
    max_size=60,
)


class Reads:
    """A store that counts what is asked of it."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows: list[bytes] = []
        read = store.get

        def get(row: bytes) -> bytes | None:
            self.rows.append(row)
            return read(row)

        monkeypatch.setattr(store, "get", get)


class Model:
    """Rows by name, as of the last commit and now, of the objects that were made."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.objects: list[int] = []
        self.now: dict[bytes, bytes] = {}
        self.committed: dict[bytes, bytes] = {}

    def row(self, place: tuple[int, int, bytes]) -> bytes | None:
        number, kind, sub = place
        return element_prefix(self.objects[number % len(self.objects)], kind) + sub if self.objects else None

    def step(self, name: str, given: object) -> None:
        engine = self.engine
        if name == "new":
            self.objects.append(engine.new_oid())
        elif name == "bulk":
            self._bulk()
        elif name in ("put", "delete"):
            row = self.row(given)  # type: ignore[arg-type]
            if row is not None and name == "put":
                self.now[row] = b"%d" % len(engine.journal)
                engine.rows.put(row, self.now[row])
            elif row is not None:
                self.now.pop(row, None)
                engine.rows.delete(row)
        elif name == "many":
            number, subs = given  # type: ignore[misc]
            values = {self.row((number, KIND_HASH_FIELD, sub)): b"many" for sub in subs if self.objects}
            engine.rows.put_many(values)  # type: ignore[arg-type]
            self.now.update(values)  # type: ignore[arg-type]
        else:
            self._end(name)

    def _bulk(self) -> None:
        engine = self.engine
        oid = engine.new_oid()
        bulk = Bulk(engine, oid)
        row = element_prefix(oid, KIND_HASH_FIELD) + b"a"
        bulk.put(row, b"v")
        bulk._write()
        bulk.finish()
        engine.commit()
        self.objects.append(oid)
        self.now[row] = b"v"
        self.committed = dict(self.now)

    def _end(self, name: str) -> None:
        engine = self.engine
        if name == "commit":
            engine.commit()
            self.committed = dict(self.now)
            return
        if name == "fail" and engine.journal:
            write = engine.store.write

            def fail(rows: object, sync: bool = False) -> None:
                raise StorageError("full")

            engine.store.write = fail  # type: ignore[method-assign]
            with pytest.raises(StorageError):
                engine.commit()
            engine.store.write = write  # type: ignore[method-assign]
        engine.rollback(0)
        self.now = dict(self.committed)
        if name == "reload":
            engine.reload()
        elif name == "evict":
            engine.rows.segment.evict_one()


def check(model: Model) -> None:
    engine = model.engine
    rows = [model.row((number, kind, sub)) for number in range(5) for kind in KINDS for sub in SUBS]
    for row in rows:
        if row is not None:
            assert engine.rows.get(row) == model.now.get(row)
    for oid in model.objects:
        names = [element_prefix(oid, KIND_HASH_FIELD) + sub for sub in SUBS]
        assert engine.rows.get_many(names) == list(map(model.now.get, names))


@settings(max_examples=150)
@given(steps=STEPS, persistent=st.booleans(), cache_bytes=st.sampled_from([1 << 20, 1000]))
def test_rows_are_found_whatever_is_cached(steps: list[tuple[str, object]], persistent: bool, cache_bytes: int) -> None:
    store = MemoryStore()
    # Rows that are built ahead are written to persistent stores only.
    store.persistent = persistent
    model = Model(make_engine(store, cache_bytes))
    for name, given_ in steps:
        model.step(name, given_)
        check(model)


def test_the_store_is_not_asked_for_what_cannot_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make_engine(LevelDBStore(tmp_path / "db"))
    reads = Reads(engine.store, monkeypatch)
    database = engine.database(0)
    prefix = element_prefix(engine.new_oid(), KIND_HASH_FIELD)
    reads.rows.clear()
    database.put(b"k", b"v", database.get(b"k"))
    engine.rows.put(prefix + b"a", b"")
    engine.commit()
    assert database.get(b"other") is None
    assert engine.rows.get(prefix + b"b") is None
    assert engine.rows.get_many([prefix + b"a", prefix + b"b"]) == [b"", None]
    database.put_plain([b"x", b"k"], [b"1", b"2"])
    engine.commit()
    assert (database.keys, database.get(b"x"), database.get(b"y")) == (2, b"1", None)
    assert not reads.rows
    engine.reload()
    reads.rows.clear()
    assert engine.rows.get(prefix + b"a") == b""
    assert engine.rows.get(prefix + b"b") is None
    assert database.get(b"k") == b"2"
    assert database.get(b"other") is None
    # One of two keys is cached again, and the rows of objects made before may or may not be.
    assert len(reads.rows) == 4
    assert database.get(b"x") == b"1"
    assert database.get(b"other") is None
    assert len(reads.rows) == 5
    engine.close()


def test_keys_are_found_after_others_were_evicted() -> None:
    engine = make_engine(MemoryStore(), 2000)
    database = engine.database(0)
    keys = [b"key:%d" % number for number in range(30)]
    for key in keys:
        database.put(key, Header(HASH, {b"f": b"v"}), database.get(key))
        engine.commit()
        engine.begin(1000)
        engine.database(1).put_plain([key], [b"v"])
        engine.commit()
    for key in keys:
        assert database.get(key) == Header(HASH, {b"f": b"v"})
        assert engine.database(1).get(key) == b"v"
        assert database.get(key + b"!") is None
    engine.swap(database, engine.database(1))
    assert database.get(keys[0]) == b"v"
    engine.flush(database)
    assert database.get(keys[0]) is None
    engine.rollback(0)
    assert database.get(keys[0]) == Header(HASH, {b"f": b"v"})
