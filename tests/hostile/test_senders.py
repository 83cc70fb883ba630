"""Clients that send slowly, half, too much, too deep, or rubbish: the server's memory is bounded, others are served."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from random import Random

import pytest

from tests.harness.raw import settle
from tests.harness.servers import ServerProcess, running, subject_flavour
from tests.harness.wire import ErrorReply, Simple, WireClosed, encode_command
from tests.hostile.limits import MIB, assert_serves, eventually, field, grows_at_most

CLIENTS = 120


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    options = ("--maxclients", str(CLIENTS + 2), "--proto-max-bulk-len", "1mb", "--client-query-buffer-limit", "8mb")
    with running(subject_flavour(), *options) as process:
        yield process


def test_slow_senders(server: ServerProcess) -> None:
    """A hundred clients that send a byte each in turn get their replies, and hold up nobody."""
    with contextlib.ExitStack() as stack:
        honest = stack.enter_context(server.connect())
        slow = [stack.enter_context(server.connect()) for _ in range(100)]
        request = encode_command(["SET", "slow", "x" * 20])
        with grows_at_most(server, 32 * MIB):
            for at in range(len(request)):
                for wire in slow:
                    wire.send_raw(request[at : at + 1])
                assert_serves(honest)
        assert [wire.read_reply() for wire in slow] == [Simple(b"OK")] * len(slow)


def test_half_open_flood(server: ServerProcess) -> None:
    """Connections up to maxclients with half a request each: little memory, a refusal for more, and all is freed."""
    half = b"*3\r\n$3\r\nSET\r\n$4\r\nhalf\r\n$1000000\r\n" + b"x" * 1000
    with server.connect() as honest:
        with contextlib.ExitStack() as stack, grows_at_most(server, 48 * MIB):
            for _ in range(CLIENTS + 1):
                stack.enter_context(server.connect()).send_raw(half)
            assert eventually(lambda: field(honest, "clients", "connected_clients") == CLIENTS + 2)
            with server.connect() as refused:
                assert refused.read_until_closed() == b"-ERR max number of clients reached\r\n"
            assert_serves(honest)
        assert eventually(lambda: field(honest, "clients", "connected_clients") == 1)
        assert honest.call("EXISTS", "half") == 0


@pytest.mark.parametrize(
    "data",
    [
        b"*2147483647\r\n" + b"$1\r\na\r\n" * 100,
        b"*1000000\r\n",
        b"*3\r\n$3\r\nSET\r\n$1048576\r\n",
        b"*2\r\n$1048576\r\nxx",
        b"*999999999\r\n$1048576\r\n" + b"x" * 100,
    ],
)
def test_huge_declared_lengths(server: ServerProcess, data: bytes) -> None:
    """What is only declared takes no memory."""
    with contextlib.ExitStack() as stack, grows_at_most(server, 16 * MIB):
        for _ in range(50):
            stack.enter_context(server.connect()).send_raw(data)
        settle(server)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"*2147483648\r\n", b"invalid multibulk length"),
        (b"*9223372036854775807\r\n", b"invalid multibulk length"),
        (b"*" + b"9" * 100 + b"\r\n", b"invalid multibulk length"),
        (b"*1\r\n$1048577\r\n", b"invalid bulk length"),
        (b"*1\r\n$9223372036854775808\r\n", b"invalid bulk length"),
        (b"*1\r\n$-1\r\n", b"invalid bulk length"),
        (b"*1\r\n" * 10_000, b"expected '$', got '*'"),
        (b"*1\r\n%1\r\n", b"expected '$', got '%'"),
        (b"x" * 70_000, b"too big inline request"),
        (b'"' * 60_001 + b"\n", b"unbalanced quotes in request"),
        (b"*" + b"1" * 70_000, b"too big mbulk count string"),
        (b"*1\r\n$" + b"1" * 70_000, b"too big bulk count string"),
    ],
)
def test_refused_lengths_and_nesting(server: ServerProcess, data: bytes, error: bytes) -> None:
    """Each is refused with one error, and the connection is closed."""
    with server.connect() as wire:
        with contextlib.suppress(WireClosed):
            wire.send_raw(data)
        assert wire.read_until_closed() == b"-ERR Protocol error: " + error + b"\r\n"


def test_arguments_at_the_limit(server: ServerProcess) -> None:
    """One argument may have proto-max-bulk-len bytes; a request with many such ends at client-query-buffer-limit."""
    largest = b"x" * MIB
    with server.connect() as wire, server.connect() as greedy:
        assert wire.call("SET", "large", largest) == Simple(b"OK")
        assert wire.call("STRLEN", "large") == MIB
        error = ErrorReply(b"ERR string exceeds maximum allowed size (proto-max-bulk-len)")
        assert wire.call("APPEND", "large", "y") == error
        with grows_at_most(server, 64 * MIB):
            with contextlib.suppress(WireClosed):
                greedy.send_raw(b"*100\r\n$4\r\nMSET\r\n" + b"$1048576\r\n%b\r\n" % largest * 99)
            assert greedy.is_closed_by_server()
        assert wire.call("DEL", "large") == 1
        assert_serves(wire)


def test_many_tiny_arguments(server: ServerProcess) -> None:
    """Arguments take more memory than they have bytes: the limit counts that."""
    with server.connect() as wire, server.connect() as honest, grows_at_most(server, 64 * MIB):
        with contextlib.suppress(WireClosed):
            wire.send_raw(b"*2000000\r\n" + b"$0\r\n\r\n" * 1_999_999)
        assert wire.is_closed_by_server()
        assert_serves(honest)


def test_pipelines_of_rubbish(server: ServerProcess) -> None:
    """Random bytes on many connections: errors and closed connections, nothing else."""
    seed = secrets.randbits(32)
    print("seed", seed)
    rng = Random(seed)
    with server.connect() as honest, grows_at_most(server, 32 * MIB):
        for _ in range(60):
            with server.connect() as wire, contextlib.suppress(WireClosed):
                for _ in range(rng.randrange(1, 5)):
                    lines = [rng.randbytes(rng.randrange(200)) for _ in range(rng.randrange(1, 40))]
                    wire.send_raw(rng.choice((b"\n", b"\r\n", b"\r\n*1\r\n$4\r\nPING\r\n", b"")).join(lines))
            assert_serves(honest)
        assert field(honest, "stats", "unexpected_error_replies") == 0


def test_commands_with_huge_counts(server: ServerProcess) -> None:
    """Counts and offsets at the ends of their ranges are answered at once: with an error, or what there is."""
    requests = [
        ("SETRANGE k 536870912 x", b"string exceeds maximum allowed size"),
        ("SETRANGE k 9223372036854775807 x", b"string exceeds maximum allowed size"),
        ("SETBIT k 4294967296 1", b"bit offset is not an integer or out of range"),
        ("BITFIELD k SET u8 #9223372036854775807 1", b"bit offset is not an integer or out of range"),
        ("SRANDMEMBER s -9223372036854775808", b"value is out of range"),
        ("HRANDFIELD h -4611686018427387905 WITHVALUES", b"value is out of range"),
        ("ZRANDMEMBER z -9223372036854775808 WITHSCORES", b"value is out of range"),
        ("LPOS l a RANK -9223372036854775808", b"value is out of range"),
        ("XADD x MAXLEN ~ 9223372036854775807 LIMIT 9223372036854775807 * f v", None),
        ("XADD x 18446744073709551615-18446744073709551615 f v", None),
        ("XADD x * f v", b"The stream has exhausted the last possible ID, unable to add more items"),
        ("LRANGE l -9223372036854775808 9223372036854775807", None),
        ("SRANDMEMBER s 9223372036854775807", None),
        ("SPOP s 9223372036854775807", None),
        ("ZRANGE z 0 9223372036854775807", None),
        ("SCAN 18446744073709551615 COUNT 9223372036854775807", b"invalid cursor"),
        ("SCAN 0 COUNT 9223372036854775807", None),
        ("SSCAN s 18446744073709551615 COUNT 9223372036854775807", None),
        ("SINTERCARD 9223372036854775807 s", b"can't be greater than number of args"),
        ("EVAL return 9223372036854775807", b"can't be greater than number of args"),
    ]
    with server.connect() as wire, grows_at_most(server, 16 * MIB):
        wire.pipeline([["RPUSH", "l", "a"], ["SADD", "s", "a", "b"], ["HSET", "h", "f", "v"], ["ZADD", "z", "1", "m"]])
        for request, error in requests:
            reply = wire.call(*request.split())
            if error is None:
                assert not isinstance(reply, ErrorReply), (request, reply)
            else:
                assert isinstance(reply, ErrorReply) and error in reply.text, (request, reply)
        assert_serves(wire)
