"""Sizes that follow from a budget, the cache that gives way, and clients that hold too much."""

from __future__ import annotations

from pathlib import Path

import pytest

from diskkv.commands.registry import Flag, load_all
from diskkv.config import Config
from diskkv.engine.memory import MemoryStore
from diskkv.services import memory, sizing
from diskkv.services.client import Client
from diskkv.services.instance import Instance

MIB = 1 << 20
VALUE = bytes(100_000)


@pytest.mark.parametrize("budget_mib", [32, 64, 100, 256, 300, 1024, 4096, 65536])
@pytest.mark.parametrize("dataset_mib", [0, 1000, 20_000, 1_000_000])
def test_the_parts_fit_into_the_budget(budget_mib: int, dataset_mib: int) -> None:
    budget = budget_mib * MIB
    sizes = sizing.derive(budget, dataset_mib * MIB)
    buffers_bytes = 2 * sizes["leveldb_write_buffer_size"] + sizes["memtable_size"] * 3 // 2
    room_bytes = max(budget, 64 * MIB) - sizing.BASE_BYTES - buffers_bytes
    assert sizes["cache_size"] <= room_bytes - sizing.room_bytes(budget) // 10
    assert sizes["leveldb_block_cache_size"] <= room_bytes - sizing.LEAST_CACHE_BYTES
    assert 74 <= sizes["leveldb_max_open_files"] <= 50_000
    tables_bytes = sizes["leveldb_max_open_files"] * sizes["leveldb_max_file_size"] // 64
    least_bytes = 74 * sizes["leveldb_max_file_size"] // 64
    assert tables_bytes <= max(sizing.room_bytes(budget) * 3 // 4, least_bytes)
    assert sizes["cache_size"] >= sizing.room_bytes(budget) // 2


def test_tables_grow_with_the_dataset() -> None:
    sizes = [sizing.derive(1 << 30, size * MIB)["leveldb_max_file_size"] // MIB for size in (0, 10_000, 50_000, 10**6)]
    assert sizes == [8, 8, 32, 64]


@pytest.mark.parametrize("budget_mib", [96, 192, 1024])
def test_the_tables_of_a_dataset_of_many_times_the_budget_stay_open(budget_mib: int) -> None:
    dataset = 16 * budget_mib * MIB
    sizes = sizing.derive(budget_mib * MIB, dataset)
    assert sizes["leveldb_max_open_files"] * sizes["leveldb_max_file_size"] >= dataset


def test_without_maxmemory_the_cache_leaves_room_for_the_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizing, "available_bytes", lambda: 64 << 30)
    caches = []
    for dataset_mib in (0, 1000, 10_000, 100_000):
        config = Config()
        sizing.apply(config, dataset_mib * MIB)
        caches.append(config.cache_size // MIB)
    assert caches == sorted(caches, reverse=True)
    assert caches[0] > caches[2] >= caches[3] >= 64


def test_what_is_given_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizing, "available_bytes", lambda: 64 << 30)
    config = Config()
    config.cache_size = 5 * MIB
    config.given.add("cache_size")
    sizing.apply(config, 0)
    assert config.cache_size == 5 * MIB
    assert config.leveldb_write_buffer_size == 4 * MIB
    assert "cache_size" not in config.derived
    assert config.derived["leveldb_write_buffer_size"] == 4 * MIB


@pytest.mark.parametrize(("machine_gib", "budget_mib"), [(0.25, 96), (1, 256), (8, 320), (64, 320)])
def test_without_maxmemory_it_follows_the_machine(
    machine_gib: float, budget_mib: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sizing, "available_bytes", lambda: int(machine_gib * (1 << 30)))
    config = Config()
    assert sizing.budget_bytes(config) == budget_mib * MIB
    sizing.apply(config, 0)
    assert config.cache_size < budget_mib * MIB * 2 // 3


def test_the_limit_of_a_control_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = tmp_path / "memory.max"
    limit.write_text("max\n")
    assert sizing._read_limit(limit) == 0
    limit.write_text("1048576\n")
    monkeypatch.setattr(sizing, "_limit_files", lambda: [tmp_path / "none", limit])
    sizing.available_bytes.cache_clear()
    assert sizing.available_bytes() == MIB
    sizing.available_bytes.cache_clear()
    monkeypatch.undo()
    assert sizing.available_bytes() >= MIB


# ---- the cache gives way


@pytest.fixture
def instance() -> Instance:
    config = Config()
    config.maxmemory = 200 * MIB
    config.cache_size = 100 * MIB
    made = Instance(config, MemoryStore())
    made.use_commands(load_all(), Flag.PLAIN, Flag.SKIP_SLOWLOG)
    return made


def fill(instance: Instance, entries: int) -> None:
    segment = instance.engine.database(0).segment
    for number in range(entries):
        segment.store(b"%08d" % number, VALUE)


def test_the_cache_gives_way_and_comes_back(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    budget, cache = instance.memory_budget, instance.engine.cache
    fill(instance, 900)
    before = cache.size_bytes
    trims: list[int] = []
    monkeypatch.setattr(memory, "trim", lambda: trims.append(1))
    budget.resident_bytes = lambda: 199 * MIB
    for _ in range(4):
        budget.poll()
    assert before - cache.size_bytes > 8 * MIB
    assert trims, "what was freed is handed back"
    budget.resident_bytes = lambda: 150 * MIB
    budget.poll()
    limit = cache.limit_bytes
    fill(instance, 900)
    budget.poll()
    assert limit < cache.limit_bytes <= 100 * MIB
    for _ in range(40):
        fill(instance, 1000)
        budget.poll()
    assert cache.limit_bytes == 100 * MIB


def test_the_cache_never_vanishes(instance: Instance) -> None:
    fill(instance, 500)
    instance.memory_budget.resident_bytes = lambda: 900 * MIB
    for _ in range(100):
        instance.memory_budget.poll()
    assert 0 < instance.engine.cache.size_bytes <= MIB


def test_without_maxmemory_the_cache_stays(instance: Instance) -> None:
    instance.config.maxmemory = 0
    fill(instance, 500)
    before = instance.engine.cache.size_bytes
    instance.memory_budget.resident_bytes = lambda: 1 << 50
    instance.memory_budget.poll()
    assert instance.engine.cache.size_bytes == before


def test_config_set(instance: Instance) -> None:
    instance.config.derived["cache_size"] = instance.config.cache_size
    instance.config.set([b"maxmemory", b"1gb"])
    assert instance.memory_budget.most_bytes == instance.config.cache_size > 500 * MIB
    instance.config.set([b"cache-size", b"10mb"])
    assert instance.memory_budget.most_bytes == instance.engine.cache.limit_bytes == 10 * MIB
    instance.config.set([b"maxmemory", b"2gb"])
    assert instance.config.cache_size == 10 * MIB, "it was given"


# ---- clients


class Holder(Client):
    """A client with so much unread output."""

    held_bytes = 0

    @property
    def output_bytes(self) -> int:
        return self.held_bytes


def holders(instance: Instance, *sizes_mib: int) -> list[Holder]:
    found = []
    for size in sizes_mib:
        client = instance.new_client(Holder)
        assert isinstance(client, Holder)
        client.held_bytes = size * MIB
        found.append(client)
    return found


@pytest.mark.parametrize(("limit", "evicted"), [(b"64mb", [True, False, False]), (b"10%", [True, True, False])])
def test_clients_that_hold_most_are_disconnected(instance: Instance, limit: bytes, evicted: list[bool]) -> None:
    instance.config.set([b"maxmemory-clients", limit])
    clients = holders(instance, 40, 30, 10)
    instance.memory_budget.poll()
    assert [client.closing for client in clients] == evicted
    assert instance.memory_budget.evicted_clients == sum(evicted)


def test_clients_that_are_protected(instance: Instance) -> None:
    instance.config.set([b"maxmemory-clients", b"1mb"])
    first, second = holders(instance, 40, 30)
    first.no_evict = True
    instance.memory_budget.poll()
    assert not first.closing
    assert second.closing


def test_clients_are_bounded_by_maxmemory(instance: Instance) -> None:
    (client,) = holders(instance, 60)
    instance.memory_budget.poll()
    assert client.closing
    instance.config.maxmemory = 0
    (client,) = holders(instance, 500)
    instance.memory_budget.poll()
    assert not client.closing


def test_the_allocator_takes_the_hints() -> None:
    memory.tame_allocator()
    memory.trim()
    memory.release_unused()


def test_what_waits_for_a_client_is_bounded_on_a_small_machine_too(monkeypatch: pytest.MonkeyPatch) -> None:
    instance = Instance(Config(), MemoryStore())
    limits = []
    for machine_mib in (256, 768, 64 << 10):
        monkeypatch.setattr(sizing, "available_bytes", lambda size=machine_mib * MIB: size)
        limits.append(instance.memory_budget.input_limit_bytes // MIB)
    assert limits == sorted(limits)
    assert limits[0] <= 12
    assert limits[2] >= 60
