"""MONITOR: what is shown, what is hidden, and what a monitoring client may do."""

from __future__ import annotations

import re

import pytest

from tests.harness import servers
from tests.harness.servers import ServerProcess
from tests.harness.wire import Argument, ErrorReply, Reply, Simple, Wire

COMMANDS: tuple[tuple[Argument, ...], ...] = (
    ("SET", b'a\x00"\\\n\r\t\a\b\x7f~ \xe9', ""),
    ("set", "k", "v" * 200),
    ("AUTH", "secret"),
    ("AUTH", "user", "secret"),
    ("HELLO", "3", "AUTH", "user", "secret", "SETNAME", "x"),
    ("CONFIG", "GET", "maxmemory"),
    ("CONFIG", "SET", "masterauth", "secret"),
    ("CONFIG", "SET", "masterauth", ""),
    ("ACL", "SETUSER", "x", ">secret"),
    ("ACL", "DELUSER", "x"),
    ("MULTI",),
    ("GET", "queued"),
    ("NOSUCH", "queued"),
    ("EXEC",),
    ("MULTI",),
    ("GET", "queued"),
    ("EXEC",),
    ("NOSUCH", "x"),
    ("GET",),
    ("GET", "k"),
    ("CLIENT", "ID"),
    ("CLIENT", "LIST"),
    ("SELECT", "3"),
    ("PING",),
    ("DEBUG", "SLEEP", "0"),
    ("ECHO", "end"),
)

_LINE = re.compile(rb"\d{10}\.\d{6} \[(\d+) unix:([^\]]+)\] (.*)", re.DOTALL)


def seen(server: ServerProcess) -> list[tuple[bytes, bytes]]:
    """(database, arguments) of every line that a monitor gets while COMMANDS run."""
    with server.connect() as monitor, server.connect() as client:
        assert monitor.call("MONITOR") == Simple(b"OK")
        for argv in COMMANDS:
            client.call(*argv)
        lines: list[tuple[bytes, bytes]] = []
        while not lines or lines[-1][1] != b'"ECHO" "end"':
            reply = monitor.read_any()
            assert isinstance(reply, Simple)
            match = _LINE.fullmatch(reply.text)
            assert match is not None, reply
            assert match[2] == server.socket_path.encode()
            lines.append((match[1], match[3]))
        return lines


def test_a_monitor_sees_what_the_reference_shows() -> None:
    mine, theirs = seen(servers.subject()), seen(servers.reference())
    assert mine == theirs
    assert not any(b"secret" in line for _, line in mine)


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_monitor_may_not_touch_data_and_sees_itself(protocol: int) -> None:
    def replies(server: ServerProcess) -> list[Reply]:
        with server.connect() as monitor:
            monitor.hello(protocol)
            found: list[Reply] = [monitor.call("MONITOR")]
            monitor.send("MONITOR")
            monitor.send("PING")
            found += [monitor.read_any(), _arguments(monitor)]
            found += [monitor.call("GET", "k"), monitor.call("SET", "k", "v")]
            monitor.send("RESET")
            found += [monitor.read_any(), monitor.call("GET", "k")]
            return found

    mine = replies(servers.subject())
    assert mine == replies(servers.reference())
    assert isinstance(mine[3], ErrorReply)


def _arguments(monitor: Wire) -> bytes:
    reply = monitor.read_any()
    assert isinstance(reply, Simple)
    return reply.text.partition(b"] ")[2]


def test_a_monitor_in_a_transaction_is_refused() -> None:
    def replies(server: ServerProcess) -> list[Reply]:
        with server.connect() as wire:
            return [wire.call("MULTI"), wire.call("MONITOR"), wire.call("EXEC")]

    assert replies(servers.subject()) == replies(servers.reference())
