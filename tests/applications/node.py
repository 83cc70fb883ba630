"""Packages of the npm registry for the tests of applications, and scripts run with them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.clients.harness.npm import node_modules
from tests.clients.harness.toolchains import tool

TIMEOUT_S = 60
_SCRIPTS = Path(__file__).with_name("scripts")


def run_script(packages: Sequence[str], name: str, *arguments: object) -> str:
    """What a script of `scripts` prints that uses these packages; it must end well."""
    environment = os.environ | {"NODE_PATH": str(node_modules(*packages))}
    command = [tool("node", "nodejs"), str(_SCRIPTS / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
