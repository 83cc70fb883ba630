"""With `appendfsync always`, data reaches the disk before the reply reaches the client: seen in the system calls."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.harness.servers import ServerProcess, subject_flavour
from tests.harness.wire import Simple

_ROUNDS = 20
_CALLS = "recvfrom,recvmsg,read,sendto,sendmsg,write,writev,fsync,fdatasync"
_SYNC = re.compile(r"(?:fsync|fdatasync)(?:\(| resumed>).*\)\s+= 0")


def _trace(directory: Path, mode: str) -> list[str]:
    """The lines of a strace of a server that answered `_ROUNDS` SETs of known values."""
    strace = shutil.which("strace")
    assert strace is not None, "strace is needed for this test: apt-get install strace"
    output = directory / "trace"
    wrapper = (strace, "-f", "-qq", "-s", "200", "-e", f"trace={_CALLS}", "-o", str(output))
    server = ServerProcess(subject_flavour(), ("--appendfsync", mode), durable=True, wrapper=wrapper)
    try:
        server.start()
        with server.connect() as wire:
            for number in range(_ROUNDS):
                assert wire.call("SET", "key", f"value-{number:04d}") == Simple(b"OK")
        _end(server.pid)
        server.wait_ended()
    finally:
        server.close()
    return output.read_text(errors="replace").splitlines()


def _end(strace_pid: int) -> None:
    """SIGTERM for the server, which is strace's child."""
    for child in Path(f"/proc/{strace_pid}/task/{strace_pid}/children").read_text().split():
        os.kill(int(child), signal.SIGTERM)


def _syncs_before_reply(lines: list[str]) -> list[int]:
    """For each SET: how many syncs ended between the arrival of its value and its reply."""
    counts = []
    for number in range(_ROUNDS):
        value = f"value-{number:04d}"
        arrival = next(index for index, line in enumerate(lines) if value in line and _is_receive(line))
        reply = next(index for index in range(arrival + 1, len(lines)) if '"+OK\\r\\n"' in lines[index])
        counts.append(sum(1 for line in lines[arrival:reply] if _SYNC.search(line)))
    return counts


def _is_receive(line: str) -> bool:
    return bool(re.search(r"(recvfrom|recvmsg|read)[( ]", line))


@pytest.mark.slow
def test_always_syncs_before_every_reply(tmp_path: Path) -> None:
    counts = _syncs_before_reply(_trace(tmp_path, "always"))
    assert all(count >= 1 for count in counts), counts


@pytest.mark.slow
def test_no_leaves_syncing_to_the_system(tmp_path: Path) -> None:
    """The counterpart, which shows that the check can fail."""
    counts = _syncs_before_reply(_trace(tmp_path, "no"))
    assert sum(counts) == 0, counts


@pytest.mark.slow
def test_everysec_syncs_within_two_seconds_of_a_write(tmp_path: Path) -> None:
    """A write is synced by the timer, not by its own reply."""
    strace = shutil.which("strace")
    assert strace is not None, "strace is needed for this test: apt-get install strace"
    output = tmp_path / "trace"
    wrapper = (strace, "-f", "-qq", "-e", "trace=fsync,fdatasync", "-o", str(output))
    server = ServerProcess(subject_flavour(), ("--appendfsync", "everysec"), durable=True, wrapper=wrapper)
    try:
        server.start()
        with server.connect() as wire:
            before = _count_syncs(output)
            assert wire.call("SET", "key", "value") == Simple(b"OK")
            deadline = time.monotonic() + 10
            while _count_syncs(output) <= before:
                assert time.monotonic() < deadline, "no sync within ten seconds of a write"
                time.sleep(0.02)
        _end(server.pid)
        server.wait_ended()
    finally:
        server.close()


def _count_syncs(output: Path) -> int:
    return sum(1 for line in output.read_text(errors="replace").splitlines() if _SYNC.search(line))
