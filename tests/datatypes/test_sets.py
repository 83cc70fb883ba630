"""Sets against a plain set, in all encodings, and their algebra against Python's."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from diskkv.codec.header import SET, Header, Value, decode_header, encode_header
from diskkv.codec.keys import KIND_SET_MEMBER, element_prefix, prefix_successor
from diskkv.config import Config
from diskkv.datatypes import sets, sets_algebra
from diskkv.datatypes.members import member_row
from diskkv.datatypes.sets import SetBuilder
from diskkv.engine.engine import Engine
from diskkv.engine.leveldb import LevelDBStore
from diskkv.engine.memory import MemoryStore
from diskkv.engine.store import Store
from diskkv.errors import WrongTypeError

KEY = b"key"
MAX_INTSET = 6
MAX_LISTPACK = 4
INTEGERS = [b"0", b"1", b"2", b"-3", b"44", b"9223372036854775807", b"-9223372036854775808", b"7", b"8"]
OTHERS = [b"", b"a", b"b", b"01", b"+1", b"-0", b"9223372036854775808", b"\xff\xff", b"a member of 20 bytes"]
TOO_LONG = b"a member of 21 bytes."
MEMBERS = st.sampled_from([*INTEGERS, *INTEGERS, *OTHERS, TOO_LONG])
SEVERAL = st.lists(MEMBERS, min_size=1, max_size=5)


def memory_store(stack: ExitStack) -> Store:
    return MemoryStore()


def leveldb_store(stack: ExitStack) -> Store:
    store = LevelDBStore(stack.enter_context(tempfile.TemporaryDirectory()))
    stack.callback(store.close)
    return store


def make_engine(store: Store | None = None) -> Engine:
    config = Config()
    config.set_max_intset_entries = MAX_INTSET
    config.set_max_listpack_entries = MAX_LISTPACK
    config.set_max_listpack_value = 20
    return Engine(store or MemoryStore(), config)


@pytest.fixture
def engine() -> Engine:
    return make_engine()


def rows_of(engine: Engine, oid: int) -> list[bytes]:
    prefix = element_prefix(oid, KIND_SET_MEMBER)
    return [row for row, _ in engine.rows.scan(prefix, prefix_successor(prefix))]


def assert_consistent(engine: Engine, value: Value | None) -> None:
    assert isinstance(value, Header)
    if value.value is None:
        rows = rows_of(engine, value.oid)
        assert value.count == len(rows) > 0
        assert all(row == member_row(value.oid, KIND_SET_MEMBER, row[14:]) for row in rows)
    elif value.raw:
        assert 0 < len(value.value) <= MAX_LISTPACK
        assert max(map(len, value.value)) <= 20
    else:
        assert 0 < len(value.value) <= MAX_INTSET
        assert all(map(sets.is_integer, value.value))


class Sets(RuleBasedStateMachine):
    """One key, the members and the encoding it should have."""

    make_store: Callable[[ExitStack], Store] = staticmethod(memory_store)

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.engine = make_engine(self.make_store(self.stack))
        self.database = self.engine.database(0)
        self.model: set[bytes] = set()
        self.encoding = b""

    def teardown(self) -> None:
        self.stack.close()

    @property
    def old(self) -> Header | None:
        return sets.require_set(self.database.get(KEY))

    def becomes(self, model: set[bytes]) -> None:
        self.model = model
        if not model:
            self.encoding = b""

    def added(self, members: list[bytes]) -> None:
        """Redis' rules: the number of arguments first, then member by member."""
        if not self.model:
            is_integer = members[0] in INTEGERS and len(members) <= MAX_INTSET
            self.encoding = b"intset" if is_integer else b"listpack"
        most = {b"intset": MAX_INTSET, b"listpack": MAX_LISTPACK}
        if len(members) > most.get(self.encoding, 100):
            self.encoding = b"hashtable"
        for member in members:
            if member in self.model:
                continue
            if self.encoding == b"intset" and member not in INTEGERS:
                self.encoding = b"listpack"
            if len(self.model) >= most.get(self.encoding, 100) or (
                self.encoding == b"listpack" and member == TOO_LONG
            ):
                self.encoding = b"hashtable"
            self.model.add(member)

    @rule(members=SEVERAL)
    def add(self, members: list[bytes]) -> None:
        new = len(set(members) - self.model)
        assert sets.add_members(self.database, KEY, self.old, members) == new
        self.added(members)

    @rule(member=MEMBERS)
    def add_one(self, member: bytes) -> None:
        new = member not in self.model
        assert sets.add_member(self.database, KEY, self.old, member) == new
        self.added([member])

    @rule(members=SEVERAL)
    def remove(self, members: list[bytes]) -> None:
        old = self.old
        if old is None:
            return
        count = len(set(members) & self.model)
        assert sets.remove_members(self.database, KEY, old, members) == (count, self.model > set(members) & self.model)
        self.becomes(self.model - set(members))

    @rule()
    def pop(self) -> None:
        old = self.old
        if old is None:
            return
        member, exists = sets.pop_member(self.database, KEY, old)
        assert member in self.model
        self.becomes(self.model - {member})
        assert exists is bool(self.model)

    @rule(wanted=st.integers(1, 8))
    def pop_some(self, wanted: int) -> None:
        old = self.old
        if old is None:
            return
        popped, exists = sets.pop_members(self.database, KEY, old, wanted)
        assert len(popped) == len(set(popped)) == min(wanted, len(self.model))
        assert set(popped) <= self.model
        self.becomes(self.model - set(popped))
        assert exists is bool(self.model)

    @rule()
    def drop(self) -> None:
        old = self.old
        if old is not None:
            self.database.delete(KEY, old)
        self.becomes(set())

    @rule()
    def commit(self) -> None:
        self.engine.commit()

    @rule()
    def reload(self) -> None:
        self.engine.commit()
        for segment in self.engine.cache.segments:
            segment.clear()

    @rule(members=SEVERAL)
    def rolled_back(self, members: list[bytes]) -> None:
        before = self.old
        mark = len(self.engine.journal)
        sets.add_members(self.database, KEY, before, members)
        header = self.old
        assert header is not None
        sets.pop_member(self.database, KEY, header)
        self.engine.rollback(mark)
        assert self.old == before

    @rule()
    def replace_by_its_copy(self) -> None:
        old = self.old
        if old is not None:
            self.database.put(KEY, sets.copy(self.engine, old), old)

    @rule(wanted=st.integers(-6, 6))
    def draw(self, wanted: int) -> None:
        header = self.old
        if header is None:
            return
        drawn = list(sets.random_members(self.engine, header, wanted))
        assert set(drawn) <= self.model
        if wanted >= 0:
            assert len(drawn) == len(set(drawn)) == min(wanted, len(self.model))
        else:
            assert len(drawn) == -wanted
        assert sets.random_member(self.engine, header) in self.model

    @invariant()
    def holds_the_model(self) -> None:
        header = self.old
        if not self.model:
            assert header is None
            return
        assert header is not None
        assert_consistent(self.engine, header)
        assert sets.encoding(self.engine, header) == self.encoding
        assert sets.length(header) == len(self.model)
        assert sorted(sets.iterate(self.engine, header)) == sorted(self.model)
        assert sets.scan(self.engine, header, 0, 100) == (0, list(sets.iterate(self.engine, header)))
        for member in (b"", b"1", b"a", TOO_LONG):
            assert sets.contains(self.engine, header, member) is (member in self.model)


