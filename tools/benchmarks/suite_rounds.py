"""The suites that are tables of redis-benchmark rounds: basic, default, durable and custom."""

from __future__ import annotations

import argparse
import functools
import shlex
from collections.abc import Callable, Sequence

from tools.benchmarks import redis_benchmark
from tools.benchmarks.errors import BenchError
from tools.benchmarks.loader import load, permutation, set_batches
from tools.benchmarks.loadgen import Client, Uniform, getter, run, setter
from tools.benchmarks.options import BASELINE, launch, progress
from tools.benchmarks.redis_benchmark import Load
from tools.benchmarks.report import Report, Table, grouped, rounds_data, rounds_table, server_facts, servers_table
from tools.benchmarks.rounds import Case, Rounds
from tools.benchmarks.servers import Server, running

BASIC_TESTS = ("set", "get")
DURABLE_TESTS = ("set", "get")
DEFAULT_TESTS = (
    *("ping_inline", "ping_mbulk", "set", "get", "incr", "lpush", "rpush", "lpop", "rpop", "sadd", "hset", "spop"),
    *("zadd", "zpopmin", "lrange_100", "lrange_300", "lrange_500", "lrange_600", "mset"),
)
PIPELINED_REQUESTS_FACTOR = 4
READS_BESIDE_WRITERS_S = 5.0
# LRANGE of hundreds of elements and MSET of ten keys cost tens of times as much as the others.
HEAVY_TESTS = {"lrange_100": 2, "lrange_300": 5, "lrange_500": 8, "lrange_600": 10, "mset": 4}


def chosen(tests: Sequence[str], wanted: str) -> list[str]:
    """The tests to run: all of the suite's, or those in the comma separated list. ``lrange`` means all of them."""
    if not wanted:
        return list(tests)
    names = wanted.lower().split(",")
    unknown = [name for name in names if not any(test == name or test.startswith(name + "_") for test in tests)]
    if unknown:
        msg = f"no test {unknown[0]!r} in this suite; it has {', '.join(tests)}"
        raise BenchError(msg)
    return [test for test in tests if any(test == name or test.startswith(name + "_") for name in names)]


def build_cases(
    tests: Sequence[str], options: argparse.Namespace, clients: Sequence[int], pipelines: Sequence[int]
) -> list[Case]:
    """One case for each depth, number of clients and test."""
    cases = []
    for pipeline in options.pipeline or pipelines:
        for count in options.clients or clients:
            measured = Load(count, pipeline, options.data_size, options.keyspace)
            for test in tests:
                requests = options.requests * (PIPELINED_REQUESTS_FACTOR if pipeline > 1 else 1)
                requests //= HEAVY_TESTS.get(test, 1)
                cases.append(Case(test, ("-t", test), measured, max(requests, 1)))
    return cases


def run_cases(
    suite: str,
    cases: Sequence[Case],
    options: argparse.Namespace,
    more: Callable[[Sequence[Server], argparse.Namespace, Report], None] | None = None,
) -> Report:
    """Start the servers, fill their keyspace, measure, and report; `more` adds what redis-benchmark cannot measure."""
    redis_benchmark.require()
    report = Report(suite)
    with launch(options) as started, running(options.servers, started) as servers:
        for server in servers:
            load(server.port, set_batches(permutation(options.keyspace), options.data_size))
        rounds = Rounds(
            servers,
            seconds=options.seconds,
            client_cpu=options.pin_client,
            progress=functools.partial(progress, options),
        )
        results = rounds.run(cases, options.rounds)
        report.tables.append(rounds_table(results, options.servers, BASELINE))
        if more is not None:
            more(servers, options, report)
        facts = [server_facts(server) for server in servers]
    report.notes += results.notes
    report.tables.append(servers_table(facts))
    report.data |= {"results": rounds_data(results, BASELINE), "servers": facts}
    return report


def run_basic(options: argparse.Namespace) -> Report:
    """SET and GET, unpipelined and pipelined."""
    tests = chosen(BASIC_TESTS, options.tests)
    return run_cases("basic", build_cases(tests, options, [50], [1, 16]), options)


def run_default(options: argparse.Namespace) -> Report:
    """Everything that redis-benchmark runs when it is given no test."""
    tests = chosen(DEFAULT_TESTS, options.tests)
    return run_cases("default", build_cases(tests, options, [50], [1, 16]), options)


def run_durable(options: argparse.Namespace) -> Report:
    """SET and GET with an fsync before every acknowledgement, for several numbers of clients."""
    options.appendfsync = "always"
    tests = chosen(DURABLE_TESTS, options.tests)
    return run_cases("durable", build_cases(tests, options, [1, 50, 200], [1]), options, reads_beside_writers)


def reads_beside_writers(servers: Sequence[Server], options: argparse.Namespace, report: Report) -> None:
    """How long a reader waits while 50 writers keep the disk busy."""
    headers = ["GET by 1 client beside 50 durable writers", "GET/s", "p50 ms", "p99 ms", "p99.9 ms", "SET/s"]
    rows = []
    report.data["reads_beside_writers"] = found = {}
    for server in servers:
        server.pause()
    for server in servers:
        server.resume()
        index = Uniform(options.keyspace)
        clients = [Client("SET", setter(index, options.data_size), 50), Client("GET", getter(index), 1)]
        measured = run(server.port, clients, options.seconds or READS_BESIDE_WRITERS_S)
        server.pause()
        p50, p99, p999 = measured["GET"].percentiles_ms([50, 99, 99.9])
        reads, writes = measured["GET"].rate, measured["SET"].rate
        found[server.name] = {"reads": reads, "writes": writes, "p50_ms": p50, "p99_ms": p99, "p999_ms": p999}
        rows.append([server.name, grouped(reads), f"{p50:.2f}", f"{p99:.2f}", f"{p999:.2f}", grouped(writes)])
    for server in servers:
        server.resume()
    report.tables.append(Table(headers, rows))


def run_custom(options: argparse.Namespace) -> Report:
    """Any redis-benchmark command line: a command (``HSET h __rand_int__ x``) or options (``-t set -c 10``)."""
    arguments = tuple(shlex.split(options.command))
    if not arguments:
        msg = "custom needs a command"
        raise BenchError(msg)
    cases = [
        Case(
            options.command,
            arguments,
            Load(clients, pipeline, options.data_size, options.keyspace),
            options.requests * (PIPELINED_REQUESTS_FACTOR if pipeline > 1 else 1),
        )
        for pipeline in options.pipeline or [1]
        for clients in options.clients or [50]
    ]
    return run_cases("custom", cases, options)
