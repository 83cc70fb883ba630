"""Histograms of durations: exact counts, bounded error of percentiles."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from diskkv.services.durations import FINE_SHIFT, Durations

durations_ns = st.one_of(st.integers(0, 1 << 17), st.integers(0, 1 << 40))


@given(st.lists(durations_ns, min_size=1))
def test_each_duration_is_counted_in_the_bucket_that_holds_it(values: list[int]) -> None:
    histogram = Durations()
    for value in values:
        histogram.add(value)
    assert histogram.count == len(values)
    buckets = list(histogram.buckets())
    assert all(previous[1] <= following[0] for previous, following in itertools.pairwise(buckets))
    for start, stop, calls in buckets:
        assert sum(start <= value < stop for value in values) == calls
        assert stop - start <= max(1 << FINE_SHIFT, start // 8)


@given(st.lists(durations_ns, min_size=1), st.lists(st.floats(0, 100), max_size=5))
def test_percentiles_lie_in_the_bucket_of_the_exact_one(values: list[int], wanted: list[float]) -> None:
    histogram = Durations()
    for value in values:
        histogram.add(value)
    wanted.sort()
    found = histogram.percentiles_us(wanted)
    assert len(found) == len(wanted)
    assert found == sorted(found)
    values.sort()
    for percentage, duration_us in zip(wanted, found, strict=True):
        rank = max(0, -(-percentage * len(values) // 100) - 1)
        exact_ns = values[min(int(rank), len(values) - 1)]
        start, stop = next((start, stop) for start, stop, _ in histogram.buckets() if start <= exact_ns < stop)
        assert start / 1000 - 1e-6 <= duration_us <= stop / 1000 + 1e-6


@given(st.lists(durations_ns, min_size=1))
def test_cumulative_counts_grow_to_all(values: list[int]) -> None:
    histogram = Durations()
    for value in values:
        histogram.add(value)
    rows = histogram.cumulative()
    assert rows == sorted(rows)
    assert len({limit for limit, _ in rows}) == len(rows)
    assert rows[-1][1] == len(values)


def test_dispatch_may_count_short_ones_on_its_own() -> None:
    histogram = Durations()
    fine = histogram.fine
    histogram.add(300)
    fine[700 >> FINE_SHIFT] += 1
    assert histogram.cumulative() == [(1, 2)]
    histogram.clear()
    assert histogram.count == 0
    assert fine == []
    assert histogram.percentiles_us([50.0]) == [0.0]
