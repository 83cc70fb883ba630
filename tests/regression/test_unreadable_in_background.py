"""Data that cannot be read ended the server when the reclaimer or the sweeper met it, and again after each restart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from diskkv.codec.keys import ELEMENT_TAG, EXPIRY_TAG, object_range
from diskkv.commands.dispatch import execute
from diskkv.commands.registry import Flag, load_all
from diskkv.config import Config
from diskkv.engine.memory import MemoryStore
from diskkv.errors import CorruptionError
from diskkv.services.client import Client
from diskkv.services.instance import Instance

_MEMBERS = [b"%d-member" % number for number in range(300)]


def _client() -> Client:
    instance = Instance(Config(), MemoryStore())
    instance.use_commands(load_all(), Flag.PLAIN, Flag.SKIP_SLOWLOG)
    return instance.new_client()


def _break_scans(client: Client, monkeypatch: pytest.MonkeyPatch, tag: bytes, until: bytes) -> None:
    scan = MemoryStore.scan

    def broken(store: MemoryStore, start: bytes, stop: bytes, reverse: bool = False) -> Iterator[Any]:
        if start.startswith(tag) and start < until:
            message = "bad block"
            raise CorruptionError(message)
        return scan(store, start, stop, reverse)

    monkeypatch.setattr(MemoryStore, "scan", broken)


def _turn(client: Client, now_ms: int) -> None:
    client.engine.begin(now_ms)
    if client.instance.has_work:
        client.instance.tick(False)
    client.engine.commit()


def test_other_dead_values_are_reclaimed(monkeypatch: pytest.MonkeyPatch) -> None:
    client = _client()
    instance, engine = client.instance, client.engine
    engine.begin(1)
    for key in (b"broken", b"sound"):
        execute(client, [b"SADD", key, *_MEMBERS])
    first = client.db.get(b"broken")
    assert first is not None and not isinstance(first, bytes)
    engine.commit()
    execute(client, [b"DEL", b"broken", b"sound"])
    engine.commit()
    _break_scans(client, monkeypatch, ELEMENT_TAG, object_range(first.oid)[1])
    for number in range(10):
        _turn(client, 2 + number)
    assert instance.reclaimer.reclaimed_rows == len(_MEMBERS) + 1
    assert not instance.can_reclaim


def test_the_sweeper_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    client = _client()
    instance, engine = client.instance, client.engine
    engine.begin(1000)
    execute(client, [b"SET", b"k", b"v", b"PX", b"10"])
    engine.commit()
    with monkeypatch.context() as patch:
        _break_scans(client, patch, EXPIRY_TAG, b"u")
        _turn(client, 2000)
        assert not instance.has_work
    monkeypatch.setattr("diskkv.services.instance.time.monotonic", lambda: float("inf"))
    _turn(client, 2000)
    assert (client.db.keys, engine.expired_keys) == (0, 1)
