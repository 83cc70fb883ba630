"""Larger than memory: a dataset many times the size of the memory that the server's control group may use.

The page cache counts against the limit, so reads of a random key go to the disk. Beside the server's rates stands what
the disk itself gives in the same run.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import random
import statistics
from collections.abc import Iterator
from typing import Any

from tools.benchmarks.cgroup import MemoryGroup, memory_group
from tools.benchmarks.disk import drop_cached_pages, random_reads_per_second, scratch_file
from tools.benchmarks.errors import BenchError
from tools.benchmarks.loader import LoadResult, ValuePool, command_batches, key_name, load, permutation, set_batches
from tools.benchmarks.loadgen import (
    Client,
    Latencies,
    MemorySampler,
    Source,
    Uniform,
    Zipfian,
    getter,
    mixed,
    run,
    setter,
)
from tools.benchmarks.options import launch, progress
from tools.benchmarks.plot import Chart, svg
from tools.benchmarks.report import MIB, Report, Table, grouped
from tools.benchmarks.servers import Server, running
from tools.benchmarks.wire import encode

DISK_THREADS = (1, 16)
HOT_KEYS = 16
FIELDS_PER_COMMAND = 50
STALL_FRACTION = 0.1
SMALL_RATIO = 8
PERCENTS = (50.0, 99.0, 99.9, 100.0)


def hash_getter(hashes: int, fields: int) -> Source:
    """HGET of a random field of a random hash."""
    chooser = random.Random(5)
    return lambda: encode(b"HGET", b"hash:%d" % chooser.randrange(hashes), b"field:%08d" % chooser.randrange(fields))


def hash_commands(hashes: int, fields: int, size_bytes: int) -> Iterator[tuple[bytes, ...]]:
    """HSET commands that build the hashes, FIELDS_PER_COMMAND at a time."""
    pool = ValuePool(size_bytes, seed=6)
    for number in range(hashes):
        for first in range(0, fields, FIELDS_PER_COMMAND):
            arguments = [b"HSET", b"hash:%d" % number]
            for index in range(first, min(first + FIELDS_PER_COMMAND, fields)):
                arguments += (b"field:%08d" % index, pool.value(number * fields + index))
            yield tuple(arguments)


def workloads(options: argparse.Namespace) -> dict[str, list[Client]]:
    """What is measured, in order. The name of a workload is the label of its main clients."""
    uniform = Uniform(options.keys)
    zipfian = Zipfian(options.keys)
    hot = Uniform(min(HOT_KEYS, options.keys), seed=7)
    writes = setter(uniform, options.value_size)
    found = {
        "GET uniform, 1 client": [Client("GET uniform, 1 client", getter(uniform), 1)],
        "GET uniform": [Client("GET uniform", getter(uniform), options.clients), Client("hot keys", getter(hot), 1)],
        "GET zipfian": [Client("GET zipfian", getter(zipfian), options.clients)],
        "90/10 uniform": [Client("90/10 uniform", mixed(getter(uniform), writes, 90), options.clients)],
        "50/50 uniform": [Client("50/50 uniform", mixed(getter(uniform), writes, 50), options.clients)],
        "SET uniform": [Client("SET uniform", writes, options.clients)],
    }
    if options.hashes:
        source = hash_getter(options.hashes, options.hash_fields)
        found["HGET"] = [Client("HGET", source, options.clients)]
    return found


def stalled_seconds(per_second: list[int]) -> int:
    """Whole seconds of a load in which less than a tenth of the median second's work was acknowledged."""
    whole = per_second[:-1]
    return sum(count < STALL_FRACTION * statistics.median(whole) for count in whole) if whole else 0


def run_large(options: argparse.Namespace) -> Report:
    """Load, then every workload, on each server by itself; the disk's own rate first."""
    report = Report("large")
    results: dict[str, Any] = {}
    disk = measure_disk(options, report)
    for name in options.servers:
        with contextlib.ExitStack() as stack:
            group = limited(options, report, stack)
            started = stack.enter_context(launch(options, group.prefix if group else ()))
            if options.keep is not None:
                started = dataclasses.replace(started, work_directory=options.keep)
                # What earlier runs left in the page cache would not count as memory of this one's group.
                drop_cached_pages(options.keep)
            (server,) = stack.enter_context(running([name], started, keep=options.keep is not None))
            results[name] = _measure(server, options)
    size_bytes = options.keys * (options.value_size + len(key_name(0)))
    ratio = size_bytes / (options.memory_mib * MIB)
    if ratio < SMALL_RATIO:
        report.notes.append(f"the keys are {ratio:.1f} times the memory limit; {SMALL_RATIO} times would be meaningful")
    report.tables = [_load_table(results), _workload_table(results, disk), _disk_table(disk)]
    report.data = {"results": results, "disk_reads_per_s": disk}
    if options.plot is not None:
        options.plot.write_text(svg(charts(results, options.memory_mib)))
    return report


