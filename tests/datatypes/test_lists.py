"""Lists against a plain Python list, packed and in rows, with commits, rollbacks and the reclaimer in between."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from diskkv.codec.header import LIST, STRING, Header
from diskkv.codec.keys import (
    ELEMENT_PREFIX_SIZE,
    GARBAGE_LIST_HEAD,
    GARBAGE_LIST_TAIL,
    GARBAGE_OBJECT,
    GARBAGE_TAG,
    KIND_LIST_ITEM,
    U64,
    decode_garbage_row,
    decode_index_range,
    element_prefix,
    object_range,
)
from diskkv.codec.list_block import BLOCK_ITEMS, BLOCK_MASK, decode_block, encode_block
from diskkv.codec.listpack_size import EMPTY_BYTES, entry_bytes, listpack_bytes
from diskkv.codec.numbers import decode_i64, encode_i64
from diskkv.codec.rdb_packed import encode_listpack
from diskkv.codec.rdb_values import ListValue
from diskkv.config import Config
from diskkv.datatypes import list_rows, lists, lists_edit
from diskkv.engine.engine import Engine
from diskkv.engine.leveldb import LevelDBStore
from diskkv.engine.memory import MemoryStore
from diskkv.engine.reclaim import Reclaimer
from diskkv.engine.store import Store
from diskkv.errors import CorruptionError, WrongTypeError

KEY = b"key"
EXPIRE_MS = 1 << 50
ITEM = st.sampled_from([b"a", b"b", b"c", b"", b"17", b"-5000", b"x" * 128, b"y" * 129, b"z" * 300, b"\xff\xff"])
ITEMS = st.one_of(
    st.lists(ITEM, min_size=1, max_size=3),
    st.builds(lambda items, times: items * times, st.lists(ITEM, min_size=10, max_size=20), st.integers(1, 12)),
)


def memory_store(stack: ExitStack) -> Store:
    return MemoryStore()


def leveldb_store(stack: ExitStack) -> Store:
    store = LevelDBStore(stack.enter_context(tempfile.TemporaryDirectory()))
    stack.callback(store.close)
    return store


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that let short examples cross every border."""
    monkeypatch.setattr(lists, "INLINE_ITEMS", 64)
    monkeypatch.setattr(lists, "COUNTED_ITEMS", 150)
    monkeypatch.setattr(lists, "_SIZE_LIMITS_BYTES", (100,) * 5)


def make_engine(store: Store | None = None, limit: int = -2) -> Engine:
    config = Config()
    config.list_max_listpack_size = limit
    return Engine(store or MemoryStore(), config)


def item_rows(engine: Engine, oid: int) -> list[bytes]:
    return [row for row, _ in engine.rows.scan(*object_range(oid))]


