"""Start-up: load millions of keys over the wire, watch the memory, restart, and time until the server is ready."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from tools.benchmarks.disk import drop_cached_pages
from tools.benchmarks.errors import BenchError
from tools.benchmarks.loader import LoadResult, load, mset_batches, permutation, set_batches
from tools.benchmarks.options import launch, progress
from tools.benchmarks.report import MIB, Report, Table, grouped
from tools.benchmarks.servers import Server, running


def run_startup(options: argparse.Namespace) -> Report:
    """Each server by itself: load, peak memory, stop, start again, check the key count."""
    report = Report("startup")
    results: list[dict[str, Any]] = []
    for name in options.servers:
        with launch(options) as started, running([name], started) as servers:
            results.append(_measure(servers[0], options))
    headers = ["server", "keys", "load keys/s", "slowest batch s", "RSS peak loading MiB", "of it anonymous at end"]
    headers += ["disk MiB", "stop s", "ready s", "RSS when ready MiB"]
    rows = [
        [
            f"{result['server']} {result['version']}",
            f"{options.keys:,}",
            grouped(result["load_keys_per_s"]),
            f"{result['max_ack_s']:.2f}",
            f"{result['peak_bytes'] / MIB:.0f}",
            f"{result['anon_bytes'] / MIB:.0f}",
            f"{result['disk_bytes'] / MIB:.0f}",
            f"{result['stop_s']:.2f}",
            f"{result['ready_s']:.2f}",
            f"{result['ready_rss_bytes'] / MIB:.0f}",
        ]
        for result in results
    ]
    report.tables = [Table(headers, rows)]
    report.data = {"results": results}
    return report


def _batches(options: argparse.Namespace) -> Iterator[tuple[bytes, int]]:
    indexes = iter(range(options.keys)) if options.order == "sequential" else permutation(options.keys)
    if options.mset > 1:
        return mset_batches(indexes, options.data_size, options.mset)
    return set_batches(indexes, options.data_size)


def _measure(server: Server, options: argparse.Namespace) -> dict[str, Any]:
    loaded: LoadResult = load(server.port, _batches(options), options.connections)
    memory = server.memory_bytes()
    progress(options, f"{server.name}: {options.keys:,} keys in {loaded.seconds:.1f} s")
    _check_count(server, options.keys)
    stop_s = server.stop()
    disk_bytes = server.disk_bytes()
    if options.cold:
        drop_cached_pages(server.directory)
    server.start(timeout_s=600.0)
    ready_memory = server.memory_bytes()
    _check_count(server, options.keys)
    return {
        "server": server.name,
        "version": server.version,
        "load_keys_per_s": options.keys / loaded.seconds,
        "load_per_second": loaded.per_second,
        "max_ack_s": loaded.max_ack_s,
        "peak_bytes": memory["peak"],
        "anon_bytes": memory["anon"],
        "disk_bytes": disk_bytes,
        "stop_s": stop_s,
        "ready_s": server.ready_s,
        "ready_rss_bytes": ready_memory["rss"],
    }


def _check_count(server: Server, keys: int) -> None:
    with server.connect() as connection:
        found = connection.call("DBSIZE")
    if found != keys:
        msg = f"{server.name} has {found} keys instead of {keys}"
        raise BenchError(msg)
