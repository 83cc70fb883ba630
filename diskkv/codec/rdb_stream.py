"""Streams in RDB.

    stream   := node_count (id:16 listpack)* length last_id [first_id max_deleted_id entries_added] group_count group*
    group    := name last_id [entries_read] pel_size (id:16 time_ms:i64le delivery_count)* consumer_count consumer*
    consumer := name seen_ms:i64le [active_ms:i64le] pel_size id:16*

Counts and both halves of an ID are lengths, only `id:16` is two u64be. The parts in brackets come with the second
stream type (Redis 7.0), active_ms with the third (Redis 7.2). A node's listpack holds entries as differences
from the node's ID (the master ID):

    node   := live deleted field_count field* 0 entry*
    entry  := flags ms_diff seq_diff [value*  |  field_count (field value)*] element_count
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator

from diskkv.codec import rdb_const as rdb
from diskkv.codec.rdb_packed import decode_listpack, join_listpack, listpack_entry, listpack_int
from diskkv.codec.rdb_source import RdbSource
from diskkv.codec.rdb_strings import encode_length, encode_raw_string
from diskkv.codec.rdb_values import (
    RdbDataError,
    RdbUnsupportedError,
    StreamConsumer,
    StreamEntry,
    StreamGroup,
    StreamId,
    StreamPending,
    StreamValue,
)

# Redis' defaults for stream-node-max-bytes and stream-node-max-entries.
NODE_BYTES = 4096
NODE_ENTRIES = 100

_MASK64 = (1 << 64) - 1
_ID = struct.Struct(">QQ")
_pack_int64 = struct.Struct("<q").pack

# --- reading


def read_stream(source: RdbSource, generation: int) -> StreamValue:
    """A stream of the first, second or third stream type."""
    ((stream, _),) = read_stream_pieces(source, generation, 1 << 64)
    return stream


def read_stream_pieces(source: RdbSource, generation: int, max_entries: int) -> Iterator[tuple[StreamValue, bool]]:
    """(piece, is_last): pieces of some more than `max_entries` entries, of which only the last one has all the rest."""
    entries: list[StreamEntry] = []
    node_count = source.length()
    source.check_count(node_count, 18)
    previous: StreamId = (-1, -1)
    first_id: StreamId | None = None
    length = 0
    for _ in range(node_count):
        if len(entries) > max_entries:
            yield StreamValue(entries, previous, entries_added=length), False
            entries = []
        key = source.string()
        if len(key) != 16:
            raise RdbDataError("stream node without an ID")
        before = len(entries)
        previous = _read_node(decode_listpack(source.string()), _ID.unpack(key), entries, previous)
        length += len(entries) - before
        if first_id is None and entries:
            first_id = entries[0].id
    if source.length() != length:
        raise RdbDataError("stream has another length than it says")
    last_id = _read_id(source)
    if previous > last_id:
        raise RdbDataError("stream entry above the last ID")
    max_deleted_id, entries_added = (0, 0), length
    if generation >= 2:
        _read_id(source)  # the first ID: the entries tell it too
        max_deleted_id = _read_id(source)
        entries_added = source.length()
    stream = StreamValue(entries, last_id, max_deleted_id, entries_added)
    group_count = source.length()
    source.check_count(group_count, 5)
    for _ in range(group_count):
        stream.groups.append(_read_group(source, generation, stream, first_id))
    if len({group.name for group in stream.groups}) != group_count:
        raise RdbDataError("a consumer group is there twice")
    yield stream, True


def _read_id(source: RdbSource) -> StreamId:
    return source.length(), source.length()


def _read_raw_id(source: RdbSource) -> StreamId:
    ms, seq = _ID.unpack(source.take(16))
    return ms, seq


def _read_node(elements: list[bytes], master: StreamId, out: list[StreamEntry], previous: StreamId) -> StreamId:
    """Append a node's live entries to `out`; the greatest ID so far, deleted ones included."""
    master_ms, master_seq = master
    before = len(out)
    seen = 0
    try:
        live, deleted, master_count = int(elements[0]), int(elements[1]), int(elements[2])
        at = 3 + master_count
        if master_count < 0 or elements[at] != b"0":
            raise RdbDataError("stream node has no proper head")
        master_fields = elements[3:at]
        at += 1
        end = len(elements)
        while at < end:
            flags = int(elements[at])
            entry_id = ((master_ms + int(elements[at + 1])) & _MASK64, (master_seq + int(elements[at + 2])) & _MASK64)
            at += 3
            if flags & rdb.STREAM_ENTRY_SAME_FIELDS:
                count = master_count
                fields = [b""] * (2 * count)
                fields[::2] = master_fields
                fields[1::2] = elements[at : at + count]
                at += count
                element_count = count + 3
            else:
                count = int(elements[at])
                at += 1
                fields = elements[at : at + 2 * count]
                at += 2 * count
                element_count = 2 * count + 4
            if count < 0 or int(elements[at]) != element_count or entry_id <= previous:
                raise RdbDataError("stream entry is damaged or out of order")
            at += 1
            previous = entry_id
            seen += 1
            if not flags & rdb.STREAM_ENTRY_DELETED:
                out.append(StreamEntry(entry_id, fields))
    except (IndexError, ValueError):
        raise RdbDataError("stream node is damaged") from None
    if live != len(out) - before or deleted != seen - live:
        raise RdbDataError("stream node has another number of entries than it says")
    return previous


