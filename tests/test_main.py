"""The console script: information and errors before any server starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from diskkv import __main__, __version__


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main(["--version"]) == 0
    assert __version__ in capsys.readouterr().out
    assert __main__.main(["--help"]) == 0
    assert "--appendfsync" in capsys.readouterr().out


def test_check_config(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "r.conf"
    path.write_text("port 7000\n")
    assert __main__.main(["--check-config", str(path)]) == 0
    assert str(path) in capsys.readouterr().out
    path.write_text("port x\n")
    assert __main__.main(["--check-config", str(path)]) == 1
    assert "line 1: 'port x'" in capsys.readouterr().err


def test_a_bad_option_is_one_line_and_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main(["--prot", "1"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--tls-port", "1", "--tls-cert-file", "/nonexistent", "--tls-auth-clients", "no"), "/nonexistent"),
        (("--rename-command", "NOSUCH", "x"), "No such command"),
        (("--user", "alice", "+nosuch"), "nosuch"),
        (("--aclfile", "/nonexistent"), "/nonexistent"),
        (("--port", "0"), "nothing to listen on"),
        (("--logfile", "/nonexistent/log"), "/nonexistent"),
        (("--dir", f"{__file__}/data"), "is no directory to write to"),
    ],
)
def test_check_config_finds_what_a_start_would(
    options: tuple[str, ...], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    assert __main__.main(["--check-config", "--dir", str(data)]) == 0
    capsys.readouterr()
    assert __main__.main(["--check-config", "--dir", str(data), *options]) == 1
    complaint = capsys.readouterr().err
    assert message in complaint
    assert complaint.count("\n") == 1
    assert not data.exists()
