"""Space that comes back: by itself after deletions of every kind, and by COMPACT; file sizes are measured."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from diskkv.commands.dispatch import execute
from diskkv.commands.registry import Flag, load_all
from diskkv.config import Config
from diskkv.engine.leveldb import LevelDBOptions, LevelDBStore
from diskkv.engine.memory import MemoryStore
from diskkv.errors import StorageError
from diskkv.services import compaction
from diskkv.services.client import Client
from diskkv.services.compaction import in_window, join_objects
from diskkv.services.instance import Instance

MIB = 1 << 20
START_MS = 1_700_000_000_000
RANDOM = random.Random(1).randbytes(MIB)


class Server:
    """An instance on LevelDB whose clocks the test turns; threads' work is done at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        config = Config()
        config.dir = str(path)
        options = LevelDBOptions(write_buffer_size=256 << 10, max_file_size=MIB, mmap=True, large_string_size=0)
        self.instance = Instance(config, LevelDBStore(path, options))
        self.instance.use_commands(load_all(), Flag.PLAIN, Flag.SKIP_SLOWLOG)
        self.compactions = self.instance.compactions
        self.compactions.clock = lambda: self.now_s
        self.now_s = 1000.0
        self.client = self.instance.new_client()
        self.instance.engine.begin(START_MS)

    def run(self, *argv: bytes | int) -> object:
        words = [word if isinstance(word, bytes) else b"%d" % word for word in argv]
        result = execute(self.client, words)
        self.instance.engine.commit()
        return result

    def fill(self, keys: int, size_bytes: int, prefix: bytes = b"key:") -> None:
        for number in range(keys):
            at = RANDOM_AT.randrange(MIB - size_bytes)
            execute(self.client, [b"SET", prefix + b"%06d" % number, RANDOM[at : at + size_bytes]])
            if number % 64 == 0:
                self.instance.engine.commit()
        self.instance.engine.commit()
        self.instance.engine.store.flush_log()

    def settle(self) -> None:
        """Reclaim and compact until nothing is left to do, as the server does when nobody asks for anything."""
        engine = self.instance.engine
        engine.store.flush_log()
        for _ in range(10_000):
            engine.begin(engine.now_ms + 1)
            if self.instance.has_work:
                self.instance.tick(False)
                engine.commit()
            self.now_s += 1.0
            self.compactions.poll()
            if not self.instance.has_work and self.compactions.current is None and self.now_s > 1200:
                return
        raise AssertionError("never settles")

    def shrinks_below(self, limit_bytes: float) -> bool:
        """Whether the tables do: LevelDB's own thread may be at work, and has old and new ones side by side then."""
        deadline = time.monotonic() + 20
        while self.size_bytes >= limit_bytes and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.size_bytes < limit_bytes

    @property
    def size_bytes(self) -> int:
        return sum(file.stat().st_size for file in self.path.iterdir() if file.suffix == ".ldb")


