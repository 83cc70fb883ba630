"""The check of a server's data, running and stopped, finds what is wrong and disturbs nothing."""

from __future__ import annotations

import pytest

from diskkv.codec import keys
from diskkv.engine.leveldb import LevelDBStore
from tests.harness.integrity import assert_sound
from tests.harness.servers import diskkv, running
from tools.ctl.store import store_path


def test_a_running_and_a_killed_server_are_sound() -> None:
    with running(diskkv(), durable=True) as server, server.connect() as wire:
        wire.call("RPUSH", "list", *(b"x" * 1000 for _ in range(100)))
        assert_sound(server)
        assert wire.call("LLEN", "list") == 100
        server.kill()
        assert_sound(server)
        server.start()


def test_damage_is_found() -> None:
    with running(diskkv()) as server:
        with server.connect() as wire:
            wire.call("SET", "key", "value")
        assert server.stop() == 0
        store = LevelDBStore(store_path(server.data_directory))
        store.write({keys.header_prefix(1) + b"key": None})
        store.close()
        with pytest.raises(AssertionError, match="db0 counts 1 keys and has 0"):
            assert_sound(server)
