"""Clients that wait for an element, over real connections: order, time-outs, requests behind, clients that go away."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.harness import servers
from tests.harness.wire import Argument, ErrorReply, NullArray, Reply, Simple, Wire

OK = Simple(b"OK")


class Clients:
    """One server, empty at the start, and any number of connections to it."""

    def __init__(self, stack: ExitStack) -> None:
        self.server = servers.subject()
        self._stack = stack
        self.control = self.connect()
        assert self.control.call("FLUSHALL") == OK

    def connect(self) -> Wire:
        return self._stack.enter_context(self.server.connect())

    @property
    def blocked(self) -> int:
        for line in self.control.call("INFO", "clients").splitlines():
            if line.startswith(b"blocked_clients:"):
                return int(line.partition(b":")[2])
        raise AssertionError("INFO has no blocked_clients")

    def wait_for_blocked(self, count: int) -> None:
        deadline = time.monotonic() + 20
        while self.blocked != count:
            assert time.monotonic() < deadline, f"{self.blocked} clients are blocked, not {count}"

    def block(self, *argv: Argument, wire: Wire | None = None) -> Wire:
        """A connection that waits in this command, behind those that wait already."""
        before = self.blocked
        wire = wire or self.connect()
        wire.send(*argv)
        self.wait_for_blocked(before + 1)
        return wire


@pytest.fixture
def clients() -> Iterator[Clients]:
    with ExitStack() as stack:
        yield Clients(stack)


# ---- order


def test_those_who_wait_are_served_in_order(clients: Clients) -> None:
    waiting = [clients.block("BLPOP", "other", "l", 0) for _ in range(20)]
    clients.control.call("RPUSH", "l", *range(15))
    assert [wire.read_reply() for wire in waiting[:15]] == [[b"l", b"%d" % number] for number in range(15)]
    assert clients.blocked == 5
    clients.control.pipeline([("RPUSH", "l", number) for number in range(15, 22)])
    assert [wire.read_reply() for wire in waiting[15:]] == [[b"l", b"%d" % number] for number in range(15, 20)]
    assert clients.control.call("LRANGE", "l", 0, -1) == [b"20", b"21"]


def test_a_client_keeps_its_place_while_the_key_has_another_type(clients: Clients) -> None:
    first = clients.block("BLPOP", "k", 0)
    clients.control.pipeline([("ZADD", "k", 1, "m"), ("DEL", "k"), ("SET", "k", "v"), ("DEL", "k")])
    second = clients.block("BLPOP", "k", 0)
    clients.control.call("RPUSH", "k", "a", "b")
    assert (first.read_reply(), second.read_reply()) == ([b"k", b"a"], [b"k", b"b"])


def test_lists_and_sorted_sets_on_one_key(clients: Clients) -> None:
    for_list = clients.block("BLPOP", "k", 0)
    for_set = clients.block("BZPOPMIN", "k", 0)
    clients.control.call("ZADD", "k", 1, "m")
    assert for_set.read_reply() == [b"k", b"m", b"1"]
    assert clients.control.call("EXISTS", "k") == 0
    clients.control.call("RPUSH", "k", "a")
    assert for_list.read_reply() == [b"k", b"a"]


# ---- keys made by any command


def _restore(clients: Clients) -> None:
    clients.control.call("RPUSH", "other", "a")
    clients.control.call("RESTORE", "l", 0, clients.control.call("DUMP", "other"))


def _calls(*commands: str) -> Callable[[Clients], None]:
    def run(clients: Clients) -> None:
        for command in commands:
            reply = clients.control.call(*command.split())
            assert not isinstance(reply, ErrorReply), reply

    return run


@pytest.mark.parametrize(
    "make",
    [
        _calls("RPUSH other a", "RENAME other l"),
        _calls("RPUSH other a", "RENAMENX other l"),
        _calls("RPUSH other a", "COPY other l"),
        _calls("SELECT 1", "RPUSH l a", "MOVE l 0", "SELECT 0"),
        _calls("SELECT 1", "RPUSH l a", "SWAPDB 0 1", "SELECT 0"),
        _calls("SELECT 1", "RPUSH l a", "SWAPDB 1 0", "SELECT 0"),
        _calls("RPUSH other a", "LMOVE other l LEFT LEFT"),
        _calls("RPUSH other a", "RPOPLPUSH other l"),
        _calls("SADD other a", "SORT other ALPHA STORE l"),
        _calls("MULTI", "RPUSH l x", "LPOP l", "RPUSH l a", "EXEC"),
        _calls("SET l string", "DEL l", "RPUSH l a"),
        _calls("RPUSH l a"),
        _calls("LPUSH l a"),
        _restore,
    ],
    ids=lambda make: getattr(make, "__name__", ""),
)
def test_whatever_makes_the_key_serves(clients: Clients, make: Callable[[Clients], None]) -> None:
    waiting = clients.block("BLPOP", "l", 0)
    make(clients)
    assert waiting.read_reply() == [b"l", b"a"]
    assert clients.control.call("EXISTS", "l") == 0


def test_a_chain_of_moves(clients: Clients) -> None:
    last = clients.block("BLPOP", "d", 0)
    movers = [clients.block("BLMOVE", a, b, "LEFT", "RIGHT", 0) for a, b in ("cd", "bc", "ab")]
    clients.control.call("RPUSH", "a", "item")
    assert [wire.read_reply() for wire in movers] == [b"item"] * 3
    assert last.read_reply() == [b"d", b"item"]
    assert clients.control.call("DBSIZE") == 0


def test_a_circle_of_moves_ends(clients: Clients) -> None:
    one = clients.block("BRPOPLPUSH", "a", "b", 0)
    two = clients.block("BRPOPLPUSH", "b", "a", 0)
    clients.control.call("RPUSH", "a", "item")
    assert (one.read_reply(), two.read_reply()) == (b"item", b"item")
    assert clients.control.call("LRANGE", "a", 0, -1) == [b"item"]


def test_a_move_to_a_key_of_another_type_leaves_the_element(clients: Clients) -> None:
    waiting = clients.block("BLMOVE", "a", "b", "LEFT", "LEFT", 0)
    clients.control.call("SET", "b", "string")
    clients.control.call("RPUSH", "a", "item")
    reply = waiting.read_reply()
    assert isinstance(reply, ErrorReply)
    assert reply.text.startswith(b"WRONGTYPE")
    assert clients.control.call("LRANGE", "a", 0, -1) == [b"item"]


def test_blmpop_takes_as_many_as_it_wants(clients: Clients) -> None:
    waiting = clients.block("BLMPOP", 0, 2, "a", "b", "RIGHT", "COUNT", 2)
    clients.control.call("RPUSH", "b", "1", "2", "3")
    assert waiting.read_reply() == [b"b", [b"3", b"2"]]
    assert clients.control.call("LRANGE", "b", 0, -1) == [b"1"]


# ---- time


def test_timeouts_end_in_their_order(clients: Clients) -> None:
    started = time.monotonic()
    long = clients.block("BLPOP", "l", "0.6")
    short = clients.block("BLMOVE", "l", "m", "LEFT", "LEFT", "0.25")
    assert short.read_reply() == NullArray()
    assert time.monotonic() - started >= 0.25
    assert long.read_reply() == NullArray()
    assert time.monotonic() - started >= 0.6
    clients.wait_for_blocked(0)
    clients.control.call("RPUSH", "l", "kept")
    assert clients.control.call("LLEN", "l") == 1


def test_a_served_client_does_not_time_out_later(clients: Clients) -> None:
    waiting = clients.block("BLPOP", "l", "0.2")
    clients.control.call("RPUSH", "l", "a")
    assert waiting.read_reply() == [b"l", b"a"]
    other = clients.block("BLPOP", "m", "0.25")
    assert other.read_reply() == NullArray()
    assert waiting.call("PING") == Simple(b"PONG")


def test_client_unblock(clients: Clients) -> None:
    waiting = clients.connect()
    ident = waiting.call("CLIENT", "ID")
    for reason, expected in (("TIMEOUT", NullArray()), ("ERROR", None)):
        clients.block("BLPOP", "l", 0, wire=waiting)
        assert clients.control.call("CLIENT", "UNBLOCK", ident, reason) == 1
        reply = waiting.read_reply()
        assert reply == expected or reply == ErrorReply(b"UNBLOCKED client unblocked via CLIENT UNBLOCK")
        assert clients.control.call("CLIENT", "UNBLOCK", ident) == 0
    clients.control.call("RPUSH", "l", "a")
    assert clients.control.call("LLEN", "l") == 1


# ---- the client's other requests


def test_requests_behind_a_blocking_command_wait(clients: Clients) -> None:
    wire = clients.connect()
    before = clients.blocked
    wire.send_raw(b"BLPOP l 0\r\nSET done 1\r\nBLPOP l 0\r\nSET done 2\r\nPING\r\n")
    clients.wait_for_blocked(before + 1)
    wire.send("ECHO", "sent while blocked")
    assert clients.control.call("GET", "done") != b"1"
    clients.control.call("RPUSH", "l", "a")
    replies: list[Reply] = [wire.read_reply(), wire.read_reply()]
    assert replies == [[b"l", b"a"], OK]
    assert clients.control.call("GET", "done") == b"1"
    clients.control.call("RPUSH", "l", "b")
    assert [wire.read_reply() for _ in range(4)] == [[b"l", b"b"], OK, Simple(b"PONG"), b"sent while blocked"]
    assert clients.control.call("GET", "done") == b"2"


def test_requests_behind_a_timeout_go_on(clients: Clients) -> None:
    wire = clients.connect()
    replies = wire.pipeline([("BLPOP", "l", "0.05"), ("PING",), ("BRPOP", "l", "0.05"), ("ECHO", "x")])
    assert replies == [NullArray(), Simple(b"PONG"), NullArray(), b"x"]


def test_a_silent_client_is_served_silently(clients: Clients) -> None:
    wire = clients.connect()
    wire.send("CLIENT", "REPLY", "SKIP")
    clients.block("BLPOP", "l", 0, wire=wire)
    clients.control.call("RPUSH", "l", "a", "b")
    assert wire.call("BLPOP", "l", 0) == [b"l", b"b"]


# ---- clients that go away


def test_a_closed_client_is_no_waiter(clients: Clients) -> None:
    gone = clients.block("BLPOP", "l", 0)
    stays = clients.block("BLPOP", "l", 0)
    gone.close()
    clients.wait_for_blocked(1)
    clients.control.call("RPUSH", "l", "a")
    assert stays.read_reply() == [b"l", b"a"]


@pytest.mark.parametrize("behind", [b"", b"PING\r\n" * 10], ids=["nothing unread", "requests unread"])
def test_nothing_is_popped_for_a_client_that_vanished_in_the_same_turn(clients: Clients, behind: bytes) -> None:
    """The server finds the push and the end of the waiter's connection at once, the push first."""
    vanishing = clients.block("BLPOP", "l", 0)
    process = clients.server.pid
    os.kill(process, signal.SIGSTOP)
    try:
        clients.control.send("RPUSH", "l", "a")
        if behind:
            vanishing.send_raw(behind)
        vanishing.close()
    finally:
        os.kill(process, signal.SIGCONT)
    assert clients.control.read_reply() == 1
    clients.wait_for_blocked(0)
    assert clients.control.call("LRANGE", "l", 0, -1) == [b"a"]


def test_a_killed_client_is_no_waiter(clients: Clients) -> None:
    wire = clients.connect()
    ident = wire.call("CLIENT", "ID")
    clients.block("BLPOP", "l", 0, wire=wire)
    assert clients.control.call("CLIENT", "KILL", "ID", ident) == 1
    assert wire.is_closed_by_server()
    clients.control.call("RPUSH", "l", "a")
    assert clients.control.call("LLEN", "l") == 1


@pytest.mark.slow
def test_many_waiting_clients(clients: Clients) -> None:
    """A few hundred on a few keys, served by pushes and time-outs in between; every element goes to exactly one."""
    waiting = [clients.connect() for _ in range(400)]
    for number, wire in enumerate(waiting):
        wire.send("BLPOP", f"l{number % 7}", f"l{(number + 1) % 7}", 0)
    clients.wait_for_blocked(400)
    commands = [("RPUSH", f"l{number % 7}", number) for number in range(400)]
    clients.control.pipeline(commands)
    got = sorted(int(wire.read_reply()[1]) for wire in waiting)
    assert got == list(range(400))
    assert clients.blocked == 0
    assert clients.control.call("DBSIZE") == 0
