"""`maxdisk`: a bound on what LevelDB's tables take, for those who use diskkv as a cache.

What `maxmemory` and its policy are in Redis, `maxdisk` and `maxdisk-policy` are here. Over the limit, keys are evicted
in small slices inside of turns, and the parts of the store that they leave are compacted (compaction.py), as only that
gives space back. With `noeviction`, or when nothing can be evicted, commands that need space are refused.

How recently a key was used is not kept for keys on disk. What is known: a key in the cache was used lately. So the
lru policies look at keys from random places and evict those that are not in the cache, then those that were not read
again since they came into it. This is coarser than Redis' approximation: among keys out of the cache all are alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from diskkv.codec.header import Header
from diskkv.datatypes import operations
from diskkv.engine.dead_space import average_header_bytes
from diskkv.engine.sampling import Candidate, expiring_keys, keys_from_random_place, places
from diskkv.errors import StorageError
from diskkv.services import notifications
from diskkv.services.compaction import WHOLE

if TYPE_CHECKING:
    from diskkv.services.instance import Instance

_FULL = "OOM command not allowed when used disk space > 'maxdisk'."
_SLICE_S = 0.002
"""How much of a turn evictions may take."""
_NEIGHBOURS = 16
_LOOKED_AT = 64
"""So many keys from one place are looked at, and so many of them at most evicted."""
_TARGET_SHARE = 20
"""Evictions begin when less than a twentieth of the limit is free, and go on until two are."""
_BEHIND_SHARE = 20
_SLOWEST_STEP = 12
_FIRST_STEP = 7
"""When the tables take a twentieth more than the limit, writers are slowed down as if the store's pressure was at
this step (services/pacing.py), with each further twentieth one step more, until evictions and compactions have caught
up."""
_PLACES_S = 5.0
_URGENT_DEAD_SHARE = 0.05
_FAILED_DRAWS = 8
_SPARING_DRAWS = 4
"""A place where all keys were read lately is passed over for so many others."""


class DiskLimit:
    """`poll` measures ten times a second, `step` evicts inside of a turn."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._config = instance.config
        self._random = Random()
        self._places: list[bytes] = []
        self._places_until_s = 0.0
        self._usual_dead_share = instance.compactions.dead_share
        self._header_bytes = 0.0
        self._live_bytes = 0.0
        self._unreclaimed_bytes = 0
        """Of evicted values whose rows are not deleted yet."""
        self.wanted_bytes = 0.0
        """How much is still to be evicted."""
        self.used_bytes = 0
        self.evicted_keys = 0
        self.clock: Callable[[], float] = time.monotonic

    def poll(self) -> None:
        """Measure, and decide what is to be evicted or refused."""
        instance = self._instance
        limit = self._config.maxdisk
        if not limit or not instance.engine.store.persistent:
            if instance.writes.full is not None or self.wanted_bytes:
                self.wanted_bytes = 0.0
                self._follow(False, 0)
            return
        try:
            self._measure()
        except StorageError:
            return
        over = self.used_bytes > limit
        near = limit - limit // _TARGET_SHARE
        urgent = self.used_bytes > near
        instance.compactions.dead_share = _URGENT_DEAD_SHARE if urgent else self._usual_dead_share
        if self._config.maxdisk_policy == "noeviction":
            self.wanted_bytes = 0.0
            self._follow(over, 0)
            return
        behind = max(0, self.used_bytes - limit) * _BEHIND_SHARE // limit
        compactions = instance.compactions
        if behind and compactions.current is None and not compactions.in_store and not instance.can_reclaim:
            # What is noted as dead has been freed before, or else compactions would be at work.
            self._live_bytes = self.used_bytes
        excess = self._live_bytes - near
        # Once begun, evictions go on until there is some room again.
        if excess > 0 or self.wanted_bytes > 0:
            self.wanted_bytes = max(0.0, excess + limit / _TARGET_SHARE)
        if not over:
            self._follow(False, 0)
        else:
            step = min(_FIRST_STEP - 1 + behind, _SLOWEST_STEP) if behind else 0
            self._follow(instance.writes.full is not None, step)

    def _measure(self) -> None:
        engine = self._instance.engine
        # The tables of this range are counted without a look into them.
        self.used_bytes = engine.store.approximate_size_bytes(*WHOLE)
        dead = engine.dead_space
        live = sum(database.keys for database in engine.databases.values())
        self._header_bytes = average_header_bytes(engine.store, live + dead.headers)
        if not engine.has_garbage:
            self._unreclaimed_bytes = 0
        dead_bytes = dead.known_bytes + dead.headers * self._header_bytes
        self._live_bytes = self.used_bytes - dead_bytes - self._unreclaimed_bytes

    def _follow(self, full: bool, least_step: int) -> None:
        """Refuse commands that need space, and slow writers down, or no longer."""
        self._instance.pacer.least_step = least_step
        self._instance.writes.set_full(_FULL if full else None)

    # ---- evicting

    def step(self) -> None:
        """Evict some keys inside of the open turn."""
        until_s = self.clock() + _SLICE_S
        failed = 0
        while self.wanted_bytes > 0 and self.clock() < until_s:
            candidates = self._candidates(failed < _SPARING_DRAWS)
            for candidate in candidates:
                self._evict(candidate)
            failed = 0 if candidates else failed + 1
            if failed >= _FAILED_DRAWS:
                # Nothing is left that the policy may evict.
                self.wanted_bytes = 0.0
                if self.used_bytes > self._config.maxdisk:
                    self._instance.writes.set_full(_FULL)
                return
        self._instance.writes.set_full(None)

    def _candidates(self, spare_read: bool) -> list[Candidate]:
        engine = self._instance.engine
        policy = self._config.maxdisk_policy
        if policy == "volatile-ttl":
            return expiring_keys(engine, _NEIGHBOURS, None)
        if policy.startswith("volatile"):
            found = expiring_keys(engine, _LOOKED_AT, self._random)
        else:
            databases = [database for database in engine.databases.values() if database.keys]
            if not databases:
                return []
            weights = [database.keys for database in databases]
            database = self._random.choices(databases, weights)[0]
            found = keys_from_random_place(engine, database, self._known_places(), _LOOKED_AT, self._random)
        return least_recent(found, spare_read)[:_NEIGHBOURS] if policy.endswith("lru") else found[:_NEIGHBOURS]

    def _known_places(self) -> list[bytes]:
        if self.clock() >= self._places_until_s:
            self._places = places(self._instance.engine)
            self._places_until_s = self.clock() + _PLACES_S
        return self._places

    def _evict(self, candidate: Candidate) -> None:
        instance = self._instance
        database, key, value = candidate
        size = self._header_bytes
        if isinstance(value, Header) and value.oid:
            rows_bytes = operations.of(value).memory_bytes(instance.engine, value, 5)
            self._unreclaimed_bytes += rows_bytes
            size += rows_bytes
        database.delete(key, value)
        self.wanted_bytes -= max(size, 1.0)
        self.evicted_keys += 1
        events = instance.notifications
        if events.enabled:
            events.event(notifications.EVICTED, b"evicted", key, database)


def least_recent(found: list[Candidate], spare_read: bool) -> list[Candidate]:
    """Those that are not cached, else those that were not read again since they came into the cache.

    If there are none of these either, the first, or (`spare_read`) nothing.
    """
    cold = [candidate for candidate in found if candidate[1] not in candidate[0].cached]
    if cold:
        return cold
    unread = [candidate for candidate in found if candidate[1] not in candidate[0].segment.hits]
    return unread or ([] if spare_read else found[:1])
