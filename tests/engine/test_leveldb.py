"""The store on disk against a dictionary, over restarts, crashes and power failures."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diskkv.codec.value_record import decode_pointer
from diskkv.engine.applier import Applier
from diskkv.engine.leveldb import LevelDBOptions, LevelDBStore
from diskkv.engine.overlay import ABSENT, RowIndex
from diskkv.engine.tree import Tree
from diskkv.engine.value_files import ValueFile
from diskkv.engine.write_log import LogFile
from diskkv.errors import CorruptionError, StorageError

OPTIONS = LevelDBOptions(write_buffer_size=64 << 10, mmap=True, large_string_size=16)
Rows = dict[bytes, bytes | None]

keys = st.builds(bytes.__add__, st.sampled_from([b"m", b"m", b"d", b"\x01"]), st.binary(max_size=1))
heads = st.sampled_from([b"\x00", b"\x10" + bytes(8), b"\x50" + bytes(7) + b"\x01", b"\x20"])
values = st.builds(bytes.__add__, heads, st.binary(max_size=40))
changes = st.dictionaries(keys, st.none() | values, max_size=8)
steps = st.one_of(
    st.tuples(st.just("write"), changes),
    st.tuples(st.just("scan"), keys, keys, st.booleans()),
    st.tuples(st.just("scan beside a write"), keys, keys, st.booleans(), changes),
    st.tuples(st.sampled_from(["new memtable", "flush", "compact", "verify", "reopen", "restart", "crash"])),
    st.tuples(st.just("checkpoint")),
)


def counts(store: LevelDBStore) -> list[tuple[bytes, bytes]]:
    """The rows that are the store's own."""
    return list(store.scan(b"\x00", b"\x01"))


def sealed(store: LevelDBStore) -> list[ValueFile]:
    """The value files that will not grow any more."""
    values = store._tree.values
    return [file for file in values.files.values() if file is not values.newest]


