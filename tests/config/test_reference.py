"""The generated reference covers the table and is valid Markdown."""

from __future__ import annotations

from diskkv.config import PARAMETERS, render_markdown


def test_markdown_has_a_row_for_every_parameter() -> None:
    lines = render_markdown().splitlines()
    rows = [line for line in lines if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == [parameter.name for parameter in PARAMETERS]
    assert {row.replace("\\|", "").count("|") for row in rows} == {6}


def test_defaults_are_shown_as_one_would_write_them() -> None:
    text = render_markdown()
    assert "| `cache-size` | memory size | `64mb` | live |" in text
    assert "| `dir` | path | `./data` | at start |" in text
    assert "`save 3600" not in text and "`3600 1; 300 100; 60 10000`" in text
