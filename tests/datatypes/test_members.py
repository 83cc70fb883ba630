"""Members in the order of their hash: scans under change, uniform draws."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskkv.codec.keys import KIND_SET_MEMBER, object_range
from diskkv.config import Config
from diskkv.datatypes import members
from diskkv.engine.engine import Engine
from diskkv.engine.memory import MemoryStore
from diskkv.engine.reclaim import Reclaimer
from diskkv.engine.rows import Rows

OID = 7


def make_rows(names: Iterable[bytes], oid: int = OID) -> Rows:
    engine = Engine(MemoryStore(), Config())
    add(engine.rows, names, oid)
    engine.commit()
    return engine.rows


def add(rows: Rows, names: Iterable[bytes], oid: int = OID) -> None:
    for name in names:
        rows.put(members.member_row(oid, KIND_SET_MEMBER, name), b"v" + name)


def numbered(count: int) -> list[bytes]:
    return [b"member:%d" % number for number in range(count)]


def surrounded(names: list[bytes]) -> Rows:
    """The members, between those of other objects."""
    rows = make_rows(names)
    add(rows, numbered(10), OID - 1)
    add(rows, numbered(10), OID + 1)
    return rows


@pytest.fixture
def weak_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hash with three values, the highest among them."""
    monkeypatch.setattr(members, "xxh32_intdigest", lambda member: (0, 5, 0xFFFFFFFF)[sum(member) % 3])


def scan_all(rows: Rows, count: int) -> list[bytes]:
    found: list[bytes] = []
    cursor = 0
    while True:
        cursor, page = members.page(rows, OID, KIND_SET_MEMBER, cursor, count)
        found += [name for name, _ in page]
        if not cursor:
            return found


# ---- scanning


@pytest.mark.parametrize("count", [1, 2, 7, 1000])
def test_a_scan_returns_every_member_once(count: int) -> None:
    names = numbered(50)
    rows = surrounded(names)
    assert sorted(scan_all(rows, count)) == sorted(names)
    cursor, page = members.page(rows, OID, KIND_SET_MEMBER, 0, count)
    assert len(page) == min(count, 50)
    assert all(value == b"v" + name for name, value in page)
    assert (cursor == 0) == (count >= 50)


@pytest.mark.usefixtures("weak_hash")
@pytest.mark.parametrize("count", [1, 4, 20])
def test_members_of_one_hash_come_together(count: int) -> None:
    names = numbered(20)
    rows = surrounded(names)
    assert sorted(scan_all(rows, count)) == sorted(names)
    cursor, page = members.page(rows, OID, KIND_SET_MEMBER, 0, 1)
    assert cursor == 1
    assert {name for name, _ in page} == {name for name in names if sum(name) % 3 == 0}


@pytest.mark.parametrize("cursor", [0, 1, 2**32 - 1, 2**32, 2**64 - 1])
def test_any_cursor_is_safe(cursor: int) -> None:
    rows = surrounded([])
    assert members.page(rows, OID, KIND_SET_MEMBER, cursor, 10) == (0, [])


CHANGES = st.lists(st.tuples(st.booleans(), st.integers(0, 60)), max_size=6)


@pytest.mark.parametrize("weak", [False, True])
def test_members_present_throughout_are_returned(weak: bool, request: pytest.FixtureRequest) -> None:
    """The guarantee of SCAN, whatever comes and goes between the calls."""
    if weak:
        request.getfixturevalue("weak_hash")

    @given(st.sets(st.integers(0, 60)), st.lists(CHANGES, min_size=1), st.integers(1, 5))
    def check(start: set[int], rounds: list[list[tuple[bool, int]]], count: int) -> None:
        rows = make_rows(b"%d" % number for number in start)
        present = set(start)
        throughout = set(start)
        found: Counter[bytes] = Counter()
        cursor = 0
        steps = iter(rounds)
        while True:
            cursor, page = members.page(rows, OID, KIND_SET_MEMBER, cursor, count)
            found.update(name for name, _ in page)
            if not cursor:
                break
            for is_added, number in next(steps, ()):
                if is_added:
                    present.add(number)
                    add(rows, [b"%d" % number])
                else:
                    present.discard(number)
                    throughout.discard(number)
                    rows.delete(members.member_row(OID, KIND_SET_MEMBER, b"%d" % number))
        assert all(found[b"%d" % number] == 1 for number in throughout)
        assert all(times == 1 for times in found.values())

    check()


# ---- drawing


