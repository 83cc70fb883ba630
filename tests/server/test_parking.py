"""Commands that wait for rows from a slow store: many at once, in order, and as if nothing had happened meanwhile."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from diskkv.commands.registry import Flag, load_all
from diskkv.config import Config
from diskkv.engine import row_reader
from diskkv.engine.memory import MemoryStore
from diskkv.server.connection import Connection
from diskkv.server.reactor import Reactor
from diskkv.services import parking as parking_module
from diskkv.services.instance import Instance
from tests.harness.wire import encode_command

TIMEOUT_S = 20.0
THREADS = 8


class GatedStore(MemoryStore):
    """Reads of other threads wait at a gate; `waiting` counts them, `most` is the largest number ever."""

    def __init__(self) -> None:
        super().__init__()
        self._loop = threading.get_ident()
        self._changed = threading.Condition()
        self._open = False
        self.waiting = 0
        self.reads: list[bytes] = []
        self.loop_reads: list[bytes] = []

    def get(self, key: bytes) -> bytes | None:
        if threading.get_ident() == self._loop:
            self.loop_reads.append(key)
            return super().get(key)
        with self._changed:
            self.reads.append(key)
            self.waiting += 1
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._open, TIMEOUT_S)
            self.waiting -= 1
        return super().get(key)

    def await_reads(self, count: int) -> None:
        """Return once so many reads wait at the same time."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.waiting >= count, TIMEOUT_S), f"only {self.waiting} at once"

    def open(self) -> None:
        """Let all reads pass from now on."""
        with self._changed:
            self._open = True
            self._changed.notify_all()

    def shut(self) -> None:
        """Have reads wait again."""
        with self._changed:
            self._open = False


class Server:
    """A reactor over a gated store without a cache, and clients at the other ends of socket pairs."""

    def __init__(self, store: GatedStore | None = None, **parameters: object) -> None:
        config = Config()
        config.cold_reads = "always"
        config.cold_read_threads = THREADS
        config.cache_size = 0
        config.hash_max_listpack_entries = config.zset_max_listpack_entries = config.set_max_listpack_entries = 2
        for name, value in parameters.items():
            setattr(config, name, value)
        self.store = store or GatedStore()
        self.instance = Instance(config, self.store)
        self.instance.use_commands(load_all(), Flag.PLAIN, Flag.SKIP_SLOWLOG)
        self.reactor = Reactor(self.instance)
        self._sockets: list[socket.socket] = []

    def client(self) -> tuple[socket.socket, Connection]:
        """A new client: its end of the connection, and the server's."""
        ours, theirs = socket.socketpair()
        ours.settimeout(TIMEOUT_S)
        theirs.setblocking(False)
        self._sockets.append(ours)
        return ours, self.reactor.adopt(theirs, "peer", "local")

    def turn(self) -> None:
        """One turn over what is there now."""
        self.reactor.turn(self.reactor.epoll.poll(0, 1024))

    def turns(self, sock: socket.socket, size: int) -> bytes:
        """Turns until the client has got so many bytes."""
        got = b""
        sock.setblocking(False)
        while True:
            with contextlib.suppress(BlockingIOError):
                got += sock.recv(1 << 20)
            if len(got) >= size:
                return got
            busy = self.reactor.is_busy
            events = self.reactor.epoll.poll(0 if busy else TIMEOUT_S, 1024)
            assert events or busy, f"nothing came after {got!r}"
            self.reactor.turn(events)

    def call(self, *commands: str) -> bytes:
        """Run commands of a client of their own with the gate open, one after the other; the last reply."""
        self.store.open()
        sock, connection = self.client()
        reply = b""
        for command in commands:
            sock.sendall(line(command))
            reply = self.turns(sock, 1)
        self.reactor.drop(connection)
        self.store.shut()
        self.store.reads.clear()
        self.store.loop_reads.clear()
        return reply

    def close(self) -> None:
        """Close everything."""
        self.store.open()
        for sock in self._sockets:
            sock.close()
        self.reactor.close()
        self.instance.engine.close()


