"""Redis Commander, a browser for keys, used in headless Chromium: it shows keys, values, times to live; it edits."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.applications.node import run_script
from tests.clients.harness.npm import node_modules
from tests.clients.harness.toolchains import tool
from tests.harness.servers import POOL, ServerProcess, subject_flavour
from tests.harness.wire import Wire

PACKAGES = ("redis-commander@^0.9", "puppeteer-core@^24")
START_TIMEOUT_S = 30
DATA = (
    ("FLUSHALL",),
    ("SET", "session:abc", "a token", "EX", 3600),
    ("SADD", "tags", "red", "green"),
    ("ZADD", "board", 1.5, "ada", 3, "grace"),
    ("RPUSH", "queue", "first", "second"),
    ("XADD", "log", "1-1", "event", "login"),
    ("HSET", "user:1", "name", "Ada", "born", 1815),
)


@pytest.fixture
def server() -> ServerProcess:
    found = POOL.get(subject_flavour(), tcp=True, role="applications")
    with found.connect() as wire:
        for command in DATA:
            wire.call(*command)
    return found


@pytest.fixture
def commander_port(server: ServerProcess, tmp_path: Path) -> Iterator[int]:
    """The port of a Redis Commander for the server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    main = node_modules(*PACKAGES) / "redis-commander/bin/redis-commander.js"
    options = ["--redis-host", "127.0.0.1", "--redis-port", server.port, "--address", "127.0.0.1", "--port", port]
    command = [tool("node", "nodejs"), main, *options, "--nosave"]
    log_path = tmp_path / "commander.log"
    arguments = [str(part) for part in command]
    environment = os.environ | {"HOME": str(tmp_path)}
    with (
        open(log_path, "wb") as log,
        subprocess.Popen(arguments, stdout=log, stderr=log, cwd=tmp_path, env=environment) as process,
    ):
        try:
            deadline = time.monotonic() + START_TIMEOUT_S
            while b"Redis Connection" not in log_path.read_bytes():
                assert process.poll() is None and time.monotonic() < deadline, log_path.read_text()
                time.sleep(0.02)
            yield port
        finally:
            process.kill()
    assert "not supported" not in log_path.read_text()


def value(wire: Wire, key: str) -> bytes:
    found = wire.call("GET", key)
    assert isinstance(found, bytes)
    return found


@pytest.mark.slow
def test_in_a_browser(server: ServerProcess, commander_port: int, tmp_path: Path) -> None:
    chromium = tool("chromium", "chromium-browser", "google-chrome")
    screenshot = tmp_path / "commander.png"
    profile = tmp_path / "profile"
    told = json.loads(run_script(PACKAGES, "commander.js", chromium, profile, commander_port, screenshot))
    assert told["tree"] == ["board (2)", "log (1)", "queue (2)", "session:* (1)", "tags (2)", "user:* (1)"]
    pages = told["pages"]
    assert re.search(r"TTL: 3(600|5\d\d)\s+Type: string", pages["session:abc"]), pages["session:abc"]
    assert "TTL: -1" in pages["tags"] and {"red", "green"} <= set(pages["tags"].split())
    assert re.search(r"3\s+grace\s+1\s+1\.5\s+ada", pages["board"]), pages["board"]
    assert re.search(r"first[\s\S]*second", pages["queue"])
    assert "login" in pages["log"]
    assert told["status"] == 200
    assert screenshot.read_bytes().startswith(b"\x89PNG")
    with server.connect() as wire:
        assert value(wire, "session:abc") == b"edited in the browser"
