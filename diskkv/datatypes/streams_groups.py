"""Consumer groups: what each has read, its consumers, and its pending entries.

    KIND_STREAM_GROUP             sub = name                         value: group:u32
    KIND_STREAM_GROUP_STATE       sub = group:u32
                                  value: last:16 read:i64 pending:u64 consumers:u32 next_consumer:u32
                                         lowest:16 highest:16
    KIND_STREAM_CONSUMER          sub = group:u32 name               value: consumer:u32
    KIND_STREAM_CONSUMER_STATE    sub = group:u32 consumer:u32
                                  value: seen_ms:i64 active_ms:i64 pending:u64 name
    KIND_STREAM_GROUP_PENDING     sub = group:u32 id
                                  value: delivered_ms:i64 deliveries:u64 consumer:u32
                                  sub = group:u32 17 * ff            value: empty; a guard, see streams.py
    KIND_STREAM_CONSUMER_PENDING  sub = group:u32 consumer:u32 id    value: empty

Groups and consumers have numbers, so that their names are not repeated in every row; a stream never gives a number
twice. Names are in rows apart from what changes with every delivery: LevelDB keeps the old versions of a row for a
while, and a scan over rows that are written all the time walks over all of these.

`last` is the last ID delivered and `read` the number of entries up to it (-1: not known). `lowest` is the lowest
pending ID, so that reading the list does not begin with walking over what was acknowledged; no pending entry is above
`highest`, so that a delivery of IDs new to the group need not look whether they are pending already.

Delivering, acknowledging and claiming an entry are point reads and writes. XGROUP DESTROY leaves the rows of a long
list to the reclaimer; only XGROUP DELCONSUMER walks the pending entries of the consumer.

Source: https://redis.io/docs/latest/develop/data-types/streams/#consumer-groups
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from struct import Struct
from struct import error as StructError

from diskkv.codec.keys import (
    ELEMENT_PREFIX_SIZE,
    KIND_STREAM_CONSUMER,
    KIND_STREAM_CONSUMER_PENDING,
    KIND_STREAM_CONSUMER_STATE,
    KIND_STREAM_GROUP,
    KIND_STREAM_GROUP_PENDING,
    KIND_STREAM_GROUP_STATE,
    U32,
    element_prefix,
    prefix_successor,
)
from diskkv.datatypes import streams
from diskkv.datatypes.streams import MAX_ID, ZERO_ID, Mirror, Stream, group_prefix
from diskkv.engine.engine import Engine
from diskkv.errors import CorruptionError

NOT_KNOWN = -1
"""`Group.read` when it cannot be told how many entries the group has read."""
NEVER_ACTIVE = -1

GROUP_RECORD = Struct(">16sqQII16s16s")
CONSUMER_RECORD = Struct(">qqQ")
PENDING_RECORD = Struct(">qQI")
_GUARD = MAX_ID + b"\xff"


class Pending:
    """An entry that was delivered to a consumer (by its number) and not acknowledged."""

    __slots__ = ("consumer", "delivered_ms", "deliveries", "id")

    def __init__(self, entry_id: bytes, consumer: int, delivered_ms: int, deliveries: int) -> None:
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

    last: bytes
    read: int
    pending: int
    consumers: int
    next_consumer: int
    lowest: bytes
    highest: bytes

    def __init__(self, engine: Engine, stream: Stream, name: bytes, number: int, raw: bytes | None) -> None:
        self.engine = engine
        self.stream = stream
        self.name = name
        self.number = number
        try:
            (
                self.last,
                self.read,
                self.pending,
                self.consumers,
                self.next_consumer,
                self.lowest,
                self.highest,
            ) = GROUP_RECORD.unpack(raw or b"")
        except StructError as exc:
            raise self._corrupt(b"state", raw or b"") from exc
        self.pending_prefix = group_prefix(stream, KIND_STREAM_GROUP_PENDING, number)
        self._name_prefix = group_prefix(stream, KIND_STREAM_CONSUMER, number)
        self._state_prefix = group_prefix(stream, KIND_STREAM_CONSUMER_STATE, number)
        self._touched: dict[int, Consumer] = {}

    def save(self) -> None:
        """Stage the rows of the group and of the consumers that were used."""
        put = self.engine.rows.put
        for consumer in self._touched.values():
            put(
                self._state_prefix + U32.pack(consumer.number),
                CONSUMER_RECORD.pack(consumer.seen_ms, consumer.active_ms, consumer.pending) + consumer.name,
            )
        put(
            group_prefix(self.stream, KIND_STREAM_GROUP_STATE, self.number),
            GROUP_RECORD.pack(
                self.last,
                self.read,
                self.pending,
                self.consumers,
                self.next_consumer,
                self.lowest,
                self.highest,
            ),
        )

    def row_ranges(self) -> list[tuple[bytes, bytes, int]]:
        """(start, stop, number of rows) for all rows of the group, as of the last `save`."""
        name = element_prefix(self.stream.oid, KIND_STREAM_GROUP) + self.name
        ranges = [(name, name + b"\x00", 1)]
        for kind, count in (
            (KIND_STREAM_GROUP_STATE, 1),
            (KIND_STREAM_CONSUMER, self.consumers),
            (KIND_STREAM_CONSUMER_STATE, self.consumers),
            (KIND_STREAM_GROUP_PENDING, self.pending + 1),
            (KIND_STREAM_CONSUMER_PENDING, self.pending),
        ):
            prefix = group_prefix(self.stream, kind, self.number)
            ranges.append((prefix, prefix_successor(prefix), count))
        return ranges

    def _corrupt(self, what: bytes, raw: bytes) -> CorruptionError:
        name = f"group {self.name.hex()} of stream {self.stream.oid}"
        return CorruptionError(f"{name}: {what.decode()} does not decode: {raw[:80].hex()}")

    # ---- consumers

    def consumer(self, name: bytes) -> Consumer | None:
        """The consumer of this name, None when there is none."""
        raw = self.engine.rows.get(self._name_prefix + name)
        return None if raw is None else self.consumer_by_number(U32.unpack(raw)[0])

    def consumer_by_number(self, number: int) -> Consumer:
        """A consumer; changes of it reach its row with `save`."""
        found = self._touched.get(number)
        if found is None:
            raw = self.engine.rows.get(self._state_prefix + U32.pack(number)) or b""
            try:
                found = Consumer(raw[CONSUMER_RECORD.size :], number, *CONSUMER_RECORD.unpack_from(raw))
            except StructError as exc:
                raise self._corrupt(b"consumer %d" % number, raw) from exc
            self._touched[number] = found
        return found

    def create_consumer(self, name: bytes, now_ms: int) -> Consumer:
        """A new consumer; there is none of this name."""
        number = self.next_consumer
        consumer = self._touched[number] = Consumer(name, number, now_ms, NEVER_ACTIVE, 0)
        self.engine.rows.put(self._name_prefix + name, U32.pack(number))
        self.next_consumer += 1
        self.consumers += 1
        return consumer

    def all_consumers(self) -> Iterator[Consumer]:
        """Every consumer, by name."""
        if self.consumers:
            rows = self.engine.rows.scan(self._name_prefix, prefix_successor(self._name_prefix))
            for _, raw in islice(rows, self.consumers):
                yield self.consumer_by_number(U32.unpack(raw)[0])

    def delete_consumer(self, consumer: Consumer) -> int:
        """Remove a consumer with its pending entries; answers how many these were."""
        rows = self.engine.rows
        start = self._pending_prefix_of(consumer)
        size = len(start)
        for row, _ in islice(rows.scan(start, prefix_successor(start)), consumer.pending):
            rows.delete(row)
            rows.delete(self.pending_prefix + row[size:])
        rows.delete(self._name_prefix + consumer.name)
        rows.delete(self._state_prefix + U32.pack(consumer.number))
        del self._touched[consumer.number]
        self.consumers -= 1
        if consumer.pending:
            self._count_pending(-consumer.pending)
            self._forget_following(ZERO_ID)
            if self.pending:
                self.lowest = self._pending_from(self.lowest, 1)[0]
        return consumer.pending

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
        stop = prefix + min(end, self.highest) + b"\x00"
        for row, raw in islice(self.engine.rows.scan(prefix + start, stop, reverse), self.pending):
            yield self._decode_pending(row[size:], raw)

    def scan_pending_of(self, consumer: Consumer, start: bytes, end: bytes) -> Iterator[Pending]:
        """As `scan_pending`, those of one consumer."""
        start = max(start, self.lowest)
        if not consumer.pending or start > end:
            return
        rows = self.engine.rows
        prefix = self._pending_prefix_of(consumer)
        size = len(prefix)
        for row, _ in islice(rows.scan(prefix + start, prefix + end + b"\x00"), consumer.pending):
            entry_id = row[size:]
            raw = rows.get(self.pending_prefix + entry_id)
            if raw is None:
                message = f"row {row.hex()} of a consumer has no counterpart in its group"
                raise CorruptionError(message)
            yield self._decode_pending(entry_id, raw)

    def highest_pending(self) -> bytes:
        """The highest pending ID of a list that is not empty."""
        if self.pending == 1:
            return self.lowest
        if self.engine.rows.get(self.pending_prefix + self.highest) is not None:
            return self.highest
        return next(self.scan_pending(ZERO_ID, MAX_ID, True)).id

    def assign(self, pending: Pending, consumer: Consumer, is_new: bool) -> None:
        """Make (or leave) an entry pending with `consumer`; `pending` has its new time and count, and its old owner."""
        rows = self.engine.rows
        entry_id = pending.id
        if is_new:
            self._forget_following(entry_id)
            self._count_pending(1)
            self.lowest = min(self.lowest, entry_id)
            self.highest = max(self.highest, entry_id)
        if is_new or pending.consumer != consumer.number:
            if not is_new:
                self._take_from_owner(pending)
            rows.put(self._pending_prefix_of(consumer) + entry_id, b"")
            consumer.pending += 1
            pending.consumer = consumer.number
        value = PENDING_RECORD.pack(pending.delivered_ms, pending.deliveries, consumer.number)
        rows.put(self.pending_prefix + entry_id, value)

    def deliver_new(self, ids: list[bytes], consumer: Consumer, now_ms: int) -> None:
        """Make entries, given in order, pending with `consumer`, delivered once, whether they were pending or not."""
        put = self.engine.rows.put
        mine = self._pending_prefix_of(consumer)
        value = PENDING_RECORD.pack(now_ms, 1, consumer.number)
        added = len(ids)
        owned = added
        self._forget_following(ids[0])
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
        if not self.pending:
            return
        ahead = streams.mirror_of(self.engine, self.stream).pending.setdefault(self.number, deque())
        if pending.id != self.lowest:
            if ahead and pending.id <= ahead[-1]:
                with suppress(ValueError):
                    ahead.remove(pending.id)
            return
        if not ahead:
            ahead.extend(self._pending_from(pending.id, streams.AHEAD))
        self.lowest = ahead.popleft()

    def _pending_from(self, start: bytes, count: int) -> list[bytes]:
        """Up to `count` IDs from `start` on; raises CorruptionError when there is none."""
        prefix = self.pending_prefix
        size = len(prefix)
        rows = self.engine.rows.scan(prefix + start, prefix + self.highest + b"\x00")
        found = [row[size:] for row, _ in islice(rows, min(count, self.pending))]
        if not found:
            message = f"group {self.name.hex()} of stream {self.stream.oid} has {self.pending} pending entries, not 0"
            raise CorruptionError(message)
        return found

    def _forget_following(self, entry_id: bytes) -> None:
        """An entry becomes pending that may not be the last one: what was looked up ahead does not have it."""
        mirror: Mirror | None = self.engine.mirrors.get(self.stream.oid)
        if mirror is not None and entry_id <= self.highest:
            mirror.pending.pop(self.number, None)

    def _take_from_owner(self, pending: Pending) -> None:
        owner = self.consumer_by_number(pending.consumer)
        self.engine.rows.delete(self._pending_prefix_of(owner) + pending.id)
        owner.pending -= 1

    def _count_pending(self, delta: int) -> None:
        self.pending += delta
        if not self.pending:
            self._forget_following(ZERO_ID)
            self.lowest = MAX_ID
            self.highest = ZERO_ID

    def _pending_prefix_of(self, consumer: Consumer) -> bytes:
        return group_prefix(self.stream, KIND_STREAM_CONSUMER_PENDING, self.number) + U32.pack(consumer.number)

    def _decode_pending(self, entry_id: bytes, raw: bytes) -> Pending:
        try:
            delivered_ms, deliveries, consumer = PENDING_RECORD.unpack(raw)
        except StructError as exc:
            raise self._corrupt(b"pending entry", raw) from exc
        return Pending(entry_id, consumer, delivered_ms, deliveries)


# ---- the groups of a stream


def find(engine: Engine, stream: Stream, name: bytes) -> Group | None:
    """The group of this name, None when there is none."""
    if not stream.groups:
        return None
    raw = engine.rows.get(element_prefix(stream.oid, KIND_STREAM_GROUP) + name)
    return None if raw is None else _load(engine, stream, name, raw)


def _load(engine: Engine, stream: Stream, name: bytes, raw: bytes) -> Group:
    (number,) = U32.unpack(raw)
    return Group(engine, stream, name, number, engine.rows.get(group_prefix(stream, KIND_STREAM_GROUP_STATE, number)))


def all_groups(engine: Engine, stream: Stream) -> list[Group]:
    """Every group, by name."""
    if not stream.groups:
        return []
    prefix = element_prefix(stream.oid, KIND_STREAM_GROUP)
    return [
        _load(engine, stream, row[ELEMENT_PREFIX_SIZE:], raw)
        for row, raw in islice(engine.rows.scan(prefix, prefix_successor(prefix)), stream.groups)
    ]


def create(engine: Engine, stream: Stream, name: bytes, last: bytes, read: int) -> Group:
    """A new group that has read up to `last`; there is none of this name. The stream's header changes too."""
    number = stream.next_group
    stream.next_group += 1
    stream.groups += 1
    engine.rows.put(element_prefix(stream.oid, KIND_STREAM_GROUP) + name, U32.pack(number))
    group = Group(engine, stream, name, number, GROUP_RECORD.pack(last, read, 0, 0, 0, MAX_ID, ZERO_ID))
    engine.rows.put(group.pending_prefix + _GUARD, b"")
    group.save()
    return group


def destroy(engine: Engine, stream: Stream, group: Group) -> None:
    """Remove a group with all that belongs to it. The stream's header changes too."""
    stream.groups -= 1
    for start, stop, count in group.row_ranges():
        streams.drop_rows(engine, start, stop, count)


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
