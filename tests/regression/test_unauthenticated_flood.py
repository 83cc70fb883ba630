"""Without a password, a client that reads no replies made the server hold megabytes of errors, and then of input."""

from __future__ import annotations

import contextlib
import socket

from diskkv.server.reactor import Reactor
from tests.commands.session import Session


def test_it_is_disconnected_early() -> None:
    session = Session()
    session.instance.login.configure()
    assert session.run("CONFIG SET requirepass secret") == "OK"
    reactor = Reactor(session.instance)
    ours, theirs = socket.socketpair()
    with ours:
        ours.setblocking(False)
        theirs.setblocking(False)
        connection = reactor.adopt(theirs, "", "")
        held_bytes = 0
        sent = 0
        while reactor.connections and sent < 100 << 20:
            # A stalled buffer is no end: the server goes on reading.
            with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
                sent += ours.send(b"PING\r\n" * 10_000)
            reactor.turn(reactor.epoll.poll(0))
            if reactor.connections:
                held_bytes = max(held_bytes, connection.input_bytes + connection.output_bytes)
    assert not reactor.connections
    assert sent < 1 << 20
    assert held_bytes < 1 << 17
    assert session.instance.stats.output_buffer_limit_disconnections == 1
    reactor.close()
