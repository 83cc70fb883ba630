"""Scripts that run for long: other clients are told, can end them, and the server goes on."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import servers
from tests.harness.servers import ServerProcess, running, subject_flavour
from tests.harness.wire import ErrorReply, NullBulk, Reply, Simple, WireClosed, WireTimeout

FOREVER = "while true do end"
WRITES_FOREVER = "redis.call('SET', 'written', '1') while true do end"
LIBRARY = """#!lua name=endless
redis.register_function('endless', function() while true do end end)
redis.register_function('quick', function() return 'done' end)
"""
BUSY = ErrorReply(b"BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.")
BUSY_FUNCTION = ErrorReply(b"BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.")
UNKILLABLE = (
    b"UNKILLABLE Sorry the script already executed write commands against the dataset. You can either wait the script "
    b"termination or kill the server in a hard way using the SHUTDOWN NOSAVE command."
)


@pytest.fixture(scope="module")
def shared() -> Iterator[ServerProcess]:
    with running(subject_flavour(), "--busy-reply-threshold", "30") as server:
        yield server


@pytest.fixture
def server(shared: ServerProcess) -> ServerProcess:
    with shared.connect() as wire:
        wire.pipeline([["FLUSHALL"], ["FUNCTION", "FLUSH"], ["SCRIPT", "FLUSH"]])
    return shared


def until_busy(server: ServerProcess) -> Reply:
    """Ask on new connections until one is refused because a script runs; the refusal.

    A connection whose request came before the script in the same turn has to wait for its reply, so it is given up.
    """
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with contextlib.suppress(WireTimeout), server.connect(timeout_s=0.5) as wire:
            reply = wire.call("PING")
            if reply != Simple(b"PONG"):
                return reply
    raise AssertionError("the server never became busy")


def test_an_endless_script_can_be_killed(server: ServerProcess) -> None:
    with server.connect() as caller, server.connect() as other:
        caller.send("EVAL", FOREVER, "0")
        assert until_busy(server) == BUSY
        assert other.call("GET", "k") == BUSY
        assert other.call("FUNCTION", "KILL") == BUSY
        assert other.call("FUNCTION", "STATS") == BUSY
        assert other.call("SHUTDOWN") == BUSY
        assert other.call("SCRIPT", "KILL") == Simple(b"OK")
        reply = caller.read_reply()
        assert isinstance(reply, ErrorReply) and b"killed by user with SCRIPT KILL" in reply.text
        assert other.call("PING") == Simple(b"PONG")
        assert caller.call("SET", "k", "v") == Simple(b"OK")
        assert other.call("SCRIPT", "KILL") == ErrorReply(b"NOTBUSY No scripts in execution right now.")


def test_an_endless_function_can_be_killed(server: ServerProcess) -> None:
    with server.connect() as caller, server.connect() as other:
        assert caller.call("FUNCTION", "LOAD", LIBRARY) == b"endless"
        caller.send("FCALL", "endless", "1", "k", "argument")
        assert until_busy(server) == BUSY_FUNCTION
        assert other.call("SCRIPT", "KILL") == BUSY_FUNCTION
        stats = other.call("FUNCTION", "STATS")
        assert stats[1][:4] == [b"name", b"endless", b"command", [b"FCALL", b"endless", b"1", b"k", b"argument"]]
        assert stats[1][4] == b"duration_ms" and stats[1][5] >= 30
        assert other.call("FUNCTION", "KILL") == Simple(b"OK")
        reply = caller.read_reply()
        assert isinstance(reply, ErrorReply) and b"killed by user" in reply.text
        assert other.call("FCALL", "quick", "0") == b"done"


def test_a_script_that_catches_errors_can_be_killed(server: ServerProcess) -> None:
    with server.connect() as caller, server.connect() as other:
        caller.send("EVAL", "while true do pcall(function() while true do redis.pcall('GET', 'k') end end) end", "0")
        assert until_busy(server) == BUSY
        assert other.call("SCRIPT", "KILL") == Simple(b"OK")
        assert isinstance(caller.read_reply(), ErrorReply)


def test_a_client_can_connect_and_log_in_to_end_a_script(server: ServerProcess) -> None:
    with server.connect() as caller:
        caller.send("EVAL", FOREVER, "0")
        assert until_busy(server) == BUSY
        with server.connect() as fresh:
            fresh.hello(3)
            assert fresh.call("AUTH", "wrong") != BUSY
            assert fresh.pipeline([["PING"], ["SCRIPT", "KILL"]]) == [BUSY, Simple(b"OK")]
        assert isinstance(caller.read_reply(), ErrorReply)


def test_transactions_of_others_are_refused_whole(server: ServerProcess) -> None:
    with server.connect() as caller, server.connect() as other:
        assert other.call("MULTI") == Simple(b"OK")
        assert other.call("SET", "k", "v") == Simple(b"QUEUED")
        caller.send("EVAL", FOREVER, "0")
        with server.connect() as third:
            assert until_busy(server) == BUSY
            exec_reply = other.call("EXEC")
            assert exec_reply == ErrorReply(b"EXECABORT Transaction discarded because of: " + BUSY.text)
            assert other.call("MULTI") == Simple(b"OK")
            assert other.call("SET", "k", "v") == BUSY
            third.call("SCRIPT", "KILL")
        assert isinstance(caller.read_reply(), ErrorReply)
        assert other.call("EXEC") == ErrorReply(b"EXECABORT Transaction discarded because of previous errors.")
        assert other.call("GET", "k") == NullBulk()


def test_replies_of_the_same_turn_stay_in_order(server: ServerProcess) -> None:
    """What others asked for before the script is not answered before it is on disk, and never out of order."""
    with server.connect() as caller, server.connect() as other:
        caller.send_raw(
            b"SET first 1\r\nEVAL \"while redis.call('GET', 'first') == '1' do end\" 0\r\nGET first\r\nQUIT\r\n"
        )
        assert until_busy(server) == BUSY
        other.send("SCRIPT", "KILL")
        assert caller.read_reply() == Simple(b"OK")
        assert isinstance(caller.read_reply(), ErrorReply)
        assert caller.read_reply() == b"1"
        assert other.read_reply() == Simple(b"OK")


@contextlib.contextmanager
def stopped(server: ServerProcess) -> Iterator[None]:
    """Everything that is sent inside arrives in one turn of the server."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        while Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            pass
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


