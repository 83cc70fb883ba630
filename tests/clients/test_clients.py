"""Every client library against a real server, which shows that the program is right, and then against diskkv."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.harness import toolchains
from tests.clients.harness.checks import CHECKS
from tests.clients.harness.programs import Program, all_programs
from tests.clients.harness.run import run
from tests.clients.harness.table import rows
from tests.harness.servers import reference_flavour, subject_flavour

PROGRAMS = all_programs()


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_client(program: Program, tmp_path: Path, subtests: pytest.Subtests) -> None:
    build_directory = tmp_path / "build"
    build_directory.mkdir()
    command = program.command(build_directory)
    for flavour in (reference_flavour(), subject_flavour()):
        report = run(program, flavour, tmp_path / flavour.name, command)
        assert report.library == program.library
        assert sorted(report.checks) == sorted(CHECKS)
        skipped = [name for name, check in report.checks.items() if check.skipped is not None]
        assert sorted(skipped) == sorted(program.lacks)
        for name, check in report.checks.items():
            if name not in program.lacks:
                with subtests.test(f"{program.language}, {program.library}, {flavour.name}: {name}"):
                    assert check.is_ok, "\n".join(check.details)
        failed = [name for name, check in report.checks.items() if not check.is_ok]
        assert not failed, f"with {flavour.name}"
    if toolchains.all_required():  # elsewhere the system's packages may be of other versions
        with subtests.test(f"{program.language}, {program.library}: version in the README's table"):
            row = rows()[program.language, program.library]
            assert row.covers(report.version), f"the table says {row.version}, this is {report.version}"


def test_table_lists_the_programs() -> None:
    assert sorted(rows()) == sorted((program.language, program.library) for program in PROGRAMS)


@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_table_tells_what_is_lacking(program: Program) -> None:
    assert set(program.lacks) <= set(CHECKS)
    text = rows()[program.language, program.library].lacks
    assert text == (", ".join(name for name in CHECKS if name in program.lacks) or "none")
