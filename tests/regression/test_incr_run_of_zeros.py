"""A pipeline of INCR took 00 for an integer, which one INCR does not."""

from __future__ import annotations

import pytest

from diskkv.commands.dispatch import execute_run
from diskkv.commands.registry import TABLE, Flag, load_all
from diskkv.config import Config
from diskkv.engine.memory import MemoryStore
from diskkv.services.instance import Instance


@pytest.mark.parametrize(("value", "is_integer"), [(b"0", True), (b"00", False), (b"000", False), (b"07", False)])
def test_leading_zeros(value: bytes, is_integer: bool) -> None:
    instance = Instance(Config(), MemoryStore())
    instance.use_commands(load_all(), Flag.PLAIN, Flag.SKIP_SLOWLOG)
    client = instance.new_client()
    client.db.put(b"k", value, None)
    replies = execute_run(client, TABLE["incr"], [[b"INCR"] * 2, [b"k"] * 2])
    assert replies == ([b":1\r\n", b":2\r\n"] if is_integer else None)
