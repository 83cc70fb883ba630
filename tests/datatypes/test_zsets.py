"""Sorted sets against a plain dictionary, packed and as rows, with commits, rollbacks and forgotten mirrors between."""

from __future__ import annotations

import tempfile
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from math import inf
from unittest.mock import patch

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from diskkv.codec.header import ZSET, Header
from diskkv.codec.keys import KIND_ZSET_MEMBER, KIND_ZSET_SCORE, element_prefix, object_range, prefix_successor
from diskkv.codec.numbers import encode_double
from diskkv.config import Config
from diskkv.datatypes import zset_blocks, zset_memory, zset_ranges, zset_rows, zsets
from diskkv.datatypes.zset_blocks import index_of, shortest_border
from diskkv.datatypes.zset_ranges import LexBorder, LexRange, RankRange, ScoreRange
from diskkv.engine.engine import Engine
from diskkv.engine.leveldb import LevelDBStore
from diskkv.engine.memory import MemoryStore
from diskkv.engine.store import Store
from diskkv.errors import CommandError, CorruptionError, WrongTypeError

KEY = b"key"
EXPIRE_MS = 1 << 50


def memory_store(stack: ExitStack) -> Store:
    return MemoryStore()


def leveldb_store(stack: ExitStack) -> Store:
    store = LevelDBStore(stack.enter_context(tempfile.TemporaryDirectory()))
    stack.callback(store.close)
    return store


@contextmanager
def small_blocks() -> Iterator[None]:
    """Blocks and groups so small that short examples split and merge them."""
    with ExitStack() as stack:
        for name, value in (
            ("BLOCK_MEMBERS", 6),
            ("GROUP_BLOCKS", 4),
            ("_FEW_MEMBERS", 2),
            ("_FEW_BLOCKS", 2),
        ):
            stack.enter_context(patch.object(zset_blocks, name, value))
        stack.enter_context(patch.object(zset_rows, "_FILLED_BLOCK", 4))
        stack.enter_context(patch.object(zset_rows, "_KNOWN_MEMBERS", 30))
        stack.enter_context(patch.object(zset_rows, "_HINT_BYTES", 9))
        stack.enter_context(patch.object(zset_ranges, "_SEEK_OFFSET", 3))
        yield


def config(entries: int = 128, value: int = 64) -> Config:
    made = Config()
    made.zset_max_listpack_entries = entries
    made.zset_max_listpack_value = value
    return made


def same(left: float, right: float) -> bool:
    """Equal, the sign of zero included."""
    return repr(left) == repr(right)


def in_order(scores: dict[bytes, float]) -> list[tuple[bytes, float]]:
    return sorted(scores.items(), key=zsets.by_score)


MEMBERS = st.one_of(
    st.integers(0, 60).map(lambda number: b"m%02d" % number),
    st.sampled_from([b"", b"\0", b"\xff", b"\xff\xff", b"a", b"a\0", b"long member " * 7, b"long member " * 7 + b"!"]),
)
SCORES = st.one_of(
    st.integers(-4, 4).map(float), st.sampled_from([-0.0, inf, -inf, 1.5, 1e300, -1e-300, 5e-324, 2.0**53])
)
BORDERS = st.tuples(SCORES, st.booleans())
LEX = st.one_of(st.just(LexBorder(-1)), st.just(LexBorder(1)), st.builds(LexBorder, st.just(0), MEMBERS, st.booleans()))
RANKS = st.integers(-70, 70)


def expected_range(
    entries: list[tuple[bytes, float]], part: zset_ranges.Range, reverse: bool
) -> list[tuple[bytes, float]]:
    """What a range selects, by walking."""
    if isinstance(part, RankRange):
        ordered = entries[::-1] if reverse else entries
        size = len(entries)
        start = max(0, part.start + size) if part.start < 0 else part.start
        stop = part.stop + size if part.stop < 0 else part.stop
        return ordered[start : stop + 1] if stop >= start else []
    if isinstance(part, ScoreRange):
        found = [
            (member, score)
            for member, score in entries
            if (score > part.low if part.low_exclusive else score >= part.low)
            and (score < part.high if part.high_exclusive else score <= part.high)
        ]
    else:
        found = [entry for entry in entries if part.reaches(entry[0]) and part.contains_end(entry[0])]
    return found[::-1] if reverse else found


