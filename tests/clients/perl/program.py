"""Perl: the modules Redis and Redis::Fast, which share their interface, from Debian's packages."""

from __future__ import annotations

from pathlib import Path

from tests.clients.harness.programs import Program
from tests.clients.harness.toolchains import require, tool

SOURCE = Path(__file__).with_name("client.pl")
MODULES = {"Redis": "libredis-perl", "Redis::Fast": "libredis-fast-perl"}


def _program(module: str, package: str) -> Program:
    def command(directory: Path) -> list[str | Path]:
        perl = tool("perl")
        require(package, perl, f"-M{module}", "-e", "1")
        return [perl, SOURCE]

    lacks = {"RESP3": "the module speaks RESP2 only"}
    return Program("Perl", module, command, lacks=lacks, environment={"DISKKV_CLIENT_CLASS": module})


PROGRAMS = [_program(module, package) for module, package in MODULES.items()]
