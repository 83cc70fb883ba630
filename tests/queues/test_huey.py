"""Huey: its own consumer and its own client, unmodified; a crash of the server in the middle loses no job."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import redis

from tests.queues.crash import ThreadProducer, queue, wait_until
from tests.queues.huey_app import build

JOBS = 3000
WORKERS = 2


def worker_command(_: int) -> list[str]:
    consumer = "from huey.bin.huey_consumer import consumer_main; consumer_main()"
    options = ["-w", str(WORKERS), "-k", "thread", "-d", "0.05", "-b", "1", "-m", "0.1", "-q"]
    return [sys.executable, "-c", consumer, "tests.queues.huey_app.huey", *options]


@pytest.mark.slow
def test_every_acknowledged_job_is_done(tmp_path: Path) -> None:
    with queue(tmp_path, worker_command, 1) as running:
        app, job = build(running.server.port)
        acknowledged = running.push_through_a_crash(ThreadProducer(running, JOBS, job, redis.ConnectionError), JOBS)
        wait_until(lambda: app.pending_count() == 0, lambda: f"{app.pending_count()} jobs stay\n{running.report()}")
        # Huey takes a job off the queue before it does it, so the job that a worker holds while it cannot reach the
        # server is gone, whatever the server; an application pushes it again when its result does not come.
        held = sorted(running.settled(acknowledged))
        assert len(held) <= WORKERS, f"lost: {held}\n{running.report()}"
        for number in held:
            job(number)
        running.wait_until_done(acknowledged)
        app.storage.pool.disconnect()
