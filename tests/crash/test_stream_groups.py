"""Consumer groups under load, with crashes of consumers and kill -9 of the server: nothing is left undone."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field

import pytest

from tests.harness.servers import ServerProcess, running, subject_flavour
from tests.harness.statemachine import scaled
from tests.harness.wire import ErrorReply, Reply, Wire, WireClosed

KEY = b"jobs"
GROUP = b"workers"
PRODUCERS = 2
CONSUMERS = 4
IDLE_MS = 30
BACKLOG = 100
TIMEOUT_S = 60.0


@dataclass
class Board:
    """What all threads know: jobs whose XADD was acknowledged, and jobs that a consumer did and acknowledged."""

    added: set[bytes] = field(default_factory=set)
    maybe_added: set[bytes] = field(default_factory=set)
    done: set[bytes] = field(default_factory=set)
    deliveries: int = 0
    crashes: int = 0
    stop_adding: threading.Event = field(default_factory=threading.Event)
    stop_working: threading.Event = field(default_factory=threading.Event)
    failures: list[BaseException] = field(default_factory=list)


class Worker(threading.Thread):
    """A thread that goes on with a new connection whenever the old one breaks."""

    def __init__(self, server: ServerProcess, board: Board, seed: int, name: str) -> None:
        super().__init__(name=name)
        self.server = server
        self.board = board
        self.random = random.Random(seed)
        self.stopped = board.stop_working

    def run(self) -> None:
        try:
            while not self.stopped.is_set():
                try:
                    with self.server.connect() as wire:
                        self.work(wire)
                except (WireClosed, OSError):
                    time.sleep(0.002)
        except BaseException as error:  # noqa: BLE001 - handed to the test's thread, which raises it
            self.board.failures.append(error)

    def work(self, wire: Wire) -> None:
        raise NotImplementedError


class Producer(Worker):
    """Adds jobs, each with a name of its own."""

    def __init__(self, server: ServerProcess, board: Board, seed: int, name: str) -> None:
        super().__init__(server, board, seed, name)
        self.stopped = board.stop_adding
        self._next = 0

    def work(self, wire: Wire) -> None:
        while not self.stopped.is_set():
            if len(self.board.added) > len(self.board.done) + BACKLOG:
                time.sleep(0.001)
                continue
            jobs = [b"%b-%d" % (self.name.encode(), self._next + at) for at in range(self.random.randrange(1, 20))]
            self._next += len(jobs)
            self.board.maybe_added.update(jobs)
            for job, reply in zip(
                jobs, wire.pipeline([[b"XADD", KEY, b"*", b"job", job] for job in jobs]), strict=True
            ):
                assert isinstance(reply, bytes), reply
                self.board.added.add(job)


class Consumer(Worker):
    """Works on jobs. It crashes now and then: it forgets what it has in hand and comes back under another name."""

    def work(self, wire: Wire) -> None:
        me = b"%b-%d" % (self.name.encode(), self.random.randrange(10**6))
        while not self.stopped.is_set():
            entries = self._claim(wire, me) if self.random.random() < 0.3 else self._read(wire, me)
            self.board.deliveries += len(entries)
            for entry_id, fields in entries:
                if self.random.random() < 0.02:
                    self.board.crashes += 1
                    return
                assert fields[0] == b"job", fields
                # Done first, acknowledged after that: a crash in between makes somebody else do it again.
                self.board.done.add(fields[1])
                assert wire.call("XACK", KEY, GROUP, entry_id) in (0, 1)

    def _read(self, wire: Wire, me: bytes) -> list[Reply]:
        reply = wire.call("XREADGROUP", "GROUP", GROUP, me, "COUNT", 10, "BLOCK", 20, "STREAMS", KEY, ">")
        assert not isinstance(reply, ErrorReply), reply
        return list(reply[0][1]) if isinstance(reply, list) else []

    def _claim(self, wire: Wire, me: bytes) -> list[Reply]:
        reply = wire.call("XAUTOCLAIM", KEY, GROUP, me, IDLE_MS, "0-0", "COUNT", 20)
        assert isinstance(reply, list), reply
        return list(reply[1])


def _wait_for(what: str, condition: object, board: Board) -> None:
    assert callable(condition)
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert not board.failures, board.failures
        assert time.monotonic() < deadline, f"waited too long for {what}"
        time.sleep(0.005)


def _pending(server: ServerProcess) -> int:
    with server.connect() as wire:
        reply = wire.call("XPENDING", KEY, GROUP)
        assert isinstance(reply, list), reply
        count: int = reply[0]
        return count


@pytest.mark.slow
def test_every_job_is_done_whatever_crashes() -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    board = Board()
    with running(subject_flavour(), durable=True) as server:
        with server.connect() as wire:
            wire.call("XGROUP", "CREATE", KEY, GROUP, "0", "MKSTREAM")
        threads: list[Worker] = [Producer(server, board, seed + at, f"p{at}") for at in range(PRODUCERS)]
        threads += [Consumer(server, board, seed + 100 + at, f"c{at}") for at in range(CONSUMERS)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(scaled(2)):
                goal = len(board.done) + 150
                _wait_for("jobs to be done", lambda goal=goal: len(board.done) >= goal, board)
                server.kill_and_restart()
            board.stop_adding.set()
            for thread in threads[:PRODUCERS]:
                thread.join(TIMEOUT_S)
            _wait_for("the last jobs", lambda: board.added <= board.done and not _pending(server), board)
        finally:
            board.stop_adding.set()
            board.stop_working.set()
            for thread in threads:
                thread.join(TIMEOUT_S)
        assert not board.failures, board.failures
        _check_end(server, board)


def _check_end(server: ServerProcess, board: Board) -> None:
    """The stream holds every job that was acknowledged, no other ones, and the group has nothing left to do."""
    with server.connect() as wire:
        entries = wire.call("XRANGE", KEY, "-", "+")
        jobs = [fields[1] for _, fields in entries]
        assert len(set(jobs)) == len(jobs) == wire.call("XLEN", KEY)
        assert board.added <= set(jobs) <= board.maybe_added
        assert set(jobs) <= board.done | (set(jobs) - board.added)
        assert board.crashes and board.deliveries > len(board.added)
        group = wire.call("XINFO", "GROUPS", KEY)[0]
        facts = dict(zip(group[::2], group[1::2], strict=True))
        assert facts[b"pending"] == 0
        assert facts[b"lag"] == 0
        assert facts[b"entries-read"] == len(jobs)
        for consumer in wire.call("XINFO", "CONSUMERS", KEY, GROUP):
            assert consumer[3] == 0, consumer
