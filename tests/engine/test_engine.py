"""The turn against a plain model: overlay, rollback, commit, reopening, counts, on both stores."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diskkv.codec.header import SET, STRING, Header, Value, with_expiry
from diskkv.codec.keys import KIND_SET_MEMBER, element_prefix
from diskkv.engine.database import Database
from diskkv.engine.engine import Engine
from diskkv.engine.expiry import sweep
from diskkv.engine.leveldb import LevelDBStore
from diskkv.engine.memory import MemoryStore
from diskkv.engine.reclaim import Reclaimer
from diskkv.engine.store import Store
from diskkv.errors import ConfigError, StorageError
from tests.engine.making import make_engine

KEYS = st.sampled_from([b"", b"a", b"b", b"\x00", b"\xff\xff", b"ab", b"a\x00"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), KEYS, st.binary(max_size=20)),
        st.tuples(st.just("expire"), KEYS, st.integers(1, 40)),
        st.tuples(st.just("persist"), KEYS, st.just(0)),
        st.tuples(st.just("delete"), KEYS, st.just(0)),
        st.tuples(st.just("flush"), st.just(b""), st.just(0)),
        st.tuples(st.just("swap"), st.just(b""), st.just(0)),
        st.tuples(st.just("commit"), st.just(b""), st.integers(0, 15)),
        st.tuples(st.just("rollback"), st.just(b""), st.just(0)),
        st.tuples(st.just("reopen"), st.just(b""), st.just(0)),
        st.tuples(st.just("sweep"), st.just(b""), st.integers(1, 5)),
    ),
    max_size=60,
)


class Model:
    """Two databases of key -> (value, expire_ms)."""

    def __init__(self) -> None:
        self.now = [dict[bytes, tuple[bytes, int]](), dict[bytes, tuple[bytes, int]]()]
        self.committed = [dict(self.now[0]), dict(self.now[1])]

    def live(self, index: int, now_ms: int) -> dict[bytes, bytes]:
        return {key: data for key, (data, at) in self.now[index].items() if not at or at > now_ms}


def data_of(value: Value | None) -> bytes | None:
    return value.value if isinstance(value, Header) else value


def visible(engine: Engine, index: int) -> dict[bytes, bytes]:
    database = engine.database(index)
    return {key: data_of(value) or b"" for key, value in database.scan(b"") if database.get(key) is not None}


@pytest.mark.parametrize("cache_bytes", [0, 600, 1 << 20])
@pytest.mark.parametrize("on_disk", [False, True], ids=["memory", "leveldb"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_turns_against_a_model(
    tmp_path_factory: pytest.TempPathFactory, on_disk: bool, cache_bytes: int, steps: list[tuple[str, bytes, object]]
) -> None:
    """Reads, scans and counts equal the model's after any sequence of changes, rollbacks, commits and reopenings."""
    store: Store = LevelDBStore(tmp_path_factory.mktemp("db")) if on_disk else MemoryStore()
    engine = make_engine(store, cache_bytes)
    model = Model()
    for name, key, argument in steps:
        engine, store = apply_step(engine, store, model, name, key, argument)
        for index in (0, 1):
            expected = model.live(index, engine.now_ms)
            assert {key: data_of(engine.database(index).get(key)) for key in expected} == expected
            assert visible(engine, index) == expected
            assert engine.database(index).keys == len(expected)
            expires = sum(1 for key in expected if model.now[index][key][1])
            assert engine.database(index).expires == expires
    store.close()


def apply_step(
    engine: Engine, store: Store, model: Model, name: str, key: bytes, argument: object
) -> tuple[Engine, Store]:
    database = engine.database(0)
    rows = model.now[0]
    old = database.get(key) if name in ("set", "expire", "persist", "delete") else None
    for index in (0, 1):
        # What the model still holds past its time, the engine deletes when it is looked at, and the test looks at all.
        model.now[index] = {
            k: v for k, v in model.now[index].items() if not v[1] or v[1] > engine.now_ms
        }
    rows = model.now[0]
    if name == "set":
        assert isinstance(argument, bytes)
        database.put(key, argument, old)
        rows[key] = (argument, 0)
    elif name in ("expire", "persist") and old is not None:
        assert isinstance(argument, int)
        at_ms = engine.now_ms + argument if name == "expire" else 0
        database.put(key, with_expiry(old, at_ms), old)
        rows[key] = (rows[key][0], at_ms)
    elif name == "delete" and old is not None:
        database.delete(key, old)
        del rows[key]
    elif name == "flush":
        engine.flush(database)
        model.now[0] = {}
    elif name == "swap":
        engine.swap(database, engine.database(1))
        model.now.reverse()
    elif name == "commit":
        assert isinstance(argument, int)
        engine.commit()
        engine.begin(engine.now_ms + argument)
        model.committed = [dict(model.now[0]), dict(model.now[1])]
    elif name == "rollback":
        engine.rollback(0)
        model.now = [dict(model.committed[0]), dict(model.committed[1])]
    elif name == "sweep":
        assert isinstance(argument, int)
        sweep(engine, argument)
    elif name == "reopen":
        model.now = [dict(model.committed[0]), dict(model.committed[1])]
        now_ms = engine.now_ms
        if isinstance(store, LevelDBStore):
            store.close()
            store = LevelDBStore(store.path)
        engine = make_engine(store, engine.cache.limit_bytes)
        engine.begin(now_ms)
    return engine, store


