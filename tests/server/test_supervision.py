"""What the service manager is told, over a datagram socket as systemd's."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from diskkv.server.supervision import Supervisor, remove_pid_file, write_pid_file


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(10)
        yield sock


def environment(manager: socket.socket, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": manager.getsockname(), **more}


def test_messages(manager: socket.socket) -> None:
    supervisor = Supervisor("systemd", environment(manager))
    assert supervisor.mode == "systemd"
    supervisor.ready("serving clients")
    assert manager.recv(1000).decode() == f"READY=1\nSTATUS=serving clients\nMAINPID={os.getpid()}"
    supervisor.reloading()
    first, second = manager.recv(1000).decode().split("\n")
    assert first == "RELOADING=1"
    assert second.removeprefix("MONOTONIC_USEC=").isdigit()
    supervisor.stopping()
    assert manager.recv(1000) == b"STOPPING=1"


def test_an_abstract_address() -> None:
    name = f"diskkv-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"\0{name}")
        sock.settimeout(10)
        Supervisor("auto", {"NOTIFY_SOCKET": f"@{name}"}).stopping()
        assert sock.recv(1000) == b"STOPPING=1"


def test_the_watchdog_is_not_flooded(manager: socket.socket) -> None:
    supervisor = Supervisor("auto", environment(manager, WATCHDOG_USEC="60000000", WATCHDOG_PID=str(os.getpid())))
    assert supervisor.watchdog_s == 20
    for _ in range(100):
        supervisor.ping()
    assert manager.recv(1000) == b"WATCHDOG=1"
    manager.setblocking(False)
    with pytest.raises(BlockingIOError):
        manager.recv(1000)


@pytest.mark.parametrize("more", [{}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}])
def test_no_watchdog(manager: socket.socket, more: dict[str, str]) -> None:
    assert Supervisor("systemd", environment(manager, **more)).watchdog_s == 0


@pytest.mark.parametrize(
    ("supervised", "given", "mode"),
    [
        ("no", {"NOTIFY_SOCKET": "/nonexistent"}, "no"),
        ("auto", {}, "no"),
        ("auto", {"NOTIFY_SOCKET": "/nonexistent"}, "systemd"),
        ("auto", {"UPSTART_JOB": "diskkv"}, "upstart"),
        ("systemd", {}, "no"),
        ("upstart", {}, "no"),
    ],
)
def test_modes(supervised: str, given: dict[str, str], mode: str) -> None:
    """A manager that is not there is no reason to fail, neither now nor later."""
    supervisor = Supervisor(supervised, given)
    assert supervisor.mode == mode
    supervisor.stopping()
    supervisor.ping()


def test_pid_files(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    write_pid_file(str(path))
    assert path.read_text() == f"{os.getpid()}\n"
    remove_pid_file(str(path))
    assert not path.exists()
    path.write_text("1\n")
    remove_pid_file(str(path))
    assert path.exists()
    write_pid_file(str(tmp_path / "missing" / "pid"))
