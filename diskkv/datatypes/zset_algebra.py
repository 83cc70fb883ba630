"""Unions, intersections and differences of sorted sets and sets; a set's members have the score 1.

The result is gathered in memory. Where scores are aggregated, the order of the additions is Redis': from the smallest
input to the largest.

Sources: https://redis.io/docs/latest/commands/zunionstore/, zinter, zdiff, zintercard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from diskkv.codec.header import SET, ZSET, Header, Value
from diskkv.codec.keys import KIND_SET_MEMBER
from diskkv.datatypes import zsets
from diskkv.datatypes.members import member_row, member_rows
from diskkv.datatypes.zset_rows import Entry
from diskkv.engine.engine import Engine
from diskkv.errors import WrongTypeError

Aggregate = Callable[[float, float], float]

_GET_COST = 4
"""Looking a member up costs about as much as reading this many in order."""


class Source:
    """An input: a sorted set, a set, or nothing. `size` is its number of members."""

    __slots__ = ("_engine", "_header", "_scores", "size", "weight")

    def __init__(self, engine: Engine, value: Value | None) -> None:
        """Raises WrongTypeError for a value of another type."""
        self._engine = engine
        self._header: Header | None = None
        self._scores: dict[bytes, float] | None = None
        self.weight = 1.0
        self.size = 0
        if value is None:
            self._scores = {}
            return
        if not isinstance(value, Header) or value.type not in (ZSET, SET):
            raise WrongTypeError
        if value.value is None:
            self._header = value
            self.size = value.count
            return
        self._scores = value.value if value.type == ZSET else dict.fromkeys(value.value, 1.0)
        self.size = len(self._scores)

    def entries(self) -> Iterable[Entry]:
        """All (member, score), lazily."""
        header = self._header
        if header is None:
            assert self._scores is not None
            return self._scores.items()
        if header.type == ZSET:
            return zsets.entries(self._engine, header)
        rows = member_rows(self._engine.rows, header.oid, KIND_SET_MEMBER)
        return ((member, 1.0) for member, _ in rows)

    def lookup(self) -> Callable[[bytes], float | None]:
        """A function from a member to its score, or None."""
        header = self._header
        if header is None:
            assert self._scores is not None
            return self._scores.get
        engine = self._engine
        if header.type == ZSET:
            return lambda member: zsets.score_of(engine, header, member)
        get = engine.rows.get
        oid = header.oid
        return lambda member: None if get(member_row(oid, KIND_SET_MEMBER, member)) is None else 1.0


def add(left: float, right: float) -> float:
    """AGGREGATE SUM; the sum of opposite infinities is 0."""
    total = left + right
    return 0.0 if total != total else total


def lowest(left: float, right: float) -> float:
    """AGGREGATE MIN."""
    return right if right < left else left


def highest(left: float, right: float) -> float:
    """AGGREGATE MAX."""
    return right if right > left else left


AGGREGATES: dict[bytes, Aggregate] = {b"SUM": add, b"MIN": lowest, b"MAX": highest}


def _by_size(sources: Sequence[Source]) -> list[Source]:
    return sorted(sources, key=lambda source: source.size)


def union(sources: Sequence[Source], aggregate: Aggregate) -> list[Entry]:
    """Members of any source, ascending."""
    found: dict[bytes, float] = {}
    for source in _by_size(sources):
        weight = source.weight
        for member, score in source.entries():
            score = weight * score
            if score != score:
                score = 0.0
            before = found.get(member)
            found[member] = score if before is None else aggregate(before, score)
    return sorted(found.items(), key=zsets.by_score)


def _common(sources: Sequence[Source], aggregate: Aggregate) -> Iterator[Entry]:
    first, *others = _by_size(sources)
    lookups = [(source.lookup(), source.weight) for source in others]
    weight = first.weight
    for member, score in first.entries():
        total = weight * score
        if total != total:
            total = 0.0
        for lookup, other_weight in lookups:
            other = lookup(member)
            if other is None:
                break
            total = aggregate(total, other_weight * other)
        else:
            yield member, total


def intersection(sources: Sequence[Source], aggregate: Aggregate) -> list[Entry]:
    """Members of all sources, ascending."""
    return sorted(_common(sources, aggregate), key=zsets.by_score)


def intersection_size(sources: Sequence[Source], limit: int) -> int:
    """The number of members of all sources, at most `limit` unless that is 0."""
    count = 0
    for _ in _common(sources, add):
        count += 1
        if count == limit:
            break
    return count


def difference(sources: Sequence[Source]) -> list[Entry]:
    """Members of the first source that are in no other, ascending, with their scores there."""
    first, *others = sources
    if first.size * len(others) * _GET_COST <= first.size + sum(source.size for source in others):
        lookups = [source.lookup() for source in _by_size(others)[::-1]]
        kept = [entry for entry in first.entries() if all(lookup(entry[0]) is None for lookup in lookups)]
    else:
        left = dict(first.entries())
        for source in others:
            if not left:
                break
            for member, _ in source.entries():
                left.pop(member, None)
        kept = list(left.items())
    return sorted(kept, key=zsets.by_score)
