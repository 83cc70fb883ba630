"""The suites of commands that redis-benchmark has no test for: messaging, and the types beyond the basic ones."""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tools.benchmarks.drivers import consumers, fan_out, prepared
from tools.benchmarks.loader import command_batches, load
from tools.benchmarks.redis_benchmark import Load, Row
from tools.benchmarks.report import Report
from tools.benchmarks.rounds import Case
from tools.benchmarks.suite_rounds import PIPELINED_REQUESTS_FACTOR, chosen, run_cases
from tools.benchmarks.wire import Connection, encode

SUBSCRIBERS = 100
TRANSACTION_COMMANDS = 10
ENTRIES_PER_READ = 10
POINTS = 10_000
BITMAP_BITS = 1 << 23
COUNTED_BYTES = 100 << 10
SCRIPT = "return redis.call('SET', KEYS[1], ARGV[1])"


@dataclass(frozen=True)
class Measurement:
    """A row of a suite, for every pipeline depth: redis-benchmark's arguments, or a driver.

    `weight`: how many times as much as a plain command one request costs, so many times fewer are measured.
    """

    name: str
    arguments: tuple[str, ...] = ()
    driver: Callable[[int, Load, int], list[Row]] | None = None
    prepare: Callable[[int, int], None] | None = None
    clients: int = 50
    pipelines: tuple[int, ...] = (1, 16)
    weight: int = 1


def _transaction(chooser: random.Random, load: Load) -> bytes:
    value = b"x" * load.data_size_bytes
    keys = (b"key:%012d" % chooser.randrange(load.keyspace) for _ in range(TRANSACTION_COMMANDS))
    return b"".join((encode("MULTI"), *(encode("SET", key, value) for key in keys), encode("EXEC")))


def _set_bit(chooser: random.Random, load: Load) -> bytes:
    return encode("SETBIT", "bitmap", chooser.randrange(BITMAP_BITS), 1)


def fill_stream(port: int, requests: int) -> None:
    """A stream with a new group and as many entries as the requests will read."""
    with Connection(port) as connection:
        connection.call("DEL", "queue")
        connection.call("XGROUP", "CREATE", "queue", "group", "0", "MKSTREAM")
    # In scripts, because the loader wants answers of one line.
    script = "for i = 1, 100 do redis.call('XADD', KEYS[1], '*', 'field', 'value:' .. i) end return 1"
    commands = -(-requests * ENTRIES_PER_READ // 100)
    load(port, command_batches(("EVAL", script, 1, "queue") for _ in range(commands)))


def fill_bitmap(port: int, requests: int) -> None:
    """A bitmap of random bytes to be counted."""
    with Connection(port) as connection:
        connection.call("SET", "counted", random.Random(1).randbytes(COUNTED_BYTES))


def fill_points(port: int, requests: int) -> None:
    """Points spread evenly over some hundred kilometres."""
    chooser = random.Random(1)
    points = ((chooser.uniform(13, 17), chooser.uniform(36, 39), f"point:{number}") for number in range(POINTS))
    load(port, command_batches(("GEOADD", "points", *point) for point in points))


MESSAGING = (
    Measurement("eval", ("EVAL", SCRIPT, "1", "key:__rand_int__", "value")),
    Measurement("multi_exec_10", driver=prepared(_transaction, 2 * TRANSACTION_COMMANDS + 2), weight=8),
    Measurement("publish_100", driver=fan_out(SUBSCRIBERS), clients=1, weight=20),
)
TYPES = (
    Measurement("xadd", ("XADD", "stream", "*", "field", "value")),
    Measurement(
        "xreadgroup_xack",
        driver=consumers("queue", "group", ENTRIES_PER_READ),
        prepare=fill_stream,
        clients=10,
        pipelines=(1,),
        weight=10,
    ),
    Measurement("setbit", driver=prepared(_set_bit, 1)),
    Measurement("bitcount", ("BITCOUNT", "counted"), prepare=fill_bitmap, weight=2),
    Measurement("pfadd", ("PFADD", "hyperloglog", "element:__rand_int__")),
    Measurement(
        "geosearch",
        ("GEOSEARCH", "points", "FROMLONLAT", "15", "37.5", "BYRADIUS", "10", "km", "ASC", "COUNT", "10"),
        prepare=fill_points,
        weight=4,
    ),
)


def build_cases(tests: Sequence[Measurement], options: argparse.Namespace) -> list[Case]:
    """One case for each test and depth; options that were given win over the test's own numbers."""
    return [
        Case(
            name=test.name,
            arguments=test.arguments,
            load=Load(clients, pipeline, options.data_size, options.keyspace),
            requests=max(options.requests * (PIPELINED_REQUESTS_FACTOR if pipeline > 1 else 1) // test.weight, 1),
            label=test.name.upper(),
            driver=test.driver,
            prepare=test.prepare,
        )
        for test in tests
        for pipeline in (options.pipeline if options.pipeline and len(test.pipelines) > 1 else test.pipelines)
        for clients in (options.clients if options.clients and test.clients > 1 else [test.clients])
    ]


def _run(suite: str, tests: Sequence[Measurement], options: argparse.Namespace) -> Report:
    names = chosen([test.name for test in tests], options.tests)
    return run_cases(suite, build_cases([test for test in tests if test.name in names], options), options)


def run_messaging(options: argparse.Namespace) -> Report:
    """EVAL of one SET, MULTI/EXEC of ten SETs, PUBLISH that arrives at a hundred subscribers."""
    return _run("messaging", MESSAGING, options)


def run_types(options: argparse.Namespace) -> Report:
    """XADD, consumers in a group, SETBIT, BITCOUNT of 100 KiB, PFADD, GEOSEARCH among ten thousand points."""
    return _run("types", TYPES, options)
