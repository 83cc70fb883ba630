"""Connections led at random through transactions, subscriptions, MONITOR, CLIENT REPLY, RESET, QUIT and scripts.

Each step sends one or more commands in one piece on one of a few connections. When both servers have dealt with it, all
that has arrived on every connection is compared as bytes, whether it is replies, pushes or a monitor's lines; so is
which connections were closed.
"""

from __future__ import annotations

import fcntl
import random
import re
import socket
import struct
import termios
import time

import pytest

from tests.harness import servers
from tests.harness.servers import ServerProcess
from tests.harness.wire import Simple, encode_command

CONNECTIONS = 4
STEPS = 80
SEEDS = 20
PATIENCE_S = 1.0
SHORTENING_S = 20.0

TRANSACTIONS = ("MULTI", "MULTI", "EXEC", "EXEC", "DISCARD", "WATCH k", "UNWATCH")
SUBSCRIPTIONS = (
    *("SUBSCRIBE a", "SUBSCRIBE a a", "PSUBSCRIBE *", "SSUBSCRIBE s", "UNSUBSCRIBE", "UNSUBSCRIBE a", "PUNSUBSCRIBE"),
    *("SUNSUBSCRIBE", "PUBLISH a 1", "PUBLISH b 2", "SPUBLISH s 3", "PUBSUB NUMSUB a b", "PUBSUB NUMPAT"),
)
MODES = (
    *("CLIENT REPLY OFF", "CLIENT REPLY ON", "CLIENT REPLY ON", "CLIENT REPLY SKIP", "CLIENT REPLY SKIP", "MONITOR"),
    *("RESET", "RESET", "QUIT", "HELLO 2", "HELLO 3", "HELLO 3", "SELECT 1", "SELECT 0", "CLIENT SETNAME me"),
    *("CLIENT NO-TOUCH ON", "CLIENT NO-EVICT ON", "CLIENT TRACKING ON", "CLIENT TRACKING OFF", "CLIENT TRACKINGINFO"),
    *("CLIENT GETREDIR", "CLIENT CACHING YES", "CLIENT GETNAME", "AUTH default x", "CLIENT REPLY"),
)
DATA = (
    *("PING", "PING x", "ECHO x", "SET k v", "SET k 1", "INCR k", "GET k", "DEL k", "NOSUCH", "GET", "APPEND k w"),
    *("LPUSH l x", "BLPOP l 0", "BLPOP l 0", "LPOP l", "DEL k l"),
)
IN_SCRIPTS = (
    *("GET k", "SET k s", "PUBLISH a script", "SPUBLISH s script", "LPUSH l script", "BLPOP l 0", "MULTI", "EXEC"),
    *("SUBSCRIBE a", "UNSUBSCRIBE a", "CLIENT REPLY OFF", "CLIENT NO-TOUCH ON", "CLIENT GETNAME", "RESET", "QUIT"),
    *("MONITOR", "SELECT 1", "HELLO 3", "WATCH k", "INCR k", "CLIENT TRACKING ON", "DEL k", "AUTH default x"),
)

_MONITOR_LINE = re.compile(rb"\+\d{10}\.\d{6} \[(\d+) (lua|unix)[^\]]*\]")
_MODULE = (
    b"*1\r\n%4\r\n$4\r\nname\r\n$9\r\nvectorset\r\n$3\r\nver\r\n:1\r\n"
    b"$4\r\npath\r\n$0\r\n\r\n$4\r\nargs\r\n*0\r\n"
)
_HELLO_FIELDS = re.compile(rb"(\$7\r\nversion\r\n)\$\d+\r\n[^\r]+\r\n|(\$2\r\nid\r\n):\d+\r\n")


def script(chooser: random.Random) -> tuple[str, ...]:
    """EVAL of one of the commands, called in one of the two ways, perhaps with RESP3 inside."""
    words = ", ".join(f"'{word}'" for word in chooser.choice(IN_SCRIPTS).split())
    protocol = chooser.choice(("", "", "redis.setresp(3); "))
    return ("EVAL", f"{protocol}return redis.{chooser.choice(('call', 'pcall'))}({words})", "0")


def command(chooser: random.Random) -> tuple[str, ...]:
    """One random command."""
    kind = chooser.random()
    if kind < 0.12:
        return script(chooser)
    table = MODES if kind < 0.40 else TRANSACTIONS if kind < 0.60 else SUBSCRIPTIONS if kind < 0.78 else DATA
    return tuple(chooser.choice(table).split())


