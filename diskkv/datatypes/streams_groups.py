"""Consumer groups: what each has read, its consumers, and its pending entries.

    KIND_STREAM_GROUP             sub = name
                                  value: number:u32 last:16 read:i64 pending:u64 consumers:u32 next_consumer:u32
                                         lowest:16 highest:16
    KIND_STREAM_CONSUMER          sub = group:u32 name
                                  value: number:u32 seen_ms:i64 active_ms:i64 pending:u64
    KIND_STREAM_GROUP_PENDING     sub = group:u32 id
                                  value: delivered_ms:i64 deliveries:u64 consumer's name
    KIND_STREAM_CONSUMER_PENDING  sub = group:u32 consumer:u32 id
                                  value: empty

Groups and consumers have numbers, so that their names are not repeated in every row; a stream never gives a number
twice. `last` is the last ID delivered and `read` the number of entries up to it (-1: not known). No pending entry is
below `lowest`, none was ever above `highest`: reading the list begins behind what was acknowledged at its start, and a
delivery of IDs that are new to the group need not look whether they are pending already.

Delivering, acknowledging and claiming an entry are point reads and writes. XGROUP DESTROY leaves the rows of a long
list to the reclaimer; only XGROUP DELCONSUMER walks the pending entries of the consumer.

Source: https://redis.io/docs/latest/develop/data-types/streams/#consumer-groups
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from struct import error as StructError

from diskkv.codec.keys import (
    ELEMENT_PREFIX_SIZE,
    KIND_STREAM_CONSUMER,
    KIND_STREAM_CONSUMER_PENDING,
    KIND_STREAM_GROUP,
    KIND_STREAM_GROUP_PENDING,
    element_prefix,
    prefix_successor,
)
from diskkv.datatypes import streams
from diskkv.datatypes.streams import ID_BYTES, MAX_ID, ZERO_ID, Stream, group_prefix, next_id
from diskkv.engine.engine import Engine
from diskkv.errors import CorruptionError

NOT_KNOWN = -1
"""`Group.read` when it cannot be told how many entries the group has read."""
NEVER_ACTIVE = -1

GROUP_RECORD = Struct(">I16sqQII16s16s")
CONSUMER_RECORD = Struct(">IqqQ")
PENDING_RECORD = Struct(">qQ")
_CONSUMER_AT = ELEMENT_PREFIX_SIZE + 4


class Pending:
    """An entry that was delivered to a consumer and not acknowledged."""

    __slots__ = ("consumer", "delivered_ms", "deliveries", "id")

    def __init__(self, entry_id: bytes, consumer: bytes, delivered_ms: int, deliveries: int) -> None:
        self.id = entry_id
        self.consumer = consumer
        self.delivered_ms = delivered_ms
        self.deliveries = deliveries


class Consumer:
    """A consumer of a group. `seen_ms` is when it last asked, `active_ms` when it last got something (-1: never)."""

    __slots__ = ("active_ms", "name", "number", "pending", "seen_ms")

    def __init__(self, name: bytes, number: int, seen_ms: int, active_ms: int, pending: int) -> None:
        self.name = name
        self.number = number
        self.seen_ms = seen_ms
        self.active_ms = active_ms
        self.pending = pending


class Group:
    """A consumer group for the length of a command. Changes of the counters reach the rows with `save`."""

    number: int
    last: bytes
    read: int
    pending: int
    consumers: int
    next_consumer: int
    lowest: bytes
    highest: bytes

    def __init__(self, engine: Engine, stream: Stream, name: bytes, raw: bytes) -> None:
        self.engine = engine
        self.stream = stream
        self.name = name
        try:
            (
                self.number,
                self.last,
                self.read,
                self.pending,
                self.consumers,
                self.next_consumer,
                self.lowest,
                self.highest,
            ) = GROUP_RECORD.unpack(raw)
        except StructError as exc:
            message = f"group {name.hex()} of stream {stream.oid} does not decode: {raw[:80].hex()}"
            raise CorruptionError(message) from exc
        self.pending_prefix = group_prefix(stream, KIND_STREAM_GROUP_PENDING, self.number)
        self._consumer_prefix = group_prefix(stream, KIND_STREAM_CONSUMER, self.number)
        self._touched: dict[bytes, Consumer] = {}

    def save(self) -> None:
        """Stage the rows of the group and of the consumers that were used."""
        put = self.engine.rows.put
        for consumer in self._touched.values():
            put(
                self._consumer_prefix + consumer.name,
                CONSUMER_RECORD.pack(consumer.number, consumer.seen_ms, consumer.active_ms, consumer.pending),
            )
        put(
            element_prefix(self.stream.oid, KIND_STREAM_GROUP) + self.name,
            GROUP_RECORD.pack(
                self.number,
                self.last,
                self.read,
                self.pending,
                self.consumers,
                self.next_consumer,
                self.lowest,
                self.highest,
            ),
        )

    def row_ranges(self) -> list[tuple[bytes, bytes]]:
        """Start and stop of all rows of the group, its own one first."""
        own = element_prefix(self.stream.oid, KIND_STREAM_GROUP) + self.name
        prefixes = [self._consumer_prefix, self.pending_prefix]
        prefixes.append(group_prefix(self.stream, KIND_STREAM_CONSUMER_PENDING, self.number))
        return [(own, own + b"\x00"), *((prefix, prefix_successor(prefix)) for prefix in prefixes)]

    # ---- consumers

    def consumer(self, name: bytes) -> Consumer | None:
        """A consumer to be changed, None when there is none of this name."""
        found = self._touched.get(name)
        if found is None:
            raw = self.engine.rows.get(self._consumer_prefix + name)
            if raw is None:
                return None
            found = self._touched[name] = self._decode_consumer(name, raw)
        return found

    def create_consumer(self, name: bytes, now_ms: int) -> Consumer:
        """A new consumer; there is none of this name."""
        consumer = Consumer(name, self.next_consumer, now_ms, NEVER_ACTIVE, 0)
        self.next_consumer += 1
        self.consumers += 1
        self._touched[name] = consumer
        return consumer

    def all_consumers(self) -> Iterator[Consumer]:
        """Every consumer by name, as of the last `save`; for reading only."""
        prefix = self._consumer_prefix
        for row, raw in self.engine.rows.scan(prefix, prefix_successor(prefix)):
            yield self._decode_consumer(row[_CONSUMER_AT:], raw)

    def delete_consumer(self, consumer: Consumer) -> int:
        """Remove a consumer with its pending entries; answers how many these were."""
        rows = self.engine.rows
        start = self._pending_prefix_of(consumer)
        size = len(start)
        for row, _ in rows.scan(start, prefix_successor(start)):
            rows.delete(row)
            rows.delete(self.pending_prefix + row[size:])
        rows.delete(self._consumer_prefix + consumer.name)
        del self._touched[consumer.name]
        self.consumers -= 1
        self._count_pending(-consumer.pending)
        return consumer.pending

    def _decode_consumer(self, name: bytes, raw: bytes) -> Consumer:
        try:
            return Consumer(name, *CONSUMER_RECORD.unpack(raw))
        except StructError as exc:
            message = f"consumer {name.hex()} of stream {self.stream.oid} does not decode: {raw[:64].hex()}"
            raise CorruptionError(message) from exc

    # ---- pending entries

    def get_pending(self, entry_id: bytes) -> Pending | None:
        """The pending entry of this ID, if there is one."""
        if not self.pending or entry_id < self.lowest or entry_id > self.highest:
            return None
        raw = self.engine.rows.get(self.pending_prefix + entry_id)
        return None if raw is None else self._decode_pending(entry_id, raw)

    def scan_pending(self, start: bytes, end: bytes, reverse: bool = False) -> Iterator[Pending]:
        """The pending entries with start <= ID <= end, in order of their IDs."""
        start = max(start, self.lowest)
        if not self.pending or start > end:
            return
        prefix = self.pending_prefix
        size = len(prefix)
        for row, raw in self.engine.rows.scan(prefix + start, prefix + end + b"\x00", reverse):
            yield self._decode_pending(row[size:], raw)

    def scan_pending_of(self, consumer: Consumer, start: bytes, end: bytes) -> Iterator[Pending]:
        """As `scan_pending`, those of one consumer."""
        start = max(start, self.lowest)
        if not consumer.pending or start > end:
            return
        rows = self.engine.rows
        prefix = self._pending_prefix_of(consumer)
        size = len(prefix)
        for row, _ in rows.scan(prefix + start, prefix + end + b"\x00"):
            entry_id = row[size:]
            raw = rows.get(self.pending_prefix + entry_id)
            if raw is None:
                message = f"row {row.hex()} of a consumer has no counterpart in its group"
                raise CorruptionError(message)
            yield self._decode_pending(entry_id, raw)

    def assign(self, pending: Pending, consumer: Consumer, is_new: bool) -> None:
        """Make (or leave) an entry pending with `consumer`; `pending` has its new time and count, and its old owner."""
        rows = self.engine.rows
        entry_id = pending.id
        if is_new:
            self._count_pending(1)
            if entry_id < self.lowest:
                self.lowest = entry_id
            if entry_id > self.highest:
                self.highest = entry_id
        if is_new or pending.consumer != consumer.name:
            if not is_new:
                self._take_from_owner(pending)
            rows.put(self._pending_prefix_of(consumer) + entry_id, b"")
            consumer.pending += 1
            pending.consumer = consumer.name
        rows.put(
            self.pending_prefix + entry_id, PENDING_RECORD.pack(pending.delivered_ms, pending.deliveries) + pending.consumer
        )

    def deliver_new(self, ids: list[bytes], consumer: Consumer, now_ms: int) -> None:
        """Make entries, given in order, pending with `consumer`, delivered once, whether they were pending or not."""
        put = self.engine.rows.put
        mine = self._pending_prefix_of(consumer)
        value = PENDING_RECORD.pack(now_ms, 1) + consumer.name
        added = len(ids)
        owned = added
        for entry_id in ids:
            if entry_id <= self.highest:
                before = self.get_pending(entry_id)
                if before is not None:
                    self._take_from_owner(before)
                    added -= 1
            put(self.pending_prefix + entry_id, value)
            put(mine + entry_id, b"")
        self._count_pending(added)
        consumer.pending += owned
        self.lowest = min(self.lowest, ids[0])
        self.highest = max(self.highest, ids[-1])

    def release(self, pending: Pending) -> None:
        """Take an entry off the list: it is acknowledged, or gone."""
        self._take_from_owner(pending)
        self.engine.rows.delete(self.pending_prefix + pending.id)
        self._count_pending(-1)
        if pending.id == self.lowest and pending.id != MAX_ID:
            self.lowest = next_id(pending.id)

    def _take_from_owner(self, pending: Pending) -> None:
        owner = self.consumer(pending.consumer)
        if owner is None:
            message = f"consumer {pending.consumer.hex()} of stream {self.stream.oid} owns an entry and does not exist"
            raise CorruptionError(message)
        self.engine.rows.delete(self._pending_prefix_of(owner) + pending.id)
        owner.pending -= 1

    def _count_pending(self, delta: int) -> None:
        self.pending += delta
        if not self.pending:
            self.lowest = MAX_ID
            self.highest = ZERO_ID

    def _pending_prefix_of(self, consumer: Consumer) -> bytes:
        return group_prefix(self.stream, KIND_STREAM_CONSUMER_PENDING, self.number, consumer.number)

    def _decode_pending(self, entry_id: bytes, raw: bytes) -> Pending:
        try:
            delivered_ms, deliveries = PENDING_RECORD.unpack_from(raw)
        except StructError as exc:
            message = f"pending entry {entry_id.hex()} of stream {self.stream.oid} does not decode: {raw[:64].hex()}"
            raise CorruptionError(message) from exc
        return Pending(entry_id, raw[PENDING_RECORD.size :], delivered_ms, deliveries)


# ---- the groups of a stream


def find(engine: Engine, stream: Stream, name: bytes) -> Group | None:
    """The group of this name, None when there is none."""
    if not stream.groups:
        return None
    raw = engine.rows.get(element_prefix(stream.oid, KIND_STREAM_GROUP) + name)
    return None if raw is None else Group(engine, stream, name, raw)


def all_groups(engine: Engine, stream: Stream) -> list[Group]:
    """Every group, by name."""
    if not stream.groups:
        return []
    prefix = element_prefix(stream.oid, KIND_STREAM_GROUP)
    return [
        Group(engine, stream, row[ELEMENT_PREFIX_SIZE:], raw)
        for row, raw in engine.rows.scan(prefix, prefix_successor(prefix))
    ]


def create(engine: Engine, stream: Stream, name: bytes, last: bytes, read: int) -> Group:
    """A new group that has read up to `last`; there is none of this name. The stream's header changes too."""
    raw = GROUP_RECORD.pack(stream.next_group, last, read, 0, 0, 0, MAX_ID, ZERO_ID)
    stream.next_group += 1
    stream.groups += 1
    group = Group(engine, stream, name, raw)
    group.save()
    return group


