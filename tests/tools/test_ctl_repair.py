"""diskkvctl repair on directories with damaged files and with rows that are lost or wrong."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diskkv.codec import keys
from diskkv.codec.header import HASH, Header, encode_header
from diskkv.codec.keys import U32, U64
from diskkv.engine.leveldb import LevelDBOptions, LevelDBStore
from tests.formats.make import FAR_MS, instance_on, write
from tools import diskkvctl
from tools.ctl.check import check_directory

ROOT = Path(__file__).resolve().parent.parent.parent
OPTIONS = LevelDBOptions(write_buffer_size=64 << 10, max_file_size=1 << 20, compression=False)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Every type in every layout, in tables and in a log."""
    (tmp_path / "data").mkdir()
    instance = instance_on(LevelDBStore(tmp_path / "data" / "leveldb", OPTIONS))
    write(instance)
    instance.engine.store.compact(b"", b"\xff")
    instance.engine.database(0).put(b"in the log", b"v", None)
    instance.engine.commit()
    instance.engine.close()
    return tmp_path / "data"


def repair(capsys: pytest.CaptureFixture[str], directory: Path, *more: str) -> tuple[int, Any, str]:
    status = diskkvctl.main(["repair", "--dir", str(directory), *more, "--json"])
    out, err = capsys.readouterr()
    return status, json.loads(out) if out else None, err


def keys_of(directory: Path) -> int:
    checker = check_directory(directory)
    assert checker.problems == []
    return checker.facts["keys"]


