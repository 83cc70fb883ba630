"""What must hold between a header and the rows of its object; every row is read once, and none is kept.

Rows that come in pairs (a hash field and its entry in the expiry index, a member and its score ...) are compared by the
sums of their hashes; only when these differ, each row's counterpart is looked up, to tell which one is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Protocol

from xxhash import xxh32_digest, xxh64_intdigest

from diskkv.codec import keys
from diskkv.codec.header import HASH, LIST, SET, STREAM, STRING, TYPE_NAMES, ZSET, Header
from diskkv.codec.keys import ELEMENT_PREFIX_SIZE, KIND_HASH_EXPIRY, KIND_HASH_FIELD, U32, U64, object_range
from diskkv.datatypes.hashes_edit import decode_field, expiry_row_of
from diskkv.datatypes.members import PREFIX_BYTES
from diskkv.datatypes.strings import CHUNK_BYTES
from diskkv.engine.store import Store
from tools.ctl import leftovers
from tools.ctl.leftovers import Leftovers
from tools.ctl.lists import ListCheck
from tools.ctl.output import Progress
from tools.ctl.report import ObjectReport, Rows, quoted_part
from tools.ctl.rowtext import KINDS
from tools.ctl.streams import StreamCheck
from tools.ctl.zsets import ZSetCheck

_NO_KIND = -1
_NO_EXPIRY = b"\0"
_EXPIRY_AT = ELEMENT_PREFIX_SIZE
_HASH_AT = ELEMENT_PREFIX_SIZE + U64.size
"""Where time and hash begin in a row of a hash's expiry index."""


class StringCheck:
    """A string's count is its length, and an absent chunk is zeros: so only what lies behind the end is wrong."""

    def __init__(self, store: Store, value: Header, left: Leftovers, report: ObjectReport) -> None:
        self._value = value
        self._report = report
        self.kinds: dict[int, Callable[[Rows], None]] = {keys.KIND_STRING_CHUNK: self._chunks}

    def _chunks(self, rows: Rows) -> None:
        for row, chunk in rows:
            sub = row[ELEMENT_PREFIX_SIZE:]
            if len(sub) != U32.size:
                self._report(f"a row of a string has a key of the wrong length: {row.hex()}")
                continue
            (index,) = U32.unpack(sub)
            if not 0 < len(chunk) <= CHUNK_BYTES:
                self._report(f"chunk {index} of a string has {len(chunk)} bytes, not 1 to {CHUNK_BYTES}")
            elif index * CHUNK_BYTES + len(chunk) > self._value.count:
                self._report(f"chunk {index} of a string of {self._value.count} bytes reaches behind its end")

    def end(self) -> None:
        """Nothing is left to check."""


class SetCheck:
    """Members stand at their hashes and are counted."""

    def __init__(self, store: Store, value: Header, left: Leftovers, report: ObjectReport) -> None:
        self._value = value
        self._report = report
        self._members = 0
        self.kinds: dict[int, Callable[[Rows], None]] = {keys.KIND_SET_MEMBER: self._check_members}

    def _check_members(self, rows: Rows) -> None:
        for row, raw in rows:
            self._members += 1
            if row[ELEMENT_PREFIX_SIZE:PREFIX_BYTES] != xxh32_digest(row[PREFIX_BYTES:]):
                self._report(f"the member {quoted_part(row[PREFIX_BYTES:])} of a set has another hash")
            if raw:
                self._report(f"the member {quoted_part(row[PREFIX_BYTES:])} of a set has a value")

    def end(self) -> None:
        """Compare the count."""
        if self._members != self._value.count:
            self._report(f"a set of {self._value.count} members has {self._members}")


