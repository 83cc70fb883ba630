"""iredis, a terminal client with completion, as Debian packages it: by a pipe, and typed into."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from pathlib import Path

import pytest

from tests.clients.harness.toolchains import tool
from tests.harness.servers import POOL, ServerProcess, subject_flavour

TIMEOUT_S = 30


@pytest.fixture
def server() -> ServerProcess:
    found = POOL.get(subject_flavour(), tcp=True, role="applications")
    with found.connect() as wire:
        wire.call("FLUSHALL")
    return found


@pytest.fixture
def command(server: ServerProcess) -> list[str]:
    return [tool("iredis"), "-p", str(server.port)]


@pytest.mark.slow
def test_commands_of_a_pipe(command: list[str], tmp_path: Path) -> None:
    lines = [
        "SET k 'two words'",
        "GET k",
        "HSET h name Ada born 1815",
        "HGETALL h",
        "LPUSH k x",
        "XADD s 1-1 f v",
        "XRANGE s - +",
        "INFO server",
        "CLIENT LIST",
    ]
    environment = os.environ | {"HOME": str(tmp_path)}
    done = subprocess.run(
        command,
        input="\n".join(lines),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        timeout=TIMEOUT_S,
    )
    output = done.stdout
    assert "two words" in output, output + done.stderr
    assert re.search(r"name\s+Ada\s+born\s+1815", output), output
    assert "WRONGTYPE Operation against a key holding the wrong kind of value" in output
    assert "1-1" in output and "redis_version:" in output and "lib-name=" in output


@pytest.mark.slow
def test_typed_commands(server: ServerProcess, command: list[str], tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    environment = os.environ | {"HOME": str(tmp_path), "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=tmp_path, env=environment, start_new_session=True
    ) as process:
        os.close(theirs)
        seen = ""

        def read_until(pattern: str) -> None:
            nonlocal seen
            deadline = time.monotonic() + TIMEOUT_S
            while not re.search(pattern, seen):
                assert time.monotonic() < deadline and process.poll() is None, repr(seen)
                if select.select([ours], [], [], 0.1)[0]:
                    seen += re.sub("\x1b\\[[0-9;?]*[a-zA-Z]", "", os.read(ours, 65536).decode(errors="replace"))
            seen = ""

        try:
            read_until(rf"127\.0\.0\.1:{server.port}>")
            os.write(ours, b"set typed 41\r")
            read_until("OK")
            os.write(ours, b"incr typed\r")
            read_until(r"\(integer\) 42")
            os.write(ours, b"multi\r")
            read_until("OK")
            os.write(ours, b"get typed\r")
            read_until("QUEUED")
            os.write(ours, b"exec\r")
            read_until('"42"|42')
        finally:
            process.kill()
            os.close(ours)
