"""What the benchmarks print: Markdown tables for the README, and the same numbers as JSON."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tools.benchmarks.rounds import Results, Summary, summarise
from tools.benchmarks.servers import Server

MIB = 1 << 20


@dataclass
class Table:
    """A table with its heading; the first column is text, the others are numbers."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""

    def markdown(self) -> str:
        """The table as aligned Markdown."""
        cells = [list(self.headers), *(list(row) for row in self.rows)]
        widths = [max(3, *(len(row[column]) for row in cells)) for column in range(len(self.headers))]
        lines = [_line(cells[0], widths), _rule(widths), *(_line(row, widths) for row in cells[1:])]
        heading = [f"**{self.title}**", ""] if self.title else []
        return "\n".join([*heading, *lines])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = (
        cell.ljust(width) if column == 0 else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "| " + " | ".join([first, *rest]) + " |"


def _rule(widths: Sequence[int]) -> str:
    return "|" + "|".join("-" * (w + 2) if i == 0 else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|"


@dataclass
class Report:
    """Everything one run found: tables for people, `data` for programs, notes on what is missing."""

    suite: str
    tables: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)

    def markdown(self, machine: dict[str, Any]) -> str:
        """The whole report."""
        parts = [table.markdown() for table in self.tables]
        if self.notes:
            parts.append("\n".join(f"- {note}" for note in self.notes))
        parts.append(machine_line(machine))
        return "\n\n".join(parts)

    def json(self, machine: dict[str, Any], options: dict[str, Any]) -> str:
        """The same as one JSON document."""
        document = {
            "suite": self.suite,
            "machine": machine,
            "options": options,
            "notes": self.notes,
            **self.data,
        }
        return json.dumps(document, indent=1, default=_plain)


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return str(value)


def grouped(number: float) -> str:
    """A rate for reading: three significant digits and thousands separated by commas."""
    if number < 1000:
        return f"{number:.3g}" if number < 100 else f"{number:.0f}"
    scale = 10 ** (len(str(int(number))) - 3)
    return f"{round(number / scale) * scale:,}"


def rounds_table(results: Results, servers: Sequence[str], baseline: str) -> Table:
    """Per test and server: median req/s with the range, ratio to the baseline, p50/p99, CPU per request."""
    headers = ["test"]
    for name in servers:
        headers.append(f"{name} req/s (min-max)")
        if name != baseline and baseline in servers:
            headers.append("ratio")
        headers += ["p50/p99 ms", "CPU us"]
    several_clients = len({key.clients for key in results.samples}) > 1
    rows = []
    for key, samples in results.samples.items():
        summaries = summarise(samples, baseline)
        label = f"{key.test} P={key.pipeline}" + (f" c={key.clients}" if several_clients else "")
        row = [label]
        for name in servers:
            row += _cells(summaries.get(name), with_ratio=name != baseline and baseline in servers)
        rows.append(row)
    return Table(headers, rows)


def _cells(summary: Summary | None, *, with_ratio: bool) -> list[str]:
    if summary is None:
        return ["-"] * (4 if with_ratio else 3)
    cells = [f"{grouped(summary.rps)} ({grouped(summary.rps_min)}-{grouped(summary.rps_max)})"]
    if with_ratio:
        cells.append("-" if summary.ratio is None else f"{summary.ratio:.2f}")
    cells.append(f"{summary.p50_ms:.2f}/{summary.p99_ms:.2f}")
    cells.append("-" if summary.cpu_us is None else f"{summary.cpu_us:.1f}")
    return cells


def rounds_data(results: Results, baseline: str) -> list[dict[str, Any]]:
    """The table's numbers, unrounded, with every round."""
    return [
        {"test": key.test, "clients": key.clients, "pipeline": key.pipeline, "servers": summarise(samples, baseline)}
        for key, samples in results.samples.items()
    ]


def servers_table(facts: Iterable[dict[str, Any]]) -> Table:
    """Version, start-up time and memory of each server."""
    rows = [
        [
            fact["name"],
            fact["version"],
            f"{fact['ready_s']:.2f}",
            f"{fact['memory']['peak'] / MIB:.0f}",
            f"{fact['memory']['rss'] / MIB:.0f}",
        ]
        for fact in facts
    ]
    return Table(["server", "version", "ready s", "RSS peak MiB", "RSS end MiB"], rows)


def server_facts(server: Server) -> dict[str, Any]:
    """What the report says about a server that is still running."""
    return {
        "name": server.name,
        "version": server.version,
        "ready_s": server.ready_s,
        "memory": server.memory_bytes(),
        "appendfsync": server.launch.appendfsync,
    }


def machine(work_directory: Path) -> dict[str, Any]:
    """Where the numbers come from: processor, memory, kernel, file system, Python, time."""
    cpu_lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in cpu_lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30), 1),
        "kernel": platform.release(),
        "file_system": file_system(work_directory),
        "python": platform.python_version(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def file_system(path: Path) -> str:
    """The type of the file system that holds `path`, ``ext4`` or ``tmpfs`` for example."""
    best, kind = Path("/"), "unknown"
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount_point, type_name, *_ = line.split()
        mount = Path(mount_point)
        if path.resolve().is_relative_to(mount) and len(mount.parts) >= len(best.parts):
            best, kind = mount, type_name
    return kind


def machine_line(facts: dict[str, Any]) -> str:
    """The machine in one sentence."""
    return (
        f"Machine: {facts['cpus']} x {facts['cpu']}, {facts['memory_gib']} GiB, Linux {facts['kernel']}, "
        f"{facts['file_system']}, Python {facts['python']}, {facts['time']}."
    )
