"""Refused writes: before the disk is full, after the store failed, and that both end by themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from diskkv.commands.dispatch import execute
from diskkv.commands.registry import Flag, load_all
from diskkv.config import Config
from diskkv.engine.leveldb import LevelDBStore
from diskkv.errors import StorageError
from diskkv.services.client import Client
from diskkv.services.instance import Instance


@pytest.fixture
def client(tmp_path: Path) -> Client:
    config = Config()
    config.dir = str(tmp_path)
    instance = Instance(config, LevelDBStore(tmp_path / "leveldb"))
    instance.use_commands(load_all(), Flag.PLAIN, Flag.SKIP_SLOWLOG)
    return instance.new_client()


def run(client: Client, *argv: bytes) -> bytes:
    """Execute as the reactor does: on the fast path where that is open."""
    entry = client.fast.get(argv[0])
    reply = entry.fn(client, list(argv)) if entry is not None else execute(client, list(argv))
    assert isinstance(reply, bytes)
    client.engine.commit()
    return reply


def test_little_free_space_lets_only_deletes_through(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = client.instance.writes
    assert run(client, b"SET", b"k", b"v") == b"+OK\r\n"
    monkeypatch.setattr(gate, "_free_bytes", lambda: 1 << 20)
    gate.check_space()
    assert run(client, b"SET", b"k2", b"v").startswith(b"-MISCONF diskkv cannot write")
    assert run(client, b"GET", b"k") == b"$1\r\nv\r\n"
    assert run(client, b"DEL", b"k") == b":1\r\n"
    monkeypatch.setattr(gate, "_free_bytes", lambda: client.instance.config.min_free_disk + 1)
    gate.check_space()
    assert run(client, b"SET", b"k2", b"v").startswith(b"-MISCONF"), "a little more than the limit is not enough"
    monkeypatch.setattr(gate, "_free_bytes", lambda: 1 << 40)
    gate.check_space()
    assert run(client, b"SET", b"k2", b"v") == b"+OK\r\n"


def test_a_failed_store_serves_reads_and_recovers(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = client.instance.writes
    assert run(client, b"SET", b"k", b"v") == b"+OK\r\n"
    gate.store_failed("I/O error")
    assert run(client, b"DEL", b"k") == (
        b"-MISCONF diskkv cannot write to its data directory. Commands that may modify the data set are disabled "
        b"until it can again. Reason: I/O error\r\n"
    )
    assert run(client, b"GET", b"k") == b"$1\r\nv\r\n"

    cursor = client.instance.cursors.save(b"position")
    assert client.instance.cursors.load(cursor) == b"position"
    assert not client.engine.rows.staged, "a scan must not make the turn fail"

    def still_broken() -> None:
        raise StorageError("still broken")

    with monkeypatch.context() as patch:
        patch.setattr(client.engine, "reopen", still_broken)
        gate.try_again()
    assert gate.reason == "still broken"
    with monkeypatch.context() as patch:
        patch.setattr(gate, "_free_bytes", lambda: 5 << 20)
        gate.try_again()
    assert gate.reason == "still broken; 5 MB are free on the disk, going on takes 16 MB"
    gate.try_again()
    assert gate.reason is None
    assert run(client, b"DEL", b"k") == b":1\r\n"
