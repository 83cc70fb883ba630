"""Interleaved rounds: the same case on each server in turn, so that the machine's drift hits all of them alike.

All servers stay up for the whole run; those that are not being measured are stopped with SIGSTOP. The order of the
servers rotates from round to round.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from tools.benchmarks import redis_benchmark
from tools.benchmarks.errors import BenchError
from tools.benchmarks.redis_benchmark import Load, Row
from tools.benchmarks.servers import Server

WARM_UP_FRACTION = 10
MIN_WARM_UP_REQUESTS = 1000
MAX_REQUESTS = 100_000_000
SETUP_ROW = "needed to benchmark"
TITLE_REMARK = re.compile(r" \((first \d+ elements|\d+ keys|needed to benchmark \w+)\)$")


@dataclass(frozen=True)
class Case:
    """One thing to be measured on every server: a redis-benchmark command line, or what a client of our own does.

    Args:
        name: How messages call it.
        arguments: redis-benchmark's; ignored when there is a driver.
        load: Connections, pipelining, sizes.
        requests: How many to measure.
        label: The test's name in the table, when redis-benchmark's own title is not it.
        driver: Measures so many requests on a port, in place of redis-benchmark.
        prepare: Called before each measurement with the port and the number of requests; takes no part in it.
    """

    name: str
    arguments: tuple[str, ...]
    load: Load
    requests: int
    label: str = ""
    driver: Callable[[int, Load, int], list[Row]] | None = None
    prepare: Callable[[int, int], None] | None = None


@dataclass(frozen=True)
class Key:
    """One line of the result table."""

    test: str
    clients: int
    pipeline: int


@dataclass(frozen=True)
class Sample:
    """One measurement; `cpu_us` is the server's processor time per request, when the case has a single row."""

    row: Row
    cpu_us: float | None


@dataclass
class Summary:
    """All rounds of one test on one server; `ratio*` compare with the baseline server round by round."""

    rounds: list[float]
    rps: float
    rps_min: float
    rps_max: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    cpu_us: float | None
    ratio: float | None = None
    ratio_min: float | None = None
    ratio_max: float | None = None


@dataclass
class Results:
    """Samples by table line and server, and what could not be measured."""

    samples: dict[Key, dict[str, list[Sample]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, case: Case, server: str, rows: Sequence[Row], cpu_us: float | None) -> None:
        """Record the rows of one measurement."""
        for row in rows:
            key = Key(row_label(row.test), case.load.clients, case.load.pipeline)
            self.samples.setdefault(key, {}).setdefault(server, []).append(Sample(row, cpu_us))

    def note(self, text: str) -> None:
        """Say once why a cell is empty."""
        if text not in self.notes:
            self.notes.append(text)


def row_label(test: str) -> str:
    """redis-benchmark's title without the remark in brackets: ``LRANGE_100 (first 100 elements)`` is LRANGE_100."""
    return TITLE_REMARK.sub("", test)


def measure(server: Server, case: Case, requests: int, cpu: int | None) -> tuple[list[Row], float | None]:
    """Run one case once; returns its rows without set-up rows, and the server's CPU time per request in us."""
    if case.prepare is not None:
        case.prepare(server.port, requests)
    cpu_before = server.cpu_seconds()
    if case.driver is not None:
        rows = case.driver(server.port, case.load, requests)
    else:
        rows = redis_benchmark.run(server.port, case.load, requests, case.arguments, cpu)
    if case.label:
        rows = [replace(row, test=case.label) for row in rows]
    cpu_us = (server.cpu_seconds() - cpu_before) * 1e6 / requests if len(rows) == 1 else None
    return [row for row in rows if SETUP_ROW not in row.test], cpu_us


class Rounds:
    """Runs cases on servers. With `seconds`, each measurement's length follows from the rate seen just before."""

    def __init__(
        self,
        servers: Sequence[Server],
        *,
        seconds: float | None = None,
        client_cpu: int | None = None,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.servers = list(servers)
        self.seconds = seconds
        self.client_cpu = client_cpu
        self.progress = progress
        self.results = Results()
        self._rates: dict[tuple[str, Case], float] = {}
        self._broken: set[tuple[str, Case]] = set()

    def run(self, cases: Sequence[Case], rounds: int) -> Results:
        """Warm every case up on every server, then measure `rounds` times."""
        for server in self.servers:
            server.pause()
        for number in range(rounds + 1):
            shift = number % len(self.servers)
            order = self.servers[shift:] + self.servers[:shift]
            for case in cases:
                for server in order:
                    self._one(server, case, warm_up=number == 0)
            self.progress("warmed up" if number == 0 else f"round {number}/{rounds}")
        for server in self.servers:
            server.resume()
        return self.results

    def _one(self, server: Server, case: Case, *, warm_up: bool) -> None:
        if (server.name, case) in self._broken:
            return
        server.resume()
        try:
            rows, cpu_us = measure(server, case, self._requests(server, case, warm_up), self.client_cpu)
        except BenchError as error:
            self._broken.add((server.name, case))
            self.results.note(f"{server.name}, {case.name}, P={case.load.pipeline}: {error}")
            return
        finally:
            server.pause()
        self._rates[server.name, case] = min((row.rps for row in rows), default=0.0)
        if not warm_up:
            self.results.add(case, server.name, rows, cpu_us)

    def _requests(self, server: Server, case: Case, warm_up: bool) -> int:
        if warm_up:
            return max(case.requests // WARM_UP_FRACTION, MIN_WARM_UP_REQUESTS)
        if self.seconds is None:
            return case.requests
        wanted = int(self._rates[server.name, case] * self.seconds)
        return min(max(wanted, MIN_WARM_UP_REQUESTS), MAX_REQUESTS)


def summarise(samples: dict[str, list[Sample]], baseline: str) -> dict[str, Summary]:
    """Medians over the rounds for each server, and the median of the round-by-round ratios to `baseline`."""
    summaries = {name: _summary(rounds) for name, rounds in samples.items()}
    if baseline in summaries:
        base = summaries[baseline].rounds
        for summary in summaries.values():
            ratios = [rps / reference for rps, reference in zip(summary.rounds, base, strict=False) if reference]
            if ratios:
                summary.ratio = statistics.median(ratios)
                summary.ratio_min, summary.ratio_max = min(ratios), max(ratios)
    return summaries


def _summary(rounds: Sequence[Sample]) -> Summary:
    rates = [sample.row.rps for sample in rounds]
    cpu = [sample.cpu_us for sample in rounds if sample.cpu_us is not None]
    return Summary(
        rounds=rates,
        rps=statistics.median(rates),
        rps_min=min(rates),
        rps_max=max(rates),
        p50_ms=statistics.median(sample.row.p50_ms for sample in rounds),
        p99_ms=statistics.median(sample.row.p99_ms for sample in rounds),
        max_ms=max(sample.row.max_ms for sample in rounds),
        cpu_us=statistics.median(cpu) if cpu else None,
    )
