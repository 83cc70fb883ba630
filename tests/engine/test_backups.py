"""A directory of checkpoints."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from diskkv.engine.backups import BackupDirectory, checkpoint_name, checkpoint_time_ms
from diskkv.engine.checkpoint import Taken, description, verify
from diskkv.engine.leveldb import LevelDBStore
from diskkv.errors import ConfigError

NOW_MS = 1_700_000_000_000


@pytest.fixture
def backups(tmp_path: Path) -> BackupDirectory:
    return BackupDirectory(tmp_path / "some" / "backups")


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """The files of a small store that nobody has open."""
    store = LevelDBStore(tmp_path / "template")
    store.write({b"k": b"v"})
    store.close()
    return tmp_path / "template"


class Fill:
    """Fills a checkpoint with the template; `earlier` is what the last call got."""

    def __init__(self, template: Path) -> None:
        self._template = template
        self.earlier: Path | None = None

    def __call__(self, target: Path, earlier: Path | None) -> Taken:
        self.earlier = earlier
        store = LevelDBStore(self._template)
        try:
            return store.checkpoint(target)
        finally:
            store.close()


def names(backups: BackupDirectory) -> list[str]:
    return [path.name for path in backups.checkpoints()]


def test_names_are_times_and_sort() -> None:
    assert checkpoint_name(NOW_MS + 7) == "20231114T221320.007Z"
    assert checkpoint_name(NOW_MS + 999) < checkpoint_name(NOW_MS + 1000) < checkpoint_name(NOW_MS * 2)


def test_it_is_made_with_the_first_backup(backups: BackupDirectory, template: Path) -> None:
    assert names(backups) == [] == backups.prune(1)
    path, taken = backups.make(Fill(template), NOW_MS, 3, {"why": "test"})
    assert backups.checkpoints() == [path]
    assert verify(path).size_bytes == taken.size_bytes
    about = description(path)
    assert (about["created_ms"], about["why"], about["size_bytes"]) == (NOW_MS, "test", taken.size_bytes)


def test_the_oldest_go_and_the_newest_is_offered(backups: BackupDirectory, template: Path) -> None:
    fill = Fill(template)
    made = [backups.make(fill, NOW_MS, 3, {})[0] for _ in range(5)]
    assert [checkpoint_time_ms(path.name) - NOW_MS for path in made] == [0, 1, 2, 3, 4]
    assert backups.checkpoints() == made[2:]
    assert fill.earlier == made[3] / "leveldb"
    backups.make(fill, NOW_MS - 3_600_000, 0, {})
    assert fill.earlier == made[4] / "leveldb"
    assert len(backups.checkpoints()) == 4
    assert backups.prune(1) == made[2:]


def test_a_failure_leaves_nothing(backups: BackupDirectory, template: Path) -> None:
    def fail(target: Path, earlier: Path | None) -> Taken:
        target.mkdir()
        (target / "half").touch()
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        backups.make(fail, NOW_MS, 1, {})
    assert os.listdir(backups.path) == [".lock"]


def test_what_a_crash_left_is_removed_and_other_files_stay(backups: BackupDirectory, template: Path) -> None:
    for name in (".unfinished-20231114T221320.007Z", ".unwanted-20231114T221320.008Z", "mine"):
        (backups.path / name).mkdir(parents=True)
    backups.make(Fill(template), NOW_MS, 1, {})
    assert sorted(os.listdir(backups.path)) == [".lock", "20231114T221320.000Z", "mine"]


def test_one_process_at_a_time(backups: BackupDirectory, template: Path) -> None:
    backups.path.mkdir(parents=True)
    with open(backups.path / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="another process"):
            backups.make(Fill(template), NOW_MS, 1, {})
    backups.make(Fill(template), NOW_MS, 1, {})
