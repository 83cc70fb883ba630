"""Large replies are made while they are sent: others are served meanwhile, memory stays, and nothing gets mixed up."""

from __future__ import annotations

import contextlib
import hashlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.servers import ServerProcess, running, subject_flavour
from tests.harness.wire import Double, ErrorReply, Map, Null, SetReply, Simple, Wire, WireClosed, encode_command

FIELDS = 50_000
HUGE = 300_000
SMALL = 6_000
"""Elements of the collections that only have to be large enough to be streamed."""
MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """A server with a hash "big" of FIELDS fields, and a collection of SMALL elements of every type."""
    with running(subject_flavour()) as started:
        with started.connect() as wire:
            _fill(wire, "big", FIELDS)
            _fill(wire, "hash", SMALL)
            numbers = range(SMALL)
            wire.call("SADD", "set", *[_field(number) for number in numbers])
            wire.call("RPUSH", "list", *[_value(number) for number in numbers])
            wire.call("ZADD", "zset", *[word for number in numbers for word in (number, _field(number))])
            wire.call("ZADD", "lex", *[word for number in numbers for word in (0, _field(number))])
            for number in numbers:
                wire.send("XADD", "stream", f"{number + 1}-0", "f", _value(number))
            for number in numbers:
                assert wire.read_reply() == b"%d-0" % (number + 1)
        yield started


@pytest.fixture(scope="module")
def huge(server: ServerProcess) -> ServerProcess:
    """The server, with a hash "huge" of HUGE fields, which take 20 MB as a reply."""
    with server.connect(timeout_s=60) as wire:
        _fill(wire, "huge", HUGE)
    return server


def _field(number: int) -> bytes:
    return b"field:%06d" % number


def _value(number: int) -> bytes:
    return b"value:%06d:" % number + b"v" * 40


def _fill(wire: Wire, key: str, fields: int) -> None:
    for at in range(0, fields, 5000):
        numbers = range(at, min(fields, at + 5000))
        added = wire.call("HSET", key, *[word for number in numbers for word in (_field(number), _value(number))])
        assert added == len(numbers)


def _resident_bytes(server: ServerProcess) -> int:
    status = Path(f"/proc/{server.pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS"))


