"""Data directories of every format so far are opened or upgraded, and hold what was written."""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from diskkv.codec import format1, keys
from diskkv.codec.header import encode_header
from diskkv.codec.keys import FORMAT_VERSION, SYSTEM_FORMAT, U32, header_prefix
from diskkv.config import Config
from diskkv.engine import engine, upgrades
from diskkv.engine.engine import Engine
from diskkv.engine.leveldb import LevelDBStore
from diskkv.engine.memory import MemoryStore
from diskkv.engine.store import Store
from diskkv.engine.upgrades import Rewrite, missing_steps, require_current, stored_format, upgrade
from diskkv.errors import ConfigError, CorruptionError
from diskkv.services.dataset_digest import dataset_digest
from tests.formats.make import NOW_MS, archive, instance_on, write
from tests.harness.servers import ServerDied, ServerProcess, diskkv
from tools import diskkvctl
from tools.ctl.check import check_directory


def extracted(version: int, target: Path) -> Path:
    """A data directory as a format wrote it."""
    (target / "leveldb").mkdir()
    with tarfile.open(archive(version)) as tar:
        for member in tar:
            content = tar.extractfile(member)
            assert content is not None
            (target / "leveldb" / Path(member.name).name).write_bytes(content.read())
    return target


@pytest.mark.parametrize("version", range(1, FORMAT_VERSION + 1))
def test_a_directory_of_each_format_holds_what_was_written(version: int, tmp_path: Path) -> None:
    directory = extracted(version, tmp_path)
    if version < FORMAT_VERSION:
        assert diskkvctl.main(["upgrade", "--dir", str(directory)]) == 0
    assert check_directory(directory).problems == [], "if the layout of rows changed: see tests/formats/make.py"
    expected = instance_on(MemoryStore())
    write(expected)
    found = instance_on(LevelDBStore(directory / "leveldb"))
    try:
        for instance in (expected, found):
            instance.engine.begin(NOW_MS)
        assert found.engine.databases.keys() >= {0, 7}
        assert [database.keys for _, database in sorted(found.engine.databases.items())] == [
            database.keys for _, database in sorted(expected.engine.databases.items())
        ]
        changed = "the layout of rows changed: see tests/formats/make.py"
        assert dataset_digest(found.engine) == dataset_digest(expected.engine), changed
    finally:
        found.engine.close()


def with_format(version: int, store: Store | None = None) -> Store:
    store = store or MemoryStore()
    store.write({SYSTEM_FORMAT: U32.pack(version), header_prefix(1) + b"k": encode_header(b"v")})
    return store


@pytest.mark.parametrize(
    ("version", "advice"), [(FORMAT_VERSION + 1, "use a newer diskkv"), (FORMAT_VERSION - 1, "run `diskkvctl upgrade`")]
)
def test_other_formats_are_refused_with_the_way_out(version: int, advice: str) -> None:
    with pytest.raises(ConfigError, match=f"format {version}.*{advice}"):
        Engine(with_format(version), Config())


def test_a_format_that_is_no_number_is_refused() -> None:
    store = MemoryStore()
    store.write({SYSTEM_FORMAT: b"1"})
    with pytest.raises(ConfigError, match="no number: 31"):
        stored_format(store)


def append(suffix: bytes) -> upgrades.Step:
    """A step that adds to the value of the key k."""

    def step(rewrite: Rewrite) -> None:
        row = header_prefix(1) + b"k"
        if rewrite.position < row:
            rewrite.put(row, (rewrite.store.get(row) or b"") + suffix)
            rewrite.flush(row)

    return step


def test_the_steps_run_in_order_and_only_those_that_are_missing() -> None:
    steps = {5: append(b"5"), 6: append(b"6"), 7: append(b"7")}
    store = with_format(6)
    told: list[int] = []
    assert upgrade(store, 8, steps, told.append) == [6, 7] == told
    assert (stored_format(store), store.get(header_prefix(1) + b"k")) == (8, encode_header(b"v67"))
    assert upgrade(store, 8, steps) == []


def test_an_interrupted_step_goes_on_where_it_stopped() -> None:
    def fail(rewrite: Rewrite) -> None:
        append(b"6")(rewrite)
        raise KeyboardInterrupt

    store = with_format(5)
    with pytest.raises(KeyboardInterrupt):
        upgrade(store, 7, {5: append(b"5"), 6: fail})
    for current, advice in [(5, "use a newer"), (6, "use a newer"), (7, "run `diskkvctl upgrade` again")]:
        with pytest.raises(ConfigError, match=advice):
            require_current(stored_format(store) or 0, "the data directory", current)
    upgrade(store, 7, {6: append(b"6")})
    assert (stored_format(store), store.get(header_prefix(1) + b"k")) == (7, encode_header(b"v56"))
    assert list(store.scan(b"\x00n:", b"\x00n;")) == []


# ---- format 1


