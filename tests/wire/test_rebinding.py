"""CONFIG SET port and bind: new listeners at once; the reference's errors, and the old ones kept, when that fails."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.harness.servers import ServerProcess, reference_flavour, subject_flavour
from tests.harness.tls import free_port
from tests.harness.wire import ErrorReply, Simple, Wire

OK = Simple(b"OK")


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess(subject_flavour(), tcp=True) as process:
        yield process


@pytest.fixture
def wire(server: ServerProcess) -> Iterator[Wire]:
    with server.connect() as connection:
        yield connection


def answers(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server answers there."""
    try:
        with Wire((host, port)) as wire:
            return bool(wire.call("PING") == Simple(b"PONG"))
    except ConnectionRefusedError:
        return False


def test_another_port(server: ServerProcess, wire: Wire) -> None:
    """Connections that are open go on; the old port is closed."""
    port = free_port()
    with server.connect_tcp() as existing:
        assert existing.call("CONFIG", "SET", "port", str(port)) == OK
        assert answers(port)
        assert not answers(server.port)
        assert existing.call("CONFIG", "GET", "port") == [b"port", b"%d" % port]
    assert wire.call("CONFIG", "SET", "port", "0") == OK
    assert not answers(port)
    assert wire.call("CONFIG", "SET", "port", str(server.port)) == OK
    assert answers(server.port)


def test_other_addresses(server: ServerProcess, wire: Wire) -> None:
    """From one address to several, to all (which needs the first one closed before), and back."""
    for addresses, reached in (
        ("127.0.0.1 127.0.0.2", {"127.0.0.1", "127.0.0.2"}),
        ("127.0.0.2 -203.0.113.1", {"127.0.0.2"}),
        ("*", {"127.0.0.1", "127.0.0.2"}),
        ("127.0.0.1", {"127.0.0.1"}),
    ):
        assert wire.call("CONFIG", "SET", "bind", addresses) == OK
        assert {host for host in ("127.0.0.1", "127.0.0.2") if answers(server.port, host)} == reached


def failure(process: ServerProcess, name: str, value: str) -> tuple[object, object]:
    """What CONFIG SET answers, and the value afterwards."""
    with process.connect() as wire:
        return wire.call("CONFIG", "SET", name, value), wire.call("CONFIG", "GET", name)


def test_a_busy_port_changes_nothing(server: ServerProcess) -> None:
    with ServerProcess(reference_flavour(), tcp=True) as reference, socket.create_server(("127.0.0.1", 0)) as busy:
        port = str(busy.getsockname()[1])
        ours, shown = failure(server, "port", port)
        theirs, _ = failure(reference, "port", port)
    assert ours == theirs
    assert isinstance(ours, ErrorReply)
    assert shown == [b"port", b"%d" % server.port]
    assert answers(server.port)


def test_an_address_that_is_not_there_changes_nothing(server: ServerProcess) -> None:
    with ServerProcess(reference_flavour(), tcp=True) as reference:
        ours, shown = failure(server, "bind", "203.0.113.1")
        theirs, _ = failure(reference, "bind", "203.0.113.1")
    assert ours == theirs
    assert isinstance(ours, ErrorReply)
    assert shown == [b"bind", b"127.0.0.1"]
    assert answers(server.port)


def test_a_port_that_is_busy_on_one_address_only(server: ServerProcess, wire: Wire) -> None:
    """The change from one address to all has to close the first; when it fails, that one is there again."""
    with socket.create_server(("127.0.0.2", server.port)):
        assert isinstance(wire.call("CONFIG", "SET", "bind", "0.0.0.0"), ErrorReply)
        assert answers(server.port)
    assert wire.call("CONFIG", "SET", "bind", "0.0.0.0") == OK
    assert wire.call("CONFIG", "SET", "bind", "127.0.0.1") == OK
