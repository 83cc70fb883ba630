"""What an RDB payload or file holds, as plain Python values, and the errors of the RDB codec.

The classes say nothing about the encoding they came from; order of members and fields is the encoding's, not a promise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

StreamId: TypeAlias = tuple[int, int]
"""(milliseconds, sequence), each 0 .. 2**64 - 1."""


class RdbError(Exception):
    """Anything wrong with RDB bytes, or with a value that is to become RDB bytes."""


class RdbVersionError(RdbError):
    """The version is newer than what is understood, or the checksum does not fit."""


class RdbDataError(RdbError):
    """The content does not decode: truncated, damaged, empty collection, duplicate members, unknown type."""


class RdbUnsupportedError(RdbError):
    """Well-formed content that has no place here (a module's value), or a value without one in the wanted version."""


@dataclass(frozen=True, slots=True)
class StringValue:
    """A string."""

    type_name: ClassVar[bytes] = b"string"
    data: bytes


@dataclass(frozen=True, slots=True)
class ListValue:
    """A list, head first."""

    type_name: ClassVar[bytes] = b"list"
    elements: list[bytes]


@dataclass(frozen=True, slots=True)
class SetValue:
    """A set; the members are distinct."""

    type_name: ClassVar[bytes] = b"set"
    members: list[bytes]


@dataclass(frozen=True, slots=True)
class ZSetValue:
    """A sorted set as (member, score) in no particular order; members are distinct, no score is NaN."""

    type_name: ClassVar[bytes] = b"zset"
    entries: list[tuple[bytes, float]]


@dataclass(frozen=True, slots=True)
class HashValue:
    """A hash as (field, value, expire_ms); fields are distinct; expire_ms is absolute, 0 for none."""

    type_name: ClassVar[bytes] = b"hash"
    entries: list[tuple[bytes, bytes, int]]

    @property
    def has_expiry(self) -> bool:
        """Whether any field has its own expiry."""
        return any(entry[2] for entry in self.entries)


@dataclass(frozen=True, slots=True)
class StreamEntry:
    """One entry; `fields` is flat: name, value, name, value ..."""

    id: StreamId
    fields: list[bytes]


@dataclass(frozen=True, slots=True)
class StreamPending:
    """An entry delivered to a consumer and not acknowledged; the entry itself may be deleted already."""

    id: StreamId
    delivery_time_ms: int
    delivery_count: int


@dataclass(frozen=True, slots=True)
class StreamConsumer:
    """A consumer of a group; `pending` holds IDs of the group's pending list, ascending."""

    name: bytes
    seen_time_ms: int
    active_time_ms: int = -1
    """When it last got an entry; -1: never."""
    pending: list[StreamId] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class StreamGroup:
    """A consumer group; each of `pending` (ascending) belongs to exactly one of `consumers`."""

    name: bytes
    last_id: StreamId
    entries_read: int = -1
    """Entries read by the group since the stream's start; -1: not known."""
    pending: list[StreamPending] = field(default_factory=list)
    consumers: list[StreamConsumer] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class StreamValue:
    """A stream; the only collection that can be empty. Entries ascend by ID."""

    type_name: ClassVar[bytes] = b"stream"
    entries: list[StreamEntry] = field(default_factory=list)
    last_id: StreamId = (0, 0)
    max_deleted_id: StreamId = (0, 0)
    entries_added: int = 0
    groups: list[StreamGroup] = field(default_factory=list)

    @property
    def first_id(self) -> StreamId:
        """The ID of the first entry, (0, 0) in an empty stream."""
        return self.entries[0].id if self.entries else (0, 0)


RdbValue: TypeAlias = StringValue | ListValue | SetValue | ZSetValue | HashValue | StreamValue