@pytest.mark.parametrize(("make_store", "examples"), [(memory_store, 150), (leveldb_store, 20)])
def test_against_a_model(make_store: Callable[[ExitStack], Store], examples: int) -> None:
    class Machine(Sets):
        pass

    Machine.make_store = staticmethod(make_store)
    run_state_machine_as_test(Machine, settings=settings(max_examples=examples, stateful_step_count=30))


@pytest.mark.parametrize("member", INTEGERS)
def test_an_integer_is_one(member: bytes) -> None:
    assert sets.is_integer(member)


@pytest.mark.parametrize("member", [*OTHERS, b" 1", b"1_0", b"--1", "١".encode(), b"1" * 30])
def test_anything_else_is_no_integer(member: bytes) -> None:
    assert not sets.is_integer(member)


@pytest.mark.parametrize("members", [[b"1"], [b"a"], [b"a", b"1"], [TOO_LONG], [b"%d" % n for n in range(9)]])
def test_values_round_trip(engine: Engine, members: list[bytes]) -> None:
    database = engine.database(0)
    sets.add_members(database, KEY, None, members)
    value: Any = database.get(KEY)
    assert decode_header(encode_header(value)) == value
    loaded: Any = sets.load(engine, sets.export(engine, value), 5)
    assert loaded.expire_ms == 5
    assert sets.encoding(engine, loaded) == sets.encoding(engine, value)
    assert sorted(sets.iterate(engine, loaded)) == sorted(members)


def test_limits_are_read_at_each_write_and_rows_stay_rows(engine: Engine) -> None:
    database = engine.database(0)
    sets.add_members(database, KEY, None, [b"a", b"b", b"c"])
    engine.config.set_max_listpack_entries = 2
    assert sets.add_member(database, KEY, sets.require_set(database.get(KEY)), b"d") == 1
    assert sets.encoding(engine, database.get(KEY)) == b"hashtable"  # type: ignore[arg-type]
    engine.config.set_max_listpack_entries = 100
    header = sets.require_set(database.get(KEY))
    assert header is not None
    sets.remove_members(database, KEY, header, [b"a", b"b", b"c"])
    assert sets.encoding(engine, database.get(KEY)) == b"hashtable"  # type: ignore[arg-type]


