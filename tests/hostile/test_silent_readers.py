"""Clients that never read: what waits for them is bounded, in the end they are cut, and others are served."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.harness.servers import ServerProcess, running, subject_flavour
from tests.harness.wire import ErrorReply, Simple, WireClosed, encode_command
from tests.hostile.limits import MIB, assert_serves, eventually, field, grows_at_most, send_all_it_takes

LIMITS = ("normal", "0", "0", "0", "pubsub", "4mb", "2mb", "60")


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with running(subject_flavour(), "--client-output-buffer-limit", *LIMITS) as process:
        yield process


def test_replies(server: ServerProcess) -> None:
    """Twenty clients ask for 40 MB each: the requests wait, not the replies."""
    with contextlib.ExitStack() as stack:
        honest = stack.enter_context(server.connect())
        assert honest.call("SET", "value", b"x" * 200_000) == Simple(b"OK")
        with grows_at_most(server, 200 * MIB) as check:
            for _ in range(20):
                wire = stack.enter_context(server.connect())
                wire.send_raw(encode_command(["GET", "value"]) * 200)
                assert_serves(honest)
            check()


def test_small_requests_with_large_replies(server: ServerProcess) -> None:
    """COMMAND DOCS is 100,000 times as long as the request for it."""
    with server.connect() as honest, server.connect() as wire, grows_at_most(server, 64 * MIB):
        wire.send_raw(b"COMMAND DOCS\r\n" * 2000)
        for _ in range(20):
            assert_serves(honest)


def test_subscribers(server: ServerProcess) -> None:
    """Subscribers that do not read are cut at the limit of their class; publishers hardly notice."""
    with contextlib.ExitStack() as stack:
        honest = stack.enter_context(server.connect())
        before = field(honest, "stats", "client_output_buffer_limit_disconnections")
        silent = [stack.enter_context(server.connect()) for _ in range(20)]
        for number, wire in enumerate(silent):
            wire.call("PSUBSCRIBE" if number % 2 else "SUBSCRIBE", "news")
        message = b"m" * 50_000
        with grows_at_most(server, 160 * MIB):
            for _ in range(300):
                assert isinstance(honest.call("PUBLISH", "news", message), int)
        assert honest.call("PUBLISH", "news", "last") == 0
        assert field(honest, "stats", "client_output_buffer_limit_disconnections") == before + 20
        assert_serves(honest)


def test_monitors(server: ServerProcess) -> None:
    """What MONITOR shows is bounded as channels are, although such a client counts as a normal one."""
    with server.connect() as honest, server.connect() as silent:
        assert silent.call("MONITOR") == Simple(b"OK")
        argument = b"a" * 100_000
        with grows_at_most(server, 48 * MIB):
            for _ in range(300):
                assert honest.call("ECHO", argument) == argument
        assert eventually(lambda: len(honest.call("CLIENT", "LIST").splitlines()) == 1)


@pytest.mark.parametrize("mode", ["BCAST", "NOLOOP"])
def test_tracking(server: ServerProcess, mode: str) -> None:
    """So are invalidations."""
    with server.connect() as honest, server.connect() as silent:
        silent.hello(3)
        silent.call("CLIENT", "TRACKING", "ON", mode)
        key = b"k" * 60_000
        silent.pipeline([["GET", b"%b%d" % (key, number)] for number in range(200)])
        with grows_at_most(server, 96 * MIB):
            for number in range(200):
                assert honest.call("SET", b"%b%d" % (key, number), "v") == Simple(b"OK")
        assert eventually(lambda: len(honest.call("CLIENT", "LIST").splitlines()) == 1)
        assert honest.call("FLUSHALL") == Simple(b"OK")


def test_replies_switched_off(server: ServerProcess) -> None:
    """CLIENT REPLY OFF and SKIP keep nothing of the replies."""
    with server.connect() as honest, server.connect() as wire, grows_at_most(server, 64 * MIB):
        honest.call("SET", "value", b"x" * 200_000)
        wire.send("CLIENT", "REPLY", "OFF")
        wire.send_raw(encode_command(["GET", "value"]) * 600 + encode_command(["CLIENT", "REPLY", "SKIP"]) * 1000)
        wire.send("CLIENT", "REPLY", "ON")
        assert wire.read_reply() == Simple(b"OK")
        assert_serves(honest)


ENDLESS = [
    (["SRANDMEMBER", "set", "-4000000000"], 4_000_000_000),
    (["HRANDFIELD", "hash", "-4000000000"], 4_000_000_000),
    (["HRANDFIELD", "hash", "-4000000000", "WITHVALUES"], 8_000_000_000),
    (["ZRANDMEMBER", "zset", "-4000000000"], 4_000_000_000),
    (["ZRANDMEMBER", "zset", "-4000000000", "WITHSCORES"], 8_000_000_000),
]


@pytest.mark.parametrize(("request_words", "size"), ENDLESS)
def test_endless_replies(server: ServerProcess, request_words: list[str], size: int) -> None:
    """A random sample of thousands of millions is sent as long as it is read, and refused where it has to be whole."""
    with contextlib.ExitStack() as stack:
        honest = stack.enter_context(server.connect())
        honest.call("SADD", "set", *range(100))
        honest.call("HSET", "hash", *range(200))
        honest.call("ZADD", "zset", *range(200))
        error = ErrorReply(b"ERR the reply would exceed proto-max-bulk-len")
        with grows_at_most(server, 48 * MIB):
            assert honest.pipeline([["MULTI"], request_words, ["EXEC"]])[-1] == [error]
            assert honest.call("EVAL", "return redis.pcall(unpack(ARGV))", "0", *request_words) == error
            for _ in range(10):
                wire = stack.enter_context(server.connect())
                wire.send(*request_words)
                assert wire.read_until(b"\r\n") == b"*%d\r\n" % size
            for _ in range(10):
                assert_serves(honest)


def test_samples_of_large_members(server: ServerProcess) -> None:
    """Few draws of large members are much, too."""
    with server.connect() as honest, grows_at_most(server, 1200 * MIB):
        honest.call("SADD", "large", b"x" * MIB)
        error = ErrorReply(b"ERR the reply would exceed proto-max-bulk-len")
        assert honest.pipeline([["MULTI"], ["SRANDMEMBER", "large", "-100000"], ["EXEC"]])[-1] == [error]


def test_errors_before_login() -> None:
    """Who has not logged in and reads no errors is cut at 1 KB, however much the others may have."""
    with running(subject_flavour(), "--requirepass", "secret") as server, contextlib.ExitStack() as stack:
        honest = stack.enter_context(server.connect())
        assert honest.call("AUTH", "secret") == Simple(b"OK")
        with grows_at_most(server, 32 * MIB):
            for _ in range(20):
                wire = stack.enter_context(server.connect())
                send_all_it_takes(wire, b"GET k\r\n" * 10_000, 100)
                assert_serves(honest)
        assert eventually(lambda: len(honest.call("CLIENT", "LIST").splitlines()) == 1)
        patient = stack.enter_context(server.connect())
        patient.send_raw(b"GET k\r\n" * 1000)
        for _ in range(1000):
            reply = patient.read_reply()
            assert reply.text == b"NOAUTH Authentication required."
        with contextlib.suppress(WireClosed):
            assert patient.call("AUTH", "secret") == Simple(b"OK")
