"""Of a long pipeline whose sender shut its side down (cat commands | nc), the end was not executed."""

from __future__ import annotations

import socket

from diskkv.server.reactor import Reactor
from tests.commands.session import Session

_REQUESTS = 9000


def _serve(reactor: Reactor) -> None:
    """Run turns until the server has closed every connection."""
    turns = 0
    while reactor.connections:
        turns += 1
        assert turns < 1000
        events = reactor.epoll.poll(0 if reactor._unfinished else 5)
        reactor.turn(events)


def _sent_and_shut(reactor: Reactor, data: bytes) -> bytes:
    """Everything that the server answers to `data` and the end of input before it closes the connection."""
    ours, theirs = socket.socketpair()
    with ours:
        ours.settimeout(10)
        theirs.setblocking(False)
        reactor.adopt(theirs, "", "")
        ours.sendall(data)
        ours.shutdown(socket.SHUT_WR)
        _serve(reactor)
        return b"".join(iter(lambda: ours.recv(1 << 16), b""))


def test_all_requests_are_executed_and_answered() -> None:
    session = Session()
    reactor = Reactor(session.instance)
    answer = _sent_and_shut(reactor, b"INCR n\r\n" * _REQUESTS)
    assert answer.count(b"\r\n") == _REQUESTS
    assert session.run("GET n") == f'"{_REQUESTS}"'
    reactor.close()


def test_what_it_waits_for_ends_the_connection() -> None:
    session = Session()
    reactor = Reactor(session.instance)
    answer = _sent_and_shut(reactor, b"PING\r\n" * _REQUESTS + b"BLPOP l 0\r\n")
    assert answer == b"+PONG\r\n" * _REQUESTS
    assert session.instance.blocking.count == 0
    reactor.close()
