"""The rows of a big set in memory, for drawing members at the cost of a list index.

A draw from the rows of a set takes two or three seeks (members.py). A set that is drawn from often therefore gets a
pool: while the draws go on, each one reads the next `_STEP` rows as well, and when all are read the pool answers. Both
ways choose uniformly, so it does not matter which one is at work. A set that grows out of its header has a pool from
the beginning, if there is room for it.

The pool follows the set from its first step on: rows before `next` are known, rows behind it are met later. A row that
leaves the set stays in the list until it is drawn (`gone` tells that it does not count), which leaves the others their
equal chances. Sets of more than a quarter of the cache's size never get a pool; of the others those that got theirs
first give way to new ones, and those that were never drawn from go before all others. After a rollback the pool is made
anew (`Engine.mirrors`).
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice
from random import random

from diskkv.codec.header import Header
from diskkv.codec.keys import KIND_SET_MEMBER, element_prefix, prefix_successor
from diskkv.datatypes.members import PREFIX_BYTES
from diskkv.engine.engine import Engine
from diskkv.errors import CorruptionError

_STEP = 128
"""Rows read by a draw on the way to a pool; costs about as much as the draw."""
_FIRST_DRAWS = 16
"""A set that was drawn from less often gets no pool yet."""
_COUNTED_SETS = 4096
_MOST_GONE = 1024
_ROW_COST_BYTES = 48
_BUDGET_SHARE = 4
_LEAST_BUDGET_BYTES = 1 << 20
_ROOM_SHARE = 8
_REGISTRY = -2
"""Where `Engine.mirrors` has the registry of pools; object ids are positive."""


class Pool:
    """Rows of the set `oid`, all of them when `next` is None, else those before the row `next`."""

    __slots__ = ("_registry", "gone", "next", "oid", "rows", "size_bytes")

    def __init__(self, oid: int, registry: _Registry) -> None:
        self._registry = registry
        self.oid = oid
        self.rows: list[bytes] = []
        self.gone: set[bytes] = set()
        self.next: bytes | None = element_prefix(oid, KIND_SET_MEMBER)
        self.size_bytes = 0

    def add(self, row: bytes) -> None:
        """A member was added."""
        if self.next is not None and row >= self.next:
            return
        if row in self.gone:
            self.gone.remove(row)
        else:
            self.rows.append(row)
            self.grown(len(row) + _ROW_COST_BYTES)

    def add_each(self, rows: Collection[bytes]) -> None:
        """Members were added."""
        if self.next is None and not self.gone:
            self.rows += rows
            self.grown(sum(map(len, rows)) + _ROW_COST_BYTES * len(rows))
        else:
            for row in rows:
                self.add(row)

    def remove(self, row: bytes) -> None:
        """A member was removed."""
        if self.next is None or row < self.next:
            self.gone.add(row)
            if len(self.gone) > _MOST_GONE and 2 * len(self.gone) > len(self.rows):
                self._sweep()

    def _sweep(self) -> None:
        gone = self.gone
        self.rows = [row for row in self.rows if row not in gone]
        size_bytes = sum(map(len, gone)) + _ROW_COST_BYTES * len(gone)
        self.size_bytes -= size_bytes
        self._registry.size_bytes -= size_bytes
        self.gone = set()

    def draw(self) -> bytes:
        """A random row, each with the same chance. Only of a complete pool."""
        return self.rows[self._choose()]

    def take(self) -> bytes:
        """As `draw`, and the row leaves the pool."""
        at = self._choose()
        row = self.rows[at]
        self._drop(at)
        return row

    def take_each(self, count: int) -> list[bytes]:
        """As many times `take`; the pool has more rows."""
        rows = self.rows
        gone = self.gone
        taken: list[bytes] = []
        size_bytes = 0
        size = len(rows)
        while len(taken) < count:
            at = int(random() * size)
            row = rows[at]
            last = rows.pop()
            size -= 1
            if at < size:
                rows[at] = last
            size_bytes += len(row)
            if gone and row in gone:
                gone.remove(row)
                size_bytes += _ROW_COST_BYTES
            else:
                taken.append(row)
        size_bytes += _ROW_COST_BYTES * count
        self.size_bytes -= size_bytes
        self._registry.size_bytes -= size_bytes
        return taken

    def _choose(self) -> int:
        rows = self.rows
        gone = self.gone
        at = int(random() * len(rows))
        while gone and rows[at] in gone:
            gone.remove(rows[at])
            self._drop(at)
            at = int(random() * len(rows))
        return at

    def _drop(self, at: int) -> None:
        rows = self.rows
        size_bytes = len(rows[at]) + _ROW_COST_BYTES
        self.size_bytes -= size_bytes
        self._registry.size_bytes -= size_bytes
        rows[at] = rows[-1]
        rows.pop()

    def grown(self, size_bytes: int) -> None:
        """Account for rows that came in; may empty this pool or others."""
        self.size_bytes += size_bytes
        registry = self._registry
        registry.size_bytes += size_bytes
        if registry.size_bytes > registry.budget_bytes:
            registry.evict()

    def give_up(self) -> None:
        """Forget everything; from now on nothing is known, and nothing is taken in."""
        self.rows = []
        self.gone = set()
        self.next = b""
        self.size_bytes = 0


class _Registry:
    """All pools, oldest first, and how often sets without one were drawn from.

    Of the pools that were there from the beginning, `unused` has those of sets that were not drawn from yet.
    """

    __slots__ = ("_mirrors", "budget_bytes", "draws", "pools", "size_bytes", "unused")

    def __init__(self, engine: Engine) -> None:
        self._mirrors = engine.mirrors
        self.budget_bytes = max(_LEAST_BUDGET_BYTES, engine.config.cache_size // _BUDGET_SHARE)
        self.size_bytes = 0
        self.pools: dict[int, Pool] = {}
        self.unused: dict[int, Pool] = {}
        self.draws: dict[int, int] = {}

    def begin(self, header: Header) -> Pool | None:
        """A new, empty pool for a set that is drawn from; None when it is too early for one, or the set too big."""
        oid = header.oid
        drawn = self.draws.get(oid, 0) + 1
        if drawn < _FIRST_DRAWS or header.count * (_ROW_COST_BYTES + PREFIX_BYTES) > self.budget_bytes:
            if len(self.draws) >= _COUNTED_SETS:
                self.draws.clear()
            self.draws[oid] = drawn
            return None
        self.draws.pop(oid, None)
        self._forget(oid)
        pool = self.pools[oid] = self._mirrors[oid] = Pool(oid, self)
        return pool

    def begin_complete(self, oid: int, rows: Collection[bytes]) -> None:
        """Give the new set `oid`, which has these rows, a pool, if that needs nobody else's room."""
        if self.size_bytes < self.budget_bytes - self.budget_bytes // _ROOM_SHARE:
            pool = self.unused[oid] = self._mirrors[oid] = Pool(oid, self)
            pool.next = None
            pool.add_each(rows)

    def used(self, oid: int) -> None:
        """A set is drawn from."""
        if oid in self.unused:
            self.pools[oid] = self.unused.pop(oid)

    def _forget(self, oid: int) -> None:
        pool = self.pools.pop(oid, None) or self.unused.pop(oid, None)
        if pool is not None:
            self.size_bytes -= pool.size_bytes
            pool.give_up()
            if self._mirrors.get(oid) is pool:
                del self._mirrors[oid]

    def evict(self) -> None:
        """Give up the oldest pools until the others keep within the budget."""
        while self.size_bytes > self.budget_bytes and self.unused:
            self._forget(next(iter(self.unused)))
        while self.size_bytes > self.budget_bytes and self.pools:
            oid, pool = next(iter(self.pools.items()))
            # Sets that have no room together shall not read all their rows in turns.
            self.draws[oid] = -len(pool.rows)
            self._forget(oid)


