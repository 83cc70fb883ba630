"""Django: its cache and its sessions in the server, by Django's own backend for Redis."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import django
import pytest
from django.conf import settings

from tests.harness.servers import POOL, subject_flavour

if not settings.configured:
    # The server's port is not known yet: each test puts its own cache in this one's place.
    in_memory = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    settings.configure(SECRET_KEY="not secret", CACHES=in_memory)
    django.setup()

from django.contrib.sessions.backends.cache import SessionStore
from django.core.cache.backends.redis import RedisCache


@pytest.fixture
def cache() -> Iterator[RedisCache]:
    server = POOL.get(subject_flavour(), tcp=True, role="applications")
    made = RedisCache(f"redis://127.0.0.1:{server.port}/1", {"KEY_PREFIX": "site"})
    made.clear()
    yield made
    made._cache.get_client(write=True).connection_pool.disconnect()


def test_cache(cache: RedisCache) -> None:
    value: dict[str, Any] = {"name": "Ada", "numbers": [1, 2.5, None], "raw": bytes(range(256))}
    cache.set("user", value, timeout=100)
    assert cache.get("user") == value
    assert cache.add("user", "other") is False
    assert cache.add("fresh", "value", timeout=None) is True
    assert cache.touch("fresh", 100) and not cache.touch("nosuch")
    cache.set_many({"a": 1, "b": 2})
    assert cache.get_many(["a", "b", "nosuch"]) == {"a": 1, "b": 2}
    assert cache.incr("a", 41) == 42
    assert cache.decr("a") == 41
    with pytest.raises(ValueError):
        cache.incr("nosuch")
    assert cache.has_key("b")
    cache.delete_many(["a", "b"])
    assert "b" not in cache
    assert cache.get_or_set("computed", lambda: "once") == "once"
    cache.set("gone", 1, timeout=0)
    assert cache.get("gone", "default") == "default"
    assert cache.incr_version("fresh") == 2 and cache.get("fresh", version=2) == "value"
    client = cache._cache.get_client()
    assert 90 < client.ttl("site:1:user") <= 100
    cache.clear()
    assert client.dbsize() == 0


def test_sessions(cache: RedisCache) -> None:
    def store(key: str | None = None) -> SessionStore:
        session = SessionStore(key)
        session._cache = cache
        return session

    session = store()
    session["user"] = {"id": 7, "name": "Grace"}
    session.set_expiry(300)
    session.save()
    again = store(session.session_key)
    assert again["user"] == {"id": 7, "name": "Grace"}
    again.cycle_key()
    assert not store().exists(session.session_key)
    assert store(again.session_key)["user"]["id"] == 7
    again.flush()
    assert store(again.session_key).get("user") is None
