"""While the store could not be opened, INFO and the metrics were errors, just when they were needed."""

from __future__ import annotations

from pathlib import Path

from diskkv.commands.dispatch import execute
from diskkv.commands.registry import Flag, load_all
from diskkv.config import Config
from diskkv.engine.leveldb import LevelDBStore
from diskkv.services.instance import Instance
from diskkv.services.metrics import render


def test_what_is_known_is_told(tmp_path: Path) -> None:
    config = Config()
    config.dir = str(tmp_path)
    store = LevelDBStore(tmp_path / "leveldb")
    instance = Instance(config, store)
    instance.use_commands(load_all(), Flag.PLAIN, Flag.SKIP_SLOWLOG)
    client = instance.new_client()
    instance.writes.store_failed("I/O error")
    store.close()
    info = execute(client, [b"INFO", b"everything"])
    expected = (b"used_memory:", b"connected_clients:1", b"total_commands_processed:", b"storage_error:Database")
    for line in expected:
        assert b"\r\n" + line in info
    text = b"".join(render(instance))
    assert b"\ndiskkv_writes_refused 1.0\n" in text
    assert b"\ndiskkv_connected_clients" in text
