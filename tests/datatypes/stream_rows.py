"""Reads all rows of a stream and checks that they agree with each other and with its header."""

from __future__ import annotations

from dataclasses import dataclass, field

from diskkv.codec.keys import (
    KIND_STREAM_CONSUMER,
    KIND_STREAM_CONSUMER_PENDING,
    KIND_STREAM_CONSUMER_STATE,
    KIND_STREAM_GROUP,
    KIND_STREAM_GROUP_PENDING,
    KIND_STREAM_GROUP_STATE,
    KIND_STREAM_NODE,
    U32,
    object_range,
)
from diskkv.datatypes import streams, streams_groups, streams_nodes
from diskkv.datatypes.streams import ENTRY_AT, MAX_ID, ZERO_ID, Stream, unpack_fields
from diskkv.engine.engine import Engine

_KIND_AT = 9
_SUB_AT = 10
_GUARD_BYTES = 17


@dataclass
class GroupContent:
    """A group: what is pending, as ID -> (consumer, deliveries), and the names of its consumers."""

    last: bytes
    pending: dict[bytes, tuple[bytes, int]] = field(default_factory=dict)
    consumers: set[bytes] = field(default_factory=set)


def rows_of(engine: Engine, stream: Stream, kind: int) -> dict[bytes, bytes]:
    """All rows of one kind, by `sub`."""
    found = engine.rows.scan(*object_range(stream.oid))
    return {row[_SUB_AT:]: raw for row, raw in found if row[_KIND_AT] == kind}


def check_stream(engine: Engine, stream: Stream) -> dict[bytes, list[bytes]]:
    """The entries, after checking header, entries and nodes against each other."""
    entries = {row[ENTRY_AT:]: unpack_fields(raw) for row, raw in streams.scan(engine, stream, ZERO_ID, MAX_ID)}
    assert len(entries) == stream.length
    assert stream.first == min(entries, default=ZERO_ID)
    assert engine.rows.get(streams.guard_row(stream)) == b""
    nodes = list(streams_nodes.all_nodes(engine, stream))
    assert len(nodes) == stream.nodes
    borders = [node.first for node in nodes] + [MAX_ID]
    for node, border in zip(nodes, borders[1:], strict=True):
        inside = [entry_id for entry_id in entries if node.first <= entry_id < border]
        assert node.live == len(inside)
        assert node.first <= node.last < border or node.last == MAX_ID
        assert not inside or inside[-1] <= node.last
    if nodes:
        assert nodes[-1].first == stream.tail
        assert not entries or stream.first >= nodes[0].first
    # Rows below the first node wait for the reclaimer.
    subs = [sub for sub in rows_of(engine, stream, KIND_STREAM_NODE) if sub >= U32.pack(stream.epoch) + borders[0]]
    assert sorted(sub[4:] for sub in subs) == borders[: max(stream.nodes - 1, 0)]
    mirror = engine.mirrors.get(stream.oid)
    if mirror is not None:
        ahead = list(mirror.entries)
        assert ahead == sorted(entries)[1 : 1 + len(ahead)]
        for position, unread in mirror.unread.values():
            following = [entry_id for entry_id in sorted(entries) if entry_id > position]
            ahead = [entry_id for entry_id, _ in unread]
            # What was trimmed away meanwhile is noticed when it is asked for.
            assert ahead[0] < stream.first or not entries or ahead == following[: len(ahead)]
    return entries


def check_groups(engine: Engine, stream: Stream) -> dict[bytes, GroupContent]:
    """The groups by name, after checking the rows of groups, consumers and pending entries against each other."""
    groups = streams_groups.all_groups(engine, stream)
    assert len(groups) == stream.groups == len(rows_of(engine, stream, KIND_STREAM_GROUP))
    assert len(rows_of(engine, stream, KIND_STREAM_GROUP_STATE)) == stream.groups
    names = rows_of(engine, stream, KIND_STREAM_CONSUMER)
    states = rows_of(engine, stream, KIND_STREAM_CONSUMER_STATE)
    owned = rows_of(engine, stream, KIND_STREAM_CONSUMER_PENDING)
    pending = {sub for sub in rows_of(engine, stream, KIND_STREAM_GROUP_PENDING) if len(sub) != 4 + _GUARD_BYTES}
    assert len(names) == len(states) == sum(group.consumers for group in groups)
    assert len(owned) == len(pending) == sum(group.pending for group in groups)
    return {group.name: _check_group(engine, stream, group, owned) for group in groups}


def _check_group(
    engine: Engine, stream: Stream, group: streams_groups.Group, owned: dict[bytes, bytes]
) -> GroupContent:
    assert group.number < stream.next_group
    assert engine.rows.get(group.pending_prefix + MAX_ID + b"\xff") == b""
    content = GroupContent(group.last)
    counts: dict[bytes, int] = {}
    for item in group.scan_pending(ZERO_ID, MAX_ID):
        consumer = group.consumer_by_number(item.consumer)
        assert U32.pack(group.number) + U32.pack(consumer.number) + item.id in owned
        content.pending[item.id] = (consumer.name, item.deliveries)
        counts[consumer.name] = counts.get(consumer.name, 0) + 1
    assert len(content.pending) == group.pending
    assert group.lowest == min(content.pending, default=MAX_ID)
    if content.pending:
        assert group.highest >= max(content.pending)
        assert group.highest_pending() == max(content.pending)
    for consumer in group.all_consumers():
        content.consumers.add(consumer.name)
        assert consumer.pending == counts.get(consumer.name, 0)
        assert [item.id for item in group.scan_pending_of(consumer, ZERO_ID, MAX_ID)] == [
            entry_id for entry_id, (name, _) in content.pending.items() if name == consumer.name
        ]
    mirror = engine.mirrors.get(stream.oid)
    if mirror is not None and group.number in mirror.pending:
        ahead = list(mirror.pending[group.number])
        assert ahead == sorted(content.pending)[1 : 1 + len(ahead)]
    return content
