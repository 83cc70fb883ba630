"""Sorting against sorted(), for every type, with few and many elements wanted; weights and patterns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskkv.codec.header import Header, Value
from diskkv.config import Config
from diskkv.datatypes import hashes, lists, sets, sorting, zsets
from diskkv.datatypes.sorting import Order, lookup_of, parse_weight, select
from diskkv.engine.database import Database
from diskkv.engine.engine import Engine
from diskkv.engine.memory import MemoryStore
from diskkv.errors import CommandError, WrongTypeError


@pytest.fixture
def database() -> Database:
    return new_database()


def new_database() -> Database:
    return Engine(MemoryStore(), Config()).database(0)


def list_of(database: Database, *items: bytes) -> Header:
    return lists.make(database.engine, list(items))


NUMBERS = st.lists(st.sampled_from([b"0", b"-0", b"1", b"1.0", b"-2.5", b"10", b"9", b"1e3", b"inf", b"-inf", b""]))


@given(NUMBERS, st.integers(-2, 12), st.integers(-2, 12), st.booleans(), st.booleans())
def test_like_sorted(items: list[bytes], offset: int, limit: int, alpha: bool, descending: bool) -> None:
    database = new_database()
    order = Order(alpha=alpha, descending=descending, offset=offset, limit=limit)
    expected = sorted(items) if alpha else sorted(items, key=lambda item: (float(item or b"0"), item))
    if descending:
        expected.reverse()
    expected = expected[max(0, offset) :]
    if limit >= 0:
        expected = expected[:limit]
    assert not items or select(database, list_of(database, *items), order) == expected


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize(("offset", "limit"), [(0, 5), (7, 3), (490, 5), (0, -1), (10, 400), (600, 1)])
def test_a_small_part_is_the_same_part(
    database: Database, alpha: bool, descending: bool, offset: int, limit: int
) -> None:
    """A small LIMIT takes another way."""
    items = [b"%d" % (number * 7919 % 500) for number in range(500)]
    value = list_of(database, *items)
    whole = select(database, value, Order(alpha=alpha, descending=descending))
    part = select(database, value, Order(alpha=alpha, descending=descending, offset=offset, limit=limit))
    assert part == whole[offset : offset + limit if limit >= 0 else None]


def test_equal_numbers_are_ordered_by_the_elements(database: Database) -> None:
    value = list_of(database, b"1.0", b"1", b"01", b"+1")
    assert select(database, value, Order()) == [b"+1", b"01", b"1", b"1.0"]
    assert select(database, value, Order(descending=True)) == [b"1.0", b"1", b"01", b"+1"]


def test_weights(database: Database) -> None:
    for key, weight in ((b"w_a", b"3"), (b"w_b", b"1"), (b"w_d", b"-1")):
        database.put(key, weight, None)
    value = list_of(database, b"a", b"b", b"c", b"d")
    assert select(database, value, Order(lookup_of(database, b"w_*"))) == [b"d", b"c", b"b", b"a"]
    by_text = Order(lookup_of(database, b"w_*"), alpha=True)
    assert select(database, value, by_text) == [b"c", b"d", b"b", b"a"]
    database.put(b"w_c", b"no number", None)
    with pytest.raises(CommandError, match="One or more scores can't be converted into double"):
        select(database, value, Order(lookup_of(database, b"w_*")))


@pytest.mark.parametrize(("offset", "limit"), [(0, 0), (5, 0), (0, 1), (100, 1)])
def test_a_bad_weight_is_an_error_even_where_it_is_not_wanted(database: Database, offset: int, limit: int) -> None:
    value = list_of(database, *[b"%d" % number for number in range(50)], b"no number")
    with pytest.raises(CommandError, match="converted into double"):
        select(database, value, Order(offset=offset, limit=limit))


def test_patterns(database: Database) -> None:
    database.put(b"x7y", b"string", None)
    database.put(b"h7->", b"odd name", None)
    database.put(b"7*", b"only the first star", None)
    hashes.set_field(database, b"h7", None, b"f->g", b"value")
    found = {
        pattern: lookup_of(database, pattern)(b"7")
        for pattern in (b"#", b"x*y", b"h*->f->g", b"h*->nope", b"h*->", b"**", b"x7y", b"h*", b"x*y->f", b"nope*")
    }
    assert found == {
        b"#": b"7",
        b"x*y": b"string",
        b"h*->f->g": b"value",
        b"h*->nope": None,
        b"h*->": b"odd name",
        b"**": b"only the first star",
        b"x7y": None,
        b"h*": None,
        b"x*y->f": None,
        b"nope*": None,
    }


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (b"", 0.0),
        (b"5.", 5.0),
        (b".5", 0.5),
        (b"+1e3", 1000.0),
        (b"2\0rubbish", 2.0),
        (b"\0", 0.0),
        (b"1e-999", 0.0),
        (b"INF", float("inf")),
        (b"-infinity", float("-inf")),
        (b"1e999", float("inf")),
    ],
)
def test_numbers(text: bytes, number: float) -> None:
    assert parse_weight(text) == number


@pytest.mark.parametrize("text", [b" 1", b"1 ", b"1_0", b"0x10", b"nan", b"-nan", b"x", b"1,5", b"--1", b" ", b"1e"])
def test_what_is_no_number(text: bytes) -> None:
    with pytest.raises(CommandError):
        parse_weight(text)


def _zset(database: Database) -> Value:
    entries = [(b"%d" % (999 - number), float(number)) for number in range(600)]
    return zsets.make(database.engine, entries)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("limit", [(0, -1), (5, 10), (595, 100), (700, 1), (3, 0)])
def test_without_sorting_only_the_wanted_part_is_read(
    database: Database, descending: bool, limit: tuple[int, int]
) -> None:
    items = [b"%d" % number for number in range(3000)]
    order = Order(nosort=True, descending=descending, offset=limit[0], limit=limit[1])
    stop = limit[0] + limit[1] if limit[1] >= 0 else None
    by_rank = [b"%d" % (999 - number) for number in range(600)]
    for value, in_order in ((list_of(database, *items), items), (_zset(database), by_rank)):
        expected = in_order[::-1] if descending else in_order
        assert select(database, value, order) == expected[limit[0] : stop]


def test_sets(database: Database) -> None:
    sets.add_members(database, b"s", None, [b"3", b"1", b"2"])
    value = database.get(b"s")
    assert value is not None
    assert select(database, value, Order()) == [b"1", b"2", b"3"]
    assert sorted(select(database, value, Order(nosort=True))) == [b"1", b"2", b"3"]
    assert len(select(database, value, Order(nosort=True, offset=1, limit=1))) == 1


def test_other_types_are_refused(database: Database) -> None:
    hashes.set_field(database, b"h", None, b"f", b"v")
    for value in (b"string", database.get(b"h")):
        assert value is not None
        with pytest.raises(WrongTypeError):
            select(database, value, Order())


def test_memory_is_bounded(database: Database) -> None:
    database.engine.config.proto_max_bulk_len = 100_000
    value = list_of(database, *[b"x" * 100] * 1000)
    for order in (Order(alpha=True), Order(nosort=True)):
        with pytest.raises(CommandError, match="use LIMIT"):
            select(database, value, order)
    assert len(select(database, value, Order(alpha=True, limit=10))) == 10
    with pytest.raises(CommandError):
        list(sorting.bounded(database, [None] * 1000))
