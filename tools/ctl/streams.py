"""What must hold within a stream: nodes count its entries, groups and consumers count what is pending with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import msgpack
from xxhash import xxh64_intdigest

from diskkv.codec.header import Header
from diskkv.codec.keys import (
    ELEMENT_PREFIX_SIZE,
    KIND_STREAM_CONSUMER,
    KIND_STREAM_CONSUMER_PENDING,
    KIND_STREAM_CONSUMER_STATE,
    KIND_STREAM_ENTRY,
    KIND_STREAM_GROUP,
    KIND_STREAM_GROUP_PENDING,
    KIND_STREAM_GROUP_STATE,
    KIND_STREAM_NODE,
    U32,
    element_prefix,
    prefix_successor,
)
from diskkv.datatypes import streams_nodes
from diskkv.datatypes.streams import ENTRY_AT, ID_BYTES, MAX_ID, ZERO_ID, Stream, guard_row, node_prefix, unpack_fields
from diskkv.datatypes.streams_groups import CONSUMER_RECORD, GROUP_RECORD, PENDING_RECORD
from diskkv.datatypes.streams_nodes import Node
from diskkv.engine.store import Store
from diskkv.errors import CorruptionError
from tools.ctl.leftovers import Leftovers
from tools.ctl.report import ObjectReport, Rows, quoted_part

_OWNER_AT = ELEMENT_PREFIX_SIZE + U32.size
"""Where a consumer's name, its number, or an entry's ID begins in a row that begins with a group's number."""
_OWNED_AT = _OWNER_AT + U32.size
"""Where the ID begins in a row of the kind KIND_STREAM_CONSUMER_PENDING."""
_PENDING_GUARD = MAX_ID + b"\xff"


@dataclass
class _Consumer:
    """What was found of a consumer: its name, its state, and how many rows of entries that are pending with it."""

    name: bytes
    state: bytes = b""
    pending: int = 0


@dataclass
class _Group:
    """What was found of a group. `sum` is of the hashes of what is pending, by group less by consumer."""

    name: bytes
    state: bytes = b""
    consumers: dict[int, _Consumer] = field(default_factory=dict)
    pending: int = 0
    owned: int = 0
    lowest: bytes = MAX_ID
    highest: bytes = ZERO_ID
    sum: int = 0
    has_guard: bool = False


