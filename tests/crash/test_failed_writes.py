"""Writes that the file system refuses: errors on writes, reads go on, nothing acknowledged is lost, and it recovers."""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import Callable, Iterator

from tests.harness.servers import ServerProcess, running, subject_flavour
from tests.harness.wire import ErrorReply, Simple, Wire


@contextlib.contextmanager
def _no_file_may_grow(server: ServerProcess) -> Iterator[None]:
    """Every write to a file of the server fails (EFBIG) meanwhile, as on a disk that is full."""
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, unlimited)


def _eventually(condition: Callable[[], bool], timeout_s: float = 30.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def _write_until_refused(wire: Wire) -> tuple[dict[bytes, bytes], ErrorReply]:
    """Distinct writes until one gets an error; returns what was acknowledged, and the error."""
    acknowledged: dict[bytes, bytes] = {}
    for number in range(2000):
        key, value = b"during%d" % number, b"x" * 1000
        reply = wire.call("SET", key, value)
        if isinstance(reply, ErrorReply):
            return acknowledged, reply
        acknowledged[key] = value
    raise AssertionError("no write was refused")


def test_refused_writes_give_errors_and_reads_go_on() -> None:
    with running(subject_flavour(), durable=True) as server, server.connect() as wire:
        wire.pipeline([["SET", f"before{number}", "v"] for number in range(100)])
        with _no_file_may_grow(server):
            acknowledged, error = _write_until_refused(wire)
            assert error.text.startswith((b"MISCONF", b"ERR")), error
            assert wire.call("PING") == Simple(b"PONG")
            assert wire.call("GET", "before7") == b"v"
            assert wire.call("EXISTS", *(f"before{number}" for number in range(100))) == 100
            second = wire.call("SET", "another", "v")
            assert isinstance(second, ErrorReply) and second.text.startswith(b"MISCONF"), second
            assert wire.call("EXISTS", "another") == 0
        assert _eventually(lambda: bool(wire.call("SET", "after", "v") == Simple(b"OK")))
        assert wire.call("GET", "after") == b"v"
        assert wire.call("DBSIZE") == 101 + len(acknowledged)
        server.kill_and_restart()
        with server.connect() as again:
            assert again.call("DBSIZE") == 101 + len(acknowledged)
            for key, value in acknowledged.items():
                assert again.call("GET", key) == value


def test_a_failed_turn_leaves_no_trace() -> None:
    """A pipeline whose commit fails changes nothing, not even in memory."""
    with running(subject_flavour(), durable=True) as server, server.connect() as wire:
        wire.call("SET", "counter", "5")
        with _no_file_may_grow(server):
            _write_until_refused(wire)
            wire.pipeline([["INCR", "counter"], ["GET", "counter"], ["APPEND", "counter", "x"]])
            assert wire.call("GET", "counter") == b"5"
        assert _eventually(lambda: not isinstance(wire.call("SET", "probe", "v"), ErrorReply))
        assert wire.call("GET", "counter") == b"5"
        assert wire.call("INCR", "counter") == 6


def test_deletes_make_room_or_fail_cleanly() -> None:
    """On a disk that takes nothing a DEL either works or says why not, and the counts stay exact."""
    with running(subject_flavour(), durable=True) as server, server.connect() as wire:
        wire.pipeline([["SET", f"k{number}", "v"] for number in range(50)])
        with _no_file_may_grow(server):
            _write_until_refused(wire)
            reply = wire.call("DEL", "k1")
            assert reply == 1 or isinstance(reply, ErrorReply)
            assert wire.call("EXISTS", "k1") == (0 if reply == 1 else 1)