class Model:
    """A store and what it should hold."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.crashes = 0
        self.rows: dict[bytes, bytes] = {}
        self.store = LevelDBStore(path, OPTIONS)

    def write(self, rows: Rows) -> None:
        self.store.write(rows)
        for key, value in rows.items():
            if value is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = value

    def expected(self, start: bytes, stop: bytes, reverse: bool) -> list[tuple[bytes, bytes]]:
        return sorted(((key, value) for key, value in self.rows.items() if start <= key < stop), reverse=reverse)

    def crash(self) -> None:
        """Go on with a copy of the files as they are now."""
        self.crashes += 1
        copy = self.path.with_name(f"crashed{self.crashes}")
        shutil.copytree(self.path, copy)
        self.store.close()
        self.path = copy
        self.store = LevelDBStore(copy, OPTIONS)

    def checkpoint(self) -> None:
        """One that is taken now holds what the store does."""
        self.crashes += 1
        target = self.path.with_name(f"checkpoint{self.crashes}")
        self.store.checkpoint(target)
        found = LevelDBStore(target, OPTIONS)
        assert list(found.scan(b"", b"\xff")) == sorted([*self.rows.items(), *counts(found)])
        found.close()

    def step(self, name: str, *arguments: object) -> None:
        store = self.store
        match name, *arguments:
            case "write", dict(rows):
                self.write(rows)
            case "scan", bytes(start), bytes(stop), bool(reverse):
                expected = self.expected(start, stop, reverse)
                assert list(store.scan(start, stop, reverse)) == expected
                assert list(store.scan_keys(start, stop, reverse)) == [key for key, _ in expected]
                heads = list(store.scan_heads(start, stop, reverse))
                assert [(key, value[:1]) for key, value in heads] == [(key, value[:1]) for key, value in expected]
                if not reverse:
                    assert [key for key, _ in store.read_apart(start, stop, 3)] == [key for key, _ in expected[:3]]
            case "scan beside a write", bytes(start), bytes(stop), bool(reverse), dict(rows):
                expected = self.expected(start, stop, reverse)
                scan = store.scan(start, stop, reverse)
                begun = [row for row in [next(scan, None)] if row is not None]
                snapshot = store.snapshot()
                self.write(rows)
                assert begun + list(scan) == expected
                assert list(snapshot.scan(start, stop, reverse)) == expected
                snapshot.close()
            case "new memtable":
                store._begin_memtable()
            case "flush":
                store.flush_log()
            case "compact":
                store.compact(b"", b"\xff")
                assert all(file.dead_bytes * 10 < file.size_bytes for file in sealed(store))
            case "verify":
                assert store.verify() == len(self.rows) + len(counts(store))
            case "checkpoint":
                self.checkpoint()
            case "reopen":
                store.reopen()
            case "restart":
                store.close()
                assert not list(self.path.glob("*.wal"))
                self.store = LevelDBStore(self.path, OPTIONS)
            case "crash":
                self.crash()


def check_dead_bytes(store: LevelDBStore) -> None:
    """What is not counted as dead in value files is what the tree refers to, and what crashes left behind."""
    store.flush_log()
    tree = store._tree
    living: dict[int, int] = {}
    for key, raw in Tree.scan(tree, b"m", b"n"):
        if raw[:1] == b"\xff":
            pointer = decode_pointer(raw)
            living[pointer.file] = living.get(pointer.file, 0) + pointer.size
            assert tree.values.read(key, pointer) == store.get(key)
    for number, file in tree.values.files.items():
        assert living.get(number, 0) <= file.size_bytes - file.dead_bytes - 8


@settings(deadline=None, max_examples=60)
@given(st.lists(steps, max_size=25))
def test_it_is_a_sorted_map(tmp_path_factory: pytest.TempPathFactory, sequence: list[tuple[object, ...]]) -> None:
    model = Model(tmp_path_factory.mktemp("model") / "db")
    leveldb_chunk = "diskkv.engine.memtable._CHUNK_ROWS"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leveldb_chunk, 2)
        patch.setattr("diskkv.engine.value_files.FILE_BYTES", 300)
        for name, *arguments in sequence:
            model.step(str(name), *arguments)
            for key in (b"a", b"m", *list(model.rows)[:3]):
                assert model.store.get(key) == model.rows.get(key)
        assert list(model.store.scan(b"\x01", b"\xff")) == model.expected(b"", b"\xff", False)
        check_dead_bytes(model.store)
    model.store.close()


rows_of_heaps = st.builds(
    bytes.__add__,
    st.sampled_from([b"", b"\x00", b"m", b"m\0\0\0\1", b"m\0\0\0\2", b"d", b"d" + bytes(9), b"d" + b"\xff" * 9]),
    st.binary(max_size=2),
)


@given(st.lists(rows_of_heaps, max_size=30), rows_of_heaps, rows_of_heaps, st.booleans(), st.integers(0, 30))
def test_rows_are_found_in_order_whatever_heap_they_are_in(
    found: list[bytes], start: bytes, stop: bytes, reverse: bool, first: int
) -> None:
    rows: dict[bytes, None] = {}
    index = RowIndex(rows)
    for part in (found[:first], found[first:]):
        rows.update(dict.fromkeys(part))
        expected = sorted((row for row in rows if start <= row < stop), reverse=reverse)
        assert list(index.range(start, stop, reverse)) == expected


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LevelDBStore]:
    made = LevelDBStore(tmp_path / "db", OPTIONS)
    yield made
    made.close()


def crashed(store: LevelDBStore, change: Callable[[Path], None] = lambda path: None) -> LevelDBStore:
    """The store that another process finds when this one is killed now and then `change` happens to the files."""
    copy = store.path.with_name(f"copy{len(list(store.path.parent.iterdir()))}")
    shutil.copytree(store.path, copy)
    change(copy)
    return LevelDBStore(copy, OPTIONS)


def numbered(first: int, stop: int) -> Rows:
    return {b"%06d" % number: b"v%d" % number for number in range(first, stop)}


def test_rows_that_were_overwritten_reach_leveldb_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    write = Tree.write

    def counting(self: Tree, rows: list[tuple[bytes, bytes | None]]) -> None:
        written.extend(key for key, _ in rows)
        write(self, rows)

    monkeypatch.setattr(Tree, "write", counting)
    store = LevelDBStore(tmp_path / "db", OPTIONS)
    for number in range(1000):
        store.write({b"counter": b"%d" % number, b"other": None})
    store.flush_log()
    assert sorted(written) == [b"counter", b"other"]
    assert store.get(b"counter") == b"999"
    store.close()


def test_memtables_move_into_leveldb_by_themselves(store: LevelDBStore) -> None:
    for at in range(0, 20_000, 100):
        store.write(numbered(at, at + 100))
    store._applier.wait()
    assert len(store._tables) == 1
    assert [path.name for path in store.path.glob("*.wal")] == [f"{store._newest.log.number:06d}.wal"]
    assert len(list(store.scan(b"", b"\xff"))) == 20_000


def test_rows_of_a_memtable_are_freed_unless_somebody_reads_them(store: LevelDBStore) -> None:
    store.write(numbered(0, 3000))
    free, begun = store._newest.rows, store._newest.log.path
    store.flush_log()
    store.close()
    assert not free and not begun.exists()
    store.reopen()
    store.write(dict.fromkeys(numbered(0, 3000)))
    snapshot = store.snapshot()
    kept = store._tables[-1].rows
    store.flush_log()
    store.write({b"later": b"row"})
    assert list(snapshot.scan(b"", b"\xff")) == []
    assert len(kept) == 3000
    snapshot.close()


def test_recent_rows_are_told_without_the_disk(store: LevelDBStore) -> None:
    store.write({b"a": b"1", b"b": None})
    assert (store.recent(b"a"), store.recent(b"b"), store.recent(b"c")) == (b"1", None, ABSENT)
    store.flush_log()
    assert store.recent(b"a") is ABSENT
    assert store.get(b"a") == b"1"


def test_a_record_that_was_cut_off_is_dropped(store: LevelDBStore, caplog: pytest.LogCaptureFixture) -> None:
    store.write(numbered(0, 10))
    store.write(numbered(10, 20))

    def cut(path: Path) -> None:
        log = next(path.glob("*.wal"))
        os.truncate(log, log.stat().st_size - 3)

    found = crashed(store, cut)
    assert dict(found.scan(b"", b"\xff")) == numbered(0, 10)
    assert "were not written completely" in caplog.text
    found.write({b"new": b"row"})
    found.close()


def test_logs_behind_one_without_its_end_are_put_aside(
    store: LevelDBStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power failure may keep a newer file and lose the end of an older one."""
    def broken(self: Tree, rows: object) -> None:
        raise StorageError("disk full")

    monkeypatch.setattr(Tree, "write", broken)
    store.write(numbered(0, 10))
    store.write(numbered(10, 20))
    store._begin_memtable()
    store.write(numbered(20, 30))
    with pytest.raises(StorageError, match="disk full"):
        store._applier.wait()

    def cut(path: Path) -> None:
        log = min(path.glob("*.wal"))
        os.truncate(log, log.stat().st_size - 3)

    monkeypatch.undo()
    found = crashed(store, cut)
    assert dict(found.scan(b"", b"\xff")) == numbered(0, 10)
    assert [path.name for path in found.path.glob("*.lost")] == ["000002.wal.lost"]
    assert "is not applied either" in caplog.text
    found.close()


