"""Hashes against a plain dictionary, packed and in rows, with expiring fields, commits, rollbacks and sweeps."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from diskkv.codec.header import HASH, Header, Value, decode_header, encode_header, next_field_expiry
from diskkv.codec.keys import (
    EXPIRY_TAG,
    KIND_HASH_EXPIRY,
    KIND_HASH_FIELD,
    U64,
    decode_expiry_row,
    element_prefix,
    prefix_successor,
)
from diskkv.codec.rdb_values import HashValue
from diskkv.config import Config
from diskkv.datatypes import hashes, hashes_expiry
from diskkv.datatypes.hashes_edit import HashEdit, decode_field, encode_field
from diskkv.datatypes.members import member_row
from diskkv.engine.database import Database
from diskkv.engine.engine import Engine
from diskkv.engine.expiry import sweep
from diskkv.engine.leveldb import LevelDBStore
from diskkv.engine.memory import MemoryStore
from diskkv.engine.reclaim import Reclaimer
from diskkv.engine.store import Store
from diskkv.errors import WrongTypeError

KEY = b"key"
START_MS = 1_700_000_000_000
MAX_ENTRIES = 4
FIELDS = st.sampled_from([b"", b"a", b"b", b"c", b"d", b"e", b"f", b"\xff\xff", b"\x00", b"long field of 17b"])
VALUES = st.sampled_from([b"", b"1", b"\x01", b"value", b"a value of 21 bytes.."])
PAIRS = st.lists(st.tuples(FIELDS, VALUES), min_size=1, max_size=4)
DELAYS = st.sampled_from([0, 1, 5, 20, 1000])


def memory_store(stack: ExitStack) -> Store:
    return MemoryStore()


def leveldb_store(stack: ExitStack) -> Store:
    store = LevelDBStore(stack.enter_context(tempfile.TemporaryDirectory()))
    stack.callback(store.close)
    return store


def make_engine(store: Store | None = None, entries: int = MAX_ENTRIES) -> Engine:
    config = Config()
    config.hash_max_listpack_entries = entries
    config.hash_max_listpack_value = 20
    engine = Engine(store or MemoryStore(), config)
    engine.on_due = hashes_expiry.reap
    engine.begin(START_MS)
    return engine


@pytest.fixture
def engine() -> Engine:
    return make_engine()


def live(database: Database, key: bytes = KEY) -> Header | None:
    return hashes.require_hash(database, key, database.get(key))


def content(engine: Engine, header: Header | None) -> dict[bytes, bytes]:
    return {} if header is None else dict(hashes.pairs(engine, header))


def rows_of(engine: Engine, oid: int, kind: int) -> list[tuple[bytes, bytes]]:
    prefix = element_prefix(oid, kind)
    return list(engine.rows.scan(prefix, prefix_successor(prefix)))


def assert_consistent(database: Database, key: bytes, value: Value | None) -> None:
    """The header of a hash agrees with its rows, and the expiry index with both."""
    assert isinstance(value, Header)
    engine = database.engine
    next_ms = next_field_expiry(value)
    if next_ms:
        entries = [decode_expiry_row(row) for row, _ in engine.rows.scan(EXPIRY_TAG, b"u")]
        assert any(at_ms <= next_ms for at_ms, db_id, name in entries if (db_id, name) == (database.id, key))
    if value.value is not None:
        assert len(value.value) <= engine.config.hash_max_listpack_entries
        assert set(value.ext or ()) <= set(value.value)
        return
    rows = rows_of(engine, value.oid, KIND_HASH_FIELD)
    assert value.count == len(rows) > 0
    timed = {}
    for row, raw in rows:
        assert row == member_row(value.oid, KIND_HASH_FIELD, row[14:])
        expire_ms = decode_field(raw)[1]
        if expire_ms:
            timed[element_prefix(value.oid, KIND_HASH_EXPIRY) + U64.pack(expire_ms) + row[10:]] = expire_ms
    assert [row for row, _ in rows_of(engine, value.oid, KIND_HASH_EXPIRY)] == sorted(timed)
    if timed:
        next_ms, last_ms, fields = value.ext
        assert fields == len(timed)
        assert next_ms <= min(timed.values())
        assert last_ms >= max(timed.values())
    else:
        assert value.ext is None


class Hashes(RuleBasedStateMachine):
    """One key, and the fields with values and expiry times that it should hold."""

    make_store: Callable[[ExitStack], Store] = staticmethod(memory_store)

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.engine = make_engine(self.make_store(self.stack))
        self.database = self.engine.database(0)
        self.model: dict[bytes, tuple[bytes, int]] = {}

    def teardown(self) -> None:
        self.stack.close()

    @property
    def expected(self) -> dict[bytes, tuple[bytes, int]]:
        now_ms = self.engine.now_ms
        return {field: entry for field, entry in self.model.items() if not 0 < entry[1] <= now_ms}

    @rule(pairs=PAIRS)
    def set(self, pairs: list[tuple[bytes, bytes]]) -> None:
        flat = [b"HSET", KEY, *(text for pair in pairs for text in pair)]
        added = hashes.set_fields(self.database, KEY, live(self.database), flat, 2)
        assert added == len({field for field, _ in pairs} - self.expected.keys())
        self.model = self.expected | {field: (value, 0) for field, value in pairs}

    @rule(field=FIELDS, value=VALUES)
    def set_one(self, field: bytes, value: bytes) -> None:
        added = hashes.set_field(self.database, KEY, self.database.get(KEY), field, value)
        assert added == (field not in self.expected)
        self.model = self.expected | {field: (value, 0)}

    @rule(pairs=PAIRS, delay_ms=DELAYS)
    def put_expiring(self, pairs: list[tuple[bytes, bytes]], delay_ms: int) -> None:
        at_ms = self.engine.now_ms + 1 + delay_ms
        edit = HashEdit(self.database, KEY, live(self.database))
        for field, value in pairs:
            is_new = field not in self.expected
            assert edit.put(field, value, at_ms) is is_new
            self.model[field] = (value, at_ms)
        assert edit.save()

    @rule(fields=st.lists(FIELDS, min_size=1, max_size=4))
    def delete(self, fields: list[bytes]) -> None:
        old = live(self.database)
        if old is None:
            return
        deleted, exists = hashes.delete_fields(self.database, KEY, old, fields)
        assert deleted == len(set(fields) & self.expected.keys())
        self.model = {field: entry for field, entry in self.expected.items() if field not in fields}
        if deleted:
            assert exists is bool(self.model)

    @rule()
    def drop(self) -> None:
        old = self.database.get(KEY)
        if old is not None:
            self.database.delete(KEY, old)
        self.model = {}

    @rule(delay_ms=DELAYS)
    def pass_time(self, delay_ms: int) -> None:
        self.engine.commit()
        self.engine.begin(self.engine.now_ms + delay_ms)

    @rule()
    def sweep(self) -> None:
        while sweep(self.engine, 1):
            pass
        self.engine.commit()
        value = self.database.peek(KEY)
        assert (value is None) == (not self.expected)
        if isinstance(value, Header):
            assert (value.count if value.value is None else len(value.value)) == len(self.expected)

    @rule()
    def commit(self) -> None:
        self.engine.commit()

    @rule()
    def reload(self) -> None:
        """What is on disk says the same as what is in memory."""
        self.engine.commit()
        for segment in self.engine.cache.segments:
            segment.clear()

    @rule(pairs=PAIRS, fields=st.lists(FIELDS, min_size=1), delay_ms=DELAYS)
    def rolled_back(self, pairs: list[tuple[bytes, bytes]], fields: list[bytes], delay_ms: int) -> None:
        before = live(self.database)
        mark = len(self.engine.journal)
        edit = HashEdit(self.database, KEY, before)
        for field, value in pairs:
            edit.put(field, value, self.engine.now_ms + 1 + delay_ms)
        edit.save()
        hashes.delete_fields(self.database, KEY, live(self.database), fields)
        self.engine.rollback(mark)
        assert live(self.database) == before

    @rule()
    def replace_by_its_copy(self) -> None:
        old = live(self.database)
        if old is None:
            return
        other = hashes.copy(self.engine, old)
        self.database.put(KEY, other, old)

    @rule()
    def replace_by_its_export(self) -> None:
        old = live(self.database)
        if old is None or not self.expected:
            return
        self.database.put(KEY, hashes.load(self.engine, hashes.export(self.engine, old), 0), old)

    @rule(count=st.integers(1, 3))
    def scan(self, count: int) -> None:
        header = live(self.database)
        if header is None:
            return
        found: list[tuple[bytes, bytes]] = []
        cursor = 0
        while True:
            cursor, page = hashes.scan(self.engine, header, cursor, count)
            found += page
            if not cursor:
                break
        assert len(found) == len(dict(found))
        assert dict(found) == content(self.engine, header)

    @rule(wanted=st.integers(-5, 5))
    def draw(self, wanted: int) -> None:
        header = live(self.database)
        if header is None:
            return
        expected = {field: value for field, (value, _) in self.expected.items()}
        drawn = list(hashes.random_pairs(self.engine, header, wanted))
        assert all(expected[field] == value for field, value in drawn)
        if wanted >= 0 or not expected:
            assert len(drawn) == len(dict(drawn)) == min(max(wanted, 0), len(expected))
        else:
            assert len(drawn) == -wanted
        pair = hashes.random_pair(self.engine, header)
        assert (pair is None) if not expected else expected[pair[0]] == pair[1]  # type: ignore[index]

    @invariant()
    def holds_the_model(self) -> None:
        value = self.database.get(KEY)
        if value is not None:
            assert_consistent(self.database, KEY, value)
        header = live(self.database)
        expected = self.expected
        if header is None:
            assert not expected
            return
        assert header.value is None or expected
        assert content(self.engine, header) == {field: entry[0] for field, entry in expected.items()}
        assert {(field, data, at) for field, data, at in hashes.entries(self.engine, header)} == {
            (field, *entry) for field, entry in expected.items()
        }
        assert hashes.length(self.engine, header) == len(expected)
        for field in (b"", b"a", b"b", b"\xff\xff"):
            value, expire_ms = expected.get(field, (None, None))
            assert hashes.get(self.engine, header, field) == value
            assert hashes.expiry(self.engine, header, field) == expire_ms


@pytest.mark.parametrize(("make_store", "examples"), [(memory_store, 150), (leveldb_store, 20)])
def test_against_a_model(make_store: Callable[[ExitStack], Store], examples: int) -> None:
    class Machine(Hashes):
        pass

    Machine.make_store = staticmethod(make_store)
    run_state_machine_as_test(Machine, settings=settings(max_examples=examples, stateful_step_count=30))


@pytest.mark.parametrize("size", [1, 100])
def test_setting_the_same_value_again_writes_nothing_but_counts(engine: Engine, size: int) -> None:
    database = engine.database(0)
    hset(database, *many(size))
    engine.commit()
    seen: list[bytes] = []
    database.observer = lambda _, key: seen.append(key)
    changes = engine.changes
    assert hashes.set_field(database, KEY, database.get(KEY), b"field 0", b"value 0") == 0
    assert not engine.journal
    assert seen == [KEY]
    assert engine.changes == changes + 1
    assert hashes.set_field(database, KEY, database.get(KEY), b"field 0", b"other") == 0
    engine.commit()
    assert content(engine, live(database))[b"field 0"] == b"other"


def test_a_new_hash_of_one_long_value_is_in_rows(engine: Engine) -> None:
    database = engine.database(0)
    assert hashes.set_field(database, KEY, None, b"field", b"x" * 21) == 1
    assert hashes.encoding(engine, database.get(KEY)) == b"hashtable"  # type: ignore[arg-type]
    with pytest.raises(WrongTypeError):
        hashes.set_field(database, KEY, b"string", b"field", b"x")


def hset(database: Database, *texts: bytes, key: bytes = KEY) -> int:
    return hashes.set_fields(database, key, live(database, key), [b"HSET", key, *texts], 2)


def many(count: int) -> list[bytes]:
    return [text for number in range(count) for text in (b"field %d" % number, b"value %d" % number)]


# ---- encodings


@pytest.mark.parametrize(
    ("texts", "encoding"),
    [
        ([b"f", b"x" * 20], b"listpack"),
        ([b"f", b"x" * 21], b"hashtable"),
        ([b"f" * 21, b"x"], b"hashtable"),
        (many(4), b"listpack"),
        (many(5), b"hashtable"),
        ([b"same", b"value"] * 4, b"listpack"),
        ([b"same", b"value"] * 5, b"hashtable"),
    ],
)
def test_encoding_follows_the_limits(engine: Engine, texts: list[bytes], encoding: bytes) -> None:
    database = engine.database(0)
    hset(database, *texts)
    value = database.get(KEY)
    assert value is not None
    assert hashes.encoding(engine, value) == encoding


def test_limits_are_read_at_each_write_and_rows_stay_rows(engine: Engine) -> None:
    database = engine.database(0)
    hset(database, *many(4))
    engine.config.hash_max_listpack_entries = 2
    hset(database, b"field 0", b"changed")
    assert hashes.encoding(engine, database.get(KEY)) == b"hashtable"  # type: ignore[arg-type]
    engine.config.hash_max_listpack_entries = 100
    old = live(database)
    assert old is not None
    hashes.delete_fields(database, KEY, old, [b"field 1", b"field 2", b"field 3"])
    assert hashes.encoding(engine, database.get(KEY)) == b"hashtable"  # type: ignore[arg-type]


def test_listpackex_survives_the_last_expiry_and_the_disk(engine: Engine) -> None:
    database = engine.database(0)
    edit = HashEdit(database, KEY, None)
    edit.put(b"f", b"v", START_MS + 1000)
    edit.save()
    assert hashes.encoding(engine, database.get(KEY)) == b"listpackex"  # type: ignore[arg-type]
    hset(database, b"f", b"w")
    value = database.get(KEY)
    assert isinstance(value, Header)
    assert value.ext is None
    again = decode_header(encode_header(value))
    assert hashes.encoding(engine, again) == b"listpackex"
    assert again == value


@pytest.mark.parametrize("expire_ms", [0, 1, START_MS, (1 << 46) - 1])
@pytest.mark.parametrize("data", [b"", b"\x00", b"\x01", b"value"])
def test_field_rows_round_trip(data: bytes, expire_ms: int) -> None:
    assert decode_field(encode_field(data, expire_ms)) == (data, expire_ms)


def test_other_types_are_refused(engine: Engine) -> None:
    database = engine.database(0)
    for value in (b"string", Header(1, [b"list"])):
        with pytest.raises(WrongTypeError):
            hashes.require_hash(database, KEY, value)


# ---- costs


def test_setting_a_field_of_a_big_hash_touches_one_row(engine: Engine) -> None:
    database = engine.database(0)
    hset(database, *many(1000))
    engine.commit()
    seen: list[bytes] = []
    database.observer = lambda _, key: seen.append(key)
    assert hset(database, b"field 7", b"changed") == 0
    assert len(engine.rows.staged) == 1
    assert not database.staged
    assert seen == [KEY]
    engine.commit()
    assert hset(database, b"new", b"v") == 1
    assert len(engine.rows.staged) == 1
    assert list(database.staged) == [KEY]


def test_deleting_a_big_hash_leaves_its_rows_to_the_reclaimer(engine: Engine) -> None:
    database = engine.database(0)
    edit = HashEdit(database, KEY, None)
    for number in range(300):
        edit.put(b"%d" % number, b"v", START_MS + 1000 + number)
    edit.save()
    engine.commit()
    value = database.get(KEY)
    assert isinstance(value, Header)
    database.delete(KEY, value)
    assert len(engine.rows.staged) == 1
    engine.commit()
    reclaimer = Reclaimer(engine)
    while not reclaimer.idle:
        reclaimer.step(100)
        engine.commit()
    assert not rows_of(engine, value.oid, KIND_HASH_FIELD)
    assert not rows_of(engine, value.oid, KIND_HASH_EXPIRY)


# ---- expiry


def put_expiring(database: Database, times: dict[bytes, int], key: bytes = KEY) -> Header:
    edit = HashEdit(database, key, live(database, key))
    for field, expire_ms in times.items():
        edit.put(field, b"v", expire_ms)
    edit.save()
    database.engine.commit()
    value = database.get(key)
    assert isinstance(value, Header)
    return value


@pytest.mark.parametrize("size", [2, 50])
def test_the_key_is_gone_with_its_last_field(engine: Engine, size: int) -> None:
    database = engine.database(0)
    ends: list[tuple[bytes, bool]] = []
    engine.on_fields_expired = lambda _, key, is_last: ends.append((key, is_last))
    put_expiring(database, {b"%d" % number: START_MS + 10 + number for number in range(size)})
    engine.begin(START_MS + 9 + size - 1)
    assert database.get(KEY) is not None
    engine.begin(START_MS + 10 + size - 1)
    assert database.get(KEY) is None
    assert database.keys == 0
    assert ends == [(KEY, True)]
    assert engine.expired_fields == size
    assert engine.expired_keys == 0


def test_a_key_may_expire_before_its_fields(engine: Engine) -> None:
    database = engine.database(0)
    value = put_expiring(database, {b"f": START_MS + 50})
    database.put(KEY, value.with_expiry(START_MS + 20), value)
    engine.begin(START_MS + 20)
    assert database.get(KEY) is None
    assert engine.expired_keys == 1


def test_the_sweeper_works_in_slices_and_goes_on_by_itself(engine: Engine) -> None:
    database = engine.database(0)
    value = put_expiring(database, {b"%d" % number: START_MS + 10 for number in range(950)})
    hset(database, b"stays", b"v")
    engine.commit()
    engine.begin(START_MS + 10)
    sizes = []
    while sweep(engine, 10):
        engine.commit()
        sizes.append(len(rows_of(engine, value.oid, KIND_HASH_FIELD)))
        header = live(database)
        assert header is not None
        assert hashes.length(engine, header) == 1
    assert sizes[:2] == [851, 751]
    assert sizes[-1] == 1
    assert content(engine, live(database)) == {b"stays": b"v"}
    assert not rows_of(engine, value.oid, KIND_HASH_EXPIRY)
    assert engine.expired_fields == 950


@pytest.mark.parametrize("size", [2, 50])
def test_fields_are_swept_under_another_name_and_after_a_restart(size: int) -> None:
    store = MemoryStore()
    engine = make_engine(store)
    database = engine.database(0)
    times = {b"%d" % number: START_MS + 10 + number for number in range(size)}
    value = put_expiring(database, {**times, b"stays": START_MS + 100_000})
    database.delete(KEY, value, reclaim=False)
    database.put(b"renamed", value, None)
    engine.commit()

    engine = make_engine(store)
    database = engine.database(0)
    assert engine.next_expiry_ms <= START_MS + 10
    engine.begin(START_MS + 10 + size)
    while sweep(engine, 3):
        engine.commit()
    assert content(engine, live(database, b"renamed")) == {b"stays": b"v"}
    assert engine.next_expiry_ms == START_MS + 100_000


def test_removed_times_do_not_end_the_hash(engine: Engine) -> None:
    database = engine.database(0)
    put_expiring(database, {b"%d" % number: START_MS + 10 for number in range(50)})
    hset(database, *[text for number in range(50) for text in (b"%d" % number, b"w")])
    engine.commit()
    engine.begin(START_MS + 10_000)
    while sweep(engine, 10):
        engine.commit()
    header = live(database)
    assert header is not None
    assert header.ext is None
    assert hashes.length(engine, header) == 50


def test_deleting_only_expired_fields_keeps_the_count(engine: Engine) -> None:
    database = engine.database(0)
    put_expiring(database, {b"%d" % number: START_MS + 10 for number in range(50)})
    hset(database, b"stays", b"v")
    engine.begin(START_MS + 10)
    header = live(database)
    assert header is not None
    assert hashes.delete_fields(database, KEY, header, [b"1", b"2"]) == (0, True)
    assert_consistent(database, KEY, database.get(KEY))


@pytest.mark.parametrize("size", [3, 50])
def test_nothing_is_deleted_while_expiry_is_paused(engine: Engine, size: int) -> None:
    database = engine.database(0)
    put_expiring(database, {b"%d" % number: START_MS + 10 + number for number in range(size)})
    engine.expiry_paused = True
    engine.begin(START_MS + 11)
    header = live(database)
    assert header is not None
    assert hashes.length(engine, header) == size - 2
    assert sweep(engine, 10) == 0
    assert not engine.journal
    engine.expiry_paused = False
    sweep(engine, 10)
    engine.commit()
    assert content(engine, live(database)).keys() == {b"%d" % number for number in range(2, size)}


def test_length_counts_a_bounded_number_of_expired_fields(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashes, "COUNTED_EXPIRED", 30)
    database = engine.database(0)
    put_expiring(database, {b"%d" % number: START_MS + 10 for number in range(100)})
    hset(database, b"stays", b"v")
    engine.begin(START_MS + 10)
    header = live(database)
    assert header is not None
    assert hashes.length(engine, header) == 71
    assert len(content(engine, header)) == 1


def test_load_leaves_expired_fields_out(engine: Engine) -> None:
    database = engine.database(0)
    value = HashValue([(b"dead", b"1", START_MS), (b"live", b"2", START_MS + 1), (b"stays", b"3", 0)])
    database.put(KEY, hashes.load(engine, value, 0), None)
    assert content(engine, live(database)) == {b"live": b"2", b"stays": b"3"}
    database.put(b"other", hashes.load(engine, HashValue([(b"dead", b"1", START_MS)]), 0), None)
    assert database.get(b"other") is None


@pytest.mark.parametrize("size", [3, 500])
def test_memory_is_estimated_from_samples(engine: Engine, size: int) -> None:
    database = engine.database(0)
    hset(database, *many(size))
    value: Any = database.get(KEY)
    whole = hashes.memory_bytes(engine, value, 0)
    assert sum(map(len, many(size))) < whole < 100 * size + 100
    assert abs(hashes.memory_bytes(engine, value, 5) - whole) < whole / 5
    assert value.type == HASH
