"""Closed-loop clients for what redis-benchmark cannot send: transactions, fan-out, commands that depend on replies.

Everything that can be encoded beforehand is, and replies are counted rather than parsed, so that the client costs
little beside the server. The latencies are those of what is sent in one piece: `Load.pipeline` requests.
"""

from __future__ import annotations

import random
import re
import select
import socket
import statistics
import time
from collections.abc import Callable, Sequence

from tools.benchmarks.errors import BenchError
from tools.benchmarks.redis_benchmark import Load, Row
from tools.benchmarks.wire import Connection, encode, reply_end

RECV_BYTES = 1 << 17
STALL_TIMEOUT_S = 60.0
PREPARED_PIECES = 64
ENTRY_ID = re.compile(rb"\$\d+\r\n(\d+-\d+)\r\n")


class Conversation:
    """One connection that sends a piece, waits for all that it causes, and sends the next."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=STALL_TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self) -> None:
        """Send the next piece."""
        raise NotImplementedError

    def receive(self, chunk: bytes) -> bool:
        """Take in what has come; whether the piece is answered."""
        raise NotImplementedError


def converse(conversations: Sequence[Conversation], pieces: int) -> tuple[list[float], float]:
    """Have so many pieces sent and answered over all connections; answers their latencies and the whole time (s)."""
    by_descriptor = {conversation.socket.fileno(): conversation for conversation in conversations}
    sent_at: dict[int, float] = {}
    latencies: list[float] = []
    poller = select.epoll()
    try:
        for descriptor in by_descriptor:
            poller.register(descriptor, select.EPOLLIN)
        began = time.perf_counter()
        left = pieces
        for descriptor, conversation in by_descriptor.items():
            if left:
                left -= 1
                sent_at[descriptor] = time.perf_counter()
                conversation.send()
        while len(latencies) < pieces:
            for descriptor, _ in _ready(poller):
                conversation = by_descriptor[descriptor]
                if not conversation.receive(_received(conversation.socket)):
                    continue
                now = time.perf_counter()
                latencies.append(now - sent_at[descriptor])
                if left:
                    left -= 1
                    sent_at[descriptor] = now
                    conversation.send()
        return latencies, time.perf_counter() - began
    finally:
        poller.close()
        for conversation in conversations:
            conversation.socket.close()


def _ready(poller: select.epoll) -> list[tuple[int, int]]:
    events = poller.poll(STALL_TIMEOUT_S)
    if not events:
        msg = f"nothing was answered for {STALL_TIMEOUT_S:.0f} s"
        raise BenchError(msg)
    return events


def _received(connection: socket.socket) -> bytes:
    chunk = connection.recv(RECV_BYTES)
    if not chunk:
        msg = "the server closed a connection"
        raise BenchError(msg)
    if chunk[:1] == b"-" or b"\n-" in chunk:
        error = next(line for line in chunk.split(b"\r\n") if line.startswith(b"-"))
        msg = f"the server answered with an error: {error[1:].decode('utf-8', 'replace')}"
        raise BenchError(msg)
    return chunk


def summary(requests: int, latencies: Sequence[float], seconds: float) -> Row:
    """A row as redis-benchmark would print it; `latencies` in seconds."""
    ordered = sorted(latencies)
    p50, p95, p99 = (ordered[min(len(ordered) * percent // 100, len(ordered) - 1)] * 1e3 for percent in (50, 95, 99))
    mean = statistics.fmean(ordered) * 1e3
    return Row("", requests / seconds, mean, ordered[0] * 1e3, p50, p95, p99, ordered[-1] * 1e3)


def _pieces(requests: int, load: Load) -> int:
    return max(requests // load.pipeline, 1)


class _Prepared(Conversation):
    def __init__(self, port: int, pieces: Sequence[bytes], lines: int, start: int) -> None:
        super().__init__(port)
        self._pieces = pieces
        self._lines = lines
        self._next = start
        self._left = 0

    def send(self) -> None:
        self._left = self._lines
        self._next += 1
        self.socket.sendall(self._pieces[self._next % len(self._pieces)])

    def receive(self, chunk: bytes) -> bool:
        self._left -= chunk.count(b"\n")
        return self._left == 0


def prepared(make: Callable[[random.Random, Load], bytes], lines: int) -> Callable[[int, Load, int], list[Row]]:
    """A driver that sends requests encoded beforehand; each is answered with so many lines, and no bulk strings."""

    def measure(port: int, load: Load, requests: int) -> list[Row]:
        chooser = random.Random(1)
        pieces = [b"".join(make(chooser, load) for _ in range(load.pipeline)) for _ in range(PREPARED_PIECES)]
        clients = [_Prepared(port, pieces, lines * load.pipeline, start) for start in range(load.clients)]
        count = _pieces(requests, load)
        latencies, seconds = converse(clients, count)
        return [summary(count * load.pipeline, latencies, seconds)]

    return measure


class _Consumer(Conversation):
    def __init__(self, port: int, stream: str, group: str, consumer: str, count: int) -> None:
        super().__init__(port)
        self._read = encode("XREADGROUP", "GROUP", group, consumer, "COUNT", count, "STREAMS", stream, ">")
        self._acknowledge = ("XACK", stream, group)
        self._buffer = b""
        self._reading = True

    def send(self) -> None:
        self._reading = True
        self.socket.sendall(self._read)

    def receive(self, chunk: bytes) -> bool:
        self._buffer += chunk
        if reply_end(self._buffer) < 0:
            return False
        answer, self._buffer = self._buffer, b""
        if not self._reading:
            return True
        self._reading = False
        self.socket.sendall(encode(*self._acknowledge, *ENTRY_ID.findall(answer)))
        return False


def consumers(stream: str, group: str, count: int) -> Callable[[int, Load, int], list[Row]]:
    """A driver of consumers in a group; a request is XREADGROUP of `count` new entries, then XACK of them all."""

    def measure(port: int, load: Load, requests: int) -> list[Row]:
        clients = [_Consumer(port, stream, group, f"consumer:{number}", count) for number in range(load.clients)]
        latencies, seconds = converse(clients, requests)
        return [summary(requests, latencies, seconds)]

    return measure


def fan_out(subscribers: int) -> Callable[[int, Load, int], list[Row]]:
    """A driver of one publisher; a request is a PUBLISH that has arrived at every one of so many subscribers."""

    def measure(port: int, load: Load, requests: int) -> list[Row]:
        payload = b"x" * load.data_size_bytes
        message_bytes = len(encode("message", "channel", payload))
        piece = encode("PUBLISH", "channel", payload) * load.pipeline
        pieces = _pieces(requests, load)
        listeners = [Connection(port, STALL_TIMEOUT_S) for _ in range(subscribers)]
        publisher = Connection(port, STALL_TIMEOUT_S)
        try:
            for listener in listeners:
                listener.call("SUBSCRIBE", "channel")
            latencies, seconds = _publish(publisher, listeners, piece, load.pipeline, message_bytes, pieces)
        finally:
            for connection in (*listeners, publisher):
                connection.close()
        return [summary(pieces * load.pipeline, latencies, seconds)]

    return measure


def _publish(
    publisher: Connection, listeners: Sequence[Connection], piece: bytes, messages: int, message_bytes: int, pieces: int
) -> tuple[list[float], float]:
    sockets = {connection.socket.fileno(): connection.socket for connection in (*listeners, publisher)}
    publishing = publisher.socket.fileno()
    latencies: list[float] = []
    poller = select.epoll()
    try:
        for descriptor in sockets:
            poller.register(descriptor, select.EPOLLIN)
        began = sent_at = time.perf_counter()
        for _ in range(pieces):
            publisher.socket.sendall(piece)
            replies, left_bytes = messages, len(listeners) * messages * message_bytes
            while replies or left_bytes:
                for descriptor, _events in _ready(poller):
                    chunk = _received(sockets[descriptor])
                    if descriptor == publishing:
                        replies -= chunk.count(b"\n")
                    else:
                        left_bytes -= len(chunk)
            now = time.perf_counter()
            latencies.append(now - sent_at)
            sent_at = now
        return latencies, time.perf_counter() - began
    finally:
        poller.close()