def test_other_types_are_refused(engine: Engine) -> None:
    for value in (b"string", Header(1, [b"list"])):
        with pytest.raises(WrongTypeError):
            sets.require_set(value)


def test_changing_a_big_set_touches_one_row(engine: Engine) -> None:
    database = engine.database(0)
    sets.add_members(database, KEY, None, [b"%d" % number for number in range(1000)])
    engine.commit()
    header = sets.require_set(database.get(KEY))
    assert sets.add_member(database, KEY, header, b"7") == 0
    assert not engine.journal
    assert sets.add_member(database, KEY, header, b"new") == 1
    assert len(engine.rows.staged) == 1
    engine.commit()
    header = sets.require_set(database.get(KEY))
    assert header is not None
    sets.pop_member(database, KEY, header)
    assert len(engine.rows.staged) == 1


@pytest.mark.parametrize("size", [3, 500])
def test_memory_is_estimated_from_samples(engine: Engine, size: int) -> None:
    database = engine.database(0)
    sets.add_members(database, KEY, None, [b"member %d" % number for number in range(size)])
    value: Any = database.get(KEY)
    whole = sets.memory_bytes(engine, value, 0)
    assert 8 * size < whole < 60 * size + 60
    assert abs(sets.memory_bytes(engine, value, 5) - whole) < whole / 5


# ---- algebra

POOL = [b"%d" % number for number in range(12)] + [b"m%d" % number for number in range(12)]
SETS = st.lists(st.sets(st.sampled_from(POOL), min_size=1), min_size=1, max_size=4)


def make_sets(engine: Engine, contents: list[set[bytes]], in_rows: list[bool]) -> list[Header]:
    made = []
    for number, members in enumerate(contents):
        builder = SetBuilder(engine.database(0))
        if in_rows[number % len(in_rows)]:
            builder.use_encoding_for(1000, ())
        for member in members:
            builder.add(member)
        made.append(builder.header(0))
    return made


@given(SETS, st.lists(st.booleans(), min_size=1, max_size=4), st.sampled_from([0, 1, 7, 1000]))
def test_algebra_is_pythons(contents: list[set[bytes]], in_rows: list[bool], lookup_rows: int) -> None:
    engine = make_engine()
    headers = make_sets(engine, contents, in_rows)
    before = sets_algebra._LOOKUP_ROWS
    sets_algebra._LOOKUP_ROWS = lookup_rows
    try:
        common = list(sets_algebra.intersection(engine, headers))
        united = list(sets_algebra.union(engine, headers))
        rest = list(sets_algebra.difference(engine, headers[0], headers[1:]))
    finally:
        sets_algebra._LOOKUP_ROWS = before
    for found, expected in (
        (common, set.intersection(*contents)),
        (united, set.union(*contents)),
        (rest, contents[0].difference(*contents[1:])),
    ):
        assert len(found) == len(expected)
        assert set(found) == expected


@given(SETS, st.lists(st.booleans(), min_size=1, max_size=4))
def test_a_set_named_twice_counts_once(contents: list[set[bytes]], in_rows: list[bool]) -> None:
    engine = make_engine()
    headers = make_sets(engine, contents, in_rows)
    twice = headers + headers[::-1]
    assert set(sets_algebra.intersection(engine, twice)) == set.intersection(*contents)
    assert sorted(sets_algebra.union(engine, twice)) == sorted(set.union(*contents))
    assert list(sets_algebra.difference(engine, headers[0], headers)) == []


@given(SETS, st.lists(st.booleans(), min_size=1, max_size=4))
def test_stored_differences_are_differences(contents: list[set[bytes]], in_rows: list[bool]) -> None:
    engine = make_engine()
    headers = make_sets(engine, contents, in_rows)
    builder = SetBuilder(engine.database(0))
    sets_algebra.build_difference(engine, builder, headers[0], headers[1:])
    expected = contents[0].difference(*contents[1:])
    assert builder.count == len(expected)
    header = builder.header(0)
    assert set(sets.iterate(engine, header)) == expected
    if expected:
        assert_consistent(engine, header)


@pytest.mark.parametrize("sizes", [(3000, 5), (5, 3000), (2000, 3000), (3000, 3000)])
def test_big_sets(sizes: tuple[int, int]) -> None:
    engine = make_engine()
    chosen = random.Random(1)
    contents = [{b"%d" % chosen.randrange(4000) for _ in range(size)} for size in sizes]
    left, right = make_sets(engine, contents, [True])
    assert set(sets_algebra.intersection(engine, [left, right])) == contents[0] & contents[1]
    assert set(sets_algebra.union(engine, [left, right])) == contents[0] | contents[1]
    assert set(sets_algebra.difference(engine, left, [right])) == contents[0] - contents[1]
    assert left.type == SET
