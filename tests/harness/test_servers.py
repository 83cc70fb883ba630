"""Servers start, stop, and leave nothing behind; one that dies says why."""

from __future__ import annotations

import os

import pytest

from tests.harness.servers import ServerDied, ServerProcess, redis_8, running
from tests.harness.wire import Simple


def test_a_server_that_cannot_start_shows_its_log() -> None:
    server = ServerProcess(redis_8(), ("--no-such-option", "yes"))
    try:
        with pytest.raises(ServerDied, match="no-such-option"):
            server.start()
    finally:
        server.close()
    assert not server.directory.exists()


def test_data_survive_kill_and_restart_and_vanish_at_the_end() -> None:
    with running(redis_8(), durable=True, tcp=True) as server:
        with server.connect() as wire:
            assert wire.call("SET", "k", "v") == Simple(b"OK")
        port, pid = server.port, server.pid
        server.kill_and_restart()
        assert server.port == port and server.pid != pid
        with server.connect_tcp() as wire:
            assert wire.call("GET", "k") == b"v"
        server.restart()
        with server.connect() as wire:
            assert wire.call("GET", "k") == b"v"
        pid = server.pid
    assert not server.directory.exists()
    assert not os.path.exists(f"/proc/{pid}")
