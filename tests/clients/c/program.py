"""C: Debian's hiredis, which reads RESP2 only, and hiredis 1.x; compiled with the system's compiler."""

from __future__ import annotations

from pathlib import Path

from tests.clients.c import hiredis
from tests.clients.harness.programs import Program
from tests.clients.harness.toolchains import build, require, tool

SOURCE = Path(__file__).with_name("client.c")
FLAGS = ("-std=c11", "-D_GNU_SOURCE", "-O1", "-Wall", "-Wextra", "-Werror")


def installed(directory: Path) -> list[Path]:
    """Against the installed library."""
    compiler = tool("cc", "gcc")
    probe = directory / "probe.c"
    probe.write_text("#include <hiredis/hiredis.h>\n#if HIREDIS_MAJOR > 0\n#error newer\n#endif\n")
    require("hiredis 0.x (libhiredis-dev of Debian 12)", compiler, "-fsyntax-only", str(probe))
    build([compiler, *FLAGS, SOURCE, "-o", "client", "-lhiredis"], directory)
    return [directory / "client"]


def current(directory: Path) -> list[Path]:
    """Against the current release."""
    include, library = hiredis.library()
    build([tool("cc", "gcc"), *FLAGS, f"-I{include}", SOURCE, "-o", "client", library], directory)
    return [directory / "client"]


PROGRAMS = [
    Program("C", "hiredis", current),
    Program(
        "C", "hiredis of Debian", installed, lacks={"RESP3": "hiredis reads RESP3 from 1.0 on, Debian 12 has 0.14"}
    ),
]
