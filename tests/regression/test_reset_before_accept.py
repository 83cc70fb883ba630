"""A client that reset its connection before it was accepted ended the server."""

from __future__ import annotations

import socket
import struct

from diskkv.server import listeners
from diskkv.server.reactor import Reactor
from tests.commands.session import Session


def test_a_connection_that_is_reset_already_is_accepted() -> None:
    reactor = Reactor(Session().instance)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        client = socket.create_connection(listener.getsockname())
        name = client.getsockname()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        listeners.accept_all(reactor, listeners.Listener(listener, "tcp", listener.getsockname()))
    (connection,) = reactor.connections.values()
    assert connection.address == f"127.0.0.1:{name[1]}"
    while reactor.connections:
        reactor.turn(reactor.epoll.poll(10))
    reactor.close()
