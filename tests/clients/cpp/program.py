"""C++: hiredis 1.x behind a class that throws, because no registry that is used here carries redis-plus-plus."""

from __future__ import annotations

from pathlib import Path

from tests.clients.c import hiredis
from tests.clients.harness.programs import Program
from tests.clients.harness.toolchains import build, tool

SOURCE = Path(__file__).with_name("client.cpp")
FLAGS = ("-std=c++17", "-O0", "-Wall", "-Wextra", "-Werror", "-pthread")


def command(directory: Path) -> list[Path]:
    """Compiled against the current release."""
    include, library = hiredis.library()
    build([tool("c++", "g++"), *FLAGS, f"-I{include}", SOURCE, "-o", "client", library], directory)
    return [directory / "client"]


PROGRAMS = [Program("C++", "hiredis", command)]