class StreamCheck:
    """One stream; layouts in datatypes/streams.py, streams_nodes.py and streams_groups.py."""

    def __init__(self, store: Store, value: Header, left: Leftovers, report: ObjectReport) -> None:
        self._store = store
        self._report = report
        self._left = left
        self._stream = Stream(value)
        self._groups: dict[int, _Group] = {}
        self._nodes = _Nodes(store, self._stream, report)
        self._entries = 0
        self._has_guard = False
        self._first = ZERO_ID
        self.kinds: dict[int, Callable[[Rows], None]] = {
            KIND_STREAM_ENTRY: self._check_entries,
            KIND_STREAM_GROUP: self._check_groups,
            KIND_STREAM_CONSUMER: self._check_consumers,
            KIND_STREAM_GROUP_PENDING: self._check_pending,
            KIND_STREAM_CONSUMER_PENDING: self._check_owned,
            KIND_STREAM_NODE: self._check_nodes,
            KIND_STREAM_GROUP_STATE: self._check_group_states,
            KIND_STREAM_CONSUMER_STATE: self._check_consumer_states,
        }

    def _is_used(self, row: bytes, belongs: bool, size: int = 0) -> bool:
        """Whether a row is in use. It has to be either that or waiting to be reclaimed; `size` of its key if fixed."""
        if size and len(row) != size:
            self._report(f"a row of a stream has a key of the wrong length: {row.hex()}")
            return False
        if belongs == (bool(self._left) and self._left.cover(row)):
            state = "waits to be reclaimed while it is in use" if belongs else "belongs to nothing in it"
            self._report(f"the row {row.hex()} of a stream {state}")
        return belongs

    # ---- entries and nodes

    def _check_entries(self, rows: Rows) -> None:
        stream = self._stream
        prefix = stream.prefix
        guard = guard_row(stream)
        for row, raw in rows:
            if row == guard:
                self._has_guard = True
                continue
            entry_id = row[ENTRY_AT:]
            belongs = row.startswith(prefix) and bool(stream.length) and entry_id >= stream.first
            if not self._is_used(row, belongs, ENTRY_AT + ID_BYTES):
                continue
            self._first = self._first if self._entries else entry_id
            self._entries += 1
            if entry_id > stream.last:
                self._report(f"the entry {entry_id.hex()} of a stream lies behind its last ID {stream.last.hex()}")
            if not _is_entry(raw):
                self._report(f"the entry {entry_id.hex()} of a stream does not decode: {raw[:32].hex()}")
            self._nodes.count(entry_id)

    def _check_nodes(self, rows: Rows) -> None:
        stream = self._stream
        prefix = node_prefix(stream)
        for row, _ in rows:
            belongs = row.startswith(prefix) and stream.nodes > 1 and stream.head <= row[ENTRY_AT:] < stream.tail
            self._is_used(row, belongs, ENTRY_AT + ID_BYTES)

    def _end_entries(self) -> None:
        stream = self._stream
        self._nodes.end()
        if not self._has_guard:
            self._report("a stream has no guard row behind its entries")
        if self._entries != stream.length:
            self._report(f"a stream of {stream.length} entries has {self._entries}")
        if self._first != stream.first:
            self._report(f"a stream's first entry is {self._first.hex()}, its header says {stream.first.hex()}")

    # ---- groups

    def _check_groups(self, rows: Rows) -> None:
        for row, raw in rows:
            name = row[ELEMENT_PREFIX_SIZE:]
            self._is_used(row, True)
            number = int.from_bytes(raw)
            if len(raw) != U32.size or number >= self._stream.next_group:
                self._report(f"the group {quoted_part(name)} of a stream has no number that was given out: {raw.hex()}")
            elif number in self._groups:
                self._report(f"two groups of a stream have the number {number}")
            else:
                self._groups[number] = _Group(name)

    def _group_of(self, row: bytes) -> _Group | None:
        number = row[ELEMENT_PREFIX_SIZE:_OWNER_AT]
        return self._groups.get(int.from_bytes(number)) if len(number) == U32.size else None

    def _check_group_states(self, rows: Rows) -> None:
        for row, raw in rows:
            group = self._group_of(row)
            if self._is_used(row, group is not None, _OWNER_AT) and group is not None:
                group.state = raw

    def _check_consumers(self, rows: Rows) -> None:
        for row, raw in rows:
            group = self._group_of(row)
            if not self._is_used(row, group is not None) or group is None:
                continue
            name = row[_OWNER_AT:]
            number = int.from_bytes(raw)
            if len(raw) != U32.size or number in group.consumers:
                self._report(f"the consumer {quoted_part(name)} of a stream has no number of its own: {raw.hex()}")
            else:
                group.consumers[number] = _Consumer(name)

    def _check_consumer_states(self, rows: Rows) -> None:
        for row, raw in rows:
            group = self._group_of(row)
            consumer = None if group is None else group.consumers.get(int.from_bytes(row[_OWNER_AT:]))
            if self._is_used(row, consumer is not None, _OWNED_AT) and consumer is not None:
                consumer.state = raw

    # ---- what is pending

    def _check_pending(self, rows: Rows) -> None:
        for row, raw in rows:
            group = self._group_of(row)
            if row[_OWNER_AT:] == _PENDING_GUARD:
                if self._is_used(row, group is not None) and group is not None:
                    group.has_guard = True
                continue
            if not self._is_used(row, group is not None, _OWNER_AT + ID_BYTES) or group is None:
                continue
            entry_id = row[_OWNER_AT:]
            group.pending += 1
            group.lowest = min(group.lowest, entry_id)
            group.highest = max(group.highest, entry_id)
            if len(raw) != PENDING_RECORD.size:
                self._report(f"{entry_id.hex()} is pending in a group, which does not decode: {raw.hex()}")
            elif PENDING_RECORD.unpack(raw)[2] not in group.consumers:
                self._report(f"{entry_id.hex()} is pending with a consumer that its group does not have")
            else:
                group.sum += xxh64_intdigest(_owner(raw) + entry_id)

    def _check_owned(self, rows: Rows) -> None:
        for row, raw in rows:
            group = self._group_of(row)
            if not self._is_used(row, group is not None, _OWNED_AT + ID_BYTES) or group is None:
                continue
            group.owned += 1
            group.sum -= xxh64_intdigest(row[_OWNER_AT:])
            consumer = group.consumers.get(int.from_bytes(row[_OWNER_AT:_OWNED_AT]))
            if consumer is None:
                self._report(f"{row[_OWNED_AT:].hex()} is pending with a consumer that does not exist")
            else:
                consumer.pending += 1
            if raw:
                self._report(f"a row of what is pending with a consumer has a value: {row.hex()}")

    # ---- at the end

    def end(self) -> None:
        """Compare the counts, and what is pending by group with what is pending by consumer."""
        self._end_entries()
        if len(self._groups) != self._stream.groups:
            self._report(f"a stream of {self._stream.groups} groups has {len(self._groups)}")
        for number, group in self._groups.items():
            self._end_group(group)
            if group.sum or group.pending != group.owned:
                self._compare(number, group)

    def _end_group(self, group: _Group) -> None:
        name = quoted_part(group.name)
        if not group.has_guard:
            self._report(f"the group {name} has no guard row behind its pending entries")
        if len(group.state) != GROUP_RECORD.size:
            self._report(f"the state of the group {name} is missing or does not decode: {group.state.hex()}")
            return
        _, _, pending, consumers, next_consumer, lowest, highest = GROUP_RECORD.unpack(group.state)
        if len(group.consumers) != consumers:
            self._report(f"the group {name} of {consumers} consumers has {len(group.consumers)}")
        if group.pending != pending:
            self._report(f"the group {name} counts {pending} pending entries and has {group.pending}")
        if group.lowest < lowest or group.highest > highest:
            self._report(f"the group {name} has pending entries outside of its bounds")
        if not pending and (lowest, highest) != (MAX_ID, ZERO_ID):
            self._report(f"the group {name} has bounds and nothing pending")
        for number, consumer in group.consumers.items():
            if number >= next_consumer:
                self._report(f"the consumer {quoted_part(consumer.name)} has the number {number} of {next_consumer}")
            self._end_consumer(name, consumer)

    def _end_consumer(self, group_name: str, consumer: _Consumer) -> None:
        name = f"the consumer {quoted_part(consumer.name)} of the group {group_name}"
        state = consumer.state
        if len(state) < CONSUMER_RECORD.size or state[CONSUMER_RECORD.size :] != consumer.name:
            self._report(f"the state of {name} is missing or of another one: {state[:64].hex()}")
            return
        _, _, pending = CONSUMER_RECORD.unpack_from(state)
        if pending != consumer.pending:
            self._report(f"{name} counts {pending} pending entries and has {consumer.pending}")

    def _compare(self, number: int, group: _Group) -> None:
        pending = element_prefix(self._stream.oid, KIND_STREAM_GROUP_PENDING) + U32.pack(number)
        owned = element_prefix(self._stream.oid, KIND_STREAM_CONSUMER_PENDING) + U32.pack(number)
        for row, raw in self._store.scan(pending, prefix_successor(pending)):
            entry_id = row[_OWNER_AT:]
            if len(raw) == PENDING_RECORD.size and self._store.get(owned + _owner(raw) + entry_id) is None:
                self._report(f"{entry_id.hex()} is pending in {quoted_part(group.name)} and not with its owner")
        for row in self._store.scan_keys(owned, prefix_successor(owned)):
            raw_pending = self._store.get(pending + row[_OWNED_AT:])
            if raw_pending is None or _owner(raw_pending) != row[_OWNER_AT:_OWNED_AT]:
                self._report(f"{row[_OWNED_AT:].hex()} is pending with a consumer and not so in its group")


