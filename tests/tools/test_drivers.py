"""The benchmarks' own clients do what their rows say, on a real server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness import servers
from tests.harness.wire import ErrorReply, Wire
from tools.benchmarks.drivers import consumers, fan_out, prepared
from tools.benchmarks.errors import BenchError
from tools.benchmarks.redis_benchmark import Load
from tools.benchmarks.suite_commands import MESSAGING, POINTS, TYPES, Measurement, fill_bitmap, fill_points, fill_stream
from tools.benchmarks.wire import encode


@pytest.fixture
def wire() -> Iterator[Wire]:
    with servers.reference(tcp=True).connect() as connection:
        connection.call("FLUSHALL")
        connection.call("CONFIG", "RESETSTAT")
        yield connection


def port() -> int:
    return servers.reference(tcp=True).port


def calls(wire: Wire, command: str) -> int:
    """How often a command ran."""
    text = wire.call("INFO", "commandstats")
    found = [line for line in text.splitlines() if line.startswith(b"cmdstat_%b:calls=" % command.encode())]
    return int(found[0].partition(b"calls=")[2].split(b",")[0]) if found else 0


def test_transactions_are_executed_whole(wire: Wire) -> None:
    driver = next(test.driver for test in MESSAGING if test.name == "multi_exec_10")
    assert driver is not None
    rows = driver(port(), Load(clients=3, pipeline=4, keyspace=1000), 40)
    assert rows[0].rps > 0
    assert (calls(wire, "multi"), calls(wire, "exec"), calls(wire, "set")) == (40, 40, 400)


def test_every_subscriber_gets_every_message(wire: Wire) -> None:
    rows = fan_out(7)(port(), Load(clients=1, pipeline=5), 50)
    assert 0 < rows[0].min_ms <= rows[0].p50_ms <= rows[0].p99_ms <= rows[0].max_ms
    assert (calls(wire, "publish"), calls(wire, "subscribe")) == (50, 7)


def test_consumers_acknowledge_all_that_they_read(wire: Wire) -> None:
    fill_stream(port(), 30)
    assert wire.call("XLEN", "queue") == 300
    consumers("queue", "group", 10)(port(), Load(clients=4), 30)
    assert wire.call("XPENDING", "queue", "group")[0] == 0
    assert (calls(wire, "xreadgroup"), calls(wire, "xack")) == (30, 30)


def test_the_fills_can_be_repeated(wire: Wire) -> None:
    for _ in range(2):
        fill_stream(port(), 1)
        fill_bitmap(port(), 1)
        fill_points(port(), 1)
    assert (wire.call("XLEN", "queue"), wire.call("ZCARD", "points")) == (100, POINTS)


def test_an_error_reply_ends_the_measurement(wire: Wire) -> None:
    with pytest.raises(BenchError, match="unknown command 'NOSUCH'"):
        prepared(lambda chooser, load: encode("NOSUCH"), 1)(port(), Load(clients=1), 10)


@pytest.mark.parametrize("test", [test for test in (*MESSAGING, *TYPES) if test.arguments], ids=lambda test: test.name)
def test_the_commands_of_redis_benchmark_are_right(wire: Wire, test: Measurement) -> None:
    """Each is accepted by a server, and does something."""
    if test.prepare is not None:
        test.prepare(port(), 1)
    reply = wire.call(*test.arguments)
    assert reply
    assert not isinstance(reply, ErrorReply)
