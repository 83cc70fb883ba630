"""Expiry seen from outside: on time, counted exactly, reaped without being asked for."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.harness import servers
from tests.harness.servers import running, subject_flavour
from tests.harness.snapshot import keyspace, scan_all
from tests.harness.statemachine import wait_until_past
from tests.harness.wire import NullBulk, Simple, Wire


def now_ms() -> int:
    """The wall clock in ms."""
    return int(time.time() * 1000)


def eventually(condition: Callable[[], bool], timeout_s: float = 20.0) -> bool:
    """Whether the condition becomes true in time."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return False


def info(wire: Wire, section: str) -> dict[bytes, bytes]:
    """A section of INFO."""
    lines = wire.call("INFO", section).splitlines()
    return dict(line.split(b":", 1) for line in lines if b":" in line)


READERS = {
    "GET": NullBulk(),
    "EXISTS": 0,
    "TYPE": Simple(b"none"),
    "TTL": -2,
    "STRLEN": 0,
    "DEL": 0,
    "PERSIST": 0,
    "GETDEL": NullBulk(),
    "OBJECT ENCODING": NullBulk(),
    "DUMP": NullBulk(),
    "TOUCH": 0,
}


@pytest.mark.parametrize("command", READERS)
def test_no_command_sees_an_expired_key(command: str) -> None:
    """With the reaper off, every command treats an expired key as gone."""
    with servers.subject().connect() as wire:
        assert wire.call("FLUSHALL") == Simple(b"OK")
        assert wire.call("DEBUG", "SET-ACTIVE-EXPIRE", 0) == Simple(b"OK")
        try:
            at_ms = now_ms() + 20
            assert wire.call("SET", "k", "v", "PXAT", at_ms) == Simple(b"OK")
            wait_until_past(at_ms)
            assert wire.call(*command.split(), "k") == READERS[command]
        finally:
            wire.call("DEBUG", "SET-ACTIVE-EXPIRE", 1)


def test_iterations_do_not_show_expired_keys() -> None:
    with servers.subject().connect() as wire:
        assert wire.call("FLUSHALL") == Simple(b"OK")
        assert wire.call("DEBUG", "SET-ACTIVE-EXPIRE", 0) == Simple(b"OK")
        try:
            at_ms = now_ms() + 50
            wire.pipeline([["SET", f"short{number}", "v", "PXAT", at_ms] for number in range(50)])
            wire.pipeline([["SET", f"long{number}", "v"] for number in range(50)])
            wait_until_past(at_ms)
            assert len(set(scan_all(wire, "SCAN", "CURSOR"))) == 50
            assert len(wire.call("KEYS", "*")) == 50
            assert wire.call("RANDOMKEY").startswith(b"long")
        finally:
            wire.call("DEBUG", "SET-ACTIVE-EXPIRE", 1)


def test_expired_keys_are_reaped_without_being_touched() -> None:
    """DBSIZE, expires and expired_keys end at the exact counts by themselves."""
    with servers.subject().connect() as wire:
        assert wire.call("FLUSHALL") == Simple(b"OK")
        before = int(info(wire, "stats")[b"expired_keys"])
        at_ms = now_ms() + 100
        wire.pipeline([["SET", f"short{number}", "v", "PXAT", at_ms] for number in range(500)])
        wire.pipeline([["SET", f"long{number}", "v", "EX", 10000] for number in range(30)])
        wire.pipeline([["SET", f"forever{number}", "v"] for number in range(20)])
        assert eventually(lambda: bool(wire.call("DBSIZE") == 50))
        assert keyspace(wire)[b"db0"] == (b"50", b"30")
        assert int(info(wire, "stats")[b"expired_keys"]) - before == 500


def test_recreated_keys_outlive_their_old_expiry() -> None:
    """An old entry of the expiry index never removes a key that was written again meanwhile."""
    with servers.subject().connect() as wire:
        assert wire.call("FLUSHALL") == Simple(b"OK")
        at_ms = now_ms() + 100
        names = [f"k{number}" for number in range(100)]
        wire.pipeline([["SET", name, "old", "PXAT", at_ms] for name in names])
        wire.pipeline([["SET", name, "new"] for name in names[:25]])
        wire.pipeline([["PERSIST", name] for name in names[25:50]])
        wire.pipeline([["DEL", name] for name in names[50:75]])
        wire.pipeline([["SET", name, "again", "EX", 1000] for name in names[50:75]])
        wire.pipeline([["RENAME", name, name + "x"] for name in names[75:]])
        wire.pipeline([["SET", name, "fresh"] for name in names[75:]])
        assert eventually(lambda: bool(wire.call("DBSIZE") == 100))
        wait_until_past(at_ms)
        assert eventually(lambda: bool(wire.call("DBSIZE") == 100))
        values = wire.call("MGET", *names)
        assert values == [b"new"] * 25 + [b"old"] * 25 + [b"again"] * 25 + [b"fresh"] * 25
        assert keyspace(wire)[b"db0"] == (b"100", b"25")


def test_keys_that_expire_while_the_server_is_down_are_gone() -> None:
    with running(subject_flavour(), durable=True) as server:
        with server.connect() as wire:
            at_ms = now_ms() + 200
            wire.pipeline([["SET", f"short{number}", "v", "PXAT", at_ms] for number in range(100)])
            wire.pipeline([["SET", f"long{number}", "v", "EX", 10000] for number in range(10)])
        server.stop()
        wait_until_past(at_ms)
        server.start()
        with server.connect() as wire:
            assert wire.call("EXISTS", "short0", "long0") == 1
            assert eventually(lambda: bool(wire.call("DBSIZE") == 10))
            assert keyspace(wire)[b"db0"] == (b"10", b"10")


def test_time_does_not_pass_within_a_pipeline_for_a_rewritten_key() -> None:
    """SET with a TTL of 1 ms and a later SET in one pipeline: the later one stays."""
    with servers.subject().connect() as wire:
        assert wire.call("FLUSHALL") == Simple(b"OK")
        commands: list[list[str | int]] = [["SET", "k", "v", "PX", 1], ["SET", "k", "w"], ["PTTL", "k"]]
        replies = wire.pipeline(commands * 200)
        assert replies == [Simple(b"OK"), Simple(b"OK"), -1] * 200
        assert wire.call("GET", "k") == b"w"
        assert keyspace(wire)[b"db0"] == (b"1", b"0")