class Zsets(RuleBasedStateMachine):
    """One key and the scores it should hold."""

    make_store: Callable[[ExitStack], Store]
    limits = (4, 20)
    is_short_of_memory = False

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.stack.enter_context(small_blocks())
        self.config = config(*self.limits)
        if self.is_short_of_memory:
            self.config.cache_size = 0
            self.stack.enter_context(patch.object(zset_memory, "_LEAST_BUDGET_BYTES", 4500))
        self.store = type(self).make_store(self.stack)
        self.engine = Engine(self.store, self.config)
        self.database = self.engine.database(0)
        self.engine.begin(1)
        self.model: dict[bytes, float] = {}
        self.exploded = False
        self.saved: tuple[dict[bytes, float], bool] = ({}, False)

    @property
    def header(self) -> Header | None:
        return zsets.require(self.database.get(KEY))

    def stored(self, member: bytes, score: float) -> None:
        """A score is set: packed sets know no negative zero."""
        if member not in self.model:
            limit, longest = self.limits
            self.exploded = self.exploded or len(self.model) >= limit or len(member) > longest
        self.model[member] = score if self.exploded else score + 0.0

    def shrunk(self) -> None:
        if not self.model:
            self.exploded = False

    @initialize(members=st.lists(MEMBERS, max_size=60), score=SCORES, spread=st.integers(0, 3))
    def begin(self, members: list[bytes], score: float, spread: int) -> None:
        for number, member in enumerate(members):
            self.add_one(member, score + spread * number)

    @rule(member=MEMBERS, score=SCORES)
    def add_one(self, member: bytes, score: float) -> None:
        before = self.model.get(member)
        done = zsets.add_one(self.database, KEY, member, score)
        assert done == (1 if before is None else -1 if before == score else 0)
        if before != score:
            self.stored(member, score)

    @rule(entries=st.lists(st.tuples(MEMBERS, SCORES), min_size=1, max_size=4), condition=st.integers(0, 5))
    def add(self, entries: list[tuple[bytes, float]], condition: int) -> None:
        flags = [condition == number for number in range(1, 5)]
        conditions = zsets.Conditions(*flags, False)
        added = updated = 0
        hint = len(entries) > self.limits[0]
        if not (conditions.update_only and not self.model):
            self.exploded = self.exploded or hint or (not self.model and len(entries[0][0]) > self.limits[1])
            for member, score in entries:
                before = self.model.get(member)
                if before is None:
                    if not conditions.update_only:
                        self.stored(member, score)
                        added += 1
                elif not (
                    conditions.add_only
                    or (conditions.greater and score <= before)
                    or (conditions.less and score >= before)
                    or score == before
                ):
                    self.stored(member, score)
                    updated += 1
        self.shrunk()
        done = zsets.add(self.database, KEY, entries, conditions)
        assert (done.added, done.updated) == (added, updated)

    @rule(entries=st.lists(st.tuples(MEMBERS, SCORES), min_size=1, max_size=40), rising=st.booleans())
    def add_each(self, entries: list[tuple[bytes, float]], rising: bool) -> None:
        header = self.header
        if header is None or header.value is not None:
            return
        if rising:
            entries = [(member, float(number)) for number, (member, _) in enumerate(entries)]
        expected = []
        for member, score in entries:
            before = self.model.get(member)
            expected.append(before is None)
            if before != score:
                self.stored(member, score)
        members, scores = map(list, zip(*entries, strict=True))
        assert zset_rows.put_each(self.database, KEY, header, members, scores) == expected  # type: ignore[arg-type]

    @rule(member=MEMBERS, score=SCORES)
    def increment(self, member: bytes, score: float) -> None:
        before = self.model.get(member)
        total = score if before is None else before + score
        if total != total:
            with pytest.raises(CommandError, match="not a number"):
                zsets.add(self.database, KEY, [(member, score)], zsets.INCREMENT)
            return
        done = zsets.add(self.database, KEY, [(member, score)], zsets.INCREMENT)
        assert done.score is not None and same(done.score, total)
        if before != total:
            self.stored(member, total)

    @rule(members=st.lists(MEMBERS, min_size=1, max_size=6))
    def remove(self, members: list[bytes]) -> None:
        gone = set(members) & set(self.model)
        for member in gone:
            del self.model[member]
        assert zsets.remove(self.database, KEY, members) == (len(gone), bool(gone) and not self.model)
        self.shrunk()

    @rule(highest=st.booleans(), count=st.sampled_from([1, 1, 2, 5, 30]))
    def pop(self, highest: bool, count: int) -> None:
        header = self.header
        if header is None:
            return
        expected = in_order(self.model)
        expected = expected[::-1][:count] if highest else expected[:count]
        popped = zsets.pop(self.database, KEY, header, highest, count)
        assert [(member, repr(score)) for member, score in popped] == [(m, repr(s)) for m, s in expected]
        for member, _ in expected:
            del self.model[member]
        self.shrunk()

    def any_range(self, data: st.DataObject) -> zset_ranges.Range:
        kind = data.draw(st.integers(0, 2))
        if kind == 0:
            return RankRange(data.draw(RANKS), data.draw(RANKS))
        if kind == 1 or len(set(self.model.values())) > 1:
            (low, low_open), (high, high_open) = data.draw(BORDERS), data.draw(BORDERS)
            return ScoreRange(low, high, low_open, high_open)
        return LexRange(data.draw(LEX), data.draw(LEX))

    @rule(data=st.data(), reverse=st.booleans(), offset=st.integers(-1, 9), limit=st.integers(-1, 9))
    def read_range(self, data: st.DataObject, reverse: bool, offset: int, limit: int) -> None:
        header = self.header
        if header is None:
            return
        part = self.any_range(data)
        expected = expected_range(in_order(self.model), part, reverse)
        assert zset_ranges.count(self.engine, header, part) == len(expected_range(in_order(self.model), part, False))
        found = list(zset_ranges.select(self.engine, header, part, reverse))
        assert [(m, repr(s)) for m, s in found] == [(m, repr(s)) for m, s in expected]
        limited = expected[offset:] if offset >= 0 else []
        limited = limited[:limit] if limit >= 0 else limited
        members = list(zset_ranges.select_members(self.engine, header, part, reverse, offset, limit))
        assert members == [member for member, _ in limited]

    @rule(data=st.data())
    def remove_range(self, data: st.DataObject) -> None:
        header = self.header
        if header is None:
            return
        part = self.any_range(data)
        gone = expected_range(in_order(self.model), part, False)
        for member, _ in gone:
            del self.model[member]
        removed = zset_ranges.remove(self.database, KEY, header, part)
        assert removed == (len(gone), bool(gone) and not self.model)
        self.shrunk()

    @rule(reverse=st.booleans())
    def ranks(self, reverse: bool) -> None:
        header = self.header
        if header is None:
            return
        entries = in_order(self.model)
        for rank, (member, score) in enumerate(reversed(entries) if reverse else entries):
            found = zsets.rank_of(self.engine, header, member, reverse)
            assert found is not None and found[0] == rank and same(found[1], score)
        assert zsets.rank_of(self.engine, header, b"nobody", reverse) is None

    @rule(count=st.integers(1, 9))
    def walk(self, count: int) -> None:
        header = self.header
        if header is None:
            return
        seen: dict[bytes, float] = {}
        cursor = 0
        for _ in range(200):
            cursor, page = zsets.scan(self.engine, header, cursor, count)
            seen.update(page)
            if not cursor:
                break
        assert seen == self.model

    @rule(count=st.integers(0, 80), distinct=st.booleans())
    def draw(self, count: int, distinct: bool) -> None:
        header = self.header
        if header is None:
            return
        found = zsets.random_entries(self.engine, header, count, distinct)
        assert len(found) == (min(count, len(self.model)) if distinct else count)
        assert not distinct or len(dict(found)) == len(found)
        assert all(same(self.model[member], score) for member, score in found)

    @rule()
    def expire(self) -> None:
        header = self.header
        if header is not None:
            self.database.put(KEY, header.with_expiry(EXPIRE_MS), header)

    @rule()
    def copy_over(self) -> None:
        header = self.header
        if header is not None:
            self.database.put(KEY, zsets.copy(self.engine, header), header)

    @rule()
    def commit(self) -> None:
        self.engine.commit()
        self.saved = (dict(self.model), self.exploded)

    @rule()
    def roll_back(self) -> None:
        self.engine.rollback(0)
        self.model, self.exploded = dict(self.saved[0]), self.saved[1]

    @rule()
    def forget_mirrors(self) -> None:
        """As after an eviction or a restart."""
        self.engine.mirrors.clear()

    @invariant()
    def check_content(self) -> None:
        header = self.header
        if not self.model:
            assert header is None
            return
        assert header is not None
        entries = list(zsets.entries(self.engine, header))
        assert [(m, repr(s)) for m, s in entries] == [(m, repr(s)) for m, s in in_order(self.model)]
        assert zsets.cardinality(header) == len(self.model)
        assert zsets.encoding(self.engine, header) == (b"skiplist" if self.exploded else b"listpack")
        if header.value is None:
            check_rows(self.engine, header)
        else:
            assert len(self.model) <= self.limits[0]

    def teardown(self) -> None:
        self.stack.close()


