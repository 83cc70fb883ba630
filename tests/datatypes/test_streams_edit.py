"""Trimming many entries at once, the nodes that it goes by, and what is kept in memory about both ends of queues."""

from __future__ import annotations

from collections.abc import Iterator
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskkv.codec.keys import GARBAGE_ROWS, GARBAGE_TAG, object_range
from diskkv.codec.listpack_size import integer_bytes
from diskkv.codec.rdb_packed import join_listpack, listpack_entry, listpack_int
from diskkv.config import Config
from diskkv.datatypes import streams, streams_edit, streams_groups, streams_nodes, streams_pending
from diskkv.datatypes.streams import MAX_ID, ZERO_ID, Stream, pack_id
from diskkv.datatypes.streams_edit import DELREF, Trim
from diskkv.datatypes.streams_groups import Group
from diskkv.datatypes.streams_pending import Claim
from diskkv.engine.engine import Engine
from diskkv.engine.memory import MemoryStore
from diskkv.engine.reclaim import Reclaimer
from tests.datatypes.stream_rows import check_groups, check_stream

NOW_MS = 1_700_000_000_000


@pytest.fixture
def engine() -> Engine:
    made = Engine(MemoryStore(), Config())
    made.begin(NOW_MS)
    return made


def filled(engine: Engine, count: int) -> Stream:
    """A stream with the entries 1-0, 2-0 ..."""
    stream = streams.new(engine)
    for number in range(1, count + 1):
        streams_edit.append(engine, stream, pack_id(number, 0), [b"f", b"v"])
    return stream


def numbered(*numbers: int) -> list[bytes]:
    return [pack_id(number, 0) for number in numbers]


def read(engine: Engine, stream: Stream, count: int) -> Group:
    """A group that has that many entries pending with the consumer alice."""
    group = streams_groups.create(engine, stream, b"g", ZERO_ID, 0)
    streams_pending.read_new(engine, stream, group, group.create_consumer(b"alice", NOW_MS), count, False)
    group.save()
    return group


def garbage(engine: Engine) -> list[bytes]:
    return [row for row, _ in engine.rows.scan(GARBAGE_TAG, b"h") if row[1] == GARBAGE_ROWS]


def reclaim(engine: Engine, limit: int = 7) -> int:
    """Let the reclaimer work in small slices until it is done; how many rows it deleted."""
    reclaimer = Reclaimer(engine)
    while not reclaimer.idle:
        reclaimer.step(limit)
        engine.commit()
    return reclaimer.reclaimed_rows


@pytest.fixture
def few_inline() -> Iterator[None]:
    """More than ten rows are left to the reclaimer."""
    with patch.object(streams, "INLINE_ROWS", 10), patch.object(streams_edit, "INLINE_ROWS", 10):
        yield


# ---- many rows at once


@pytest.mark.usefixtures("few_inline")
@pytest.mark.parametrize("maxlen", [0, 1, 40, 99, 100, 101, 250, 349])
def test_a_large_trim_leaves_the_rows_to_the_reclaimer(engine: Engine, maxlen: int) -> None:
    stream = filled(engine, 350)
    engine.commit()
    assert streams_edit.trim(engine, stream, Trim(maxlen)) == 350 - maxlen
    assert bool(garbage(engine)) == (maxlen < 340)
    assert list(check_stream(engine, stream)) == numbered(*range(351 - maxlen, 351))
    engine.commit()
    reclaim(engine)
    assert not garbage(engine)
    assert list(check_stream(engine, stream)) == numbered(*range(351 - maxlen, 351))
    # What is left: the entries, their guard, and a row for each node but the last one.
    rows = list(engine.rows.scan(*object_range(stream.oid)))
    assert len(rows) == maxlen + 1 + max(stream.nodes - 1, 0)


@pytest.mark.usefixtures("few_inline")
def test_rows_waiting_for_the_reclaimer_do_not_come_back_with_their_ids(engine: Engine) -> None:
    stream = filled(engine, 50)
    engine.commit()
    streams_edit.trim(engine, stream, Trim(0))
    streams.set_last_id(engine, stream, ZERO_ID)
    for entry_id in numbered(1, 2, 30):
        streams_edit.append(engine, stream, entry_id, [b"new", b"v"])
    engine.commit()
    reclaim(engine)
    assert check_stream(engine, stream) == {entry_id: [b"new", b"v"] for entry_id in numbered(1, 2, 30)}


@pytest.mark.usefixtures("few_inline")
def test_destroying_a_group_leaves_the_rows_to_the_reclaimer(engine: Engine) -> None:
    stream = filled(engine, 60)
    other = streams_groups.create(engine, stream, b"other", ZERO_ID, 0)
    other.deliver_new(numbered(1, 2), other.create_consumer(b"bob", NOW_MS), NOW_MS)
    other.save()
    group = read(engine, stream, 50)
    engine.commit()
    streams_groups.destroy(engine, stream, group)
    assert garbage(engine)
    # A new group of that name has nothing to do with the rows of the old one.
    streams_groups.create(engine, stream, b"g", ZERO_ID, 0)
    engine.commit()
    reclaim(engine)
    groups = check_groups(engine, stream)
    assert groups[b"g"].pending == {}
    assert groups[b"g"].consumers == set()
    assert list(groups[b"other"].pending) == numbered(1, 2)


