"""The suites from the command line, on small sizes, with a real redis-server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools import bench
from tools.benchmarks import redis_benchmark, servers
from tools.benchmarks.errors import BenchError
from tools.benchmarks.servers import KINDS, Launch, Server, ServerKind

FAKE_PROGRAM = """#!/bin/sh
printf '"test","rps","avg_latency_ms","min_latency_ms",'
echo '"p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"'
echo '"SET","2000.00","0.3","0.1","0.25","0.5","0.75","2.0"'
"""


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = bench.main(list(arguments))
    out, err = capsys.readouterr()
    return status, out, err


@pytest.fixture
def fake_redis_benchmark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A redis-benchmark that answers at once, so that the suites can be tested where the real one is not installed."""
    program = tmp_path / "redis-benchmark"
    program.write_text(FAKE_PROGRAM)
    program.chmod(0o755)
    monkeypatch.setattr(redis_benchmark, "require", lambda: str(program))


@pytest.mark.usefixtures("fake_redis_benchmark")
def test_a_suite_prints_a_table_and_writes_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out_file = tmp_path / "out.json"
    status, out, err = run(
        capsys,
        *("basic", "--servers", "redis", "--tests", "set", "--rounds", "2", "--keyspace", "100"),
        *("--work-dir", str(tmp_path), "--json", str(out_file)),
    )
    assert status == 0
    assert "| SET P=1 " in out
    assert "2,000 (2,000-2,000)" in out
    assert "round 2/2" in err
    document = json.loads(out_file.read_text())
    assert [result["pipeline"] for result in document["results"]] == [1, 16]
    assert document["servers"][0]["memory"]["peak"] > 0
    assert list(tmp_path.glob("diskkv-bench-*")) == []


@pytest.mark.usefixtures("fake_redis_benchmark")
def test_an_unknown_test_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "basic", "--servers", "redis", "--tests", "nope")
    assert (status, out) == (1, "")
    assert err == "bench.py: no test 'nope' in this suite; it has set, get\n"


def test_an_unknown_server_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench.main(["basic", "--servers", "oracle"])
    assert "unknown server 'oracle'" in capsys.readouterr().err


def test_startup_loads_restarts_and_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out_file = tmp_path / "out.json"
    status, out, _ = run(
        capsys,
        *("startup", "--servers", "redis", "--keys", "3k", "--mset", "7", "--cold", "--quiet"),
        *("--work-dir", str(tmp_path), "--json", str(out_file)),
    )
    assert status == 0
    assert "| redis " in out
    result = json.loads(out_file.read_text())["results"][0]
    assert result["disk_bytes"] >= 3000 * 100
    assert result["peak_bytes"] > result["ready_rss_bytes"] / 2
    assert result["ready_s"] > 0


def test_collections_measures_every_command_on_both_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out_file = tmp_path / "out.json"
    status, out, _ = run(
        capsys,
        *("collections", "--servers", "redis", "--elements", "100,1k", "--repeat", "3", "--pops", "200", "--quiet"),
        *("--work-dir", str(tmp_path), "--json", str(out_file)),
    )
    assert status == 0
    assert "| redis 100 us | redis 1,000 us | growth |" in " ".join(out.split())
    by_size = json.loads(out_file.read_text())["results"]["redis"]
    for size in ("100", "1000"):
        assert {name for name, found in by_size[size].items() if "median_us" not in found} == set()
        assert by_size[size]["HGET"]["measurements"] == 3
        assert by_size[size]["FLUSHDB"]["measurements"] == 1


def test_another_process_on_the_port_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launch = Launch(tmp_path)
    first = Server(KINDS["redis"], launch, tmp_path / "first")
    first.start()
    try:
        monkeypatch.setattr(servers, "free_port", lambda: first.port)
        sleeper = ServerKind("sleeper", lambda: ["sleep", "30", "#"], lambda _: [])
        monkeypatch.setattr(Server, "_command", lambda self: ["sleep", "30"])
        second = Server(sleeper, launch, tmp_path / "second")
        with pytest.raises(BenchError, match=rf"answered by process {first.pid}, not by sleeper"):
            second.start()
        assert second.process is None
    finally:
        first.kill()


