"""Bounds: clients, buffers, idle time, slow readers, big values."""

from __future__ import annotations

import contextlib
import random
import select
import socket
import time

import pytest

from tests.harness import servers
from tests.harness.servers import ServerProcess, reference_flavour, running, subject_flavour
from tests.harness.wire import ErrorReply, Simple, Wire, WireClosed, encode_command

MEGABYTE = 1024 * 1024
PILING_BYTES = 200_000
"""A reply of this size is made at once and piles up; larger ones are streamed, which takes no memory."""


def client_names(wire: Wire) -> set[bytes]:
    """The names of all connected clients."""
    names = set()
    for line in wire.call("CLIENT", "LIST").splitlines():
        fields = dict(word.split(b"=", 1) for word in line.split(b" ") if b"=" in word)
        names.add(fields[b"name"])
    return names


def eventually(condition: object, timeout_s: float = 20.0) -> bool:
    """Whether the callable becomes true in time."""
    assert callable(condition)
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return False


def test_input_that_cannot_be_answered_is_bounded() -> None:
    """A client that never reads can send only so much; when it reads after all, it gets every reply."""
    request = encode_command(["ECHO", bytes(MEGABYTE)])
    count = 110
    with running(subject_flavour()) as server, server.connect() as control, server.connect() as wire:
        sender = wire.socket
        sender.setblocking(False)
        unsent = memoryview(request * count)
        before = control.call("CLIENT", "ID")
        while unsent:
            ready = select.select([], [sender], [], 0.5)[1]
            if not ready:
                break
            unsent = unsent[sender.send(unsent[:MEGABYTE]) :]
        assert control.call("CLIENT", "ID") == before, "others are served"
        fields = dict(line.split(b":", 1) for line in control.call("INFO", "clients").split(b"\r\n") if b":" in line)
        assert 60 * MEGABYTE < int(fields[b"client_recent_max_input_buffer"]) < 70 * MEGABYTE
        assert len(unsent) > 20 * MEGABYTE
        received = 0
        reply_bytes = len(b"$%d\r\n" % MEGABYTE) + MEGABYTE + 2
        while received < count * reply_bytes:
            readable, writable, _ = select.select([sender], [sender] if unsent else [], [], 20)
            assert readable or writable
            if writable:
                unsent = unsent[sender.send(unsent[:MEGABYTE]) :]
            if readable:
                received += len(sender.recv(MEGABYTE))
        assert received == count * reply_bytes


def test_maxclients() -> None:
    """The client over the limit gets the reference's error and is closed; a place freed is a place."""
    answers = []
    for flavour in (subject_flavour(), reference_flavour()):
        with running(flavour, "--maxclients", "4") as server, contextlib.ExitStack() as stack:
            # The connection that found the server ready may still count for a moment.
            wires = [_connect_when_there_is_room(server, stack) for _ in range(4)]
            assert all(wire.call("PING") == Simple(b"PONG") for wire in wires)
            with server.connect() as refused:
                answers.append(refused.read_until_closed())
            wires[0].close()
            _connect_when_there_is_room(server, stack)
    assert answers[0] == answers[1] == b"-ERR max number of clients reached\r\n"


def _connect_when_there_is_room(server: ServerProcess, stack: contextlib.ExitStack) -> Wire:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        wire = server.connect()
        with contextlib.suppress(WireClosed):
            if wire.call("PING") == Simple(b"PONG"):
                return stack.enter_context(wire)
        wire.close()
    raise AssertionError("no client is let in")


@pytest.mark.slow
def test_idle_clients_are_closed() -> None:
    """With a timeout of one second a silent client is closed, and one that talks is not."""
    with running(subject_flavour(), "--timeout", "1") as server, server.connect() as idle, server.connect() as busy:
        assert idle.call("PING") == Simple(b"PONG")
        started = time.monotonic()
        idle.socket.setblocking(False)
        while True:
            assert busy.call("PING") == Simple(b"PONG")
            try:
                assert idle.socket.recv(1) == b""
                break
            except BlockingIOError:
                assert time.monotonic() - started < 15, "the idle client is still connected"
                time.sleep(0.02)
        assert time.monotonic() - started > 0.9
        assert busy.call("PING") == Simple(b"PONG")


def test_slow_reader_does_not_block_others() -> None:
    """A client that asks for 200 MB and reads nothing leaves everyone else unhindered; it gets all of it later."""
    server = servers.subject()
    value = random.Random(1).randbytes(MEGABYTE)
    with server.connect(timeout_s=60) as slow, server.connect() as other:
        other.call("SET", "big", value)
        slow.send_raw(encode_command(["GET", "big"]) * 200)
        for number in range(200):
            assert other.call("SET", "small", number) == Simple(b"OK")
            assert other.call("GET", "small") == b"%d" % number
        for _ in range(200):
            assert slow.read_reply() == value
        other.call("DEL", "big", "small")


def test_output_buffer_limit_closes_the_client() -> None:
    """A normal client whose replies pile up over the hard limit is closed; the server goes on."""
    with running(subject_flavour()) as server, server.connect() as control, server.connect() as greedy:
        limit = "normal 4mb 0 0"
        assert control.call("CONFIG", "SET", "client-output-buffer-limit", limit) == Simple(b"OK")
        control.call("SET", "big", b"x" * PILING_BYTES)
        greedy.call("CLIENT", "SETNAME", "greedy")
        greedy.send_raw(encode_command(["GET", "big"]) * 320)
        assert eventually(lambda: b"greedy" not in client_names(control))
        received = len(greedy.read_until_closed())
        assert received < 320 * PILING_BYTES
        assert control.call("STRLEN", "big") == PILING_BYTES