class Lists(RuleBasedStateMachine):
    """One key and the items it should hold; no items: it should not exist."""

    make_store: Callable[[ExitStack], Store] = staticmethod(memory_store)

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.engine = make_engine(self.make_store(self.stack))
        self.database = self.engine.database(0)
        self.reclaimer = Reclaimer(self.engine)
        self.model: list[bytes] = []
        self.expire_ms = 0

    @property
    def old(self) -> Header:
        value = self.database.get(KEY)
        assert isinstance(value, Header)
        return value

    # ---- changes

    def _push(self, items: list[bytes], at_head: bool) -> int:
        return lists.push(self.database, KEY, self.database.get(KEY), items, at_head)

    @rule(items=ITEMS, at_head=st.booleans())
    def push(self, items: list[bytes], at_head: bool) -> None:
        if not self.model:
            self.expire_ms = 0
        self.model = [*reversed(items), *self.model] if at_head else self.model + items
        assert self._push(items, at_head) == len(self.model)

    @precondition(lambda self: self.model)
    @rule(at_head=st.booleans())
    def pop(self, at_head: bool) -> None:
        assert lists.pop(self.database, KEY, self.old, at_head) == self.model.pop(0 if at_head else -1)

    @precondition(lambda self: self.model)
    @rule(at_head=st.booleans(), count=st.integers(1, 150))
    def pop_many(self, at_head: bool, count: int) -> None:
        wanted = self.model[:count] if at_head else self.model[::-1][:count]
        assert lists.pop_many(self.database, KEY, self.old, count, at_head) == wanted
        self.model = self.model[count:] if at_head else self.model[: max(0, len(self.model) - count)]

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def cut(self, data: st.DataObject) -> None:
        start = data.draw(st.integers(0, len(self.model)))
        stop = data.draw(st.integers(start, len(self.model)))
        lists.cut(self.database, KEY, self.old, start, len(self.model) - stop)
        self.model = self.model[start:stop]

    @precondition(lambda self: self.model)
    @rule(index=st.integers(-150, 150), item=ITEM)
    def set_at(self, index: int, item: bytes) -> None:
        inside = -len(self.model) <= index < len(self.model)
        assert lists_edit.set_at(self.database, KEY, self.old, index, item) == inside
        if inside:
            self.model[index] = item

    @precondition(lambda self: self.model)
    @rule(pivot=ITEM, item=ITEM, after=st.booleans())
    def insert(self, pivot: bytes, item: bytes, after: bool) -> None:
        result = lists_edit.insert(self.database, KEY, self.old, pivot, item, after)
        if pivot in self.model:
            self.model.insert(self.model.index(pivot) + after, item)
            assert result == len(self.model)
        else:
            assert result == -1

    @precondition(lambda self: self.model)
    @rule(item=ITEM, count=st.integers(-3, 3))
    def remove(self, item: bytes, count: int) -> None:
        places = [at for at, found in enumerate(self.model) if found == item]
        gone = places if not count else (places[:count] if count > 0 else places[count:])
        assert lists_edit.remove(self.database, KEY, self.old, item, count) == len(gone)
        self.model = [found for at, found in enumerate(self.model) if at not in gone]

    @precondition(lambda self: len(self.model) > 180)
    @rule(items=ITEMS, at_head=st.booleans(), inserted=st.booleans(), slices=st.integers(0, 2))
    def cut_and_grow_back(self, items: list[bytes], at_head: bool, inserted: bool, slices: int) -> None:
        """Over indexes whose rows may still be there."""
        gone = len(self.model) - 80
        lists.cut(self.database, KEY, self.old, gone * at_head, gone * (not at_head))
        self.model = self.model[gone:] if at_head else self.model[:80]
        for _ in range(slices):
            self.reclaimer.step(1)
        if not inserted:
            self.push(items, at_head)
            return
        for item in items[:70]:
            place = 1 if at_head else len(self.model) - 1
            pivot = b"pivot%d" % len(self.model)
            self.model[place] = pivot
            lists_edit.set_at(self.database, KEY, self.old, place, pivot)
            self.insert(pivot, item, False)

    @precondition(lambda self: self.model)
    @rule(copied=st.booleans())
    def replaced(self, copied: bool) -> None:
        old = self.old
        exported = lists_edit.export(self.engine, old)
        new = lists_edit.copy(self.engine, old) if copied else lists_edit.load(self.engine, exported, old.expire_ms)
        self.database.put(KEY, new, old)

    @precondition(lambda self: self.model)
    @rule(expire_ms=st.sampled_from([0, EXPIRE_MS]))
    def expire(self, expire_ms: int) -> None:
        old = self.old
        self.database.put(KEY, old.with_expiry(expire_ms), old)
        self.expire_ms = expire_ms

    # ---- the turn

    @rule()
    def commit(self) -> None:
        self.engine.commit()

    @rule(limit=st.integers(1, 6))
    def reclaim(self, limit: int) -> None:
        self.reclaimer.step(limit)

    @rule(items=ITEMS, at_head=st.booleans(), cut=st.integers(0, 100))
    def rolled_back(self, items: list[bytes], at_head: bool, cut: int) -> None:
        mark = len(self.engine.journal)
        self._push(items, at_head)
        lists.cut(self.database, KEY, self.old, cut, 0)
        self.engine.rollback(mark)

    # ---- what must hold

    @invariant()
    def holds_the_items(self) -> None:
        value = self.database.get(KEY)
        if not self.model:
            assert value is None
            return
        header = lists.require_list(self.old)
        count = len(self.model)
        assert lists.length(header) == count
        assert header.expire_ms == self.expire_ms
        assert lists.read_range(self.engine, header, 0, count) == self.model
        assert list(lists.items_between(self.engine, header, 0, count, True)) == self.model[::-1]
        assert [lists.get_at(self.engine, header, at) for at in range(-count, count)] == self.model * 2
        assert lists.get_at(self.engine, header, count) is lists.get_at(self.engine, header, -count - 1) is None

    @invariant()
    def counts_its_bytes(self) -> None:
        if self.model:
            header = self.old
            if header.value is None:
                _, size, _ = header.ext
                assert size in (-1, listpack_bytes(self.model))
            else:
                assert lists.packed_bytes(header) == listpack_bytes(self.model)

    @invariant()
    def every_row_is_accounted_for(self) -> None:
        """A row is an item, or a garbage row says that it has to go; never both."""
        value = self.database.get(KEY)
        header = value if isinstance(value, Header) else Header(LIST)
        oid = header.oid
        garbage = {decode_garbage_row(row): raw for row, raw in self.engine.rows.scan(GARBAGE_TAG, b"h")}
        head, tail = (header.ext[0], header.ext[0] + header.count) if oid else (0, 0)
        items = 0
        longs: set[int] = set()
        for row, raw in self.engine.rows.scan(b"d", b"e"):
            (owner,) = U64.unpack_from(row, 1)
            index = decode_i64(row[ELEMENT_PREFIX_SIZE : ELEMENT_PREFIX_SIZE + 8])
            is_garbage = (GARBAGE_OBJECT, owner) in garbage
            for what in (GARBAGE_LIST_HEAD, GARBAGE_LIST_TAIL):
                if (what, owner) in garbage:
                    start, stop = decode_index_range(garbage[what, owner])
                    is_garbage |= start <= index < stop
            is_block = len(row) == ELEMENT_PREFIX_SIZE + 8
            if owner == oid and is_block and head & BLOCK_MASK <= index < tail:
                held = decode_block(raw)
                assert len(held) == min(index + BLOCK_ITEMS, tail) - max(index, head)
                items += len(held)
                longs = {at for at, item in enumerate(held, max(index, head)) if item is None}
                is_row = True
            else:
                is_row = owner == oid and not is_block and index in longs
            assert is_row != is_garbage, row.hex()
        assert items == (header.count if oid else 0)

    def teardown(self) -> None:
        self.engine.has_garbage = True
        while self.reclaimer.step(1000):
            pass
        self.every_row_is_accounted_for()
        assert not list(self.engine.rows.scan(GARBAGE_TAG, b"h"))
        self.stack.close()


