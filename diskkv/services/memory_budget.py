"""Keeps the process within `maxmemory`: the cache of values gives way to whatever else takes memory.

Ten times a second the resident memory is compared with the budget. When it comes near, the cache's limit goes down in
small steps, and what was freed is handed back to the system; when there is room again it goes up. Clients' buffers are
bounded by `maxmemory-clients`, as in Redis: those that hold most are disconnected. Without `maxmemory` the cache keeps
its size, and clients are only bounded where `maxmemory-clients` says so.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from diskkv.services import memory, sizing
from diskkv.services.client_memory import client_bytes

if TYPE_CHECKING:
    from diskkv.services.client import Client
    from diskkv.services.instance import Instance

log = logging.getLogger(__name__)

MIB = 1 << 20
_STEP_BYTES = 4 * MIB
"""Evicting so much takes some ten milliseconds, during which nobody is served."""
_TRIM_BYTES = 8 * MIB
_TRIM_INTERVAL_S = 2.0
_MANY_CLIENTS = 1000
_INPUT_BYTES = 64 * MIB
_CLIENTS_SHARE = 3
"""Clients may take a third of what `maxmemory` leaves beside the interpreter, unless `maxmemory-clients` is set."""


class MemoryBudget:
    """`poll` is called ten times a second."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._config = instance.config
        self.most_bytes = self._config.cache_size
        """The cache's limit when nothing else needs the memory."""
        self._freed_bytes = 0
        self._trimming = False
        self._trimmed_s = 0.0
        self._polls = 0
        self.resident_bytes: Callable[[], int] = memory.resident_bytes
        self.trims = 0
        self.evicted_clients = 0

    def configure(self) -> None:
        """maxmemory or cache-size changed."""
        config = self._config
        if "cache_size" in config.derived and config.maxmemory:
            config.cache_size = config.derived["cache_size"] = sizing.derive(config.maxmemory, 0)["cache_size"]
        self.most_bytes = config.cache_size
        self._instance.engine.cache.resize(self.most_bytes)

    def poll(self) -> None:
        """Adjust the cache, and disconnect clients that take too much."""
        self._polls += 1
        if len(self._instance.clients) < _MANY_CLIENTS or self._polls % 10 == 0:
            self._limit_clients()
        if self._config.maxmemory:
            self._limit_cache(self._config.maxmemory)

    # ---- the cache

    def _limit_cache(self, budget: int) -> None:
        cache = self._instance.engine.cache
        resident = self.resident_bytes()
        if resident > budget - budget // 25:
            least = min(sizing.LEAST_CACHE_BYTES, self.most_bytes)
            # What was freed a moment ago is still resident until it is handed back.
            excess = resident - self._freed_bytes - (budget - budget // 16)
            if excess > 0 and cache.size_bytes > least:
                step = min(excess, _STEP_BYTES if resident <= budget else 4 * _STEP_BYTES)
                before = cache.size_bytes
                cache.resize(max(before - step, least))
                self._freed_bytes += before - cache.size_bytes
            self._trim()
        elif resident < budget - budget // 10 and cache.limit_bytes < self.most_bytes:
            if cache.size_bytes > cache.limit_bytes - cache.limit_bytes // 8:
                spare = budget - budget // 10 - resident
                cache.resize(min(cache.limit_bytes + min(spare // 2, _STEP_BYTES), self.most_bytes))
            self._freed_bytes = 0

    def _trim(self) -> None:
        """Have the C library give back what it holds on to, in a thread, now and then."""
        now_s = time.monotonic()
        if self._trimming or self._freed_bytes < _TRIM_BYTES or now_s - self._trimmed_s < _TRIM_INTERVAL_S:
            return
        self._trimming = True

        def finish() -> None:
            self._trimming = False
            self._trimmed_s = time.monotonic()
            self._freed_bytes = 0
            self.trims += 1

        self._instance.saves.run_beside(memory.trim, finish)

    # ---- clients

    @property
    def clients_limit_bytes(self) -> int:
        """What all clients' buffers may take together, 0 for no limit."""
        config = self._config
        limit: int = config.maxmemory_clients
        if limit < 0:
            return config.maxmemory * -limit // 100
        if limit == 0 and config.maxmemory:
            return sizing.room_bytes(config.maxmemory) // _CLIENTS_SHARE
        return limit

    @property
    def input_limit_bytes(self) -> int:
        """How much a client whose requests have to wait may send before nothing more is read from it.

        Redis reads on, and has the replies pile up. A client that sends a long pipeline before it reads any reply
        must get rid of all of it, so this is not less than such pipelines take, where the memory allows it.
        """
        limit = self.clients_limit_bytes or sizing.room_bytes(sizing.budget_bytes(self._config))
        return min(_INPUT_BYTES, limit // 4)

    def _limit_clients(self) -> None:
        limit = self.clients_limit_bytes
        if not limit:
            return
        holding: list[tuple[int, Client]] = []
        total = 0
        for client in self._instance.clients.values():
            size = client_bytes(client)
            if size:
                total += size
                holding.append((size, client))
        if total <= limit:
            return
        holding.sort(key=lambda pair: pair[0], reverse=True)
        for size, client in holding:
            if client.no_evict:
                continue
            log.warning("evicting client %d, which holds %d bytes (maxmemory-clients)", client.id, size)
            client.kill()
            self.evicted_clients += 1
            total -= size
            if total <= limit:
                break
