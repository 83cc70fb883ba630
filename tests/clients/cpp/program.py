"""C++: hiredis 1.x behind a class, and Debian's POCO; no registry that is used here carries redis-plus-plus."""

from __future__ import annotations

from pathlib import Path

from tests.clients.c import hiredis
from tests.clients.harness.programs import Program
from tests.clients.harness.toolchains import build, require, tool

HERE = Path(__file__).parent
FLAGS = ("-std=c++17", "-O0", "-Wall", "-Wextra", "-Werror", "-pthread")


def _compile(compiler: str, header: str, directory: Path, *more: str | Path) -> list[Path]:
    flags = [*FLAGS, f'-DCONNECTION_HEADER="{header}"']
    build([compiler, *flags, HERE / "client.cpp", "-o", "client", *more], directory)
    return [directory / "client"]


def on_hiredis(directory: Path) -> list[Path]:
    """Compiled against the current release."""
    compiler = tool("c++", "g++")
    include, library = hiredis.library()
    return _compile(compiler, "hiredis.hpp", directory, f"-I{include}", library)


def on_poco(directory: Path) -> list[Path]:
    """Against the installed library."""
    compiler = tool("c++", "g++")
    require("libpoco-dev", compiler, "-include", "Poco/Redis/Client.h", "-fsyntax-only", "-x", "c++", "/dev/null")
    return _compile(compiler, "poco.hpp", directory, "-lPocoRedis", "-lPocoNet", "-lPocoFoundation")


PROGRAMS = [
    Program("C++", "hiredis", on_hiredis),
    Program("C++", "Poco::Redis", on_poco, lacks={"RESP3": "Poco::Redis speaks RESP2 only"}),
]
