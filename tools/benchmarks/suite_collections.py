"""Collections: what a command costs on a collection of ten thousand elements and on one of ten million.

One connection, one command at a time: the numbers are round trips in microseconds, PING being the floor. While probes
run, the client and the server's main thread share one CPU (background threads do not): between two CPUs the time to
wake an idle one, ten times a PING and unsteady, would hide what the command costs.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tools.benchmarks.errors import BenchError
from tools.benchmarks.loader import command_batches, load, permutation
from tools.benchmarks.options import launch, progress
from tools.benchmarks.report import Report, Table
from tools.benchmarks.servers import Server, running
from tools.benchmarks.wire import Argument, Connection, encode

ELEMENTS_PER_COMMAND = 20
POPS_PER_COMMAND = 100
Command = tuple[Argument, ...]


def element(index: int) -> bytes:
    """The member, field or list element number `index`."""
    return b"element:%012d" % index


@dataclass(frozen=True)
class Probe:
    """A command to time. `make` gets the collection's size, a random index below it, and the repetition's number."""

    name: str
    kind: str
    make: Callable[[int, int, int], Command]
    once: bool = False
    pops_first: bool = False


def _rename(_size: int, _index: int, number: int) -> Command:
    names = ("hash", "hash:renamed")
    return ("RENAME", names[number % 2], names[1 - number % 2])


PROBES = (
    Probe("PING", "", lambda n, i, k: ("PING",)),
    Probe("HLEN", "hash", lambda n, i, k: ("HLEN", "hash")),
    Probe("HGET", "hash", lambda n, i, k: ("HGET", "hash", element(i))),
    Probe("HSET", "hash", lambda n, i, k: ("HSET", "hash", element(n + k), "v")),
    Probe("HSCAN", "hash", lambda n, i, k: ("HSCAN", "hash", 0)),
    Probe("EXPIRE", "hash", lambda n, i, k: ("EXPIRE", "hash", 100_000 + k)),
    Probe("RENAME", "hash", _rename),
    Probe("LLEN", "list", lambda n, i, k: ("LLEN", "list")),
    Probe("LINDEX", "list", lambda n, i, k: ("LINDEX", "list", i)),
    Probe("LPUSH", "list", lambda n, i, k: ("LPUSH", "list", element(n + k))),
    Probe("RPOP", "list", lambda n, i, k: ("RPOP", "list")),
    Probe("SCARD", "set", lambda n, i, k: ("SCARD", "set")),
    Probe("SISMEMBER", "set", lambda n, i, k: ("SISMEMBER", "set", element(i))),
    Probe("SADD", "set", lambda n, i, k: ("SADD", "set", element(n + k))),
    Probe("SRANDMEMBER", "set", lambda n, i, k: ("SRANDMEMBER", "set")),
    Probe("SPOP", "set", lambda n, i, k: ("SPOP", "set")),
    Probe("ZCARD", "zset", lambda n, i, k: ("ZCARD", "zset")),
    Probe("ZSCORE", "zset", lambda n, i, k: ("ZSCORE", "zset", element(i))),
    Probe("ZADD", "zset", lambda n, i, k: ("ZADD", "zset", i, element(n + k))),
    Probe("ZRANK", "zset", lambda n, i, k: ("ZRANK", "zset", element(i))),
    Probe("ZRANGE", "zset", lambda n, i, k: ("ZRANGE", "zset", i, i + 9)),
    Probe("ZCOUNT", "zset", lambda n, i, k: ("ZCOUNT", "zset", i // 2, i)),
    Probe("ZPOPMIN", "zset", lambda n, i, k: ("ZPOPMIN", "zset"), pops_first=True),
    Probe("DEL hash", "hash", lambda n, i, k: ("DEL", "hash", "hash:renamed"), once=True),
    Probe("DEL set", "set", lambda n, i, k: ("DEL", "set"), once=True),
    Probe("DEL zset", "zset", lambda n, i, k: ("DEL", "zset"), once=True),
    Probe("FLUSHDB", "list", lambda n, i, k: ("FLUSHDB",), once=True),
)
ALL_COMMANDS = tuple(probe.name for probe in PROBES)


def chosen(wanted: str) -> list[Probe]:
    """The probes to run. ``DEL`` means every probe of that command."""
    if not wanted:
        return list(PROBES)
    names = wanted.upper().split(",")
    unknown = [name for name in names if not any(_matches(probe, name) for probe in PROBES)]
    if unknown:
        msg = f"no command {unknown[0]!r} in this suite; it has {', '.join(ALL_COMMANDS)}"
        raise BenchError(msg)
    return [probe for probe in PROBES if any(_matches(probe, name) for name in names)]


def _matches(probe: Probe, name: str) -> bool:
    return name in {probe.name.upper(), probe.name.split(" ")[0]}


def fill_commands(kind: str, size: int) -> Iterator[Command]:
    """Commands that build the collection `kind` with `size` elements in scattered order."""
    chunk: list[Argument] = []
    count = 0
    verb = {"hash": "HSET", "list": "RPUSH", "set": "SADD", "zset": "ZADD"}[kind]
    for index in permutation(size):
        if kind == "zset":
            chunk.append(index)
        chunk.append(element(index))
        if kind == "hash":
            chunk.append(b"value:%012d" % index)
        count += 1
        if count == ELEMENTS_PER_COMMAND:
            yield (verb, kind, *chunk)
            chunk, count = [], 0
    if chunk:
        yield (verb, kind, *chunk)


def time_probe(connection: Connection, probe: Probe, size: int, repeat: int) -> list[float]:
    """Round trips of one probe in microseconds; a probe that destroys its collection runs once."""
    chooser = random.Random(f"{probe.name} {size}")
    elapsed = []
    for number in range(1 if probe.once else repeat):
        request = encode(*probe.make(size, chooser.randrange(size), number))
        began = time.perf_counter()
        connection.call_many(request, 1)
        elapsed.append((time.perf_counter() - began) * 1e6)
    return elapsed


def _pop_many(connection: Connection, size: int, pops: int) -> None:
    for _ in range(min(pops, size // 2) // POPS_PER_COMMAND):
        connection.call("ZPOPMIN", "zset", POPS_PER_COMMAND)


def measure_size(server: Server, probes: list[Probe], size: int, options: argparse.Namespace) -> dict[str, Any]:
    """Build the collections with `size` elements, run every probe, leave the database empty."""
    found: dict[str, Any] = {}
    with server.connect(timeout_s=600.0) as connection:
        connection.call("FLUSHALL")
        for kind in dict.fromkeys(probe.kind for probe in probes if probe.kind):
            loaded = load(server.port, command_batches(fill_commands(kind, size)))
            progress(options, f"{server.name}: {kind} of {size:,} elements in {loaded.seconds:.1f} s")
        with one_cpu(server, options):
            for probe in probes:
                if probe.pops_first:
                    _pop_many(connection, size, options.pops)
                found[probe.name] = _probe_result(connection, probe, size, options.repeat)
        connection.call("FLUSHALL")
    return found


def _probe_result(connection: Connection, probe: Probe, size: int, repeat: int) -> dict[str, Any]:
    try:
        elapsed = time_probe(connection, probe, size, repeat)
    except BenchError as error:
        return {"error": str(error)}
    return {"median_us": statistics.median(elapsed), "max_us": max(elapsed), "measurements": len(elapsed)}


@contextlib.contextmanager
def one_cpu(server: Server, options: argparse.Namespace) -> Iterator[None]:
    """Keep this process and the server's main thread on one CPU, unless the operator pinned either."""
    if options.pin_server is not None or options.pin_client is not None:
        yield
        return
    ours, theirs = os.sched_getaffinity(0), os.sched_getaffinity(server.pid)
    shared = {max(ours & theirs)}
    os.sched_setaffinity(0, shared)
    os.sched_setaffinity(server.pid, shared)
    try:
        yield
    finally:
        os.sched_setaffinity(0, ours)
        os.sched_setaffinity(server.pid, theirs)


