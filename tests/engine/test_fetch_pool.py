"""Threads that read rows, compiled and in Python: every row once, the loop is told, and closing is safe."""

from __future__ import annotations

import os
import random
import select
import time
from collections.abc import Iterator
from pathlib import Path

import plyvel
import pytest

from diskkv.codec.header import encode_header, with_expiry
from diskkv.engine import fetch_pool
from diskkv.engine.fetch_pool import Fetch, FetchPool, NativePool, open_pool
from diskkv.engine.leveldb import LevelDBOptions, LevelDBStore
from diskkv.engine.memory import MemoryStore
from diskkv.errors import CorruptionError, StorageError

TIMEOUT_MS = 20_000
ROWS = 500
POOLS = [
    FetchPool,
    pytest.param(
        NativePool, marks=pytest.mark.skipif(fetch_pool.native is None, reason="the compiled module needs a C compiler")
    ),
]


def row(number: int) -> bytes:
    return b"row:%d" % number


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LevelDBStore]:
    made = LevelDBStore(tmp_path / "leveldb", LevelDBOptions(compression=False))
    made.write({row(number): b"%d" % number * 100 for number in range(ROWS)})
    made.flush_log()
    yield made
    made.close()


class Loop:
    """What the server's loop does with a pool."""

    def __init__(self, kind: type[FetchPool | NativePool], store: LevelDBStore, threads: int = 4) -> None:
        self.event_fd = os.eventfd(0, os.EFD_NONBLOCK)
        if kind is NativePool:
            opened = open_pool(store, threads, self.event_fd)
            assert isinstance(opened, NativePool)
            self.pool: FetchPool | NativePool = opened
        else:
            self.pool = FetchPool(store, threads, self.event_fd)
        self._poll = select.epoll()
        self._poll.register(self.event_fd, select.EPOLLIN | select.EPOLLET)

    def wait(self) -> list[Fetch]:
        if not self.pool.await_rows():
            assert self._poll.poll(TIMEOUT_MS / 1000), "nothing was announced"
        return self.pool.finished()

    def read(self, *rows: bytes) -> dict[bytes, Fetch]:
        self.pool.submit([Fetch(item) for item in rows])
        found: dict[bytes, Fetch] = {}
        while len(found) < len(rows):
            found |= {fetch.row: fetch for fetch in self.wait()}
        return found

    def close(self) -> None:
        self.pool.close()
        self._poll.close()
        os.close(self.event_fd)


@pytest.fixture(params=POOLS)
def loop(request: pytest.FixtureRequest, store: LevelDBStore) -> Iterator[Loop]:
    made = Loop(request.param, store)
    yield made
    made.close()


def test_every_row_is_answered_once(loop: Loop) -> None:
    for _ in range(5):
        found = loop.read(*map(row, range(ROWS)))
        assert {key: fetch.value for key, fetch in found.items()} == {row(n): b"%d" % n * 100 for n in range(ROWS)}
        assert loop.pool.finished() == []
    assert any(fetch.from_disk is False for fetch in found.values())


def test_rows_one_at_a_time_are_announced_each(loop: Loop) -> None:
    for number in range(ROWS):
        assert loop.read(row(number))[row(number)].value == b"%d" % number * 100


def test_a_row_that_is_not_there_is_none(loop: Loop) -> None:
    found = loop.read(b"nothing", b"", row(1))
    assert found[b"nothing"].value is None and found[b"nothing"].error is None
    assert found[b""].value is None
    assert found[row(1)].value == b"1" * 100


def test_draining_waits_for_all(loop: Loop) -> None:
    assert loop.pool.drain() == []
    for size in (1, 100):
        loop.pool.submit([Fetch(row(number)) for number in range(size)])
        assert sorted(fetch.row for fetch in loop.pool.drain()) == sorted(map(row, range(size)))
        assert not loop.pool.await_rows()


def test_what_is_under_way_when_the_pool_ends_is_let_go(store: LevelDBStore) -> None:
    for param in POOLS:
        kind = param if isinstance(param, type) else param.values[0]
        if kind is NativePool and fetch_pool.native is None:
            continue
        loop = Loop(kind, store)
        loop.pool.submit([Fetch(row(number)) for number in range(ROWS)])
        loop.close()


def test_the_store_may_be_opened_anew(loop: Loop, store: LevelDBStore) -> None:
    for number in range(3):
        loop.read(row(1))
        loop.pool.drain()
        store.reopen()
        assert loop.read(row(number))[row(number)].value == b"%d" % number * 100


def test_a_closed_store_is_an_error(loop: Loop, store: LevelDBStore) -> None:
    loop.read(row(1))
    store.close()
    found = loop.read(row(1), row(2))
    assert all(isinstance(fetch.error, StorageError) for fetch in found.values())
    store.reopen()
    assert loop.read(row(2))[row(2)].value == b"2" * 100


