"""maxdisk: what is evicted by which policy, that the tables stay within the limit, and what is refused."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from diskkv.commands.dispatch import execute
from diskkv.commands.registry import Flag, load_all
from diskkv.config import Config
from diskkv.engine.leveldb import LevelDBOptions, LevelDBStore
from diskkv.engine.sampling import between, expiring_keys, keys_from_random_place, places
from diskkv.services import compaction
from diskkv.services.disk_limit import least_recent
from diskkv.services.instance import Instance

MIB = 1 << 20
START_MS = 1_700_000_000_000
VALUES = random.Random(1).randbytes(MIB)


class Server:
    """An instance on LevelDB with a limit of 8 MiB; the background's work is done by `settle`."""

    def __init__(self, path: Path, large_string_size: int = 0) -> None:
        self.path = path
        config = Config()
        config.dir = str(path)
        config.cache_size = 2 * MIB
        options = LevelDBOptions(256 << 10, max_file_size=MIB, mmap=True, large_string_size=large_string_size)
        self.instance = Instance(config, LevelDBStore(path, options))
        self.instance.use_commands(load_all(), Flag.PLAIN, Flag.SKIP_SLOWLOG)
        self.now_s = 1000.0
        self.instance.compactions.clock = lambda: self.now_s
        self.client = self.instance.new_client()
        self.engine = self.instance.engine
        self.engine.begin(START_MS)
        self.random = random.Random(2)
        self.instance.disk_limit._random = random.Random(6)

    def run(self, *argv: bytes | int) -> object:
        words = [word if isinstance(word, bytes) else b"%d" % word for word in argv]
        entry = self.client.fast.get(words[0])
        result = entry.fn(self.client, words) if entry is not None else execute(self.client, words)
        self.engine.commit()
        return result

    def set(self, *policy: bytes) -> None:
        assert self.run(b"CONFIG", b"SET", b"maxdisk", b"8mb", b"maxdisk-policy", *policy) == b"+OK\r\n"

    def fill(self, first: int, stop: int, *options: bytes) -> None:
        for number in range(first, stop):
            at = self.random.randrange(MIB - 4000)
            execute(self.client, [b"SET", b"key:%06d" % number, VALUES[at : at + 4000], *options])
            if number % 64 == 0:
                self.engine.commit()
        self.engine.commit()
        self.engine.store.flush_log()

    def settle(self, rounds: int = 30) -> None:
        for _ in range(rounds):
            self.now_s += 1.0
            self.instance.disk_limit.poll()
            self.instance.compactions.poll()
            while self.instance.disk_limit.wanted_bytes > 0 or self.instance.can_reclaim:
                self.instance.tick(False)
                self.engine.commit()
            self.engine.store.flush_log()

    def shrinks_below(self, limit_bytes: float) -> bool:
        """Whether the tables do: LevelDB's own thread may be at work, and has old and new ones side by side then."""
        deadline = time.monotonic() + 20
        while self.size_bytes >= limit_bytes and time.monotonic() < deadline:
            self.settle(1)
            time.sleep(0.01)
        return self.size_bytes < limit_bytes

    @property
    def size_bytes(self) -> int:
        return sum(file.stat().st_size for file in self.path.iterdir() if file.suffix in {".ldb", ".val"})


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(compaction, "_NOTED_BYTES", 1)
    monkeypatch.setattr("diskkv.engine.dead_space._LEAST_SLICE_BYTES", MIB // 2)
    made = Server(tmp_path / "data")
    yield made
    made.engine.close()


@pytest.mark.parametrize("policy", [b"allkeys-random", b"allkeys-lru", b"volatile-random", b"volatile-lru"])
def test_the_tables_stay_within_the_limit(server: Server, policy: bytes) -> None:
    server.set(policy)
    options = (b"EX", b"1000") if policy.startswith(b"volatile") else ()
    for turn in range(4):
        server.fill(turn * 1000, (turn + 1) * 1000, *options)
        server.settle()
    assert server.instance.writes.full is None
    assert server.shrinks_below(9 * MIB)
    keys = server.engine.database(0).keys
    assert 800 < keys < 2300
    assert server.instance.disk_limit.evicted_keys == 4000 - keys
    assert b"evicted_keys:%d\r\n" % (4000 - keys) in bytes(str(server.run(b"INFO", b"stats")), "ascii").replace(
        b"\\r\\n", b"\r\n"
    )


def test_long_strings_in_files_of_their_own_stay_within_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "_NOTED_BYTES", 1)
    monkeypatch.setattr("diskkv.engine.dead_space._LEAST_SLICE_BYTES", MIB // 2)
    server = Server(tmp_path / "data", large_string_size=512)
    server.set(b"allkeys-random")
    for turn in range(4):
        server.fill(turn * 1000, (turn + 1) * 1000)
        server.settle()
    assert server.instance.writes.full is None
    assert server.shrinks_below(9 * MIB)
    assert 800 < server.engine.database(0).keys < 2300
    server.engine.close()


def test_big_values(server: Server) -> None:
    server.set(b"allkeys-random")
    for number in range(40):
        server.run(b"SET", b"big:%d" % number, VALUES[number:] + VALUES[:number])
        if number % 4 == 0:
            server.settle(4)
    server.settle()
    assert server.shrinks_below(9 * MIB)
    assert 3 <= server.engine.database(0).keys <= 9


def test_lru_keeps_what_is_read(server: Server) -> None:
    server.set(b"allkeys-lru")
    hot = [b"key:%06d" % number for number in range(0, 1000, 10)]
    for turn in range(4):
        server.fill(turn * 1000, (turn + 1) * 1000)
        for key in hot:
            server.run(b"GET", key)
            server.run(b"GET", key)
        server.settle()
    kept = sum(server.run(b"EXISTS", key) == b":1\r\n" for key in hot)
    assert kept > 75, "about half of all keys are left"
    assert server.engine.database(0).keys < 2300


def test_ttl_evicts_what_expires_first(server: Server) -> None:
    server.set(b"volatile-ttl")
    server.fill(0, 1000, b"EX", b"5000")
    server.fill(1000, 2000, b"EX", b"1000")
    server.fill(2000, 2500)
    server.settle()
    assert server.run(b"EXISTS", b"key:000500", b"key:002100") == b":2\r\n"
    left = [server.run(b"EXISTS", b"key:%06d" % number) for number in range(2500)]
    assert left[:1000].count(b":0\r\n") < left[1000:2000].count(b":0\r\n")
    assert left[2000:].count(b":0\r\n") == 0


def test_noeviction_refuses_what_needs_space(server: Server) -> None:
    server.set(b"noeviction")
    server.fill(0, 2500)
    server.settle(2)
    error = b"-OOM command not allowed when used disk space > 'maxdisk'.\r\n"
    assert server.run(b"SET", b"k", b"v") == error
    assert server.run(b"EVAL", b"return redis.call('set', 'k', 'v')", 0) != b"+OK\r\n"
    assert isinstance(reply := server.run(b"GET", b"key:000000"), bytes)
    assert len(reply) > 4000
    assert b"GET" in server.client.fast, "reads stay fast"
    server.run(b"MULTI")
    assert server.run(b"SET", b"k", b"v") in (error, b"+QUEUED\r\n")
    assert isinstance(reply := server.run(b"EXEC"), bytes)
    assert reply.startswith((b"-EXECABORT", b"-OOM"))
    assert server.run(b"DBSIZE") == b":2500\r\n"
    for number in range(1500):
        server.run(b"DEL", b"key:%06d" % number)
    server.settle()
    assert server.shrinks_below(7 * MIB)
    assert server.run(b"SET", b"k", b"v") == b"+OK\r\n"
    server.run(b"CONFIG", b"SET", b"maxdisk", b"1mb")
    server.settle(1)
    assert server.run(b"SET", b"k", b"v") == error
    server.run(b"CONFIG", b"SET", b"maxdisk", b"0")
    server.settle(1)
    assert server.run(b"SET", b"k", b"v") == b"+OK\r\n"


def test_nothing_to_evict_is_as_noeviction(server: Server) -> None:
    server.set(b"volatile-lru")
    server.fill(0, 2500)
    server.settle()
    assert server.run(b"SET", b"k", b"v") == b"-OOM command not allowed when used disk space > 'maxdisk'.\r\n"
    assert server.engine.database(0).keys == 2500


def test_events(server: Server) -> None:
    events: list[tuple[bytes, bytes]] = []
    server.run(b"CONFIG", b"SET", b"notify-keyspace-events", b"Ee")
    server.instance.publish = lambda channel, message: events.append((channel, message)) or 0  # type: ignore[func-returns-value,method-assign]
    server.set(b"allkeys-random")
    server.fill(0, 2500)
    server.settle()
    assert events
    assert {channel for channel, _ in events} == {b"__keyevent@0__:evicted"}
    assert len({key for _, key in events}) == server.instance.disk_limit.evicted_keys


def test_writers_are_slowed_down_while_compactions_are_behind(server: Server) -> None:
    server.set(b"allkeys-random")
    server.fill(0, 4000)
    server.instance.disk_limit.poll()
    assert server.instance.pacer.least_step == 12
    server.instance.tick(False)
    server.engine.commit()
    server.settle()
    assert server.instance.pacer.least_step == 0


def test_nothing_is_evicted_while_nothing_may_be_deleted(server: Server) -> None:
    server.set(b"allkeys-random")
    server.fill(0, 2500)
    server.instance.disk_limit.poll()
    assert server.instance.can_evict
    server.instance.writes.failed = "I/O error"
    assert not server.instance.can_evict
    server.instance.writes.failed = None
    server.run(b"CLIENT", b"PAUSE", 100_000, b"WRITE")
    assert not server.instance.can_evict
    server.instance.tick(False)
    assert server.instance.disk_limit.evicted_keys == 0


# ---- sampling


def test_every_part_of_the_data_is_drawn(server: Server) -> None:
    server.fill(0, 2000)
    cuts = places(server.engine)
    assert len(cuts) > 3
    chance = random.Random(3)
    drawn = [
        keys_from_random_place(server.engine, server.engine.database(0), cuts, 5, chance)[0][1] for _ in range(400)
    ]
    parts = [int(key[4:]) // 500 for key in drawn]
    assert all(parts.count(part) > 40 for part in range(4))


def test_a_draw_goes_round_at_the_end(server: Server) -> None:
    server.fill(0, 3)
    found = keys_from_random_place(server.engine, server.engine.database(0), [], 10, random.Random(4))
    assert sorted(key for _, key, _ in found) == [b"key:000000", b"key:000001", b"key:000002"]


def test_between() -> None:
    chance = random.Random(5)
    drawn = [between(b"abc\x01", b"abc\x09\xff", chance) for _ in range(100)]
    assert all(b"abc\x01" <= key < b"abc\x09\xff" for key in drawn)
    assert len({key[:4] for key in drawn}) == 9
    numbers = {int(between(b"key:1000", b"key:9999\0", chance)[4:8]) // 1000 for _ in range(200)}
    assert numbers == set(range(1, 10))
    assert b"k:00af" <= between(b"k:00af", b"k:ff", chance) < b"k:ff"
    assert between(b"a", b"a\x00", chance) >= b"a"


def test_entries_that_outlived_their_keys(server: Server) -> None:
    server.fill(0, 5, b"EX", b"100")
    server.run(b"DEL", b"key:000001")
    server.run(b"PERSIST", b"key:000002")
    server.run(b"EXPIRE", b"key:000003", 1000)
    found = expiring_keys(server.engine, 10, None)
    assert sorted({key for _, key, _ in found}) == [b"key:000000", b"key:000003", b"key:000004"]
    assert expiring_keys(server.engine, 2, random.Random(1))


def test_least_recent(server: Server) -> None:
    server.fill(0, 3)
    database = server.engine.database(0)
    found = [(database, b"key:%06d" % number, b"v") for number in range(3)]
    assert least_recent(found, True) == found, "all are cached, none was read again"
    database.segment.discard(b"key:000001")
    assert least_recent(found, True) == [found[1]]
    assert least_recent([], False) == []