def line(command: str) -> bytes:
    return encode_command(command.encode().split(b" "))


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def test_reads_of_several_clients_overlap(server: Server) -> None:
    server.call("MSET " + " ".join(f"k{n} v{n}" for n in range(THREADS)))
    clients = [server.client()[0] for _ in range(THREADS)]
    for number, sock in enumerate(clients):
        sock.sendall(line(f"GET k{number}"))
    server.turn()
    server.store.await_reads(THREADS)
    assert server.instance.parking.clients == THREADS
    server.store.open()
    for number, sock in enumerate(clients):
        assert server.turns(sock, 8) == b"$2\r\nv%d\r\n" % number
    assert server.store.loop_reads == []


def test_one_command_with_many_keys_is_one_round(server: Server) -> None:
    keys = [f"k{n}" for n in range(100)]
    server.call("MSET " + " ".join(f"{key} {key}" for key in keys))
    sock, _ = server.client()
    sock.sendall(line("MGET " + " ".join(keys)))
    server.turn()
    server.store.await_reads(THREADS)
    server.store.open()
    expected = b"*100\r\n" + b"".join(b"$%d\r\n%b\r\n" % (len(key), key.encode()) for key in keys)
    assert server.turns(sock, len(expected)) == expected
    assert server.instance.parking.parked_commands == 1 + 1  # MSET's and this one
    assert len(server.store.reads) == 100
    assert server.store.loop_reads == []


def test_a_pipeline_is_one_round_and_keeps_its_order(server: Server) -> None:
    server.call("MSET a 1 b 2 c 3")
    sock, _ = server.client()
    sock.sendall(line("GET a") + line("INCR b") + line("GET b") + line("DEL c") + line("GET c") + line("PING"))
    server.turn()
    server.store.await_reads(3)
    server.store.open()
    expected = b"$1\r\n1\r\n:3\r\n$1\r\n3\r\n:1\r\n$-1\r\n+PONG\r\n"
    assert server.turns(sock, len(expected)) == expected
    assert server.store.loop_reads == []


def test_requests_behind_that_are_wrong_get_their_errors(server: Server) -> None:
    server.call("SET a 1")
    sock, _ = server.client()
    server.store.open()
    wrong = ["BITFIELD", "GET", "MSET a", "ZADD", "SORT", "HSET h", "ZUNIONSTORE x", "GET a b", "XREAD", "SINTERCARD"]
    sock.sendall(line("GET a") + b"".join(map(line, wrong)) + line("PING"))
    expected = b"$1\r\n1\r\n"
    for request in wrong:
        expected += b"-ERR wrong number of arguments for '%b' command\r\n" % request.split()[0].lower().encode()
    expected += b"+PONG\r\n"
    assert server.turns(sock, len(expected)) == expected


def test_later_requests_wait_and_other_clients_do_not(server: Server) -> None:
    server.call("SET cold x")
    first, connection = server.client()
    other, _ = server.client()
    first.sendall(line("GET cold"))
    server.turn()
    first.sendall(line("PING"))
    first.sendall(b"*1\r\n$4\r\nPI")
    server.turn()
    first.sendall(b"NG\r\n")
    other.sendall(line("PING"))
    assert server.turns(other, 7) == b"+PONG\r\n"
    assert connection.out == [] and connection.awaits_rows
    server.store.open()
    assert server.turns(first, 21) == b"$1\r\nx\r\n+PONG\r\n+PONG\r\n"


def test_a_write_meanwhile_is_what_is_read(server: Server) -> None:
    """The row was read before it was written or deleted, but its command runs after."""
    server.call("MSET a old b old")
    readers = [server.client()[0] for _ in range(2)]
    readers[0].sendall(line("GET a"))
    readers[1].sendall(line("GET b"))
    server.turn()
    server.store.await_reads(2)
    # A writer that does not have to read: it never parks.
    server.instance.parking._mode = "never"
    writer, _ = server.client()
    writer.sendall(line("SET a new") + line("DEL b"))
    assert server.turns(writer, 9) == b"+OK\r\n:1\r\n"
    server.instance.parking._mode = "always"
    server.store.open()
    assert server.turns(readers[0], 9) == b"$3\r\nnew\r\n"
    assert server.turns(readers[1], 5) == b"$-1\r\n"


