"""The pacing of writers: against a model of LevelDB's level 0, and what clients see of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from diskkv.commands.dispatch import HELD, execute
from diskkv.commands.registry import Flag, load_all
from diskkv.config import Config
from diskkv.engine.memory import MemoryStore
from diskkv.errors import StorageError
from diskkv.services.client import Client
from diskkv.services.instance import Instance
from diskkv.services.leveldb_info import Level, parse_levels
from diskkv.services.pacing import WritePacer

MIB = 1 << 20
MS = 1_000_000


class ModelStore(MemoryStore):
    """Level 0 gets a table for every 4 MiB; the merge takes all of them at once, in the time their size asks for."""

    def __init__(self, merged_per_s: float = 20 * MIB) -> None:
        super().__init__()
        self.files = 0
        self.most_files = 0
        self.merged_per_s = merged_per_s
        self._flushed_bytes = 0
        self._merging = (0, 0)

    def pressure(self) -> float:
        return self.files / 12

    def advance(self, now_ns: int) -> None:
        """Flush what is full, begin and end merges."""
        while self.written_bytes - self._flushed_bytes >= 4 * MIB:
            self._flushed_bytes += 4 * MIB
            self.files += 1
        self.most_files = max(self.most_files, self.files)
        count, end_ns = self._merging
        if count and now_ns >= end_ns:
            self.files -= count
            count = 0
        if not count and self.files >= 4:
            end_ns = now_ns + int(self.files * 4 * MIB / self.merged_per_s * 1e9)
            count = self.files
        self._merging = (count, end_ns)


def make_instance(store: MemoryStore) -> Instance:
    instance = Instance(Config(), store)
    instance.use_commands(load_all(), Flag.PLAIN, Flag.SKIP_SLOWLOG)
    return instance


class Load:
    """`clients` that write `size_bytes` each as fast as they may, served by turns of `turn_ms`."""

    def __init__(self, store: ModelStore, clients: int, size_bytes: int) -> None:
        self.store = store
        self.now_ns = 1_700_000_000_000 * MS
        self.instance = make_instance(store)
        self.paused: list[Client] = self.instance.paused
        self.pacer = WritePacer(store, self.paused, lambda: None, lambda: self.now_ns)
        self.clients = [self.instance.new_client() for _ in range(clients)]
        self.size_bytes = size_bytes
        self.asked_ns = dict.fromkeys(self.clients, self.now_ns)
        self.waits_ms: list[float] = []
        self.written = 0

    def run(self, seconds: float, turn_ms: float = 2.0) -> None:
        end_ns = self.now_ns + int(seconds * 1e9)
        while self.now_ns < end_ns:
            written = 0
            for client in self.clients:
                if client.paused or (self.pacer.holding and self.pacer.must_wait(client)):
                    if not client.paused:
                        client.paused = True
                        self.paused.append(client)
                    continue
                self.waits_ms.append((self.now_ns - self.asked_ns[client]) / MS)
                self.asked_ns[client] = self.now_ns
                written += self.size_bytes
            if written:
                self.store.written_bytes += written
                self.written += written
                self.pacer.committed(int(turn_ms * MS))
            self.now_ns += int(turn_ms * MS)
            self.store.advance(self.now_ns)
            if self.pacer.holding and self.pacer.due_ms <= self.now_ns // MS:
                self.pacer.release()
        self.instance.woken.clear()


@pytest.mark.parametrize(("clients", "size_bytes"), [(50, 1000), (50, 10_000), (200, 2000), (1, 100_000)])
def test_level_0_stays_below_the_stop_and_nobody_waits_long(clients: int, size_bytes: int) -> None:
    store = ModelStore()
    load = Load(store, clients, size_bytes)
    load.run(40)
    assert store.most_files <= 13, "the store would have stopped the writing thread"
    waits = sorted(load.waits_ms[len(load.waits_ms) // 4 :])
    assert waits[int(len(waits) * 0.999)] < 100
    assert load.written / 40 > 0.7 * store.merged_per_s, "pacing must not cost much of what the store can take"


def test_a_slow_disk_is_found_out() -> None:
    store = ModelStore(merged_per_s=3 * MIB)
    load = Load(store, 50, 10_000)
    load.run(60)
    store.most_files = 0
    load.run(30)
    assert store.most_files <= 13
    assert load.pacer.active


def test_writers_are_left_alone_when_the_store_keeps_up() -> None:
    load = Load(ModelStore(merged_per_s=10_000 * MIB), 50, 1000)
    load.run(5)
    assert not load.pacer.active
    assert max(load.waits_ms[50:]) <= 2.0


def test_pacing_ends_when_level_0_is_empty_again() -> None:
    store = ModelStore(merged_per_s=1)
    load = Load(store, 10, 10_000)
    store.files = 8
    load.run(1)
    assert load.pacer.active
    store.files = 0
    store.merged_per_s = 1e12
    load.run(1, turn_ms=20)
    assert not load.pacer.active
    assert not load.pacer.holding


def test_a_store_that_never_gets_on_is_left_to_the_next_write() -> None:
    store = ModelStore(merged_per_s=1)
    store.files = 12
    load = Load(store, 2, 1 << 20)
    load.run(35, turn_ms=10)
    assert 2 <= len(load.waits_ms) - 2 <= 60, "one slice was let through after the limit"


# ---- clients


class FullStore(MemoryStore):
    """A store whose level 0 is what the test says."""

    files = 0

    def pressure(self) -> float:
        return self.files / 12


@pytest.fixture
def instance() -> Iterator[Instance]:
    yield make_instance(FullStore())


def fill(instance: Instance, files: int) -> None:
    """Have the pacer find `files` tables after a turn that wrote 2 MiB."""
    store = instance.engine.store
    assert isinstance(store, FullStore)
    store.files = files
    store.written_bytes += 2 * MIB
    instance.pacer.committed(1000)


def run(client: Client, *argv: bytes) -> object:
    entry = client.fast.get(argv[0])
    return entry.fn(client, list(argv)) if entry is not None else execute(client, list(argv))


def test_writers_wait_and_readers_do_not(instance: Instance) -> None:
    client, other = instance.new_client(), instance.new_client()
    assert run(client, b"SET", b"k", b"v") == b"+OK\r\n"
    fill(instance, 9)
    assert instance.pacer.holding
    assert run(client, b"SET", b"k", b"2") is HELD
    assert client.paused
    assert run(other, b"GET", b"k") == b"$1\r\nv\r\n"
    assert b"GET" in other.fast, "reads stay on the fast path"
    assert b"SET" not in other.fast
    assert run(other, b"MULTI") == b"+OK\r\n"
    assert run(other, b"SET", b"k", b"3") == b"+QUEUED\r\n"
    assert run(other, b"EXEC") is HELD


@pytest.mark.parametrize(
    "argv",
    [
        (b"EVAL", b"return 1", b"0"),
        (b"eval", b"#!lua\nreturn 1", b"0"),
        (b"DEL", b"k"),
        (b"del", b"k"),
        (b"FLUSHALL",),
        (b"BLPOP", b"l", b"0"),
    ],
)
def test_whatever_may_write_waits(instance: Instance, argv: tuple[bytes, ...]) -> None:
    fill(instance, 9)
    assert run(instance.new_client(), *argv) is HELD


@pytest.mark.parametrize(
    "argv",
    [(b"EVAL", b"#!lua flags=no-writes\nreturn 1", b"0"), (b"PING",), (b"PUBLISH", b"c", b"m"), (b"EXISTS", b"k")],
)
def test_whatever_does_not_write_goes_on(instance: Instance, argv: tuple[bytes, ...]) -> None:
    fill(instance, 9)
    assert isinstance(run(instance.new_client(), *argv), bytes)


def test_those_who_wait_go_on_in_order(instance: Instance) -> None:
    clients = [instance.new_client() for _ in range(3)]
    fill(instance, 9)
    for client in clients:
        assert run(client, b"SET", b"k", b"v") is HELD
    instance.pacer._debt_bytes = 0.0
    instance.pacer._bytes_per_client = 1e9
    instance.pacer.release()
    assert instance.woken == clients[:1]
    assert run(clients[0], b"SET", b"k", b"v") == b"+OK\r\n"
    newcomer = instance.new_client()
    assert run(newcomer, b"SET", b"k", b"v") is HELD, "the others were there first"
    assert instance.paused == [*clients[1:], newcomer]
    store = instance.engine.store
    assert isinstance(store, FullStore)
    store.files = 0
    instance.pacer._debt_bytes = 0.0
    instance.pacer.release()
    assert not instance.paused
    assert instance.woken[1:] == [newcomer, clients[2], clients[1]]
    assert b"SET" in newcomer.fast


def test_a_client_that_waits_may_go_away(instance: Instance) -> None:
    client = instance.new_client()
    fill(instance, 9)
    assert run(client, b"SET", b"k", b"v") is HELD
    instance.forget_client(client)
    assert not instance.paused


def test_pacing_can_be_switched_off(instance: Instance) -> None:
    client = instance.new_client()
    fill(instance, 9)
    assert run(client, b"SET", b"k", b"v") is HELD
    run(instance.new_client(), b"CONFIG", b"SET", b"write-pacing", b"no")
    assert instance.woken == [client]
    assert run(client, b"SET", b"k", b"v") == b"+OK\r\n"
    fill(instance, 11)
    assert not instance.pacer.active


def test_client_pause_goes_first(instance: Instance) -> None:
    client = instance.new_client()
    run(client, b"CLIENT", b"PAUSE", b"100000", b"WRITE")
    fill(instance, 9)
    assert run(client, b"SET", b"k", b"v") is HELD
    run(instance.new_client(), b"CLIENT", b"UNPAUSE")
    assert run(client, b"SET", b"k", b"v") is HELD


def test_a_store_that_cannot_tell_is_not_full(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> int:
        raise StorageError("closed")

    fill(instance, 9)
    monkeypatch.setattr(instance.engine.store, "pressure", fail)
    instance.pacer._debt_bytes = 0.0
    instance.pacer.release()
    assert not instance.pacer.active


def test_levels_and_their_debt() -> None:
    table = "Level  Files Size(MB) Time(sec) Read(MB) Write(MB)\n---\n  0      5  20   1  0  40\n  1  3  14  1  2  3\n"
    assert list(parse_levels(table)) == [Level(0, 5, 20, 1, 0, 40), Level(1, 3, 14, 1, 2, 3)]
    assert [level.debt_mib for level in parse_levels(table)] == [20, 4]
    assert Level(0, 3, 12, 0, 0, 0).debt_mib == 0
    assert Level(2, 20, 100, 0, 0, 0).debt_mib == 0