def check_rows(engine: Engine, header: Header) -> None:
    """Rows, counts, the rank index and what is read ahead agree."""
    counts = Counter(row[9] for row, _ in engine.rows.scan(*object_range(header.oid)))
    assert counts[KIND_ZSET_MEMBER] == counts[KIND_ZSET_SCORE] == header.count
    prefix = element_prefix(header.oid, KIND_ZSET_SCORE)
    positions = [row[10:] for row, _ in engine.rows.scan(prefix, prefix_successor(prefix))]
    index = index_of(engine, header.oid)
    blocks = index.check()
    borders = [border for border, _ in blocks]
    assert borders == sorted(set(borders)) and borders[0] == b""
    found = Counter(bisect_right(borders, position) - 1 for position in positions)
    assert [count for _, count in blocks] == [found[at] for at in range(len(blocks))]
    assert all(count <= zset_blocks.BLOCK_MEMBERS for _, count in blocks)
    assert all(count for _, count in blocks)
    assert counts[0x52] == len(blocks) and counts[0x53] == len(index.groups)
    first = 0
    for group in index.groups:
        start = first
        for count, order in zip(group.counts, group.orders, strict=True):
            assert order is None or order.positions() == positions[start : start + count]
            start += count
        first += group.total
    if header.ext is not None:
        _, low, high = header.ext
        assert low <= positions[0]
        assert not high or high > positions[-1]