@pytest.mark.parametrize("first", [("PING",), ("SET", "k", "v"), ("PUBLISH", "channel", "message")], ids=lambda v: v[0])
def test_clients_of_the_same_turn_are_heard(server: ServerProcess, first: tuple[str, ...]) -> None:
    """Also those whose requests came together with the script, before and behind it."""
    with contextlib.ExitStack() as stack:
        before, caller, behind, subscriber, killer = (stack.enter_context(server.connect()) for _ in range(5))
        subscriber.call("SUBSCRIBE", "channel")
        for wire in (caller, behind, killer, before, before):
            # The short way of the server's loop is for connections that have been used and are quiet. The one used
            # last is the first to be reported by epoll.
            assert wire.call("PING") == Simple(b"PONG")
        with stopped(server):
            before.send(*first)
            caller.send("EVAL", FOREVER, "0")
            behind.send("GET", "k")
            behind.send("GET", "k")
            killer.send("SCRIPT", "KILL")
        assert killer.read_reply() == Simple(b"OK")
        assert isinstance(caller.read_reply(), ErrorReply)
        assert behind.read_reply() in (BUSY, b"v", NullBulk())
        assert behind.read_reply() in (BUSY, b"v", NullBulk())
        assert not isinstance(before.read_reply(), ErrorReply)
        if first[0] == "PUBLISH":
            assert subscriber.read_any() == [b"message", b"channel", b"message"]
        for wire in (before, caller, behind, killer):
            assert wire.pipeline([["ECHO", "1"], ["ECHO", "2"]]) == [b"1", b"2"]