def run_collections(options: argparse.Namespace) -> Report:
    """Every server, every size, every probe; the last column of a server is the largest size over the smallest."""
    probes = chosen(options.commands)
    sizes = sorted(set(options.elements))
    report = Report("collections")
    results: dict[str, dict[int, dict[str, Any]]] = {}
    with launch(options) as started:
        for name in options.servers:
            with running([name], started) as servers:
                results[name] = {size: measure_size(servers[0], probes, size, options) for size in sizes}
    headers = ["command"]
    for name in options.servers:
        headers += [f"{name} {size:,} us" for size in sizes]
        headers += ["growth"] if len(sizes) > 1 else []
    rows = [_row(probe, results, sizes, report) for probe in probes]
    report.tables = [Table(headers, rows)]
    report.data = {"results": results}
    return report


def _row(probe: Probe, results: dict[str, dict[int, dict[str, Any]]], sizes: list[int], report: Report) -> list[str]:
    row = [probe.name]
    for name, by_size in results.items():
        medians = [by_size[size][probe.name].get("median_us") for size in sizes]
        for size in sizes:
            error = by_size[size][probe.name].get("error")
            if error is not None:
                report.notes.append(f"{name}, {probe.name} on {size:,} elements: {error}")
        row += ["-" if median is None else f"{median:,.0f}" for median in medians]
        if len(sizes) > 1:
            first, last = medians[0], medians[-1]
            row.append("-" if first is None or last is None else f"{last / first:.1f}")
    return row
