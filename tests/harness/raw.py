"""Exchanges of raw bytes with two servers, compared byte for byte."""

from __future__ import annotations

import contextlib

from tests.harness.servers import ServerProcess
from tests.harness.wire import Wire, WireClosed, encode_command

# HELLO with a protocol that does not exist is refused in the same way before and after authentication.
_SENTINEL = encode_command(["HELLO", "5"])
_SENTINEL_REPLY = b"-NOPROTO unsupported protocol version\r\n"


def exchange(wire: Wire, data: bytes) -> tuple[bytes, bool]:
    """Send bytes and return all that comes back, and whether the server closed the connection.

    A final command with a known reply tells when everything was answered, so `data` must not leave the parser inside
    a request, unless the server then closes the connection.
    """
    try:
        wire.send_raw(data + _SENTINEL)
    except WireClosed:
        return wire.read_until_closed(), True
    try:
        answer = wire.read_until(_SENTINEL_REPLY)
    except WireClosed:
        return wire.read_until_closed(), True
    return answer.removesuffix(_SENTINEL_REPLY), False


def answer_until_closed(server: ServerProcess, data: bytes) -> bytes:
    """Send bytes on a new connection and return all that comes back until the server closes it."""
    with server.connect() as wire:
        # The server may close before it has read everything.
        with contextlib.suppress(WireClosed):
            wire.send_raw(data)
        return wire.read_until_closed()


def exchange_new(server: ServerProcess, data: bytes) -> tuple[bytes, bool]:
    """`exchange` on a new connection."""
    with server.connect() as wire:
        return exchange(wire, data)


def assert_same_exchange(subject: ServerProcess, reference: ServerProcess, data: bytes) -> bytes:
    """Both servers, emptied, answer the bytes with the same bytes, and both or neither close; returns the answer."""
    for server in (subject, reference):
        with server.connect() as wire:
            # A server with a password refuses this, and is empty for that reason.
            wire.call("FLUSHALL")
    theirs = exchange_new(reference, data)
    mine = exchange_new(subject, data)
    assert mine == theirs, f"sent {data[:300]!r}\nreference {theirs!r}\nsubject   {mine!r}"
    return theirs[0]


def settle(server: ServerProcess) -> None:
    """Return when the server has read everything that was sent to it before this call.

    What was sent earlier is readable at the latest in the round of the server's loop that reads the first PING here.
    """
    with server.connect() as wire:
        wire.call("PING")
        wire.call("PING")
