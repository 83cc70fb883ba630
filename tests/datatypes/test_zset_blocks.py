"""Blocks and groups of sorted sets when many change at once, and when there is little memory for them."""

from __future__ import annotations

from random import Random
from unittest.mock import patch

import pytest

from diskkv.datatypes import zset_memory, zset_rows, zsets
from diskkv.engine.engine import Engine
from diskkv.engine.memory import MemoryStore
from tests.datatypes.test_zsets import KEY, check_rows, config, in_order, small_blocks


def test_memory_for_blocks_is_bounded() -> None:
    made = config(4, 20)
    engine = Engine(MemoryStore(), made)
    engine.begin(1)
    database = engine.database(0)
    with patch.object(zset_memory, "_LEAST_BUDGET_BYTES", 60 * 500), small_blocks():
        made.cache_size = 0
        for number in range(12):
            zsets.store(database, b"key%d" % number, [(b"%03d" % n, float(n)) for n in range(200)])
        engine.commit()
        for _ in range(3):
            for number in range(12):
                key = b"key%d" % number
                for extra in range(5):
                    zsets.add_one(database, key, b"more%d" % extra, 7.0 * extra)
                header = zsets.require(database.get(key))
                assert header is not None
                assert zsets.rank_of(engine, header, b"100", False) is not None
                check_rows(engine, header)
        loaded = sum(
            len(group.counts)
            for oid, index in engine.mirrors.items()
            if oid and index is not None
            for group in index.groups
        )
        assert loaded <= 200
        memory = zset_memory.memory_of(engine)
        indexes = [index for oid, index in engine.mirrors.items() if oid and index is not None]
        taken = sum(group.size_bytes for index in indexes for group in index.groups if group.borders is not None)
        assert taken <= memory.size_bytes <= memory.budget_bytes


@pytest.mark.parametrize("seed", range(4))
def test_many_changes_at_once_in_many_groups(seed: int) -> None:
    """Blocks and groups that grow to many times their size, or vanish, in one turn; some of them not in memory."""
    rng = Random(seed)
    made = config(4, 20)
    engine = Engine(MemoryStore(), made)
    engine.begin(1)
    database = engine.database(0)
    with patch.object(zset_memory, "_LEAST_BUDGET_BYTES", 25 * 500), small_blocks():
        made.cache_size = 0
        zsets.store(database, KEY, [(b"%05d" % number, float(number)) for number in range(0, 2000, 10)])
        zsets.store(database, b"other", [(b"%05d" % number, float(number)) for number in range(300)])
        model = {b"%05d" % number: float(number) for number in range(0, 2000, 10)}
        before = dict(model)
        for turn in range(12):
            names = [b"%05d" % rng.randrange(2000) for _ in range(rng.choice([3, 60, 400]))]
            start, width = rng.randrange(2500), rng.choice([1, 30, 3000])
            scores = [float(start + rng.randrange(width)) for _ in names]
            header = zsets.require(database.get(KEY))
            assert header is not None
            zset_rows.put_each(database, KEY, header, names, scores)
            model.update(zip(names, scores, strict=True))
            if turn % 3 == 2:
                engine.rollback(0)
                model = before
            engine.commit()
            before = dict(model)
            header = zsets.require(database.get(KEY))
            assert header is not None
            assert list(zsets.entries(engine, header)) == in_order(model)
            check_rows(engine, header)
            other = zsets.require(database.get(b"other"))
            assert other is not None and zsets.rank_of(engine, other, b"00100", False) == (100, 100.0)
            highest = bool(turn & 1)
            popped = zsets.pop(database, KEY, header, highest, rng.choice([2, 70]))
            assert popped == (in_order(model)[::-1] if highest else in_order(model))[: len(popped)]
            for member, _ in popped:
                del model[member]
            header = zsets.require(database.get(KEY))
            assert header is not None
            check_rows(engine, header)
