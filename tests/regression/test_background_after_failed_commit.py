"""After a commit failed, dead rows and expired keys that its turn had dealt with stayed on disk until a restart."""

from __future__ import annotations

import pytest

from diskkv.engine.memory import MemoryStore
from diskkv.errors import StorageError
from tests.commands.session import NOW_MS, Session


def _fail_to_commit(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(store: MemoryStore, rows: object, sync: bool = False) -> None:
        raise StorageError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(MemoryStore, "write", write)
        with pytest.raises(StorageError):
            session.engine.commit()


def test_reclaim_starts_again(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session()
    session.call(b"HSET", b"h", *(b"%d" % number for number in range(2000)))
    session.run("DEL h")
    assert session.instance.reclaimer.step(100) == 100
    _fail_to_commit(session, monkeypatch)
    while session.instance.can_reclaim:
        session.instance.reclaimer.step(100)
        session.engine.commit()
    assert list(session.engine.store.scan_keys(b"d", b"e")) == []


def test_expired_keys_are_swept(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session()
    session.run("SET k v PX 10")
    session.engine.begin(NOW_MS + 20)
    session.instance.tick(False)
    _fail_to_commit(session, monkeypatch)
    assert session.database.keys == 1
    session.engine.begin(NOW_MS + 30)
    assert session.instance.has_work
    session.instance.tick(False)
    session.engine.commit()
    assert session.database.keys == 0
