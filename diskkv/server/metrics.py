"""The Prometheus endpoint: HTTP on `metrics-port`, beside the turns.

Only GET /metrics is answered, one request a connection. The text is written in small pieces, with the turns of clients
in between.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterable

import trio

from diskkv.config import Config
from diskkv.errors import ConfigError
from diskkv.server.listeners import bind_tcp, needs_protection
from diskkv.services.instance import Instance
from diskkv.services.metrics import CONTENT_TYPE, render

log = logging.getLogger(__name__)

_HEAD_BYTES = 16 * 1024
_TIMEOUT_S = 30.0
_SCRAPES = 4
"""Requests that are answered at the same time; others wait."""
_CONNECTIONS = 64
"""Further ones are closed at once: descriptors are for clients and tables."""


def open_endpoint(config: Config) -> list[socket.socket]:
    """Bind `metrics-port` on the addresses of `bind`. Raises ConfigError."""
    opened: list[socket.socket] = []
    for address in config.bind:
        try:
            opened.append(bind_tcp(address.removeprefix("-"), config.metrics_port, config.tcp_backlog))
        except OSError as exc:
            if address.startswith("-"):
                continue
            for sock in opened:
                sock.close()
            place = f"{address}:{config.metrics_port}"
            message = f"cannot listen on {place} for metrics: {exc.strerror or exc}"
            raise ConfigError(message) from exc
    return opened


async def serve_metrics(instance: Instance, sockets: Iterable[socket.socket]) -> None:
    """Answer scrapes until cancelled."""
    limit = trio.CapacityLimiter(_SCRAPES)
    connections = 0

    async def handle(stream: trio.SocketStream) -> None:
        nonlocal connections
        connections += 1
        try:
            if connections <= _CONNECTIONS:
                await serve(stream)
        finally:
            connections -= 1

    async def serve(stream: trio.SocketStream) -> None:
        # A client that goes away or is too slow is its own problem.
        with trio.move_on_after(_TIMEOUT_S):
            try:
                async with stream:
                    await _answer(instance, stream, limit)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return
            except Exception:
                # The boundary where a bug in the metrics, or a store that cannot be read, must not end the server.
                log.exception("metrics could not be answered")

    listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(sock)) for sock in sockets]
    await trio.serve_listeners(handle, listeners)


async def _answer(instance: Instance, stream: trio.SocketStream, limit: trio.CapacityLimiter) -> None:
    head = bytearray()
    while b"\r\n\r\n" not in head:
        data = await stream.receive_some(_HEAD_BYTES)
        head += data
        if not data or len(head) > _HEAD_BYTES:
            return
    method, _, rest = bytes(head.partition(b"\r\n")[0]).partition(b" ")
    target = rest.partition(b" ")[0].partition(b"?")[0]
    if needs_protection(instance, stream.socket.getpeername()[0]):
        await _reply(stream, b"403 Forbidden", b"protected mode: see protected-mode and requirepass\n")
    elif target != b"/metrics":
        await _reply(stream, b"404 Not Found", b"metrics are at /metrics\n")
    elif method not in (b"GET", b"HEAD"):
        await _reply(stream, b"405 Method Not Allowed", b"only GET\n")
    else:
        pieces = []
        # Not before the request is there: who connects and says nothing must not keep others waiting.
        async with limit:
            for piece in render(instance):
                pieces.append(piece)
                await trio.lowlevel.checkpoint()
        await _reply(stream, b"200 OK", b"".join(pieces), CONTENT_TYPE.encode(), method == b"HEAD")


async def _reply(
    stream: trio.SocketStream,
    status: bytes,
    body: bytes,
    content_type: bytes = b"text/plain; charset=utf-8",
    head_only: bool = False,
) -> None:
    head = b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
    await stream.send_all(head % (status, content_type, len(body)) + (b"" if head_only else body))
