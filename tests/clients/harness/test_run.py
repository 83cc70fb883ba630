from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.clients.harness.programs import Program
from tests.clients.harness.run import OPEN_PORT_VARIABLE, PASSWORD, run
from tests.clients.harness.tap import Report
from tests.harness.servers import reference_flavour

# Without a client library: what is tested is the way from a program's output to the report.
HEAD = """
import os, redis, sys, time
host, port, password, directory = sys.argv[1:]
print("# library none 1.0")
"""


def ran(tmp_path: Path, body: str, timeout_s: float = 30.0) -> Report:
    program = Program("Python", "none", lambda _: [], timeout_s=timeout_s)
    return run(program, reference_flavour(), tmp_path, [sys.executable, "-u", "-c", HEAD + body])


def test_a_program_gets_two_servers_and_a_restart_with_the_data_kept(tmp_path: Path) -> None:
    body = f"""
def answer(port, password):
    with redis.Redis(host, int(port), password=password) as client:
        return client.incr("runs")
print("1..3")
print("ok 1 - open" if answer(os.environ["{OPEN_PORT_VARIABLE}"], None) else "not ok 1 - open")
print("ok 2 - first" if answer(port, "{PASSWORD}") == 1 else "not ok 2 - first")
print("# RESTART")
sys.stdin.readline()
print("ok 3 - second" if answer(port, password) == 2 else "not ok 3 - second")
"""
    report = ran(tmp_path, body)
    assert {name: check.is_ok for name, check in report.checks.items()} == {"open": True, "first": True, "second": True}


def test_a_program_that_dies_fails_with_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(pytest.fail.Exception, match=r"(?s)the plan says None, 1 checks.*it ended with 3.*it broke"):
        ran(tmp_path, "print('ok 1 - a'); print('it broke', file=sys.stderr); sys.exit(3)")


def test_a_status_that_contradicts_the_checks_fails(tmp_path: Path) -> None:
    with pytest.raises(pytest.fail.Exception, match="it ended with status 1 though every check is ok"):
        ran(tmp_path, "print('1..1'); print('ok 1 - a'); sys.exit(1)")


def test_a_program_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    body = "import subprocess; subprocess.run([sys.executable, '-S', '-c', 'import time; time.sleep(100)'])"
    with pytest.raises(pytest.fail.Exception, match=r"it was stopped after 1\.0 s"):
        ran(tmp_path, body, timeout_s=1.0)
