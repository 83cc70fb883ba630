"""The Celery application: workers load `app`, whose port the environment gives; the test builds its own."""

from __future__ import annotations

import os

from celery import Celery

from tests.queues.record import PORT_VARIABLE, record

VISIBILITY_TIMEOUT_S = 1


def build(port: int, *, results: bool) -> Celery:
    """The application on this port, with its task `job`; a task is acknowledged after it is done."""
    url = f"redis://127.0.0.1:{port}"
    celery = Celery("crash", broker=f"{url}/0", backend=f"{url}/1" if results else None, set_as_current=False)
    celery.conf.update(
        task_acks_late=True,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
        broker_transport_options={"visibility_timeout": VISIBILITY_TIMEOUT_S},
    )
    celery.task(name="job")(record)
    return celery


app = build(int(os.environ.get(PORT_VARIABLE, "0")), results=True)