class Side:
    """One server and its connections; a closed connection is opened again when it is used next."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._control = server.connect()
        self._sockets: dict[int, socket.socket] = {}
        assert self._control.call("FLUSHALL") == Simple(b"OK")

    def send(self, number: int, data: bytes) -> None:
        """Send bytes on a connection, and return when the server has dealt with them."""
        if number not in self._sockets:
            self._sockets[number] = found = socket.socket(socket.AF_UNIX)
            found.connect(self._server.socket_path)
            found.sendall(encode_command(["PING"]))
            assert found.recv(100) == b"+PONG\r\n"
            found.setblocking(False)
        connection = self._sockets[number]
        connection.send(data)
        deadline = time.monotonic() + PATIENCE_S
        while _unread_bytes(connection) and time.monotonic() < deadline:
            pass
        # What was read before this is sent is executed when it is answered. Monitors do not see it.
        assert self._control.call("CONFIG", "GET", "nosuch") == []

    def arrived(self) -> dict[int, tuple[bytes, bool]]:
        """What has come on each connection since the last call, and whether the server has closed it."""
        found = {}
        for number, connection in list(self._sockets.items()):
            data, closed = _drain(connection)
            if closed:
                connection.close()
                del self._sockets[number]
            if data or closed:
                found[number] = (data, closed)
        return found

    def forget(self, number: int) -> None:
        """Close a connection from this end."""
        self._sockets.pop(number).close()

    def close(self) -> None:
        """Close all connections."""
        for connection in self._sockets.values():
            connection.close()
        self._control.close()


Arrived = dict[int, tuple[bytes, bool]]


def received(side: Side, expected: Arrived | None = None) -> Arrived:
    """What has come on each connection; with `expected`, what has come when it is that or nothing more comes."""
    found: Arrived = {}
    deadline = time.monotonic() + PATIENCE_S
    while True:
        for number, (data, closed) in side.arrived().items():
            found[number] = (found.get(number, (b"", False))[0] + data, closed)
        normal = {number: (_normal(data), closed) for number, (data, closed) in found.items()}
        if expected is None or normal == expected or time.monotonic() > deadline:
            return normal


def _unread_bytes(connection: socket.socket) -> int:
    """How much of what was sent the other side has not read yet."""
    return struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))[0]


def _drain(connection: socket.socket) -> tuple[bytes, bool]:
    data = b""
    while True:
        try:
            chunk = connection.recv(1 << 16)
        except BlockingIOError:
            return data, False
        except ConnectionResetError:
            return data, True
        if not chunk:
            return data, True
        data += chunk


def _normal(data: bytes) -> bytes:
    """Without times, addresses, ids, versions and the module that is a part of Redis 8."""
    data = data.replace(_MODULE, b"*0\r\n").replace(_MODULE.replace(b"%4", b"*8"), b"*0\r\n")
    return _HELLO_FIELDS.sub(rb"\1\2", _MONITOR_LINE.sub(rb"+[\1 \2]", data))


def compare(steps: list[tuple[int, list[tuple[str, ...]]]], subject: ServerProcess, reference: ServerProcess) -> str:
    """Run the steps on both servers; returns what differs, or nothing."""
    sides: list[Side] = []
    try:
        for server in (subject, reference):
            sides.append(Side(server))
        for position, (number, commands) in enumerate(steps):
            for side in sides:
                side.send(number, b"".join(encode_command(argv) for argv in commands))
            theirs = received(sides[1])
            mine = received(sides[0], theirs)
            if mine.get(number) == (b"", True) and number not in theirs:
                # Redis never closes a connection that says QUIT while CLIENT REPLY silences the answer; diskkv does.
                sides[1].forget(number)
                theirs[number] = mine[number]
            if mine != theirs:
                lines = [f"{n}: {' | '.join(' '.join(argv) for argv in sent)}" for n, sent in steps[: position + 1]]
                return "\n".join([*lines, f"reference {theirs}", f"subject   {mine}"])
    finally:
        for side in sides:
            side.close()
    return ""


def shortened(
    steps: list[tuple[int, list[tuple[str, ...]]]], subject: ServerProcess, reference: ServerProcess
) -> str:
    """The difference that some of the steps show; in the time there is, steps that it does not need are left out."""
    found = compare(steps, subject, reference)
    deadline = time.monotonic() + SHORTENING_S
    size = len(steps) // 2
    while size and time.monotonic() < deadline:
        for start in range(len(steps) - size, -1, -size):
            fewer = steps[:start] + steps[start + size :]
            difference = compare(fewer, subject, reference)
            if difference:
                steps, found = fewer, difference
        size //= 2
    return found


@pytest.mark.parametrize("seed", range(SEEDS))
def test_connections_change_their_state_as_in_the_reference(seed: int) -> None:
    chooser = random.Random(seed)
    steps = [
        (chooser.randrange(CONNECTIONS), [command(chooser) for _ in range(chooser.choice((1, 1, 2, 3)))])
        for _ in range(STEPS)
    ]
    subject, reference = servers.subject(), servers.reference()
    difference = compare(steps, subject, reference)
    assert not difference, shortened(steps, subject, reference)
