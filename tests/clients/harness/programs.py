"""The programs of all languages, found by their `program.py`."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

CLIENTS = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Program:
    """One client library in one language.

    Args:
        language: As README.md's table calls it.
        library: As `# library` and README.md's table call it.
        command: Gets an empty directory; checks for the toolchain (`toolchains.tool`, `require`), compiles into the
            directory when that is needed, and returns the command line up to the four arguments.
        lacks: The checks that the library cannot make, with the reason; the program reports just these as skipped.
        environment: Added to the program's environment.
        timeout_s: For one run against one server; a few seconds are what it takes on an idle machine.
    """

    language: str
    library: str
    command: Callable[[Path], Sequence[str | Path]]
    lacks: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 120.0

    def __str__(self) -> str:
        return f"{self.language}-{self.library}".replace(" ", "-")


def all_programs() -> list[Program]:
    """What every `PROGRAMS` lists, by language and library."""
    programs: list[Program] = []
    for path in sorted(CLIENTS.glob("*/program.py")):
        module = importlib.import_module(f"tests.clients.{path.parent.name}.program")
        programs += module.PROGRAMS
    return sorted(programs, key=lambda program: (program.language, program.library))
