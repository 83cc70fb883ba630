"""A store that could not be read when MIGRATE was about to delete what it had moved ended the server."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from diskkv.commands.dispatch import execute
from diskkv.commands.registry import Flag, load_all
from diskkv.config import Config
from diskkv.engine.database import Database
from diskkv.engine.memory import MemoryStore
from diskkv.errors import StorageError
from diskkv.services.instance import Instance
from diskkv.services.migrations import Migration


def test_the_client_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    instance = Instance(Config(), MemoryStore())
    instance.use_commands(load_all(), Flag.PLAIN, Flag.SKIP_SLOWLOG)
    under_way: list[tuple[Callable[[], None], Callable[[], None]]] = []
    instance.migrations.run_beside = lambda work, finish: under_way.append((work, finish))

    def perform(migration: Migration) -> None:
        migration.moved += [item.key for item in migration.items]

    def fail(database: Database, key: bytes) -> None:
        raise StorageError("cannot read")

    instance.migrations.perform = perform
    client = instance.new_client()
    execute(client, [b"SET", b"k", b"value"])
    execute(client, [b"MIGRATE", b"host", b"6379", b"k", b"0", b"1000"])
    instance.engine.commit()
    instance.run_after_turn()
    ((work, finish),) = under_way
    work()
    monkeypatch.setattr(Database, "get", fail)
    finish()
    assert client.out == [b"-ERR moved, but not deleted here: cannot read\r\n"]
    assert not instance.migrations.is_holding
