from __future__ import annotations

import pytest

from tests.clients.harness.table import Row
from tests.clients.harness.tap import Check, MalformedTap, parse

HEAD = ["# library some client 1.2.3"]


def test_results_with_details_and_skips() -> None:
    lines = [*HEAD, "ok 1 - one", "not ok 2 - two", "# got 5", "# RESTART", "ok 3 - three # SKIP no such thing", "1..3"]
    report = parse(lines)
    assert (report.library, report.version) == ("some client", "1.2.3")
    assert list(report.checks.values()) == [
        Check("one", True),
        Check("two", False, None, ["got 5"]),
        Check("three", True, "no such thing"),
    ]


def test_the_plan_may_come_first() -> None:
    assert list(parse(["1..1", *HEAD, "ok 1 - a/b of 10,000"]).checks) == ["a/b of 10,000"]


@pytest.mark.parametrize(
    "lines",
    [
        [*HEAD, "ok 1 - one"],
        [*HEAD, "1..2", "ok 1 - one"],
        [*HEAD, "1..2", "ok 1 - one", "ok 2 - one"],
        [*HEAD, "1..2", "ok 1 - one", "ok 3 - two"],
        [*HEAD, "1..1", "ok 1 - one", "Segmentation fault"],
        ["1..1", "ok 1 - one"],
    ],
)
def test_malformed(lines: list[str]) -> None:
    with pytest.raises(MalformedTap):
        parse(lines)


def test_a_row_covers_the_versions_that_begin_with_its_components() -> None:
    assert Row("4.8", "none").covers("4.8.1")
    assert Row("4.8", "none").covers("4.8")
    assert not Row("4.8", "none").covers("4.80")
