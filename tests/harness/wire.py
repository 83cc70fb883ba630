"""A small synchronous RESP client for tests: sends exactly what it is told, and keeps every reply type apart.

Replies become: `bytes` (bulk string), `int`, `list` (array), and one class for each other wire type. Doubles and big
numbers keep the text that was on the wire, because the way a server prints them is part of what is compared.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

Reply = Any
Argument = bytes | str | int | float
Address = str | tuple[str, int]
_RECV_BYTES = 1 << 18


class WireClosed(ConnectionError):
    """The server closed the connection before a whole reply arrived."""


class WireTimeout(AssertionError):
    """The server sent no whole reply in time."""


@dataclass(frozen=True)
class Simple:
    """`+text`"""

    text: bytes


@dataclass(frozen=True)
class ErrorReply:
    """`-text`, or `!` (a blob error) when `blob` is set."""

    text: bytes
    blob: bool = False


@dataclass(frozen=True)
class Double:
    """`,text` (RESP3)."""

    text: bytes


@dataclass(frozen=True)
class BigNumber:
    """`(text` (RESP3)."""

    text: bytes


@dataclass(frozen=True)
class Boolean:
    """`#t` or `#f` (RESP3)."""

    value: bool


@dataclass(frozen=True)
class Verbatim:
    """`=text` with its three-letter format (RESP3)."""

    kind: bytes
    text: bytes


@dataclass(frozen=True)
class Null:
    """`_` (RESP3)."""


@dataclass(frozen=True)
class NullBulk:
    """`$-1` (RESP2)."""


@dataclass(frozen=True)
class NullArray:
    """`*-1` (RESP2)."""


@dataclass
class Map:
    """`%` (RESP3): the pairs in the order on the wire."""

    pairs: list[tuple[Reply, Reply]]


@dataclass
class SetReply:
    """`~` (RESP3): the members in the order on the wire."""

    members: list[Reply]


@dataclass
class Push:
    """`>` (RESP3): out-of-band data."""

    items: list[Reply]


@dataclass
class Attribute:
    """`|` (RESP3) with the reply that it belongs to."""

    pairs: list[tuple[Reply, Reply]]
    reply: Reply


def to_bytes(argument: Argument) -> bytes:
    """One command argument as the bytes that are sent."""
    if isinstance(argument, bytes):
        return argument
    return str(argument).encode()


def encode_command(argv: Sequence[Argument]) -> bytes:
    """One command as an array of bulk strings."""
    parts = [b"*%d\r\n" % len(argv)]
    for argument in argv:
        data = to_bytes(argument)
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


class Wire:
    """One connection. Every read fails after `timeout_s` instead of hanging.

    Args:
        address: A unix socket's path, or (host, port).
        timeout_s: How long one whole reply may take.
    """

    def __init__(self, address: Address, timeout_s: float = 30.0) -> None:
        self.address = address
        self.timeout_s = timeout_s
        self.protocol = 2
        self.pushes: list[Push] = []
        self._buffer = bytearray()
        self._position = 0
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        try:
            self.socket.settimeout(timeout_s)
            self.socket.connect(address)
        except BaseException:
            self.socket.close()
            raise

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. Safe to call twice."""
        self.socket.close()

    def send_raw(self, data: bytes) -> None:
        """Send bytes as they are.

        Raises:
            WireClosed: The server has closed the connection.
        """
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise WireClosed(str(error)) from error

    def send(self, *argv: Argument) -> None:
        """Send one command and do not wait for its reply."""
        self.send_raw(encode_command(argv))

    def call(self, *argv: Argument) -> Reply:
        """Send one command and return its reply; pushes that come before it are kept in `pushes`."""
        self.send(*argv)
        return self.read_reply()

    def pipeline(self, commands: Iterable[Sequence[Argument]]) -> list[Reply]:
        """Send all commands in one write and return their replies in order."""
        commands = list(commands)
        self.send_raw(b"".join(map(encode_command, commands)))
        return [self.read_reply() for _ in commands]

    def hello(self, protocol: int) -> Reply:
        """Switch to RESP2 or RESP3."""
        reply = self.call("HELLO", protocol)
        assert isinstance(reply, list | Map), reply
        self.protocol = protocol
        return reply

    def read_reply(self) -> Reply:
        """The next reply that is no push."""
        while True:
            reply = self.read_any()
            if not isinstance(reply, Push):
                return reply
            self.pushes.append(reply)

    def read_any(self) -> Reply:
        """The next reply or push.

        Raises:
            WireClosed: The connection ended first.
            WireTimeout: Nothing whole came in time.
        """
        deadline = time.monotonic() + self.timeout_s
        reply = self._parse(deadline)
        if self._position == len(self._buffer):
            self._buffer.clear()
            self._position = 0
        return reply

    def read_raw(self, count: int) -> bytes:
        """Exactly `count` bytes."""
        deadline = time.monotonic() + self.timeout_s
        while len(self._buffer) - self._position < count:
            self._fill(deadline)
        data = bytes(self._buffer[self._position : self._position + count])
        self._position += count
        return data

    def read_until(self, ending: bytes) -> bytes:
        """Everything up to and with `ending`."""
        deadline = time.monotonic() + self.timeout_s
        start = self._position
        while True:
            found = self._buffer.find(ending, start)
            if found >= 0:
                return self.read_raw(found + len(ending) - self._position)
            start = max(self._position, len(self._buffer) - len(ending) + 1)
            self._fill(deadline)

    def read_until_closed(self) -> bytes:
        """Everything until the server closes the connection."""
        deadline = time.monotonic() + self.timeout_s
        try:
            while True:
                self._fill(deadline)
        except WireClosed:
            data = bytes(self._buffer[self._position :])
            self._position = len(self._buffer)
            return data

    def is_closed_by_server(self, timeout_s: float = 10.0) -> bool:
        """Whether the server closes the connection within `timeout_s`; data that comes first is dropped."""
        try:
            deadline = time.monotonic() + timeout_s
            while True:
                self._fill(deadline)
                self._buffer.clear()
                self._position = 0
        except WireClosed:
            return True
        except WireTimeout:
            return False

    def _fill(self, deadline: float) -> None:
        remaining_s = deadline - time.monotonic()
        if remaining_s <= 0:
            raise WireTimeout(
                f"no whole reply in {self.timeout_s} s; have {bytes(self._buffer[self._position :])[:200]!r}"
            )
        self.socket.settimeout(remaining_s)
        try:
            data = self.socket.recv(_RECV_BYTES)
        except TimeoutError:
            have = bytes(self._buffer[self._position :])[:200]
            raise WireTimeout(f"no whole reply in {self.timeout_s} s; have {have!r}") from None
        except ConnectionResetError as error:
            raise WireClosed(str(error)) from error
        finally:
            self.socket.settimeout(self.timeout_s)
        if not data:
            raise WireClosed("the server closed the connection")
        if self._position > 1 << 20:
            del self._buffer[: self._position]
            self._position = 0
        self._buffer += data

    def _line(self, deadline: float) -> bytes:
        start = self._position
        while True:
            end = self._buffer.find(b"\r\n", start)
            if end >= 0:
                line = bytes(self._buffer[self._position : end])
                self._position = end + 2
                return line
            offset = max(self._position, len(self._buffer) - 1) - self._position
            self._fill(deadline)
            start = self._position + offset

    def _blob(self, size: int, deadline: float) -> bytes:
        while len(self._buffer) - self._position < size + 2:
            self._fill(deadline)
        data = bytes(memoryview(self._buffer)[self._position : self._position + size])
        ending = bytes(self._buffer[self._position + size : self._position + size + 2])
        assert ending == b"\r\n", f"a bulk string of {size} bytes ends with {ending!r}"
        self._position += size + 2
        return data

    def _parse(self, deadline: float) -> Reply:
        line = self._line(deadline)
        kind, rest = line[:1], line[1:]
        if kind in _LINE_TYPES:
            return _LINE_TYPES[kind](rest)
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return NullBulk() if rest == b"-1" else self._blob(int(rest), deadline)
        if kind == b"*":
            return NullArray() if rest == b"-1" else [self._parse(deadline) for _ in range(int(rest))]
        if kind == b"%":
            return Map(self._pairs(int(rest), deadline))
        if kind == b"~":
            return SetReply([self._parse(deadline) for _ in range(int(rest))])
        if kind == b">":
            return Push([self._parse(deadline) for _ in range(int(rest))])
        if kind == b"|":
            pairs = self._pairs(int(rest), deadline)
            return Attribute(pairs, self._parse(deadline))
        if kind == b"=":
            data = self._blob(int(rest), deadline)
            assert data[3:4] == b":", f"not a verbatim string: {data[:20]!r}"
            return Verbatim(data[:3], data[4:])
        if kind == b"!":
            return ErrorReply(self._blob(int(rest), deadline), blob=True)
        if line == b"_":
            return Null()
        raise AssertionError(f"not a RESP reply: {line[:200]!r}")

    def _pairs(self, count: int, deadline: float) -> list[tuple[Reply, Reply]]:
        return [(self._parse(deadline), self._parse(deadline)) for _ in range(count)]


def _boolean(text: bytes) -> Boolean:
    assert text in (b"t", b"f"), text
    return Boolean(text == b"t")


_LINE_TYPES: dict[bytes, Callable[[bytes], Reply]] = {
    b"+": Simple,
    b"-": ErrorReply,
    b",": Double,
    b"(": BigNumber,
    b"#": _boolean,
}


def is_nil(reply: Reply) -> bool:
    """Whether the reply is one of the three nulls."""
    return isinstance(reply, Null | NullBulk | NullArray)
