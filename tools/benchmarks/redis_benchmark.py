"""Run redis-benchmark and read the CSV it prints."""

from __future__ import annotations

import csv
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from tools.benchmarks.errors import BenchError

PROGRAM = "redis-benchmark"
MISSING = "redis-benchmark is not installed: it is in Debian's redis-tools package (apt-get install redis-tools)"
TIMEOUT_S = 1800.0


@dataclass(frozen=True)
class Row:
    """One line of redis-benchmark's CSV. Latencies are in milliseconds."""

    test: str
    rps: float
    avg_ms: float
    min_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float


_COLUMNS = {
    "rps": "rps",
    "avg_latency_ms": "avg_ms",
    "min_latency_ms": "min_ms",
    "p50_latency_ms": "p50_ms",
    "p95_latency_ms": "p95_ms",
    "p99_latency_ms": "p99_ms",
    "max_latency_ms": "max_ms",
}


def parse_csv(text: str) -> list[Row]:
    """Rows of `redis-benchmark --csv` (6.2 and newer). Warnings around the table are skipped.

    Raises BenchError when there is no header, a row is cut short, or a number does not parse.
    """
    lines = text.splitlines()
    start = next((i for i, line in enumerate(lines) if line.startswith('"test","rps"')), None)
    if start is None:
        msg = f"redis-benchmark printed no CSV header: {text.strip()[:200]!r}"
        raise BenchError(msg)
    reader = csv.DictReader(line for line in lines[start:] if line.startswith('"'))
    rows = []
    for record in reader:
        try:
            numbers = {name: float(record[column]) for column, name in _COLUMNS.items()}
        except (KeyError, TypeError, ValueError) as exc:
            msg = f"redis-benchmark printed a row that cannot be read: {record!r}"
            raise BenchError(msg) from exc
        rows.append(Row(test=record["test"], **numbers))
    return rows


def require() -> str:
    """The program's path; raises BenchError with the way to install it."""
    path = shutil.which(PROGRAM)
    if path is None:
        raise BenchError(MISSING)
    return path


@dataclass(frozen=True)
class Load:
    """What every measurement of a case shares."""

    clients: int = 50
    pipeline: int = 1
    data_size_bytes: int = 100
    keyspace: int = 100_000


def command_line(port: int, load: Load, requests: int, arguments: Sequence[str], cpu: int | None = None) -> list[str]:
    """The redis-benchmark command; `arguments` come last, so options in them override the ones of `load`."""
    prefix = [] if cpu is None else ["taskset", "-c", str(cpu)]
    return [
        *prefix,
        require(),
        *("-h", "127.0.0.1", "-p", str(port), "--csv", "-n", str(requests)),
        *("-c", str(load.clients), "-P", str(load.pipeline)),
        *("-d", str(load.data_size_bytes), "-r", str(load.keyspace)),
        *arguments,
    ]


def run(port: int, load: Load, requests: int, arguments: Sequence[str], cpu: int | None = None) -> list[Row]:
    """Run it once to the end. An error reply of the server, a non-zero status or no rows raise BenchError."""
    command = command_line(port, load, requests, arguments, cpu)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as exc:
        msg = f"redis-benchmark did not finish within {TIMEOUT_S:.0f} s: {' '.join(arguments)}"
        raise BenchError(msg) from exc
    errors = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]
    if errors or done.returncode != 0:
        reason = errors[0] if errors else f"status {done.returncode}: {done.stderr.strip()[:200]}"
        msg = f"redis-benchmark {' '.join(arguments)}: {reason}"
        raise BenchError(msg)
    rows = parse_csv(done.stdout)
    if not rows:
        msg = f"redis-benchmark {' '.join(arguments)} measured nothing"
        raise BenchError(msg)
    return rows
