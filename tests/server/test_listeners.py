"""Listening sockets: who is let in, and the permissions of the unix socket."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from diskkv.config import Config
from diskkv.errors import ConfigError
from diskkv.server import listeners
from diskkv.server.listeners import Listeners
from diskkv.server.reactor import Reactor
from tests.commands.session import Session


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("::ffff:127.0.0.1", True), ("10.0.0.1", False),
        ("::ffff:10.0.0.1", False), ("fe80::1", False), ("128.0.0.1", False),
    ],
)  # fmt: skip
def test_protected_mode(host: str, is_local: bool) -> None:
    """Without a password only clients on this machine are served, unless that is switched off."""
    session = Session()
    reactor = Reactor(session.instance)
    with socket.socket() as sock:
        refusal = listeners._refusal(reactor, sock, (host, 1234))
        assert (refusal is None) == is_local
        assert is_local or (refusal is not None and refusal.startswith(b"-DENIED "))
        session.run("CONFIG SET protected-mode no")
        assert listeners._refusal(reactor, sock, (host, 1234)) is None
        session.run("CONFIG SET protected-mode yes")
        session.run("ACL SETUSER default >secret")
        assert listeners._refusal(reactor, sock, (host, 1234)) is None
    reactor.close()


def test_protected_mode_lets_unix_sockets_in() -> None:
    reactor = Reactor(Session().instance)
    with socket.socket(socket.AF_UNIX) as sock:
        assert listeners._refusal(reactor, sock, ("", 0)) is None
    reactor.close()


def unix_only(path: Path, permissions: int) -> Config:
    config = Config()
    config.port = 0
    config.unixsocket = str(path)
    config.unixsocketperm = permissions
    return config


@pytest.mark.parametrize("permissions", [0o700, 0o777, 0o660])
def test_permissions_of_the_unix_socket(tmp_path: Path, permissions: int) -> None:
    path = tmp_path / "s"
    opened = Listeners(unix_only(path, permissions))
    opened.open()
    assert stat.S_IMODE(path.stat().st_mode) == permissions
    opened.close()


def test_the_umask_decides_without_permissions(tmp_path: Path) -> None:
    path = tmp_path / "s"
    before = os.umask(0o027)
    try:
        opened = Listeners(unix_only(path, 0))
        opened.open()
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o750
    opened.close()


def test_what_is_in_the_place_of_a_unix_socket(tmp_path: Path) -> None:
    """A socket file left over is replaced; one that is in use, or a file of another kind, is an error."""
    path = tmp_path / "s"
    for _ in range(2):
        opened = Listeners(unix_only(path, 0))
        opened.open()
        with pytest.raises(ConfigError, match="already in use"):
            Listeners(unix_only(path, 0)).open()
        opened.close()
    path.unlink()
    path.write_text("precious")
    with pytest.raises(ConfigError, match="cannot listen"):
        Listeners(unix_only(path, 0)).open()
    assert path.read_text() == "precious"


def test_nothing_to_listen_on() -> None:
    config = Config()
    config.port = 0
    with pytest.raises(ConfigError, match="nothing to listen on"):
        Listeners(config).open()


def test_an_address_with_a_dash_may_be_missing() -> None:
    config = Config()
    config.bind = ("127.0.0.1", "-203.0.113.1")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        config.port = probe.getsockname()[1]
    opened = Listeners(config)
    opened.open()
    assert opened.places == [f"127.0.0.1:{config.port}"]
    opened.close()
    config.bind = ("203.0.113.1",)
    with pytest.raises(ConfigError, match=r"cannot listen on 203\.0\.113\.1"):
        Listeners(config).open()
