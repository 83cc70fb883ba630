"""Tables and JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools.benchmarks import report
from tools.benchmarks.redis_benchmark import Load, Row
from tools.benchmarks.report import Report, Table, grouped, machine, rounds_data, rounds_table
from tools.benchmarks.rounds import Case, Results


def results() -> Results:
    found = Results()
    case = Case("set", ("-t", "set"), Load(50, 16), 1000)
    for name, rps in (("diskkv", 90_000.0), ("redis", 100_000.0)):
        found.add(case, name, [Row("SET", rps, 0.3, 0.1, 0.25, 0.5, 0.75, 2.0)], 7.25)
    return found


def test_a_table_is_aligned_markdown() -> None:
    assert Table(["name", "n"], [["a", "1"], ["long name", "1,000"]], "Heading").markdown() == (
        "**Heading**\n\n"
        "| name      |     n |\n"
        "|-----------|------:|\n"
        "| a         |     1 |\n"
        "| long name | 1,000 |"
    )


def test_the_rounds_table_has_rates_ratio_latencies_and_cpu() -> None:
    table = rounds_table(results(), ["diskkv", "redis"], "redis")
    assert table.headers == [
        "test",
        *("diskkv req/s (min-max)", "ratio", "p50/p99 ms", "CPU us"),
        *("redis req/s (min-max)", "p50/p99 ms", "CPU us"),
    ]
    assert [list(row) for row in table.rows] == [
        [
            "SET P=16",
            *("90,000 (90,000-90,000)", "0.90", "0.25/0.75", "7.2"),
            *("100,000 (100,000-100,000)", "0.25/0.75", "7.2"),
        ]
    ]


def test_a_server_without_samples_leaves_dashes() -> None:
    table = rounds_table(results(), ["diskkv", "redis", "valkey"], "redis")
    assert list(table.rows[0][-4:]) == ["-"] * 4


def test_without_the_baseline_there_is_no_ratio_column() -> None:
    table = rounds_table(results(), ["diskkv"], "redis")
    assert "ratio" not in table.headers
    assert len(table.rows[0]) == len(table.headers)


def test_several_numbers_of_clients_are_told_apart() -> None:
    found = results()
    found.add(Case("set", (), Load(1, 16), 10), "diskkv", [Row("SET", 1.0, 1, 1, 1, 1, 1, 1)], None)
    assert [row[0] for row in rounds_table(found, ["diskkv"], "redis").rows] == ["SET P=16 c=50", "SET P=16 c=1"]


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0.0, "0"), (9.876, "9.88"), (99.4, "99.4"), (456.7, "457"), (4567.0, "4,570"), (123456.0, "123,000")],
)
def test_rates_have_three_digits(number: float, expected: str) -> None:
    assert grouped(number) == expected


def test_json_has_the_rounds_and_the_options(tmp_path: Path) -> None:
    document = Report("basic", data={"results": rounds_data(results(), "redis")})
    read = json.loads(document.json(machine(tmp_path), {"work_dir": tmp_path, "rounds": 1}))
    assert read["suite"] == "basic"
    assert read["options"] == {"work_dir": str(tmp_path), "rounds": 1}
    diskkv = read["results"][0]["servers"]["diskkv"]
    assert (diskkv["rounds"], diskkv["ratio"]) == ([90_000.0], 0.9)


def test_notes_and_machine_follow_the_tables(tmp_path: Path) -> None:
    text = Report("basic", [Table(["a"], [["b"]])], ["valkey: no such command"]).markdown(machine(tmp_path))
    table, note, where = text.split("\n\n")
    assert table.startswith("| a")
    assert note == "- valkey: no such command"
    assert where.startswith("Machine: ")


def test_the_file_system_is_that_of_the_longest_mount_point(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mounts = f"/dev/a / ext4 rw 0 0\ntmpfs {tmp_path} tmpfs rw 0 0\n/dev/b {tmp_path}/other xfs rw 0 0\n"
    monkeypatch.setattr(report.Path, "read_text", lambda _: mounts)
    assert report.file_system(tmp_path / "data") == "tmpfs"
    assert report.file_system(Path("/usr")) == "ext4"