class LevelDBLists(Lists):
    make_store = staticmethod(leveldb_store)


@pytest.mark.slow
@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize("machine", [Lists, LevelDBLists])
def test_any_sequence_of_changes(machine: type[Lists]) -> None:
    examples = 80 if machine is Lists else 10
    run_state_machine_as_test(machine, settings=settings(max_examples=examples, stateful_step_count=40))


# ---- limits


@pytest.mark.parametrize(
    "item",
    [b"", b"0", b"127", b"128", b"-1", b"4095", b"4096", b"-4096", b"-4097", b"32767", b"32768", b"-32769"]
    + [b"8388607", b"8388608", b"-8388609", b"2147483647", b"2147483648", b"-2147483649", b"9223372036854775807"]
    + [b"-9223372036854775808", b"9223372036854775808", b"007", b"-0", b"1.5", b"/", b":"]
    + [b"x" * size for size in (1, 20, 21, 63, 64, 125, 126, 127, 4095, 4096, 16377, 16378, 16379, 20000)],
    ids=lambda item: f"{item[:20]!r}{len(item)}",
)
def test_entry_bytes_are_those_of_a_listpack(item: bytes) -> None:
    assert entry_bytes(item) == len(encode_listpack([item])) - EMPTY_BYTES


def pushed(engine: Engine, items: list[bytes]) -> Header:
    database = engine.database(0)
    lists.push(database, KEY, database.get(KEY), items, False)
    value = database.get(KEY)
    assert isinstance(value, Header)
    return value


