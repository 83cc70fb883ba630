"""diskkvctl compact on a directory and with a running server."""

from __future__ import annotations

import json
import random
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from diskkv.codec.keys import header_prefix
from diskkv.config import Config
from diskkv.engine.engine import Engine
from diskkv.engine.leveldb import LevelDBOptions, LevelDBStore
from tests.harness.servers import running, subject_flavour
from tools import diskkvctl
from tools.ctl import compact

OPTIONS = LevelDBOptions(write_buffer_size=64 << 10, max_file_size=1 << 20, mmap=True)
VALUE = random.Random(3).randbytes(2000)


def run_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    status = diskkvctl.main([str(argument) for argument in (*arguments, "--json")])
    out, err = capsys.readouterr()
    assert (status, err) == (0, "")
    return json.loads(out)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Keys a:* and b:*; of each only one in a hundred is left."""
    engine = Engine(LevelDBStore(tmp_path / "data", OPTIONS), Config())
    engine.begin(1_700_000_000_000)
    database = engine.database(0)
    keys = [b"%b:%05d" % (name, number) for name in (b"a", b"b") for number in range(500)]
    for key in keys:
        database.put(key, VALUE[: 1900 + len(database.staged) % 100], None)
    engine.commit()
    engine.store.compact(b"", b"\xff")
    for number, key in enumerate(keys):
        if number % 100:
            database.delete(key, VALUE)
    engine.commit()
    engine.close()
    return tmp_path / "data"


def test_a_prefix(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = LevelDBStore(directory)
    prefix = header_prefix(1)
    before = [store.approximate_size_bytes(prefix + name, prefix + name + b"\xff") for name in (b"a:", b"b:")]
    store.close()
    run_json(capsys, "compact", "--dir", directory, "--prefix", "a:", "--db", 0)
    store = LevelDBStore(directory)
    after = [store.approximate_size_bytes(prefix + name, prefix + name + b"\xff") for name in (b"a:", b"b:")]
    store.close()
    assert after[0] < 0.2 * before[0]
    data = run_json(capsys, "compact", "--dir", directory)
    assert data["after_bytes"] <= data["before_bytes"]


def test_limits(directory: Path) -> None:
    times = [datetime(2030, 1, 1, 23, 59), datetime(2030, 1, 2, 0, 0), datetime(2030, 1, 2, 0, 1)]
    slept: list[float] = []
    store = LevelDBStore(directory)
    compact.compact_ranges(store, [(b"", b"\xff" * 8)], 1 << 10, "00:01-05:00", lambda: times.pop(0), slept.append)
    store.close()
    assert not times
    assert slept[:2] == [10.0, 10.0]
    assert len(slept) == 3


@pytest.mark.parametrize("arguments", [("--io-limit", "fast"), ("--window", "1-2")])
def test_bad_options(directory: Path, arguments: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        diskkvctl.main(["compact", "--dir", str(directory), *arguments])
    assert "is no" in capsys.readouterr().err


def test_a_running_server(capsys: pytest.CaptureFixture[str]) -> None:
    with running(subject_flavour()) as server, server.connect() as wire:
        for number in range(200):
            wire.call("SET", f"key:{number}", VALUE * 20)
        wire.call("FLUSHALL")
        data = run_json(capsys, "compact", "--url", f"unix://{server.socket_path}", "--io-limit", "1gb")
        assert data["after_bytes"] == 0
        assert b"compactions_failed:0" in wire.call("INFO", "leveldb")
