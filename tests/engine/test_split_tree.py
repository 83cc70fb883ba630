"""Long strings in value files: what snapshots see, what is given up, and what is not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from diskkv.engine.leveldb import LevelDBOptions, LevelDBStore
from diskkv.engine.split_tree import SplitTree
from diskkv.engine.tree import Tree
from diskkv.errors import CorruptionError, StorageError

OPTIONS = LevelDBOptions(write_buffer_size=64 << 10, mmap=True, large_string_size=16)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LevelDBStore]:
    made = LevelDBStore(tmp_path / "db", OPTIONS)
    yield made
    made.close()


def strings(first: int, stop: int) -> dict[bytes, bytes | None]:
    return {b"m%04d" % number: b"\x00" + b"%100d" % number for number in range(first, stop)}


def test_a_snapshot_outlives_all_value_files(store: LevelDBStore) -> None:
    rows = strings(0, 10)
    store.write(rows)
    store.flush_log()
    snapshot = store.snapshot()
    store.write(dict.fromkeys(rows))
    store._tree.values.seal(next(iter(store._tree.values.files.values())))
    store.compact(b"", b"\xff")
    assert not store._tree.values.files
    assert dict(snapshot.scan(b"m", b"n")) == rows
    assert snapshot.get(b"m0003") == rows[b"m0003"]
    snapshot.close()


def test_a_row_that_leveldb_cannot_read_stops_the_store_and_nobody_waits(
    store: LevelDBStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.write(strings(0, 10))
    store.flush_log()

    def broken(self: Tree, key: bytes) -> bytes | None:
        raise CorruptionError("block checksum mismatch")

    monkeypatch.setattr(Tree, "get", broken)
    store.write(strings(0, 10))
    with pytest.raises(StorageError, match="checksum mismatch"):
        store.flush_log()
    monkeypatch.undo()
    store.reopen()
    assert dict(store.scan(b"m", b"n")) == strings(0, 10)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_nobody_waits_for_an_applier_that_a_bug_has_ended(store: LevelDBStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Tree, rows: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Tree, "write", broken)
    store.write(strings(0, 10))
    with pytest.raises(StorageError, match="has ended"):
        store.flush_log()
    with pytest.raises(StorageError, match="has ended"):
        store.write(strings(0, 10))
    monkeypatch.undo()
    store.reopen()
    assert dict(store.scan(b"m", b"n")) == strings(0, 10)


@pytest.mark.parametrize("damaged_at", [4, 8])
def test_a_file_with_damage_in_it_is_not_given_up(
    store: LevelDBStore, damaged_at: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Sizes that are wrong hide the records behind them."""
    store.write(strings(0, 10))
    store.flush_log()
    file = next(iter(store._tree.values.files.values()))
    store._tree.values.seal(file)
    raw = bytearray(file.path.read_bytes())
    raw[8 + damaged_at + 2] ^= 0x40
    file.path.write_bytes(raw)
    store.write(dict.fromkeys(strings(0, 8)))
    store.compact(b"", b"\xff")
    assert file.path.exists()
    assert "not readable in value file" in caplog.text
    assert dict(store.scan(b"m", b"n")) == strings(8, 10)


def test_a_file_that_ends_within_a_record_is_given_up(store: LevelDBStore) -> None:
    """So a crash leaves it, or a power failure."""
    store.write(strings(0, 10))
    store.flush_log()
    file = next(iter(store._tree.values.files.values()))
    store._tree.values.seal(file)
    with file.path.open("ab") as end:
        end.write(b"12345" + bytes(20))
    file.size_bytes += 25
    store.write(dict.fromkeys(strings(0, 8)))
    store.compact(b"", b"\xff")
    assert not file.path.exists()
    assert dict(store.scan(b"m", b"n")) == strings(8, 10)


def test_a_failed_append_gives_its_room_back(store: LevelDBStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write(strings(0, 10))
    store.flush_log()
    file = next(iter(store._tree.values.files.values()))
    size_bytes = file.path.stat().st_size
    write = os.write
    failures = iter([True])

    def full(fd: int, data: bytes) -> int:
        if fd != file.fd:
            return write(fd, data)
        if next(failures, False):
            return write(fd, data[:50])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    store.write(strings(10, 20))
    with pytest.raises(StorageError, match="No space left"):
        store.flush_log()
    monkeypatch.undo()
    assert file.path.stat().st_size == size_bytes
    store.reopen()
    assert dict(store.scan(b"m", b"n")) == strings(0, 20)


def test_dead_strings_are_collected_while_memtables_wait(
    store: LevelDBStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that never pauses must not fill the disk."""
    monkeypatch.setattr("diskkv.engine.split_tree._SEALED_BYTES", 1000)
    monkeypatch.setattr("diskkv.engine.applier.Applier._collect", lambda self: setattr(self, "_has_dead", False))
    for _ in range(20):
        store.write(strings(0, 100))
        store.flush_log()
    values = store._tree.values
    assert values.size_bytes < 4 * 100 * 130
    assert dict(store.scan(b"m", b"n")) == strings(0, 100)


def test_files_are_the_larger_the_more_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each one takes a file descriptor."""
    monkeypatch.setattr("diskkv.engine.value_files.FILE_BYTES", 1000)
    monkeypatch.setattr("diskkv.engine.value_files._SHARE_SHIFT", 2)
    tree = SplitTree(tmp_path / "db", OPTIONS, True)
    for number in range(400):
        tree.write(strings(number, number + 1).items())
    sizes = [file.size_bytes for file in tree.values.files.values()]
    assert sizes[0] < 1200
    assert sizes[-2] > 8000
    assert len(sizes) < 20
    tree.close()
