"""Distributed locks and rate limiters: the libraries that people use, whose atomic parts are Lua scripts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack

import limits
import pytest
import redis
from limits.storage import storage_from_string
from limits.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter, SlidingWindowCounterRateLimiter

from tests.applications.node import run_script
from tests.harness.servers import POOL, ServerProcess, running, subject_flavour


@pytest.fixture
def server() -> Iterator[ServerProcess]:
    """One without data."""
    found = POOL.get(subject_flavour(), tcp=True, role="applications")
    with found.connect() as wire:
        wire.call("FLUSHALL")
    yield found


@pytest.mark.slow
def test_redlock_on_three_servers() -> None:
    with ExitStack() as stack:
        servers = [stack.enter_context(running(subject_flavour(), tcp=True)) for _ in range(3)]
        assert run_script(("ioredis@^5", "redlock@^4"), "redlock.js", *(server.port for server in servers)) == "fine\n"


@pytest.mark.slow
def test_rate_limiter_flexible(server: ServerProcess) -> None:
    assert run_script(("ioredis@^5", "rate-limiter-flexible@^11"), "rate_limiter.js", server.port) == "fine\n"


@pytest.mark.parametrize(
    "strategy", [FixedWindowRateLimiter, MovingWindowRateLimiter, SlidingWindowCounterRateLimiter]
)
def test_limits(server: ServerProcess, strategy: type[limits.strategies.RateLimiter]) -> None:
    storage = storage_from_string(f"redis://127.0.0.1:{server.port}")
    limiter = strategy(storage)
    ten_an_hour = limits.parse("10/hour")
    assert [limiter.hit(ten_an_hour, "client") for _ in range(12)] == [True] * 10 + [False] * 2
    assert not limiter.test(ten_an_hour, "client")
    window = limiter.get_window_stats(ten_an_hour, "client")
    assert window.remaining == 0
    assert limiter.hit(ten_an_hour, "somebody else")
    limiter.clear(ten_an_hour, "client")
    assert limiter.hit(ten_an_hour, "client", cost=3)
    assert limiter.get_window_stats(ten_an_hour, "client").remaining == 7
    storage.storage.close()


_TOKEN_BUCKET = """
local capacity, rate, now = tonumber(ARGV[1]), tonumber(ARGV[2]), redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local bucket = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens = tonumber(bucket[1] or capacity)
tokens = math.min(capacity, tokens + (now - tonumber(bucket[2] or now)) * rate / 1000)
local allowed = tokens >= 1 and 1 or 0
redis.call('HSET', KEYS[1], 'tokens', tokens - allowed, 'at', now)
redis.call('PEXPIRE', KEYS[1], math.ceil(capacity / rate * 1000))
return allowed
"""


def test_a_token_bucket_in_lua(server: ServerProcess) -> None:
    with redis.Redis(port=server.port) as client:
        take = client.register_script(_TOKEN_BUCKET)
        assert sum(take(keys=["bucket"], args=[20, 0.001]) for _ in range(50)) == 20
        assert 0 < client.pttl("bucket") <= 20_000_000
        assert 0 <= float(client.hget("bucket", "tokens")) < 1


def test_redis_pys_lock(server: ServerProcess) -> None:
    counter = 0

    def count() -> None:
        nonlocal counter
        with redis.Redis(port=server.port) as client:
            for _ in range(20):
                with client.lock("lock", timeout=10, sleep=0.001):
                    seen = counter
                    client.ping()
                    counter = seen + 1

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert counter == 80
    with redis.Redis(port=server.port) as client:
        lock = client.lock("lock", timeout=10)
        assert lock.acquire(blocking=False)
        assert not client.lock("lock").acquire(blocking=False)
        assert lock.extend(20) and client.pttl("lock") > 15_000
        client.set("lock", "stolen")
        with pytest.raises(redis.exceptions.LockNotOwnedError):
            lock.release()
