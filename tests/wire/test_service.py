"""The server as a service: notifications to systemd, SIGHUP, daemonize, logs, crash reports."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness.certificates import Authority
from tests.harness.servers import ServerProcess, running, subject_flavour
from tests.harness.tls import TlsServer
from tests.harness.wire import ErrorReply, Simple, Wire, WireClosed

OK = Simple(b"OK")


def eventually(condition: Callable[[], object], timeout_s: float = 30.0) -> bool:
    """Whether the condition becomes true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The service manager's end of sd_notify."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "600000")
        yield sock


def test_systemd_is_told(manager: socket.socket) -> None:
    """READY, the watchdog while a script keeps the server busy too, RELOADING and READY, STOPPING."""

    def next_message() -> str:
        while (message := manager.recv(1000).decode()) == "WATCHDOG=1":
            pass
        return message

    with running(subject_flavour(), "--supervised", "auto", "--busy-reply-threshold", "50") as server:
        assert next_message().startswith("READY=1\nSTATUS=")
        with server.connect() as wire:
            assert b"process_supervised:systemd" in wire.call("INFO", "server")
            while manager.recv(1000) != b"WATCHDOG=1":
                pass
            wire.send("EVAL", "while true do end", "0")
            # What was sent before the script began may still be waiting; three intervals later it is not.
            for _ in range(4):
                assert manager.recv(1000) == b"WATCHDOG=1"
            with server.connect() as other:
                assert other.call("SCRIPT", "KILL") == OK
            wire.read_reply()
        os.kill(server.pid, signal.SIGHUP)
        assert next_message().startswith("RELOADING=1\nMONOTONIC_USEC=")
        assert next_message().startswith("READY=1")
        server.stop_cleanly()
        assert next_message() == "STOPPING=1"


def hang_up(server: ServerProcess, log: Path) -> str:
    """Send SIGHUP and wait until the reload is in the log; what the reload logged."""
    log.touch()
    before = log.read_text().count(" reloaded; ") + log.read_text().count("stays as it is")
    os.kill(server.pid, signal.SIGHUP)

    def done() -> bool:
        text = log.read_text() if log.exists() else ""
        return text.count(" reloaded; ") + text.count("stays as it is") > before

    assert eventually(done), server.log_tail()
    return log.read_text()


def test_logs_are_rotated(tmp_path: Path) -> None:
    """SIGHUP goes on in new files, for the log and the slow log."""
    log, slow = tmp_path / "diskkv.log", tmp_path / "slow.log"
    options = ("--logfile", str(log), "--slowlog-file", str(slow), "--slowlog-log-slower-than", "0")
    with running(subject_flavour(), *options) as server, server.connect() as wire:
        assert wire.call("SET", "before", "1") == OK
        assert " * ready on " in log.read_text()
        log.rename(tmp_path / "diskkv.log.1")
        slow.rename(tmp_path / "slow.log.1")
        hang_up(server, log)
        assert wire.call("SET", "after", "1") == OK
        assert wire.call("AUTH", "hunter2") != OK
        old, new = (tmp_path / "slow.log.1").read_text(), slow.read_text()
    entries = [json.loads(line) for line in new.splitlines()]
    assert '"before"' in old and '"after"' not in old
    assert '"after"' in new and '"before"' not in new and "hunter2" not in new
    found = next(entry for entry in entries if entry["command"] == ["SET", "after", "1"])
    assert found["db"] == 0 and found["client"].endswith(":0") and found["time"].endswith("Z")
    assert 0 <= found["waiting_us"] <= found["duration_us"]


def test_waiting_is_told_apart(tmp_path: Path) -> None:
    """DEBUG SLEEP waits nearly all of its time, a loop in a script runs (and waits for others on a busy machine)."""
    slow = tmp_path / "slow.log"
    with running(subject_flavour(), "--slowlog-file", str(slow)) as server, server.connect() as wire:
        assert wire.call("DEBUG", "SLEEP", "0.1") == OK
        wire.call("EVAL", "local n = 0 for i = 1, 30000000 do n = n + i end return 1", "0")
        entries = {entry["command"][0]: entry for entry in map(json.loads, slow.read_text().splitlines())}
    running_us = {name: entry["duration_us"] - entry["waiting_us"] for name, entry in entries.items()}
    assert entries["DEBUG"]["duration_us"] >= 100_000
    assert running_us["DEBUG"] < 10_000
    assert running_us["EVAL"] > 10_000


def test_the_configuration_file_is_read_again(tmp_path: Path) -> None:
    """What the file says anew is taken over; what CONFIG SET said stays; a wrong file changes nothing."""
    log, conf = tmp_path / "log", tmp_path / "redis.conf"
    conf.write_text("timeout 100\nslowlog-max-len 10\ndatabases 4\n")
    with running(subject_flavour(), "--logfile", str(log), "--include", str(conf)) as server, server.connect() as wire:

        def values() -> list[bytes]:
            shown = wire.call("CONFIG", "GET", "timeout", "slowlog-max-len", "maxclients", "databases")
            found = dict(zip(shown[::2], shown[1::2], strict=True))
            return [found[name] for name in (b"timeout", b"slowlog-max-len", b"maxclients", b"databases")]

        assert wire.call("CONFIG", "SET", "slowlog-max-len", "77", "maxclients", "123") == OK
        conf.write_text("timeout 200\nslowlog-max-len 10\ndatabases 8\n")
        text = hang_up(server, log)
        assert "changed in the configuration: timeout" in text
        assert "take effect at the next start: databases" in text
        assert values() == [b"200", b"77", b"123", b"4"]
        conf.write_text("timeout 300\nslowlog-max-len x\n")
        assert "line 2: 'slowlog-max-len x'" in hang_up(server, log)
        assert values() == [b"200", b"77", b"123", b"4"]
        conf.write_text("timeout 300\nport 1\nbind 203.0.113.1\n")
        assert "Unable to listen on this port" in hang_up(server, log)
        assert values() == [b"200", b"77", b"123", b"4"]
        conf.write_text("timeout 300\nslowlog-max-len 20\n")
        hang_up(server, log)
        assert values() == [b"300", b"20", b"123", b"4"]