def destroy(engine: Engine, stream: Stream, group: Group) -> None:
    """Remove a group with all that belongs to it. The stream's header changes too."""
    engine.rows.delete(element_prefix(stream.oid, KIND_STREAM_GROUP) + group.name)
    stream.groups -= 1
    for start, stop in group.row_ranges()[1:]:
        streams.drop_rows(engine, start, stop, max(group.pending, group.consumers))


# ---- how far a group is


def has_deleted_after(stream: Stream, start: bytes) -> bool:
    """Whether an entry that has at least this ID was deleted, so that counting from there is not possible."""
    return bool(stream.length) and stream.max_deleted != ZERO_ID and start <= stream.max_deleted


def estimate_read(stream: Stream, entry_id: bytes) -> int:
    """How many entries were added up to an ID; NOT_KNOWN when that cannot be told without counting.

    Source: https://redis.io/docs/latest/commands/xinfo-groups/#consumer-group-lag
    """
    if not stream.added:
        return 0
    if not stream.length and entry_id <= stream.last:
        return stream.added
    if entry_id == stream.last:
        return stream.added
    if entry_id > stream.last or (entry_id != ZERO_ID and entry_id < stream.max_deleted):
        return NOT_KNOWN
    if stream.max_deleted == ZERO_ID or stream.max_deleted < stream.first:
        if entry_id < stream.first:
            return stream.added - stream.length
        if entry_id == stream.first:
            return stream.added - stream.length + 1
    return NOT_KNOWN


def lag(stream: Stream, group: Group) -> int | None:
    """How many entries the group has still to read, None when that cannot be told without counting.

    Negative after the group's counter was set too high by hand, as in Redis.
    """
    if not stream.added or not stream.length:
        return 0
    if group.last < stream.first and stream.max_deleted < stream.first:
        return stream.length
    if group.read != NOT_KNOWN and not has_deleted_after(stream, group.last):
        return stream.added - group.read
    read = estimate_read(stream, group.last)
    return None if read == NOT_KNOWN else stream.added - read


assert GROUP_RECORD.size == 4 + ID_BYTES + 8 + 8 + 4 + 4 + 2 * ID_BYTES
