"""Closed-loop clients: each connection sends its next request when the last is answered; every latency is kept.

redis-benchmark draws keys uniformly and runs one command at a time; this draws them from any distribution, mixes
commands, runs several kinds of client side by side, and records what happened in every second.
"""

from __future__ import annotations

import random
import select
import socket
import threading
import time
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from tools.benchmarks.errors import BenchError
from tools.benchmarks.loader import ValuePool, key_name, scatter_step
from tools.benchmarks.wire import encode, reply_end

RECV_BYTES = 1 << 17
STALL_TIMEOUT_S = 120.0

Source = Callable[[], bytes]
"""Answers the next encoded request."""


@dataclass
class Client:
    """A kind of client: `connections` of them send what `source` gives; results are kept under `label`."""

    label: str
    source: Source
    connections: int = 50


@dataclass
class Latencies:
    """Latencies of one label in seconds, in the order of arrival, and the requests answered in each second."""

    seconds: float = 0.0
    values: array[float] = field(default_factory=lambda: array("d"))
    per_second: list[int] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Requests per second."""
        return len(self.values) / self.seconds if self.seconds else 0.0

    def percentiles_ms(self, percents: Sequence[float]) -> list[float]:
        """The latencies in ms below which so many percent of the requests lie; 0 when there were none."""
        ordered = sorted(self.values)
        if not ordered:
            return [0.0] * len(percents)
        return [ordered[min(int(len(ordered) * percent / 100), len(ordered) - 1)] * 1e3 for percent in percents]


class _Connection:
    __slots__ = ("buffer", "latencies", "sent_at", "socket", "source")

    def __init__(self, port: int, source: Source, latencies: Latencies) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=STALL_TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.source = source
        self.latencies = latencies
        self.buffer = bytearray()
        self.sent_at = 0.0

    def send(self) -> None:
        request = self.source()
        self.sent_at = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> bool:
        """Read what has come; True when the reply is complete. An error reply is raised."""
        chunk = self.socket.recv(RECV_BYTES)
        if not chunk:
            msg = "the server closed a connection"
            raise BenchError(msg)
        buffer = self.buffer
        buffer += chunk
        if reply_end(buffer) < 0:
            return False
        if buffer[0] == 0x2D:
            msg = f"the server answered with an error: {buffer[1:-2].decode('utf-8', 'replace')}"
            raise BenchError(msg)
        buffer.clear()
        return True


def run(port: int, clients: Sequence[Client], seconds: float) -> dict[str, Latencies]:
    """Run all clients at once for so long. Raises BenchError when nothing is answered for STALL_TIMEOUT_S."""
    found = {client.label: Latencies() for client in clients}
    connections = {}
    poller = select.epoll()
    try:
        for client in clients:
            for _ in range(client.connections):
                connection = _Connection(port, client.source, found[client.label])
                connections[connection.socket.fileno()] = connection
                poller.register(connection.socket, select.EPOLLIN)
        began = time.perf_counter()
        for connection in connections.values():
            connection.send()
        _loop(poller, connections, began, began + seconds)
    finally:
        poller.close()
        for connection in connections.values():
            connection.socket.close()
    elapsed = time.perf_counter() - began
    for latencies in found.values():
        latencies.seconds = elapsed
    return found


def _loop(poller: select.epoll, connections: dict[int, _Connection], began: float, deadline: float) -> None:
    now = began
    while now < deadline:
        events = poller.poll(STALL_TIMEOUT_S)
        if not events:
            msg = f"nothing was answered for {STALL_TIMEOUT_S:.0f} s"
            raise BenchError(msg)
        for descriptor, _ in events:
            connection = connections[descriptor]
            if not connection.receive():
                continue
            now = time.perf_counter()
            latencies = connection.latencies
            latencies.values.append(now - connection.sent_at)
            second = int(now - began)
            if second >= len(latencies.per_second):
                latencies.per_second += [0] * (second + 1 - len(latencies.per_second))
            latencies.per_second[second] += 1
            connection.send()


class Uniform:
    """Indexes below `count`, all equally likely."""

    def __init__(self, count: int, seed: int = 1) -> None:
        self._count = count
        self._random = random.Random(seed)

    def __call__(self) -> int:
        return int(self._random.random() * self._count)


class Zipfian:
    """Indexes below `count`, the one of rank r with probability proportional to 1 / r**exponent, ranks scattered.

    The ranks are drawn from the exact distribution for the first TABLE ranks and from its continuous approximation for
    the rest, where neighbouring ranks hardly differ. `exponent` is not 1.
    """

    TABLE = 10_000

    def __init__(self, count: int, exponent: float = 0.99, seed: int = 1) -> None:
        self._count = count
        self._random = random.Random(seed)
        self._power = 1.0 - exponent
        self._cumulative: list[float] = []
        total = 0.0
        for rank in range(1, min(count, self.TABLE) + 1):
            total += rank**-exponent
            self._cumulative.append(total)
        self._head = total
        self._low = (self.TABLE + 0.5) ** self._power
        self._high = (count + 0.5) ** self._power
        self._total = total + (max(self._high - self._low, 0.0) / self._power if count > self.TABLE else 0.0)
        self._step = scatter_step(count)

    def rank(self) -> int:
        """A rank, 0 being the most frequent."""
        drawn = self._random.random() * self._total
        if drawn < self._head:
            return bisect_left(self._cumulative, drawn)
        value = (self._low + (drawn - self._head) * self._power) ** (1.0 / self._power)
        return min(int(value - 0.5), self._count - 1)

    def __call__(self) -> int:
        return self.rank() * self._step % self._count


Index = Uniform | Zipfian


def getter(index: Index) -> Source:
    """GET of keys drawn from a distribution."""
    return lambda: encode(b"GET", key_name(index()))


def setter(index: Index, size_bytes: int) -> Source:
    """SET of keys drawn from a distribution, with a new value each time."""
    pool = ValuePool(size_bytes, seed=2)
    chooser = random.Random(3)
    return lambda: encode(b"SET", key_name(index()), pool.value(chooser.randrange(1 << 20)))


def mixed(reads: Source, writes: Source, read_percent: int) -> Source:
    """Reads and writes in this proportion, at random."""
    chooser = random.Random(4)
    return lambda: reads() if chooser.random() * 100 < read_percent else writes()


class MemorySampler:
    """Calls `read` every `interval_s` from a thread of its own; `samples` are (seconds since the start, bytes)."""

    def __init__(self, read: Callable[[], int], interval_s: float = 1.0) -> None:
        self._read = read
        self._interval_s = interval_s
        self._end = threading.Event()
        self._began = time.monotonic()
        self.samples: list[tuple[float, int]] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """Sample while the block runs, once at least."""
        thread = threading.Thread(target=self._sample)
        thread.start()
        try:
            yield
        finally:
            self._end.set()
            thread.join()

    def _sample(self) -> None:
        while True:
            self.samples.append((time.monotonic() - self._began, self._read()))
            if self._end.wait(self._interval_s):
                return
