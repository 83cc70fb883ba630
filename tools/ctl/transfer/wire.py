"""A connection to a running server: diskkv, Redis or Valkey; pipelined, blocking, without retries."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from tools.ctl.transfer.commandfile import encode_command
from tools.ctl.transfer.items import TransferError

_RECEIVE_BYTES = 1 << 18
_TIMEOUT_S = 60.0
DEFAULT_PORT = 6379


@dataclass(frozen=True)
class ServerError:
    """An error reply."""

    message: str


@dataclass(frozen=True)
class Address:
    """Where a server is, and who asks."""

    host: str
    port: int
    path: str
    user: str
    password: str
    database: int
    tls: bool

    def __str__(self) -> str:
        return self.path or f"{self.host}:{self.port}"


def parse_url(url: str) -> Address:
    """redis://[user:password@]host[:port][/db], rediss:// for TLS, unix:///path[?db=N], or just host:port.

    A password that the URL lacks is taken from the environment: REDISCLI_AUTH, as redis-cli does.
    """
    if "://" not in url:
        url = f"redis://{url}"
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss", "valkey", "valkeys", "unix"):
        message = f"{url}: expected redis://, rediss:// or unix://"
        raise TransferError(message)
    try:
        port = parts.port or DEFAULT_PORT
        if parts.scheme == "unix":
            database = int(parts.query.removeprefix("db=") or 0)
        else:
            database = int(parts.path.strip("/") or 0)
    except ValueError as exc:
        message = f"{url}: bad port or database"
        raise TransferError(message) from exc
    password = unquote(parts.password) if parts.password else os.environ.get("REDISCLI_AUTH", "")
    path = unquote(parts.path) if parts.scheme == "unix" else ""
    return Address(
        parts.hostname or "127.0.0.1", port, path, unquote(parts.username or ""), password,
        database, parts.scheme in ("rediss", "valkeys"),
    )  # fmt: skip


class Wire:
    """One connection. `name` is how messages call the server."""

    def __init__(self, address: Address, timeout_s: float = _TIMEOUT_S) -> None:
        self.name = str(address)
        self._buffer = b""
        self._at = 0
        self._received_bytes = 0
        try:
            self._socket = _connect(address, timeout_s)
        except (OSError, ssl.SSLError) as exc:
            message = f"cannot connect to {self.name}: {exc.strerror or exc}"
            raise TransferError(message) from exc
        if address.password or address.user:
            user = [address.user] if address.user else []
            self.require("AUTH", *user, address.password)
        if address.database:
            self.require("SELECT", address.database)

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def fileno(self) -> int:
        """For select."""
        return self._socket.fileno()

    # ---- requests

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        try:
            self._socket.sendall(data)
        except OSError as exc:
            raise self._lost(exc) from exc

    def call(self, *argv: bytes | str | int) -> Any:
        """One command and its reply; an error comes as ServerError."""
        self.send(encode_command([_encoded(argument) for argument in argv]))
        return self.read_reply()

    def require(self, *argv: bytes | str | int) -> Any:
        """As `call`; an error reply is raised as TransferError."""
        reply = self.call(*argv)
        if isinstance(reply, ServerError):
            message = f"{self.name} answered to {argv[0]!s}: {reply.message}"
            raise TransferError(message)
        return reply

    # ---- input

    def has_input(self) -> bool:
        """Whether something was received that has not been read."""
        return self._at < len(self._buffer)

    def receive(self) -> bytes:
        """Some bytes, at least one. Raises TransferError at the end."""
        if self._at < len(self._buffer):
            data, self._buffer = self._buffer[self._at :], b""
            self._at = 0
            return data
        try:
            data = self._socket.recv(_RECEIVE_BYTES)
        except OSError as exc:
            raise self._lost(exc) from exc
        if not data:
            message = f"{self.name} closed the connection"
            raise TransferError(message)
        self._received_bytes += len(data)
        return data

    @property
    def consumed_bytes(self) -> int:
        """How much was received and taken."""
        return self._received_bytes - len(self._buffer) + self._at

    def unread(self, data: bytes) -> None:
        """Put bytes back in front of what comes next."""
        self._buffer = data + self._buffer[self._at :]
        self._at = 0

    def read_line(self) -> bytes:
        """Up to and without CRLF (or LF)."""
        while (end := self._buffer.find(b"\n", self._at)) < 0:
            rest = self._buffer[self._at :]
            self._buffer = b""
            self._at = 0
            self._buffer = rest + self.receive()
        line = self._buffer[self._at : end]
        self._at = end + 1
        return line.rstrip(b"\r")

    def read_exactly(self, size: int) -> bytes:
        """`size` bytes."""
        have = len(self._buffer) - self._at
        if have < size:
            parts = [self._buffer[self._at :]]
            self._buffer, self._at = b"", 0
            while have < size:
                parts.append(self.receive())
                have += len(parts[-1])
            self._buffer = b"".join(parts)
        data = self._buffer[self._at : self._at + size]
        self._at += size
        return data

    def read_reply(self) -> Any:
        """One RESP2 reply."""
        line = self.read_line()
        lead, rest = line[:1], line[1:]
        if lead == b"+":
            return rest
        if lead == b"-":
            return ServerError(rest.decode("utf-8", "replace"))
        try:
            number = int(rest)
        except ValueError as exc:
            message = f"{self.name} does not speak the Redis protocol: {line[:60]!r}"
            raise TransferError(message) from exc
        if lead == b":":
            return number
        if lead == b"$":
            return None if number < 0 else self.read_exactly(number + 2)[:-2]
        if lead == b"*":
            return None if number < 0 else [self.read_reply() for _ in range(number)]
        message = f"{self.name} does not speak the Redis protocol: {line[:60]!r}"
        raise TransferError(message)

    def _lost(self, exc: OSError) -> TransferError:
        return TransferError(f"the connection to {self.name} failed: {exc.strerror or exc}")


def _encoded(argument: bytes | str | int) -> bytes:
    if isinstance(argument, bytes):
        return argument
    return argument.encode() if isinstance(argument, str) else b"%d" % argument


def _connect(address: Address, timeout_s: float) -> socket.socket:
    if address.path:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout_s)
        connection.connect(address.path)
        return connection
    connection = socket.create_connection((address.host, address.port), timeout_s)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if address.tls:
        return ssl.create_default_context().wrap_socket(connection, server_hostname=address.host)
    return connection


def values_of(info: bytes) -> dict[str, str]:
    """The fields of an INFO reply."""
    pairs: Sequence[tuple[str, str, str]] = [line.partition(":") for line in info.decode("latin-1").splitlines()]
    return {name: value for name, colon, value in pairs if colon}
