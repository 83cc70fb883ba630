"""Push jobs while workers do them, kill the server in the middle, and restart it."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pytest

from tests.harness import servers
from tests.harness.servers import ServerProcess
from tests.queues.record import PORT_VARIABLE, RECORD_VARIABLE, recorded

POLL_S = 0.02
DEADLINE_S = 90.0
QUIET_S = 2.0
FIRST_PART = 20
"""One job in so many is done before the server is killed, at least."""
_REPOSITORY = Path(__file__).resolve().parents[2]


def wait_until(condition: Callable[[], bool], what: Callable[[], str], deadline_s: float = DEADLINE_S) -> None:
    """Poll until the condition holds; fails with `what()` after the deadline."""
    deadline = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(what())
        time.sleep(POLL_S)


class Workers:
    """Worker processes that are started again when they end, as any supervisor would do."""

    def __init__(self, command: Sequence[str], count: int, environment: dict[str, str], log_path: Path) -> None:
        self._command = [*command]
        self._environment = os.environ | environment | {"PYTHONPATH": str(_REPOSITORY)}
        self._log_path = log_path
        self._ending = False
        self.processes = [self._start() for _ in range(count)]
        self._supervisor = threading.Thread(target=self._supervise, daemon=True)
        self._supervisor.start()

    def _start(self) -> subprocess.Popen[bytes]:
        with open(self._log_path, "ab") as log:
            return subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )

    def _supervise(self) -> None:
        while not self._ending:
            for index, process in enumerate(self.processes):
                if process.poll() is not None and not self._ending:
                    self.processes[index] = self._start()
            time.sleep(POLL_S * 5)

    def log_tail(self) -> str:
        """The end of what the workers printed."""
        return self._log_path.read_bytes()[-4000:].decode(errors="replace") if self._log_path.exists() else ""

    def close(self) -> None:
        """End the workers and whatever they started."""
        self._ending = True
        self._supervisor.join()
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class Producer(Protocol):
    """Pushes jobs with rising numbers, going on with the next when one is refused while the server is down."""

    def acknowledged(self) -> list[int]:
        """The jobs that the server has acknowledged so far."""

    def is_pushing(self) -> bool:
        """Whether it has neither pushed all its jobs nor failed."""

    def finish(self) -> None:
        """Release what it holds; raises what made it fail."""


class ThreadProducer:
    """A producer for clients written in Python: a thread that calls `push` for every number.

    After the first few it waits for the workers, which may be slow to start. A push that raises `refused` acknowledges
    nothing; any other exception is raised by `finish`.
    """

    def __init__(self, queue: Queue, jobs: int, push: Callable[[int], object], refused: type[Exception]) -> None:
        self._queue = queue
        self._jobs = jobs
        self._push = push
        self._refused = refused
        self._acknowledged: list[int] = []
        self._thread = ThreadPoolExecutor(1)
        self._pushing = self._thread.submit(self._run)

    def _run(self) -> None:
        for number in range(self._jobs):
            if number == self._jobs // FIRST_PART:
                wait_until(lambda: len(self._queue.done()) >= self._jobs // FIRST_PART, self._queue.report)
            try:
                self._push(number)
            except self._refused:
                time.sleep(POLL_S)
            else:
                self._acknowledged.append(number)

    def acknowledged(self) -> list[int]:
        """The jobs whose `push` has returned."""
        return list(self._acknowledged)

    def is_pushing(self) -> bool:
        """Whether the thread runs."""
        return not self._pushing.done()

    def finish(self) -> None:
        """End the thread."""
        self._thread.shutdown()
        self._pushing.result()


class Queue:
    """A server of its own with workers on it, and the record of what they did."""

    def __init__(self, server: ServerProcess, record_path: Path, workers: Workers) -> None:
        self.server = server
        self.workers = workers
        self._record_path = record_path

    def done(self) -> list[int]:
        """The jobs done so far, with repetitions."""
        return recorded(self._record_path)

    def push_through_a_crash(self, producer: Producer, jobs: int) -> list[int]:
        """Kill the server when the producer has pushed half of the jobs, restart it, and wait for the producer's end.

        Returns the acknowledged jobs.
        """

        def state() -> str:
            return f"{len(producer.acknowledged())} pushed, {len(self.done())} done\n{self.report()}"

        def in_the_middle() -> bool:
            return len(producer.acknowledged()) >= jobs // 2 and len(self.done()) >= jobs // FIRST_PART

        wait_until(lambda: in_the_middle() or not producer.is_pushing(), state)
        done_before = len(self.done())
        self.server.kill()
        assert producer.is_pushing(), f"the server was killed after the last push: {state()}"
        assert done_before < jobs, "the server was killed after the last job: push more jobs"
        self.server.start()
        wait_until(lambda: not producer.is_pushing(), state)
        producer.finish()
        acknowledged = producer.acknowledged()
        assert len(acknowledged) > jobs // 2
        return acknowledged

    def missing(self, acknowledged: Sequence[int]) -> set[int]:
        """Acknowledged jobs that nobody has done yet."""
        return set(acknowledged) - set(self.done())

    def settled(self, acknowledged: Sequence[int], meanwhile: Callable[[], object] = lambda: None) -> set[int]:
        """The missing jobs once no worker has done any for a while; `meanwhile` is called again and again."""
        seen = -1
        quiet_since = time.monotonic()

        def quiet() -> bool:
            nonlocal seen, quiet_since
            meanwhile()
            if (count := len(self.done())) != seen:
                seen, quiet_since = count, time.monotonic()
            return time.monotonic() - quiet_since > QUIET_S or not self.missing(acknowledged)

        wait_until(quiet, self.report)
        return self.missing(acknowledged)

    def report(self) -> str:
        """What the workers and the server said, for a failure's message."""
        return f"{self.workers.log_tail()}\n{self.server.log_tail()}"

    def wait_until_done(self, acknowledged: Sequence[int], meanwhile: Callable[[], object] = lambda: None) -> None:
        """Wait until every acknowledged job is done at least once; `meanwhile` is called again and again."""

        def finished() -> bool:
            if not self.missing(acknowledged):
                return True
            meanwhile()
            return False

        wait_until(
            finished,
            lambda: f"not done of {len(acknowledged)}: {sorted(self.missing(acknowledged))[:20]}\n{self.report()}",
        )


@contextmanager
def queue(tmp_path: Path, worker_command: Callable[[int], Sequence[str]], workers: int) -> Iterator[Queue]:
    """A server and `workers` processes; `worker_command` makes their command line from the server's port."""
    record_path = tmp_path / "record"
    with servers.running(servers.subject_flavour(), durable=True, tcp=True) as server:
        environment = {RECORD_VARIABLE: str(record_path), PORT_VARIABLE: str(server.port)}
        crew = Workers(worker_command(server.port), workers, environment, tmp_path / "workers.log")
        try:
            yield Queue(server, record_path, crew)
        finally:
            crew.close()