def test_a_client_that_leaves_does_not_disturb(server: ServerProcess) -> None:
    with server.connect() as caller, server.connect() as other:
        for _ in range(20):
            with server.connect() as gone:
                gone.call("PING")
        caller.send("EVAL", FOREVER, "0")
        leaving = [server.connect() for _ in range(20)]
        assert until_busy(server) == BUSY
        for wire in leaving:
            wire.close()
        assert until_busy(server) == BUSY
        other.call("SCRIPT", "KILL")
        assert isinstance(caller.read_reply(), ErrorReply)
        assert other.call("PING") == Simple(b"PONG")


def test_clients_blocked_on_a_key_are_served_after_the_script(server: ServerProcess) -> None:
    script = "redis.call('RPUSH', 'list', 'x') local t = redis.call('TIME')[1] + 0 for i = 1, 3e7 do end return 'end'"
    with server.connect() as blocked, server.connect() as caller, server.connect() as other:
        blocked.send("BLPOP", "list", "0")
        while b"cmd=blpop" not in other.call("CLIENT", "LIST"):
            pass
        caller.send("EVAL", script, "0")
        assert until_busy(server) == BUSY
        assert other.call("SCRIPT", "KILL") == ErrorReply(UNKILLABLE)
        assert caller.read_reply() == b"end"
        assert blocked.read_reply() == [b"list", b"x"]


@pytest.mark.parametrize("end", ["SHUTDOWN NOSAVE", "SIGTERM"])
def test_a_script_that_wrote_ends_only_with_the_process(end: str) -> None:
    with running(subject_flavour(), "--busy-reply-threshold", "30") as server:
        with server.connect() as caller, server.connect() as other:
            assert other.call("SET", "before", "1") == Simple(b"OK")
            requests = ["SET same-turn 1", f'EVAL "{WRITES_FOREVER}" 0', f'EVAL "{FOREVER}" 0']
            caller.send_raw("".join(f"{request}\r\n" for request in requests).encode())
            assert until_busy(server) == BUSY
            assert other.call("SCRIPT", "KILL") == ErrorReply(UNKILLABLE)
            assert other.call("SHUTDOWN", "SAVE") == BUSY
            if end == "SIGTERM":
                assert server.stop() == 0
            else:
                other.send("SHUTDOWN", "NOSAVE")
                assert server.wait_ended() == 0
            with pytest.raises(WireClosed):
                caller.read_reply()
        server.start()
        with server.connect() as wire:
            # Nothing of the script was acknowledged, and nothing of it stays.
            assert wire.call("MGET", "before", "same-turn", "written") == [b"1", NullBulk(), NullBulk()]


def test_the_threshold_can_be_changed_and_switched_off(server: ServerProcess) -> None:
    slow = "for i = 1, 2e7 do end return 'end'"
    with server.connect() as caller, server.connect() as other:
        try:
            for name in ("lua-time-limit", "busy-reply-threshold"):
                assert other.call("CONFIG", "SET", name, "0") == Simple(b"OK")
                caller.send("EVAL", slow, "0")
                assert other.call("PING") == Simple(b"PONG")
                assert caller.read_reply() == b"end"
        finally:
            assert other.call("CONFIG", "SET", "busy-reply-threshold", "30") == Simple(b"OK")


def test_busy_texts_are_the_references() -> None:
    """The same exchange with the reference."""
    seen = []
    for flavour in (subject_flavour(), servers.reference_flavour()):
        replies = []
        with (
            running(flavour, "--busy-reply-threshold", "30") as server,
            server.connect() as caller,
            server.connect() as other,
        ):
            other.call("FUNCTION", "LOAD", LIBRARY)
            for command, end in ((("EVAL", FOREVER, "0"), "SCRIPT"), (("FCALL", "endless", "0"), "FUNCTION")):
                caller.send(*command)
                replies.append(until_busy(server))
                for words in ("SCRIPT KILL", "FUNCTION KILL"):
                    if words.split()[0] != end:
                        replies.append(other.call(*words.split()))
                requests = ["SHUTDOWN", "MULTI", "SET a b", "DISCARD", "NOSUCH", "GET", "CLIENT ID", "INFO", "WATCH k"]
                replies += other.pipeline([request.split() for request in requests])
                replies.append(other.call(end, "KILL"))
                replies.append(caller.read_reply())
        seen.append(replies)
    assert seen[0] == seen[1]