@pytest.mark.parametrize(
    ("limit", "count", "encoding"),
    [(4, 4, b"listpack"), (4, 5, b"quicklist"), (0, 1, b"listpack"), (0, 2, b"quicklist"), (1, 2, b"quicklist")],
)
def test_a_limit_of_items(limit: int, count: int, encoding: bytes) -> None:
    engine = make_engine(limit=limit)
    assert lists_edit.encoding(engine, pushed(engine, [b"x"] * count)) == encoding


@pytest.mark.parametrize(("limit", "limit_bytes"), [(-1, 4096), (-2, 8192), (-3, 16384), (-4, 32768), (-5, 65536)])
def test_a_limit_of_bytes(limit: int, limit_bytes: int) -> None:
    engine = make_engine(limit=limit)
    assert pushed(engine, [b"x" * (limit_bytes - 7)]).value is not None
    engine.database(0).delete(KEY, pushed(engine, [b"y"]))
    assert pushed(engine, [b"x" * (limit_bytes - 6)]).value is None


def test_a_list_is_packed_again_at_half_the_limit() -> None:
    engine = make_engine(limit=8)
    database = engine.database(0)
    header = pushed(engine, [b"%d" % number for number in range(9)])
    while lists.length(header) > 4:
        assert header.value is None
        lists.pop(database, KEY, header, True)
        found = database.get(KEY)
        assert isinstance(found, Header)
        header = found
    assert header.value == [b"5", b"6", b"7", b"8"]
    assert pushed(engine, [b"9"] * 4).value is not None
    assert pushed(engine, [b"9"]).value is None


def test_a_changed_limit_counts_from_the_next_write_on() -> None:
    engine = make_engine(limit=8)
    assert pushed(engine, [b"x"] * 6).value is not None
    engine.config.list_max_listpack_size = 4
    value = engine.database(0).get(KEY)
    assert isinstance(value, Header)
    assert value.value is not None
    assert pushed(engine, [b"x"]).value is None


# ---- large lists


@pytest.fixture
def large() -> Iterator[tuple[Engine, list[bytes]]]:
    engine = make_engine()
    items = [b"%d" % number for number in range(30_000)]
    pushed(engine, items)
    engine.commit()
    yield engine, items


def test_trimming_a_large_list_leaves_its_rows_to_the_reclaimer(large: tuple[Engine, list[bytes]]) -> None:
    engine, items = large
    database = engine.database(0)
    header = pushed(engine, [b"last"])
    mark = len(engine.journal)
    lists.cut(database, KEY, header, 5000, 6000)
    assert len(engine.journal) - mark < 10
    engine.commit()
    trimmed = database.get(KEY)
    assert isinstance(trimmed, Header)
    assert trimmed.oid == header.oid
    expected = items[5000:-5999]
    # Growing back over the indexes of rows that are still there must not show them, nor lose the new ones.
    lists.push(database, KEY, trimmed, [b"new head"] * 6000, True)
    trimmed = pushed(engine, [b"new tail"] * 3000)
    expected = [b"new head"] * 6000 + expected + [b"new tail"] * 3000
    reclaimer = Reclaimer(engine)
    while reclaimer.step(700):
        engine.commit()
    assert lists.read_range(engine, trimmed, 0, trimmed.count) == expected
    head, tail = trimmed.ext[0], trimmed.ext[0] + trimmed.count
    blocks = range(head & BLOCK_MASK, tail, BLOCK_ITEMS)
    assert item_rows(engine, trimmed.oid) == [list_rows.block_row(trimmed.oid, index) for index in blocks]


