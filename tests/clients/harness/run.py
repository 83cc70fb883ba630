"""Run one program against one kind of server."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from tests.clients.harness import tap
from tests.clients.harness.programs import Program
from tests.harness.servers import POOL, START_TIMEOUT_S, Flavour, ServerProcess, running
from tests.harness.wire import ErrorReply

PASSWORD = "correct horse"
OPEN_PORT_VARIABLE = "DISKKV_CLIENT_OPEN_PORT"


def run(program: Program, flavour: Flavour, directory: Path, command: Sequence[str | Path]) -> tap.Report:
    """Start the built program in the directory, restart the server when it asks for that, and read its output.

    Fails when the program does not end in time or prints no complete report. Failed checks are not looked at.
    """
    scratch_directory = directory / "scratch"
    scratch_directory.mkdir(parents=True)
    open_server = POOL.get(flavour, tcp=True, role="clients")
    with running(flavour, "--requirepass", PASSWORD, durable=True, tcp=True) as server:
        arguments = [*command, "127.0.0.1", str(server.port), PASSWORD, scratch_directory]
        environment = {**os.environ, OPEN_PORT_VARIABLE: str(open_server.port), **program.environment}
        return _talk([str(argument) for argument in arguments], environment, program.timeout_s, server, directory)


def _talk(
    command: list[str], environment: dict[str, str], timeout_s: float, server: ServerProcess, directory: Path
) -> tap.Report:
    lines: list[str] = []
    errors_path = directory / "stderr"
    with (
        open(errors_path, "wb") as errors,
        subprocess.Popen(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            errors="replace",
            bufsize=1,
            start_new_session=True,
        ) as process,
    ):
        timer = threading.Timer(timeout_s, _end, [process])
        timer.start()
        try:
            _follow(process, lines, server)
            status = process.wait()
        finally:
            timed_out = not timer.is_alive()
            timer.cancel()
            _end(process)
    try:
        report = tap.parse(lines)
        if status != 0 and all(check.is_ok for check in report.checks.values()):
            raise tap.MalformedTap(f"it ended with status {status} though every check is ok")
    except tap.MalformedTap as problem:
        ending = f"it was stopped after {timeout_s} s" if timed_out else f"it ended with {status}"
        pytest.fail(f"{problem}; {ending}\n{_told(lines, errors_path, server)}", pytrace=False)
    return report


def _end(process: subprocess.Popen[str]) -> None:
    """Kill the program and what it started, which would hold its output open."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _follow(process: subprocess.Popen[str], lines: list[str], server: ServerProcess) -> None:
    assert process.stdout is not None and process.stdin is not None
    for line in process.stdout:
        lines.append(line.rstrip("\r\n"))
        if lines[-1] == tap.RESTART:
            server.restart()
            _wait_until_loaded(server)
            process.stdin.write("restarted\n")
            process.stdin.flush()


def _wait_until_loaded(server: ServerProcess) -> None:
    """Until commands are executed; without the password, a server that still loads its data only answers NOAUTH."""
    deadline = time.monotonic() + START_TIMEOUT_S
    with server.connect() as wire:
        wire.call("AUTH", PASSWORD)
        while isinstance(reply := wire.call("PING"), ErrorReply):
            assert time.monotonic() < deadline, reply
            time.sleep(0.005)


def _told(lines: Iterable[str], errors_path: Path, server: ServerProcess) -> str:
    errors = errors_path.read_text(errors="replace")[-4000:]
    return "\n".join(["-- stdout", *lines, "-- stderr", errors, "-- server", server.log_tail()])