def test_a_lost_manifest(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = keys_of(directory)
    for path in (directory / "leveldb").glob("MANIFEST-*"):
        path.unlink()
    assert diskkvctl.main(["check", "--dir", str(directory)]) == 1
    capsys.readouterr()
    status, data, err = repair(capsys, directory)
    assert (status, err, data["problem_count"]) == (0, "", 0)
    assert keys_of(directory) == expected
    kept = Path(data["kept"])
    assert kept.parent == directory
    assert {path.suffix for path in (kept / "leveldb").iterdir()} >= {".ldb", ".log"}


def test_a_lost_current(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = keys_of(directory)
    (directory / "leveldb" / "CURRENT").unlink()
    assert repair(capsys, directory)[0] == 0
    assert keys_of(directory) == expected


def test_a_damaged_table_costs_its_block_only(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = max((directory / "leveldb").glob("*.ldb"), key=lambda path: path.stat().st_size)
    raw = bytearray(table.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    table.write_bytes(raw)
    status, data, _ = repair(capsys, directory)
    # Rows of a collection may be lost, and then it is named.
    assert status == (1 if data["problem_count"] else 0)
    assert all(" in db" in problem for problem in data["problems"]), data["problems"]
    assert check_directory(directory).facts["keys"] > 20


def test_a_server_that_runs_is_left_alone(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = (
        "import sys; from diskkv.engine.leveldb import LevelDBStore; store = LevelDBStore(sys.argv[1]); "
        "print('open', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(directory / "leveldb")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        status, data, err = repair(capsys, directory)
        holder.communicate()
    assert (status, data) == (1, None)
    assert "is in use by another process" in err
    assert keys_of(directory) > 20


def test_a_damaged_log_in_front_of_leveldb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").mkdir()
    instance = instance_on(LevelDBStore(tmp_path / "live", OPTIONS))
    for number in range(3):
        instance.engine.database(0).put(b"key:%d" % number, b"v%d" % number, None)
        instance.engine.commit(sync=True)
    # As a killed process leaves it.
    shutil.copytree(tmp_path / "live", tmp_path / "data" / "leveldb")
    instance.engine.close()
    log = next((tmp_path / "data" / "leveldb").glob("*.wal"))
    raw = bytearray(log.read_bytes())
    raw[raw.index(b"v1")] ^= 1
    log.write_bytes(raw)
    assert diskkvctl.main(["check", "--dir", str(tmp_path / "data")]) == 1
    assert "is damaged from byte" in capsys.readouterr().err
    status, data, _ = repair(capsys, tmp_path / "data")
    assert (status, log.name in data["lost"]) == (0, True)
    assert any("bytes of the log 000001.wal could not be read" in line for line in data["mended"])
    found = instance_on(LevelDBStore(tmp_path / "data" / "leveldb", OPTIONS))
    assert dict(found.engine.database(0).scan(b"")) == {b"key:0": b"v0", b"key:2": b"v2"}
    found.engine.close()


def test_a_lost_and_a_damaged_value_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = tmp_path / "data"
    directory.mkdir()
    for number in range(3):
        # Every time that the store is opened a new file begins.
        instance = instance_on(LevelDBStore(directory / "leveldb", OPTIONS))
        for letter in b"abcdefgh":
            instance.engine.database(0).put(b"%d%c" % (number, letter), b"%c" % letter * 1000, None)
        instance.engine.commit()
        instance.engine.close()
    first, second, _ = sorted((directory / "leveldb").glob("*.val"))
    first.unlink()
    raw = bytearray(second.read_bytes())
    raw[raw.index(b"cccc")] ^= 1
    second.write_bytes(raw)
    assert diskkvctl.main(["check", "--dir", str(directory)]) == 1
    assert "not readable in value file 000001.val" in capsys.readouterr().err
    status, data, _ = repair(capsys, directory)
    assert status == 0
    assert "9 long strings could not be read: their keys are removed" in data["mended"]
    found = instance_on(LevelDBStore(directory / "leveldb", OPTIONS))
    keys = [b"%d%c" % (number, letter) for number in (1, 2) for letter in b"abcdefgh"]
    assert [key for key, _ in found.engine.database(0).scan(b"")] == [key for key in keys if key != b"1c"]
    assert found.engine.database(0).keys == 15
    found.engine.close()


def test_other_directories_are_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert repair(capsys, tmp_path)[2] == f"diskkvctl: {tmp_path} holds no diskkv data\n"
    store = LevelDBStore(tmp_path / "other")
    store.write({b"a": b"b"})
    store.close()
    status, _, err = repair(capsys, tmp_path / "other", "--mend-only")
    assert (status, "not diskkv's" in err) == (1, True)


Change = Callable[[LevelDBStore], dict[bytes, bytes | None]]


def delete(*rows: bytes) -> Change:
    return lambda store: dict.fromkeys(rows)


def delete_all(prefix: bytes) -> Change:
    return lambda store: dict.fromkeys(store.scan_keys(prefix, keys.prefix_successor(prefix)))


HEADER = keys.header_prefix(1)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (delete(HEADER + b"string"), "db0 counted"),
        (delete(keys.expiry_row(FAR_MS, 1, b"string:expires")), "1 expiry entries were missing"),
        (delete_all(keys.EXPIRY_TAG), "expiry entries were missing"),
        (delete_all(keys.SYSTEM_COUNTS), "db0 counted 0 keys"),
        (delete_all(keys.SYSTEM_TAG), "belonged to no database"),
        (delete_all(keys.GARBAGE_TAG), "objects belonged to no key"),
        (delete(keys.SYSTEM_LEASE), "the lease of objects was 1"),
        (delete(keys.SYSTEM_DATABASE_LEASE), "the lease of databases was 1"),
        (delete(keys.SYSTEM_FORMAT), "the format was missing"),
        (lambda store: {HEADER + b"hash": b"\x0f???"}, 'the header of "hash" does not decode: removed'),
        (lambda store: {b"m1": b""}, "was too short"),
        (lambda store: {HEADER + b"new": encode_header(Header(HASH, oid=5000, count=1))}, "db0 counted"),
        (lambda store: {keys.element_prefix(5000, keys.KIND_SET_MEMBER) + b"1234x": b""}, "1 objects belonged to no"),
        (lambda store: {keys.garbage_row(keys.GARBAGE_DATABASE, 1): b""}, "database id 1 was to be reclaimed"),
        (lambda store: {keys.garbage_row(keys.GARBAGE_OBJECT, 1): b""}, "object 1 was to be reclaimed"),
        (lambda store: {keys.SYSTEM_COUNTS + U32.pack(99): keys.encode_counts(1, 0)}, "unknown database id 99"),
        (lambda store: {keys.SYSTEM_LEASE: U64.pack(2)}, "the lease of objects was 2"),
    ],
)
def test_rows_are_mended(
    change: Change, expected: str, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = LevelDBStore(directory / "leveldb")
    store.write(change(store))
    store.close()
    status, data, _ = repair(capsys, directory, "--mend-only")
    assert any(expected in line for line in data["mended"]), data["mended"]
    remaining = [problem for problem in data["problems"] if '"new"' not in problem]
    assert remaining == []
    assert status == (1 if data["problems"] else 0)
    again = repair(capsys, directory, "--mend-only")[1]
    assert again["mended"] == []


def test_a_sound_directory_stays_as_it_is(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = keys_of(directory)
    status = diskkvctl.main(["repair", "--dir", str(directory)])
    out, _ = capsys.readouterr()
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == ["kept", "lost", "mended", "check"]
    assert keys_of(directory) == expected
