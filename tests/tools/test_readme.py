"""README.md is what its generator makes, and names the commands that CI runs."""

from __future__ import annotations

from tools.readme import README, render


def test_generated_parts_are_current() -> None:
    text = README.read_text()
    assert render(text) == text, "run python -m tools.readme"
