"""RQ: its own worker and its own client, unmodified; a crash of the server in the middle loses no job."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import redis
import rq
from rq.intermediate_queue import IntermediateQueue
from rq.job import Job

from tests.queues.crash import Queue, ThreadProducer, queue
from tests.queues.record import record

JOBS = 1200
WORKERS = 2


def worker_command(port: int) -> list[str]:
    url = f"redis://127.0.0.1:{port}"
    return [sys.executable, "-m", "rq.cli", "worker", "--url", url, "--worker-class", "rq.SimpleWorker", "--quiet"]


def requeue_abandoned(jobs: rq.Queue, running: Queue, acknowledged: list[int]) -> None:
    """Give the jobs of workers that died to others now: RQ does so when their heartbeat is a minute old."""
    if jobs.count:
        return
    names = IntermediateQueue(jobs.key, jobs.connection).get_job_ids()
    names += jobs.started_job_registry.get_job_ids() + jobs.failed_job_registry.get_job_ids()
    missing = running.missing(acknowledged)
    for job in Job.fetch_many(list(dict.fromkeys(names)), connection=jobs.connection):
        if job is not None and job.args[0] in missing:
            jobs.enqueue_job(job)


@pytest.mark.slow
def test_every_acknowledged_job_is_done(tmp_path: Path) -> None:
    with queue(tmp_path, worker_command, WORKERS) as running:
        connection = redis.Redis(port=running.server.port)
        jobs = rq.Queue(connection=connection)
        producer = ThreadProducer(running, JOBS, lambda number: jobs.enqueue(record, number), redis.ConnectionError)
        acknowledged = running.push_through_a_crash(producer, JOBS)
        running.wait_until_done(acknowledged, lambda: requeue_abandoned(jobs, running, acknowledged))
        connection.close()
