"""A server made of threads, for the client side of the benchmarks."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


@contextmanager
def answering(respond: Callable[[bytes], bytes]) -> Iterator[int]:
    """A server that passes each received chunk to `respond`, one thread a connection."""

    def serve(peer: socket.socket) -> None:
        # A client that ends in the middle of a run resets its connections.
        with peer, suppress(ConnectionError):
            while chunk := peer.recv(1 << 20):
                peer.sendall(respond(chunk))

    def accept() -> None:
        for _ in range(8):
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=serve, args=(peer,)))
            threads[-1].start()

    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        acceptor = threading.Thread(target=accept)
        acceptor.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            acceptor.join()
            for thread in threads:
                thread.join()