@pytest.mark.parametrize("sync", ["record", "file"])
def test_damage_to_what_was_on_stable_storage_is_loud(store: LevelDBStore, sync: str) -> None:
    store.write(numbered(0, 10), sync=sync == "record")
    if sync == "file":
        store.sync()
    store.write(numbered(10, 20))

    def flip(path: Path) -> None:
        log = next(path.glob("*.wal"))
        raw = bytearray(log.read_bytes())
        raw[60] ^= 1
        log.write_bytes(raw)

    with pytest.raises(CorruptionError, match="is damaged from byte 16 on"):
        crashed(store, flip)
    # Nothing was applied or removed.
    copy = max(store.path.parent.glob("copy*"))
    with pytest.raises(CorruptionError, match="is damaged from byte 16 on"):
        LevelDBStore(copy, OPTIONS)


def test_a_failed_append_leaves_nothing(store: LevelDBStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write({b"a": b"1"})
    size = store._newest.log.path.stat().st_size
    writev = os.writev

    def short(fd: int, parts: tuple[bytes, bytes]) -> int:
        writev(fd, (b"".join(parts)[:5],))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "writev", short)
    with pytest.raises(StorageError, match="No space left"):
        store.write({b"a": b"2"})
    monkeypatch.undo()
    assert store._newest.log.path.stat().st_size == size
    assert store.get(b"a") == b"1"
    store.write({b"b": b"3"})
    assert dict(crashed(store).scan(b"", b"\xff")) == {b"a": b"1", b"b": b"3"}