def test_a_failed_commit_leaves_nothing(tmp_path: Path) -> None:
    """When the batch cannot be written, memory shows what the disk has."""
    store = LevelDBStore(tmp_path / "db")
    engine = make_engine(store)
    database = engine.database(0)
    database.put(b"kept", b"1", None)
    engine.commit()

    class Broken:
        def __init__(self) -> None:
            self.fails = True

        def __getattr__(self, name: str) -> object:
            return getattr(store, name)

        def write(self, rows: object, sync: bool = False) -> None:
            raise StorageError("disk full")

    engine.store = Broken()  # type: ignore[assignment]
    database.put(b"lost", b"2", None)
    database.delete(b"kept", b"1")
    with pytest.raises(StorageError):
        engine.commit()
    engine.store = store
    assert database.get(b"lost") is None
    assert database.get(b"kept") == b"1"
    assert database.keys == 1
    database.put(b"again", b"3", None)
    engine.commit()
    store.close()
    engine = make_engine(LevelDBStore(tmp_path / "db"))
    assert visible(engine, 0) == {b"kept": b"1", b"again": b"3"}
    assert engine.database(0).keys == 2


def test_a_newer_format_is_refused() -> None:
    store = MemoryStore()
    store.write({b"\x00format": b"\x00\x00\x00\x63"})
    with pytest.raises(ConfigError, match="format 99"):
        make_engine(store)


def test_object_ids_are_never_reused(tmp_path: Path) -> None:
    """Not even those that a crash left unused."""
    seen: set[int] = set()
    for _ in range(3):
        store = LevelDBStore(tmp_path / "db")
        engine = make_engine(store)
        for _ in range(10):
            oid = engine.new_oid()
            assert oid not in seen
            seen.add(oid)
        engine.commit()
        store.close()


@pytest.mark.parametrize("flush", [False, True])
def test_reclaim_removes_every_row(flush: bool) -> None:
    """Rows of deleted objects, or of everything in a flushed database, are gone after enough slices."""
    store = MemoryStore()
    engine = make_engine(store)
    database = engine.database(0)
    for number in range(20):
        oid = engine.new_oid()
        for row in range(30):
            engine.rows.put(b"d" + oid.to_bytes(8, "big") + b"\x10" + bytes((row,)), b"x")
        database.put(b"k%d" % number, Header(STRING, None, 5000 if number % 2 else 0, oid, 30), None)
    engine.commit()
    if flush:
        engine.flush(database)
    else:
        for number in range(20):
            value = database.get(b"k%d" % number)
            assert value is not None
            database.delete(b"k%d" % number, value)
    engine.commit()
    reclaimer = Reclaimer(engine)
    slices = 0
    while not reclaimer.idle:
        assert reclaimer.step(50) <= 51
        engine.commit()
        slices += 1
    assert slices > 10
    assert list(store.scan_keys(b"\x01", b"\xff")) == []
    assert database.keys == 0


def test_a_stale_index_entry_spares_a_key_made_again() -> None:
    engine = make_engine(MemoryStore())
    database = engine.database(0)
    database.put(b"k", Header(STRING, b"old", 2000), None)
    old = database.get(b"k")
    database.put(b"k", with_expiry(old or b"", 9000), old)
    engine.commit()
    old = database.get(b"k")
    assert old is not None
    database.delete(b"k", old)
    database.put(b"k", b"new", None)
    engine.commit()
    engine.begin(3000)
    sweep(engine, 100)
    engine.commit()
    assert database.get(b"k") == b"new"
    assert engine.expired_keys == 0
    assert database.expires == 0


def test_a_header_is_adjusted_in_place_only_within_its_turn() -> None:
    engine = make_engine(MemoryStore())
    database = engine.database(0)
    engine.rows.put(element_prefix(7, KIND_SET_MEMBER) + b"x", b"")
    database.put(b"k", Header(SET, None, 0, 7, 1), None)
    engine.commit()
    committed = header_at(database)

    database.adjust(b"k", committed, 2, None)
    private = header_at(database)
    assert (committed.count, private.count) == (1, 2)
    mark = len(engine.journal)
    database.adjust(b"k", private, 3, [1])
    database.adjust(b"k", private, 4, None)
    assert header_at(database) is private
    assert (private.count, private.ext) == (4, None)
    engine.rollback(mark)
    assert (header_at(database).count, header_at(database).ext) == (2, None)
    engine.rollback(0)
    assert header_at(database) is committed

    database.adjust(b"k", committed, 5, None)
    changed = header_at(database)
    engine.commit()
    assert database.peek(b"k") is changed
    database.adjust(b"k", changed, 6, None)
    assert changed.count == 5


def test_observers_hear_of_every_adjustment() -> None:
    engine = make_engine(MemoryStore())
    database = engine.database(0)
    database.put(b"k", Header(SET, None, 0, 7, 1), None)
    heard: list[bytes] = []
    database.observer = lambda _, key: heard.append(key)
    database.adjust(b"k", header_at(database), 2, None)
    database.adjust(b"k", header_at(database), 3, None)
    assert heard == [b"k", b"k"]


def header_at(database: Database) -> Header:
    """The header at the key k."""
    value = database.get(b"k")
    assert isinstance(value, Header)
    return value
