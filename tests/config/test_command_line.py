"""The command line as redis-server takes it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from diskkv import __version__
from diskkv.config import PARAMETERS, parse_command_line
from diskkv.errors import ConfigError


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], {"port": 6379}),
        (["--port", "7000", "--loglevel", "verbose"], {"port": 7000, "loglevel": "verbose"}),
        (["--PORT", "7000"], {"port": 7000}),
        (["--port=7000", "--appendfsync=always"], {"port": 7000, "appendfsync": "always"}),
        (["--port 7000"], {"port": 7000}),
        (["--save", "", "--port", "1"], {"save": (), "port": 1}),
        (["--save", "--port", "1"], {"save": (), "port": 1}),
        (["--port", "1", "--save"], {"save": (), "port": 1}),
        (["--save="], {"save": ()}),
        (["--save", "900", "1", "300", "10"], {"save": ((900, 1), (300, 10))}),
        (["--save", "900 1", "--save", "300", "10"], {"save": ((900, 1), (300, 10))}),
        (["--bind", "127.0.0.1", "::1", "--port", "1"], {"bind": ("127.0.0.1", "::1"), "port": 1}),
        (["--bind", "--port", "1"], {"bind": (), "port": 1}),
        (["--bind", ""], {"bind": ()}),
        (["--requirepass", "--port"], {"requirepass": "--port"}),
        (["--requirepass", "a=b c"], {"requirepass": "a=b c"}),
        (["--requirepass=a=b"], {"requirepass": "a=b"}),
        (["--logfile", ""], {"logfile": ""}),
        (["--dir", ":memory:"], {"dir": ":memory:"}),
        (["--dir", "/tmp/../tmp/x"], {"dir": "/tmp/x"}),
        (["--slave-priority", "5"], {"replica_priority": 5}),
        (
            ["--rename-command", "GET", "", "--user", "a", "on"],
            {"rename_command": (("GET", ""),), "user": (("a", "on"),)},
        ),
    ],
)
def test_options(arguments: list[str], expected: dict[str, object]) -> None:
    invocation = parse_command_line(arguments)
    assert invocation.action == "run"
    assert {name: getattr(invocation.config, name) for name in expected} == expected
    assert invocation.config.config_file == ""


def test_options_win_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "r.conf").write_text("port 1\ntimeout 5\n")
    monkeypatch.chdir(tmp_path)
    config = parse_command_line(["r.conf", "--port", "2"]).config
    assert (config.port, config.timeout) == (2, 5)
    assert config.config_file == str(tmp_path / "r.conf")


@pytest.mark.parametrize("arguments", [["-"], ["FILE", "-"], ["-", "--port", "3"], ["FILE", "--port", "3", "-"]])
def test_lines_from_standard_input(tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "r.conf").write_text("timeout 5\nport 1\n")
    arguments = [str(tmp_path / "r.conf") if argument == "FILE" else argument for argument in arguments]
    config = parse_command_line(arguments, io.StringIO("timeout 6\nport 2\n")).config
    assert (config.timeout, config.port) == (6, 3 if "--port" in arguments else 2)


def test_includes_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "a.inc").write_text("port 8\n")
    assert parse_command_line(["--include", str(tmp_path / "a.inc")]).config.port == 8


@pytest.mark.parametrize(
    "arguments", [["--check-config"], ["--check-config", "--port", "1"], ["--port", "1", "--check-config"]]
)
def test_check_config(arguments: list[str]) -> None:
    assert parse_command_line(arguments).action == "check-config"


@pytest.mark.parametrize("argument", ["--version", "-v"])
def test_version(argument: str) -> None:
    invocation = parse_command_line([argument])
    assert invocation.action == "version"
    assert __version__ in invocation.text


@pytest.mark.parametrize("argument", ["--help", "-h"])
def test_help_lists_every_parameter(argument: str) -> None:
    invocation = parse_command_line([argument])
    assert invocation.action == "help"
    words = set(invocation.text.replace(",", "").split())
    for parameter in PARAMETERS:
        assert (parameter.name if parameter.ignored else f"--{parameter.name}") in words
    assert max(map(len, invocation.text.splitlines())) <= 120


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "abc"], "*** FATAL OPTION ERROR *** '--port abc': argument couldn't be parsed into an integer"),
        (["--prot", "1"], "*** FATAL OPTION ERROR *** '--prot 1': unknown option, did you mean 'port'?"),
        (["--port"], "*** FATAL OPTION ERROR *** '--port': wrong number of arguments"),
        (["--port", "1", "2"], "*** FATAL OPTION ERROR *** '--port 1 2': wrong number of arguments"),
        (["--port", "--timeout", "1"], "*** FATAL OPTION ERROR *** '--port --timeout 1': wrong number of arguments"),
        (["--requirepass", "a", "b"], "*** FATAL OPTION ERROR *** '--requirepass': wrong number of arguments"),
        (["-p", "1"], "bad argument '-p': options begin with --, and the configuration file comes first"),
        (["/nonexistent.conf"], "can't open config file '/nonexistent.conf': No such file or directory"),
        (["--"], "*** FATAL OPTION ERROR *** '--\"\"': unknown option"),
    ],
)
def test_errors(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_command_line(arguments)
    assert str(raised.value) == message
