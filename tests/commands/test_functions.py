"""FUNCTION and FCALL: libraries stay over restarts, and are undone with the turn that changed them."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from diskkv.codec.keys import SYSTEM_NAMED
from diskkv.codec.rdb_payload import dump_functions
from diskkv.commands import dispatch
from diskkv.commands.registry import Flag
from diskkv.config import Config
from diskkv.engine.leveldb import LevelDBOptions, LevelDBStore
from diskkv.engine.memory import MemoryStore
from diskkv.errors import StorageError
from diskkv.services.instance import Instance
from tests.commands.session import Session

LIBRARY = b"#!lua name=lib\nredis.register_function('f', function(keys, args) return {keys[1], args[1]} end)"
SECOND = b"#!lua name=second\nredis.register_function{function_name='g', callback=function() return 'g' end}"
REPLACED = b"#!lua name=lib\nredis.register_function('f', function() return 'replaced' end)"


@pytest.fixture
def session() -> Session:
    return Session()


def reopened(session: Session) -> Session:
    """A server started on what another one had committed."""
    fresh = Session()
    instance = Instance(Config(), session.engine.store)
    instance.use_commands(session.instance.commands, Flag.PLAIN, Flag.SKIP_SLOWLOG)
    fresh.instance, fresh.engine, fresh.client = instance, instance.engine, instance.new_client()
    fresh.client.user = instance.acl.default_user
    return fresh


def test_libraries_stay_over_a_restart(session: Session) -> None:
    assert session.call(b"FUNCTION", b"LOAD", LIBRARY) == b"$3\r\nlib\r\n"
    assert session.call(b"FUNCTION", b"LOAD", SECOND) == b"$6\r\nsecond\r\n"
    later = reopened(session)
    assert later.run("FCALL f 1 k a") == '["k", "a"]'
    assert later.run("FCALL G 0") == '"g"'
    assert later.run("FUNCTION DELETE second") == "OK"
    assert later.call(b"FUNCTION", b"LOAD", b"REPLACE", REPLACED) == b"$3\r\nlib\r\n"
    last = reopened(later)
    assert last.run("FCALL f 0") == '"replaced"'
    assert last.run("FCALL g 0") == "ERR Function not found"
    assert last.run("FUNCTION FLUSH") == "OK"
    assert reopened(last).run("FUNCTION LIST") == "[]"
    assert [row for row, _ in session.engine.store.scan(SYSTEM_NAMED, SYSTEM_NAMED + b"\xff")] == []


def test_flushall_leaves_the_libraries(session: Session) -> None:
    session.call(b"FUNCTION", b"LOAD", SECOND)
    session.run("FLUSHALL")
    assert session.run("FCALL g 0") == '"g"'
    assert reopened(session).run("FCALL g 0") == '"g"'


def test_restored_libraries_stay_over_a_restart(session: Session) -> None:
    session.call(b"FUNCTION", b"LOAD", SECOND)
    dump = session.call(b"FUNCTION", b"DUMP")
    payload = dump[dump.index(b"\r\n") + 2 : -2]
    other = Session()
    other.call(b"FUNCTION", b"LOAD", LIBRARY)
    assert other.call(b"FUNCTION", b"RESTORE", payload, b"FLUSH") == b"+OK\r\n"
    later = reopened(other)
    assert later.run("FCALL g 0") == '"g"'
    assert later.run("FCALL f 0") == "ERR Function not found"


def test_a_library_that_does_not_load_any_more_is_kept_and_told(
    session: Session, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.call(b"FUNCTION", b"LOAD", SECOND)
    session.engine.rows.put(SYSTEM_NAMED + b"library:odd", b"#!lua name=odd\nnonsense")
    session.engine.commit()
    monkeypatch.setattr(logging.getLogger("diskkv"), "propagate", True)
    later = reopened(session)
    assert later.run("FCALL g 0") == '"g"'
    assert "odd cannot be loaded, it stays on disk: ERR Error compiling function" in caplog.text
    later.run("SET k v")
    assert session.engine.store.get(SYSTEM_NAMED + b"library:odd") is not None


@pytest.mark.parametrize(
    "change",
    [
        [b"LOAD", SECOND],
        [b"LOAD", b"REPLACE", REPLACED],
        [b"DELETE", b"lib"],
        [b"FLUSH"],
    ],
    ids=lambda change: b" ".join(change[:-1] or change).decode(),
)
def test_a_failed_commit_undoes_a_change(
    session: Session, change: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    session.call(b"FUNCTION", b"LOAD", LIBRARY)
    before = session.run("FUNCTION LIST WITHCODE")

    def fail(store: MemoryStore, rows: object, sync: bool = False) -> None:
        raise StorageError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(MemoryStore, "write", fail)
        assert dispatch.execute(session.client, [b"FUNCTION", *change])[:1] in b"+$"
        with pytest.raises(StorageError):
            session.engine.commit()
    assert session.run("FUNCTION LIST WITHCODE") == before
    assert session.run("FCALL f 1 k a") == '["k", "a"]'
    assert session.run("FCALL g 0") == "ERR Function not found"
    assert reopened(session).run("FUNCTION LIST WITHCODE") == before


@pytest.mark.parametrize(
    "change",
    [
        [b"LOAD", LIBRARY],
        [b"LOAD", b"REPLACE", b"#!lua name=lib\nnonsense"],
        [b"LOAD", b"#!lua name=third\nredis.register_function('F', function() end)"],
        [b"LOAD", b"#!lua name=third\nredis.register_function('h', function() end) error('late')"],
        [b"DELETE", b"nosuch"],
        [b"RESTORE", b"nonsense"],
    ],
    ids=range(6),
)
def test_a_refused_change_leaves_no_trace(session: Session, change: list[bytes]) -> None:
    session.call(b"FUNCTION", b"LOAD", LIBRARY)
    before = session.run("FUNCTION LIST WITHCODE")
    assert dispatch.execute(session.client, [b"FUNCTION", *change]).startswith(b"-ERR")
    assert session.engine.journal == []
    assert session.run("FUNCTION LIST WITHCODE") == before
    assert session.run("FCALL f 1 k a") == '["k", "a"]'
    assert session.run("FCALL h 0") == "ERR Function not found"


def test_loading_is_bounded_in_time(session: Session) -> None:
    reply = session.call(b"FUNCTION", b"LOAD", b"#!lua name=l\nwhile true do end")
    assert reply.startswith(b"-ERR Error registering functions: ERR FUNCTION LOAD timeout")
    endless = dump_functions([SECOND, b"#!lua name=l\nwhile true do end"])
    reply = session.call(b"FUNCTION", b"RESTORE", endless)
    assert reply.startswith(b"-ERR Error registering functions: ERR FUNCTION LOAD timeout")
    assert session.run("FUNCTION LIST") == "[]"


def test_a_directory_keeps_its_libraries(tmp_path: Path) -> None:
    for expected in (b"-ERR Function not found\r\n", b"$1\r\ng\r\n"):
        store = LevelDBStore(tmp_path / "db", LevelDBOptions())
        instance = Instance(Config(), store)
        instance.use_commands(Session().instance.commands, Flag.PLAIN, Flag.SKIP_SLOWLOG)
        client = instance.new_client()
        assert dispatch.execute(client, [b"FCALL", b"g", b"0"]) == expected
        dispatch.execute(client, [b"FUNCTION", b"LOAD", SECOND])
        instance.engine.commit()
        instance.engine.close()