def test_a_short_rest_of_a_large_list_moves_to_a_new_object(large: tuple[Engine, list[bytes]]) -> None:
    engine, items = large
    database = engine.database(0)
    header = database.get(KEY)
    assert isinstance(header, Header)
    lists.cut(database, KEY, header, 29_000, 0)
    engine.commit()
    rest = database.get(KEY)
    assert isinstance(rest, Header)
    assert rest.oid != header.oid
    assert lists.read_range(engine, rest, 0, 1000) == items[29_000:]
    reclaimer = Reclaimer(engine)
    while reclaimer.step(10_000):
        engine.commit()
    assert len(list(engine.store.scan_keys(b"d", b"e"))) == len(range(0, rest.count, BLOCK_ITEMS))


def test_removing_moves_as_few_items_as_possible(large: tuple[Engine, list[bytes]]) -> None:
    engine, items = large
    database = engine.database(0)
    for number in (3, 29_990):
        header = database.get(KEY)
        assert isinstance(header, Header)
        mark = len(engine.journal)
        assert lists_edit.remove(database, KEY, header, b"%d" % number, 1) == 1
        assert len(engine.journal) - mark < 20
        items.remove(b"%d" % number)
    header = database.get(KEY)
    assert isinstance(header, Header)
    assert lists.read_range(engine, header, 0, header.count) == items


def test_the_parts_at_both_ends_move_outwards(large: tuple[Engine, list[bytes]]) -> None:
    engine, items = large
    database = engine.database(0)
    header = pushed(engine, [b"2", b"end"])
    mark = len(engine.journal)
    assert lists_edit.remove(database, KEY, header, b"2", 0) == 2
    assert len(engine.journal) - mark < 20
    header = pushed(engine, [b"more"])
    assert lists.read_range(engine, header, 0, header.count) == [*items[:2], *items[3:], b"end", b"more"]


# ---- finding


@pytest.mark.parametrize("limit", [-2, 2], ids=["packed", "rows"])
@pytest.mark.parametrize(
    ("rank", "count", "max_items", "expected"),
    [
        (1, 1, 0, [1]),
        (1, 0, 0, [1, 3, 5]),
        (2, 0, 0, [3, 5]),
        (2, 1, 0, [3]),
        (-1, 1, 0, [5]),
        (-1, 0, 0, [5, 3, 1]),
        (-3, 0, 0, [1]),
        (4, 0, 0, []),
        (1, 0, 3, [1]),
        (-1, 0, 1, [5]),
        (-2, 0, 1, []),
        (1, 0, 100, [1, 3, 5]),
    ],
)
def test_positions(limit: int, rank: int, count: int, max_items: int, expected: list[int]) -> None:
    engine = make_engine(limit=limit)
    header = pushed(engine, [b"a", b"x", b"b", b"x", b"c", b"x"])
    assert lists_edit.positions(engine, header, b"x", rank, count, max_items) == expected


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [
        (0, -1, (0, 5)),
        (1, 2, (1, 3)),
        (-2, -1, (3, 5)),
        (-100, 100, (0, 5)),
        (3, 1, (0, 0)),
        (5, 9, (0, 0)),
        (0, -6, (0, 0)),
        (-1, -3, (0, 0)),
        (4, 4, (4, 5)),
    ],
)
def test_ranges_are_clamped(start: int, stop: int, expected: tuple[int, int]) -> None:
    assert lists.clamp_range(start, stop, 5) == expected


# ---- errors


@pytest.mark.parametrize("value", [b"string", Header(STRING, b"string", 5)])
def test_other_types_are_refused(value: bytes | Header) -> None:
    engine = make_engine()
    with pytest.raises(WrongTypeError):
        lists.require_list(value)
    with pytest.raises(WrongTypeError):
        lists.push(engine.database(0), KEY, value, [b"x"], True)


def damage(engine: Engine, row: bytes, value: bytes | None) -> Header:
    """A list of 100 items, some of them long, of which one row is changed or (None) missing."""
    header = pushed(engine, [b"%d" % number if number % 40 else b"x" * 200 for number in range(100)])
    prefix = element_prefix(header.oid, KIND_LIST_ITEM)
    assert engine.rows.get(prefix + row) is not None or value is not None
    if value is None:
        engine.rows.delete(prefix + row)
    else:
        engine.rows.put(prefix + row, value)
    return header


