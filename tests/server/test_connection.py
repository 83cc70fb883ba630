"""Connections over a socket pair, driven by hand: what a failed turn does to replies that are streamed."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from diskkv.commands.registry import Flag, load_all
from diskkv.config import Config
from diskkv.engine.leveldb import LevelDBStore
from diskkv.server.connection import Connection
from diskkv.services.instance import Instance
from tests.harness.wire import encode_command

REFUSAL = b"-MISCONF no\r\n"
ELEMENTS = 20_000
WHOLE = b"*%d\r\n" % ELEMENTS + b"".join(b"$5\r\n%05d\r\n" % number for number in range(ELEMENTS))


class Pair:
    """A connection and the client's end of its socket."""

    def __init__(self, directory: Path) -> None:
        self.store = LevelDBStore(directory)
        self.instance = Instance(Config(), self.store)
        self.instance.use_commands(load_all(), Flag.PLAIN, Flag.SKIP_SLOWLOG)
        self.theirs, mine = socket.socketpair()
        mine.setblocking(False)
        self.theirs.setblocking(False)
        made = self.instance.new_client(lambda instance, ident: Connection(instance, ident, mine, "peer", "local"))
        assert isinstance(made, Connection)
        self.connection = made
        items = [b"%05d" % number for number in range(ELEMENTS)]
        self.send(b"RPUSH list " + b" ".join(items))
        self.end_turn()
        assert self.theirs.recv(100) == b":%d\r\n" % ELEMENTS

    def send(self, *lines: bytes) -> None:
        """Have the connection take and execute these requests."""
        for line in lines:
            assert self.connection.take(encode_command(line.split(b" ")))

    def end_turn(self) -> bool:
        """Commit and send; whether the connection stays."""
        self.instance.engine.commit()
        return self.connection.flush()

    def take_stream(self) -> bytes:
        """Receive until the stream has ended."""
        received = bytearray()
        while self.connection.stream is not None:
            if self.connection.unsent:
                assert self.connection.drain()
            else:
                assert self.connection.pump()
            received += self.receive()
        return bytes(received + self.receive())

    def receive(self) -> bytes:
        """What has arrived."""
        received = bytearray()
        while True:
            try:
                received += self.theirs.recv(1 << 20)
            except BlockingIOError:
                return bytes(received)

    def close(self) -> None:
        """Close both ends and the store."""
        self.theirs.close()
        self.connection.sock.close()
        self.store.close()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    made = Pair(tmp_path)
    yield made
    made.close()


def test_a_streamed_reply_has_its_place_among_others(pair: Pair) -> None:
    """Replies before it go first, requests behind it wait, messages that come meanwhile follow it."""
    pair.send(b"PING one", b"LRANGE list 0 -1", b"PING two")
    pair.connection.push(b"+message\r\n")
    assert pair.connection.is_held
    assert pair.end_turn()
    pair.connection.push(b"+another\r\n")
    assert pair.end_turn()
    assert pair.receive() == b"$3\r\none\r\n"
    assert pair.connection.output_bytes == len(b"+message\r\n+another\r\n")
    assert pair.take_stream() == WHOLE + b"+message\r\n+another\r\n"
    assert pair.connection.output_bytes == 0
    assert pair.connection.has_runnable_requests
    pair.connection.proceed()
    assert pair.end_turn()
    assert pair.receive() == b"$3\r\ntwo\r\n"


def test_a_failed_turn_refuses_a_stream_that_it_began(pair: Pair) -> None:
    """Nothing of a reply that shows what was never committed is sent; messages of the turn are dropped."""
    pair.send(b"PING one", b"RPUSH list more", b"LRANGE list 0 -1", b"PING two")
    pair.connection.push(b"+message\r\n")
    pair.instance.engine.rollback(0)
    pair.connection.refuse(REFUSAL)
    assert pair.end_turn()
    assert pair.receive() == REFUSAL * 3
    assert pair.connection.stream is None
    pair.connection.proceed()
    assert pair.end_turn()
    assert pair.receive() == b"$3\r\ntwo\r\n"


def test_a_failed_turn_leaves_a_stream_of_an_earlier_one(pair: Pair) -> None:
    pair.send(b"LRANGE list 0 -1", b"PING two")
    assert pair.end_turn()
    pair.connection.push(b"+message\r\n")
    pair.connection.refuse(REFUSAL)
    assert pair.end_turn()
    assert pair.take_stream() == WHOLE


def test_closing_waits_for_the_end_of_the_stream(pair: Pair) -> None:
    pair.send(b"LRANGE list 0 -1")
    assert pair.end_turn()
    pair.connection.close()
    assert pair.end_turn()
    received = bytearray()
    while pair.connection.pump():
        received += pair.receive()
    assert bytes(received) + pair.receive() == WHOLE


def test_killing_drops_the_stream(pair: Pair) -> None:
    pair.send(b"LRANGE list 0 -1")
    pair.connection.kill()
    assert pair.connection.stream is None
    assert not pair.end_turn()
    assert pair.receive() == b""


def test_a_stream_that_is_not_taken_is_given_up(pair: Pair) -> None:
    """After ten minutes without progress; a client that takes something now and then is left alone."""
    connection = pair.connection
    pair.send(b"LRANGE list 0 -1")
    assert pair.end_turn()
    while not connection.unsent:
        assert connection.pump()
    now_ms = pair.instance.engine.now_ms
    assert connection.is_within_limits(now_ms + 590_000)
    assert not connection.is_within_limits(now_ms + 610_000)
    pair.instance.engine.begin(now_ms + 600_000)
    pair.receive()
    assert connection.drain()
    assert connection.is_within_limits(now_ms + 610_000)


def test_a_store_that_was_closed_ends_the_connection(pair: Pair) -> None:
    pair.send(b"LRANGE list 0 -1")
    assert pair.end_turn()
    pair.instance.engine.reopen()
    while pair.connection.pump():
        pair.receive()
    assert pair.connection.stream is not None
    pair.connection.drop_stream()
