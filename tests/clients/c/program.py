"""C: hiredis, compiled with the system's compiler."""

from __future__ import annotations

from pathlib import Path

from tests.clients.harness.programs import Program
from tests.clients.harness.toolchains import build, require, tool

SOURCE = Path(__file__).with_name("client.c")


def command(directory: Path) -> list[Path]:
    compiler = tool("cc", "gcc")
    require("libhiredis-dev", compiler, "-include", "hiredis/hiredis.h", "-fsyntax-only", "-x", "c", "/dev/null")
    flags = ["-std=c11", "-D_GNU_SOURCE", "-O1", "-Wall", "-Wextra", "-Werror"]
    build([compiler, *flags, SOURCE, "-o", "client", "-lhiredis"], directory)
    return [directory / "client"]


PROGRAMS = [
    Program("C", "hiredis", command, lacks={"RESP3": "hiredis reads RESP3 from 1.0 on, Debian 12 has 0.14"}),
]
