"""Packages of the npm registry, installed for as long as the tests run."""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.clients.harness.toolchains import tool, unavailable

INSTALL_TIMEOUT_S = 120


@functools.cache
def node_modules(*packages: str) -> Path:
    """The directory of modules with these packages (`name@range`); `unavailable` when they cannot be had."""
    tool("node", "nodejs")
    npm = tool("npm")
    directory = Path(tempfile.mkdtemp(prefix="diskkv-npm-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--loglevel=error"]
    command = [npm, "install", *options, "--prefix", str(directory), *packages]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, cwd=directory)
    except subprocess.TimeoutExpired:
        unavailable(f"npm did not install {' '.join(packages)} within {INSTALL_TIMEOUT_S} s")
    if done.returncode != 0:
        unavailable(f"npm cannot install {' '.join(packages)}: {done.stderr.strip()[-500:]}")
    return directory / "node_modules"
