"""BullMQ: its own worker and client (on ioredis), unmodified; a crash of the server in the middle loses no job."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.queues.crash import queue
from tests.queues.record import PORT_VARIABLE, recorded

JOBS = 2000
LANES = 4
PACKAGES = ("bullmq@^6", "ioredis@^5")
INSTALL_TIMEOUT_S = 60
_SCRIPTS = Path(__file__).with_name("bullmq")


class NodeProducer:
    """producer.js; it prints what the server has acknowledged, and ioredis repeats what a crash interrupted."""

    def __init__(self, environment: dict[str, str], directory: Path) -> None:
        self._output_path = directory / "pushed"
        with open(self._output_path, "wb") as output, open(directory / "producer.log", "wb") as log:
            command = ["node", str(_SCRIPTS / "producer.js"), str(JOBS), str(LANES)]
            self._process = subprocess.Popen(command, stdout=output, stderr=log, env=environment)

    def acknowledged(self) -> list[int]:
        """The jobs printed so far; a line that is being written is left out."""
        return recorded(self._output_path)

    def is_pushing(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def finish(self) -> None:
        """End the process, and check how it ended."""
        if self._process.poll() is None:
            self._process.kill()
        assert self._process.wait() == 0


def unavailable(reason: str) -> None:
    """Skip where Node or its registry cannot be had; where the whole suite must run, fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def node_path(tmp_path: Path) -> Path:
    """A directory of modules with BullMQ and its Redis client."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        unavailable("node and npm are needed for BullMQ")
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--loglevel=error"]
    command = [str(npm), "install", *options, "--prefix", str(tmp_path), *PACKAGES]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, cwd=tmp_path)
    except subprocess.TimeoutExpired:
        unavailable(f"npm did not install BullMQ within {INSTALL_TIMEOUT_S} s")
    if done.returncode != 0:
        unavailable(f"npm cannot install BullMQ: {done.stderr.strip()[-500:]}")
    return tmp_path / "node_modules"


@pytest.mark.slow
def test_every_acknowledged_job_is_done(tmp_path: Path, node_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE_PATH", str(node_path))
    with queue(tmp_path, lambda _: ["node", str(_SCRIPTS / "worker.js")], 2) as running:
        producer = NodeProducer(os.environ | {PORT_VARIABLE: str(running.server.port)}, tmp_path)
        try:
            acknowledged = running.push_through_a_crash(producer, JOBS)
        finally:
            producer.finish()
        assert sorted(acknowledged) == list(range(JOBS))
        running.wait_until_done(acknowledged)
