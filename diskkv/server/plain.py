"""Receiving whole, plain requests and sending short replies: the ends of the reactor's short way.

Both exist twice: compiled (`_native.pyx`, used for plain sockets when it could be built), and in Python, which is also
what TLS connections use. They do the same; with the compiled module a request that comes alone costs 2 to 3 us less of
7 to 12 (part of that is its share in `short_way.py`), and a pipelined GET a fifth less. The environment variable
DISKKV_PURE_PYTHON=1 turns it off.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from diskkv.engine.compiled import usable
from diskkv.resp.parser import split_columns, take_requests

_REVISION = 3
"""What the Python code expects of the compiled module; `_native.pyx` has it too. They change together."""

try:
    from diskkv.server import _native
except ImportError:
    native = None
else:
    native = _native if usable(_native, _REVISION) else None

Received = tuple[int, list[list[bytes]] | None, list[list[bytes]] | None]
"""(size in bytes, requests, None), or (size, None, columns) when all requests have the same name and argument count."""

_RECEIVE_BYTES = 64 * 1024
_ONE_REQUEST_TOKENS = 8
"""What a request of three arguments is split into; that of one of more arguments is recognised later."""


def is_raw(sock: Any) -> bool:
    """Whether the compiled part may use the socket's descriptor."""
    return native is not None and isinstance(sock, socket.socket)


def receiver(sock: Any) -> Callable[[], Received | bytes | None]:
    """A function that takes what a non-blocking socket has, 64 KiB at most.

    It answers with the requests when all are whole and plain, else with the bytes (empty at the end of the stream and
    after an error), or with None when there is nothing.
    """
    if native is not None and is_raw(sock):
        return partial(native.receive, sock.fileno())
    return partial(_receive, sock.recv)


def transmitter(sock: Any) -> Callable[[bytes], int]:
    """A function that sends as much as the socket takes at once: how many bytes that were, 0 after an error."""
    if native is not None and is_raw(sock):
        return partial(native.transmit, sock.fileno())
    return partial(_transmit, sock.send)


def _receive(recv: Callable[[int], bytes]) -> Received | bytes | None:
    try:
        data = recv(_RECEIVE_BYTES)
    except (BlockingIOError, InterruptedError):
        return None
    except OSError:
        return b""
    return parse(data)


def _transmit(send: Callable[[bytes], int], data: bytes) -> int:
    try:
        return send(data)
    except OSError:
        return 0


def parse(data: bytes) -> Received | bytes:
    """The requests in `data` if they are all whole and plain, else `data`."""
    if data[:1] != b"*":
        return data
    tokens = data.split(b"\r\n")
    columns = split_columns(tokens) if len(tokens) > _ONE_REQUEST_TOKENS else None
    if columns is not None:
        names = columns[0]
        if names.count(names[0]) == len(names):
            return len(data), None, columns
        return len(data), list(map(list, zip(*columns, strict=True))), None
    requests: list[list[bytes]] = []
    if take_requests(data, tokens, requests) == len(data):
        return len(data), requests, None
    return data
