"""What must hold within a big sorted set: both rows of every member agree, and the rank index counts them right."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from xxhash import xxh32_digest, xxh64_intdigest

from diskkv.codec.header import Header
from diskkv.codec.keys import (
    ELEMENT_PREFIX_SIZE,
    KIND_ZSET_BLOCK,
    KIND_ZSET_GROUP,
    KIND_ZSET_MEMBER,
    KIND_ZSET_SCORE,
    U32,
    element_prefix,
    prefix_successor,
)
from diskkv.codec.numbers import encode_double
from diskkv.datatypes.members import PREFIX_BYTES
from diskkv.datatypes.zset_rows import DOUBLE
from diskkv.engine.store import Store
from tools.ctl.leftovers import Leftovers
from tools.ctl.report import ObjectReport, Rows, quoted_part

_NEGATIVE_ZERO = DOUBLE.pack(-0.0)
_SCORE_BYTES = 8


class ZSetCheck:
    """One sorted set; layouts in datatypes/zset_rows.py and zset_blocks.py."""

    def __init__(self, store: Store, value: Header, left: Leftovers, report: ObjectReport) -> None:
        self._store = store
        self._value = value
        self._report = report
        ext: tuple[int, bytes, bytes] = value.ext or (0, b"", b"")
        self._negatives, self._low, self._high = ext
        self._members = self._scores = 0
        self._sum = 0
        """Of the hashes of the positions that the members must have, less those of the positions there are."""
        self.kinds: dict[int, Callable[[Rows], None]] = {
            KIND_ZSET_MEMBER: self._check_members,
            KIND_ZSET_SCORE: self._check_scores,
            # Read beside the scores that they count.
            KIND_ZSET_BLOCK: lambda rows: None,
            KIND_ZSET_GROUP: lambda rows: None,
        }

    def _check_members(self, rows: Rows) -> None:
        for row, raw in rows:
            self._members += 1
            member = row[PREFIX_BYTES:]
            if row[ELEMENT_PREFIX_SIZE:PREFIX_BYTES] != xxh32_digest(member):
                self._report(f"the member {quoted_part(member)} of a sorted set has another hash")
            position = _position(member, raw)
            if position is None:
                self._report(f"the member {quoted_part(member)} of a sorted set has no score")
                continue
            self._sum += xxh64_intdigest(position)
            if raw == _NEGATIVE_ZERO and not self._negatives:
                self._report(f"the member {quoted_part(member)} has the score -0, and its set does not say so")

    def _check_scores(self, rows: Rows) -> None:
        blocks = _Blocks(self._store, self._value.oid, self._report)
        first = last = b""
        for row, raw in rows:
            self._scores += 1
            position = row[ELEMENT_PREFIX_SIZE:]
            self._sum -= xxh64_intdigest(position)
            if raw:
                self._report(f"a score row of a sorted set has a value: {row.hex()}")
            blocks.count(position)
            first = first or position
            last = position
        blocks.end()
        if first < self._low:
            self._report("a sorted set has members before its low end")
        if self._high and last >= self._high:
            self._report("a sorted set has members behind its high end")

    def end(self) -> None:
        """Compare the counts, and members with scores."""
        count = self._value.count
        if self._members != count:
            self._report(f"a sorted set of {count} members has {self._members}")
        if not self._scores:
            self._check_scores(iter(()))
        if self._sum or self._members != self._scores:
            self._compare()

    def _compare(self) -> None:
        members, scores = (element_prefix(self._value.oid, kind) for kind in (KIND_ZSET_MEMBER, KIND_ZSET_SCORE))
        for row, raw in self._store.scan(members, prefix_successor(members)):
            member = row[PREFIX_BYTES:]
            position = _position(member, raw)
            if position is not None and self._store.get(scores + position) is None:
                self._report(f"the member {quoted_part(member)} has no row at its score {DOUBLE.unpack(raw)[0]}")
        for row in self._store.scan_keys(scores, prefix_successor(scores)):
            position = row[ELEMENT_PREFIX_SIZE:]
            member = position[_SCORE_BYTES:]
            raw_score = self._store.get(members + xxh32_digest(member) + member)
            if raw_score is None or _position(member, raw_score) != position:
                self._report(f"a score row of a sorted set belongs to no member: {row.hex()}")


def _position(member: bytes, raw: bytes) -> bytes | None:
    """Where a member with this score row value stands; None when the score does not decode."""
    if len(raw) != DOUBLE.size:
        return None
    try:
        return encode_double(DOUBLE.unpack(raw)[0]) + member
    except ValueError:
        return None


class _Blocks:
    """Compares blocks and groups with the positions, which come in order."""

    def __init__(self, store: Store, oid: int, report: ObjectReport) -> None:
        self._report = report
        self._blocks = _Borders(store, oid, KIND_ZSET_BLOCK, report)
        self._groups = _Borders(store, oid, KIND_ZSET_GROUP, report)
        self._in_block = self._in_group = 0
        for name, borders in (("block", self._blocks), ("group", self._groups)):
            if borders.border != b"":
                report(f"a sorted set has no first {name}")

    def count(self, position: bytes) -> None:
        """Count one position."""
        while self._blocks.stop is not None and position >= self._blocks.stop:
            self._end_block()
        self._in_block += 1

    def end(self) -> None:
        """There are no more positions."""
        while self._blocks.stop is not None:
            self._end_block()
        self._end_block()
        while self._groups.stop is not None:
            self._end_group()
        if self._groups.members != self._in_group:
            self._wrong("group", self._groups, self._in_group)

    def _end_block(self) -> None:
        blocks, groups = self._blocks, self._groups
        if blocks.members != self._in_block:
            self._wrong("block", blocks, self._in_block)
        self._in_group += blocks.members
        self._in_block = 0
        blocks.step()
        while groups.stop is not None and blocks.border is not None and blocks.border >= groups.stop:
            self._end_group()

    def _end_group(self) -> None:
        groups = self._groups
        if groups.members != self._in_group:
            self._wrong("group", groups, self._in_group)
        self._in_group = 0
        groups.step()
        if groups.border != self._blocks.border:
            self._report(f"the group of a sorted set at {(groups.border or b'').hex()} begins inside of a block")

    def _wrong(self, name: str, borders: _Borders, members: int) -> None:
        at = (borders.border or b"").hex() or "its beginning"
        self._report(f"the {name} of a sorted set at {at} counts {borders.members} members of {members}")


class _Borders:
    """The rows of one kind, one at a time: `border` (None: there is none), `members`, and the next one's border."""

    def __init__(self, store: Store, oid: int, kind: int, report: ObjectReport) -> None:
        prefix = element_prefix(oid, kind)
        self._rows: Iterator[tuple[bytes, bytes]] = iter(store.scan(prefix, prefix_successor(prefix)))
        self._report = report
        self.border: bytes | None = None
        self.stop: bytes | None = None
        self.members = self._next_members = 0
        self.step()
        self.step()

    def step(self) -> None:
        """Go on to the next row."""
        self.border, self.members = self.stop, self._next_members
        row, raw = next(self._rows, (None, b""))
        if row is None:
            self.stop, self._next_members = None, 0
            return
        self.stop = row[ELEMENT_PREFIX_SIZE:]
        if len(raw) == U32.size:
            (self._next_members,) = U32.unpack(raw)
        else:
            self._next_members = 0
            self._report(f"a count of a sorted set does not decode: {row.hex()} {raw[:16].hex()}")
