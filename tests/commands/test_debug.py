"""DEBUG, MEMORY and LOLWUT."""

from __future__ import annotations

from pathlib import Path

import pytest

from diskkv.commands import dispatch
from diskkv.engine.leveldb import LevelDBStore
from diskkv.errors import StorageError
from diskkv.services.instance import Instance
from tests.commands.session import NOW_MS, Session

NOT_ALLOWED = "ERR DEBUG command not allowed."


@pytest.fixture
def session() -> Session:
    found = Session()
    found.instance.config.enable_debug_command = "yes"
    return found


def test_off_by_default_and_local_only_if_asked_for() -> None:
    session = Session()
    assert session.run("DEBUG SLEEP 0").startswith(NOT_ALLOWED)
    session.instance.config.enable_debug_command = "local"
    session.client.address = "10.0.0.1:5"
    assert session.run("DEBUG SLEEP 0").startswith(NOT_ALLOWED)
    session.client.address = "127.0.0.1:5"
    assert session.run("DEBUG SLEEP 0") == "OK"


def test_active_expiry_can_be_switched_off(session: Session) -> None:
    session.run("DEBUG SET-ACTIVE-EXPIRE 0")
    session.run("SET k v PX 10")
    session.now_ms += 100
    session.engine.begin(session.now_ms)
    session.instance.tick(False)
    assert session.run("DBSIZE") == "1"
    session.run("DEBUG SET-ACTIVE-EXPIRE 1")
    session.instance.tick(False)
    session.engine.commit()
    assert session.run("DBSIZE") == "0"


def test_reload_keeps_everything_but_the_caches(session: Session, tmp_path: Path) -> None:
    instance = Instance(session.instance.config, LevelDBStore(tmp_path / "leveldb"))
    instance.use_commands(session.instance.commands, 0, 0)
    session.instance, session.engine = instance, instance.engine
    session.client = instance.new_client()
    session.run("DEBUG POPULATE 100")
    session.run("SELECT 3")
    session.run("SET k v PX 1000000")
    digest = session.run("DEBUG DIGEST")
    dispatch.execute(session.client, [b"SET", b"staged", b"v"])
    assert session.run("DEBUG RELOAD") == "OK"
    assert instance.engine.cache.entries == 0
    assert session.run("GET staged") == '"v"'
    session.run("DEL staged")
    assert session.run("DEBUG DIGEST") == digest
    assert session.run("DBSIZE") == "1"
    instance.engine.close()


def test_a_failed_reload_confirms_nothing(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    other = session.instance.new_client()
    other.out.append(b"+OK\r\n")
    session.engine.begin(NOW_MS)
    dispatch.execute(other, [b"SET", b"k", b"v"])

    def fail(rows: object, sync: bool = False) -> None:
        raise StorageError("disk full")

    monkeypatch.setattr(session.engine.store, "write", fail)
    result = dispatch.execute(session.client, [b"DEBUG", b"RELOAD"])
    assert result.startswith(b"-ERR storage error")
    assert other.closing
    assert other.out == []
    assert session.instance.write_error is not None


def test_object_and_sdslen(session: Session) -> None:
    session.run("SET k value")
    assert "encoding:embstr serializedlength:" in session.run("DEBUG OBJECT k")
    assert session.run("DEBUG SDSLEN k").startswith("key_sds_len:1, key_sds_avail:0, key_zmalloc: 1, val_sds_len:5,")
    assert session.run("DEBUG OBJECT nosuch") == "ERR no such key"


def test_memory_usage_grows_with_the_value() -> None:
    session = Session()
    session.run("SET small x")
    session.call(b"SET", b"large", b"x" * 10_000)
    small, large = (int(session.run(f"MEMORY USAGE {key}")) for key in ("small", "large"))
    assert 0 < small < 100
    assert 10_000 < large < 20_000
    assert session.run("MEMORY USAGE nosuch") == "nil"


def test_memory_stats_has_the_fields_of_the_documentation() -> None:
    session = Session(resp=3)
    session.run("SET k v")
    reply = session.run("MEMORY STATS")
    for field in ("peak.allocated", "keys.count", "dataset.percentage", "fragmentation", "db.0"):
        assert f'"{field}": ' in reply
    assert '"keys.count": 1,' in reply
    assert session.run("MEMORY PURGE") == "OK"
    assert session.call(b"MEMORY", b"DOCTOR").startswith(b"=")


@pytest.mark.parametrize("arguments", ["", " VERSION 5 80 3", " VERSION 6 1 1", " VERSION 5 0 0", " x y"])
def test_lolwut_draws(arguments: str) -> None:
    session = Session()
    first, second = session.run(f"LOLWUT{arguments}"), session.run(f"LOLWUT{arguments}")
    assert first.endswith('Redis ver. 7.4.2\\n"')
    picture, _, signature = first.partition("\\n\\n")
    assert "@" in picture
    assert signature.startswith("Strata")
    assert first != second or arguments.endswith((" 1 1", " 0 0"))


def test_lolwut_without_a_picture() -> None:
    assert Session().run("LOLWUT VERSION 1") == '"Redis ver. 7.4.2\\n"'
