"""Interleaving, samples and summaries."""

from __future__ import annotations

from typing import Any, cast

import pytest

from tools.benchmarks import rounds
from tools.benchmarks.errors import BenchError
from tools.benchmarks.redis_benchmark import Load, Row
from tools.benchmarks.rounds import Case, Key, Results, Rounds, Sample, row_label, summarise
from tools.benchmarks.servers import Server


def row(test: str = "SET", rps: float = 1000.0, p50_ms: float = 1.0) -> Row:
    return Row(test, rps, 1.0, 0.5, p50_ms, 2.0, 3.0, 4.0)


class FakeServer:
    """Remembers when it was paused and resumed."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.log = log
        self.running = True

    def pause(self) -> None:
        self.running = False

    def resume(self) -> None:
        self.running = True


def run_with_fakes(
    monkeypatch: pytest.MonkeyPatch, measure: Any, *, number: int = 2, seconds: float | None = None
) -> tuple[Results, list[FakeServer]]:
    servers = [FakeServer("a", []), FakeServer("b", [])]
    monkeypatch.setattr(rounds, "measure", measure)
    runner = Rounds(cast(list[Server], servers), seconds=seconds)
    return runner.run([Case("set", ("-t", "set"), Load(), 5000)], number), servers


def test_rounds_interleave_and_rotate(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def measure(server: FakeServer, case: Case, requests: int, cpu: int | None) -> tuple[list[Row], float]:
        order.append(server.name)
        return [row()], 1.0

    results, _ = run_with_fakes(monkeypatch, measure)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert {name: len(samples) for name, samples in results.samples[Key("SET", 50, 1)].items()} == {"a": 2, "b": 2}


def test_only_the_measured_server_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    everyone: list[FakeServer] = []

    def measure(server: FakeServer, case: Case, requests: int, cpu: int | None) -> tuple[list[Row], float]:
        if server not in everyone:
            everyone.append(server)
        seen.append([each.name for each in everyone if each.running])
        return [row()], 1.0

    _, servers = run_with_fakes(monkeypatch, measure)
    assert seen == [["a"], ["b"], ["b"], ["a"], ["a"], ["b"]]
    assert all(server.running for server in servers)


def test_a_failing_case_is_noted_once_and_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[str] = []

    def measure(server: FakeServer, case: Case, requests: int, cpu: int | None) -> tuple[list[Row], float]:
        tries.append(server.name)
        if server.name == "b":
            msg = "ERR unknown command"
            raise BenchError(msg)
        return [row()], 1.0

    results, servers = run_with_fakes(monkeypatch, measure, number=3)
    assert tries.count("b") == 1
    assert results.notes == ["b, set, P=1: ERR unknown command"]
    assert list(results.samples[Key("SET", 50, 1)]) == ["a"]
    assert all(server.running for server in servers)


def test_seconds_choose_the_number_of_requests_from_the_rate_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def measure(server: FakeServer, case: Case, requests: int, cpu: int | None) -> tuple[list[Row], float]:
        asked.append(requests)
        return [row(rps=20_000.0)], 1.0

    run_with_fakes(monkeypatch, measure, number=1, seconds=0.5)
    assert asked == [1000, 1000, 10_000, 10_000]


def test_ratios_are_taken_round_by_round() -> None:
    def samples(*rates: float) -> list[Sample]:
        return [Sample(row(rps=rate), 2.0) for rate in rates]

    found = summarise({"redis": samples(100, 200, 400), "diskkv": samples(50, 200, 100)}, "redis")
    assert (found["diskkv"].ratio, found["diskkv"].ratio_min, found["diskkv"].ratio_max) == (0.5, 0.25, 1.0)
    assert (found["diskkv"].rps, found["diskkv"].rps_min, found["diskkv"].rps_max) == (100, 50, 200)
    assert found["diskkv"].cpu_us == 2.0


def test_without_the_baseline_there_are_no_ratios() -> None:
    found = summarise({"diskkv": [Sample(row(), None)]}, "redis")
    assert found["diskkv"].ratio is None
    assert found["diskkv"].cpu_us is None


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("SET", "SET"),
        ("LRANGE_100 (first 100 elements)", "LRANGE_100"),
        ("MSET (10 keys)", "MSET"),
        ("ZRANGEBYSCORE z (1 (5", "ZRANGEBYSCORE z (1 (5"),
    ],
)
def test_titles_lose_their_remark_only(title: str, expected: str) -> None:
    assert row_label(title) == expected