def _fields_of(flat: list[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _clients(wire: Wire) -> list[dict[bytes, bytes]]:
    lines = wire.call("CLIENT", "LIST").splitlines()
    return [dict(word.split(b"=", 1) for word in line.split(b" ") if b"=" in word) for line in lines]


def _wait_until(condition: Any, timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@contextlib.contextmanager
def _stalled(server: ServerProcess, *argv: str, protocol: int = 2) -> Iterator[Wire]:
    """A client that asked for a large reply and has not taken any of it; the server cannot send it more."""
    with server.connect(timeout_s=60) as wire:
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        wire.hello(protocol)
        wire.call("CLIENT", "SETNAME", "stalled")
        wire.send(*argv)
        with server.connect() as control:
            _wait_until(lambda: any(each[b"name"] == b"stalled" and int(each[b"omem"]) for each in _clients(control)))
        yield wire


@pytest.mark.slow
def test_others_are_served_while_a_large_reply_is_sent(huge: ServerProcess) -> None:
    """Between the beginning and the end of one HGETALL, another client gets many replies."""
    with huge.connect() as reader, huge.connect() as other:
        reader.send("HGETALL", "huge")
        reader.socket.setblocking(False)
        received = hashlib.sha256()
        size = pings = 0
        expected = len(b"*%d\r\n" % (2 * HUGE)) + HUGE * (len(b"$12\r\n\r\n$53\r\n\r\n") + 12 + 53)
        while size < expected:
            assert other.call("PING") == Simple(b"PONG")
            pings += 1
            with contextlib.suppress(BlockingIOError):
                data = reader.socket.recv(MEGABYTE)
                assert data
                size += len(data)
                received.update(data)
        assert size == expected
        assert pings > 50


@pytest.mark.slow
def test_the_reply_is_whole(huge: ServerProcess) -> None:
    with huge.connect(timeout_s=60) as wire:
        flat = wire.call("HGETALL", "huge")
        assert len(flat) == 2 * HUGE
        fields = _fields_of(flat)
        assert fields == {_field(number): _value(number) for number in range(HUGE)}


@pytest.mark.slow
def test_slow_readers_take_no_memory(huge: ServerProcess) -> None:
    """Ten clients that ask for 20 MB each and take none of it do not cost a tenth of that."""
    with contextlib.ExitStack() as stack:
        with huge.connect() as wire:
            wire.call("HLEN", "huge")
        before = _resident_bytes(huge)
        for _ in range(10):
            stack.enter_context(_stalled(huge, "HGETALL", "huge"))
        assert _resident_bytes(huge) - before < 20 * MEGABYTE


def test_what_comes_after_the_command_is_not_seen(server: ServerProcess) -> None:
    """Fields that are changed, added and deleted, and the deletion of the key, happen after the reply was settled."""
    with server.connect(timeout_s=60) as writer:
        _fill(writer, "changing", 50_000)
        with _stalled(server, "HGETALL", "changing") as reader:
            for number in range(0, 50_000, 5):
                writer.send("HSET", "changing", _field(number), "changed")
            writer.send("HSET", "changing", *[word for number in range(1000) for word in (f"new:{number}", "x")])
            writer.send("HDEL", "changing", *[_field(number) for number in range(49_000, 50_000)])
            for _ in range(10_002):
                assert isinstance(writer.read_reply(), int)
            assert writer.call("DEL", "changing") == 1
            assert writer.call("SET", "changing", "a string now") == Simple(b"OK")
            assert _fields_of(reader.read_reply()) == {_field(number): _value(number) for number in range(50_000)}
            assert reader.call("GET", "changing") == b"a string now"
        writer.call("DEL", "changing")


def test_what_came_before_in_the_same_turn_is_seen(server: ServerProcess) -> None:
    """A pipeline that changes, reads and changes again gets what the first change made."""
    with server.connect(timeout_s=60) as wire:
        _fill(wire, "turn", SMALL)
        replies = wire.pipeline(
            [
                ("HSET", "turn", _field(1), "first", "extra", "first"),
                ("HDEL", "turn", _field(2)),
                ("HGETALL", "turn"),
                ("HSET", "turn", _field(1), "second", "later", "second"),
                ("HGET", "turn", _field(1)),
                ("DEL", "turn"),
            ]
        )
        expected = {_field(number): _value(number) for number in range(SMALL) if number != 2}
        expected |= {_field(1): b"first", b"extra": b"first"}
        assert replies[:2] == [1, 1]
        assert _fields_of(replies[2]) == expected
        assert replies[3:] == [1, b"second", 1]


def test_requests_behind_a_large_reply_are_answered_in_order(server: ServerProcess) -> None:
    with server.connect(timeout_s=60) as wire:
        commands: list[tuple[str, ...]] = [
            ("PING", "before"),
            ("HKEYS", "big"),
            ("SET", "after", "1"),
            ("SMEMBERS", "set"),
            ("LRANGE", "list", "0", "-1"),
            ("INCR", "after"),
            ("HVALS", "hash"),
            ("GET", "after"),
            ("NOSUCHCOMMAND",),
        ]
        replies = wire.pipeline(commands * 2)
        assert replies[0] == b"before"
        assert sorted(replies[1]) == [_field(number) for number in range(FIELDS)]
        assert sorted(replies[3]) == [_field(number) for number in range(SMALL)]
        assert replies[4] == [_value(number) for number in range(SMALL)]
        assert replies[5] == 2
        assert sorted(replies[6]) == [_value(number) for number in range(SMALL)]
        assert replies[7] == b"2"
        assert isinstance(replies[8], ErrorReply)
        assert len(replies[10]) == FIELDS


def test_quit_behind_a_large_reply(server: ServerProcess) -> None:
    """The reply and QUIT's OK arrive before the connection ends."""
    with server.connect(timeout_s=60) as wire:
        wire.send_raw(encode_command(["HKEYS", "big"]) + encode_command(["QUIT"]) + encode_command(["PING"]))
        assert len(wire.read_reply()) == FIELDS
        assert wire.read_until_closed() == b"+OK\r\n"


@pytest.mark.parametrize("protocol", [2, 3])
def test_every_type(server: ServerProcess, protocol: int) -> None:
    """Each command that streams answers all elements, in the reply type of the protocol."""
    numbers = range(SMALL)
    members = [_field(number) for number in numbers]
    entries = [[b"%d-0" % (number + 1), [b"f", _value(number)]] for number in numbers]
    with server.connect(timeout_s=60) as wire:
        wire.hello(protocol)
        found = wire.call("HGETALL", "hash")
        pairs = found.pairs if protocol == 3 else list(_fields_of(found).items())
        assert sorted(pairs) == [(_field(number), _value(number)) for number in numbers]
        found = wire.call("SMEMBERS", "set")
        assert isinstance(found, SetReply if protocol == 3 else list)
        assert sorted(found.members if protocol == 3 else found) == members
        assert wire.call("LRANGE", "list", 10, -10) == [_value(number) for number in numbers[10:-9]]
        assert wire.call("ZRANGE", "zset", 0, -1) == members
        assert wire.call("ZRANGE", "zset", 0, -1, "REV") == members[::-1]
        assert wire.call("ZREVRANGE", "zset", 5, -5) == members[4:-5][::-1]
        assert wire.call("ZRANGEBYSCORE", "zset", "(10", "+inf") == members[11:]
        assert wire.call("ZRANGEBYSCORE", "zset", "-inf", "+inf", "LIMIT", 100, 5000) == members[100:5100]
        assert wire.call("ZREVRANGEBYSCORE", "zset", "5500", "10") == members[10:5501][::-1]
        assert wire.call("ZRANGE", "lex", "[" + members[7].decode(), "+", "BYLEX") == members[7:]
        scored = wire.call("ZRANGE", "zset", 0, -1, "WITHSCORES")
        if protocol == 3:
            assert scored == [[member, Double(b"%d" % number)] for number, member in enumerate(members)]
        else:
            assert scored == [word for number, member in enumerate(members) for word in (member, b"%d" % number)]
        assert wire.call("XRANGE", "stream", "-", "+") == entries
        assert wire.call("XREVRANGE", "stream", "+", "-") == entries[::-1]
        assert wire.call("XRANGE", "stream", "5", "+", "COUNT", 5000) == entries[4:5004]


def test_long_strings(server: ServerProcess) -> None:
    """A long string, parts of it, and one with holes; also by commands that replace it at the same time."""
    data = hashlib.shake_128(b"x").digest(3 * MEGABYTE + 17)
    with server.connect(timeout_s=60) as wire:
        wire.call("SET", "s", data)
        assert wire.call("GET", "s") == data
        assert wire.call("GETRANGE", "s", 12345, -54321) == data[12345:-54320]
        assert wire.call("SUBSTR", "s", 0, MEGABYTE) == data[: MEGABYTE + 1]
        assert wire.call("GETSET", "s", "new") == data
        assert wire.call("SET", "s", data, "GET") == b"new"
        assert wire.pipeline([("SET", "s", "x", "GET"), ("GETDEL", "s"), ("EXISTS", "s")]) == [data, b"x", 0]
        wire.call("SETRANGE", "s", 5 * MEGABYTE, "end")
        wire.call("SETRANGE", "s", MEGABYTE, "middle")
        holes = bytes(MEGABYTE) + b"middle" + bytes(4 * MEGABYTE - 6) + b"end"
        assert wire.call("GET", "s") == holes
        assert wire.call("GETRANGE", "s", 1, -2) == holes[1:-1]
        assert wire.call("GETEX", "s", "PERSIST") == holes
        assert wire.call("GETDEL", "s") == holes


def test_keys_of_a_large_database() -> None:
    """KEYS counts before it sends: all keys, those of a pattern, of few and of none, without those that expired."""
    with running(subject_flavour()) as server, server.connect(timeout_s=60) as wire:
        wire.call("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        for at in range(0, 40_000, 5000):
            wire.call("MSET", *[word for number in range(at, at + 5000) for word in (b"key:%05d" % number, "x")])
        keys = [b"key:%05d" % number for number in range(40_000)]
        for number in range(0, 40_000, 4):
            wire.send("PEXPIREAT", keys[number], int(time.time() * 1000) + 1)
        for _ in range(0, 40_000, 4):
            assert wire.read_reply() == 1
        live = [key for number, key in enumerate(keys) if number % 4]
        _wait_until(lambda: wire.call("EXISTS", keys[-4]) == 0)
        assert sorted(wire.call("KEYS", "*")) == live
        assert sorted(wire.call("KEYS", "*1")) == [key for key in live if key.endswith(b"1")]
        assert wire.call("KEYS", "*00001") == [b"key:00001"]
        assert wire.call("KEYS", "*nothing*") == []
        assert wire.call("DBSIZE") >= 30_000


def test_fields_that_expired_are_not_in_the_reply(server: ServerProcess) -> None:
    """The number of elements in the reply's head is right while expired fields wait for their deletion."""
    with server.connect(timeout_s=60) as wire:
        _fill(wire, "ttl", 3 * SMALL)
        wire.call("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        gone = [_field(number) for number in range(0, 3 * SMALL, 3)]
        assert set(wire.call("HPEXPIRE", "ttl", 1, "FIELDS", len(gone), *gone)) == {1}
        _wait_until(lambda: wire.call("HGET", "ttl", gone[0]) != _value(0))
        expected = {_field(number): _value(number) for number in range(3 * SMALL) if number % 3}
        assert _fields_of(wire.call("HGETALL", "ttl")) == expected
        assert sorted(wire.call("HKEYS", "ttl")) == sorted(expected)
        wire.call("DEBUG", "SET-ACTIVE-EXPIRE", "1")
        wire.call("DEL", "ttl")


def test_transactions_and_scripts_get_the_reply_whole(server: ServerProcess) -> None:
    with server.connect(timeout_s=60) as wire:
        replies = wire.pipeline([("MULTI",), ("HKEYS", "hash"), ("SMEMBERS", "set"), ("EXEC",), ("PING",)])
        assert [len(reply) for reply in replies[3]] == [SMALL, SMALL]
        assert replies[4] == Simple(b"PONG")
        assert wire.call("EVAL", "return #redis.call('HGETALL', KEYS[1])", 1, "hash") == 2 * SMALL
        assert wire.call("EVAL", "return redis.call('LRANGE', KEYS[1], 0, -1)", 1, "list") == [
            _value(number) for number in range(SMALL)
        ]


def test_silenced_replies_are_not_sent(server: ServerProcess) -> None:
    with server.connect(timeout_s=60) as wire:
        wire.send("CLIENT", "REPLY", "OFF")
        wire.send("HGETALL", "big")
        wire.send("CLIENT", "REPLY", "ON")
        assert wire.read_reply() == Simple(b"OK")
        wire.send("CLIENT", "REPLY", "SKIP")
        wire.send("HGETALL", "big")
        assert wire.call("PING") == Simple(b"PONG")


def test_messages_wait_for_the_end_of_the_reply(server: ServerProcess) -> None:
    """What is published to a client in the middle of its reply arrives behind the reply, in order."""
    with server.connect() as publisher, server.connect(timeout_s=60) as wire:
        wire.hello(3)
        wire.call("CLIENT", "SETNAME", "stalled")
        wire.send("SUBSCRIBE", "channel")
        wire.read_any()
        wire.send("HKEYS", "big")
        _wait_until(lambda: any(each[b"name"] == b"stalled" and int(each[b"omem"]) for each in _clients(publisher)))
        for number in range(100):
            assert publisher.call("PUBLISH", "channel", number) == 1
        reply = wire.read_any()
        assert isinstance(reply, list)
        assert len(reply) == FIELDS
        for number in range(100):
            assert wire.read_any().items == [b"message", b"channel", b"%d" % number]
        assert wire.call("PING") == Simple(b"PONG")


def test_clients_that_vanish_or_are_killed(server: ServerProcess) -> None:
    with server.connect() as control:
        for _ in range(20):
            with _stalled(server, "HGETALL", "big"):
                pass
        _wait_until(lambda: len(_clients(control)) == 1)
        with _stalled(server, "HGETALL", "big") as wire:
            ident = next(each[b"id"] for each in _clients(control) if each[b"name"] == b"stalled")
            assert control.call("CLIENT", "KILL", "ID", ident) == 1
            assert len(wire.read_until_closed()) < FIELDS * 20
        assert len(_clients(control)) == 1
        assert control.call("HLEN", "big") == FIELDS


def test_limits_count_what_waits_behind_the_reply() -> None:
    """Messages that pile up behind an unread reply count for client-output-buffer-limit."""
    with running(subject_flavour()) as server, server.connect() as control:
        control.call("CONFIG", "SET", "client-output-buffer-limit", "pubsub 1mb 0 0")
        _fill(control, "big", 50_000)
        with server.connect() as wire:
            wire.hello(3)
            wire.send("SUBSCRIBE", "channel")
            wire.read_any()
            wire.send("HGETALL", "big")
            _wait_until(lambda: control.call("PUBLISH", "channel", "x" * 10_000) == 0)


@pytest.mark.parametrize("how", ["reload", "shutdown"])
def test_the_end_of_the_store_ends_the_reply(how: str) -> None:
    """A reply cannot go on once the store was closed under it: the connection ends, and all else is as ever."""
    with running(subject_flavour()) as server, server.connect(timeout_s=60) as control:
        _fill(control, "big", 50_000)
        with _stalled(server, "HGETALL", "big") as wire:
            if how == "reload":
                assert control.call("DEBUG", "RELOAD") == Simple(b"OK")
                assert len(wire.read_until_closed()) < 50_000 * 80
                assert control.call("HLEN", "big") == 50_000
                assert len(control.call("HKEYS", "big")) == 50_000
            else:
                assert server.stop() == 0
                with contextlib.suppress(WireClosed):
                    assert len(wire.read_until_closed()) < 50_000 * 80


def test_a_missing_key_is_small(server: ServerProcess) -> None:
    with server.connect() as wire:
        wire.hello(3)
        assert wire.call("HGETALL", "none") == Map([])
        assert wire.call("LRANGE", "none", 0, -1) == []
        assert wire.call("GET", "none") == Null()