@pytest.mark.usefixtures("few_inline")
def test_the_rows_of_a_deleted_stream_are_reclaimed_once(engine: Engine) -> None:
    database = engine.database(0)
    stream = filled(engine, 300)
    database.put(b"s", stream.header(), None)
    engine.commit()
    old = database.get(b"s")
    assert old is not None
    streams_edit.trim(engine, stream, Trim(20))
    database.put(b"s", stream.header(), old)
    new = database.get(b"s")
    assert new is not None
    database.delete(b"s", new)
    engine.commit()
    reclaim(engine, 1000)
    assert not list(engine.rows.scan(*object_range(stream.oid)))
    assert not list(engine.rows.scan(GARBAGE_TAG, b"h"))


# ---- nodes


def listpack_bytes(entries: list[tuple[bytes, list[bytes]]]) -> int:
    """What Redis' listpack of these entries takes, by building it."""
    first_ms, first_seq = streams.unpack_id(entries[0][0])
    names = entries[0][1][::2]
    items = [listpack_int(len(entries)), listpack_int(0), listpack_int(len(names)), *map(listpack_entry, names)]
    items.append(listpack_int(0))
    for entry_id, fields in entries:
        ms, seq = streams.unpack_id(entry_id)
        if fields[::2] == names:
            body = [listpack_int(2), listpack_int(ms - first_ms), listpack_int(seq - first_seq)]
            body += map(listpack_entry, fields[1::2])
        else:
            body = [listpack_int(0), listpack_int(ms - first_ms), listpack_int(seq - first_seq)]
            body += [listpack_int(len(fields) // 2), *map(listpack_entry, fields)]
        items += [*body, listpack_int(len(body))]
    return len(join_listpack(items))


WORDS = st.binary(max_size=70) | st.integers(-(2**63), 2**63 - 1).map(lambda number: b"%d" % number)
FIELDS = st.lists(WORDS, min_size=1, max_size=3).flatmap(
    lambda names: st.lists(WORDS, min_size=len(names), max_size=len(names)).map(
        lambda values: [word for pair in zip(names, values, strict=True) for word in pair]
    )
)
STEPS = st.sampled_from([1, 2, 200, 5000, 2**20, 2**40, 2**64])


@given(st.lists(st.tuples(STEPS, FIELDS, st.booleans()), min_size=1, max_size=6))
def test_the_size_of_a_node_is_that_of_its_listpack(added: list[tuple[int, list[bytes], bool]]) -> None:
    config = Config()
    config.stream_node_max_bytes = 0
    engine = Engine(MemoryStore(), config)
    stream = streams.new(engine)
    entries: list[tuple[bytes, list[bytes]]] = []
    number = 0
    for step, fields, same in added:
        number += step
        fields = entries[0][1][::2] * 2 if same and entries else fields
        fields = [word for name in fields[::2] for word in (name, b"v")] if same else fields
        entries.append((number.to_bytes(16), fields))
        streams_edit.append(engine, stream, *entries[-1])
    assert stream.nodes == 1
    counters = integer_bytes(stream.tail_live) + integer_bytes(0)
    assert stream.tail_bytes + counters == listpack_bytes(entries)


def test_nodes_end_after_so_many_entries(engine: Engine) -> None:
    stream = filled(engine, 250)
    nodes = list(streams_nodes.all_nodes(engine, stream))
    assert [(node.first, node.last, node.live) for node in nodes] == [
        (pack_id(1, 0), pack_id(100, 0), 100),
        (pack_id(101, 0), pack_id(200, 0), 100),
        (pack_id(201, 0), pack_id(250, 0), 50),
    ]


def test_nodes_end_after_so_many_bytes(engine: Engine) -> None:
    stream = streams.new(engine)
    for number in range(1, 4):
        streams_edit.append(engine, stream, pack_id(number, 0), [b"f", b"x" * 2000])
    assert [node.live for node in streams_nodes.all_nodes(engine, stream)] == [2, 1]


def test_the_first_node_becomes_the_last_one_again(engine: Engine) -> None:
    stream = filled(engine, 105)
    streams_edit.delete(engine, stream, numbered(1, 2, 3, 50))
    streams_edit.delete(engine, stream, numbered(*range(101, 106)))
    assert (stream.nodes, stream.tail_live, stream.tail_deleted) == (1, 96, 4)
    check_stream(engine, stream)
    streams_edit.append(engine, stream, pack_id(200, 0), [b"f", b"v"])
    # The node is full: entries that were deleted count too.
    assert [node.live for node in streams_nodes.all_nodes(engine, stream)] == [96, 1]


def test_approximate_trimming_removes_whole_nodes(engine: Engine) -> None:
    stream = filled(engine, 350)
    assert streams_edit.trim(engine, stream, Trim(255, approximate=True)) == 0
    assert streams_edit.trim(engine, stream, Trim(250, approximate=True)) == 100
    assert streams_edit.trim(engine, stream, Trim(0, approximate=True, limit=199)) == 100
    assert streams_edit.trim(engine, stream, Trim(minid=pack_id(301, 0), approximate=True)) == 100
    assert list(check_stream(engine, stream)) == numbered(*range(301, 351))


def test_a_trimmed_node_may_stay_empty(engine: Engine) -> None:
    stream = filled(engine, 5)
    streams_edit.delete(engine, stream, numbered(5))
    assert streams_edit.trim(engine, stream, Trim(minid=pack_id(5, 0))) == 4
    assert (stream.length, stream.nodes, stream.first) == (0, 1, ZERO_ID)
    streams_edit.append(engine, stream, pack_id(9, 0), [b"f", b"v"])
    assert stream.nodes == 1
    assert list(check_stream(engine, stream)) == numbered(9)


def test_trimming_keeps_references_to_what_was_deleted_before(engine: Engine) -> None:
    stream = filled(engine, 9)
    read(engine, stream, 6)
    streams_edit.delete(engine, stream, numbered(2))
    assert streams_edit.trim(engine, stream, Trim(4, policy=DELREF)) == 4
    assert list(check_groups(engine, stream)[b"g"].pending) == numbered(2, 6)


# ---- what is kept in memory


@pytest.mark.parametrize("order", [(1, 2, 3, 4, 5), (1, 3, 2, 5, 4), (5, 4, 3, 2, 1), (2, 1, 4, 3, 5)])
def test_the_lowest_pending_entry_is_known_whatever_the_order_of_acknowledgement(
    engine: Engine, order: tuple[int, ...]
) -> None:
    stream = filled(engine, 100)
    group = read(engine, stream, 80)
    for number in order:
        streams_pending.acknowledge(group, numbered(number))
        check_groups(engine, stream)
    assert group.lowest == pack_id(6, 0)


def test_an_entry_that_becomes_pending_again_is_not_passed_over(engine: Engine) -> None:
    stream = filled(engine, 100)
    group = read(engine, stream, 80)
    streams_pending.acknowledge(group, numbered(1, 20, 21))
    consumer = group.create_consumer(b"bob", NOW_MS)
    streams_pending.claim(engine, stream, group, consumer, numbered(20), Claim(0, NOW_MS, force=True))
    streams_pending.acknowledge(group, numbered(2))
    check_groups(engine, stream)
    group.last = pack_id(20, 0)
    streams_pending.read_new(engine, stream, group, consumer, 1, False)
    group.save()
    check_groups(engine, stream)
    streams_pending.acknowledge(group, numbered(*range(3, 20)))
    assert group.lowest == pack_id(20, 0)
    streams_pending.acknowledge(group, numbered(20))
    assert group.lowest == pack_id(21, 0)


def test_a_rollback_brings_back_what_follows(engine: Engine) -> None:
    stream = filled(engine, 100)
    header = stream.header()
    read(engine, stream, 50)
    engine.commit()
    streams_edit.trim(engine, stream, Trim(98))
    streams_edit.delete(engine, stream, numbered(5))
    engine.rollback(0)
    stream = Stream(header)
    stream.groups = stream.next_group = 1
    check_stream(engine, stream)
    streams_edit.trim(engine, stream, Trim(95))
    assert list(check_stream(engine, stream)) == numbered(*range(6, 101))


def test_mirrors_are_few(engine: Engine) -> None:
    stream = filled(engine, 3)
    with patch.object(streams, "_MOST_MIRRORS", 5):
        for _ in range(20):
            other = filled(engine, 3)
            streams_edit.delete(engine, other, numbered(1))
            assert len(engine.mirrors) <= 5 + 2
    streams_edit.delete(engine, stream, numbered(1))
    assert list(check_stream(engine, stream)) == numbered(2, 3)


def test_the_last_possible_id(engine: Engine) -> None:
    stream = filled(engine, 2)
    streams_edit.append(engine, stream, MAX_ID, [b"f", b"v"])
    group = read(engine, stream, 0)
    assert group.last == MAX_ID
    assert list(check_groups(engine, stream)[b"g"].pending) == [*numbered(1, 2), MAX_ID]
    assert streams.last_entry_id(engine, stream) == MAX_ID
    assert streams_edit.delete(engine, stream, numbered(1, 2)) == 2
    assert streams_edit.trim(engine, stream, Trim(0)) == 1
    assert check_stream(engine, stream) == {}
    streams_pending.acknowledge(group, [MAX_ID])
    assert group.pending == 2
