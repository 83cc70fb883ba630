"""The client side of RESP2, as little as the benchmarks need: requests to bytes, replies to Python values."""

from __future__ import annotations

import socket
from types import TracebackType
from typing import Any

from tools.benchmarks.errors import BenchError

Argument = bytes | str | int | float


class ServerReplyError(BenchError):
    """The server answered a command with an error; the message is the server's."""


def encode(*arguments: Argument) -> bytes:
    """One request as an array of bulk strings."""
    parts = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        raw = argument if isinstance(argument, bytes) else str(argument).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(parts)


def reply_end(buffer: bytes | bytearray, start: int = 0) -> int:
    """The index just past the RESP2 reply that begins at `start`, or -1 when it is not complete yet.

    Nested arrays count as one reply. Raises BenchError on a byte that begins no RESP2 reply.
    """
    pending = 1
    position = start
    while pending:
        newline = buffer.find(b"\r\n", position)
        if newline < 0:
            return -1
        kind = buffer[position]
        pending -= 1
        if kind in b"$*":
            length = int(buffer[position + 1 : newline])
            position = newline + 2
            if kind == 0x2A:
                pending += max(length, 0)
            elif length >= 0:
                position += length + 2
                if position > len(buffer):
                    return -1
        elif kind in b"+-:":
            position = newline + 2
        else:
            msg = f"not a RESP2 reply: {bytes(buffer[position : position + 32])!r}"
            raise BenchError(msg)
    return position


class Connection:
    """A blocking connection to a server on 127.0.0.1. Every wait ends after `timeout_s`."""

    def __init__(self, port: int, timeout_s: float = 120.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self.socket.makefile("rb", buffering=1 << 16)

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self._file.close()
        self.socket.close()

    def call(self, *arguments: Argument) -> Any:
        """Send one command and return its reply; an error reply raises ServerReplyError."""
        self.socket.sendall(encode(*arguments))
        return self.read_reply()

    def call_many(self, requests: bytes, count: int) -> list[Any]:
        """Send `count` encoded requests at once and return their replies in order."""
        self.socket.sendall(requests)
        return [self.read_reply() for _ in range(count)]

    def read_reply(self) -> Any:
        """The next reply: bytes, int, list or None."""
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            msg = "the server closed the connection"
            raise BenchError(msg)
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest
        if kind == b":":
            return int(rest)
        if kind == b"-":
            raise ServerReplyError(rest.decode("utf-8", "replace"))
        length = int(rest)
        if length < 0:
            return None
        if kind == b"*":
            return [self.read_reply() for _ in range(length)]
        return self._file.read(length + 2)[:-2]

    def info(self, section: str = "everything") -> dict[str, str]:
        """INFO as a flat dictionary."""
        text: bytes = self.call("INFO", section)
        pairs = (line.split(":", 1) for line in text.decode("utf-8", "replace").splitlines() if ":" in line)
        return {name: value.strip() for name, value in pairs}
