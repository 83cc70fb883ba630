"""Proves with `diskkvctl check` that what a server has on disk agrees with itself, whether the server runs or not."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from tests.harness.servers import ServerProcess
from tools.ctl.check import check_directory

_STOP_TIMEOUT_S = 10.0
_STOPPED_STATES = frozenset("Tt")


def assert_sound(server: ServerProcess) -> None:
    """Check a copy of the data directory, which a running server is held still for: the state that kill -9 leaves.

    The check opens LevelDB, which repairs what a crash left; on a copy, so that the server still meets it.
    Does nothing for other servers than diskkv.
    """
    if not server.flavour.is_diskkv:
        return
    image = server.directory / "image"
    with _held_still(server) if server.is_running() else contextlib.nullcontext():
        shutil.copytree(server.data_directory, image)
    try:
        checker = check_directory(image)
    finally:
        shutil.rmtree(image)
    assert not checker.problem_count, "what is on disk does not agree:\n" + "\n".join(checker.problems)


@contextlib.contextmanager
def _held_still(server: ServerProcess) -> Iterator[None]:
    pid = server.pid
    os.killpg(pid, signal.SIGSTOP)
    try:
        deadline = time.monotonic() + _STOP_TIMEOUT_S
        while not _is_stopped(pid):
            assert time.monotonic() < deadline, "the server does not stop on SIGSTOP"
            time.sleep(0.0002)
        yield
    finally:
        os.killpg(pid, signal.SIGCONT)


def _is_stopped(pid: int) -> bool:
    """Whether no thread of the process runs any more."""
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            # The state follows the name, which is in parentheses and may hold anything.
            if stat.read_text().rpartition(") ")[2][0] not in _STOPPED_STATES:
                return False
    return True