RANDOM_AT = random.Random(2)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(compaction, "_LEAST_PIECE_BYTES", MIB)
    monkeypatch.setattr("diskkv.engine.dead_space._LEAST_SLICE_BYTES", MIB // 2)
    made = Server(tmp_path / "data")
    yield made
    made.instance.engine.close()


def test_deleted_keys(server: Server) -> None:
    server.fill(3_000, 4000)
    before = server.size_bytes
    assert before > 10 * MIB
    for number in range(2_500):
        server.run(b"DEL", b"key:%06d" % number)
    server.settle()
    assert server.shrinks_below(0.3 * before)
    assert server.run(b"DBSIZE") == b":500\r\n"


def test_expired_keys(server: Server) -> None:
    server.fill(3_000, 4000)
    before = server.size_bytes
    for number in range(3_000):
        server.run(b"PEXPIRE", b"key:%06d" % number, 5)
    server.instance.engine.begin(START_MS + 1000)
    server.settle()
    assert server.shrinks_below(0.2 * before)
    assert server.run(b"DBSIZE") == b":0\r\n"


def test_flushed_database(server: Server) -> None:
    server.fill(3_000, 4000)
    before = server.size_bytes
    assert server.run(b"FLUSHDB") == b"+OK\r\n"
    server.settle()
    assert server.shrinks_below(0.1 * before)


def test_overwritten_big_values(server: Server) -> None:
    for turn in range(2):
        for number in range(12):
            server.run(b"SET", b"big:%d" % number, RANDOM[turn:] + RANDOM[:turn])
    before = server.size_bytes
    server.settle()
    assert before > 15 * MIB
    assert server.shrinks_below(15 * MIB)
    assert server.run(b"STRLEN", b"big:3") == b":%d\r\n" % MIB


def test_deleted_collections(server: Server) -> None:
    for number in range(30):
        fields: list[bytes] = []
        for field in range(600):
            fields += [b"field:%d" % field, RANDOM[field * 700 + number : (field + 1) * 700 + number]]
        server.run(b"HSET", b"hash:%d" % number, *fields)
    server.instance.engine.store.flush_log()
    before = server.size_bytes
    server.run(b"DEL", *(b"hash:%d" % number for number in range(29)))
    server.settle()
    assert server.shrinks_below(0.3 * before)
    assert server.run(b"HLEN", b"hash:29") == b":600\r\n"


# ---- COMPACT


def finish(server: Server) -> None:
    """Poll until the queue is empty, with the clock standing still."""
    for _ in range(1000):
        server.compactions.poll()
        if server.compactions.current is None:
            return
        server.instance.tick(False)
        server.instance.engine.commit()
    raise AssertionError("never done")


def blocked(server: Server, *argv: bytes) -> Client:
    """A client that waits in COMPACT ... WAIT."""
    client = server.instance.new_client()
    result = execute(client, [b"COMPACT", *argv, b"WAIT"])
    assert result is None
    assert client.blocked is not None
    return client


def test_compact_at_once(server: Server) -> None:
    server.fill(3_000, 1000)
    before = server.size_bytes
    server.run(b"FLUSHDB")
    client = blocked(server)
    finish(server)
    assert client.out == [b"+OK\r\n"]
    assert client.blocked is None
    assert server.shrinks_below(0.1 * before)
    assert server.run(b"COMPACT") == b"+Background compaction started\r\n"
    finish(server)
    assert server.compactions.completed == 2
    assert b"compactions_completed:2" in bytes(str(server.run(b"INFO", b"leveldb")), "utf-8")


def test_compact_a_prefix_or_a_database(server: Server) -> None:
    for name in (b"a:", b"b:"):
        server.run(b"SET", name + b"big", RANDOM)
        fields = [word for at in range(1500) for word in (b"%d" % at, RANDOM[at : at + 600])]
        server.run(b"HSET", name + b"hash", *fields)
    server.fill(2_000, 1000, b"a:")
    server.fill(2_000, 1000, b"b:")
    server.run(b"SELECT", 3)
    server.fill(2_000, 1000, b"c:")
    ranges: list[tuple[bytes, bytes]] = []
    compact = server.instance.engine.store.compact

    def note(start: bytes, stop: bytes) -> None:
        ranges.append((start, stop))
        compact(start, stop)

    server.instance.engine.store.compact = note  # type: ignore[method-assign]
    server.run(b"COMPACT", b"DB", 0, b"PREFIX", b"a:")
    finish(server)
    first = server.instance.engine.database(0).id
    header = b"m" + first.to_bytes(4, "big")
    assert ranges[0][0] == header + b"a:"
    covered = [(start, stop) for start, stop in ranges if start.startswith(b"d")]
    assert covered, "the rows of big values are compacted too"
    assert all(not start < header + b"b:5" < stop for start, stop in ranges)
    ranges.clear()
    server.run(b"COMPACT", b"DB", b"3")
    finish(server)
    third = server.instance.engine.database(3).id
    assert {start[:5] for start, _ in ranges} == {b"m" + third.to_bytes(4, "big")}


@pytest.mark.parametrize(
    ("argv", "error"),
    [
        ((b"PREFIX",), b"-ERR syntax error\r\n"),
        ((b"NOW", b"1"), b"-ERR syntax error\r\n"),
        ((b"STOP", b"WAIT"), b"-ERR syntax error\r\n"),
        ((b"DB", b"16"), b"-ERR DB index is out of range\r\n"),
        ((b"DB", b"x"), b"-ERR DB index is out of range\r\n"),
        ((b"IOLIMIT", b"fast"), b"-ERR the I/O limit is no number of bytes\r\n"),
    ],
)
def test_bad_arguments(server: Server, argv: tuple[bytes, ...], error: bytes) -> None:
    assert server.run(b"COMPACT", *argv) == error
    assert server.compactions.current is None


def test_an_io_limit_spreads_the_pieces(server: Server) -> None:
    server.fill(3_000, 4000)
    client = blocked(server, b"IOLIMIT", b"1mb")
    began_s = server.now_s
    for _ in range(10_000):
        server.compactions.poll()
        if server.compactions.current is None:
            break
        server.instance.tick(False)
        server.instance.engine.commit()
        server.now_s += 0.1
    assert client.out == [b"+OK\r\n"]
    assert server.compactions.written_mib >= 4
    # The last piece is not followed by a pause.
    assert server.now_s - began_s > (server.compactions.written_mib - 3) * 0.9


def test_stop(server: Server) -> None:
    server.fill(1_500, 4000)
    client = blocked(server, b"IOLIMIT", b"1kb")
    for _ in range(5):
        server.compactions.poll()
        server.instance.tick(False)
        server.instance.engine.commit()
    assert server.compactions.current is not None
    server.run(b"COMPACT")
    assert server.run(b"COMPACT", b"STOP") == b":2\r\n"
    assert client.out == [b"-ERR the compaction was stopped\r\n"]
    assert server.compactions.current is None
    assert server.run(b"COMPACT", b"STOP") == b":0\r\n"


def test_waiting_for_the_reclaim_and_for_writers(server: Server) -> None:
    server.fill(100, 1000)
    server.run(b"FLUSHDB")
    server.run(b"COMPACT")
    assert server.compactions.wants_reclaim
    server.compactions.poll()
    assert server.compactions.current is not None
    assert server.compactions.current.waits_for_reclaim
    server.instance.tick(False)
    server.instance.engine.commit()
    server.instance.tick(False)
    server.instance.pacer.active = True
    server.compactions.poll()
    assert not server.compactions.wants_reclaim
    assert not server.compactions.current.is_planned
    server.now_s += 3
    server.compactions.poll()
    assert server.compactions.current is None


def test_a_failure_is_told(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(start: bytes, stop: bytes) -> None:
        raise StorageError("I/O error")

    monkeypatch.setattr(server.instance.engine.store, "compact", fail)
    client = blocked(server)
    finish(server)
    assert client.out == [b"-ERR compaction failed: I/O error\r\n"]
    assert server.compactions.failed == 1


def test_too_many(server: Server) -> None:
    for _ in range(64):
        assert server.run(b"COMPACT") == b"+Background compaction started\r\n"
    assert server.run(b"COMPACT") == b"-ERR too many compactions wait already\r\n"


def test_who_waits_may_leave_or_be_in_a_transaction(server: Server) -> None:
    client = blocked(server)
    server.instance.forget_client(client)
    server.run(b"MULTI")
    server.run(b"COMPACT", b"WAIT")
    assert server.run(b"EXEC") == b"*1\r\n+OK\r\n"
    finish(server)
    assert server.compactions.completed == 2


def test_in_memory_there_is_nothing_to_compact() -> None:
    instance = Instance(Config(), MemoryStore())
    instance.use_commands(load_all(), Flag.PLAIN, Flag.SKIP_SLOWLOG)
    client = instance.new_client()
    assert execute(client, [b"COMPACT", b"WAIT"]) is None
    instance.compactions.poll()
    assert client.out == [b"+OK\r\n"]


def test_the_daily_window(server: Server) -> None:
    server.fill(1_500, 4000)
    compactions = server.compactions
    now = datetime(2030, 1, 1, 23, 0)
    compactions.local_time = lambda: now
    config = server.instance.config
    server.run(b"CONFIG", b"SET", b"compaction-window", b"23:30-00:30", b"compaction-io-limit", b"1mb")
    compactions.poll()
    assert compactions.current is None
    now = datetime(2030, 1, 1, 23, 30)
    compactions.poll()
    assert compactions.current is not None
    assert compactions.current.reason == "scheduled"
    left = len(compactions.current.pieces)
    assert left
    now = datetime(2030, 1, 2, 0, 30)
    compactions.poll()
    assert compactions.current is None
    now = datetime(2030, 1, 2, 23, 31)
    server.now_s += 1e6
    compactions.poll()
    assert compactions.current is not None, "the rest is done in the next night"
    assert len(compactions.current.pieces) < left
    while compactions.current is not None:
        server.now_s += 1e6
        compactions.poll()
    compactions.poll()
    assert compactions.current is None, "once a night is enough"
    assert compactions.completed == 1
    assert config.compaction_window == "23:30-00:30"


@pytest.mark.parametrize("text", ["1:00-2:00", "01:00", "24:00-01:00", "01:00-02:60", "x"])
def test_windows_that_are_none(server: Server, text: str) -> None:
    reply = server.run(b"CONFIG", b"SET", b"compaction-window", text.encode())
    assert isinstance(reply, bytes)
    assert b"must be a time window" in reply


def test_in_window() -> None:
    at = datetime(2030, 1, 1, 2, 0)
    assert in_window("02:00-03:00", at)
    assert not in_window("01:00-02:00", at)
    assert in_window("22:00-02:01", at)
    assert not in_window("22:00-02:00", at)


def test_join_objects() -> None:
    assert join_objects([]) == []
    assert join_objects([5]) == [(5, 5)]
    assert join_objects([1, 2, 3, 9]) == [(1, 3), (9, 9)]
    assert join_objects([1, 3, 10, 12], most=2) == [(1, 3), (10, 12)]
    assert join_objects([1, 3, 10, 12], most=1) == [(1, 12)]
