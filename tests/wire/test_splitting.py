"""Requests arrive in any pieces; pipelines of any depth are answered in order."""

from __future__ import annotations

import random
import threading

import pytest

from tests.harness import servers
from tests.harness.raw import exchange, settle
from tests.harness.wire import Simple, Wire, encode_command

SESSION = (
    encode_command(["SET", "split", "a\r\nb"])
    + b'GET split\r\nECHO "x y"\r\n'
    + encode_command(["ECHO", ""])
    + b"*0\r\n"
    + encode_command(["NOSUCH", "x"])
    + encode_command(["STRLEN", "split"])
)


def test_session_split_at_every_byte() -> None:
    """The same session cut in two at each place gives the same bytes as in one piece."""
    server = servers.subject()
    with server.connect() as wire:
        whole = exchange(wire, SESSION)
    assert exchange_on(servers.reference()) == whole
    with server.connect() as control:
        for cut in range(1, len(SESSION)):
            with server.connect() as wire:
                wire.send_raw(SESSION[:cut])
                control.call("PING")
                control.call("PING")
                assert exchange(wire, SESSION[cut:]) == whole, f"cut after {SESSION[:cut]!r}"


def exchange_on(server: servers.ServerProcess) -> tuple[bytes, bool]:
    with server.connect() as wire:
        return exchange(wire, SESSION)


def test_session_byte_by_byte() -> None:
    """One byte a write, with a round of the server's loop between them."""
    server = servers.subject()
    with server.connect() as wire:
        whole = exchange(wire, SESSION)
    with server.connect() as wire, server.connect() as control:
        for index in range(len(SESSION)):
            wire.send_raw(SESSION[index : index + 1])
            control.call("PING")
        assert exchange(wire, b"") == whole


def test_protocol_error_split_at_every_byte() -> None:
    request = b"*1\r\n$4\r\nPING\r\n*1\r\n$bad\r\n"
    server = servers.subject()
    with server.connect() as control:
        for cut in range(1, len(request)):
            with server.connect() as wire:
                wire.send_raw(request[:cut])
                control.call("PING")
                control.call("PING")
                answer, closed = exchange(wire, request[cut:])
                assert (answer, closed) == (b"+PONG\r\n-ERR Protocol error: invalid bulk length\r\n", True)


def test_big_argument_in_random_pieces() -> None:
    value = random.Random(5).randbytes(300_000)
    request = encode_command(["SET", "pieces", value]) + encode_command(["GET", "pieces"])
    chooser = random.Random(6)
    server = servers.subject()
    with server.connect() as wire:
        position = 0
        while position < len(request):
            size = chooser.choice([1, 2, 17, 4096, 16384, 65536])
            wire.send_raw(request[position : position + size])
            position += size
        assert wire.read_reply() == Simple(b"OK")
        assert wire.read_reply() == value
        wire.call("DEL", "pieces")


def _send_in_background(wire: Wire, data: bytes) -> threading.Thread:
    thread = threading.Thread(target=wire.send_raw, args=(data,))
    thread.start()
    return thread


@pytest.mark.slow
def test_pipeline_of_a_hundred_thousand() -> None:
    """Every reply is there, in order, though the client sends everything while it reads."""
    count = 100_000
    server = servers.subject()
    with server.connect(timeout_s=60) as wire:
        wire.call("DEL", "counter")
        sender = _send_in_background(wire, encode_command(["INCR", "counter"]) * count)
        for expected in range(1, count + 1):
            assert wire.read_reply() == expected
        sender.join()
        assert wire.call("GET", "counter") == b"%d" % count
        wire.call("DEL", "counter")


@pytest.mark.slow
def test_pipeline_whose_replies_are_read_only_at_the_end() -> None:
    """A client that sends 20,000 requests before it reads the first reply still gets them all."""
    count = 20_000
    server = servers.subject()
    with server.connect(timeout_s=60) as wire:
        wire.send_raw(b"".join(encode_command(["ECHO", f"{number:0100d}"]) for number in range(count)))
        settle(server)
        for number in range(count):
            assert wire.read_reply() == b"%0100d" % number


@pytest.mark.slow
def test_a_long_pipeline_does_not_hold_back_others() -> None:
    """While one client's pipeline of 200,000 commands runs, another's commands are answered in between."""
    count = 200_000
    server = servers.subject()
    with server.connect(timeout_s=120) as greedy, server.connect() as other:
        sender = _send_in_background(greedy, encode_command(["SET", "k", "v"]) * count)
        first = greedy.read_reply()
        answered = 0
        for _ in range(20):
            assert other.call("PING") == Simple(b"PONG")
            answered += 1
        # The greedy client's replies are not all there yet, or the test shows nothing.
        assert first == Simple(b"OK") and answered == 20
        for _ in range(count - 1):
            greedy.read_reply()
        sender.join()
        other.call("DEL", "k")