@pytest.mark.parametrize(
    ("row", "value"),
    [
        (encode_i64(32), None),
        (encode_i64(0), None),
        (encode_i64(96), None),
        (encode_i64(40) + b"\x01", None),
        (encode_i64(32), b""),
        (encode_i64(32), b"\x01a\x01"),
        (encode_i64(32), encode_block([b"x"] * 31)),
        (encode_i64(32), encode_block([b"x"] * 32)),
        (encode_i64(32), encode_block([b"x"] * 8 + [b"y" * 200] * 2 + [b"x"] * 22)),
        (encode_i64(32), encode_block([b"x"] * 8 + [b"y" * 200] + [b"x"] * 23)[:-1]),
        (encode_i64(41) + b"\x01", b"nobody's"),
        (encode_i64(33), encode_block([b"x"])),
    ],
    ids=str,
)
def test_damaged_rows_are_reported(row: bytes, value: bytes | None) -> None:
    engine = make_engine(limit=1)
    header = damage(engine, row, value)
    for reverse in (False, True):
        with pytest.raises(CorruptionError, match="of a list is missing or damaged"):
            list(lists.items_between(engine, header, 0, 100, reverse))


@pytest.mark.parametrize("row", [encode_i64(32), encode_i64(0), encode_i64(96), encode_i64(40) + b"\x01"], ids=str)
def test_what_is_missing_is_not_moved_over(row: bytes) -> None:
    engine = make_engine(limit=1)
    header = damage(engine, row, None)
    with pytest.raises(CorruptionError):
        lists_edit.remove(engine.database(0), KEY, header, b"45", 0)


def test_a_block_that_is_too_short_is_not_moved() -> None:
    engine = make_engine(limit=1)
    header = damage(engine, encode_i64(0), encode_block([b"x"] * 31))
    with pytest.raises(CorruptionError):
        lists_edit.remove(engine.database(0), KEY, header, b"45", 0)
    with pytest.raises(CorruptionError):
        lists_edit.insert(engine.database(0), KEY, header, b"45", b"new", False)


def test_single_reads_report_damage_too() -> None:
    for row, index in ((encode_i64(32), 33), (encode_i64(40) + b"\x01", 40), (encode_i64(96), 99)):
        engine = make_engine(limit=1)
        header = damage(engine, row, None)
        with pytest.raises(CorruptionError):
            lists.get_at(engine, header, index)
        with pytest.raises(CorruptionError):
            lists_edit.set_at(engine.database(0), KEY, header, index, b"x")
    engine = make_engine(limit=1)
    header = damage(engine, encode_i64(96), None)
    with pytest.raises(CorruptionError):
        lists.pop(engine.database(0), KEY, header, False)
    with pytest.raises(CorruptionError):
        lists.push(engine.database(0), KEY, header, [b"x"], False)
    with pytest.raises(CorruptionError):
        lists.cut(engine.database(0), KEY, header, 0, 2)


# ---- what every data type can do


def test_memory_grows_with_the_items() -> None:
    engine = make_engine(limit=2)
    packed = pushed(engine, [b"x" * 10])
    assert lists_edit.memory_bytes(engine, packed, 5) == listpack_bytes([b"x" * 10])
    rows = pushed(engine, [b"x" * 10] * 99)
    assert lists_edit.memory_bytes(engine, rows, 5) == lists_edit.memory_bytes(engine, rows, 0)
    assert 100 * 10 < lists_edit.memory_bytes(engine, rows, 5) < 100 * 100


def test_a_copy_is_independent() -> None:
    engine = make_engine(limit=2)
    header = pushed(engine, [b"a", b"b", b"c"])
    twin = lists_edit.copy(engine, header)
    assert isinstance(twin, Header)
    assert twin.type == LIST
    lists_edit.set_at(engine.database(0), KEY, header, 0, b"changed")
    assert lists_edit.export(engine, twin) == ListValue([b"a", b"b", b"c"])
