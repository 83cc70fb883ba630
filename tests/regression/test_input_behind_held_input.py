"""Behind a long reply, the rest of a request overtook its beginning: "unknown command" in the middle of a value."""

from __future__ import annotations

import socket

from diskkv.server.reactor import Reactor
from tests.commands.session import Session

_SIZE_BYTES = 8 << 20


def test_input_goes_behind_what_was_held_back_until_now() -> None:
    session = Session()
    session.call(b"SET", b"big", b"v" * _SIZE_BYTES)
    reactor = Reactor(session.instance)
    ours, theirs = socket.socketpair()
    with ours:
        ours.setblocking(False)
        theirs.setblocking(False)
        reactor.adopt(theirs, "", "")
        (connection,) = reactor.connections.values()

        def turn() -> bytes:
            reactor.turn(reactor.epoll.poll(0))
            try:
                return ours.recv(1 << 20)
            except BlockingIOError:
                return b""

        ours.send(b"GET big\r\n")
        received = turn()
        assert connection.is_held
        ours.send(b"SET key ")
        while connection.is_held:
            received += turn()
        assert connection.backlog
        ours.send(b"value\r\n")
        while connection.unsent or reactor._unfinished or not received.endswith(b"+OK\r\n"):
            received += turn()
            assert b"-ERR" not in received
        assert len(received) == len(b"$8388608\r\n\r\n+OK\r\n") + _SIZE_BYTES
    assert session.run("GET key") == '"value"'
    reactor.close()
