"""Nodes of streams: how many entries lie between which IDs, so that trimming counts a hundred at a time.

Redis keeps the entries of a stream in nodes, listpacks of up to stream-node-max-entries entries or about
stream-node-max-bytes bytes, and ``MAXLEN ~`` removes whole nodes only. The entries here are rows of their own, but the
borders of those nodes are kept, computed as Redis does, and with them a count for each node: so approximate trimming
removes exactly what it removes there, and trimming millions of entries reads one row for each hundred.

    KIND_STREAM_NODE    sub = epoch:u32 id     value: last:16 live:u32 deleted:u32 size_bytes:u64 digest

`id` is that of the node's first entry ever, `last` of its last one, `live` entries are left, `deleted` are not;
`size_bytes` is what Redis' listpack takes but for its two counters, `digest` tells whether an entry has the same field
names as the first one. Most changes happen at the ends, so the header has both end nodes: the last one, to which
entries are added, whole (`Stream.tail` and so on) and without a row; of the first one (`head`) what changes, and then
the counters in its row are out of date. If there is only one node it is the tail.

A node of which nothing is left goes away when its last entry is deleted by its ID, but stays for a while when it was
trimmed: as in Redis.

Source: https://redis.io/docs/latest/commands/xtrim/ and the observed behaviour of redis-server
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from struct import Struct
from struct import error as StructError

from xxhash import xxh64_digest

from diskkv.codec.keys import prefix_successor
from diskkv.codec.listpack_size import EMPTY_BYTES, entry_bytes, integer_bytes
from diskkv.datatypes.streams import ENTRY_AT, MAX_ID, Stream, node_prefix, unpack_id
from diskkv.engine.engine import Engine
from diskkv.errors import CorruptionError

NODE_RECORD = Struct(">16sIIQ8s")
_LARGEST_NODE_BYTES = 1 << 30
_SMALL_INTEGER_BYTES = 2
"""What an integer up to 127 takes in a listpack."""


class Node:
    """One node; `first` is its ID, the rest as in its row."""

    __slots__ = ("deleted", "digest", "first", "last", "live", "size_bytes")

    def __init__(self, first: bytes, last: bytes, live: int, deleted: int, size_bytes: int, digest: bytes) -> None:
        self.first = first
        self.last = last
        self.live = live
        self.deleted = deleted
        self.size_bytes = size_bytes
        self.digest = digest

    def encode(self) -> bytes:
        """The value of the node's row."""
        return NODE_RECORD.pack(self.last, self.live, self.deleted, self.size_bytes, self.digest)


def decode(row: bytes, raw: bytes) -> Node:
    """The node of a row. Raises CorruptionError."""
    try:
        return Node(row[ENTRY_AT:], *NODE_RECORD.unpack(raw))
    except StructError as exc:
        message = f"node of a stream in row {row.hex()} does not decode: {raw[:64].hex()}"
        raise CorruptionError(message) from exc


# ---- adding entries


def add(engine: Engine, stream: Stream, entry_id: bytes, fields: Sequence[bytes]) -> None:
    """Count an entry that is added at the end."""
    names = fields[::2]
    digest = xxh64_digest(b"\x00".join(names))
    if stream.nodes:
        config = engine.config
        live = stream.tail_live
        deleted = stream.tail_deleted
        most = config.stream_node_max_entries
        limit = config.stream_node_max_bytes
        if not 0 < limit <= _LARGEST_NODE_BYTES:
            limit = _LARGEST_NODE_BYTES
        size = stream.tail_bytes + sum(map(len, fields))
        size += 4 if live < 128 and deleted < 128 else integer_bytes(live) + integer_bytes(deleted)
        if size < limit and (not most or live + deleted < most):
            stream.tail_bytes += _entry_bytes(stream.tail, entry_id, fields, digest == stream.tail_digest)
            stream.tail_live = live + 1
            stream.tail_last = entry_id
            return
        tail = _tail(stream)
        _put(engine, stream, tail)
        if stream.nodes == 1:
            set_head(stream, tail)
    stream.nodes += 1
    stream.tail = stream.tail_last = entry_id
    stream.tail_live = 1
    stream.tail_deleted = 0
    stream.tail_digest = digest
    master = EMPTY_BYTES + integer_bytes(len(names)) + sum(map(entry_bytes, names)) + _SMALL_INTEGER_BYTES
    stream.tail_bytes = master + _entry_bytes(entry_id, entry_id, fields, True)


def _entry_bytes(first: bytes, entry_id: bytes, fields: Sequence[bytes], same_names: bool) -> int:
    """What Redis adds to a node's listpack for an entry: flags, the distance to the node's ID, fields, their count."""
    if first == entry_id:
        size = 3 * _SMALL_INTEGER_BYTES
    else:
        first_ms, first_seq = unpack_id(first)
        ms, seq = unpack_id(entry_id)
        size = _SMALL_INTEGER_BYTES + integer_bytes(ms - first_ms) + integer_bytes(seq - first_seq)
    count = len(fields) // 2
    if same_names:
        for value in fields[1::2]:
            size += entry_bytes(value)
        return size + integer_bytes(count + 3)
    return size + integer_bytes(count) + sum(map(entry_bytes, fields)) + integer_bytes(2 * count + 4)


