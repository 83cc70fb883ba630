"""A key whose time to live was shortened is in the index twice: it was evicted twice, and the counts went wrong."""

from __future__ import annotations

import pytest

from diskkv.commands.dispatch import execute
from diskkv.commands.registry import Flag, load_all
from diskkv.config import Config
from diskkv.engine.memory import MemoryStore
from diskkv.services.instance import Instance


@pytest.mark.parametrize("policy", ["volatile-ttl", "volatile-random", "volatile-lru"])
def test_counts_stay_exact(policy: str) -> None:
    config = Config()
    config.maxdisk_policy = policy
    instance = Instance(config, MemoryStore())
    instance.use_commands(load_all(), Flag.PLAIN, Flag.SKIP_SLOWLOG)
    client = instance.new_client()
    database = client.db
    instance.engine.begin(1_000_000)
    for ttl_s in (3000, 2000, 1000):
        for key in (b"a", b"b"):
            execute(client, [b"SET", key, b"v"])
            execute(client, [b"EXPIRE", key, b"3000"])
            execute(client, [b"EXPIRE", key, b"%d" % ttl_s])
    execute(client, [b"SET", b"lasting", b"v"])
    instance.engine.commit()
    instance.disk_limit.wanted_bytes = 1e9
    while instance.disk_limit.wanted_bytes:
        instance.disk_limit.step()
    instance.engine.commit()
    assert (database.keys, database.expires) == (1, 0)
    assert instance.disk_limit.evicted_keys == 2
