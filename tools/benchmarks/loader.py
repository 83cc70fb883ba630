"""Fill a server quickly: several connections, each sending its next batch as soon as the last one is acknowledged."""

from __future__ import annotations

import math
import random
import selectors
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tools.benchmarks.errors import BenchError
from tools.benchmarks.wire import encode

BATCH_COMMANDS = 500
RECV_BYTES = 1 << 18
VALUE_POOL_BYTES = 1 << 20


@dataclass
class LoadResult:
    """How a load went. `per_second` has the commands acknowledged in each second since it began."""

    commands: int = 0
    seconds: float = 0.0
    max_ack_s: float = 0.0
    per_second: list[int] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Commands per second over the whole load."""
        return self.commands / self.seconds if self.seconds else 0.0


class ValuePool:
    """Values that do not compress: slices of a pool of random bytes, chosen by index."""

    def __init__(self, size_bytes: int, seed: int = 1) -> None:
        self.size_bytes = size_bytes
        self._pool = random.Random(seed).randbytes(VALUE_POOL_BYTES + size_bytes)

    def value(self, index: int) -> bytes:
        """The value for `index`, always the same."""
        start = index * 7919 % VALUE_POOL_BYTES
        return self._pool[start : start + self.size_bytes]


def scatter_step(count: int) -> int:
    """A number without a factor in common with `count`: its multiples modulo `count` visit every index, far apart."""
    step = int(count * 0.6180339887) | 1
    while math.gcd(step, count) != 1:
        step += 2
    return step


def permutation(count: int) -> Iterator[int]:
    """Every number below `count` once, scattered: without a list of them and the same on every run."""
    if count <= 0:
        return
    step = scatter_step(count)
    index = 0
    for _ in range(count):
        yield index
        index = (index + step) % count


def key_name(index: int) -> bytes:
    """The key that redis-benchmark writes for a random number."""
    return b"key:%012d" % index


def set_batches(indexes: Iterable[int], size_bytes: int) -> Iterator[tuple[bytes, int]]:
    """SET of `size_bytes` random bytes for each index, BATCH_COMMANDS to a batch."""
    pool = ValuePool(size_bytes)
    head = b"*3\r\n$3\r\nSET\r\n$16\r\nkey:%012d\r\n$" + str(size_bytes).encode() + b"\r\n%b\r\n"
    return _batched(head % (index, pool.value(index)) for index in indexes)


def mset_batches(indexes: Iterable[int], size_bytes: int, keys: int) -> Iterator[tuple[bytes, int]]:
    """MSET of `keys` keys a command, about BATCH_COMMANDS keys to a batch."""
    pool = ValuePool(size_bytes)
    commands: list[bytes] = []
    arguments: list[bytes] = []
    for index in indexes:
        arguments += (key_name(index), pool.value(index))
        if len(arguments) >= 2 * keys:
            commands.append(encode(b"MSET", *arguments))
            arguments.clear()
            if len(commands) * keys >= BATCH_COMMANDS:
                yield b"".join(commands), len(commands)
                commands.clear()
    if arguments:
        commands.append(encode(b"MSET", *arguments))
    if commands:
        yield b"".join(commands), len(commands)


def command_batches(commands: Iterable[tuple[bytes | str | int | float, ...]]) -> Iterator[tuple[bytes, int]]:
    """Any commands with one-line replies, BATCH_COMMANDS to a batch."""
    return _batched(encode(*command) for command in commands)


def _batched(requests: Iterable[bytes]) -> Iterator[tuple[bytes, int]]:
    batch: list[bytes] = []
    for request in requests:
        batch.append(request)
        if len(batch) == BATCH_COMMANDS:
            yield b"".join(batch), BATCH_COMMANDS
            batch.clear()
    if batch:
        yield b"".join(batch), len(batch)


class _Feed:
    """One connection and what it waits for."""

    def __init__(self, port: int, timeout_s: float) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.waiting = 0
        self.sent = 0
        self.sent_at = 0.0

    def send(self, batch: tuple[bytes, int]) -> None:
        payload, self.sent = batch
        self.waiting = self.sent
        self.sent_at = time.monotonic()
        self.socket.sendall(payload)

    def receive(self) -> None:
        chunk = self.socket.recv(RECV_BYTES)
        if not chunk:
            msg = "the server closed the connection while it was being loaded"
            raise BenchError(msg)
        if chunk[:1] == b"-" or b"\n-" in chunk:
            error = next(line for line in chunk.splitlines() if line.startswith(b"-"))
            msg = f"the server refused a command of the load: {error[1:].decode('utf-8', 'replace')}"
            raise BenchError(msg)
        self.waiting -= chunk.count(b"\n")


def load(
    port: int, batches: Iterable[tuple[bytes, int]], connections: int = 4, timeout_s: float = 300.0
) -> LoadResult:
    """Send every batch and wait for all replies, which must be single lines (+OK, :1). An error reply is raised."""
    result = LoadResult()
    source = iter(batches)
    feeds = [_Feed(port, timeout_s) for _ in range(connections)]
    selector = selectors.DefaultSelector()
    began = time.monotonic()
    try:
        busy = 0
        for feed in feeds:
            batch = next(source, None)
            if batch is not None:
                selector.register(feed.socket, selectors.EVENT_READ, feed)
                feed.send(batch)
                busy += 1
        while busy:
            busy -= _serve(selector, source, result, began, timeout_s)
    finally:
        selector.close()
        for feed in feeds:
            feed.socket.close()
    result.seconds = time.monotonic() - began
    return result


def _serve(
    selector: selectors.BaseSelector,
    source: Iterator[tuple[bytes, int]],
    result: LoadResult,
    began: float,
    timeout_s: float,
) -> int:
    """Handle what is readable now; returns how many connections have nothing left to send."""
    finished = 0
    ready = selector.select(timeout_s)
    if not ready:
        msg = f"the server acknowledged nothing for {timeout_s:.0f} s while it was being loaded"
        raise BenchError(msg)
    for event, _ in ready:
        feed: _Feed = event.data
        feed.receive()
        if feed.waiting > 0:
            continue
        now = time.monotonic()
        result.max_ack_s = max(result.max_ack_s, now - feed.sent_at)
        result.commands += feed.sent
        second = int(now - began)
        result.per_second += [0] * (second + 1 - len(result.per_second))
        result.per_second[second] += feed.sent
        batch = next(source, None)
        if batch is None:
            selector.unregister(feed.socket)
            finished += 1
        else:
            feed.send(batch)
    return finished
