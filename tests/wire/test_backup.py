"""Backups of a server that is being written to, restored and started."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.harness.servers import ServerProcess, diskkv, running
from tests.harness.wire import Simple, Wire
from tools import diskkvctl

LIMIT_S = 30.0
# Small tables and a small log, so that there is much to link and compactions go on all the time.
OPTIONS = ("--leveldb-write-buffer-size", "64kb", "--leveldb-max-file-size", "1mb", "--leveldb-compression", "none")


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.002)


class Load:
    """A client that writes numbered transactions: two keys and a counter; `acknowledged` is the last one answered."""

    def __init__(self, wire: Wire, name: str) -> None:
        self._wire = wire
        self.name = name
        self.acknowledged = -1
        self._ended = threading.Event()
        self._failure: list[BaseException] = []
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        padding = "x" * 300
        try:
            while not self._ended.is_set():
                number = self.acknowledged + 1
                self._wire.call("MULTI")
                self._wire.call("SET", f"{self.name}:a:{number}", padding)
                self._wire.call("SADD", f"{self.name}:set", str(number))
                self._wire.call("INCR", f"{self.name}:count")
                reply = self._wire.call("EXEC")
                assert isinstance(reply, list) and reply[2] == number + 1
                self.acknowledged = number
        except BaseException as exc:  # noqa: BLE001 - handed to the test's thread
            self._failure.append(exc)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def expect_the_end(self) -> None:
        """The server was killed."""
        self._thread.join()
        (failure,) = self._failure
        assert isinstance(failure, ConnectionError), failure
        self._failure.clear()

    def __exit__(self, *exc_info: object) -> None:
        self._ended.set()
        self._thread.join()
        assert self._failure == []


def went_on(loads: tuple[Load, ...], before: dict[str, int]) -> bool:
    return all(load.acknowledged > before[load.name] + 200 for load in loads)


def url(server: ServerProcess) -> str:
    return f"unix://{server.socket_path}"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    status = diskkvctl.main([*arguments, "--json"])
    out, err = capsys.readouterr()
    assert status == 0, err
    return json.loads(out)


@pytest.fixture
def server() -> Iterator[ServerProcess]:
    with running(diskkv(), *OPTIONS) as started:
        yield started


@pytest.mark.slow
def test_a_backup_under_load_has_all_that_was_acknowledged_and_nothing_half(
    server: ServerProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backups: list[tuple[dict[str, int], dict[str, int], Path]] = []
    with server.connect() as one, server.connect() as two, Load(one, "one") as first, Load(two, "two") as second:
        loads = (first, second)
        until(lambda: all(load.acknowledged > 300 for load in loads))
        for _ in range(4):
            before = {load.name: load.acknowledged for load in loads}
            made = run(capsys, "backup", "--url", url(server), "--to", str(tmp_path / "backups"), "--keep", "3")
            backups.append((before, {load.name: load.acknowledged + 1 for load in loads}, Path(made["path"])))
            until(partial(went_on, loads, before))
    listed = run(capsys, "backups", str(tmp_path / "backups"))["backups"]
    assert [row["problem"] for row in listed] == [None] * 3
    for number, (before, after, path) in enumerate(backups[1:]):
        restored = tmp_path / f"restored{number}"
        assert run(capsys, "restore", str(path), "--dir", str(restored), "--check")["rows"] > 0
        assert_prefix(restored, before, after)


def assert_prefix(directory: Path, before: dict[str, int], after: dict[str, int]) -> None:
    """A server on the directory shows, of every load, all transactions up to one within the bounds and none after."""
    with running(diskkv(), "--dir", str(directory)) as restored, restored.connect() as wire:
        expected = 0
        for name in before:
            count = int(str(wire.call("GET", f"{name}:count"), "ascii"))  # type: ignore[call-overload]
            assert before[name] < count <= after[name] + 1
            assert wire.call("SCARD", f"{name}:set") == count
            members = wire.call("SMEMBERS", f"{name}:set")
            assert isinstance(members, list)
            numbers = {int(member) for member in members if isinstance(member, bytes)}
            assert numbers == set(range(count))
            assert wire.call("EXISTS", *(f"{name}:a:{number}" for number in range(count))) == count
            expected += count + 2
        assert wire.call("DBSIZE") == expected
        # And it goes on from there.
        assert wire.call("INCR", "one:count") is not None


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["at once", "in the middle", "at the end"])
def test_killed_while_a_backup_is_made(
    moment: str, server: ServerProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backups = server.data_directory / "backups"
    marks = {"at once": "*", "in the middle": ".unfinished-*", "at the end": "[.2]*Z"}
    backups.mkdir()
    (backups / "first").mkdir()
    with server.connect() as one, server.connect() as other, Load(one, "load") as load:
        until(lambda: load.acknowledged > 200)
        other.send("BGSAVE")
        # The middle may be over before it is seen; then it is the end.
        until(lambda: any(backups.glob(marks[moment])) or any(backups.glob("2*")))
        acknowledged = load.acknowledged
        server.kill()
        load.expect_the_end()
    server.start()
    with server.connect() as wire:
        assert wire.call("SAVE") == Simple(b"OK")
        count = wire.call("GET", "load:count")
        assert isinstance(count, bytes) and int(count) > acknowledged
    (backups / "first").rmdir()
    assert [path.name for path in backups.iterdir() if path.name[0] != "2"] == [".lock"]
    assert all(row["problem"] is None for row in run(capsys, "backups", str(backups))["backups"])
    restored = run(capsys, "restore", str(backups), "--dir", str(tmp_path / "new"), "--check")
    assert restored["keys"] == int(count) + 2


def test_save_waits_while_others_are_served(server: ServerProcess) -> None:
    with server.connect() as one, server.connect() as two:
        one.call("SET", "k", "v")
        one.send("SAVE")
        assert two.call("GET", "k") == b"v"
        assert one.read_reply() == Simple(b"OK")
        info = one.call("INFO", "persistence")
        assert isinstance(info, bytes)
        assert b"rdb_saves:1\r\n" in info
        backups = server.data_directory / "backups"
        assert len([path for path in backups.iterdir() if path.name[0] != "."]) == 1


def test_backups_by_interval_and_retention(tmp_path: Path) -> None:
    options = ("--backup-interval", "1", "--backup-keep", "1", "--backup-dir", str(tmp_path / "b"))
    with running(diskkv(), *options) as server, server.connect() as wire:
        wire.call("SET", "k", "v")
        until(lambda: any(path.name[0] == "2" for path in (tmp_path / "b").glob("*")))


def test_the_server_stops_while_a_backup_is_made(server: ServerProcess) -> None:
    with server.connect() as wire:
        wire.call("SET", "k", "v")
        wire.send("BGSAVE")
        wire.read_reply()
        server.stop_cleanly()
    server.start()
    with server.connect() as wire:
        assert wire.call("GET", "k") == b"v"
        assert wire.call("SAVE") == Simple(b"OK")