def test_soft_output_buffer_limit_closes_after_its_seconds() -> None:
    """Over the soft limit for the given time closes as well."""
    with running(subject_flavour()) as server, server.connect() as control, server.connect() as greedy:
        assert control.call("CONFIG", "SET", "client-output-buffer-limit", "normal 0 1mb 1") == Simple(b"OK")
        control.call("SET", "big", b"x" * PILING_BYTES)
        greedy.call("CLIENT", "SETNAME", "greedy")
        greedy.send_raw(encode_command(["GET", "big"]) * 80)
        assert eventually(lambda: b"greedy" not in client_names(control))


def test_query_buffer_limit_closes_the_client() -> None:
    """An argument larger than client-query-buffer-limit is not collected: the connection is closed without a reply."""
    for server in (servers.subject(), servers.reference()):
        with server.connect() as control, server.connect() as greedy:
            try:
                assert control.call("CONFIG", "SET", "client-query-buffer-limit", "1mb") == Simple(b"OK")
                with contextlib.suppress(WireClosed):
                    greedy.send_raw(b"*2\r\n$3\r\nGET\r\n$5000000\r\n" + b"x" * 4_000_000)
                assert greedy.read_until_closed() == b""
            finally:
                control.call("CONFIG", "SET", "client-query-buffer-limit", "1gb")


def test_abrupt_disconnects_leave_nothing_behind() -> None:
    """Connections that vanish in the middle of a request or of a reply are forgotten."""
    with running(subject_flavour()) as server, server.connect() as control:
        control.call("SET", "big", b"x" * MEGABYTE)
        for _ in range(20):
            with server.connect() as wire:
                wire.send_raw(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100\r\nabc")
            with server.connect() as wire:
                wire.send_raw(encode_command(["GET", "big"]) * 10)
        assert eventually(lambda: len(control.call("CLIENT", "LIST").splitlines()) == 1)
        assert control.call("EXISTS", "k") == 0


def test_replies_reach_a_client_that_has_finished_sending() -> None:
    """A half-closed connection still gets the replies to what it sent."""
    for server in (servers.subject(), servers.reference()):
        with server.connect() as wire:
            wire.send_raw(encode_command(["ECHO", "last words"]))
            wire.socket.shutdown(socket.SHUT_WR)
            assert wire.read_until_closed() == b"$10\r\nlast words\r\n"


def test_tcp_and_unix_socket_serve_the_same_data() -> None:
    with running(subject_flavour(), tcp=True) as server, server.connect_tcp() as tcp, server.connect() as unix:
        assert tcp.call("SET", "k", "over tcp") == Simple(b"OK")
        assert unix.call("GET", "k") == b"over tcp"
        assert b"addr=127.0.0.1:" in tcp.call("CLIENT", "INFO")
        assert server.socket_path.encode() in unix.call("CLIENT", "INFO")


def test_busy_port_is_one_clear_error() -> None:
    """A second server on the same port says so and exits with an error."""
    with running(subject_flavour(), tcp=True) as first:
        second = ServerProcess(subject_flavour())
        try:
            second.tcp, second.port = True, first.port
            with pytest.raises(servers.AddressTaken):
                second.start()
        finally:
            second.close()


@pytest.mark.slow
def test_hundred_megabyte_value() -> None:
    """A value of 100 MB goes in and out whole, is changed in the middle, and survives a restart."""
    value = bytearray(random.Random(2).randbytes(MEGABYTE) * 100)
    with running(subject_flavour(), durable=True) as server:
        with server.connect(timeout_s=120) as wire:
            assert wire.call("SET", "huge", bytes(value)) == Simple(b"OK")
            assert wire.call("STRLEN", "huge") == len(value)
            assert wire.call("GET", "huge") == bytes(value)
            assert wire.call("SETRANGE", "huge", 50 * MEGABYTE, b"patched") == len(value)
            value[50 * MEGABYTE : 50 * MEGABYTE + 7] = b"patched"
            assert wire.call("APPEND", "huge", "tail") == len(value) + 4
            value += b"tail"
            at = 50 * MEGABYTE - 10
            assert wire.call("GETRANGE", "huge", at, at + 29) == bytes(value[at : at + 30])
        server.kill_and_restart()
        with server.connect(timeout_s=120) as wire:
            assert wire.call("GET", "huge") == bytes(value)
            assert wire.call("DEL", "huge") == 1
            assert wire.call("DBSIZE") == 0


def test_string_size_limit() -> None:
    """APPEND and SETRANGE refuse to go over proto-max-bulk-len with the reference's error."""
    answers = []
    for flavour in (subject_flavour(), reference_flavour()):
        with running(flavour, "--proto-max-bulk-len", "1mb") as server, server.connect() as wire:
            wire.call("SET", "k", b"x" * MEGABYTE)
            steps = [
                wire.call("APPEND", "k", "y"),
                wire.call("SETRANGE", "k", MEGABYTE, "y"),
                wire.call("SETRANGE", "k", MEGABYTE - 1, "y"),
                wire.call("STRLEN", "k"),
            ]
            assert isinstance(steps[0], ErrorReply)
            answers.append(steps)
    assert answers[0] == answers[1]


def test_commands_after_a_client_is_killed_fail_cleanly() -> None:
    with servers.subject().connect() as control, servers.subject().connect() as victim:
        number = victim.call("CLIENT", "ID")
        assert control.call("CLIENT", "KILL", "ID", number) == 1
        assert victim.is_closed_by_server()