def run(machine: type[RuleBasedStateMachine], examples: int) -> None:
    run_state_machine_as_test(machine, settings=settings(max_examples=examples, stateful_step_count=30, deadline=None))


@pytest.mark.slow
def test_zsets_in_memory() -> None:
    class InMemory(Zsets):
        make_store = staticmethod(memory_store)

    run(InMemory, 150)


@pytest.mark.slow
def test_zsets_on_disk() -> None:
    class OnDisk(Zsets):
        make_store = staticmethod(leveldb_store)

    run(OnDisk, 30)


@pytest.mark.slow
def test_zsets_never_packed() -> None:
    class NeverPacked(Zsets):
        make_store = staticmethod(memory_store)
        limits = (0, 0)

    run(NeverPacked, 100)


@pytest.mark.slow
def test_zsets_short_of_memory() -> None:
    class ShortOfMemory(Zsets):
        make_store = staticmethod(memory_store)
        limits = (0, 0)
        is_short_of_memory = True

    run(ShortOfMemory, 80)


@pytest.fixture
def engine() -> Engine:
    made = Engine(MemoryStore(), config(4, 20))
    made.begin(1)
    return made


def test_borders_are_short() -> None:
    assert shortest_border(b"abcdef", b"abzzzzz") == b"abz"
    assert shortest_border(b"ab", b"abc") == b"abc"
    assert shortest_border(b"", b"x") == b"x"
    assert b"abc" < shortest_border(b"abc", b"abd") <= b"abd"


def test_wrong_type(engine: Engine) -> None:
    database = engine.database(0)
    database.put(KEY, b"string", None)
    for attempt in (
        lambda: zsets.add_one(database, KEY, b"m", 1.0),
        lambda: zsets.add(database, KEY, [(b"m", 1.0)], zsets.UNCONDITIONAL),
        lambda: zsets.remove(database, KEY, [b"m"]),
    ):
        with pytest.raises(WrongTypeError):
            attempt()
    assert database.get(KEY) == b"string"


def test_time_to_live_survives_changes_and_not_store(engine: Engine) -> None:
    database = engine.database(0)
    zsets.add_one(database, KEY, b"a", 1.0)
    header = database.get(KEY)
    assert isinstance(header, Header)
    database.put(KEY, header.with_expiry(EXPIRE_MS), header)
    for number in range(20):
        zsets.add_one(database, KEY, b"m%d" % number, float(number))
    zsets.remove(database, KEY, [b"m3"])
    header = database.get(KEY)
    assert isinstance(header, Header) and header.expire_ms == EXPIRE_MS and header.value is None
    zsets.store(database, KEY, [(b"x", 1.0)])
    header = database.get(KEY)
    assert isinstance(header, Header) and header.expire_ms == 0
    zsets.store(database, KEY, [])
    assert database.get(KEY) is None


