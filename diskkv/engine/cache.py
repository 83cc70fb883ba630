"""The in-memory cache in front of the store: bounded in bytes, resistant to scans.

The policy is S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023): a new entry waits
in a small queue and only moves to the main one when it is read again before it reaches the end, or when it was evicted
not long ago (the ghost list). A scan of the whole dataset thus flows through a tenth of the cache. A hit costs one set
insertion, and nothing while there is room for more (`Segment.is_pressed`); nothing is reordered. As long as there is
room there are no queues either: a dictionary keeps the order in which its keys came.

A `Segment` is one dictionary with its queues: each database has one for its headers, and all element rows share one.
Readers use `Segment.data` and `Segment.hits` directly (see Database.get). All segments of a `Cache` share one budget.
Only committed values are ever inserted.
"""

from __future__ import annotations

from collections import deque
from itertools import filterfalse
from typing import Any

ENTRY_OVERHEAD_BYTES = 180
"""Python's own cost of an entry: two object headers, a dictionary slot, a queue slot."""

_PRESSED_SHARE = 4
"""Hits are counted from the time that only this part of the budget is free."""

_ONLY_PLAIN = {bytes}
_PLAIN_OR_NONE = {bytes, type(None)}

_SMALL_SHARE = 10
"""One tenth of the entries wait in the small queue, as in the paper."""


def entry_cost_bytes(key: bytes, value: Any) -> int:
    """About how much memory an entry takes."""
    if value.__class__ is bytes:
        return len(key) + len(value) + ENTRY_OVERHEAD_BYTES
    return len(key) + int(value.cost_bytes) + ENTRY_OVERHEAD_BYTES


