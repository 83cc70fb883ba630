"""Clients that make the server remember things: each kind has a bound, and maxmemory-clients ends the largest."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.harness.servers import ServerProcess, running, subject_flavour
from tests.harness.wire import ErrorReply, Simple, Wire, WireClosed, encode_command
from tests.hostile.limits import MIB, assert_serves, eventually, field, grows_at_most

LIMIT = 24 * MIB


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    options = ("--maxmemory-clients", str(LIMIT), "--client-query-buffer-limit", "8mb", "--acllog-max-len", "16")
    with running(subject_flavour(), *options, "--tracking-table-max-keys", "10000") as process:
        yield process


def bloat(wire: Wire, command: str) -> None:
    """Give a command ever new names until the server ends the connection."""
    with contextlib.suppress(WireClosed, OSError):
        for start in range(0, 400_000, 2000):
            names = [b"name:%d" % number for number in range(start, start + 2000)]
            wire.send_raw(encode_command([command, *names]))
            # Read what there is: only what is remembered counts here.
            wire.call("PING")


@pytest.mark.parametrize("command", ["SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "WATCH"])
def test_names(server: ServerProcess, command: str) -> None:
    """Channels, patterns and watched keys count for maxmemory-clients."""
    with server.connect() as honest, server.connect() as greedy:
        before = field(honest, "stats", "evicted_clients")
        with grows_at_most(server, 4 * LIMIT):
            bloat(greedy, command)
            assert eventually(lambda: field(honest, "stats", "evicted_clients") == before + 1)
            assert greedy.is_closed_by_server()
        assert_serves(honest)
        assert field(honest, "stats", "pubsub_channels") == field(honest, "stats", "pubsub_patterns") == 0


def test_prefixes(server: ServerProcess) -> None:
    with server.connect() as honest, server.connect() as greedy:
        before = field(honest, "stats", "evicted_clients")
        greedy.hello(3)
        with contextlib.suppress(WireClosed):
            for start in range(0, 100_000, 10_000):
                words = [word for number in range(start, start + 10_000) for word in ("PREFIX", f"prefix:{number:06d}")]
                greedy.call("CLIENT", "TRACKING", "ON", "BCAST", *words)
        assert eventually(lambda: field(honest, "stats", "evicted_clients") == before + 1)
        assert field(honest, "stats", "tracking_total_prefixes") == 0


def test_the_largest_client_goes_first(server: ServerProcess) -> None:
    """A client with CLIENT NO-EVICT stays; the others stay when the largest is gone."""
    half = b"*2\r\n$4\r\nECHO\r\n$7900000\r\n" + b"x" * 7_800_000
    with contextlib.ExitStack() as stack:
        honest = stack.enter_context(server.connect())
        before = field(honest, "stats", "evicted_clients")
        exempt = stack.enter_context(server.connect())
        assert exempt.call("CLIENT", "NO-EVICT", "ON") == Simple(b"OK")
        exempt.send_raw(half)
        others = [stack.enter_context(server.connect()) for _ in range(4)]
        for number, wire in enumerate(others):
            wire.send_raw(half[: len(half) - 1_000_000 * number])
        assert eventually(lambda: field(honest, "stats", "evicted_clients") == before + 2)
        assert others[0].is_closed_by_server()
        assert others[1].is_closed_by_server()
        exempt.send_raw(b"x" * 100_000 + b"\r\n")
        reply = exempt.read_reply()
        assert isinstance(reply, bytes) and len(reply) == 7_900_000
        assert_serves(honest)


def test_transactions(server: ServerProcess) -> None:
    """A queue larger than client-query-buffer-limit ends the connection."""
    with server.connect() as honest, server.connect() as greedy, grows_at_most(server, 4 * LIMIT):
        assert greedy.call("MULTI") == Simple(b"OK")
        with contextlib.suppress(WireClosed, OSError):
            for _ in range(1000):
                greedy.pipeline([["SET", "k", b"x" * 10_000]] * 100)
        assert greedy.is_closed_by_server()
        assert honest.call("EXISTS", "k") == 0
        assert_serves(honest)


def test_large_transactions_are_executed(server: ServerProcess) -> None:
    with server.connect() as wire:
        replies = wire.pipeline([["MULTI"], *[["INCR", "counter"]] * 20_000, ["EXEC"]])
        assert replies[-1] == list(range(1, 20_001))
        assert wire.pipeline([["MULTI"], ["MULTI"], ["WATCH", "k"], ["DISCARD"]])[1:3] == [
            ErrorReply(b"ERR MULTI calls can not be nested"),
            ErrorReply(b"ERR WATCH inside MULTI is not allowed"),
        ]


def test_tracked_keys(server: ServerProcess) -> None:
    """The table of keys that were read has tracking-table-max-keys entries at most."""
    with server.connect() as wire, server.connect() as honest:
        wire.hello(3)
        wire.call("CLIENT", "TRACKING", "ON")
        for start in range(0, 40_000, 1000):
            wire.call("MGET", *(f"key:{number}" for number in range(start, start + 1000)))
            while not isinstance(wire.call("PING"), Simple):
                pass
        assert 0 < field(honest, "stats", "tracking_total_keys") <= 10_000


def test_password_guessing(server: ServerProcess) -> None:
    """Thousands of guesses leave a short log and no memory behind."""
    with server.connect() as honest, server.connect() as guesser:
        before = field(honest, "stats", "acl_access_denied_auth")
        with grows_at_most(server, 16 * MIB):
            for start in range(0, 10_000, 1000):
                names = [f"user{number}" for number in range(start, start + 1000)]
                replies = guesser.pipeline([["AUTH", name, "x" * 100] for name in names])
                assert {reply.text for reply in replies} == {
                    b"WRONGPASS invalid username-password pair or user is disabled."
                }
        entries = honest.call("ACL", "LOG", "1000")
        assert isinstance(entries, list) and len(entries) == 16
        assert field(honest, "stats", "acl_access_denied_auth") == before + 10_000
        # A name of a megabyte is kept as its beginning.
        guesser.pipeline([["AUTH", b"n" * MIB + b"%d" % number, "x"] for number in range(16)])
        log = honest.call("ACL", "LOG", "1000")
        assert sum(len(part) for entry in log for part in entry if isinstance(part, bytes)) < MIB


def test_scripts(server: ServerProcess) -> None:
    """Scripts that come by EVAL are forgotten, the least recently used first."""
    with server.connect() as wire, grows_at_most(server, 48 * MIB):
        for start in range(0, 5000, 500):
            wire.pipeline([["EVAL", f"return {number}", "0"] for number in range(start, start + 500)])
        assert field(wire, "memory", "number_of_cached_scripts") <= 500
        assert field(wire, "stats", "evicted_scripts") >= 4500


def test_slow_log_and_names(server: ServerProcess) -> None:
    """The slow log keeps the beginnings of arguments; names with line breaks are refused."""
    with server.connect() as wire:
        wire.call("CONFIG", "SET", "slowlog-log-slower-than", "0")
        for number in range(200):
            wire.call("SET", f"k{number}", b"x" * 100_000)
        wire.call("CONFIG", "SET", "slowlog-log-slower-than", "10000")
        entries = wire.call("SLOWLOG", "GET", "-1")
        assert isinstance(entries, list) and len(entries) <= 128
        assert all(len(argument) < 200 for entry in entries for argument in entry[3])
        assert isinstance(wire.call("CLIENT", "SETNAME", "a\nb"), ErrorReply)
        assert isinstance(wire.call("CLIENT", "SETINFO", "LIB-NAME", "a b"), ErrorReply)