def test_same_score_writes_nothing(engine: Engine) -> None:
    database = engine.database(0)
    for number in range(10):
        zsets.add_one(database, KEY, b"m%d" % number, 1.0)
    engine.commit()
    assert zsets.add_one(database, KEY, b"m3", 1.0) == -1
    assert zsets.add(database, KEY, [(b"m4", 1.0)], zsets.UNCONDITIONAL).updated == 0
    assert not engine.journal


def test_pops_do_not_walk_over_what_was_popped() -> None:
    """After a restart the scan for the lowest member begins behind all that was popped."""
    engine = Engine(MemoryStore(), config(4, 20))
    engine.begin(1)
    database = engine.database(0)
    entries = [(b"m%05d" % number, float(number)) for number in range(3000)]
    zsets.store(database, KEY, entries)
    engine.commit()
    for _ in range(10):
        header = zsets.require(database.get(KEY))
        assert header is not None
        zsets.pop(database, KEY, header, False, 100)
        header = zsets.require(database.get(KEY))
        assert header is not None
        zsets.pop(database, KEY, header, True, 100)
        engine.commit()
    engine.mirrors.clear()
    header = zsets.require(database.get(KEY))
    assert header is not None
    part = zset_ranges.slice_of(engine, header, RankRange(0, 0))
    assert part.start == encode_double(999.0) + b"m00999"
    part = zset_ranges.slice_of(engine, header, RankRange(0, 0), True)
    assert part.stop == encode_double(2000.0) + b"m02000"
    assert zsets.pop(database, KEY, header, False, 1) == [(b"m01000", 1000.0)]


def test_trimming_keeps_the_hints() -> None:
    engine = Engine(MemoryStore(), config(4, 20))
    engine.begin(1)
    database = engine.database(0)
    zsets.store(database, KEY, [(b"m%05d" % number, float(number)) for number in range(1000)])
    header = zsets.require(database.get(KEY))
    assert header is not None
    assert zset_ranges.remove(database, KEY, header, ScoreRange(-inf, 499.0)) == (500, False)
    header = zsets.require(database.get(KEY))
    assert header is not None and header.ext[1] == encode_double(499.0) + b"m00499"
    check_rows_large(engine, header)


def check_rows_large(engine: Engine, header: Header) -> None:
    assert sum(count for _, count in index_of(engine, header.oid).check()) == header.count


def test_random_members_are_uniform(engine: Engine) -> None:
    database = engine.database(0)
    zsets.store(database, KEY, [(b"%d" % number, float(number)) for number in range(20)])
    header = zsets.require(database.get(KEY))
    assert header is not None and header.value is None
    drawn = Counter(member for member, _ in zsets.random_entries(engine, header, 20_000, False))
    assert len(drawn) == 20 and all(800 < count < 1200 for count in drawn.values())


def test_damage_is_loud(engine: Engine) -> None:
    database = engine.database(0)
    zsets.store(database, KEY, [(b"%d" % number, float(number)) for number in range(20)])
    header = zsets.require(database.get(KEY))
    assert header is not None
    prefix = element_prefix(header.oid, 0x52)
    engine.rows.put(prefix, b"\0\0\0\x01")
    engine.mirrors.clear()
    with pytest.raises(CorruptionError):
        zsets.rank_of(engine, header, b"7", False)
    engine.rows.delete(element_prefix(header.oid, 0x53))
    engine.mirrors.clear()
    with pytest.raises(CorruptionError):
        zsets.rank_of(engine, header, b"7", False)


def test_size_estimate(engine: Engine) -> None:
    small = Header(ZSET, {b"a": 1.0})
    assert 10 < zsets.memory_bytes(engine, small, 5) < 100
    zsets.store(engine.database(0), KEY, [(b"%03d" % number, float(number)) for number in range(500)])
    header = zsets.require(engine.database(0).get(KEY))
    assert header is not None
    assert 500 * 30 < zsets.memory_bytes(engine, header, 0) < 500 * 80
    assert 500 * 30 < zsets.memory_bytes(engine, header, 5) < 500 * 80
