"""Closed-loop clients, key distributions, the memory group and the disk's own rate."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.tools.fakeserver import answering
from tools.benchmarks import cgroup, disk, loadgen
from tools.benchmarks.errors import BenchError
from tools.benchmarks.loadgen import Client, Latencies, MemorySampler, Uniform, Zipfian, mixed
from tools.benchmarks.suite_large import stalled_seconds
from tools.benchmarks.wire import encode


def test_every_kind_of_client_is_measured_by_itself() -> None:
    clients = [
        Client("readers", lambda: encode("GET", "k"), connections=3),
        Client("writer", lambda: encode("SET", "k", "v"), connections=1),
    ]
    with answering(lambda chunk: b"$1\r\nv\r\n" if b"GET" in chunk else b"+OK\r\n") as port:
        found = loadgen.run(port, clients, 0.25)
    assert set(found) == {"readers", "writer"}
    for latencies in found.values():
        assert sum(latencies.per_second) == len(latencies.values) > 0
        assert latencies.rate > 0
        assert 0 < min(latencies.values) <= max(latencies.values) <= latencies.seconds


def test_an_error_reply_ends_the_run() -> None:
    with answering(lambda _: b"-OOM no\r\n") as port, pytest.raises(BenchError, match="OOM no"):
        loadgen.run(port, [Client("a", lambda: encode("SET", "k", "v"), 1)], 5.0)


def test_percentiles() -> None:
    latencies = Latencies(1.0)
    latencies.values.extend(number / 1000 for number in range(1, 1001))
    assert latencies.percentiles_ms([50, 99, 99.9, 100]) == pytest.approx([501, 991, 1000, 1000])
    assert Latencies().percentiles_ms([50]) == [0.0]


@pytest.mark.parametrize("count", [1, 2, 1000])
def test_uniform_covers_every_index(count: int) -> None:
    index = Uniform(count)
    assert {index() for _ in range(count * 15)} == set(range(count))


@pytest.mark.parametrize("count", [1, 10, 50_000, 1_000_000])
def test_zipfian_ranks_follow_the_power_law(count: int) -> None:
    drawn = 50_000
    index = Zipfian(count)
    ranks = Counter(index.rank() for _ in range(drawn))
    total = sum(rank**-0.99 for rank in range(1, count + 1))
    assert 0 <= min(ranks) <= max(ranks) < count
    assert ranks[0] / drawn == pytest.approx(1 / total, rel=0.1)
    half = sum(rank**-0.99 for rank in range(1, count // 2 + 1)) / total
    assert sum(found for rank, found in ranks.items() if rank < count // 2) / drawn == pytest.approx(half, abs=0.02)


def test_zipfian_scatters_its_hot_keys() -> None:
    index = Zipfian(1000)
    hottest = [number for number, _ in Counter(index() for _ in range(20_000)).most_common(3)]
    assert max(hottest) - min(hottest) > 10


def test_a_mix_has_its_proportion() -> None:
    source = mixed(lambda: b"read", lambda: b"write", 90)
    assert Counter(source() for _ in range(10_000))[b"read"] == pytest.approx(9000, abs=200)


def test_stalled_seconds_leave_the_last_partial_second_out() -> None:
    assert stalled_seconds([100, 110, 5, 0, 90, 3]) == 2
    assert stalled_seconds([7]) == 0
    assert stalled_seconds([]) == 0


def test_memory_is_sampled_at_least_once() -> None:
    sampler = MemorySampler(lambda: 42, interval_s=100)
    with sampler.running():
        pass
    assert [size_bytes for _, size_bytes in sampler.samples] == [42]


def test_a_memory_group_sets_the_limit_and_takes_the_process_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroup, "hierarchy", lambda: (tmp_path, 1))
    with cgroup.memory_group(123 << 20) as group:
        limit = group.path / "memory.limit_in_bytes"
        assert limit.read_text() == str(123 << 20)
        (group.path / "memory.usage_in_bytes").write_text("77\n")
        assert group.usage_bytes() == 77
        process = subprocess.Popen([*group.prefix, "sh", "-c", "echo $$"], stdout=subprocess.PIPE, text=True)
        out, _ = process.communicate()
        assert out == f"{process.pid}\n"
        assert (group.path / "cgroup.procs").read_text() == out
        for file in group.path.iterdir():  # the kernel's own files vanish with the group
            file.unlink()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("mounts", "expected"),
    [
        ("cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\ncgroup {dir}/memory cgroup rw,memory 0 0\n", ("memory", 1)),
        ("cgroup2 {dir}/unified cgroup2 rw 0 0\n", ("unified", 2)),
    ],
)
def test_either_version_of_control_groups_is_found(
    mounts: str, expected: tuple[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "unified").mkdir()
    (tmp_path / "unified" / "cgroup.controllers").write_text("cpu memory io\n")
    lines = [line.split() for line in mounts.format(dir=tmp_path).splitlines()]
    monkeypatch.setattr(cgroup, "_mounts", lambda: iter((kind, Path(path), opts) for _, path, kind, opts, *_ in lines))
    assert cgroup.hierarchy() == (tmp_path / expected[0], expected[1])


def test_no_control_groups_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup, "_mounts", lambda: iter([("ext4", Path("/"), "rw")]))
    with pytest.raises(BenchError, match="no control group hierarchy"):
        cgroup.hierarchy()


def test_random_reads_of_a_scratch_file(tmp_path: Path) -> None:
    with disk.scratch_file(tmp_path, 1 << 20) as path:
        assert path.stat().st_size == 1 << 20
        try:
            assert disk.random_reads_per_second(path, 2, 0.05) > 0
        except BenchError as error:
            # Some file systems (tmpfs on older kernels) know no direct reads; then that has to be what it says.
            assert "allows no direct reads" in str(error)
    assert list(tmp_path.iterdir()) == []