def _read_group(source: RdbSource, generation: int, stream: StreamValue, first_id: StreamId | None) -> StreamGroup:
    name = source.string()
    last_id = _read_id(source)
    if generation >= 2:
        entries_read = source.length()
        if entries_read >= 1 << 63:
            entries_read -= 1 << 64
    else:
        entries_read = _estimate_entries_read(stream, first_id, last_id)
    pending: dict[StreamId, StreamPending] = {}
    pending_count = source.length()
    source.check_count(pending_count, 25)
    for _ in range(pending_count):
        entry_id = _read_raw_id(source)
        time_ms = source.int64()
        pending[entry_id] = StreamPending(entry_id, time_ms, source.length())
    if len(pending) != pending_count:
        raise RdbDataError("a pending entry is there twice")
    consumers = _read_consumers(source, generation, set(pending))
    in_order = [pending[entry_id] for entry_id in sorted(pending)]
    return StreamGroup(name, last_id, entries_read, in_order, consumers)


def _read_consumers(source: RdbSource, generation: int, unowned: set[StreamId]) -> list[StreamConsumer]:
    consumers = []
    count = source.length()
    source.check_count(count, 10)
    for _ in range(count):
        name = source.string()
        seen_ms = source.int64()
        active_ms = source.int64() if generation >= 3 else seen_ms
        owned_count = source.length()
        source.check_count(owned_count, 16)
        owned = []
        for _ in range(owned_count):
            entry_id = _read_raw_id(source)
            if entry_id not in unowned:
                raise RdbDataError("a consumer's pending entry is not its group's")
            unowned.remove(entry_id)
            owned.append(entry_id)
        consumers.append(StreamConsumer(name, seen_ms, active_ms, sorted(owned)))
    if unowned:
        raise RdbDataError("a pending entry without a consumer")
    if len({consumer.name for consumer in consumers}) != count:
        raise RdbDataError("a consumer is there twice")
    return consumers


def _estimate_entries_read(stream: StreamValue, first_id: StreamId | None, group_id: StreamId) -> int:
    """What Redis makes of a group from before it counted: exact at the stream's two ends, else not known (-1)."""
    if first_id is None:
        return 0
    if group_id == stream.last_id:
        return stream.entries_added
    if group_id < first_id:
        return 0
    return 1 if group_id == first_id else -1


# --- writing


def encode_stream(value: StreamValue, version: int) -> tuple[int, bytes]:
    """The type number and bytes. Raises RdbUnsupportedError below RDB version 9 (Redis 5)."""
    type_number, generation = _type_of(version)
    nodes = list(_encode_nodes(value.entries))
    tail = _encode_tail(value, len(value.entries), value.first_id, generation)
    return type_number, b"".join([encode_length(len(nodes)), *nodes, tail])


def encode_stream_pieces(
    value: StreamValue, length: int, entries: Callable[[], Iterable[StreamEntry]], version: int
) -> tuple[int, Iterator[bytes]]:
    """As `encode_stream`, for a stream that does not fit in memory.

    `value` has everything but the entries, of which it needs only the first one; `entries` begins a pass over all
    `length` of them, and is called twice. The bytes come in pieces; b"" stands for work that has no result yet.
    """
    type_number, generation = _type_of(version)

    def pieces() -> Iterator[bytes]:
        count = 0
        for _ in _encode_nodes(entries()):
            count += 1
            yield b""
        yield encode_length(count)
        yield from _encode_nodes(entries())
        yield _encode_tail(value, length, value.first_id, generation)

    return type_number, pieces()