# ---- finding and changing nodes


def _tail(stream: Stream) -> Node:
    return Node(
        stream.tail,
        stream.tail_last,
        stream.tail_live,
        stream.tail_deleted,
        stream.tail_bytes,
        stream.tail_digest,
    )


def _put(engine: Engine, stream: Stream, node: Node) -> None:
    engine.rows.put(node_prefix(stream) + node.first, node.encode())


def head(stream: Stream) -> Node:
    """The first node of a stream that has any; unless it is the only one, its size and digest are not known."""
    if stream.nodes == 1:
        return _tail(stream)
    return Node(stream.head, stream.head_last, stream.head_live, stream.head_deleted, 0, b"")


def set_head(stream: Stream, node: Node) -> None:
    """Make a node the first one."""
    stream.head = node.first
    stream.head_last = node.last
    stream.head_live = node.live
    stream.head_deleted = node.deleted


def all_nodes(engine: Engine, stream: Stream) -> Iterator[Node]:
    """Every node in order; only those that were answered already may be changed meanwhile."""
    if stream.nodes > 1:
        prefix = node_prefix(stream)
        rows = engine.rows.scan(prefix + stream.head + b"\x00", prefix_successor(prefix))
        between = stream.nodes - 2
        yield head(stream)
        for row, raw in islice(rows, between):
            yield decode(row, raw)
    if stream.nodes:
        yield _tail(stream)


def _node_of(engine: Engine, stream: Stream, entry_id: bytes) -> Node:
    """The node that an entry belongs to."""
    if entry_id >= stream.tail:
        return _tail(stream)
    if entry_id <= stream.head_last:
        return head(stream)
    prefix = node_prefix(stream)
    for row, raw in engine.rows.scan(prefix + stream.head, prefix + entry_id + b"\x00", True):
        return decode(row, raw)
    message = f"entry {entry_id.hex()} of stream {stream.oid} belongs to no node"
    raise CorruptionError(message)


def remove(engine: Engine, stream: Stream, entry_id: bytes) -> None:
    """Count an entry as deleted by its ID; a node goes away with its last one."""
    node = _node_of(engine, stream, entry_id)
    if node.live > 1:
        shrink(engine, stream, node, 1)
    else:
        drop(engine, stream, node)


def shrink(engine: Engine, stream: Stream, node: Node, count: int) -> None:
    """Count `count` entries of a node as deleted; it stays, even when nothing is left of it."""
    node.live -= count
    node.deleted += count
    if node.first == stream.tail:
        stream.tail_live = node.live
        stream.tail_deleted = node.deleted
    elif node.first == stream.head:
        set_head(stream, node)
    else:
        _put(engine, stream, node)


def drop(engine: Engine, stream: Stream, node: Node) -> None:
    """Remove a node of which nothing is left."""
    stream.nodes -= 1
    if not stream.nodes:
        return
    prefix = node_prefix(stream)
    if node.first == stream.tail:
        before = _beside(engine, prefix + stream.head, prefix + MAX_ID, True)
        if before.first == stream.head:
            before.live = stream.head_live
            before.deleted = stream.head_deleted
        engine.rows.delete(prefix + before.first)
        _set_tail(stream, before)
        return
    engine.rows.delete(prefix + node.first)
    if node.first == stream.head and stream.nodes > 1:
        set_head(stream, _beside(engine, prefix + node.first + b"\x00", prefix + MAX_ID, False))


def _beside(engine: Engine, start: bytes, stop: bytes, reverse: bool) -> Node:
    """The first node (the last one in reverse) that has a row in this range."""
    for row, raw in engine.rows.scan(start, stop, reverse):
        return decode(row, raw)
    message = f"no node of a stream between {start.hex()} and {stop.hex()}, where one should be"
    raise CorruptionError(message)


def _set_tail(stream: Stream, node: Node) -> None:
    stream.tail = node.first
    stream.tail_last = node.last
    stream.tail_live = node.live
    stream.tail_deleted = node.deleted
    stream.tail_bytes = node.size_bytes
    stream.tail_digest = node.digest


def find_first(engine: Engine, stream: Stream, start: bytes) -> bytes:
    """The ID of the first entry, which is not below `start`; the stream has one."""
    node = head(stream)
    if not node.live:
        node = next(node for node in all_nodes(engine, stream) if node.live)
    # Scans are kept within a node because each copies what the turn staged in its range.
    for row, _ in engine.rows.scan(stream.prefix + max(start, node.first), stream.prefix + node.last + b"\x00"):
        return row[ENTRY_AT:]
    message = f"stream {stream.oid} has no entry in its node {node.first.hex()}, which should have {node.live}"
    raise CorruptionError(message)
