"""Who waits and who is served, without sockets."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import pytest

from diskkv.commands import dispatch
from diskkv.commands.registry import TABLE, Flag, load_all
from diskkv.config import Config
from diskkv.engine.memory import MemoryStore
from diskkv.errors import StorageError
from diskkv.services.client import Client
from diskkv.services.instance import Instance


class WaitingClient(Client):
    """Counts how often the server had to look whether it is still there."""

    looked_at = 0
    is_there = True

    def is_connected(self) -> bool:
        self.looked_at += 1
        return self.is_there


def new_client(instance: Instance) -> WaitingClient:
    client = instance.new_client(WaitingClient)
    assert isinstance(client, WaitingClient)
    return client


@pytest.fixture
def instance() -> Instance:
    instance = Instance(Config(), MemoryStore())
    instance.use_commands(load_all(), Flag.PLAIN, Flag.SKIP_SLOWLOG)
    return instance


def run(client: Client, *argv: bytes) -> list[bytes]:
    """Execute a request with all that follows it; answers the replies that are there now."""
    dispatch.execute_batch(client, [list(argv)], 0, 1)
    replies = client.out[:]
    client.out.clear()
    return replies


def waiting(instance: Instance, *argv: bytes) -> WaitingClient:
    client = new_client(instance)
    assert run(client, *argv) == []
    assert client.blocked is not None
    return client


def test_a_push_looks_only_at_those_it_serves(instance: Instance) -> None:
    """However many wait."""
    clients = [waiting(instance, b"BLPOP", b"l", b"0") for _ in range(10_000)]
    pusher = new_client(instance)
    started = time.perf_counter()
    assert run(pusher, b"RPUSH", b"l", b"a", b"b") == [b":2\r\n"]
    assert sum(client.looked_at for client in clients) == 2
    assert [client.out for client in clients[:3]] == [
        [b"*2\r\n$1\r\nl\r\n$1\r\na\r\n"],
        [b"*2\r\n$1\r\nl\r\n$1\r\nb\r\n"],
        [],
    ]
    # A generous bound: a walk over all who wait takes several times as long.
    assert time.perf_counter() - started < 0.1
    assert instance.blocking.count == 9998


def test_other_keys_cost_nothing(instance: Instance) -> None:
    client = waiting(instance, b"BLPOP", b"l", b"0")
    pusher = new_client(instance)
    run(pusher, b"RPUSH", b"other", b"a")
    run(pusher, b"SET", b"l", b"string")
    run(pusher, b"DEL", b"l")
    assert client.looked_at == 0
    assert not instance.blocking.ready


def test_nobody_listens_when_nobody_waits(instance: Instance) -> None:
    database = instance.engine.database(0)
    first = waiting(instance, b"BLPOP", b"l", b"m", b"0")
    second = waiting(instance, b"BLPOP", b"m", b"0")
    assert database.observer is not None
    instance.blocking.unblock(first)
    assert database.observer is not None
    instance.forget_client(second)
    assert database.observer is None
    assert instance.blocking.keys == instance.blocking.count == 0


def test_time_outs_come_in_order_and_only_once(instance: Instance) -> None:
    instance.engine.begin(1_000_000)
    late = waiting(instance, b"BLPOP", b"l", b"0.5")
    soon = waiting(instance, b"BLPOP", b"l", b"0.125")
    never = waiting(instance, b"BLPOP", b"l", b"0")
    assert instance.blocking.next_deadline_ms == 1_000_125
    instance.blocking.expire(1_000_124)
    assert soon.blocked is not None
    instance.blocking.expire(1_000_125)
    assert soon.out == [b"*-1\r\n"]
    assert instance.blocking.next_deadline_ms == 1_000_500
    run(new_client(instance), b"RPUSH", b"l", b"a")
    assert late.out == [b"*2\r\n$1\r\nl\r\n$1\r\na\r\n"]
    instance.blocking.expire(2_000_000)
    assert len(late.out) == len(soon.out) == 1
    assert never.out == []
    assert instance.blocking.next_deadline_ms is None


def test_the_time_outs_of_served_clients_are_forgotten(instance: Instance) -> None:
    pusher = new_client(instance)
    client = new_client(instance)
    for _ in range(1000):
        run(client, b"BLPOP", b"l", b"1000")
        run(pusher, b"RPUSH", b"l", b"a")
    assert len(client.out) == 0 or client.blocked is None
    assert instance.blocking.deadlines < 100


def test_a_client_that_is_gone_is_passed_over(instance: Instance) -> None:
    gone = waiting(instance, b"BLPOP", b"l", b"0")
    stays = waiting(instance, b"BLPOP", b"l", b"0")
    gone.is_there = False
    run(new_client(instance), b"RPUSH", b"l", b"a")
    assert gone.out == []
    assert gone.closing
    assert stays.out == [b"*2\r\n$1\r\nl\r\n$1\r\na\r\n"]


def _raise(exc: Exception) -> Callable[..., bytes]:
    def fail(client: Client, argv: list[bytes]) -> bytes:
        client.db.put(b"trace", b"of a failed command", None)
        raise exc

    return fail


@pytest.mark.parametrize(
    ("exc", "answer"),
    [
        (StorageError("disk on fire"), b"-ERR storage error: disk on fire\r\n"),
        (RuntimeError("bug"), b"-ERR internal error; the server's log has the details\r\n"),
    ],
)
def test_a_command_that_fails_when_run_again(
    instance: Instance, exc: Exception, answer: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = waiting(instance, b"BLPOP", b"l", b"0")
    monkeypatch.setattr(TABLE["blpop"], "fn", _raise(exc))
    with caplog.at_level(logging.CRITICAL):
        assert run(new_client(instance), b"RPUSH", b"l", b"a") == [b":1\r\n"]
    assert client.out == [answer]
    assert client.blocked is None
    assert instance.engine.database(0).get(b"trace") is None
    assert instance.engine.database(0).get(b"l") is not None


def test_a_blocked_client_that_stays_keeps_its_place(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command may find that what changed is not for it; those behind it get their turn."""
    picky = waiting(instance, b"BRPOP", b"l", b"0")
    plain = waiting(instance, b"BLPOP", b"l", b"0")
    original = TABLE["brpop"].fn
    block = picky.blocked.block
    monkeypatch.setattr(TABLE["brpop"], "fn", lambda client, argv: block)
    pusher = new_client(instance)
    run(pusher, b"RPUSH", b"l", b"a")
    assert (picky.out, plain.out) == ([], [b"*2\r\n$1\r\nl\r\n$1\r\na\r\n"])
    monkeypatch.setattr(TABLE["brpop"], "fn", original)
    last = waiting(instance, b"BLPOP", b"l", b"0")
    run(pusher, b"RPUSH", b"l", b"b")
    assert (picky.out, last.out) == ([b"*2\r\n$1\r\nl\r\n$1\r\nb\r\n"], [])


def test_what_wakes_on_delete(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    client = waiting(instance, b"BLPOP", b"l", b"0")
    waiter = client.blocked
    instance.blocking.unblock(client)
    waiter.block.wake_on_delete = True
    pusher = new_client(instance)
    run(pusher, b"SET", b"l", b"string")
    instance.blocking.block(client, waiter.command, waiter.argv, waiter.block)
    monkeypatch.setattr(TABLE["blpop"], "fn", lambda client, argv: b"-GONE\r\n")
    run(pusher, b"DEL", b"l")
    assert client.out == [b"-GONE\r\n"]
