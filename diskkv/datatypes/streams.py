"""Streams: entries as rows in order of their IDs, and the header that knows both ends.

An ID is 16 bytes in here, milliseconds and sequence number as big-endian u64, so that IDs compare, pack and serve as
row keys as they are. A stream always has rows:

    KIND_STREAM_ENTRY             sub = epoch:u32 id              value: msgpack of [field, value, ...]
                                  sub = ffffffff                  value: empty; a guard, see below
    KIND_STREAM_NODE              sub = epoch:u32 id              see streams_nodes.py
    groups, consumers and what is pending with them: see streams_groups.py

    Header.count                  the number of entries
    Header.ext                    the attributes of `Stream` from `last` on, in order

No row of an entry below `first` is ever read: trimming moves `first` up, and scans begin there instead of walking over
what was deleted. Rows of many entries that were trimmed at once are left to the reclaimer. IDs only grow, so these rows
are not written again, with one exception: XSETID may set the last ID of an empty stream back, and then a new epoch
begins, whose rows are apart from those of the old one.

A LevelDB iterator that has reached the last row of a range looks for the next row that exists, wherever that is, and a
reverse one begins by doing so; it may walk over any number of deleted rows, of this or another value. So scans here
take no more rows than are known to be there, and where that is not enough a guard row ends the range, which lives as
long as the stream.

Reads and writes here touch a bounded number of rows per entry that they read, add or delete; nothing walks the stream.
Source: https://redis.io/docs/latest/develop/data-types/streams/
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice
from struct import Struct

import msgpack

from diskkv.codec.header import STREAM, Header, Value
from diskkv.codec.keys import (
    ELEMENT_PREFIX_SIZE,
    ELEMENT_TAG,
    GARBAGE_ROWS,
    KIND_STREAM_ENTRY,
    KIND_STREAM_NODE,
    U32,
    element_prefix,
    encode_row_range,
    garbage_row,
)
from diskkv.engine.engine import Engine
from diskkv.errors import CorruptionError, WrongTypeError

ZERO_ID = bytes(16)
MAX_ID = b"\xff" * 16
ID_BYTES = 16

INLINE_ROWS = 1024
"""More rows than this are not deleted by the command that drops them, but by the reclaimer."""

ENTRY_AT = ELEMENT_PREFIX_SIZE + U32.size
"""Where the ID begins in the row of an entry or a node."""

_PREFIX = Struct(">cQBI")
_ID = Struct(">QQ")
pack_id = _ID.pack
unpack_id = _ID.unpack

pack_fields = msgpack.Packer(use_bin_type=True).pack


def unpack_fields(raw: bytes) -> list[bytes]:
    """The fields and values of an entry's row, one after the other."""
    fields: list[bytes] = msgpack.unpackb(raw)
    return fields


def next_id(entry_id: bytes) -> bytes:
    """The smallest greater ID. Raises OverflowError behind the last one."""
    return (int.from_bytes(entry_id) + 1).to_bytes(ID_BYTES)


def previous_id(entry_id: bytes) -> bytes:
    """The greatest smaller ID. Raises OverflowError before the first one."""
    return (int.from_bytes(entry_id) - 1).to_bytes(ID_BYTES)


class Stream:
    """A stream's header, unpacked for a command to work on; `header` packs it again.

    `last` is the last ID given out, `max_deleted` the greatest one deleted by its ID, `added` the number of entries
    ever added, `first` the ID of the first entry (zero when there is none), `groups` the number of consumer groups and
    `next_group` the number that the next one gets. What follows belongs to streams_nodes.py.
    """

    __slots__ = (
        "added",
        "epoch",
        "expire_ms",
        "first",
        "groups",
        "head",
        "head_deleted",
        "head_last",
        "head_live",
        "last",
        "length",
        "max_deleted",
        "next_group",
        "nodes",
        "oid",
        "prefix",
        "tail",
        "tail_bytes",
        "tail_deleted",
        "tail_digest",
        "tail_last",
        "tail_live",
    )

    last: bytes
    max_deleted: bytes
    added: int
    first: bytes
    groups: int
    next_group: int
    epoch: int
    nodes: int
    head: bytes
    head_last: bytes
    head_live: int
    head_deleted: int
    tail: bytes
    tail_last: bytes
    tail_live: int
    tail_deleted: int
    tail_bytes: int
    tail_digest: bytes

    def __init__(self, header: Header) -> None:
        self.oid = header.oid
        self.length = header.count
        self.expire_ms = header.expire_ms
        (
            self.last,
            self.max_deleted,
            self.added,
            self.first,
            self.groups,
            self.next_group,
            self.epoch,
            self.nodes,
            self.head,
            self.head_last,
            self.head_live,
            self.head_deleted,
            self.tail,
            self.tail_last,
            self.tail_live,
            self.tail_deleted,
            self.tail_bytes,
            self.tail_digest,
        ) = header.ext
        self.prefix = _PREFIX.pack(ELEMENT_TAG, header.oid, KIND_STREAM_ENTRY, self.epoch)

    def header(self) -> Header:
        """The header that says what this says."""
        ext = (
            self.last,
            self.max_deleted,
            self.added,
            self.first,
            self.groups,
            self.next_group,
            self.epoch,
            self.nodes,
            self.head,
            self.head_last,
            self.head_live,
            self.head_deleted,
            self.tail,
            self.tail_last,
            self.tail_live,
            self.tail_deleted,
            self.tail_bytes,
            self.tail_digest,
        )
        return Header(STREAM, None, self.expire_ms, self.oid, self.length, ext)