def test_nothing_follows_a_failed_sync_until_the_store_is_opened_again(
    store: LevelDBStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", broken)
    with pytest.raises(StorageError, match="Input/output"):
        store.write({b"a": b"1"}, sync=True)
    monkeypatch.undo()
    with pytest.raises(StorageError, match="Input/output"):
        store.write({b"a": b"2"})
    store.reopen()
    assert store.get(b"a") is None
    store.write({b"a": b"3"}, sync=True)


def test_when_leveldb_fails_reads_go_on_and_writes_do_not(
    store: LevelDBStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Tree, rows: object) -> None:
        raise StorageError("disk full")

    monkeypatch.setattr(Tree, "write", broken)
    store.write(numbered(0, 10))
    with pytest.raises(StorageError, match="disk full"):
        store.flush_log()
    assert store.get(b"000003") == b"v3"
    with pytest.raises(StorageError, match="disk full"):
        store.write({b"a": b"1"})
    monkeypatch.undo()
    store.reopen()
    assert dict(store.scan(b"", b"\xff")) == numbered(0, 10)
    store.write({b"a": b"1"})


def test_writers_wait_for_memtables_that_pile_up(store: LevelDBStore, monkeypatch: pytest.MonkeyPatch) -> None:
    may_go_on = threading.Event()
    write = Tree.write

    def slow(self: Tree, rows: list[tuple[bytes, bytes | None]]) -> None:
        may_go_on.wait(30)
        write(self, rows)

    monkeypatch.setattr(Tree, "write", slow)
    for at in range(2):
        store.write(numbered(at, at + 1))
        store._begin_memtable()
    assert store.pressure() >= 0.6
    writer = threading.Thread(target=store._begin_memtable)
    writer.start()
    assert len(store._tables) == 3
    may_go_on.set()
    writer.join(30)
    store._applier.wait()
    assert store.pressure() < 0.1


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = LevelDBStore(tmp_path / "db", OPTIONS)
    store.write(numbered(0, 1000))
    begun = store.scan(b"", b"\xff")
    next(begun)
    store.close()
    store.close()
    with pytest.raises(StorageError):
        list(begun)
    with pytest.raises(StorageError, match="closed"):
        store.write({b"a": b"1"})
    with pytest.raises(StorageError):
        store.get(b"000001")


def test_reads_fail_rather_than_answer_what_is_out_of_date(
    store: LevelDBStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in the logs cannot be applied, and is all the same what clients were told to be there."""
    store.write({b"a": b"1"})
    store.flush_log()
    store.write({b"a": b"2"})

    def broken(self: Tree, rows: object) -> None:
        raise StorageError("disk full")

    monkeypatch.setattr(Tree, "write", broken)
    with pytest.raises(StorageError, match="disk full"):
        store.reopen()
    with pytest.raises(StorageError):
        store.get(b"a")
    with pytest.raises(StorageError):
        list(store.scan(b"", b"\xff"))
    monkeypatch.undo()
    store.reopen()
    assert store.get(b"a") == b"2"


def test_a_log_that_cannot_be_begun_is_for_the_next_write_to_find_out(
    store: LevelDBStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: Path) -> LogFile:
        raise StorageError("disk full")

    store._memtable_bytes = 0
    monkeypatch.setattr("diskkv.engine.leveldb.LogFile", broken)
    store.write({b"a": b"1"})
    with pytest.raises(StorageError, match="disk full"):
        store.write({b"a": b"2"})
    assert store.get(b"a") == b"1"
    monkeypatch.undo()
    store.write({b"a": b"3"})
    # No number was left out, for which a checkpoint would wait.
    assert store._newest.log.number == 3
    assert store.get(b"a") == b"3"


def unsynced_logs_are_empty(synced: set[str]) -> Callable[[Path], None]:
    """What a power failure may leave."""
    def change(path: Path) -> None:
        for log in path.glob("*.wal"):
            if log.name not in synced:
                os.truncate(log, 0)

    return change


def test_a_synced_write_is_not_lost_with_an_older_log(
    store: LevelDBStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[str] = set()
    sync = LogFile.sync

    def noting(self: LogFile) -> None:
        sync(self)
        synced.add(self.path.name)

    monkeypatch.setattr(LogFile, "sync", noting)
    monkeypatch.setattr(Applier, "_apply", lambda self, table: False)
    store.write(numbered(0, 10))
    store._begin_memtable()
    store.write(numbered(10, 20), sync=True)
    found = crashed(store, unsynced_logs_are_empty(synced))
    monkeypatch.undo()
    assert dict(found.scan(b"", b"\xff")) == numbered(0, 20)
    found.close()
    store.reopen()


def test_nothing_is_applied_from_behind_a_log_that_is_empty(
    store: LevelDBStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Applier, "_apply", lambda self, table: False)
    store.write(numbered(0, 10))
    store._begin_memtable()
    store.write(numbered(10, 20))
    # From an earlier power failure.
    (store.path / "000002.wal.lost").write_bytes(b"earlier")
    found = crashed(store, unsynced_logs_are_empty({"000002.wal"}))
    monkeypatch.undo()
    assert dict(found.scan(b"", b"\xff")) == {}
    assert (found.path / "000002.wal.lost").read_bytes() == b"earlier"
    assert (found.path / "000002.wal.lost2").exists()
    found.close()
    store.reopen()


def test_verify_ends_the_thread_that_collects(store: LevelDBStore) -> None:
    """It must not be in a database that is closed to be opened anew."""
    store.write(numbered(0, 10))
    store.flush_log()
    before = store._applier
    assert store.verify() == 10
    assert before._is_ending
    assert dict(store.scan(b"", b"\xff")) == numbered(0, 10)
