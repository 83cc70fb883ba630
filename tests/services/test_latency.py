"""The latency monitor and its graph."""

from __future__ import annotations

from diskkv.config import Config
from diskkv.services.latency import HISTORY, LatencyMonitor
from diskkv.services.sparkline import sparkline

MS = 1_000_000


def monitor(threshold_ms: int) -> LatencyMonitor:
    config = Config()
    config.latency_monitor_threshold = threshold_ms
    return LatencyMonitor(config)


def test_off_by_default() -> None:
    latency = LatencyMonitor(Config())
    latency.note("command", 10**15, 1000)
    assert latency.events == {}


def test_the_threshold_counts_as_reached() -> None:
    latency = monitor(5)
    latency.note("command", 5 * MS - 1, 1000)
    assert latency.events == {}
    latency.note("command", 5 * MS, 1000)
    assert list(latency.events["command"].samples) == [(1, 5)]


def test_one_sample_a_second_and_160_in_all() -> None:
    latency = monitor(1)
    for now_ms, spent_ms in ((1000, 7), (1500, 9), (1999, 8), (2000, 3)):
        latency.note("commit", spent_ms * MS, now_ms)
    event = latency.events["commit"]
    assert list(event.samples) == [(1, 9), (2, 3)]
    assert (event.max_ms, event.average_ms, event.deviation_ms) == (9, 6, 3)
    for second in range(10, 10 + 2 * HISTORY):
        latency.note("commit", MS, second * 1000)
    assert len(event.samples) == HISTORY
    assert event.max_ms == 9


def test_reset() -> None:
    latency = monitor(1)
    for name in ("a", "b", "c"):
        latency.note(name, MS, 1000)
    assert latency.reset(["a", "nosuch"]) == 1
    assert latency.reset([]) == 2
    assert latency.events == {}


def test_bars_are_as_high_as_their_values() -> None:
    graph = sparkline([(12, "4s"), (6, "3s"), (1, "2m"), (3, "1")])
    assert graph.split("\n") == ["#   ", "|   ", "|`  ", "||_`", "", "4321", "ssm "]


def test_long_graphs_are_folded() -> None:
    lines = sparkline([(1, "x")] * 100).split("\n")
    assert max(map(len, lines)) == 80
    assert lines[-1] == "x" * 20