_NO_ENTRIES = (ZERO_ID, ZERO_ID, 0, ZERO_ID, 0, 0, 0, 0, b"", b"", 0, 0, b"", b"", 0, 0, 0, b"")


def new(engine: Engine, expire_ms: int = 0) -> Stream:
    """An empty stream; it exists once its header is put."""
    stream = Stream(Header(STREAM, None, expire_ms, engine.new_oid(), 0, _NO_ENTRIES))
    engine.rows.put(guard_row(stream), b"")
    return stream


def guard_row(stream: Stream) -> bytes:
    """The row behind all entries."""
    return element_prefix(stream.oid, KIND_STREAM_ENTRY) + b"\xff" * U32.size


def require_stream(value: Value) -> Header:
    """The value as a stream's header. Raises WrongTypeError when it is another one."""
    if value.__class__ is bytes or value.type != STREAM:  # type: ignore[union-attr]
        raise WrongTypeError
    return value  # type: ignore[return-value]


# ---- reading


def scan(
    engine: Engine, stream: Stream, start: bytes, end: bytes, reverse: bool = False
) -> Iterator[tuple[bytes, bytes]]:
    """(row, packed fields) of the entries with start <= ID <= end; the ID is row[ENTRY_AT:]."""
    start = max(start, stream.first)
    if not stream.length or start > end:
        return iter(())
    return engine.rows.scan(stream.prefix + start, stream.prefix + end + b"\x00", reverse)


def iterate(
    engine: Engine, stream: Stream, start: bytes, end: bytes, reverse: bool = False
) -> Iterator[tuple[bytes, bytes]]:
    """(ID, packed fields) of the entries with start <= ID <= end, in order or in reverse; as of the first one."""
    border = stream.first if reverse else stream.tail_last
    for row, raw in scan(engine, stream, start, end, reverse):
        entry_id = row[ENTRY_AT:]
        yield entry_id, raw
        if entry_id == border:
            return


def read_range(
    engine: Engine, stream: Stream, start: bytes, end: bytes, count: int = 0, reverse: bool = False
) -> list[tuple[bytes, bytes]]:
    """As `iterate`: a list of up to `count` entries (0: all)."""
    return list(islice(iterate(engine, stream, start, end, reverse), count or None))


def get(engine: Engine, stream: Stream, entry_id: bytes) -> bytes | None:
    """The packed fields of an entry, None when there is none of this ID."""
    if not stream.length or entry_id < stream.first or entry_id > stream.last:
        return None
    return engine.rows.peek(stream.prefix + entry_id)


def last_entry_id(engine: Engine, stream: Stream) -> bytes:
    """The ID of the last entry; zero when there is none."""
    for row, _ in scan(engine, stream, ZERO_ID, MAX_ID, True):
        return row[ENTRY_AT:]
    return ZERO_ID


# ---- what follows the first entry

# Queues are read from the head and deleted from the head: XREADGROUP, XACK in order, XDEL of what was acknowledged,
# XADD MAXLEN. To find the next entry would be a range scan each time, so some are looked up at once and kept in memory
# (`Engine.mirrors`).
AHEAD = 64
_AHEAD_BYTES = 32768
_MOST_MIRRORS = 256
_REGISTER = -1
"""Where `Engine.mirrors` has the object ids of the streams that have a mirror, to bound their number."""


class Mirror:
    """What was looked up ahead: the IDs of the entries behind the first one; for each group, by number, the IDs behind
    its lowest pending one, and the ID up to which it has read with the entries that follow that one.
    """

    __slots__ = ("entries", "pending", "unread")

    def __init__(self) -> None:
        self.entries: deque[bytes] = deque()
        self.pending: dict[int, deque[bytes]] = {}
        self.unread: dict[int, tuple[bytes, deque[tuple[bytes, bytes]]]] = {}


def mirror_of(engine: Engine, stream: Stream) -> Mirror:
    """The stream's mirror, to be changed; a rollback drops it."""
    mirrors = engine.mirrors
    oid = stream.oid
    engine.journal.append((mirrors, oid, None))
    found: Mirror | None = mirrors.get(oid)
    if found is None:
        found = mirrors[oid] = Mirror()
        register: dict[int, None] = mirrors.setdefault(_REGISTER, {})
        register[oid] = None
        if len(register) > _MOST_MIRRORS:
            oldest = next(iter(register))
            del register[oldest]
            mirrors.pop(oldest, None)
    return found


