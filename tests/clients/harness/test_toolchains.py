from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.clients.harness import toolchains

Skipped = pytest.skip.Exception
Failed = pytest.fail.Exception


def test_a_missing_tool_skips_and_tells_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(toolchains.REQUIRE_VARIABLE, raising=False)
    with pytest.raises(Skipped, match="nosuchcc or nosuchgcc is not installed"):
        toolchains.tool("nosuchcc", "nosuchgcc")


def test_a_missing_tool_fails_where_every_language_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(toolchains.REQUIRE_VARIABLE, "1")
    with pytest.raises(Failed, match="nosuchcc is not installed"):
        toolchains.tool("nosuchcc")
    with pytest.raises(Failed, match="libnosuch is not installed"):
        toolchains.require("libnosuch", sys.executable, "-S", "-c", "raise SystemExit(1)")


def test_build_shows_what_the_compiler_says(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="no such header"):
        toolchains.build([sys.executable, "-S", "-c", "raise SystemExit('no such header')"], tmp_path)


def test_shared_is_made_once_and_only_when_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchains, "shared_root", tmp_path)
    made: list[Path] = []

    def fail(directory: Path) -> None:
        (directory / "half").touch()
        raise OSError

    def make(directory: Path) -> None:
        made.append(directory)
        (directory / "whole").touch()

    with pytest.raises(OSError):
        toolchains.shared("thing", fail)
    first = toolchains.shared("thing", make)
    assert toolchains.shared("thing", make) == first
    assert len(made) == 1
    assert [path.name for path in first.iterdir()] == ["whole"]
