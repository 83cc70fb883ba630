"""Reading redis-benchmark's output."""

from __future__ import annotations

import pytest

from tools.benchmarks import redis_benchmark
from tools.benchmarks.errors import BenchError
from tools.benchmarks.redis_benchmark import Load, Row, command_line, parse_csv

HEADER = (
    '"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"'
)
LRANGE = '"LRANGE_100 (first 100 elements)","83333.34","0.406","0.096","0.295","0.863","1.687","1.767"'
SET = '"SET","124999.99","0.253","0.024","0.207","0.511","1.167","1.367"'


def test_rows_keep_every_column() -> None:
    assert parse_csv(f"{HEADER}\n{SET}\n") == [Row("SET", 124999.99, 0.253, 0.024, 0.207, 0.511, 1.167, 1.367)]


def test_several_rows_keep_their_order() -> None:
    assert [row.test for row in parse_csv("\n".join([HEADER, LRANGE, SET]))] == [
        "LRANGE_100 (first 100 elements)",
        "SET",
    ]


def test_warnings_around_the_table_are_skipped() -> None:
    text = f"WARNING: could not fetch server CONFIG\n{HEADER}\n{SET}\nbye\n"
    assert [row.test for row in parse_csv(text)] == ["SET"]


def test_a_custom_command_with_quotes_and_commas_is_one_column() -> None:
    row = '"SET ""a,b"" 1","1000.00","1","1","1","1","1","1"'
    assert parse_csv(f"{HEADER}\n{row}\n")[0].test == 'SET "a,b" 1'


@pytest.mark.parametrize("text", ["", "Could not connect to server\n", '"SET","100.00"\n'])
def test_no_header_is_an_error(text: str) -> None:
    with pytest.raises(BenchError, match="no CSV header"):
        parse_csv(text)


@pytest.mark.parametrize("row", ['"SET","12"', '"SET","fast","1","1","1","1","1","1"'])
def test_a_row_that_cannot_be_read_is_an_error(row: str) -> None:
    with pytest.raises(BenchError, match="cannot be read"):
        parse_csv(f"{HEADER}\n{row}\n")


def test_a_missing_program_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(BenchError, match=r"redis-benchmark is not installed: .*redis-tools") as caught:
        redis_benchmark.run(1, Load(), 1, ["-t", "set"])
    assert "\n" not in str(caught.value)


def test_the_arguments_of_a_case_come_last_so_that_they_override(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_benchmark, "require", lambda: "redis-benchmark")
    line = command_line(7000, Load(50, 16, 100, 1000), 5, ["-P", "4", "INCR", "n"], cpu=1)
    assert line[:4] == ["taskset", "-c", "1", "redis-benchmark"]
    assert line.index("16") < line.index("4")
    assert line[-2:] == ["INCR", "n"]