class Segment:
    """One dictionary of the cache with its FIFO queues. `data` is for reading by the owner.

    While `is_pressed` the owner adds the keys that it reads to `hits`. Before that nothing will be evicted soon, and
    an insertion into a large set costs more than the rest of a read; the queues are empty then.
    """

    __slots__ = (
        "_cache",
        "_ghosts",
        "_main",
        "_small",
        "data",
        "evictions",
        "hits",
        "is_pressed",
        "losses",
        "size_bytes",
    )

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self.data: dict[bytes, Any] = {}
        self.hits: set[bytes] = set()
        self.is_pressed = cache.is_pressed
        self.size_bytes = 0
        self.evictions = 0
        self.losses = 0
        """Changes whenever entries are lost whose keys are not deleted."""
        self._small: deque[bytes] = deque()
        self._main: deque[bytes] = deque()
        self._ghosts: dict[int, None] = {}

    def store(self, key: bytes, value: Any) -> None:
        """Insert or replace a committed value; may evict others."""
        data = self.data
        old = data.get(key)
        if value.__class__ is bytes:
            delta = len(key) + len(value) + ENTRY_OVERHEAD_BYTES
        else:
            delta = len(key) + value.cost_bytes + ENTRY_OVERHEAD_BYTES
        if old is not None:
            delta -= entry_cost_bytes(key, old)
        elif self.is_pressed:
            ghosts = self._ghosts
            if ghosts and hash(key) in ghosts:
                del ghosts[hash(key)]
                self._main.append(key)
            else:
                self._small.append(key)
        data[key] = value
        self.size_bytes += delta
        cache = self._cache
        cache.size_bytes += delta
        if cache.size_bytes > cache.full_bytes:
            cache.evict()
        elif len(self._small) + len(self._main) > 2 * len(data) + 1024:
            self._drop_stale()

    def store_all(self, values: dict[bytes, Any]) -> None:
        """`store` of every value, `discard` for None."""
        data = self.data
        olds: list[Any] = list(map(data.get, values))
        types = {*map(type, olds), *map(type, values.values())}
        if types == _ONLY_PLAIN:
            # Nothing but overwritten strings.
            delta = sum(map(len, values.values())) - sum(map(len, olds))
            data.update(values)
        elif types <= _PLAIN_OR_NONE:
            delta = self._store_plain(values, olds)
        else:
            delta = self._store_each(values)
        self.size_bytes += delta
        self._cache.size_bytes += delta
        if delta > 0 and self._cache.size_bytes > self._cache.full_bytes:
            self._cache.evict()

    def _store_plain(self, values: dict[bytes, Any], olds: list[Any]) -> int:
        """Store strings, discard keys with None, where strings or nothing were before; answers what the size grew by.

        The same as `_store_each`, in loops inside of C as far as possible.
        """
        data = self.data
        delta = -sum(map(len, filter(None, olds)))
        present = values
        if None in values.values():
            present = {key: value for key, value in values.items() if value is not None}
            gone = [key for key, old in zip(values, olds, strict=True) if old is not None and values[key] is None]
            delta -= sum(map(len, gone)) + ENTRY_OVERHEAD_BYTES * len(gone)
            deque(map(data.__delitem__, gone), 0)
            if self.hits:
                self.hits.difference_update(gone)
        delta += sum(map(len, present.values()))
        if None in olds:
            made = [key for key, old in zip(values, olds, strict=True) if old is None and key in present]
            delta += sum(map(len, made)) + ENTRY_OVERHEAD_BYTES * len(made)
            if self.is_pressed:
                self._enqueue(made)
        data.update(present)
        if len(self._small) + len(self._main) > 2 * len(data) + 1024:
            self._drop_stale()
        return delta

    def _enqueue(self, made: list[bytes]) -> None:
        """Put new keys into the queues, those that were evicted lately into the main one."""
        ghosts = self._ghosts
        hashes = list(map(hash, made))
        if not ghosts.keys().isdisjoint(hashes):
            self._main += [key for key, number in zip(made, hashes, strict=True) if number in ghosts]
            made = [key for key, number in zip(made, hashes, strict=True) if number not in ghosts]
            for number in hashes:
                ghosts.pop(number, None)
        self._small += made

    def _store_each(self, values: dict[bytes, Any]) -> int:
        """Store values one by one; answers what the size of overwritten strings grew by."""
        data = self.data
        ghosts = self._ghosts
        is_pressed = self.is_pressed
        append = self._small.append
        delta = 0
        for key, value in values.items():
            if value.__class__ is bytes:
                old = data.get(key)
                if old.__class__ is bytes:
                    data[key] = value
                    delta += len(value) - len(old)
                    continue
                if old is None and not (ghosts and hash(key) in ghosts):
                    data[key] = value
                    if is_pressed:
                        append(key)
                    delta += len(key) + len(value) + ENTRY_OVERHEAD_BYTES
                    continue
            if value is not None:
                self.store(key, value)
                ghosts = self._ghosts
            elif key in data:
                self.discard(key)
        if len(self._small) + len(self._main) > 2 * len(data) + 1024:
            self._drop_stale()
        return delta

    def discard(self, key: bytes) -> None:
        """Remove a key, if it is there."""
        old = self.data.pop(key, None)
        if old is not None:
            cost = entry_cost_bytes(key, old)
            self.size_bytes -= cost
            self._cache.size_bytes -= cost
            self.hits.discard(key)
            if len(self._small) + len(self._main) > 2 * len(self.data) + 1024:
                self._drop_stale()

    def press(self) -> None:
        """From now on evictions are near."""
        if not self.is_pressed:
            self.is_pressed = True
            self._small += self.data

    def evict_one(self) -> bool:
        """Evict one entry; False when there is none left."""
        data, hits, small, main = self.data, self.hits, self._small, self._main
        while small or main:
            if small and (len(small) * _SMALL_SHARE >= len(small) + len(main)):
                key = small.popleft()
                if key not in data:
                    continue
                if key in hits:
                    hits.discard(key)
                    main.append(key)
                    continue
                self._remember(key)
            else:
                key = main.popleft()
                if key not in data:
                    continue
                if key in hits:
                    hits.discard(key)
                    main.append(key)
                    continue
            cost = entry_cost_bytes(key, data.pop(key))
            self.size_bytes -= cost
            self._cache.size_bytes -= cost
            self.evictions += 1
            self.losses += 1
            return True
        return False

    def _remember(self, key: bytes) -> None:
        ghosts = self._ghosts
        ghosts[hash(key)] = None
        # The ghost list is as long as the main queue. Dropping half at once keeps the oldest-first order that a
        # dictionary gives without its quadratic cost of deleting at the front one by one.
        if len(ghosts) > 1024 + 2 * len(self._main):
            self._ghosts = dict.fromkeys(list(ghosts)[len(ghosts) // 2 :])

    def _drop_stale(self) -> None:
        """Forget queue slots of deleted keys, and all but the first of keys that were deleted and came back."""
        is_there = self.data.__contains__
        main = dict.fromkeys(filter(is_there, self._main))
        small = dict.fromkeys(filter(is_there, self._small))
        self._main.clear()
        self._main += main
        self._small.clear()
        self._small += filterfalse(main.__contains__, small) if main else small

    def clear(self) -> None:
        """Forget everything."""
        self.losses += 1
        self._cache.size_bytes -= self.size_bytes
        self.size_bytes = 0
        self.data.clear()
        self.hits.clear()
        self._small.clear()
        self._main.clear()
        self._ghosts.clear()


class Cache:
    """All segments under one budget of `limit_bytes`."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.full_bytes = limit_bytes - limit_bytes // _PRESSED_SHARE
        """The size above which `evict` is to be called."""
        self.is_pressed = False
        """Eviction is near: hits count."""
        self.size_bytes = 0
        self.segments: list[Segment] = []

    def segment(self) -> Segment:
        """A new, empty segment."""
        segment = Segment(self)
        self.segments.append(segment)
        return segment

    def drop(self, segment: Segment) -> None:
        """Give up a segment and its memory."""
        segment.clear()
        self.segments.remove(segment)

    def resize(self, limit_bytes: int) -> None:
        """Change the budget, evicting as needed."""
        self.limit_bytes = limit_bytes
        self.evict()

    def evict(self) -> None:
        """Evict from the largest segment until the budget holds, with a little to spare so that this is seldom."""
        self.is_pressed = True
        self.full_bytes = self.limit_bytes
        for segment in self.segments:
            segment.press()
        if self.size_bytes <= self.limit_bytes:
            return
        target = self.limit_bytes - (self.limit_bytes >> 7)
        while self.size_bytes > target:
            largest = max(self.segments, key=_size_bytes)
            if not largest.evict_one():
                break
            floor = self.size_bytes - (self.limit_bytes >> 8)
            while self.size_bytes > target and self.size_bytes > floor and largest.evict_one():
                pass

    @property
    def entries(self) -> int:
        """The number of cached values."""
        return sum(len(segment.data) for segment in self.segments)


def _size_bytes(segment: Segment) -> int:
    return segment.size_bytes
