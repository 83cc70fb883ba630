"""The cache: its budget, its accounting, and that a scan does not wash out what is used."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from diskkv.engine.cache import Cache, entry_cost_bytes

STEPS = st.lists(st.tuples(st.sampled_from("srd"), st.integers(0, 30), st.integers(0, 300)), max_size=200)


@given(steps=STEPS)
def test_accounting_is_exact_and_bounded(steps: list[tuple[str, int, int]]) -> None:
    cache = Cache(3000)
    segments = [cache.segment(), cache.segment()]
    for action, number, size in steps:
        segment = segments[number % 2]
        key = b"%d" % number
        if action == "s":
            segment.store(key, b"x" * size)
        elif action == "d":
            segment.discard(key)
        elif key in segment.data:
            segment.hits.add(key)
        assert cache.size_bytes <= 3000
        for each in segments:
            assert each.size_bytes == sum(entry_cost_bytes(k, v) for k, v in each.data.items())
            assert each.hits <= set(each.data)
        assert cache.size_bytes == sum(each.size_bytes for each in segments)


@given(
    turns=st.lists(st.dictionaries(st.integers(0, 30), st.none() | st.integers(0, 300), max_size=12), max_size=40),
    limit=st.sampled_from([3000, 1 << 20]),
)
def test_storing_a_turn_is_the_same_as_one_after_the_other(
    turns: list[dict[int, int | None]], limit: int
) -> None:
    at_once, singly = Cache(limit).segment(), Cache(limit).segment()
    for turn in turns:
        values = {b"%d" % number: None if size is None else b"x" * size for number, size in turn.items()}
        at_once.hits.update(list(at_once.data)[:2])
        at_once.store_all(values)
        for key, value in values.items():
            if value is None:
                singly.discard(key)
            else:
                singly.store(key, value)
        for each in (at_once, singly):
            assert each.size_bytes == sum(entry_cost_bytes(k, v) for k, v in each.data.items()) <= limit
            assert each.hits <= set(each.data)
            assert not each.is_pressed or set(each.data) <= {*each._small, *each._main}
        if limit > 3000:
            assert at_once.data == singly.data


def test_a_scan_leaves_the_hot_keys() -> None:
    cache = Cache(1000 * entry_cost_bytes(b"key:000000", b"v" * 100))
    segment = cache.segment()
    rng = random.Random(1)
    hot = [b"key:%06d" % number for number in range(500)]

    def read(key: bytes) -> bool:
        if key in segment.data:
            segment.hits.add(key)
            return True
        segment.store(key, b"v" * 100)
        return False

    for _ in range(20_000):
        read(rng.choice(hot))
    for number in range(100_000, 150_000):
        read(b"key:%06d" % number)
        if number % 10 == 0:
            read(rng.choice(hot))
    assert sum(key in segment.data for key in hot) > 450


def test_repeated_insertion_and_deletion_keeps_the_queues_short() -> None:
    cache = Cache(1 << 20)
    segment = cache.segment()
    segment.press()
    for _ in range(50_000):
        segment.store(b"k", b"v")
        segment.discard(b"k")
    assert len(segment._small) + len(segment._main) < 5000
