"""SAVE, BGSAVE, LASTSAVE, BGREWRITEAOF and what INFO tells of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from diskkv.commands import dispatch
from diskkv.commands.registry import Flag, load_all
from diskkv.config import Config
from diskkv.engine.backups import checkpoint_time_ms
from diskkv.engine.leveldb import LevelDBStore
from diskkv.services import info, saves
from diskkv.services.instance import Instance
from tests.commands.session import Session
from tools.ctl.check import check_directory

Work = Callable[[], None]


class Server:
    """An instance on disk; a turn per request, and what is to run beside the turns waits in `beside`."""

    def __init__(self, directory: Path) -> None:
        config = Config()
        config.dir = str(directory)
        directory.mkdir()
        self.instance = Instance(config, LevelDBStore(directory / "leveldb"))
        self.instance.use_commands(load_all(), Flag.PLAIN, Flag.SKIP_SLOWLOG)
        self.beside: list[tuple[Work, Work]] = []
        self.instance.saves.run_beside = lambda work, finish: self.beside.append((work, finish))
        self.client = self.instance.new_client()

    def call(self, line: str) -> bytes | None:
        self.instance.engine.begin(1_700_000_000_000)
        result = dispatch.execute(self.client, [word.encode() for word in line.split()])
        self.instance.engine.commit()
        self.instance.run_after_turn()
        return result

    def finish(self) -> None:
        """Do what waits."""
        work, finish = self.beside.pop(0)
        work()
        finish()

    def info(self) -> dict[str, str]:
        lines = info.render(self.instance, ["persistence"]).decode().split("\r\n")
        return dict(line.split(":", 1) for line in lines if ":" in line)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path / "data")
    yield made
    made.instance.engine.close()


def test_bgsave_makes_a_backup(server: Server) -> None:
    server.instance.saves.last_save_s = 0
    server.call("SET k v")
    server.call("SET l v")
    assert server.info()["rdb_changes_since_last_save"] == "2"
    assert server.call("BGSAVE") == b"+Background saving started\r\n"
    found = server.info()
    assert (found["rdb_bgsave_in_progress"], found["rdb_current_bgsave_time_sec"]) == ("1", "0")
    server.call("SET k w")
    server.finish()
    found = server.info()
    assert (found["rdb_bgsave_in_progress"], found["rdb_current_bgsave_time_sec"]) == ("0", "-1")
    assert (found["rdb_last_bgsave_status"], found["rdb_last_bgsave_time_sec"], found["rdb_saves"]) == ("ok", "0", "1")
    assert found["rdb_changes_since_last_save"] == "1"
    assert int(found["rdb_last_save_time"]) > 1_700_000_000
    assert server.call("LASTSAVE") == b":%b\r\n" % found["rdb_last_save_time"].encode()
    path = Path(found["backup_last"])
    assert path.parent == Path(found["backup_directory"]) == Path(server.instance.config.dir) / "backups"
    assert check_directory(path).facts["keys"] == 2


def test_one_at_a_time(server: Server) -> None:
    busy = b"-ERR Background save already in progress\r\n"
    server.call("BGSAVE SCHEDULE")
    assert [server.call(line) for line in ("BGSAVE", "BGSAVE schedule", "SAVE")] == [busy] * 3
    server.finish()
    assert server.call("BGSAVE") == b"+Background saving started\r\n"


def test_options_are_checked(server: Server) -> None:
    assert server.call("BGSAVE NOW") == server.call("BGSAVE SCHEDULE x") == b"-ERR syntax error\r\n"
    assert not server.instance.saves.in_progress


def test_in_a_transaction(server: Server) -> None:
    server.call("MULTI")
    server.call("SET k v")
    server.call("BGSAVE")
    server.call("BGREWRITEAOF")
    assert server.call("SAVE") == b"-ERR Command not allowed inside a transaction\r\n"
    server.call("DISCARD")
    server.call("MULTI")
    server.call("SET k v")
    server.call("BGSAVE")
    server.call("BGREWRITEAOF")
    assert server.call("EXEC") == (
        b"*3\r\n+OK\r\n+Background saving scheduled\r\n+Background append only file rewriting scheduled\r\n"
    )
    server.finish()
    assert check_directory(Path(server.info()["backup_last"])).facts["keys"] == 1


def test_save_answers_when_the_backup_is_complete(server: Server) -> None:
    assert server.call("SAVE") is None
    assert server.client.out == []
    server.finish()
    assert server.client.out == [b"+OK\r\n"]
    assert server.client.blocked is None
    assert server.info()["rdb_saves"] == "1"


def test_a_client_that_leaves_or_gives_up_gets_nothing_more(server: Server) -> None:
    server.call("SAVE")
    server.instance.blocking.unblock(server.client, server.client.blocked.block.timeout_reply)
    server.finish()
    assert server.client.out == [b"-ERR the backup goes on without this client\r\n"]
    server.client.out.clear()
    server.call("SAVE")
    server.instance.forget_client(server.client)
    server.finish()
    assert server.client.out == []


def test_a_failure_is_told(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data" / "backups").touch()
    assert saves.Saves(server.instance).last_path is None
    server.call("SET k v")
    server.call("SAVE")
    server.finish()
    (answer,) = server.client.out
    assert answer.startswith(b"-ERR no backup was made: ")
    found = server.info()
    assert (found["rdb_last_bgsave_status"], found["rdb_changes_since_last_save"]) == ("err", "1")
    assert (found["rdb_saves"], found["backup_last"]) == ("0", "")


def test_a_bug_does_not_end_the_server(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saves, "BackupDirectory", None)
    server.call("SAVE")
    server.finish()
    assert server.client.out[0].startswith(b"-ERR no backup was made: TypeError")


def test_old_backups_go(server: Server) -> None:
    server.instance.config.backup_keep = 2
    for _ in range(4):
        server.call("BGSAVE")
        server.finish()
    assert len(server.instance.saves.directory.checkpoints()) == 2


def test_another_directory(server: Server, tmp_path: Path) -> None:
    server.instance.config.backup_dir = str(tmp_path / "elsewhere")
    server.call("BGSAVE")
    server.finish()
    assert Path(server.info()["backup_last"]).parent == tmp_path / "elsewhere"


def test_backups_by_interval(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr(saves.time, "monotonic", lambda: clock[0])
    service = server.instance.saves
    server.instance.config.backup_interval = 60

    def due(after_s: float) -> bool:
        clock[0] += after_s
        service.check_interval()
        return bool(server.beside)

    service._tried_s = 1000.0
    server.call("SET k v")
    assert not due(59)
    assert due(1)
    service.check_interval()
    assert len(server.beside) == 1
    server.finish()
    assert not due(60), "nothing changed since"
    server.call("SET k w")
    (Path(server.instance.config.dir) / "backups").rename(Path(server.instance.config.dir) / "b")
    (Path(server.instance.config.dir) / "backups").touch()
    assert due(60)
    server.finish()
    assert service.last_ok is False
    (Path(server.instance.config.dir) / "backups").unlink()
    assert not due(4)
    assert due(1), "tried again soon"
    server.finish()
    assert (service.last_ok, service.changes) == (True, 0)
    server.instance.config.backup_interval = 0
    server.call("SET k x")
    assert not due(1e6)


def test_the_interval_goes_on_after_a_restart(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.call("SET k v")
    server.call("BGSAVE")
    server.finish()
    path = server.instance.saves.last_path
    assert path is not None
    monkeypatch.setattr(saves.time, "time", lambda: checkpoint_time_ms(path.name) / 1000 + 50)
    clock = [1000.0]
    monkeypatch.setattr(saves.time, "monotonic", lambda: clock[0])
    service = saves.Saves(server.instance)
    service.run_beside = server.instance.saves.run_beside
    server.instance.config.backup_interval = 60
    assert service.last_path == path
    clock[0] += 9
    service.check_interval()
    assert not server.beside
    clock[0] += 1
    service.check_interval()
    assert len(server.beside) == 1, "what changed before the start is not known"
    server.finish()
    clock[0] += 60
    service.check_interval()
    assert not server.beside


def test_shutting_down_gives_up(server: Server) -> None:
    server.instance.config.leveldb_write_buffer_size = 1
    server.call("SET k v")
    server.instance.engine.store.flush_log()
    server.call("BGSAVE")
    server.instance.saves.stop()
    server.finish()
    assert server.info()["rdb_last_bgsave_status"] == "err"
    assert server.instance.saves.directory.checkpoints() == []


def test_bgrewriteaof_empties_the_log(server: Server) -> None:
    server.call("SET k v")
    assert server.call("BGREWRITEAOF") == b"+Background append only file rewriting started\r\n"
    assert server.info()["aof_rewrite_in_progress"] == "1"
    again = server.call("BGREWRITEAOF")
    assert again == b"-ERR Background append only file rewriting already in progress\r\n"
    server.finish()
    found = server.info()
    assert (found["aof_rewrite_in_progress"], found["aof_rewrites"], found["aof_last_rewrite_time_sec"]) == (
        "0",
        "1",
        "0",
    )
    logs = list((Path(server.instance.config.dir) / "leveldb").glob("*.log"))
    assert [path.stat().st_size for path in logs] == [0]


def test_in_memory_there_is_nothing_to_save() -> None:
    session = Session()
    assert session.run("BGSAVE") == "Background saving started"
    session.instance.run_after_turn()
    assert session.instance.saves.count == 1
    assert session.instance.saves.last_path is None
    assert session.run("BGREWRITEAOF") == "Background append only file rewriting started"
    session.instance.run_after_turn()
    assert not session.instance.saves.rewriting
