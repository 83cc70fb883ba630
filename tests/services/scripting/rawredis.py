"""A connection to a real server that returns replies as the bytes that were on the wire."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from tests.harness.wire import Argument, encode_command

_TIMEOUT_S = 20.0


class RawRedis:
    """One connection over a unix socket; `call` returns one whole encoded reply."""

    def __init__(self, path: str, resp: int = 2) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(_TIMEOUT_S)
        self._socket.connect(path)
        self._buffer = bytearray()
        if resp == 3:
            self.call("HELLO", 3)

    def close(self) -> None:
        self._socket.close()

    def call(self, *argv: Argument) -> bytes:
        """Send one command and return its reply."""
        return self.call_all([argv])[0]

    def call_all(self, commands: Sequence[Sequence[Argument]]) -> list[bytes]:
        """Send commands in one go and return their replies."""
        self._socket.sendall(b"".join(encode_command(argv) for argv in commands))
        return [self._reply() for _ in commands]

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            self._fill()
        line = bytes(self._buffer[: end + 2])
        del self._buffer[: end + 2]
        return line

    def _fill(self) -> None:
        data = self._socket.recv(1 << 18)
        if not data:
            raise ConnectionError("the server closed the connection")
        self._buffer += data

    def _reply(self) -> bytes:
        parts = []
        pending = 1
        while pending:
            pending -= 1
            line = self._line()
            parts.append(line)
            kind = line[:1]
            if kind in b"$=!*~>%" and (size := int(line[1:])) >= 0:
                if kind in b"$=!":
                    while len(self._buffer) < size + 2:
                        self._fill()
                    parts.append(bytes(self._buffer[: size + 2]))
                    del self._buffer[: size + 2]
                else:
                    pending += size * 2 if kind == b"%" else size
        return b"".join(parts)
