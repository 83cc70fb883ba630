"""Pools of set members: they follow the set through changes and rollbacks, draw uniformly, and keep to their budget."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule, run_state_machine_as_test

from diskkv.codec.header import SET, Header
from diskkv.datatypes import sets, sets_pool
from diskkv.datatypes.sets_pool import Pool
from diskkv.engine.engine import Engine
from diskkv.engine.memory import MemoryStore
from diskkv.engine.store import Store
from diskkv.errors import CorruptionError
from tests.datatypes.test_members import chi_squared, limit
from tests.datatypes.test_sets import KEY, MEMBERS, Sets, leveldb_store, make_engine, memory_store, rows_of


@pytest.fixture(autouse=True)
def early_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sets_pool, "_FIRST_DRAWS", 1)
    monkeypatch.setattr(sets_pool, "_STEP", 3)


def pool_at(engine: Engine, header: Header) -> Pool | None:
    pool: Pool | None = engine.mirrors.get(header.oid)
    return pool


def header_of(engine: Engine, key: bytes = KEY) -> Header:
    header = sets.require_set(engine.database(0).get(key))
    assert header is not None
    return header


class PooledSets(Sets):
    """The model of test_sets.py, where nearly every big set has a pool on its way."""

    @rule()
    def draw_one(self) -> None:
        if self.old is not None:
            assert sets.random_member(self.engine, self.old) in self.model

    @rule(member=MEMBERS)
    def move_and_take_back(self, member: bytes) -> None:
        old = self.old
        if old is None or member not in self.model:
            return
        mark = len(self.engine.journal)
        sets.remove_members(self.database, KEY, old, (member,))
        if self.old is not None:
            sets.random_member(self.engine, self.old)
        self.engine.rollback(mark)

    @rule(count=st.integers(1, 6))
    def pop_each(self, count: int) -> None:
        old = self.old
        if old is None:
            return
        popped = sets.pop_each(self.database, KEY, old, count)
        if popped is not None:
            assert len(set(popped)) == count
            assert self.model >= set(popped)
            self.becomes(self.model - set(popped))

    @rule()
    def fail_to_commit(self) -> None:
        self.engine.commit()
        before = self.old
        if before is not None:
            sets.add_members(self.database, KEY, before, [b"never there", b"x" * 30])
            sets.random_member(self.engine, header_of(self.engine))
            self.engine.rollback(0)

    @invariant()
    def pool_is_the_set(self) -> None:
        header = self.old
        if header is None or header.value is not None:
            return
        pool = pool_at(self.engine, header)
        if pool is None:
            return
        known = [row for row in rows_of(self.engine, header.oid) if pool.next is None or row < pool.next]
        assert sorted(set(pool.rows) - pool.gone) == known
        assert len(set(pool.rows)) == len(pool.rows)
        assert pool.gone <= set(pool.rows)


@pytest.fixture
def no_pool_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if there had been no room for it, or the set had been made before a restart."""
    monkeypatch.setattr(sets, "begin_pool", lambda engine, oid, rows: None)


