"""MIGRATE to real servers and between two diskkv; the same requests to a real server as source, replies compared."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from diskkv.codec.rdb_values import RdbValue, StreamValue
from tests.codec.rdb_live import (
    IN_FUTURE_MS,
    call,
    comparable,
    fill,
    fill_field_expiry,
    read_back,
    without_active_times,
)
from tests.harness.integrity import assert_sound
from tests.harness.servers import Flavour, ServerProcess, diskkv, redis_8, running, subject, system_redis, valkey_9
from tests.harness.wire import ErrorReply, Simple, Wire

OK = Simple(b"OK")


@pytest.fixture
def source() -> Iterator[Wire]:
    with subject().connect() as wire:
        call(wire, "FLUSHALL")
        yield wire


@pytest.fixture(scope="module")
def target() -> Iterator[ServerProcess]:
    with running(redis_8(), tcp=True) as server:
        yield server


@pytest.fixture
def there(target: ServerProcess) -> Iterator[Wire]:
    with target.connect() as wire:
        call(wire, "FLUSHALL")
        yield wire


def migrate(wire: Wire, server: ServerProcess, key: str, *options: str | int, db: int = 0) -> object:
    return wire.call("MIGRATE", "127.0.0.1", server.port, key, db, 5000, *options)


class Peer:
    """A server that says what it is told to, when it is told to."""

    def __init__(self, *answers: bytes) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._answers = answers
        self.received = b""
        self.asked = threading.Event()
        self.go_on = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        self._listener.settimeout(20)
        connection, _ = self._listener.accept()
        with connection:
            connection.settimeout(20)
            self.received = connection.recv(65536)
            self.asked.set()
            self.go_on.wait(20)
            for answer in self._answers:
                connection.sendall(answer)

    def close(self) -> None:
        self.go_on.set()
        self._thread.join(20)
        self._listener.close()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


# ---- values


def told(value: RdbValue) -> RdbValue:
    value = comparable(value)
    return without_active_times(value) if isinstance(value, StreamValue) else value


@pytest.mark.slow
@pytest.mark.parametrize("make", [system_redis, redis_8, valkey_9, diskkv], ids=lambda make: make.__name__)
def test_every_type_arrives_and_comes_back(make: Callable[[], Flavour], source: Wire) -> None:
    fill(source)
    if make is not system_redis:
        fill_field_expiry(source)
    keys = call(source, "KEYS", "*")
    expected = {key: told(read_back(source, key)) for key in keys}
    call(source, "PEXPIREAT", "string", IN_FUTURE_MS)
    home = subject(tcp=True)
    with running(make(), tcp=True) as server, server.connect() as there, home.connect() as back:
        call(back, "FLUSHALL")
        assert migrate(source, server, "", "KEYS", *keys) == OK
        assert call(source, "DBSIZE") == 0
        assert {key: told(read_back(there, key)) for key in call(there, "KEYS", "*")} == expected
        assert abs(call(there, "PEXPIRETIME", "string") - IN_FUTURE_MS) < 5000
        assert migrate(there, home, "", "KEYS", *keys) == OK
        assert call(there, "DBSIZE") == 0
        assert {key: told(read_back(back, key)) for key in call(back, "KEYS", "*")} == expected
        call(back, "FLUSHALL")
    assert_sound(subject())


def test_one_key_into_another_database(source: Wire, target: ServerProcess, there: Wire) -> None:
    call(source, "SET", "key", "value")
    assert migrate(source, target, "key", db=3) == OK
    assert source.call("EXISTS", "key") == 0
    call(there, "SELECT", 3)
    assert call(there, "GET", "key") == b"value"
    call(source, "SET", "key", "other")
    assert migrate(source, target, "key", "COPY", "REPLACE", db=3) == OK
    assert (call(source, "GET", "key"), call(there, "GET", "key")) == (b"other", b"other")
    # The connection is kept, and the database that it has selected may not be the one that is wanted next.
    assert migrate(source, target, "key", "REPLACE", db=0) == OK
    call(there, "SELECT", 0)
    assert call(there, "GET", "key") == b"other"


def test_some_keys_are_there_already(source: Wire, target: ServerProcess, there: Wire) -> None:
    call(there, "SET", "b", "theirs")
    call(source, "MSET", "a", "1", "b", "2", "c", "3")
    reply = migrate(source, target, "", "KEYS", "a", "b", "c", "none")
    assert reply == ErrorReply(b"ERR Target instance replied with error: BUSYKEY Target key name already exists.")
    assert call(source, "KEYS", "*") == [b"b"]
    assert call(there, "MGET", "a", "b", "c") == [b"1", b"theirs", b"3"]


def test_a_database_that_cannot_be(source: Wire, target: ServerProcess) -> None:
    """Redis takes -1 for the database that the connection happens to be in."""
    call(source, "SET", "key", "value")
    reply = migrate(source, target, "key", db=-1)
    assert reply == ErrorReply(b"ERR Target instance replied with error: ERR DB index is out of range")
    assert call(source, "EXISTS", "key") == 1


def test_authentication(source: Wire) -> None:
    with running(redis_8(), "--requirepass", "secret", tcp=True) as server, server.connect() as there:
        call(there, "AUTH", "secret")
        call(there, "ACL", "SETUSER", "mover", "on", ">pass", "+@all", "~*")
        call(source, "MSET", "a", "1", "b", "2", "c", "3")
        refused = migrate(source, server, "a")
        assert isinstance(refused, ErrorReply)
        assert refused.text.startswith(b"ERR Target instance replied with error: NOAUTH")
        refused = migrate(source, server, "a", "AUTH", "wrong")
        assert isinstance(refused, ErrorReply)
        assert refused.text.startswith(b"ERR Target instance replied with error: WRONGPASS")
        assert call(source, "EXISTS", "a", "b") == 2
        assert migrate(source, server, "a", "AUTH", "secret") == OK
        assert migrate(source, server, "", "AUTH2", "mover", "pass", "KEYS", "b", "c") == OK
        assert call(there, "MGET", "a", "b", "c") == [b"1", b"2", b"3"]


def test_in_transactions_and_scripts(source: Wire, target: ServerProcess, there: Wire) -> None:
    call(source, "MSET", "a", "1", "b", "2")
    call(source, "MULTI")
    migrate(source, target, "a")
    call(source, "EXISTS", "a")
    assert call(source, "EXEC") == [OK, 0]
    script = "return redis.call('MIGRATE', '127.0.0.1', ARGV[1], KEYS[1], 0, 5000)"
    assert source.call("EVAL", script, 1, "b", target.port) == OK
    assert source.call("EXISTS", "b") == 0
    assert call(there, "MGET", "a", "b") == [b"1", b"2"]


def test_events_and_watchers(source: Wire, target: ServerProcess, there: Wire) -> None:
    with subject().connect() as listener, subject().connect() as watcher:
        call(source, "CONFIG", "SET", "notify-keyspace-events", "EA")
        call(source, "SET", "key", "value")
        call(listener, "SUBSCRIBE", "__keyevent@0__:del")
        call(watcher, "WATCH", "key")
        assert migrate(source, target, "key") == OK
        call(source, "CONFIG", "SET", "notify-keyspace-events", "")
        assert listener.read_reply() == [b"message", b"__keyevent@0__:del", b"key"]
        call(watcher, "MULTI")
        call(watcher, "PING")
        assert watcher.call("EXEC") != [Simple(b"PONG")]


# ---- errors, as the reference has them


CASES = [
    ["MIGRATE", "127.0.0.1", "PORT", "none", "0", "100"],
    ["MIGRATE", "127.0.0.1", "PORT", "", "0", "100", "KEYS", "none", "nor this"],
    ["MIGRATE", "127.0.0.1", "PORT", "", "0", "100", "KEYS"],
    ["MIGRATE", "127.0.0.1", "PORT", "key", "0", "100", "KEYS", "key"],
    ["MIGRATE", "127.0.0.1", "PORT", "key", "0", "100", "NONSENSE"],
    ["MIGRATE", "127.0.0.1", "PORT", "key", "0", "100", "AUTH"],
    ["MIGRATE", "127.0.0.1", "PORT", "key", "0", "100", "AUTH2", "user"],
    ["MIGRATE", "127.0.0.1", "PORT", "key", "x", "100"],
    ["MIGRATE", "127.0.0.1", "PORT", "key", "0", "x"],
    ["MIGRATE", "127.0.0.1", "PORT", "key", "0"],
    ["MIGRATE", "127.0.0.1", "PORT", "key", "99", "1000"],
    ["MIGRATE", "127.0.0.1", "1", "key", "0", "100"],
    ["MIGRATE", "127.0.0.1", "99999", "key", "0", "100"],
    ["MIGRATE", "127.0.0.1", "port", "key", "0", "100"],
    ["MIGRATE", "no.such.host.invalid", "6379", "key", "0", "100"],
    ["COMMAND", "GETKEYS", "MIGRATE", "h", "1", "", "0", "0", "AUTH2", "KEYS", "x", "KEYS", "a", "b"],
    ["COMMAND", "GETKEYS", "MIGRATE", "h", "1", "key", "0", "0"],
    ["COMMAND", "GETKEYSANDFLAGS", "MIGRATE", "h", "1", "", "0", "0", "COPY", "KEYS", "a"],
]


@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_errors_are_the_references(case: list[str], source: Wire, target: ServerProcess, there: Wire) -> None:
    with running_reference().connect() as reference:
        replies = []
        for wire in (source, reference):
            call(wire, "FLUSHALL")
            call(wire, "SET", "key", "value")
            replies.append(wire.call(*[str(target.port) if word == "PORT" else word for word in case]))
            assert call(wire, "EXISTS", "key") == 1
    assert replies[0] == replies[1]


_reference: list[ServerProcess] = []


def running_reference() -> ServerProcess:
    if not _reference:
        _reference.append(ServerProcess(redis_8()).start())
    return _reference[0]


@pytest.fixture(scope="module", autouse=True)
def _end_reference() -> Iterator[None]:
    yield
    while _reference:
        _reference.pop().close()


@pytest.mark.parametrize(
    "answers",
    [
        (),
        (b"+OK\r\n",),
        (b"+OK\r\n", b"-ERR no\r\n"),
        (b"-ERR no database\r\n", b"+OK\r\n"),
        (b"+OK\r\n", b"+OK"),
        (b"+OK\r\n+OK\r\n",),
    ],
)
def test_peers_that_misbehave(answers: tuple[bytes, ...], source: Wire) -> None:
    with running_reference().connect() as reference:
        found = []
        for wire in (source, reference):
            call(wire, "FLUSHALL")
            call(wire, "SET", "key", "value")
            with Peer(*answers) as peer:
                peer.go_on.set()
                found.append((wire.call("MIGRATE", "127.0.0.1", peer.port, "key", 7, 3000), wire.call("EXISTS", "key")))
                sent = peer.received
    assert found[0] == found[1]
    assert sent.startswith(b"*2\r\n$6\r\nSELECT\r\n$1\r\n7\r\n")


def test_time_out(source: Wire) -> None:
    call(source, "SET", "key", "value")
    with Peer() as peer:
        reply = source.call("MIGRATE", "127.0.0.1", peer.port, "key", 0, 50)
    assert reply == ErrorReply(b"IOERR error or timeout reading to target instance")
    assert call(source, "GET", "key") == b"value"


# ---- other clients meanwhile


def test_others_are_served_and_writers_of_the_key_wait(source: Wire) -> None:
    call(source, "MSET", "key", "value", "other", "1")
    with Peer(b"+OK\r\n+OK\r\n") as peer, subject().connect() as reader, subject().connect() as writer:
        source.send("MIGRATE", "127.0.0.1", peer.port, "key", 0, 20_000)
        assert peer.asked.wait(20)
        assert call(reader, "GET", "key") == b"value"
        assert call(reader, "INCR", "other") == 2
        writer.send("APPEND", "key", " lost?")
        # The writer's request has been seen when another one on a later connection is answered.
        assert call(reader, "INCR", "other") == 3
        assert call(reader, "GET", "key") == b"value"
        peer.go_on.set()
        assert source.read_reply() == OK
        assert writer.read_reply() == 6
        assert call(reader, "GET", "key") == b" lost?"


def test_a_script_that_does_not_declare_the_key(source: Wire) -> None:
    call(source, "SET", "key", "value")
    with Peer(b"+OK\r\n+OK\r\n") as peer, subject().connect() as writer:
        source.send("MIGRATE", "127.0.0.1", peer.port, "key", 0, 20_000)
        assert peer.asked.wait(20)
        call(writer, "EVAL", "return redis.call('APPEND', 'key', '!')", 0)
        peer.go_on.set()
        reply = source.read_reply()
        assert isinstance(reply, ErrorReply)
        assert b"changed by a script" in reply.text
        assert call(writer, "GET", "key") == b"value!"


def test_a_client_that_goes_away(source: Wire) -> None:
    """What was acknowledged is deleted, whoever is left to hear of it."""
    call(source, "SET", "key", "value")
    with Peer(b"+OK\r\n+OK\r\n") as peer, subject().connect() as leaver, subject().connect() as writer:
        leaver.send("MIGRATE", "127.0.0.1", peer.port, "key", 0, 20_000)
        assert peer.asked.wait(20)
        leaver.close()
        writer.send("SETNX", "key", "new")
        peer.go_on.set()
        assert writer.read_reply() == 1
        assert call(source, "GET", "key") == b"new"


def test_passwords_do_not_show(source: Wire) -> None:
    call(source, "SET", "key", "value")
    call(source, "CONFIG", "SET", "slowlog-log-slower-than", 0)
    source.call("MIGRATE", "127.0.0.1", "1", "key", 0, 10, "AUTH", "secret word")
    shown = repr(call(source, "SLOWLOG", "GET", 10))
    call(source, "CONFIG", "SET", "slowlog-log-slower-than", 10_000)
    assert "migrate" in shown.lower()
    assert "secret word" not in shown
