"""A write waited for MIGRATE of its key, and then as long as any other MIGRATE was under way."""

from __future__ import annotations

from collections.abc import Callable

from diskkv.commands.dispatch import execute
from diskkv.commands.registry import Flag, load_all
from diskkv.config import Config
from diskkv.engine.memory import MemoryStore
from diskkv.services.instance import Instance
from diskkv.services.migrations import Migration
from diskkv.services.parking import HELD


def test_a_write_goes_on_when_its_own_key_is_moved() -> None:
    instance = Instance(Config(), MemoryStore())
    instance.use_commands(load_all(), Flag.PLAIN, Flag.SKIP_SLOWLOG)
    under_way: list[tuple[Callable[[], None], Callable[[], None]]] = []
    instance.migrations.run_beside = lambda work, finish: under_way.append((work, finish))

    def perform(migration: Migration) -> None:
        migration.moved += [item.key for item in migration.items]

    instance.migrations.perform = perform
    first, second, writer = (instance.new_client() for _ in range(3))
    for client, key in ((first, b"one"), (second, b"two")):
        execute(client, [b"SET", key, b"value"])
        execute(client, [b"MIGRATE", b"host", b"6379", key, b"0", b"1000"])
    instance.engine.commit()
    instance.run_after_turn()
    assert execute(writer, [b"SET", b"one", b"new"]) is HELD
    assert writer.paused
    work, finish = under_way[0]
    work()
    finish()
    assert not writer.paused
    assert execute(writer, [b"SET", b"one", b"new"]) == b"+OK\r\n"
    assert execute(writer, [b"SET", b"two", b"new"]) is HELD
