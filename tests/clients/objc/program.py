"""Objective-C: hiredis 1.x behind a class that uses GNUstep's Foundation, compiled with gcc."""

from __future__ import annotations

from pathlib import Path

from tests.clients.c import hiredis
from tests.clients.harness.programs import Program
from tests.clients.harness.toolchains import build, require, tool

SOURCE = Path(__file__).with_name("client.m")
FLAGS = (
    *("-std=gnu11", "-O0", "-Wall", "-Wextra", "-Wno-import", "-Werror", "-pthread"),
    *("-fexceptions", "-fobjc-exceptions", "-fconstant-string-class=NSConstantString"),
    *("-DGNUSTEP", "-DGNUSTEP_BASE_LIBRARY=1", "-DGNU_RUNTIME=1", "-D_NATIVE_OBJC_EXCEPTIONS"),
    "-isystem/usr/include/GNUstep",
)
LIBRARIES = ("-lgnustep-base", "-lobjc")


def command(directory: Path) -> list[Path]:
    """Compiled against the current release."""
    compiler = tool("gcc")
    empty = directory / "empty.m"
    empty.write_text("#import <Foundation/Foundation.h>\nint main(void) { return 0; }\n")
    require("gobjc or libgnustep-base-dev", compiler, *FLAGS, str(empty), "-o", str(directory / "empty"), *LIBRARIES)
    include, library = hiredis.library()
    build([compiler, *FLAGS, f"-I{include}", SOURCE, "-o", "client", library, *LIBRARIES], directory)
    return [directory / "client"]


PROGRAMS = [Program("Objective-C", "hiredis", command)]