@pytest.mark.parametrize("from_the_beginning", [False, True])
@pytest.mark.parametrize(("make_store", "examples"), [(memory_store, 100), (leveldb_store, 10)])
def test_against_a_model(
    make_store: Callable[[ExitStack], Store], examples: int, from_the_beginning: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not from_the_beginning:
        monkeypatch.setattr(sets, "begin_pool", lambda engine, oid, rows: None)
    monkeypatch.setattr(sets_pool, "_MOST_GONE", 2)

    class Machine(PooledSets):
        pass

    Machine.make_store = staticmethod(make_store)
    run_state_machine_as_test(Machine, settings=settings(max_examples=examples, stateful_step_count=30))


def big_set(engine: Engine, count: int, key: bytes = KEY) -> list[bytes]:
    """A set in rows of the members that are answered."""
    names = [b"member-%d" % number for number in range(count)]
    sets.add_members(engine.database(0), key, None, names)
    engine.commit()
    return names


@pytest.mark.usefixtures("no_pool_at_first")
def test_draws_of_a_changed_pool_are_uniform() -> None:
    engine = make_engine(MemoryStore())
    names = big_set(engine, 60)
    counts: Counter[bytes] = Counter()
    while counts.total() < 100 * len(names):
        header = header_of(engine)
        counts[sets.random_member(engine, header)] += 1
        # The others come and go in between, known to the pool or not.
        for name in names[30:33]:
            sets.remove_members(engine.database(0), KEY, header_of(engine), (name,))
            sets.add_member(engine.database(0), KEY, header_of(engine), name)
        engine.commit()
    assert pool_at(engine, header_of(engine)) is not None
    assert chi_squared(counts, names) < limit(len(names) - 1)


@pytest.mark.parametrize("place", [0, 1, 9])
def test_pops_come_in_every_order(place: int) -> None:
    counts: Counter[bytes] = Counter()
    names: list[bytes] = []
    for _ in range(1000):
        engine = make_engine(MemoryStore())
        names = big_set(engine, 10)
        popped = [sets.pop_member(engine.database(0), KEY, header_of(engine))[0] for _ in names]
        assert sorted(popped) == names
        counts[popped[place]] += 1
    assert chi_squared(counts, names) < limit(len(names) - 1)


@pytest.mark.parametrize("place", [0, 1, 7])
def test_pops_of_a_run_come_in_every_order(place: int) -> None:
    engine = make_engine(MemoryStore())
    names = big_set(engine, 10)
    while (pool := pool_at(engine, header_of(engine))) is None or pool.next is not None:
        sets.random_member(engine, header_of(engine))
    counts: Counter[bytes] = Counter()
    for _ in range(1000):
        popped = sets.pop_each(engine.database(0), KEY, header_of(engine), 8)
        assert popped is not None
        counts[popped[place]] += 1
        sets.add_members(engine.database(0), KEY, header_of(engine), popped)
    assert chi_squared(counts, names) < limit(len(names) - 1)


def test_old_pools_make_room_for_new_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sets_pool, "_LEAST_BUDGET_BYTES", 0)
    engine = make_engine(MemoryStore())
    engine.config.cache_size = 16_000
    for key in (b"a", b"b"):
        big_set(engine, 30, key)
        for _ in range(20):
            sets.random_member(engine, header_of(engine, key))
    assert pool_at(engine, header_of(engine, b"a")) is None
    assert pool_at(engine, header_of(engine, b"b")) is not None
    for number in range(100):
        sets.add_member(engine.database(0), b"b", header_of(engine, b"b"), b"more-%d" % number)
    assert pool_at(engine, header_of(engine, b"b")) is None
    for _ in range(20):
        assert sets.contains(engine, header_of(engine, b"b"), sets.random_member(engine, header_of(engine, b"b")))
    assert pool_at(engine, header_of(engine, b"b")) is None


def test_pools_that_nobody_used_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sets_pool, "_LEAST_BUDGET_BYTES", 0)
    engine = make_engine(MemoryStore())
    engine.config.cache_size = 40_000
    for key in (b"used", b"a", b"b", b"c", b"d", b"e"):
        big_set(engine, 30, key)
        if key == b"used":
            sets.random_member(engine, header_of(engine, key))
    others = (b"a", b"b", b"c", b"d", b"e")
    assert any(pool_at(engine, header_of(engine, key)) is not None for key in others)
    for number in range(100):
        sets.add_member(engine.database(0), b"used", header_of(engine, b"used"), b"more-%d" % number)
    assert pool_at(engine, header_of(engine, b"used")) is not None
    assert all(pool_at(engine, header_of(engine, key)) is None for key in others)
    assert sets.random_member(engine, header_of(engine, b"a")) in set(sets.iterate(engine, header_of(engine, b"a")))


def test_a_pool_does_not_keep_what_left_the_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sets_pool, "_MOST_GONE", 10)
    engine = make_engine(MemoryStore())
    names = big_set(engine, 40)
    for number in range(1000):
        sets.remove_members(engine.database(0), KEY, header_of(engine), names[:1])
        names = [*names[1:], b"member-%d" % (40 + number)]
        sets.add_member(engine.database(0), KEY, header_of(engine), names[-1])
    pool = pool_at(engine, header_of(engine))
    assert pool is not None and len(pool.rows) < 100
    assert pool.size_bytes == sum(len(row) + 48 for row in pool.rows)
    assert sets.random_member(engine, header_of(engine)) in names


def test_a_header_that_does_not_fit_its_rows_is_found_out() -> None:
    engine = make_engine(MemoryStore())
    big_set(engine, 20)
    header = header_of(engine)
    damaged = Header(SET, None, 0, header.oid, 21)
    with pytest.raises(CorruptionError):
        for _ in range(20):
            sets.random_member(engine, damaged)
