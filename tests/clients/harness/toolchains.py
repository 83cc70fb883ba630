"""What programs of other languages need on the machine; what to do when it is missing."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import pytest

REQUIRE_VARIABLE = "CI_REQUIRE_CLIENTS"
"""When this is 1 in the environment (the CI script sets it), a missing toolchain is a failure."""
BUILD_TIMEOUT_S = 120
shared_root: Path | None = None
"""Where `shared` keeps its directories: one place for all processes of a run, set by conftest.py."""


def all_required() -> bool:
    """Whether this run must test every language, with the packages that CI installs."""
    return os.environ.get(REQUIRE_VARIABLE) == "1"


def unavailable(reason: str) -> NoReturn:
    """Skip with the reason; where every language must be tested, fail."""
    if all_required():
        pytest.fail(reason)
    pytest.skip(reason)


def tool(*names: str) -> str:
    """The path of the first of these programs that is on PATH; `unavailable` when none is."""
    for name in names:
        path = shutil.which(name)
        if path is not None:
            return path
    unavailable(f"{' or '.join(names)} is not installed")


def runs(command: Sequence[str | Path]) -> bool:
    """Whether the command ends with status 0 in time; its output is dropped."""
    arguments = [str(part) for part in command]
    try:
        done = subprocess.run(arguments, capture_output=True, stdin=subprocess.DEVNULL, timeout=BUILD_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def require(what: str, *command: str) -> None:
    """Call `unavailable` unless the command ends with status 0; for libraries that only their language can find."""
    tool(command[0])
    if not runs(command):
        unavailable(f"{what} is not installed")


def shared(name: str, make: Callable[[Path], None]) -> Path:
    """A directory that `make` fills once for all tests of this run, also when several processes share it."""
    assert shared_root is not None, "conftest.py has not run"
    directory = shared_root / name
    with open(directory.with_name(f"{name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not directory.exists():
            unfinished = directory.with_name(f"{name}.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            make(unfinished)
            unfinished.rename(directory)
    return directory


def build(command: Sequence[str | Path], directory: Path) -> None:
    """Run a compiler or the like in the directory; fails the test with its output when it fails."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=BUILD_TIMEOUT_S,
    )
    if done.returncode != 0:
        pytest.fail(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}")