class HashCheck:
    """Fields stand at their hashes and are counted; those with a time to live, and only they, are in the index."""

    def __init__(self, store: Store, value: Header, left: Leftovers, report: ObjectReport) -> None:
        self._store = store
        self._value = value
        self._report = report
        self._fields = self._timed = self._indexed = 0
        self._sum = 0
        """Of the hashes of what the index must have, less those of what it has."""
        self.kinds: dict[int, Callable[[Rows], None]] = {
            KIND_HASH_FIELD: self._check_fields,
            KIND_HASH_EXPIRY: self._check_index,
        }

    def _check_fields(self, rows: Rows) -> None:
        for row, raw in rows:
            self._fields += 1
            field = row[PREFIX_BYTES:]
            if row[ELEMENT_PREFIX_SIZE:PREFIX_BYTES] != xxh32_digest(field):
                self._report(f"the field {quoted_part(field)} of a hash has another hash")
            if raw[:1] == _NO_EXPIRY:
                continue
            if raw[:1] != b"\1" or len(raw) < 1 + U64.size or not decode_field(raw)[1]:
                self._report(f"the value of the field {quoted_part(field)} does not decode: {raw[:16].hex()}")
                continue
            self._timed += 1
            self._sum += xxh64_intdigest(raw[1:9] + row[ELEMENT_PREFIX_SIZE:])

    def _check_index(self, rows: Rows) -> None:
        next_ms, last_ms, _ = self._value.ext or (0, 0, 0)
        for row, raw in rows:
            self._indexed += 1
            if raw:
                self._report(f"a row of the expiry index of a hash has a value: {row.hex()}")
            self._sum -= xxh64_intdigest(row[_EXPIRY_AT:])
            expire_ms = int.from_bytes(row[_EXPIRY_AT:_HASH_AT])
            if not next_ms <= expire_ms <= last_ms and self._value.ext:
                self._report(
                    f"the field {quoted_part(row[_HASH_AT + 4 :])} expires at {expire_ms}, "
                    f"outside of {next_ms} to {last_ms} as its hash says"
                )

    def end(self) -> None:
        """Compare the counts, and fields with index."""
        value = self._value
        if self._fields != value.count:
            self._report(f"a hash of {value.count} fields has {self._fields}")
        timed = value.ext[2] if value.ext else 0
        if self._timed != timed:
            self._report(f"a hash says that {timed} of its fields expire, and {self._timed} do")
        if self._sum or self._timed != self._indexed:
            self._compare()

    def _compare(self) -> None:
        oid = self._value.oid
        fields, index = (keys.element_prefix(oid, kind) for kind in (KIND_HASH_FIELD, KIND_HASH_EXPIRY))
        for row, raw in self._store.scan(fields, keys.prefix_successor(fields)):
            if raw[:1] == b"\1" and len(raw) > U64.size:
                expire_ms = decode_field(raw)[1]
                if self._store.get(expiry_row_of(oid, row, expire_ms)) is None:
                    self._report(f"the field {quoted_part(row[PREFIX_BYTES:])} is not in the expiry index of its hash")
        for row in self._store.scan_keys(index, keys.prefix_successor(index)):
            raw_field = self._store.get(fields + row[_HASH_AT:])
            if raw_field is None or raw_field[:9] != b"\1" + row[_EXPIRY_AT:_HASH_AT]:
                self._report(f"the expiry index of a hash has a row that belongs to no field: {row.hex()}")


class ObjectCheck(Protocol):
    """The check of one object: rows in their order, one kind after the other, and then what is left to compare."""

    kinds: dict[int, Callable[[Rows], None]]
    """What takes the rows of each kind that the type has."""

    def end(self) -> None:
        """Report what only shows when all rows were seen."""


_CHECKS: dict[int, Callable[[Store, Header, Leftovers, ObjectReport], ObjectCheck]] = {
    STRING: StringCheck,
    LIST: ListCheck,
    SET: SetCheck,
    ZSET: ZSetCheck,
    HASH: HashCheck,
    STREAM: StreamCheck,
}


def _kind_of(pair: tuple[bytes, bytes]) -> int:
    row = pair[0]
    return row[ELEMENT_PREFIX_SIZE - 1] if len(row) >= ELEMENT_PREFIX_SIZE else _NO_KIND


def object_problems(
    store: Store, value: Header, left: Leftovers = leftovers.NONE, progress: Progress | None = None
) -> list[str]:
    """What is wrong with the rows of `value`, whose `oid` is set and whose `ext` has the form that its type needs.

    `left` are the rows of the object that wait for the reclaimer.
    """
    report = ObjectReport()
    check = _CHECKS[value.type](store, value, left, report)
    rows: Iterator[tuple[bytes, bytes]] = store.scan(*object_range(value.oid))
    for kind, found in groupby(rows if progress is None else progress.watch(rows), _kind_of):
        handler = check.kinds.get(kind)
        if handler is not None:
            handler(found)
        else:
            count = sum(1 for _ in found)
            name = KINDS.get(kind, f"{kind}, which is not known")
            report(f"a {TYPE_NAMES[value.type].decode()} has {count} rows of the kind {name}")
    check.end()
    return report.problems()