def test_certificates_are_read_again(tmp_path: Path) -> None:
    log = tmp_path / "log"
    server = TlsServer(Authority(tmp_path), "--logfile", str(log))
    with contextlib.closing(server):

        def serial() -> object:
            with server.connect() as connection:
                return connection.getpeercert()["serialNumber"]

        before = serial()
        server.authority.issue("server")
        hang_up(server.process, log)
        assert eventually(lambda: serial() != before)


def test_json_logs() -> None:
    options = ("--log-format", "json", "--loglevel", "verbose")
    with running(subject_flavour(), *options) as server, server.connect() as wire:
        wire.call("DEBUG", "LOG", 'a "quoted" message')
        server.stop_cleanly()
        entries = [json.loads(line) for line in server.log_path.read_text().splitlines()]
    messages = [entry["message"] for entry in entries]
    assert 'DEBUG LOG: a "quoted" message' in messages
    assert any(message.startswith("accepted ") for message in messages)
    assert {entry["level"] for entry in entries} == {"verbose", "notice", "warning"}


def start_in_background(directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run `diskkv-server --daemonize yes` until the command returns."""
    command = [sys.executable, "-m", "diskkv", "--daemonize", "yes", "--port", "0", "--dir", str(directory / "data")]
    return subprocess.run([*command, *options], capture_output=True, text=True, timeout=60, check=False)


def test_daemonize(tmp_path: Path) -> None:
    """The command returns when the server is ready; the process id is in the file, which goes when the server does."""
    path, pid_file, log = tmp_path / "s", tmp_path / "pid", tmp_path / "log"
    options = ("--unixsocket", str(path), "--pidfile", str(pid_file), "--logfile", str(log))
    done = start_in_background(tmp_path, *options)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    pid = int(pid_file.read_text())
    try:
        with Wire(str(path)) as wire:
            assert wire.call("SET", "k", "v") == OK
            assert f"process_id:{pid}\r\n".encode() in wire.call("INFO", "server")
        assert os.getsid(pid) != os.getsid(0)
        assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"
        again = start_in_background(tmp_path, *options)
        assert again.returncode == 1
        assert again.stderr == f"diskkv-server: cannot listen on {path}: address already in use\n"
    finally:
        os.kill(pid, signal.SIGTERM)
    assert eventually(lambda: not pid_file.exists() and not os.path.exists(f"/proc/{pid}/fd/0"))
    assert "stopped" in log.read_text()


def test_a_bug_is_reported(tmp_path: Path) -> None:
    """Nothing of the turn is answered or kept; the report has stack, requests without secrets, clients, state."""
    with running(subject_flavour(), "--requirepass", "hunter2") as server, server.connect() as wire:
        assert wire.call("AUTH", "hunter2") == OK
        assert wire.call("SET", "kept", "1") == OK
        with pytest.raises((WireClosed, ConnectionError)):
            wire.pipeline([("SET", "lost", "2"), ("AUTH", "hunter2"), ("DEBUG", "PANIC")])
        assert server.wait_ended() == 1
        text = server.log_path.read_text()
        for part in (
            "=== DISKKV BUG REPORT START", "Panic", '"SET" "lost" "2"', '"AUTH" "(redacted)"', '"DEBUG" "PANIC"',
            "--- CLIENTS\nid=", "--- CONFIGURATION", "# LevelDB", "=== DISKKV BUG REPORT END",
        ):  # fmt: skip
            assert part in text
        assert "hunter2" not in text
        server.start()
        with server.connect() as again:
            assert again.call("AUTH", "hunter2") == OK
            assert again.call("MGET", "kept", "lost")[0] == b"1"
            assert again.call("EXISTS", "lost") == 0


def test_user_data_stays_out_of_reports() -> None:
    with running(subject_flavour(), "--hide-user-data-from-log", "yes") as server, server.connect() as wire:
        with pytest.raises((WireClosed, ConnectionError)):
            wire.pipeline([("SET", "private", "2"), ("DEBUG", "PANIC")])
        server.wait_ended()
        text = server.log_path.read_text()
    assert "SET with 2 arguments" in text
    assert "private" not in text


def test_a_fatal_signal_leaves_stacks(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with running(subject_flavour(), "--logfile", str(log)) as server, server.connect() as wire:
        with pytest.raises((WireClosed, ConnectionError)):
            wire.call("DEBUG", "SEGFAULT")
        assert server.wait_ended() == -signal.SIGSEGV
    text = log.read_text()
    assert "Fatal Python error: Segmentation fault" in text
    assert "debug.py" in text and "in _segfault" in text


def test_a_second_server_does_not_start(tmp_path: Path) -> None:
    """One line, and the one that runs is not disturbed."""
    with running(subject_flavour()) as server:
        command = [sys.executable, "-m", "diskkv", "--port", "0", "--unixsocket", str(tmp_path / "other")]
        data = ("--dir", str(server.data_directory))
        done = subprocess.run([*command, *data], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1
        assert "in use by another process" in done.stderr
        with server.connect() as wire:
            assert wire.call("NOSUCH") == ErrorReply(b"ERR unknown command 'NOSUCH', with args beginning with: ")