def test_a_server_that_ends_at_once_shows_its_last_line(tmp_path: Path) -> None:
    kind = ServerKind("broken", lambda: ["sh", "-c", "echo no such option; exit 3"], lambda _: [])
    server = Server(kind, Launch(tmp_path), tmp_path / "broken")
    with pytest.raises(BenchError, match="broken ended with status 3: no such option"):
        server.start()


def test_large_measures_load_workloads_and_disk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out_file = tmp_path / "out.json"
    status, out, _ = run(
        capsys,
        *("large", "--servers", "redis", "--memory-mib", "64", "--keys", "300", "--value-size", "100", "--quiet"),
        *("--hashes", "2", "--hash-fields", "60", "--clients", "3", "--seconds", "0.05"),
        *("--disk-file-mib", "1", "--disk-seconds", "0.05", "--work-dir", str(tmp_path), "--json", str(out_file)),
        *("--plot", str(tmp_path / "out.svg")),
    )
    assert status == 0
    assert "times the memory limit" in out
    assert (tmp_path / "out.svg").read_text().count("<polyline") == 2
    result = json.loads(out_file.read_text())["results"]["redis"]
    assert result["load"]["commands"] == 300
    assert set(result["workloads"]) == {
        *("GET uniform, 1 client", "GET uniform", "hot keys", "GET zipfian"),
        *("90/10 uniform", "50/50 uniform", "SET uniform", "HGET"),
    }
    assert all(found["rate"] > 0 for found in result["workloads"].values())
    assert result["rss_over_time"]


def test_large_uses_what_an_earlier_run_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        *("large", "--servers", "redis", "--memory-mib", "64", "--keys", "300", "--value-size", "100", "--quiet"),
        *("--hashes", "1", "--hash-fields", "60", "--clients", "3", "--seconds", "0.05", "--workloads", "GET uniform"),
        *("--disk-file-mib", "1", "--disk-seconds", "0.05", "--keep", str(tmp_path / "kept")),
        *("--json", str(tmp_path / "out.json"), "--plot", str(tmp_path / "out.svg")),
    ]
    for is_first in (True, False):
        status, out, _ = run(capsys, *arguments)
        assert status == 0
        assert "| redis: GET uniform " in out and "zipfian" not in out
        found = json.loads((tmp_path / "out.json").read_text())["results"]["redis"]
        assert (found["load"] is not None) is is_first
    status, _, error = run(capsys, *arguments, "--keys", "200")
    assert status == 1
    assert "has 301 keys" in error


@pytest.mark.usefixtures("fake_redis_benchmark")
def test_durable_waits_for_the_disk_and_reads_beside_writers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out_file = tmp_path / "out.json"
    status, out, _ = run(
        capsys,
        *("durable", "--servers", "redis", "--tests", "set", "--rounds", "1", "--keyspace", "100", "--quiet"),
        *("--clients", "1,5", "--seconds", "0.05", "--work-dir", str(tmp_path), "--json", str(out_file)),
    )
    assert status == 0
    assert "| SET P=1 c=5 " in out
    assert "| GET by 1 client beside 50 durable writers " in out
    document = json.loads(out_file.read_text())
    assert document["servers"][0]["appendfsync"] == "always"
    assert document["reads_beside_writers"]["redis"]["reads"] > 0


@pytest.mark.usefixtures("fake_redis_benchmark")
@pytest.mark.parametrize(
    ("suite", "rows"),
    [
        ("messaging", {"EVAL", "MULTI_EXEC_10", "PUBLISH_100"}),
        ("types", {"XADD", "XREADGROUP_XACK", "SETBIT", "BITCOUNT", "PFADD", "GEOSEARCH"}),
    ],
)
def test_suites_with_clients_of_their_own(
    suite: str, rows: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out_file = tmp_path / "out.json"
    status, _, _ = run(
        capsys,
        *(suite, "--servers", "redis", "--rounds", "1", "--requests", "100", "--keyspace", "100", "--quiet"),
        *("--work-dir", str(tmp_path), "--json", str(out_file)),
    )
    assert status == 0
    document = json.loads(out_file.read_text())
    assert document["notes"] == []
    assert {result["test"] for result in document["results"]} == rows
    assert all(result["servers"]["redis"]["rps"] > 0 for result in document["results"])