def following(engine: Engine, stream: Stream) -> bytes:
    """The ID of the entry that follows the first one, which is being deleted and does not count any more."""
    ahead = mirror_of(engine, stream).entries
    if not ahead:
        start = stream.prefix + stream.first + b"\x00"
        rows = engine.rows.scan(start, stream.prefix + MAX_ID + b"\x00")
        ahead.extend(row[ENTRY_AT:] for row, _ in islice(rows, min(AHEAD, stream.length)))
    if not ahead:
        message = f"stream {stream.oid} has {stream.length} entries and none behind {stream.first.hex()}"
        raise CorruptionError(message)
    return ahead.popleft()


def read_following(engine: Engine, stream: Stream, group: int, after: bytes, count: int) -> list[tuple[bytes, bytes]]:
    """As `read_range` behind an ID, for a group (by number) that is going to read on where this ends; `count` > 0."""
    unread = mirror_of(engine, stream).unread
    position, ahead = unread.get(group, (after, _NOTHING))
    if position != after or len(ahead) < count or ahead[0][0] < stream.first:
        ahead = deque()
        size_bytes = 0
        for row, raw in scan(engine, stream, next_id(after), MAX_ID):
            entry_id = row[ENTRY_AT:]
            ahead.append((entry_id, raw))
            size_bytes += len(raw)
            if entry_id == stream.tail_last:
                break
            if len(ahead) >= count and (len(ahead) >= AHEAD or size_bytes > _AHEAD_BYTES):
                break
    entries = [ahead.popleft() for _ in range(min(count, len(ahead)))]
    if ahead:
        unread[group] = entries[-1][0], ahead
    else:
        unread.pop(group, None)
    return entries


_NOTHING: deque[tuple[bytes, bytes]] = deque()


def forget_following(engine: Engine, stream: Stream, entry_id: bytes | None = None) -> None:
    """Must be called when an entry other than the first one is deleted, or (without an ID) several were."""
    mirror: Mirror | None = engine.mirrors.get(stream.oid)
    if mirror is None:
        return
    mirror.entries.clear()
    if mirror.unread:
        kept = mirror.unread.items() if entry_id is not None else ()
        mirror.unread = {
            number: (position, ahead)
            for number, (position, ahead) in kept
            if entry_id is not None and not ahead[0][0] <= entry_id <= ahead[-1][0]
        }


# ---- IDs for new entries


def next_clock_id(stream: Stream, now_ms: int) -> bytes:
    """The ID that ``*`` stands for: the time, or what follows the last ID if that is not in the past.

    Raises OverflowError behind the last possible ID.
    Source: https://redis.io/docs/latest/commands/xadd/
    """
    last_ms, _ = unpack_id(stream.last)
    if now_ms > last_ms:
        return pack_id(now_ms, 0)
    return next_id(stream.last)


def next_sequence_id(stream: Stream, ms: int) -> bytes | None:
    """The ID that ``ms-*`` stands for, None when it would not be greater than the last one."""
    last_ms, last_seq = unpack_id(stream.last)
    if ms > last_ms:
        return pack_id(ms, 0)
    return pack_id(ms, last_seq + 1) if ms == last_ms and last_seq < 0xFFFFFFFFFFFFFFFF else None


def set_last_id(engine: Engine, stream: Stream, last: bytes) -> None:
    """Set the last ID; the caller has made sure that no entry is greater."""
    if last < stream.last and not stream.length:
        # Rows that wait for the reclaimer may have IDs that can be given out again now.
        stream.epoch += 1
        stream.nodes = 0
        forget_following(engine, stream)
        stream.prefix = _PREFIX.pack(ELEMENT_TAG, stream.oid, KIND_STREAM_ENTRY, stream.epoch)
    stream.last = last


# ---- deleting ranges of rows


def drop_rows(engine: Engine, start: bytes, stop: bytes, count: int) -> None:
    """Delete the `count` rows with start <= row < stop, now or, when there are many, in the background."""
    if count > INLINE_ROWS:
        engine.rows.put(garbage_row(GARBAGE_ROWS, engine.new_oid()), encode_row_range(start, stop))
        engine.has_garbage = True
        return
    if count:
        for row, _ in islice(engine.rows.scan(start, stop), count):
            engine.rows.delete(row)


def node_prefix(stream: Stream) -> bytes:
    """The prefix of the node rows of the stream's epoch."""
    return _PREFIX.pack(ELEMENT_TAG, stream.oid, KIND_STREAM_NODE, stream.epoch)


def group_prefix(stream: Stream, kind: int, group: int) -> bytes:
    """The prefix of the rows of this kind that belong to a group, by number."""
    return _PREFIX.pack(ELEMENT_TAG, stream.oid, kind, group)