def _registry_of(engine: Engine) -> _Registry:
    registry: _Registry | None = engine.mirrors.get(_REGISTRY)
    if registry is None:
        registry = engine.mirrors[_REGISTRY] = _Registry(engine)
    return registry


def begin_pool(engine: Engine, oid: int, rows: Collection[bytes]) -> None:
    """A new set has all these rows, which are staged."""
    engine.journal.append((engine.mirrors, oid, None))
    _registry_of(engine).begin_complete(oid, rows)


def pool_for_draw(engine: Engine, header: Header) -> Pool | None:
    """The pool of a big set that is about to be drawn from, when it has a complete one; else works towards it.

    Whoever takes a row out journals (mirrors, oid, None).
    """
    oid = header.oid
    pool: Pool | None = engine.mirrors.get(oid)
    registry = _registry_of(engine)
    if pool is None:
        pool = registry.begin(header)
        if pool is None:
            return None
    elif registry.unused:
        registry.used(oid)
    if pool.next is not None:
        _step(engine, pool)
        if pool.next is not None:
            return None
    if len(pool.rows) - len(pool.gone) != header.count:
        message = f"set object {oid} has not as many rows as its header says"
        raise CorruptionError(message)
    return pool


def _step(engine: Engine, pool: Pool) -> None:
    """Read the next rows into a pool that is not complete."""
    start = pool.next
    assert start is not None
    if engine.rows.staged:
        # Rows that a rollback takes back must not stay in the pool.
        engine.journal.append((engine.mirrors, pool.oid, None))
    stop = prefix_successor(element_prefix(pool.oid, KIND_SET_MEMBER))
    found = [row for row, _ in islice(engine.rows.scan(start, stop), _STEP)]
    pool.rows += found
    pool.next = found[-1] + b"\0" if len(found) == _STEP else None
    pool.grown(sum(map(len, found)) + _ROW_COST_BYTES * len(found))


def pool_of_changed(engine: Engine, oid: int) -> Pool | None:
    """The pool, if there is one, of a big set that is about to change."""
    pool: Pool | None = engine.mirrors.get(oid)
    if pool is not None:
        engine.journal.append((engine.mirrors, oid, None))
    return pool
