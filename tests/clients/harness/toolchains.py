"""What programs of other languages need on the machine; what to do when it is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pytest

REQUIRE_VARIABLE = "CI_REQUIRE_CLIENTS"
"""When this is 1 in the environment (the CI script sets it), a missing toolchain is a failure."""
BUILD_TIMEOUT_S = 120


def unavailable(reason: str) -> NoReturn:
    """Skip with the reason; where every language must be tested, fail."""
    if os.environ.get(REQUIRE_VARIABLE) == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def tool(*names: str) -> str:
    """The path of the first of these programs that is on PATH; `unavailable` when none is."""
    for name in names:
        path = shutil.which(name)
        if path is not None:
            return path
    unavailable(f"{' or '.join(names)} is not installed")


def require(what: str, *command: str) -> None:
    """Call `unavailable` unless the command ends with status 0; for libraries that only their language can find."""
    tool(command[0])
    if subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=BUILD_TIMEOUT_S).returncode != 0:
        unavailable(f"{what} is not installed")


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
