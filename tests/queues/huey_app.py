"""The huey application: the consumer loads `huey`, whose port the environment gives; the test builds its own."""

from __future__ import annotations

import os

from huey import RedisHuey
from huey.api import TaskWrapper

from tests.queues.record import PORT_VARIABLE, record


def build(port: int) -> tuple[RedisHuey, TaskWrapper]:
    """The queue on this port, and its task."""
    app = RedisHuey("crash", host="127.0.0.1", port=port)

    @app.task()
    def job(number: int) -> int:
        return record(number)

    return app, job


huey, _ = build(int(os.environ.get(PORT_VARIABLE, "0")))
