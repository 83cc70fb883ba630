"""Ranges of a sorted set: by rank, by score, by member; reading, counting and removing them.

A range of a packed set is a slice of its order. A range of a big one is a slice too, found through the rank index, or a
span of positions, found by seeking.

Ranges by member presume that all scores are equal. Where they are not, Redis' answer depends on the encoding; here it
is always what Redis answers for a listpack, by walking.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from diskkv.codec.header import ZSET, Header
from diskkv.codec.numbers import encode_double
from diskkv.datatypes import zset_rows
from diskkv.datatypes.zset_rows import Entry, Slice
from diskkv.datatypes.zsets import cardinality, put_or_delete
from diskkv.engine.database import Database
from diskkv.engine.engine import Engine

_SEEK_OFFSET = 64
"""LIMIT offsets up to this are skipped row by row, larger ones through the rank index."""


class RankRange(NamedTuple):
    """By rank, both inclusive; negative ones count from the end."""

    start: int
    stop: int


class ScoreRange(NamedTuple):
    """By score."""

    low: float
    high: float
    low_exclusive: bool = False
    high_exclusive: bool = False


class LexBorder(NamedTuple):
    """`side` -1: before every member, 1: behind every member, 0: at `member`."""

    side: int
    member: bytes = b""
    exclusive: bool = False


class LexRange(NamedTuple):
    """By member."""

    low: LexBorder
    high: LexBorder

    @property
    def is_empty(self) -> bool:
        """Whether no member can be in it."""
        low, high = self.low, self.high
        if low[:2] == high[:2]:
            return low.exclusive or high.exclusive or low.side != 0
        return low[:2] > high[:2]

    def reaches(self, member: bytes) -> bool:
        """Whether a member is not below the range."""
        side, border, exclusive = self.low
        if side:
            return side < 0
        return member > border if exclusive else member >= border

    def contains_end(self, member: bytes) -> bool:
        """Whether a member is not above the range."""
        side, border, exclusive = self.high
        if side:
            return side > 0
        return member < border if exclusive else member <= border


Range = RankRange | ScoreRange | LexRange


def rank_bounds(size: int, part: RankRange) -> tuple[int, int]:
    """The ranks [first, behind the last) that a range means in a set of `size` members."""
    start, stop = part
    if start < 0:
        start = max(0, start + size)
    if stop < 0:
        stop += size
    if start > stop or start >= size:
        return 0, 0
    return start, min(stop, size - 1) + 1


# ---- packed sets: ranks


def _packed_bounds(packed: dict[bytes, float], part: Range) -> tuple[int, int]:
    """The ranks [first, behind the last) of a range in a packed set."""
    if isinstance(part, RankRange):
        return rank_bounds(len(packed), part)
    if isinstance(part, LexRange):
        return _lex_bounds(list(packed), part)
    scores = list(packed.values())
    first = bisect_right(scores, part.low) if part.low_exclusive else bisect_left(scores, part.low)
    stop = bisect_left(scores, part.high) if part.high_exclusive else bisect_right(scores, part.high)
    return first, max(first, stop)


def _lex_bounds(members: Sequence[bytes], part: LexRange) -> tuple[int, int]:
    """As Redis walks over a listpack: from the first member that is not below to the last before one above."""
    if part.is_empty or not part.reaches(members[-1]) or not part.contains_end(members[0]):
        return 0, 0
    first = next(at for at, member in enumerate(members) if part.reaches(member))
    stop = first
    while stop < len(members) and part.contains_end(members[stop]):
        stop += 1
    return first, stop


def _lex_bounds_reverse(members: Sequence[bytes], part: LexRange) -> tuple[int, int]:
    """The same from the other end; differs when the members are not in lexical order."""
    if part.is_empty or not part.reaches(members[-1]) or not part.contains_end(members[0]):
        return 0, 0
    stop = next(at for at in range(len(members), 0, -1) if part.contains_end(members[at - 1]))
    first = stop
    while first and part.reaches(members[first - 1]):
        first -= 1
    return first, stop


# ---- big sets: spans of positions


def _successor(score: bytes) -> bytes:
    return (int.from_bytes(score, "big") + 1).to_bytes(8, "big")


def _score_span(part: ScoreRange) -> tuple[bytes, bytes]:
    """Positions [start, stop); empty when start >= stop."""
    low, high = encode_double(part.low), encode_double(part.high)
    return (_successor(low) if part.low_exclusive else low), (high if part.high_exclusive else _successor(high))


def _lex_span(score: float, part: LexRange) -> tuple[bytes, bytes]:
    encoded = encode_double(score)
    low, high = part
    start = encoded + low.member + (b"\0" if low.exclusive else b"") if not low.side else encoded
    if low.side > 0:
        start = _successor(encoded)
    if high.side:
        stop = _successor(encoded) if high.side > 0 else encoded
    else:
        stop = encoded + high.member + (b"" if high.exclusive else b"\0")
    return start, stop


def _span(engine: Engine, header: Header, part: ScoreRange | LexRange) -> tuple[bytes, bytes] | None:
    """Positions [start, stop) of a range in a big set; None for a range by member over unequal scores."""
    if isinstance(part, ScoreRange):
        return _score_span(part)
    if part.is_empty:
        return b"", b"\0"
    score = zset_rows.first_score(engine, header)
    if score != zset_rows.first_score(engine, header, True):
        return None
    return _lex_span(score, part)


def _walked_bounds(engine: Engine, header: Header, part: LexRange, reverse: bool) -> tuple[int, int]:
    members = list(zset_rows.members(engine, header, zset_rows.span_of(header, b"", b"", False)))
    return _lex_bounds_reverse(members, part) if reverse else _lex_bounds(members, part)


def _ranked(engine: Engine, header: Header, first: int, stop: int, reverse: bool, offset: int, limit: int) -> Slice:
    """The slice of the ranks [first, stop), with LIMIT."""
    count = max(0, stop - first - offset) if offset >= 0 else 0
    if 0 <= limit < count:
        count = limit
    if not count:
        return Slice(b"", b"", False, 0, 0)
    rank = header.count - stop + offset if reverse else first + offset
    return zset_rows.slice_of(engine, header, rank, count, reverse)


def slice_of(
    engine: Engine, header: Header, part: Range, reverse: bool = False, offset: int = 0, limit: int = -1
) -> Slice:
    """What a range of a big set covers; `offset` and `limit` as in `select`."""
    if isinstance(part, RankRange):
        first, stop = rank_bounds(header.count, part)
        if reverse:
            first, stop = header.count - stop, header.count - first
        return _ranked(engine, header, first, stop, reverse, offset, limit)
    span = _span(engine, header, part)
    if span is None:
        assert isinstance(part, LexRange)
        first, stop = _walked_bounds(engine, header, part, reverse)
        return _ranked(engine, header, first, stop, reverse, offset, limit)
    start, end = span
    if start >= end or offset < 0 or limit == 0:
        return Slice(b"", b"", False, 0, 0)
    if offset > _SEEK_OFFSET:
        first = zset_rows.rank_of(engine, header, start)
        stop = zset_rows.rank_of(engine, header, end)
        return _ranked(engine, header, first, stop, reverse, offset, limit)
    found = zset_rows.span_of(header, start, end, reverse)
    found.skip = offset
    found.count = None if limit < 0 else limit
    return found


def _packed_bounds_limited(
    packed: dict[bytes, float], part: Range, reverse: bool, offset: int, limit: int
) -> tuple[int, int]:
    if isinstance(part, RankRange) and reverse:
        stop, first = (len(packed) - rank for rank in rank_bounds(len(packed), part))
    elif isinstance(part, LexRange) and reverse:
        first, stop = _lex_bounds_reverse(list(packed), part)
    else:
        first, stop = _packed_bounds(packed, part)
    if offset or limit >= 0:
        if offset < 0:
            return 0, 0
        if reverse:
            stop = max(first, stop - offset)
            first = first if limit < 0 else max(first, stop - limit)
        else:
            first = min(stop, first + offset)
            stop = stop if limit < 0 else min(stop, first + limit)
    return first, stop


def select_members(
    engine: Engine, header: Header, part: Range, reverse: bool = False, offset: int = 0, limit: int = -1
) -> Iterator[bytes]:
    """The members of a range in order (from the highest when `reverse`), lazily.

    The first `offset` are left out (a negative one leaves out all), then at most `limit` (negative: all) are taken. By
    rank, `reverse` also counts the ranks from the highest.
    """
    packed: dict[bytes, float] | None = header.value
    if packed is None:
        return zset_rows.members(engine, header, slice_of(engine, header, part, reverse, offset, limit))
    first, stop = _packed_bounds_limited(packed, part, reverse, offset, limit)
    if reverse:
        return iter(list(packed)[first:stop][::-1])
    return islice(packed, first, stop)


def select(
    engine: Engine, header: Header, part: Range, reverse: bool = False, offset: int = 0, limit: int = -1
) -> Iterator[Entry]:
    """As `select_members`, with the scores."""
    packed: dict[bytes, float] | None = header.value
    if packed is None:
        return zset_rows.entries(engine, header, slice_of(engine, header, part, reverse, offset, limit))
    first, stop = _packed_bounds_limited(packed, part, reverse, offset, limit)
    if reverse:
        return iter(list(packed.items())[first:stop][::-1])
    return islice(packed.items(), first, stop)


def count_selected(
    engine: Engine, header: Header, part: Range, reverse: bool = False, offset: int = 0, limit: int = -1
) -> int:
    """How many members of a big set `select` answers, from the rank index instead of by walking."""
    if isinstance(part, LexRange) and _span(engine, header, part) is None:
        first, stop = _walked_bounds(engine, header, part, reverse)
    else:
        first, stop = _ranks(engine, header, part)
    if offset < 0:
        return 0
    found = max(0, stop - first - offset)
    return found if limit < 0 else min(found, limit)


def count(engine: Engine, header: Header, part: Range) -> int:
    """The number of members in a range."""
    if header.value is not None:
        first, stop = _packed_bounds(header.value, part)
        return stop - first
    first, stop = _ranks(engine, header, part)
    return stop - first


def _ranks(engine: Engine, header: Header, part: Range) -> tuple[int, int]:
    """The ranks [first, behind the last) of a range in a big set."""
    if isinstance(part, RankRange):
        return rank_bounds(header.count, part)
    span = _span(engine, header, part)
    if span is None:
        assert isinstance(part, LexRange)
        return _walked_bounds(engine, header, part, False)
    start, end = span
    if start >= end:
        return 0, 0
    return zset_rows.rank_of(engine, header, start), zset_rows.rank_of(engine, header, end)


def remove(database: Database, key: bytes, old: Header, part: Range) -> tuple[int, bool]:
    """Remove a range: (how many were removed, whether the key is gone)."""
    engine = database.engine
    packed: dict[bytes, float] | None = old.value
    if packed is not None:
        first, stop = _packed_bounds(packed, part)
        if first >= stop:
            return 0, False
        if stop - first == len(packed):
            database.delete(key, old)
            return stop - first, True
        entries = list(packed.items())
        database.put(key, Header(ZSET, dict(entries[:first] + entries[stop:]), old.expire_ms), old)
        return stop - first, False
    first, stop = _ranks(engine, old, part)
    removed = stop - first
    if removed <= 0:
        return 0, False
    if removed == cardinality(old):
        database.delete(key, old)
        return removed, True
    found = list(zset_rows.positions(engine, old, zset_rows.slice_of(engine, old, first, removed)))
    header = zset_rows.delete(engine, old, found)
    header = zset_rows.trimmed(header, found, first == 0, stop == old.count)
    return removed, put_or_delete(database, key, header, old)
