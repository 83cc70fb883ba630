"""Celery: its own worker and its own client, unmodified; a crash of the server in the middle loses no job."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from kombu.exceptions import OperationalError

from tests.queues.celery_app import build
from tests.queues.crash import ThreadProducer, queue, wait_until

JOBS = 1500
THREADS = 4
MAX_LOST = 1


def worker_command(_: int) -> list[str]:
    options = ["--pool", "threads", "--concurrency", str(THREADS), "--loglevel", "WARNING"]
    return [sys.executable, "-m", "celery", "-A", "tests.queues.celery_app", "worker", *options]


@pytest.mark.slow
def test_every_acknowledged_job_is_done(tmp_path: Path) -> None:
    with queue(tmp_path, worker_command, 1) as running:
        app = build(running.server.port, results=False)
        job = app.tasks["job"]
        producer = ThreadProducer(running, JOBS, job.delay, OperationalError)
        acknowledged = running.push_through_a_crash(producer, JOBS)
        with running.server.connect_tcp() as wire:
            wait_until(lambda: wire.call("LLEN", "celery") == 0, running.report)
        with app.connection() as connection:
            # Jobs that the worker took and could not acknowledge go back to the queue; it does so itself, more rarely.
            restore = connection.default_channel.qos.restore_visible
            lost = sorted(running.settled(acknowledged, restore))
        # Celery's worker pops a job before it notes down that it has it: the one whose pop the crash has swallowed is
        # gone, whatever the server; an application pushes it again when its result does not come.
        assert len(lost) <= MAX_LOST, f"lost: {lost}\n{running.report()}"
        for number in lost:
            job.delay(number)
        running.wait_until_done(acknowledged)
        app.close()