def measure_disk(options: argparse.Namespace, report: Report) -> dict[int, float]:
    """Direct reads per second by number of threads; empty, with a note, where the file system allows none."""
    with launch(options) as started, scratch_file(started.work_directory, options.disk_file_mib * MIB) as path:
        try:
            disk = {threads: random_reads_per_second(path, threads, options.disk_seconds) for threads in DISK_THREADS}
        except BenchError as error:
            report.notes.append(f"the disk was not measured: {error}")
            return {}
    progress(options, f"disk: {', '.join(f'{rate:,.0f}/s with {n} threads' for n, rate in disk.items())}")
    return disk


def limited(options: argparse.Namespace, report: Report, stack: contextlib.ExitStack) -> MemoryGroup | None:
    """A control group for one server, or None and a note when there can be none."""
    try:
        return stack.enter_context(memory_group(options.memory_mib * MIB))
    except BenchError as error:
        note = f"memory was not limited: {error}"
        if note not in report.notes:
            report.notes.append(note)
        return None


def _measure(server: Server, options: argparse.Namespace) -> dict[str, Any]:
    sampler = MemorySampler(lambda: server.memory_bytes()["rss"])
    with sampler.running():
        loaded = _load(server, options)
        measured: dict[str, dict[str, Any]] = {}
        for name, clients in workloads(options).items():
            if options.workloads and name not in options.workloads:
                continue
            found = run(server.port, clients, options.seconds)
            measured |= {label: _describe(latencies) for label, latencies in found.items()}
            progress(options, f"{server.name}: {name} {found[name].rate:,.0f}/s")
    return {
        "version": server.version,
        "load": loaded
        and dataclasses.asdict(loaded) | {"rate": loaded.rate, "stalled_s": stalled_seconds(loaded.per_second)},
        "workloads": measured,
        "memory": server.memory_bytes(),
        "rss_over_time": sampler.samples,
        "disk_bytes": server.disk_bytes(),
    }


def _load(server: Server, options: argparse.Namespace) -> LoadResult | None:
    """Load the dataset; None when an earlier run left it behind."""
    with server.connect() as connection:
        keys = connection.call("DBSIZE")
    if keys == options.keys + options.hashes:
        return None
    if keys:
        msg = f"{server.directory} has {keys} keys, which are none of this run's"
        raise BenchError(msg)
    loaded = load(server.port, set_batches(permutation(options.keys), options.value_size), options.connections)
    progress(options, f"{server.name}: {options.keys:,} keys in {loaded.seconds:.1f} s")
    if options.hashes:
        load(
            server.port,
            command_batches(hash_commands(options.hashes, options.hash_fields, options.value_size)),
            options.connections,
        )
    return loaded


def _describe(latencies: Latencies) -> dict[str, Any]:
    p50, p99, p999, worst = latencies.percentiles_ms(PERCENTS)
    return {
        "rate": latencies.rate,
        "p50_ms": p50,
        "p99_ms": p99,
        "p999_ms": p999,
        "max_ms": worst,
        "per_second": latencies.per_second,
    }


def charts(results: dict[str, Any], limit_mib: int) -> list[Chart]:
    """Load throughput and resident memory over time, a line for each server."""
    loading = Chart("Keys loaded per second", "seconds", "keys/s")
    memory = Chart("Resident memory, loading and serving", "seconds", "MiB", limit=limit_mib)
    for name, found in results.items():
        if found["load"] is not None:
            loading.series[name] = [(float(second), float(n)) for second, n in enumerate(found["load"]["per_second"])]
        memory.series[name] = [(at_s, size_bytes / MIB) for at_s, size_bytes in found["rss_over_time"]]
    return [loading, memory]


def _load_table(results: dict[str, Any]) -> Table:
    headers = ["server", "load keys/s", "slowest batch s", "stalled s", "RSS peak MiB", "RSS end MiB", "disk MiB"]
    rows = [
        [
            f"{name} {found['version']}",
            *_load_cells(found["load"]),
            f"{found['memory']['peak'] / MIB:.0f}",
            f"{found['memory']['rss'] / MIB:.0f}",
            f"{found['disk_bytes'] / MIB:.0f}",
        ]
        for name, found in results.items()
    ]
    return Table(headers, rows)


def _load_cells(loaded: dict[str, Any] | None) -> list[str]:
    if loaded is None:
        return ["-", "-", "-"]
    return [grouped(loaded["rate"]), f"{loaded['max_ack_s']:.2f}", str(loaded["stalled_s"])]


def _workload_table(results: dict[str, Any], disk: dict[int, float]) -> Table:
    headers = ["workload", "req/s", "of the disk", "p50 ms", "p99 ms", "p99.9 ms", "max ms"]
    limit = max(disk.values(), default=None)
    rows = [
        [
            f"{server}: {name}",
            grouped(found["rate"]),
            "-" if limit is None else f"{found['rate'] / limit:.2f}",
            *(f"{found[key]:.2f}" for key in ("p50_ms", "p99_ms", "p999_ms", "max_ms")),
        ]
        for server, result in results.items()
        for name, found in result["workloads"].items()
    ]
    return Table(headers, rows)


def _disk_table(disk: dict[int, float]) -> Table:
    return Table(
        ["direct 4 KiB reads of the disk", "reads/s"],
        [[f"{threads} threads" if threads > 1 else "1 thread", grouped(rate)] for threads, rate in disk.items()],
    )