def _owner(raw: bytes) -> bytes:
    """The consumer's number, as it is in keys, of a pending entry's row value."""
    return raw[-U32.size :]


def _is_entry(raw: bytes) -> bool:
    try:
        fields = unpack_fields(raw)
    except (ValueError, msgpack.UnpackException):
        return False
    return (
        fields.__class__ is list
        and len(fields) > 0
        and len(fields) % 2 == 0
        and all(field.__class__ is bytes for field in fields)
    )


class _Nodes:
    """Compares the nodes with the entries, which come in order."""

    def __init__(self, store: Store, stream: Stream, report: ObjectReport) -> None:
        self._stream = stream
        self._report = report
        self._live = 0
        self._number = 0
        self._rows = self._read(store)
        self._node = next(self._rows, None)
        if stream.nodes > 1 and self._node is not None and self._node.first != stream.head:
            report(f"a stream's first node is {self._node.first.hex()}, its header says {stream.head.hex()}")

    def _read(self, store: Store) -> Iterator[Node]:
        stream = self._stream
        if stream.nodes > 1:
            prefix = node_prefix(stream)
            for row, raw in store.scan(prefix + stream.head, prefix + stream.tail):
                try:
                    node = streams_nodes.decode(row, raw)
                except CorruptionError as error:
                    self._report(str(error))
                    continue
                if node.first == stream.head:
                    # What changes of the first node is in the header.
                    node.live, node.deleted = stream.head_live, stream.head_deleted
                    if node.last != stream.head_last:
                        self._report(f"the first node of a stream ends at {node.last.hex()}, its header says otherwise")
                yield node
        if stream.nodes:
            yield Node(
                stream.tail,
                stream.tail_last,
                stream.tail_live,
                stream.tail_deleted,
                stream.tail_bytes,
                stream.tail_digest,
            )

    def count(self, entry_id: bytes) -> None:
        """Count one entry."""
        while self._node is not None and entry_id > self._node.last:
            self._step()
        if self._node is None or entry_id < self._node.first:
            self._report(f"the entry {entry_id.hex()} of a stream belongs to no node")
        else:
            self._live += 1

    def _step(self) -> None:
        node = self._node
        assert node is not None
        self._number += 1
        if node.live != self._live:
            self._report(f"the node of a stream at {node.first.hex()} counts {node.live} entries and has {self._live}")
        if node.last < node.first:
            self._report(f"the node of a stream at {node.first.hex()} ends at {node.last.hex()}")
        self._live = 0
        self._node = next(self._rows, None)
        if self._node is not None and self._node.first <= node.last:
            self._report(f"the node of a stream at {self._node.first.hex()} begins before the end of the one before")

    def end(self) -> None:
        """There are no more entries."""
        while self._node is not None:
            self._step()
        if self._number != self._stream.nodes:
            self._report(f"a stream of {self._stream.nodes} nodes has {self._number}")
