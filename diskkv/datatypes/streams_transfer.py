"""Whole streams: what OBJECT, DUMP, RESTORE, COPY and MEMORY need (operations.TypeOperations)."""

from __future__ import annotations

import sys
from itertools import islice

from diskkv.codec.header import STREAM, Header, Value
from diskkv.codec.keys import object_range
from diskkv.codec.rdb_values import (
    RdbValue,
    StreamConsumer,
    StreamEntry,
    StreamGroup,
    StreamPending,
    StreamValue,
)
from diskkv.datatypes import operations, streams, streams_edit, streams_groups
from diskkv.datatypes.streams import MAX_ID, ZERO_ID, Stream, pack_id, unpack_fields, unpack_id
from diskkv.datatypes.streams_groups import Group, Pending
from diskkv.engine.bulk import Bulk
from diskkv.engine.engine import Engine


def encoding(engine: Engine, value: Value) -> bytes:
    """Always stream."""
    return b"stream"


# ---- DUMP


def export(engine: Engine, value: Value) -> RdbValue:
    """The whole stream with its groups."""
    assert isinstance(value, Header)
    stream = Stream(value)
    entries = [
        StreamEntry(unpack_id(entry_id), unpack_fields(raw))
        for entry_id, raw in streams.read_range(engine, stream, ZERO_ID, MAX_ID)
    ]
    rest = export_rest(engine, value)
    return StreamValue(entries, rest.last_id, rest.max_deleted_id, rest.entries_added, rest.groups)


def export_rest(engine: Engine, value: Header) -> StreamValue:
    """All of a stream but its entries."""
    stream = Stream(value)
    groups = [_export_group(group) for group in streams_groups.all_groups(engine, stream)]
    return StreamValue([], unpack_id(stream.last), unpack_id(stream.max_deleted), stream.added, groups)


def _export_group(group: Group) -> StreamGroup:
    owned: dict[int, list[tuple[int, int]]] = {}
    pending = []
    for item in group.scan_pending(ZERO_ID, MAX_ID):
        entry_id = unpack_id(item.id)
        pending.append(StreamPending(entry_id, item.delivered_ms, item.deliveries))
        owned.setdefault(item.consumer, []).append(entry_id)
    consumers = [
        StreamConsumer(consumer.name, consumer.seen_ms, consumer.active_ms, owned.get(consumer.number, []))
        for consumer in group.all_consumers()
    ]
    return StreamGroup(group.name, unpack_id(group.last), group.read, pending, consumers)


# ---- RESTORE


def load(engine: Engine, value: RdbValue, expire_ms: int) -> Value:
    """A new stream."""
    assert isinstance(value, StreamValue)
    stream = streams.new(engine, expire_ms)
    _append(engine, stream, value)
    _finish(engine, stream, value)
    return stream.header()


def extend(engine: Engine, header: Header, value: StreamValue, is_last: bool) -> Header:
    """The stream with more entries and, when this is the last piece of it, all the rest."""
    stream = Stream(header)
    _append(engine, stream, value)
    if is_last:
        _finish(engine, stream, value)
    return stream.header()


def _append(engine: Engine, stream: Stream, value: StreamValue) -> None:
    for entry in value.entries:
        streams_edit.append(engine, stream, pack_id(*entry.id), entry.fields)


def _finish(engine: Engine, stream: Stream, value: StreamValue) -> None:
    stream.last = pack_id(*value.last_id)
    stream.max_deleted = pack_id(*value.max_deleted_id)
    stream.added = value.entries_added
    for group in value.groups:
        _load_group(engine, stream, group)


def _load_group(engine: Engine, stream: Stream, value: StreamGroup) -> None:
    group = streams_groups.create(engine, stream, value.name, pack_id(*value.last_id), value.entries_read)
    details = {item.id: item for item in value.pending}
    for consumer in value.consumers:
        made = group.create_consumer(consumer.name, consumer.seen_time_ms)
        made.active_ms = consumer.active_time_ms
        for entry_id in consumer.pending:
            item = details[entry_id]
            pending = Pending(pack_id(*entry_id), made.number, item.delivery_time_ms, item.delivery_count)
            group.assign(pending, made, True)
    group.save()


# ---- COPY


def copy(engine: Engine, value: Value) -> Value:
    """An independent stream of the same content and time to live."""
    assert isinstance(value, Header)
    source = Stream(value)
    oid = engine.new_oid()
    bulk = Bulk(engine, oid)
    nodes = streams.node_prefix(source)
    guard = streams.guard_row(source)
    ranges = [
        (source.prefix + source.first, source.prefix + MAX_ID + b"\x00", source.length),
        (guard, guard + b"\x00", 1),
        (nodes + source.head, nodes + source.tail, max(source.nodes - 1, 0)),
    ]
    for group in streams_groups.all_groups(engine, source):
        ranges += group.row_ranges()
    size = len(object_range(oid)[0])
    target = object_range(oid)[0]
    for start, stop, count in ranges:
        for row, raw in islice(engine.rows.scan(start, stop), count):
            bulk.put(target + row[size:], raw)
    bulk.finish()
    return Header(STREAM, None, value.expire_ms, oid, value.count, value.ext)


# ---- MEMORY USAGE


def memory_bytes(engine: Engine, value: Value, samples: int) -> int:
    """About what it takes on disk; of the entries, `samples` are looked at."""
    assert isinstance(value, Header)
    stream = Stream(value)
    limit = samples or stream.length
    total = seen = 0
    for row, raw in streams.scan(engine, stream, ZERO_ID, MAX_ID):
        total += len(row) + len(raw)
        seen += 1
        if seen >= limit:
            break
    size = total * stream.length // max(seen, 1) + stream.nodes * _NODE_ROW_BYTES
    for group in streams_groups.all_groups(engine, stream):
        size += len(group.name) + _GROUP_ROW_BYTES
        size += group.pending * _PENDING_ROWS_BYTES + group.consumers * _CONSUMER_ROW_BYTES
    return size


_NODE_ROW_BYTES = 70
_GROUP_ROW_BYTES = 90
_CONSUMER_ROW_BYTES = 60
_PENDING_ROWS_BYTES = 90

operations.register(STREAM, StreamValue, sys.modules[__name__])
