"""Adding, deleting and trimming entries, and what becomes of the groups' references to them.

A deleted entry may still be pending in consumer groups. KEEPREF leaves it there, DELREF takes it out of the pending
lists of all groups, ACKED only deletes what every group has read and acknowledged.

Source: https://redis.io/docs/latest/commands/xtrim/, /xdelex/, /xackdel/
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from diskkv.datatypes import streams, streams_groups, streams_nodes
from diskkv.datatypes.streams import ENTRY_AT, ID_BYTES, INLINE_ROWS, ZERO_ID, Stream, node_prefix
from diskkv.datatypes.streams_groups import Group
from diskkv.engine.engine import Engine

KEEPREF = 0
DELREF = 1
ACKED = 2

_FEW = 16
"""So many entries are trimmed one after the other, without a scan."""

DELETED = 1
NOT_FOUND = -1
STILL_REFERENCED = 2


@dataclass(frozen=True, slots=True)
class Trim:
    """What to trim: down to `maxlen` entries, or, when that is None, all entries with an ID below `minid`.

    `approximate`: whole nodes only, and at most `limit` entries (0: no limit).
    """

    maxlen: int | None = None
    minid: bytes = ZERO_ID
    approximate: bool = False
    limit: int = 0
    policy: int = KEEPREF


def append(engine: Engine, stream: Stream, entry_id: bytes, fields: Sequence[bytes]) -> None:
    """Add an entry; its ID is greater than the last one. `fields` alternates names and values."""
    engine.rows.put(stream.prefix + entry_id, streams.pack_fields(fields))
    streams_nodes.add(engine, stream, entry_id, fields)
    if not stream.length:
        stream.first = entry_id
    stream.length += 1
    stream.added += 1
    stream.last = entry_id


# ---- deleting by ID


def delete(engine: Engine, stream: Stream, ids: Sequence[bytes]) -> int:
    """Delete entries by their IDs; answers how many were there. The last ID stays."""
    before = stream.length
    for entry_id in ids:
        _delete_one(engine, stream, entry_id)
    return before - stream.length


def delete_with(engine: Engine, stream: Stream, ids: Sequence[bytes], policy: int) -> list[int]:
    """Delete entries by their IDs; for each one DELETED, NOT_FOUND or (ACKED) STILL_REFERENCED."""
    groups = [] if policy == KEEPREF else streams_groups.all_groups(engine, stream)
    results = [_delete_with(engine, stream, groups, entry_id, policy) for entry_id in ids]
    for group in groups:
        group.save()
    return results


def acknowledge_and_delete(
    engine: Engine, stream: Stream, group: Group, ids: Sequence[bytes], policy: int
) -> list[int]:
    """Acknowledge entries and delete them; results as of `delete_with`, NOT_FOUND for what was not pending."""
    groups = [] if policy == KEEPREF else streams_groups.all_groups(engine, stream)
    groups = [group if other.name == group.name else other for other in groups] or [group]
    results = []
    for entry_id in ids:
        pending = group.get_pending(entry_id)
        if pending is None:
            results.append(NOT_FOUND)
            continue
        group.release(pending)
        result = _delete_with(engine, stream, groups, entry_id, policy)
        results.append(STILL_REFERENCED if result == STILL_REFERENCED else DELETED)
    for changed in groups:
        changed.save()
    return results


def _delete_with(engine: Engine, stream: Stream, groups: list[Group], entry_id: bytes, policy: int) -> int:
    if policy == ACKED and _is_referenced(groups, entry_id):
        return STILL_REFERENCED
    if policy == DELREF:
        _drop_references(groups, entry_id)
    return DELETED if _delete_one(engine, stream, entry_id) else NOT_FOUND


def _delete_one(engine: Engine, stream: Stream, entry_id: bytes) -> bool:
    """Delete an entry if it is there."""
    if streams.get(engine, stream, entry_id) is None:
        return False
    engine.rows.delete(stream.prefix + entry_id)
    streams_nodes.remove(engine, stream, entry_id)
    stream.length -= 1
    stream.max_deleted = max(stream.max_deleted, entry_id)
    if not stream.length:
        stream.first = ZERO_ID
        streams.forget_following(engine, stream)
    elif entry_id == stream.first:
        stream.first = streams.following(engine, stream)
    else:
        streams.forget_following(engine, stream, entry_id)
    return True


def _settle_first(engine: Engine, stream: Stream) -> None:
    """Find the first entry after a part of the stream before it was deleted."""
    streams.forget_following(engine, stream)
    stream.first = streams_nodes.find_first(engine, stream, stream.first) if stream.length else ZERO_ID


def _is_referenced(groups: list[Group], entry_id: bytes) -> bool:
    """Whether a group has not read an entry yet, or not acknowledged it."""
    return any(entry_id > group.last or group.get_pending(entry_id) is not None for group in groups)


def _drop_references(groups: list[Group], entry_id: bytes) -> None:
    for group in groups:
        pending = group.get_pending(entry_id)
        if pending is not None:
            group.release(pending)


# ---- trimming


def trim(engine: Engine, stream: Stream, how: Trim) -> int:
    """Delete entries from the start; answers how many. Neither the last ID nor `max_deleted` changes."""
    if not stream.nodes:
        return 0
    if how.maxlen is not None:
        surplus = stream.length - how.maxlen
        if surplus <= 0:
            return 0
        live = stream.tail_live if stream.nodes == 1 else stream.head_live
        if surplus < live and how.policy == KEEPREF:
            # Not even the first node goes as a whole: what a trim finds after each XADD.
            if how.approximate:
                return 0
            if surplus <= _FEW:
                return _trim_few(engine, stream, surplus)
    if how.policy == ACKED:
        return 0 if how.approximate else _trim_acknowledged(engine, stream, how)
    if how.policy == DELREF:
        # As in Redis, only a trim that looks at every entry can look after the references to them.
        if how.approximate:
            return 0
        _drop_references_below(engine, stream, _cut(engine, stream, how))
    before = stream.length
    _drop_nodes(engine, stream, how)
    if not how.approximate:
        _trim_first_node(engine, stream, how)
    return before - stream.length


def _trim_few(engine: Engine, stream: Stream, count: int) -> int:
    """Delete so many entries of the first node, which has more than that, without a scan."""
    for _ in range(count):
        engine.rows.delete(stream.prefix + stream.first)
        stream.length -= 1
        stream.first = streams.following(engine, stream)
    if stream.nodes == 1:
        stream.tail_live -= count
        stream.tail_deleted += count
    else:
        stream.head_live -= count
        stream.head_deleted += count
    return count


def _drop_nodes(engine: Engine, stream: Stream, how: Trim) -> None:
    """Remove the nodes that lie in the range as a whole."""
    left = stream.length
    gone = 0
    keep = streams_nodes.head(stream)
    if not _is_covered(keep, left, how) or (how.limit and keep.live > how.limit):
        return
    deleted = 0
    for node in streams_nodes.all_nodes(engine, stream):
        keep = node
        if not _is_covered(node, left, how) or (how.limit and deleted + node.live > how.limit):
            break
        deleted += node.live
        left -= node.live
        gone += 1
    stop = next_row(keep.last) if gone == stream.nodes else keep.first
    prefix = node_prefix(stream)
    streams.drop_rows(engine, prefix + stream.head, prefix + stop, gone)
    streams_nodes.set_head(stream, keep)
    streams.drop_rows(engine, stream.prefix + stream.first, stream.prefix + stop, deleted)
    stream.nodes -= gone
    stream.length = left
    stream.first = keep.first
    _settle_first(engine, stream)


def next_row(entry_id: bytes) -> bytes:
    """What sorts right behind an ID."""
    return entry_id + b"\x00"


def _is_covered(node: streams_nodes.Node, left: int, how: Trim) -> bool:
    if how.maxlen is None:
        return node.last < how.minid
    return left > how.maxlen and left - node.live >= how.maxlen


def _trim_first_node(engine: Engine, stream: Stream, how: Trim) -> None:
    """Delete what is left to trim from the first node, which is not covered as a whole."""
    surplus = None if how.maxlen is None else stream.length - how.maxlen
    if not stream.length or surplus == 0 or (surplus is None and stream.first >= how.minid):
        return
    node = streams_nodes.head(stream)
    start = stream.prefix + max(stream.first, node.first)
    stop = stream.prefix + next_row(node.last)
    doomed: list[bytes] = []
    count = 0
    for row, _ in engine.rows.scan(start, stop):
        if count == surplus or (surplus is None and row[ENTRY_AT:] >= how.minid):
            stop = row
            break
        count += 1
        if count <= INLINE_ROWS:
            doomed.append(row)
    if count > INLINE_ROWS:
        streams.drop_rows(engine, start, stop, count)
    else:
        for row in doomed:
            engine.rows.delete(row)
    streams_nodes.shrink(engine, stream, node, count)
    stream.length -= count
    stream.first = stop[ENTRY_AT : ENTRY_AT + ID_BYTES]
    _settle_first(engine, stream)


def _cut(engine: Engine, stream: Stream, how: Trim) -> bytes:
    """The ID below which an exact trim deletes everything."""
    if how.maxlen is None:
        return how.minid
    left = stream.length
    for node in streams_nodes.all_nodes(engine, stream):
        if left - node.live < how.maxlen:
            surplus = left - how.maxlen
            ids = streams.scan(engine, stream, node.first, node.last)
            return next(row[ENTRY_AT:] for index, (row, _) in enumerate(ids) if index == surplus)
        left -= node.live
        if left == how.maxlen:
            return next_row(node.last)
    return next_row(stream.last)


def _drop_references_below(engine: Engine, stream: Stream, cut: bytes) -> None:
    """Take the existing entries below an ID out of the pending lists; those deleted before stay there, as in Redis."""
    for group in streams_groups.all_groups(engine, stream):
        before = group.pending
        for pending in list(group.scan_pending(stream.first, cut)):
            if pending.id < cut and streams.get(engine, stream, pending.id) is not None:
                group.release(pending)
        if group.pending != before:
            group.save()


def _trim_acknowledged(engine: Engine, stream: Stream, how: Trim) -> int:
    """Delete what every group has read and acknowledged.

    As in Redis, that goes on node by node as long as the whole node could go, and ends with the first that could not.
    """
    groups = streams_groups.all_groups(engine, stream)
    end = min((group.last for group in groups), default=stream.last)
    before = stream.length
    for node in streams_nodes.all_nodes(engine, stream):
        if node.first > end or (how.maxlen is not None and stream.length <= how.maxlen):
            break
        is_covered = _is_covered(node, stream.length, how)
        gone = _trim_acknowledged_of(engine, stream, groups, how, node, end)
        if gone and gone == node.live and is_covered:
            streams_nodes.drop(engine, stream, node)
        elif gone:
            streams_nodes.shrink(engine, stream, node, gone)
        if not is_covered:
            break
    _settle_first(engine, stream)
    return before - stream.length


def _trim_acknowledged_of(
    engine: Engine, stream: Stream, groups: list[Group], how: Trim, node: streams_nodes.Node, end: bytes
) -> int:
    """Delete such entries of one node; answers how many. The node's counters are left to the caller."""
    gone = 0
    for row, _ in streams.scan(engine, stream, node.first, min(node.last, end)):
        entry_id = row[ENTRY_AT:]
        if (stream.length <= how.maxlen) if how.maxlen is not None else (entry_id >= how.minid):
            break
        if not _is_referenced(groups, entry_id):
            engine.rows.delete(row)
            stream.length -= 1
            gone += 1
    return gone
