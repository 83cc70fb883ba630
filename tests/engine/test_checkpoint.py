"""Checkpoints of stores that are written to and compacted at the worst moments."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from diskkv.engine import checkpoint
from diskkv.engine.checkpoint import Checkpointer, Taken, contents, copy_store, describe, verify, write_logs
from diskkv.engine.leveldb import LevelDBOptions, LevelDBStore
from diskkv.errors import CorruptionError, StorageError

OPTIONS = LevelDBOptions(write_buffer_size=64 << 10, max_file_size=1 << 20, compression=False)
PADDING = bytes(100)


class Writer:
    """Writes numbered batches of two rows; `acknowledged` is the last number that was written."""

    def __init__(self, store: LevelDBStore) -> None:
        self.store = store
        self.acknowledged = -1

    def write(self, batches: int) -> None:
        for number in range(self.acknowledged + 1, self.acknowledged + 1 + batches):
            self.store.write({b"%08d" % (number * 7919 % 1_000_003): PADDING, b"last": b"%d" % number})
            self.acknowledged = number


def state(store_path: Path) -> int:
    """The number up to which a store has all batches, each whole, and none after it."""
    store = LevelDBStore(store_path, OPTIONS, create=False)
    try:
        rows = dict(store.scan(b"", b"\xff"))
    finally:
        store.close()
    last = int(rows.pop(b"last", b"-1"))
    assert set(rows) == {b"%08d" % (number * 7919 % 1_000_003) for number in range(last + 1)}
    return last


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LevelDBStore]:
    opened = LevelDBStore(tmp_path / "data" / "leveldb", OPTIONS)
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def _parent(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()


def test_an_empty_store(store: LevelDBStore, tmp_path: Path) -> None:
    assert store.checkpoint(tmp_path / "c").tables == 0
    assert state(tmp_path / "c") == -1


def test_tables_are_linked_and_the_rest_is_copied(store: LevelDBStore, tmp_path: Path) -> None:
    writer = Writer(store)
    writer.write(3000)
    store.compact(b"", b"\xff")
    taken = store.checkpoint(tmp_path / "c")
    assert taken.tables > 0
    log_bytes = sum(path.stat().st_size for path in write_logs(tmp_path / "c"))
    assert (taken.copied_tables, taken.copied_bytes) == (0, log_bytes)
    names = set(os.listdir(tmp_path / "c"))
    for name in names:
        original = store.path / name
        assert (original.stat().st_ino == (tmp_path / "c" / name).stat().st_ino) == name.endswith(".ldb")
    writer.write(3000)
    store.compact(b"", b"\xff")
    assert set(os.listdir(tmp_path / "c")) == names
    assert state(tmp_path / "c") == 2999


class Interrupted(Checkpointer):
    """Calls a function after the logs were taken, and another after the manifest was read; each once."""

    def __init__(self, source: Path, after_logs: Callable[[], None], after_manifest: Callable[[], None]) -> None:
        super().__init__(source)
        self._after_logs = after_logs
        self._after_manifest = after_manifest
        self.readings = 0

    def _read_manifest(self) -> None:
        self.readings += 1
        if self.readings == 1:
            self._after_logs()
        super()._read_manifest()
        if self.readings == 1:
            self._after_manifest()


def nothing() -> None:
    pass


def test_logs_that_become_tables_after_they_were_taken(store: LevelDBStore, tmp_path: Path) -> None:
    writer = Writer(store)
    writer.write(100)

    def flush() -> None:
        writer.write(50)
        store.flush_log()
        writer.write(50)

    maker = Interrupted(store.path, flush, nothing)
    maker.make(tmp_path / "c")
    assert (maker.readings, state(tmp_path / "c")) == (1, 199)

    def flush_twice() -> None:
        flush()
        flush()

    # One of the logs in front of LevelDB was there for a moment only.
    maker = Interrupted(store.path, flush_twice, nothing)
    maker.make(tmp_path / "d")
    assert (maker.readings, state(tmp_path / "d")) == (2, 399)


def test_tables_that_a_compaction_replaces_while_they_are_taken(store: LevelDBStore, tmp_path: Path) -> None:
    writer = Writer(store)
    writer.write(2000)
    store.flush_log()

    def compact() -> None:
        writer.write(1500)
        store.compact(b"", b"\xff")

    maker = Interrupted(store.path, nothing, compact)
    maker.make(tmp_path / "c")
    assert maker.readings == 2
    assert state(tmp_path / "c") == 3499
    assert {path.name for path in contents(tmp_path / "c").tables} == {
        name for name in os.listdir(tmp_path / "c") if name.endswith(".ldb")
    }


def test_a_store_that_is_opened_anew_meanwhile(store: LevelDBStore, tmp_path: Path) -> None:
    writer = Writer(store)
    for at, (after_logs, after_manifest) in enumerate([(store.reopen, nothing), (nothing, store.reopen)]):
        writer.write(1000)
        Interrupted(store.path, after_logs, after_manifest).make(tmp_path / f"c{at}")
        assert state(tmp_path / f"c{at}") == writer.acknowledged


def test_the_manifest_is_read_on(store: LevelDBStore, tmp_path: Path) -> None:
    writer = Writer(store)
    for at in range(4):
        writer.write(1000)
        if at == 2:
            store.reopen()
        store.checkpoint(tmp_path / f"c{at}")
        assert state(tmp_path / f"c{at}") == writer.acknowledged


def test_it_gives_up_when_tables_never_stay(
    store: LevelDBStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Writer(store).write(2000)
    store.flush_log()

    def vanished(source: str, target: str) -> bool:
        raise FileNotFoundError(source)

    monkeypatch.setattr(checkpoint, "place", vanished)
    with pytest.raises(StorageError, match="faster than"):
        store.checkpoint(tmp_path / "c")


def test_under_concurrent_writes_and_compactions(store: LevelDBStore, tmp_path: Path) -> None:
    writer = Writer(store)
    writer.write(2000)
    ended = threading.Event()

    def compact() -> None:
        while not ended.is_set():
            store.compact(b"", b"\xff")

    def write() -> None:
        while not ended.is_set():
            writer.write(20)

    threads = [threading.Thread(target=compact), threading.Thread(target=write)]
    for thread in threads:
        thread.start()
    bounds = []
    try:
        for at in range(12):
            before = writer.acknowledged
            store.checkpoint(tmp_path / f"c{at}")
            bounds.append((before, writer.acknowledged + 1))
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    for at, (before, after) in enumerate(bounds):
        assert before <= state(tmp_path / f"c{at}") <= after


def other_file_system(monkeypatch: pytest.MonkeyPatch, inside: Path) -> None:
    """Links into or out of a directory fail as between file systems."""
    link = os.link

    def refuse(source: Path, target: Path) -> None:
        if (inside in Path(source).parents) != (inside in Path(target).parents):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        link(source, target)

    monkeypatch.setattr(checkpoint.os, "link", refuse)


def test_without_links_tables_are_copied(
    store: LevelDBStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    other_file_system(monkeypatch, other)
    writer = Writer(store)
    writer.write(2000)
    store.flush_log()
    taken = store.checkpoint(other / "c")
    assert taken.copied_tables == taken.tables > 0
    assert state(other / "c") == 1999


def test_another_file_system_gets_only_new_tables(
    store: LevelDBStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    other_file_system(monkeypatch, other)
    monkeypatch.setattr(checkpoint, "is_same_file_system", lambda first, second: False)
    writer = Writer(store)
    writer.write(2000)
    store.compact(b"", b"\xff")
    (store.path.parent / ".checkpoint-1").mkdir()
    first = store.checkpoint(other / "c1")
    writer.write(10)
    second = store.checkpoint(other / "c2", other / "c1")
    assert (second.tables, second.copied_tables) == (first.tables, 0)
    # The same name and size are not enough.
    for path in (other / "c2").glob("*.ldb"):
        os.utime(path, ns=(0, 0))
    assert store.checkpoint(other / "c3", other / "c2").copied_tables == first.tables
    assert [path.name for path in store.path.parent.iterdir()] == ["leveldb"], "links were left behind"
    assert [state(other / name) for name in ("c1", "c2", "c3")] == [1999, 2009, 2009]


def test_a_copy_that_shares_nothing(store: LevelDBStore, tmp_path: Path) -> None:
    Writer(store).write(2000)
    store.flush_log()
    store.checkpoint(tmp_path / "c")
    taken = copy_store(tmp_path / "c", tmp_path / "d", None, link=False)
    assert taken.copied_tables == taken.tables > 0
    shutil.rmtree(tmp_path / "c")
    assert state(tmp_path / "d") == 1999


# ---- looking at checkpoints


@pytest.fixture
def described(store: LevelDBStore, tmp_path: Path) -> Path:
    """A checkpoint with its description."""
    writer = Writer(store)
    writer.write(1990)
    store.compact(b"", b"\xff")
    writer.write(10)
    (tmp_path / "backup").mkdir()
    store.checkpoint(tmp_path / "backup" / "leveldb")
    describe(tmp_path / "backup", {"created_ms": 1})
    return tmp_path / "backup"


def test_a_whole_checkpoint(described: Path) -> None:
    assert verify(described).tables
    assert checkpoint.description(described)["created_ms"] == 1


def test_one_that_was_opened_since(described: Path) -> None:
    assert state(described / "leveldb") == 1999
    assert verify(described).tables


def test_damage_is_found(described: Path) -> None:
    store = described / "leveldb"
    patterns = ("*.log", "*.wal", "*.ldb", "MANIFEST-*")
    levels_log, log, table, manifest = (next(store.glob(pattern)) for pattern in patterns)
    for path, change, expected in [
        (levels_log, None, "no write-ahead log"),
        (log, lambda raw: raw[:-1], "is not what it was"),
        (log, lambda raw: bytes((raw[0] ^ 1,)) + raw[1:], "is not what it was"),
        (log, None, "is not what it was"),
        (table, lambda raw: raw + b"\0", "bytes instead of"),
        (table, None, "is missing"),
        (manifest, lambda raw: bytes((raw[0] ^ 1,)) + raw[1:], "is damaged"),
        (manifest, None, "no whole store"),
        (store / "CURRENT", None, "no whole store"),
        (described / checkpoint.DESCRIPTION, lambda raw: raw[:9], "cannot be read"),
    ]:
        raw = path.read_bytes()
        path.unlink()  # tables are links
        if change is not None:
            path.write_bytes(change(raw))
        with pytest.raises(CorruptionError, match=expected):
            verify(described)
        path.write_bytes(raw)
    assert verify(described)


def test_current_that_names_no_manifest(described: Path) -> None:
    for text in (b"", b"\xff\n", b"../MANIFEST-000001\n", b"CURRENT\n"):
        (described / "leveldb" / "CURRENT").write_bytes(text)
        with pytest.raises(CorruptionError, match="names no manifest"):
            verify(described)


def test_files_of_others_are_left_alone(store: LevelDBStore, tmp_path: Path) -> None:
    Writer(store).write(10)
    (store.path / "mine.log").touch()
    (store.path / "mine.ldb").touch()
    store.checkpoint(tmp_path / "c")
    assert not list((tmp_path / "c").glob("mine*"))
    assert state(tmp_path / "c") == 9


def test_giving_up(store: LevelDBStore, tmp_path: Path) -> None:
    Writer(store).write(2000)
    store.flush_log()

    def stop(size_bytes: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.checkpoint(tmp_path / "c", None, stop)


def test_the_log_is_written_to_a_table(store: LevelDBStore) -> None:
    Writer(store).write(10)
    store.flush_log()
    assert [path.stat().st_size for path in store.path.glob("*.log")] == [0]
    assert len(list(store.path.glob("*.ldb"))) == 1


def test_reading_everything_finds_damaged_tables(store: LevelDBStore, tmp_path: Path) -> None:
    Writer(store).write(2000)
    store.flush_log()
    store.checkpoint(tmp_path / "c")
    assert Taken() == Taken(0, 0, 0, 0)
    copy_store(tmp_path / "c", tmp_path / "d", None, link=False)
    copy = LevelDBStore(tmp_path / "d", OPTIONS)
    read = []
    assert copy.verify(read.append) == 2001
    assert sum(read) > 2000 * 100
    copy.close()
    # All of them: some were replaced by a compaction and only wait for being deleted.
    for table in (tmp_path / "d").glob("*.ldb"):
        raw = bytearray(table.read_bytes())
        raw[min(1000, len(raw) // 2)] ^= 1
        table.write_bytes(raw)
    copy = LevelDBStore(tmp_path / "d", OPTIONS)
    with pytest.raises(CorruptionError):
        copy.verify()
    copy.close()
