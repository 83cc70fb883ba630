"""Reads what a program prints: TAP, with the library's name and version in a comment."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

RESTART = "# RESTART"
_RESULT = re.compile(r"(not )?ok\b\s*(\d+)\s*-\s*(.*?)\s*(?:#\s*SKIP\b\s*(.*))?$")
_PLAN = re.compile(r"1\.\.(\d+)$")
_LIBRARY = re.compile(r"# library (.+) (\S+)$")


class MalformedTap(AssertionError):
    """The output of a program is no complete TAP stream."""


@dataclass
class Check:
    """One result line with the comment lines that follow it; `skipped` is the reason, when there is one."""

    name: str
    is_ok: bool
    skipped: str | None = None
    details: list[str] = field(default_factory=list)


@dataclass
class Report:
    """What a whole run said.

    Args:
        checks: By name, in the order of the output.
        library: The name of the client library.
        version: Its version.
    """

    checks: dict[str, Check]
    library: str
    version: str


def parse(lines: Iterable[str]) -> Report:
    """Read a complete run.

    Raises:
        MalformedTap: There is no plan, it does not fit the results, a check stands twice, a line is no TAP, or no line
            names the library.
    """
    checks: dict[str, Check] = {}
    planned: int | None = None
    library: tuple[str, str] | None = None
    last: Check | None = None
    for line in lines:
        if match := _RESULT.match(line):
            last = Check(match[3], match[1] is None, match[4])
            if int(match[2]) != len(checks) + 1:
                raise MalformedTap(f"result number {match[2]} comes after {len(checks)} results: {line!r}")
            if last.name in checks:
                raise MalformedTap(f"{last.name!r} is reported twice")
            checks[last.name] = last
        elif match := _PLAN.match(line):
            planned = int(match[1])
        elif match := _LIBRARY.match(line):
            library = match[1], match[2]
        elif line.startswith("#"):
            if last is not None and line != RESTART:
                last.details.append(line[1:].strip())
        elif line:
            raise MalformedTap(f"this line is no TAP: {line!r}")
    if planned is None or planned != len(checks):
        raise MalformedTap(f"the plan says {planned}, {len(checks)} checks were reported: {', '.join(checks)}")
    if library is None:
        raise MalformedTap("no line names the library and its version")
    return Report(checks, *library)
