"""Turns over many connections, with the compiled part and without: the same answers, in the same turn."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest

from diskkv.commands.registry import Flag, load_all
from diskkv.config import Config
from diskkv.engine.memory import MemoryStore
from diskkv.errors import StorageError
from diskkv.server import plain
from diskkv.server.connection import Connection
from diskkv.server.reactor import Reactor
from diskkv.services.instance import Instance
from tests.harness.wire import encode_command

try:
    from diskkv.server import _native
except ImportError:
    _native = None  # type: ignore[assignment]

compiled = pytest.mark.skipif(_native is None, reason="the compiled module needs a C compiler")

CLIENTS = 12
TURNS = 150
KEYS = ("a", "b", "c", "d")
REQUESTS = (
    *("GET {key}", "SET {key} {number}", "INCR {key}", "LPUSH l{key} {number}", "HSET h{key} f {number}") * 4,
    *("MSET {key} {number}", "MSET a 1 b 2 c {number}", "MGET {key} a"),
    *("SET {key} {long}", "GET {key}", "LPOP l{key}", "SADD s{key} {number}", "ZADD z{key} {number} m") * 2,
    *("MULTI", "EXEC", "DISCARD", "SELECT 1", "SELECT 0", "HELLO 3", "HELLO 2", "WATCH {key}", "RESET"),
    *("BLPOP l{key} 0", "SUBSCRIBE ch", "UNSUBSCRIBE", "PUBLISH ch {number}", "CLIENT REPLY SKIP", "NOPE", "GET"),
    *("QUIT", "CLIENT REPLY OFF", "CLIENT REPLY ON", "EVAL {script} 0", "PING", "DEL {key} l{key}"),
)


class Server:
    """A reactor over a store in memory, and clients at the other ends of socket pairs."""

    def __init__(self, native: Any, turn_max_bytes: int = 1 << 20) -> None:
        self.native = native
        config = Config()
        config.turn_max_bytes = turn_max_bytes
        self.store = MemoryStore()
        self.instance = Instance(config, self.store)
        self.instance.use_commands(load_all(), Flag.PLAIN, Flag.SKIP_SLOWLOG)
        with mock.patch.object(plain, "native", native):
            self.reactor = Reactor(self.instance)
        self.ends: list[socket.socket] = []
        self.connections: list[Connection] = []

    def client(self) -> socket.socket:
        """A new client's end of its connection."""
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setblocking(False)
        self.ends.append(ours)
        with mock.patch.object(plain, "native", self.native):
            self.connections.append(self.reactor.adopt(theirs, "peer", "local"))
        # The first request of a connection goes the general way.
        ours.sendall(b"PING\r\n")
        self.turn()
        assert ours.recv(10) == b"+PONG\r\n"
        return ours

    def replace(self, place: int) -> None:
        """Have a new client where one was."""
        self.client()
        self.ends[place].close()
        self.ends[place] = self.ends.pop()
        self.connections[place] = self.connections.pop()

    def turn(self) -> None:
        """Turns over what is there now, until nothing is left to be done."""
        while (events := self.reactor.epoll.poll(0, 1024)) or self.reactor._unfinished:
            self.reactor.turn(events)

    def close(self) -> None:
        """Close all sockets."""
        self.reactor.close()
        for end in self.ends:
            end.close()


