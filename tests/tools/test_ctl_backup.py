"""diskkvctl backup, backups and restore on directories that no server uses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from diskkv.config import Config
from diskkv.engine.engine import Engine
from diskkv.engine.leveldb import LevelDBOptions, LevelDBStore
from tools import diskkvctl

OPTIONS = LevelDBOptions(write_buffer_size=64 << 10, max_file_size=1 << 20, compression=False)


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = diskkvctl.main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return status, out, err


def run_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    status, out, err = run(capsys, *arguments, "--json")
    assert (status, err) == (0, "")
    return json.loads(out)


def write(directory: Path, first: int, count: int, compact: bool = True) -> None:
    """Put numbered strings into the data directory."""
    engine = Engine(LevelDBStore(directory / "leveldb", OPTIONS), Config())
    engine.begin(1_700_000_000_000)
    for number in range(first, first + count):
        engine.database(0).put(b"%06d" % number, b"x" * 200, None)
    engine.commit()
    if compact:
        engine.store.compact(b"", b"\xff")
    engine.close()


def inodes(path: Path) -> set[int]:
    return {table.stat().st_ino for table in path.rglob("*.ldb")}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    write(tmp_path / "data", 0, 3000)
    return tmp_path / "data"


def test_back_up_and_restore(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = run_json(capsys, "backup", "--dir", data)
    path = Path(made["path"])
    assert path.parent == data / "backups"
    assert made["copied_tables"] == 0 < made["tables"]
    assert inodes(path) == inodes(data / "leveldb")
    write(data, 3000, 500)
    restored = run_json(capsys, "restore", path, "--dir", tmp_path / "new", "--check")
    assert (restored["keys"], restored["rows"]) == (3000, 3000 + 4)
    assert not inodes(tmp_path / "new") & inodes(path)
    assert run(capsys, "check", "--dir", tmp_path / "new")[0] == 0
    assert len(run_json(capsys, "scan", "--dir", tmp_path / "new", "--limit", 0)) == 3000


def test_the_newest_is_restored(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "backup", "--dir", data, "--to", tmp_path / "b")
    write(data, 3000, 5)
    newest = run_json(capsys, "backup", "--dir", data, "--to", tmp_path / "b")["path"]
    restored = run_json(capsys, "restore", tmp_path / "b", "--dir", tmp_path / "new", "--link", "--quick")
    assert (restored["backup"], restored["keys"], "rows" in restored) == (newest, 3005, False)
    assert inodes(tmp_path / "new") & inodes(Path(newest))


def test_copies_share_tables_with_older_copies_only(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = run_json(capsys, "backup", "--dir", data, "--to", tmp_path / "b", "--copy")
    assert first["copied_tables"] == first["tables"] > 0
    assert not inodes(tmp_path / "b") & inodes(data)
    write(data, 5000, 10, compact=False)
    second = run_json(capsys, "backup", "--dir", data, "--to", tmp_path / "b", "--copy", "--keep", "1")
    # Opening the directory wrote the new rows to a table.
    assert (second["tables"], second["copied_tables"]) == (first["tables"] + 1, 1)
    assert sorted(path.name for path in data.iterdir()) == ["leveldb"]
    listed = run_json(capsys, "backups", tmp_path / "b")["backups"]
    assert [row["name"] for row in listed] == [Path(second["path"]).name]
    assert run_json(capsys, "restore", tmp_path / "b", "--dir", tmp_path / "new")["keys"] == 3010


def test_for_people(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "backup", "--dir", data)
    assert (status, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == ["backup", "size", "copied", "time"]
    status, out, _ = run(capsys, "restore", data / "backups", "--dir", tmp_path / "new", "--check")
    assert [line.split()[0] for line in out.splitlines()] == [
        "restored",
        "into",
        "size",
        "keys",
        "read",
        "check",
        "time",
    ]
    status, out, _ = run(capsys, "backups", data / "backups")
    assert status == 0
    assert out.splitlines()[1].endswith("whole")
    assert run(capsys, "backups", tmp_path) == (0, "no backups\n", "")


@pytest.mark.parametrize("content", ["file", "directory", "link"])
def test_a_directory_with_anything_in_it_is_refused(
    content: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "backup", "--dir", data)
    new = tmp_path / "new"
    new.mkdir()
    if content == "file":
        (new / "x").touch()
    elif content == "directory":
        (new / "x").mkdir()
    else:
        (new / "x").symlink_to("nowhere")
    status, out, err = run(capsys, "restore", data / "backups", "--dir", new)
    assert (status, out, err) == (1, "", f"diskkvctl: {new} is not empty; nothing was changed\n")
    assert [path.name for path in new.iterdir()] == ["x"]
    status, _, err = run(capsys, "restore", data / "backups", "--dir", data / "leveldb" / "CURRENT")
    assert (status, "is not empty" in err) == (1, True)


def damage(backup: Path) -> None:
    """Change a byte in the middle of a table, which is a link no longer."""
    table = max(backup.rglob("*.ldb"), key=lambda path: path.stat().st_size)
    raw = bytearray(table.read_bytes())
    raw[len(raw) // 2] ^= 1
    table.unlink()
    table.write_bytes(raw)


@pytest.mark.parametrize("exists", [True, False])
def test_a_damaged_backup_is_not_restored(
    exists: bool, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(run_json(capsys, "backup", "--dir", data)["path"])
    damage(path)
    new = tmp_path / "new"
    if exists:
        new.mkdir()
    status, out, err = run(capsys, "restore", path, "--dir", new)
    assert (status, out) == (1, "")
    assert err.startswith("diskkvctl: ")
    assert new.exists() == exists
    assert not exists or list(new.iterdir()) == []


def test_an_incomplete_backup_is_told(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(run_json(capsys, "backup", "--dir", data)["path"])
    next(path.rglob("*.ldb")).unlink()
    status, _, err = run(capsys, "restore", path, "--dir", tmp_path / "new")
    assert (status, "is missing" in err) == (1, True)
    assert not (tmp_path / "new").exists()
    status, out, _ = run(capsys, "backups", data / "backups")
    assert (status, "is missing" in out) == (1, True)


def test_broken_invariants_are_found_with_check(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = LevelDBStore(data / "leveldb")
    store.write({b"m\x00\x00\x00\x01000007": None})
    store.close()
    run(capsys, "backup", "--dir", data)
    assert run(capsys, "restore", data / "backups", "--dir", tmp_path / "one")[0] == 0
    status, _, err = run(capsys, "restore", data / "backups", "--dir", tmp_path / "two", "--check")
    assert (status, "the first: db0 counts 3000 keys and has 2999" in err) == (1, True)
    assert not (tmp_path / "two").exists()


def test_pruning(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [run_json(capsys, "backup", "--dir", data)["path"] for _ in range(4)]
    found = run_json(capsys, "backups", data / "backups", "--prune", 2)
    assert found["removed"] == paths[:2]
    assert [row["name"] for row in found["backups"]] == [Path(path).name for path in paths[2:]]


def test_what_is_no_backup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, "restore", tmp_path, "--dir", tmp_path / "new")
    assert (status, err) == (1, f"diskkvctl: {tmp_path} is no backup and holds none\n")
    status, _, err = run(capsys, "backups", tmp_path / "nowhere")
    assert (status, err) == (1, f"diskkvctl: {tmp_path / 'nowhere'} is not a directory\n")


def test_a_plain_copy_of_a_data_directory_can_be_restored(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(data, tmp_path / "copy")
    assert run_json(capsys, "restore", tmp_path / "copy", "--dir", tmp_path / "new")["keys"] == 3000


@pytest.mark.parametrize("place", ["redis://127.0.0.1:1", "unix:///nowhere/s", "nonsense"])
def test_a_server_that_is_not_there(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "backup", "--url", place)
    assert (status, out, err.count("\n")) == (1, "", 1)
