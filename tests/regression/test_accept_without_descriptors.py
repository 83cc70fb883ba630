"""A listener that could not accept for want of file descriptors kept the loop busy and filled the log."""

from __future__ import annotations

import errno
import logging
import resource
import socket
from typing import cast

import pytest

from diskkv.config import Config
from diskkv.server import main
from diskkv.server.listeners import Listener
from diskkv.server.reactor import Reactor
from tests.commands.session import Session


class _Exhausted:
    """A listener whose process has no file descriptor left for what it would accept."""

    def __init__(self, listener: socket.socket) -> None:
        self.fileno = listener.fileno
        self.close = listener.close

    def accept(self) -> None:
        raise OSError(errno.EMFILE, "Too many open files")


def test_it_rests_and_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    reactor = Reactor(Session().instance)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        exhausted = cast(socket.socket, _Exhausted(listener))
        reactor.listen(Listener(exhausted, "tcp", listener.getsockname()))
        with socket.create_connection(listener.getsockname()), caplog.at_level(logging.WARNING):
            for _ in range(3):
                events = reactor.epoll.poll(5)
                assert events
                reactor.turn(events)
                assert reactor.epoll.poll(0) == []
                reactor.wake_listeners()
        assert len(caplog.records) == 1
        reactor.close()


def test_clients_leave_files_for_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config()
    monkeypatch.setattr(resource, "getrlimit", lambda what: (1024, 1024))
    monkeypatch.setattr(resource, "setrlimit", lambda what, limits: None)
    main._raise_file_limit(config)
    assert config.maxclients == 1024 - 204 - 64
