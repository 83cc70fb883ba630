"""Engines for tests."""

from __future__ import annotations

from diskkv.config import Config
from diskkv.engine.engine import Engine
from diskkv.engine.store import Store


def make_engine(store: Store, cache_bytes: int = 1 << 20) -> Engine:
    config = Config()
    config.cache_size = cache_bytes
    engine = Engine(store, config)
    engine.begin(1000)
    return engine