def test_no_update_is_lost(server: Server) -> None:
    clients = [server.client()[0] for _ in range(20)]
    server.call("SET n 0")
    for _ in range(5):
        for sock in clients:
            sock.sendall(line("INCR n") * 3)
        server.turn()
        server.store.open()
        for sock in clients:
            assert server.turns(sock, 12).count(b":") == 3
        server.store.shut()
    assert server.call("GET n") == b"$3\r\n300\r\n"


def test_a_transaction_is_read_ahead_and_runs_at_once(server: Server) -> None:
    server.call("MSET a 1 b 1")
    server.call("HSET h f1 1 f2 2 f3 3")
    sock, _ = server.client()
    sock.sendall(line("MULTI") + line("INCR a") + line("INCR b") + line("HGET h f2") + line("EXEC"))
    server.turn()
    server.store.await_reads(3)
    other, _ = server.client()
    server.store.open()
    other.sendall(line("MGET a b"))
    values = server.turns(other, 18)
    assert values in (b"*2\r\n$1\r\n1\r\n$1\r\n1\r\n", b"*2\r\n$1\r\n2\r\n$1\r\n2\r\n")
    expected = b"+OK\r\n" + b"+QUEUED\r\n" * 3 + b"*3\r\n:2\r\n:2\r\n$1\r\n2\r\n"
    assert server.turns(sock, len(expected)) == expected
    assert server.store.loop_reads == []


def test_a_watched_key_that_changes_meanwhile_counts(server: Server) -> None:
    server.call("MSET a 1 b 1")
    sock, _ = server.client()
    server.store.open()
    sock.sendall(line("WATCH a") + line("MULTI") + line("GET b"))
    assert server.turns(sock, 19) == b"+OK\r\n+OK\r\n+QUEUED\r\n"
    server.store.shut()
    sock.sendall(line("EXEC"))
    server.turn()
    server.store.await_reads(1)
    server.instance.parking._mode = "never"
    other, _ = server.client()
    other.sendall(line("SET a 2"))
    assert server.turns(other, 5) == b"+OK\r\n"
    server.store.open()
    assert server.turns(sock, 5) == b"*-1\r\n"


def test_a_script_has_its_declared_keys_read_ahead(server: Server) -> None:
    server.call("MSET a 1 b 2")
    sock, _ = server.client()
    script = b"return {redis.call('get', KEYS[1]), redis.call('get', KEYS[2])}"
    sock.sendall(encode_command([b"EVAL", script, b"2", b"a", b"b"]))
    server.turn()
    server.store.await_reads(2)
    server.store.open()
    assert server.turns(sock, 18) == b"*2\r\n$1\r\n1\r\n$1\r\n2\r\n"
    assert server.store.loop_reads == []


@pytest.mark.parametrize(
    ("setup", "command", "reply"),
    [
        ("HSET x a 1 b 2 c 3", "HGET x b", b"$1\r\n2\r\n"),
        ("HSET x a 1 b 2 c 3", "HMGET x c a", b"*2\r\n$1\r\n3\r\n$1\r\n1\r\n"),
        ("HSET x a 1 b 2 c 3", "HSET x a 5 d 4", b":1\r\n"),
        ("HSET x a 1 b 2 c 3", "HDEL x a d", b":1\r\n"),
        ("SADD x a b c", "SISMEMBER x b", b":1\r\n"),
        ("SADD x a b c", "SMISMEMBER x b d", b"*2\r\n:1\r\n:0\r\n"),
        ("SADD x a b c", "SADD x b d", b":1\r\n"),
        ("ZADD x 1 a 2 b 3 c", "ZSCORE x b", b"$1\r\n2\r\n"),
        ("ZADD x 1 a 2 b 3 c", "ZMSCORE x b d", b"*2\r\n$1\r\n2\r\n$-1\r\n"),
        ("ZADD x 1 a 2 b 3 c", "ZADD x 7 b 8 d", b":1\r\n"),
        ("ZADD x 1 a 2 b 3 c", "ZINCRBY x 2 b", b"$1\r\n4\r\n"),
        ("RPUSH x " + "y" * 9000, "LINDEX x 0", b"$9000\r\n" + b"y" * 9000 + b"\r\n"),
        ("SET x " + "y" * 40000, "STRLEN x", b":40000\r\n"),
        ("SET x " + "y" * 40000, "GETRANGE x 20000 20001", b"$2\r\nyy\r\n"),
    ],
)
def test_rows_of_collections_are_read_by_threads(server: Server, setup: str, command: str, reply: bytes) -> None:
    server.call(setup)
    sock, _ = server.client()
    sock.sendall(line(command))
    server.turn()
    server.store.await_reads(1)
    server.store.open()
    assert server.turns(sock, len(reply)) == reply
    assert server.store.loop_reads == []


