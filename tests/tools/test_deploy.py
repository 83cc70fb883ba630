"""The files in tools/deploy: what they name exists, and their command lines are ones that the server takes."""

from __future__ import annotations

import configparser
import importlib.util
import json
import re
import shlex
import socket
import threading
from pathlib import Path

import pytest

from diskkv.config import parse_command_line
from tests.harness.servers import running, subject_flavour
from tools.deploy import healthcheck

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "tools" / "deploy"


def unit() -> dict[str, dict[str, str]]:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(DEPLOY / "diskkv.service")
    return {name: dict(section) for name, section in parser.items()}


def test_the_systemd_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = unit()["Service"]
    assert service["Type"] == "notify"
    assert service["ExecReload"].endswith("-HUP $MAINPID")
    conf = tmp_path / "diskkv.conf"
    conf.write_text("port 7000\n")
    program, path, *options = shlex.split(service["ExecStart"])
    assert program.endswith("/diskkv-server") and path.startswith("/etc/diskkv/")
    config = parse_command_line([str(conf), *options]).config
    assert (config.supervised, config.daemonize, config.dir) == ("systemd", False, "/var/lib/diskkv")
    program, *options = shlex.split(service["ExecStartPre"])
    assert parse_command_line([str(conf) if each == path else each for each in options]).action == "check-config"


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n\s*", " ", (DEPLOY / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines]


def test_the_dockerfile() -> None:
    found = instructions()
    names = [name for name, _ in found]
    assert set(names) <= {
        "FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "VOLUME", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT",
    }  # fmt: skip
    for name, arguments in found:
        if name == "COPY" and not arguments.startswith("--from"):
            for source in arguments.split()[:-1]:
                assert (ROOT / source).exists()
                assert f"!{source.removeprefix('./')}" in (DEPLOY / "Dockerfile.dockerignore").read_text().split()
    last = dict(found)
    assert last["USER"] not in ("root", "0", "0:0")
    program, *options = json.loads(last["ENTRYPOINT"])
    assert program == "diskkv-server"
    config = parse_command_line(options).config
    assert (config.dir, config.bind, config.protected_mode) == ("/data", ("*",), False)
    python, dash_m, module = json.loads(last["HEALTHCHECK"].partition("CMD ")[2])
    assert (python, dash_m) == ("python", "-m")
    assert importlib.util.find_spec(module) is not None


def test_the_health_check_of_a_server(capsys: pytest.CaptureFixture[str]) -> None:
    with running(subject_flavour(), tcp=True) as server:
        assert healthcheck.main([server.socket_path]) == 0
        assert healthcheck.main([f"127.0.0.1:{server.port}"]) == 0
        with server.connect() as wire:
            wire.call("CONFIG", "SET", "requirepass", "secret")
        assert healthcheck.main([server.socket_path]) == 0
    assert healthcheck.main([server.socket_path]) == 1
    assert "not well" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("reply", "trouble"), [(b"-LOADING later\r\n", "-LOADING later"), (b"", "the connection was closed")]
)
def test_the_health_check_of_what_is_not_well(reply: bytes, trouble: str) -> None:
    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(100)
            connection.sendall(reply)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        assert healthcheck.probe(f"127.0.0.1:{listener.getsockname()[1]}") == trouble
        thread.join()
    assert healthcheck.probe("127.0.0.1:x")