def test_list_blocks_of_format_1() -> None:
    for items in ([b""], [b"a", None, b"x" * 128], [b"%d" % number for number in range(32)], [None]):
        raw = b"".join(
            b"\xff\xff" if item is None else bytes((len(item),)) + item + bytes((len(item),)) for item in items
        )
        assert format1.decode_list_block(raw) == items
        for stop in range(len(raw)):
            # What is cut off is noticed, or is a block with fewer items.
            try:
                found = format1.decode_list_block(raw[:stop])
            except ValueError:
                continue
            assert found == items[: len(found)] != items
    for damaged in (b"", b"\x01a", b"\x01a\x02", b"\xff", b"\x00\x00" * 33):
        with pytest.raises(ValueError):
            format1.decode_list_block(damaged)


class Interrupted(LevelDBStore):
    """Fails after some writes, as if the process had ended."""

    writes_left = 1 << 30

    def write(self, rows: Any, sync: bool = False) -> None:
        if not self.writes_left:
            raise KeyboardInterrupt
        self.writes_left -= 1
        super().write(rows, sync)


def test_an_upgrade_of_format_1_can_be_interrupted_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrades, "_BATCH_ROWS", 2)
    directory = extracted(1, tmp_path)
    interruptions = 0
    while True:
        store = Interrupted(directory / "leveldb")
        store.writes_left = 2
        try:
            done = upgrade(store, 2)
            break
        except KeyboardInterrupt:
            interruptions += 1
        finally:
            store.close()
    assert done == [1]
    assert interruptions > 2
    # A later step may be missing still.
    diskkvctl.main(["upgrade", "--dir", str(directory)])
    assert check_directory(directory).problems == []


def test_a_damaged_block_of_format_1_is_named(tmp_path: Path) -> None:
    directory = extracted(1, tmp_path)
    store = LevelDBStore(directory / "leveldb")
    row = next(row for row, _ in store.scan(b"d", b"e") if row[9] == keys.KIND_LIST_ITEM and len(row) == 18)
    store.write({row: b"\x05abc"})
    with pytest.raises(CorruptionError, match=row.hex()):
        upgrade(store, 2)
    store.close()


def test_what_cannot_be_upgraded_is_left_alone() -> None:
    store = with_format(3)
    with pytest.raises(ConfigError, match="format 3 cannot be upgraded"):
        upgrade(store, 5, {4: append(b"4")})
    assert (stored_format(store), store.get(header_prefix(1) + b"k")) == (3, encode_header(b"v"))
    with pytest.raises(ConfigError, match="has no format"):
        upgrade(MemoryStore())
    assert missing_steps(5, 5) == []


def next_format(monkeypatch: pytest.MonkeyPatch, steps: Mapping[int, upgrades.Step]) -> None:
    """Make this program one of the format after the current one."""
    for module in (keys, engine):
        monkeypatch.setattr(module, "FORMAT_VERSION", FORMAT_VERSION + 1)
    monkeypatch.setattr(upgrades.require_current, "__defaults__", (FORMAT_VERSION + 1,))
    monkeypatch.setattr(upgrades, "STEPS", steps)


def test_diskkvctl_upgrades_and_keeps_a_backup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = extracted(FORMAT_VERSION, tmp_path)
    assert diskkvctl.main(["upgrade", "--dir", str(directory)]) == 0
    assert capsys.readouterr().out == f"format {FORMAT_VERSION} is current; nothing to do\n"
    with monkeypatch.context() as patch:
        next_format(patch, {})
        assert diskkvctl.main(["stats", "--dir", str(directory)]) == 1
        assert "run `diskkvctl upgrade`" in capsys.readouterr().err
        assert diskkvctl.main(["upgrade", "--dir", str(directory)]) == 1
        assert "cannot be upgraded" in capsys.readouterr().err
        patch.setattr(upgrades, "STEPS", {FORMAT_VERSION: append(b"!")})
        assert diskkvctl.main(["upgrade", "--dir", str(directory)]) == 0
        out, err = capsys.readouterr()
        assert out.startswith(f"format  {FORMAT_VERSION} -> {FORMAT_VERSION + 1}\nbackup  ")
        assert err == f"upgrading from format {FORMAT_VERSION} to {FORMAT_VERSION + 1}\n"
        upgraded = Engine(LevelDBStore(directory / "leveldb"), Config())
        upgraded.close()
    assert diskkvctl.main(["check", "--dir", str(directory)]) == 1
    assert f"format {FORMAT_VERSION + 1}" in capsys.readouterr().err
    (backup,) = [path for path in (directory / "backups").iterdir() if path.name[0] != "."]
    assert check_directory(backup).problems == []


def test_a_server_refuses_an_older_format_with_one_line(tmp_path: Path) -> None:
    server = ServerProcess(diskkv())
    try:
        with_format(FORMAT_VERSION - 1, store := LevelDBStore(server.data_directory / "leveldb"))
        store.close()
        with pytest.raises(ServerDied, match="run `diskkvctl upgrade`"):
            server.start()
    finally:
        server.close()