@pytest.fixture(params=["compiled", "portable"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    if request.param == "compiled" and _native is None:
        pytest.skip("the compiled module needs a C compiler")
    with contextlib.closing(Server(_native if request.param == "compiled" else None)) as made:
        yield made


def received(end: socket.socket) -> bytes:
    data = bytearray()
    with contextlib.suppress(BlockingIOError, ConnectionError):
        while piece := end.recv(1 << 16):
            data += piece
    return bytes(data)


def request(rng: random.Random) -> bytes:
    line = rng.choice(REQUESTS)
    filled = {"key": rng.choice(KEYS), "number": rng.randrange(100), "long": "x" * 3000, "script": "return{1,2}"}
    return encode_command(line.format(**filled).encode().split(b" "))


def sent_by_a_client(rng: random.Random) -> bytes:
    shape = rng.random()
    if shape < 0.7:
        return request(rng)
    if shape < 0.8:
        return request(rng) * rng.randrange(2, 20)
    if shape < 0.9:
        return b"".join(request(rng) for _ in range(rng.randrange(2, 20)))
    whole = request(rng)
    return whole[: rng.randrange(1, len(whole))] if shape < 0.95 else b"GET " + rng.choice(KEYS).encode() + b"\r\n"


def facts(server: Server) -> list[object]:
    """What CLIENT LIST and INFO tell."""
    stats = server.instance.stats
    return [
        (stats.input_bytes, stats.output_bytes),
        *(
            (client.commands_run, client.last_request, client.received_bytes, client.sent_bytes, client.is_idle)
            for client in server.connections
        ),
    ]


@compiled
@pytest.mark.parametrize("seed", range(8))
def test_both_serve_alike(seed: int) -> None:
    rng = random.Random(seed)
    turn_max_bytes = 1000 if seed % 2 else 1 << 20
    with (
        contextlib.closing(Server(_native, turn_max_bytes)) as first,
        contextlib.closing(Server(None, turn_max_bytes)) as second,
    ):
        servers = (first, second)
        for _ in range(CLIENTS):
            first.client()
            second.client()
        answered = 0
        for _ in range(TURNS):
            for place in rng.sample(range(CLIENTS), rng.randrange(1, CLIENTS)):
                data = sent_by_a_client(rng)
                for server in servers:
                    with contextlib.suppress(ConnectionError):
                        server.ends[place].sendall(data)
            replies = []
            for server in servers:
                server.turn()
                replies.append([received(end) for end in server.ends])
            assert replies[0] == replies[1]
            assert facts(first) == facts(second)
            answered += sum(map(len, replies[0]))
            for place, connection in enumerate(first.connections):
                if connection.gone:
                    first.replace(place)
                    second.replace(place)
        assert answered > 10_000


def test_what_the_socket_does_not_take_is_sent_later(server: Server) -> None:
    end = server.client()
    value = b"v" * 16_000
    end.sendall(encode_command([b"SET", b"k", value]))
    server.turn()
    assert received(end) == b"+OK\r\n"
    reply = b"$16000\r\n" + value + b"\r\n"
    asked = 0
    while not server.connections[0].unsent:
        end.sendall(encode_command([b"GET", b"k"]))
        server.turn()
        asked += 1
        assert asked < 10_000
    got = bytearray()
    while len(got) < asked * len(reply):
        got += received(end)
        server.turn()
    assert got == reply * asked
    end.sendall(encode_command([b"PING"]))
    server.turn()
    assert received(end) == b"+PONG\r\n"
    assert server.connections[0].is_idle


def test_a_failed_commit_refuses_what_went_the_short_way(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = [server.client() for _ in range(3)]

    def fail(rows: object, sync: bool = False) -> None:
        raise StorageError("no space")

    with monkeypatch.context() as patched:
        patched.setattr(server.store, "write", fail)
        for end in ends:
            end.sendall(encode_command([b"SET", b"k", b"v"]))
        server.turn()
        assert all(received(end).startswith(b"-MISCONF") for end in ends)
    ends[0].sendall(encode_command([b"GET", b"k"]))
    server.turn()
    assert received(ends[0]) == b"$-1\r\n"


def test_a_closed_connection_is_dropped(server: Server) -> None:
    first, second = server.client(), server.client()
    first.close()
    second.sendall(encode_command([b"PING"]))
    server.turn()
    assert received(second) == b"+PONG\r\n"
    assert list(server.reactor.connections.values()) == [server.connections[1]]


def test_a_full_turn_leaves_the_rest_to_the_next(server: Server) -> None:
    ends = [server.client() for _ in range(4)]
    server.instance.config.turn_max_bytes = 10
    for end in ends:
        end.sendall(encode_command([b"PING"]))
    server.reactor.turn(server.reactor.epoll.poll(0, 1024))
    assert sum(bool(received(end)) for end in ends) == 1
    for _ in range(3):
        server.reactor.turn(server.reactor.epoll.poll(0, 1024))
    assert all(client.commands_run == 2 for client in server.connections)


@compiled
def test_only_slots_are_bound() -> None:
    class Other:
        active_ms = 1

    with pytest.raises((TypeError, AttributeError)):
        _native.bind(Other, Other)  # type: ignore[arg-type]
