"""Requests that were executed as one run, and whose commit failed, got one error altogether instead of one each."""

from __future__ import annotations

import resource

import pytest

from tests.harness.servers import running, subject_flavour
from tests.harness.wire import ErrorReply

COUNT = 20


@pytest.mark.parametrize("beside", [[], [["PING"]]], ids=["alone", "with another one"])
def test_each_request_of_a_refused_run_is_answered(beside: list[list[str]]) -> None:
    with running(subject_flavour(), durable=True) as server, server.connect() as wire:
        wire.call("SET", "k", "v")
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        try:
            for _ in range(2000):
                # LevelDB's log has a buffer: not every write touches the file.
                replies = wire.pipeline([*[["SET", "k", "x" * 1000]] * COUNT, *beside])
                if isinstance(replies[0], ErrorReply):
                    break
        finally:
            resource.prlimit(server.pid, resource.RLIMIT_FSIZE, unlimited)
        assert len(replies) == COUNT + len(beside)
        assert all(isinstance(reply, ErrorReply) for reply in replies)