def test_counts_are_those_of_one_run(server: Server) -> None:
    server.call("MSET a 1 b 2 c 3")
    engine = server.instance.engine
    engine.reset_stats()
    calls = server.instance.commands["mget"].calls
    sock, _ = server.client()
    server.store.open()
    sock.sendall(line("MGET a nothing c"))
    server.turns(sock, 20)
    assert (engine.keyspace_hits, engine.keyspace_misses) == (2, 1)
    assert server.instance.commands["mget"].calls == calls + 1


def test_a_client_that_goes_away_leaves_nothing(server: Server) -> None:
    server.call("SET a 1")
    sock, connection = server.client()
    sock.sendall(line("GET a"))
    server.turn()
    server.store.await_reads(1)
    server.reactor.drop(connection)
    assert server.instance.parking.clients == 0
    server.store.open()
    other, _ = server.client()
    other.sendall(line("GET a"))
    assert server.turns(other, 7) == b"$1\r\n1\r\n"
    server.turn()
    assert server.instance.engine.reader.fetches == {}


def test_a_client_that_shut_its_side_gets_its_answer(server: Server) -> None:
    server.call("SET a 1")
    sock, connection = server.client()
    sock.sendall(line("GET a"))
    server.turn()
    sock.shutdown(socket.SHUT_WR)
    server.turn()
    server.store.open()
    assert server.turns(sock, 7) == b"$1\r\n1\r\n"
    while not connection.gone:
        server.reactor.turn(server.reactor.epoll.poll(0 if server.reactor.is_busy else TIMEOUT_S))


def test_killing_a_parked_client(server: Server) -> None:
    server.call("SET a 1")
    sock, connection = server.client()
    sock.sendall(line("GET a"))
    server.turn()
    other, _ = server.client()
    other.sendall(line(f"CLIENT KILL ID {connection.id}"))
    assert server.turns(other, 4) == b":1\r\n"
    assert connection.gone
    assert server.instance.parking.clients == 0


def test_flushall_and_swapdb_meanwhile(server: Server) -> None:
    server.call("SET a 1")
    server.call("SELECT 1", "SET b 2")
    sock, _ = server.client()
    sock.sendall(line("MGET a b"))
    server.turn()
    server.store.await_reads(1)
    other, _ = server.client()
    other.sendall(line("SWAPDB 0 1"))
    assert server.turns(other, 5) == b"+OK\r\n"
    server.store.open()
    assert server.turns(sock, 16) == b"*2\r\n$-1\r\n$1\r\n2\r\n"
    server.store.shut()
    sock.sendall(line("MGET a b"))
    server.turn()
    other.sendall(line("FLUSHALL"))
    assert server.turns(other, 5) == b"+OK\r\n"
    server.store.open()
    assert server.turns(sock, 14) == b"*2\r\n$-1\r\n$-1\r\n"


def test_reopening_the_store_waits_for_reads_under_way(server: Server) -> None:
    server.call("SET a 1")
    sock, _ = server.client()
    sock.sendall(line("GET a"))
    server.turn()
    server.store.await_reads(1)
    server.store.open()
    server.instance.reload()
    assert server.store.waiting == 0
    assert server.turns(sock, 7) == b"$1\r\n1\r\n"