def chi_squared(counts: Counter[bytes], names: list[bytes]) -> float:
    expected = counts.total() / len(names)
    return sum((counts[name] - expected) ** 2 / expected for name in names)


def limit(degrees: int) -> float:
    """Chi-squared stays below this but for about one in 10**7 uniform samples (Wilson and Hilferty)."""
    spread = 2 / (9 * degrees)
    return float(degrees * (1 - spread + 5.2 * spread**0.5) ** 3)


def draw_one(rows: Rows, count: int) -> list[bytes]:
    return [members.draw(rows, OID, KIND_SET_MEMBER, count)[0]]


def draw_few(rows: Rows, count: int) -> list[bytes]:
    return [name for name, _ in members.draw_distinct(rows, OID, KIND_SET_MEMBER, count, 3)]


def draw_most(rows: Rows, count: int) -> list[bytes]:
    return [name for name, _ in members.draw_distinct(rows, OID, KIND_SET_MEMBER, count, count // 2)]


def draw_again(rows: Rows, count: int) -> list[bytes]:
    return [name for name, _ in members.draw_repeatedly(rows, OID, KIND_SET_MEMBER, count, 40)]


@pytest.mark.parametrize(
    ("draw", "size"),
    [(draw, size) for draw in (draw_one, draw_again) for size in (1, 2, 47, 48, 100, 150, 191, 192, 300)]
    + [(draw, size) for draw in (draw_few, draw_most) for size in (4, 47, 150, 300)],
)
def test_every_member_has_the_same_chance(draw: Callable[[Rows, int], list[bytes]], size: int) -> None:
    names = numbered(size)
    rows = surrounded(names)
    counts: Counter[bytes] = Counter()
    while counts.total() < 60 * size:
        counts.update(draw(rows, size))
    assert set(counts) <= set(names)
    assert chi_squared(counts, names) < limit(max(1, size - 1))


def test_taking_the_next_member_would_not_be_uniform() -> None:
    """The test above can tell: a draw that favours large gaps fails it."""
    names = numbered(100)
    rows = surrounded(names)
    prefix = members.element_prefix(OID, KIND_SET_MEMBER)
    positions = [number * 2**32 // 6000 for number in range(6000)]
    counts = Counter(members._behind(rows, prefix, position)[0] for position in positions)
    assert chi_squared(counts, names) > 2 * limit(99)


@pytest.mark.usefixtures("weak_hash")
def test_members_with_equal_hashes_are_all_within_reach() -> None:
    names = numbered(120)
    rows = surrounded(names)
    seen: set[bytes] = set()
    for _ in range(200_000):
        seen.add(members.draw(rows, OID, KIND_SET_MEMBER, 120)[0])
        if len(seen) == 120:
            break
    assert seen == set(names)


@pytest.mark.parametrize("wanted", [1, 5, 99, 299])
def test_distinct_draws_are_distinct(wanted: int) -> None:
    rows = surrounded(numbered(300))
    drawn = list(members.draw_distinct(rows, OID, KIND_SET_MEMBER, 300, wanted))
    assert len(drawn) == len(dict(drawn)) == wanted
    assert all(value == b"v" + name for name, value in drawn)


@pytest.mark.parametrize("wanted", [1, 5, 7, 299, 1000])
def test_repeated_draws_are_as_many_as_asked_for(wanted: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "_BATCH_DRAWS", 300)
    rows = surrounded(numbered(300))
    drawn = list(members.draw_repeatedly(rows, OID, KIND_SET_MEMBER, 300, wanted))
    assert len(drawn) == wanted
    assert all(value == b"v" + name for name, value in drawn)
    if wanted == 1000:
        # In the order of the draws: not sorted as the rows are.
        order = [members.member_row(OID, KIND_SET_MEMBER, name) for name, _ in drawn]
        assert order != sorted(order)


# ---- what deleting many members leaves behind


def test_a_value_that_lost_most_of_its_rows_is_compacted() -> None:
    engine = Engine(MemoryStore(), Config())
    engine.note_removed(OID, 9_999, 5)
    assert engine.emptied == []
    engine.note_removed(OID, 1, 5)
    assert engine.emptied == [object_range(OID)]
    engine.note_removed(OID, 1, 5)
    assert len(engine.emptied) == 1
    engine.note_removed(OID + 1, 20_000, 20_001)
    assert len(engine.emptied) == 1
    engine.note_removed(OID + 1, 1, 20_000)
    assert engine.emptied[1:] == [object_range(OID + 1)]
    assert Reclaimer(engine).ranges is engine.emptied
