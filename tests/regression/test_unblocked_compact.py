"""A client that was made to stop waiting for COMPACT got its outcome as the reply to what it waited for next."""

from __future__ import annotations

from diskkv.commands.dispatch import execute
from diskkv.commands.registry import Flag, load_all
from diskkv.config import Config
from diskkv.engine.memory import MemoryStore
from diskkv.services.instance import Instance


def test_only_compact_itself_is_answered() -> None:
    instance = Instance(Config(), MemoryStore())
    instance.use_commands(load_all(), Flag.PLAIN, Flag.SKIP_SLOWLOG)
    client, other = instance.new_client(), instance.new_client()
    assert execute(client, [b"COMPACT", b"WAIT"]) is None
    assert execute(other, [b"CLIENT", b"UNBLOCK", b"%d" % client.id]) == b":1\r\n"
    assert client.out == [b"-ERR the compaction goes on without this client\r\n"]
    client.out.clear()
    assert execute(client, [b"BLPOP", b"list", b"0"]) is None
    assert instance.compactions.stop() == 1
    assert client.out == []
    assert client.blocked is not None