def _type_of(version: int) -> tuple[int, int]:
    """(type number, generation) of streams in an RDB version."""
    if version < rdb.STREAM_VERSION:
        raise RdbUnsupportedError(f"RDB version {version} has no streams")
    if version >= rdb.LOSSLESS_VERSION:
        return rdb.STREAM_LISTPACKS_3, 3
    return (rdb.STREAM_LISTPACKS_2, 2) if version >= rdb.LISTPACK_VERSION else (rdb.STREAM_LISTPACKS, 1)


def _encode_tail(value: StreamValue, length: int, first_id: StreamId, generation: int) -> bytes:
    """What follows the nodes."""
    parts = [encode_length(length), _id(value.last_id)]
    if generation >= 2:
        parts += [_id(first_id), _id(value.max_deleted_id), encode_length(value.entries_added)]
    parts.append(encode_length(len(value.groups)))
    parts += [_encode_group(group, generation) for group in value.groups]
    return b"".join(parts)


def _id(entry_id: StreamId) -> bytes:
    return encode_length(entry_id[0]) + encode_length(entry_id[1])


def _encode_nodes(entries: Iterable[StreamEntry]) -> Iterator[bytes]:
    waiting: list[StreamEntry] = []
    for entry in entries:
        waiting.append(entry)
        if len(waiting) == NODE_ENTRIES:
            node, stop = _encode_node(waiting, 0)
            del waiting[:stop]
            yield node
    while waiting:
        node, stop = _encode_node(waiting, 0)
        del waiting[:stop]
        yield node


def _encode_node(entries: list[StreamEntry], start: int) -> tuple[bytes, int]:
    """The node that begins with entry `start`, and the index of the first entry that is not in it."""
    master = entries[start].id
    names = entries[start].fields[::2]
    head = [listpack_int(len(names)), *map(listpack_entry, names), listpack_int(0)]
    size_bytes = sum(map(len, head))
    body: list[bytes] = []
    stop = start
    while stop < len(entries) and stop - start < NODE_ENTRIES and size_bytes < NODE_BYTES:
        packed = _encode_entry(entries[stop], master, names)
        size_bytes += sum(map(len, packed))
        body += packed
        stop += 1
    elements = [listpack_int(stop - start), listpack_int(0), *head, *body]
    return b"\x10" + _ID.pack(*master) + encode_raw_string(join_listpack(elements)), stop


def _encode_entry(entry: StreamEntry, master: StreamId, master_names: list[bytes]) -> list[bytes]:
    fields = entry.fields
    same = fields[::2] == master_names
    packed = [
        listpack_int(rdb.STREAM_ENTRY_SAME_FIELDS if same else 0),
        listpack_int(_signed(entry.id[0] - master[0])),
        listpack_int(_signed(entry.id[1] - master[1])),
    ]
    if same:
        packed += map(listpack_entry, fields[1::2])
    else:
        packed.append(listpack_int(len(fields) // 2))
        packed += map(listpack_entry, fields)
    packed.append(listpack_int(len(packed)))
    return packed


def _signed(difference: int) -> int:
    """`difference` modulo 2**64 as a signed 64-bit integer, the way C stores it."""
    difference &= _MASK64
    return difference - (1 << 64) if difference >> 63 else difference


def _encode_group(group: StreamGroup, generation: int) -> bytes:
    parts = [encode_raw_string(group.name), _id(group.last_id)]
    if generation >= 2:
        parts.append(encode_length(group.entries_read & _MASK64))
    parts.append(encode_length(len(group.pending)))
    for item in group.pending:
        parts += [_ID.pack(*item.id), _pack_int64(item.delivery_time_ms), encode_length(item.delivery_count)]
    parts.append(encode_length(len(group.consumers)))
    for consumer in group.consumers:
        parts += [encode_raw_string(consumer.name), _pack_int64(consumer.seen_time_ms)]
        if generation >= 3:
            parts.append(_pack_int64(consumer.active_time_ms))
        parts.append(encode_length(len(consumer.pending)))
        parts += [_ID.pack(*entry_id) for entry_id in consumer.pending]
    return b"".join(parts)
