"""A few connections to the Prometheus endpoint that sent nothing kept scrapes waiting for half a minute."""

from __future__ import annotations

import contextlib
import socket

import trio

from diskkv.commands.registry import Flag, load_all
from diskkv.config import Config
from diskkv.engine.memory import MemoryStore
from diskkv.server.metrics import serve_metrics
from diskkv.services.instance import Instance

_SILENT = 10
_MANY = 100


def _endpoint() -> tuple[Instance, socket.socket]:
    instance = Instance(Config(), MemoryStore())
    instance.use_commands(load_all(), Flag.PLAIN, Flag.SKIP_SLOWLOG)
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(2 * _MANY)
    return instance, sock


async def _connect(port: int) -> trio.SocketStream:
    return await trio.open_tcp_stream("127.0.0.1", port)


def test_scrapes_do_not_wait_for_silent_connections() -> None:
    instance, sock = _endpoint()
    port = sock.getsockname()[1]

    async def main() -> bytes:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_metrics, instance, [sock])
            async with contextlib.AsyncExitStack() as stack:
                for _ in range(_SILENT):
                    await stack.enter_async_context(await _connect(port))
                stream = await stack.enter_async_context(await _connect(port))
                await stream.send_all(b"GET /metrics HTTP/1.1\r\n\r\n")
                with trio.fail_after(20):
                    head = await stream.receive_some(1024)
            nursery.cancel_scope.cancel()
        return head

    assert trio.run(main).startswith(b"HTTP/1.1 200 OK")


def test_connections_are_bounded() -> None:
    instance, sock = _endpoint()
    port = sock.getsockname()[1]

    async def main() -> bytes:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve_metrics, instance, [sock])
            async with contextlib.AsyncExitStack() as stack:
                for _ in range(_MANY):
                    stream = await stack.enter_async_context(await _connect(port))
                with trio.fail_after(20):
                    answer = await stream.receive_some(1024)
            nursery.cancel_scope.cancel()
        return answer

    assert trio.run(main) == b""
