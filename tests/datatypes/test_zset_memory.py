"""Orders of blocks against a sorted list, and what is given up when there is too much of them."""

from __future__ import annotations

from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from diskkv.config import Config
from diskkv.datatypes import zset_memory, zsets
from diskkv.datatypes.zset_blocks import RankIndex, index_of
from diskkv.datatypes.zset_memory import Order, memory_of
from diskkv.engine.engine import Engine
from diskkv.engine.memory import MemoryStore

POSITIONS = st.sampled_from([b"", b"\0", b"a", b"b", b"c", b"\xff"])
STEPS = st.lists(st.tuples(st.sampled_from(["change", "note", "look"]), POSITIONS), max_size=60)


@given(first=st.sets(POSITIONS), steps=STEPS)
def test_an_order_against_a_sorted_set(first: set[bytes], steps: list[tuple[str, bytes]]) -> None:
    model = set(first)
    order = Order(sorted(first))
    for name, position in steps:
        if name == "look":
            assert order.positions() == sorted(model)
            assert not order.noted
        elif position in model:
            model.remove(position)
            order.remove(position) if name == "change" else order.removed.append(position)
        else:
            model.add(position)
            order.insert(position) if name == "change" else order.added.append(position)
        assert len(order) == len(model)
    assert order.positions() == sorted(model)


def make_engine() -> Engine:
    config = Config()
    config.zset_max_listpack_entries = 0
    config.cache_size = 0
    engine = Engine(MemoryStore(), config)
    engine.begin(1)
    return engine


def make_set(engine: Engine, key: bytes, size: int) -> RankIndex:
    zsets.store(engine.database(0), key, [(b"%06d" % number, float(number)) for number in range(size)])
    return index_of(engine, rank(engine, key, b"000000")[1])


def rank(engine: Engine, key: bytes, member: bytes) -> tuple[int, int]:
    header = zsets.require(engine.database(0).get(key))
    assert header is not None
    found = zsets.rank_of(engine, header, member, False)
    assert found is not None
    return found[0], header.oid


def orders_of(index: RankIndex) -> int:
    return sum(order is not None for group in index.groups for order in group.orders)


def test_orders_go_before_blocks_and_old_ones_first() -> None:
    with patch.object(zset_memory, "_LEAST_BUDGET_BYTES", 400_000):
        engine = make_engine()
        first = make_set(engine, b"first", 2000)
        second = make_set(engine, b"second", 2000)
        assert orders_of(first) and orders_of(second)
        third = make_set(engine, b"third", 2000)
        memory = memory_of(engine)
        rank(engine, b"third", b"000001")
        assert (orders_of(first), bool(orders_of(second)), bool(orders_of(third))) == (0, True, True)
        assert all(group.borders is not None for group in first.groups)
        assert memory.size_bytes <= memory.budget_bytes
        # The block that is needed comes back, alone.
        assert rank(engine, b"first", b"001500")[0] == 1500
        assert orders_of(index_of(engine, first.oid)) == 1


def test_blocks_go_when_orders_do_not_suffice() -> None:
    with patch.object(zset_memory, "_LEAST_BUDGET_BYTES", 10_000):
        engine = make_engine()
        for number in range(10):
            make_set(engine, b"%d" % number, 2000)
        memory = memory_of(engine)
        memory.settle()
        assert memory.size_bytes <= memory.budget_bytes
        assert sum(index is not None for index in engine.mirrors.values()) < 8
        for number in range(10):
            assert rank(engine, b"%d" % number, b"001234")[0] == 1234