class SlowStore(GatedStore):
    """Reads of the loop seem to take a while from the disk: the clock jumps."""

    def __init__(self) -> None:
        super().__init__()
        self.slow = False
        self.skipped_ns = 0

    def get(self, key: bytes) -> bytes | None:
        if self.slow and threading.get_ident() == self._loop:
            self.skipped_ns += 200_000
        return super().get(key)


def test_parking_begins_when_reads_are_slow_and_ends_when_none_was(monkeypatch: pytest.MonkeyPatch) -> None:
    store = SlowStore()
    clock = time.perf_counter_ns
    monkeypatch.setattr(row_reader, "perf_counter_ns", lambda: clock() + store.skipped_ns)
    monkeypatch.setattr(row_reader.RowReader, "_went_to_disk", lambda reader: True)
    server = Server(store, cold_reads="auto")
    parking = server.instance.parking
    server.call("MSET " + " ".join(f"k{n} v" for n in range(20)))
    clients = [server.client()[0] for _ in range(20)]
    store.open()

    def read_all() -> None:
        for number, sock in enumerate(clients):
            sock.sendall(line(f"GET k{number}"))
        for sock in clients:
            assert server.turns(sock, 7) == b"$1\r\nv\r\n"

    for _ in range(10):
        read_all()
    assert not parking.active
    store.slow = True
    rounds = 0
    while not parking.active or not parking.parked_commands:
        read_all()
        rounds += 1
        assert rounds < 50
    reads = len(store.loop_reads)
    read_all()
    assert len(store.loop_reads) == reads, "all are left to threads"
    server.turn()
    parking.tick()
    assert parking.active
    monkeypatch.setattr(parking_module, "monotonic", lambda: time.monotonic() + 1e9)
    parking.tick()
    assert not parking.active
    read_all()
    server.close()


def test_with_parking_off_everything_is_read_at_once() -> None:
    server = Server(cold_reads="never")
    sock, _ = server.client()
    sock.sendall(line("SET a 1") + line("GET a"))
    assert server.turns(sock, 12) == b"+OK\r\n$1\r\n1\r\n"
    assert server.store.reads == []
    assert not server.instance.parking.active
    server.close()


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        ("GET a", b"$1\r\n1\r\n"),
        ("LLEN list", b":1\r\n"),
        ("INCR a", b":2\r\n"),
        ("HGET hash f2", b"$1\r\n2\r\n"),
        ("ZINCRBY zset 1 b", b"$1\r\n3\r\n"),
    ],
)
def test_a_command_of_one_key_is_put_off_without_being_tried(server: Server, command: str, reply: bytes) -> None:
    server.call("SET a 1")
    server.call("RPUSH list x")
    server.call("HSET hash f1 1 f2 2 f3 3")
    server.call("ZADD zset 1 a 2 b 3 c")
    entry = server.instance.commands[command.split()[0].lower()]
    run = entry.fn
    tried = []

    def note(client: object, argv: list[bytes]) -> bytes:
        tried.append(argv)
        return run(client, argv)

    parkable = server.instance.parking.parkable(entry)
    entry.fn = note
    parkable.fn = parkable._make(server.instance.parking)
    entry.fn = run
    sock, _ = server.client()
    sock.sendall(line(command))
    server.turn()
    server.store.await_reads(1)
    assert tried == []
    server.store.open()
    assert server.turns(sock, len(reply)) == reply
    assert len(tried) == (1 if len(server.store.reads) == 1 else 2), "once for each round"


def test_an_element_is_read_at_once_when_the_header_is_in_memory() -> None:
    server = Server(cache_size=1 << 20)
    server.call("HSET hash f1 1 f2 2 f3 3")
    server.instance.engine.rows.segment.clear()
    clients = [server.client()[0] for _ in range(3)]
    for number, sock in enumerate(clients, 1):
        sock.sendall(line(f"HGET hash f{number}"))
    server.turn()
    server.store.await_reads(3)
    server.store.open()
    for number, sock in enumerate(clients, 1):
        assert server.turns(sock, 7) == b"$1\r\n%d\r\n" % number
    assert len(server.store.reads) == 3
    assert server.store.loop_reads == []
    server.close()