@pytest.mark.parametrize("kind", POOLS)
def test_damage_is_an_error(kind: type[FetchPool | NativePool], tmp_path: Path, store: LevelDBStore) -> None:
    store.compact(b"", b"\xff")
    store.close()
    for table in store.path.glob("*.ldb"):
        content = bytearray(table.read_bytes())
        # A pointer to the wrong place in a block's footer is noticed without checksums. The first block, which is read
        # when the store is opened, stays.
        size = len(content) // 4
        content[size : 2 * size] = b"\xff" * size
        table.write_bytes(content)
    store.reopen()
    loop = Loop(kind, store)
    damaged = sorted(map(row, range(ROWS)))[ROWS * 3 // 8 :][:2]
    found = loop.read(*damaged)
    assert all(isinstance(fetch.error, CorruptionError) for fetch in found.values())
    loop.close()


def key(number: int) -> bytes:
    return b"m\0\0\0\1" + b"key:%d" % number


LENGTHS = [1, 63, 64, 65, 1000, 4096, 70_000, (1 << 20) - 100, 1 << 20, 2_000_000]


def strings() -> dict[bytes, bytes | None]:
    """Records of strings of many lengths, some with a time to live."""
    found: dict[bytes, bytes | None] = {}
    for number, length in enumerate(LENGTHS):
        data = random.Random(number).randbytes(length)
        found[key(number)] = encode_header(data)
        found[key(number + 100)] = encode_header(with_expiry(data, 1 << 50))
    return found


@pytest.fixture
def long_store(tmp_path: Path) -> Iterator[LevelDBStore]:
    made = LevelDBStore(tmp_path / "long", LevelDBOptions(large_string_size=64))
    made.write(strings())
    made.flush_log()
    assert made.value_descriptors
    yield made
    made.close()


@pytest.mark.parametrize("kind", POOLS)
def test_long_strings_come_from_their_files(kind: type[FetchPool | NativePool], long_store: LevelDBStore) -> None:
    expected = strings()
    loop = Loop(kind, long_store)
    assert {row: fetch.value for row, fetch in loop.read(*expected).items()} == expected
    # Until the first file is given up.
    files = long_store.value_descriptors
    for row in list(expected)[:-2]:
        expected[row] = encode_header(b"another" * 100)
        long_store.write({row: expected[row]})
        long_store.flush_log()
        assert {row: fetch.value for row, fetch in loop.read(*expected).items()} == expected
    long_store.compact(b"", b"\xff")
    deadline_s = time.monotonic() + TIMEOUT_MS / 1000
    while not files.keys() - long_store.value_descriptors.keys():
        assert time.monotonic() < deadline_s, "no file is given up"
        assert {row: fetch.value for row, fetch in loop.read(*expected).items()} == expected
    assert {row: fetch.value for row, fetch in loop.read(*expected).items()} == expected
    loop.close()


@pytest.mark.skipif(fetch_pool.native is None, reason="the compiled module needs a C compiler")
def test_only_very_long_strings_are_left_to_python(
    long_store: LevelDBStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = Loop(NativePool, long_store)
    read = long_store.get
    asked = []
    monkeypatch.setattr(long_store, "get", lambda row: asked.append(row) or read(row))
    expected = strings()
    assert {row: fetch.value for row, fetch in loop.read(*expected).items()} == expected
    assert sorted(asked) == [row for row in sorted(expected) if len(expected[row] or b"") > 1 << 20]
    loop.close()


@pytest.mark.parametrize("kind", POOLS)
def test_a_damaged_string_is_an_error(kind: type[FetchPool | NativePool], long_store: LevelDBStore) -> None:
    rows = [key(number) for number in range(2, 6)]
    for path in long_store.path.glob("*.val"):
        content = bytearray(path.read_bytes())
        for row in rows:
            content[content.index(row) + len(row) + 5] ^= 1
        with path.open("r+b") as file:
            file.write(content)
    loop = Loop(kind, long_store)
    found = loop.read(*rows, key(6))
    assert all(isinstance(found[row].error, CorruptionError) for row in rows)
    assert found[key(6)].value == strings()[key(6)]
    loop.close()


def test_only_an_open_database_is_read_natively(store: LevelDBStore, tmp_path: Path) -> None:
    if fetch_pool.native is None:
        assert isinstance(open_pool(store, 1, -1), FetchPool)
        return
    native = fetch_pool.native
    assert native.use(plyvel._plyvel.__file__)
    assert native.can_read(store.database)
    for other in ("a text that is long enough", b"\0" * 100, [], {}, 12, object(), store, None.__class__):
        assert not native.can_read(other)
    database = plyvel.DB(str(tmp_path / "other"), create_if_missing=True)
    assert native.can_read(database)
    database.close()
    assert not native.can_read(database)
    assert not native.use(__file__)
    assert not native.can_read(store.database)
    assert native.use(plyvel._plyvel.__file__)


def test_other_stores_are_read_by_pythons_threads() -> None:
    pool = open_pool(MemoryStore(), 1, -1)
    assert isinstance(pool, FetchPool)
    pool.close()


@pytest.mark.skipif(fetch_pool.native is None, reason="the compiled module needs a C compiler")
def test_the_compiled_module_is_that_of_its_source() -> None:
    assert fetch_pool.native is not None
    built = Path(fetch_pool.native.__file__)
    source = Path(fetch_pool.__file__).with_name("_reads.pyx")
    assert built.stat().st_mtime >= source.stat().st_mtime, "build it anew: pip install -e ."
