"""Unions, intersections and differences of sets, member by member, in memory that does not depend on their sizes.

Rows lie in the order of (hash, member), so big sets are merged in one pass over each, which costs about 0.6 us a row.
Asking a set for single members costs about 4 us each: that is done where it has many more members than are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import merge

from xxhash import xxh32_intdigest

from diskkv.codec.header import Header
from diskkv.codec.keys import KIND_SET_MEMBER, U32, element_prefix, prefix_successor
from diskkv.datatypes.members import PREFIX_BYTES
from diskkv.datatypes.sets import SetBuilder, contains, iterate, length
from diskkv.engine.engine import Engine

_KIND_PREFIX_BYTES = 10
_HASH_BYTES = PREFIX_BYTES - _KIND_PREFIX_BYTES
_LEFT_OUT = b""
"""Stands for a member that is not in the result: whoever takes the result sees that time passes."""
_LOOKUP_ROWS = 7
"""Asking for one member costs as much as reading so many rows in order."""


def intersection(engine: Engine, headers: Sequence[Header]) -> Iterator[bytes]:
    """The members that all sets (at least one) have; the smallest set leads."""
    return _members(intersection_steps(engine, headers))


def difference(engine: Engine, first: Header, others: Sequence[Header]) -> Iterator[bytes]:
    """The members of `first` that none of the others has."""
    return _members(difference_steps(engine, first, others))


def intersection_steps(engine: Engine, headers: Sequence[Header]) -> Iterator[bytes | None]:
    """As `intersection`, with None for every member of the leading set that is left out."""
    first, *others = sorted(_distinct(headers), key=length)
    if first.value is not None:
        return (member for member in first.value if all(contains(engine, other, member) for other in others))
    found = _subs(engine, first)
    for other in others:
        found = _common(engine, found, other) if _is_near(first, other) else _contained(engine, found, other, True)
    return (sub[_HASH_BYTES:] if sub else None for sub in found)


def difference_steps(engine: Engine, first: Header, others: Sequence[Header]) -> Iterator[bytes | None]:
    """As `difference`, with None for every member of `first` that is left out."""
    others = sorted(_distinct(others), key=length, reverse=True)
    if any(_same(first, other) for other in others):
        return iter(())
    if first.value is not None:
        return (member for member in first.value if not any(contains(engine, other, member) for other in others))
    found = _subs(engine, first)
    for other in others:
        found = _only(engine, found, other) if _is_near(first, other) else _contained(engine, found, other, False)
    return (sub[_HASH_BYTES:] if sub else None for sub in found)


def only_scans(headers: Sequence[Header], leader: Header) -> bool:
    """Whether `leader` (the smallest one for an intersection) is a big set, compared with the others by scans alone.

    Then what comes out is settled when the first member is taken, whatever is changed afterwards.
    """
    if leader.value is not None:
        return False
    return all(other is leader or other.value is not None or _is_near(leader, other) for other in headers)


def _members(steps: Iterator[bytes | None]) -> Iterator[bytes]:
    return (member for member in steps if member is not None)


def union(engine: Engine, headers: Sequence[Header]) -> Iterator[bytes]:
    """The members that any of the sets has, each once."""
    distinct = _distinct(headers)
    if len(distinct) == 1:
        return iterate(engine, distinct[0])
    if all(header.value is not None for header in distinct):
        return iter(dict.fromkeys([member for header in distinct for member in header.value]))
    return _deduplicated(merge(*[_subs(engine, header) for header in distinct]))


def build_difference(engine: Engine, builder: SetBuilder, first: Header, others: Sequence[Header]) -> None:
    """Add the members of `first` that none of the others has to a new set.

    When the other sets are small compared with `first`, Redis copies `first` and removes from the copy, which then has
    the encoding that `first` needs. That shows in OBJECT ENCODING and is done here as well.
    """
    found = difference(engine, first, others)
    size = length(first)
    if size * (len(others) + 1) // 2 > sum(map(length, others), size):
        member = next(found, None)
        if member is None:
            return
        most = max(engine.config.set_max_intset_entries, engine.config.set_max_listpack_entries)
        builder.use_encoding_for(size, list(iterate(engine, first)) if size <= most else ())
        builder.add(member)
    for member in found:
        builder.add(member)


def _same(left: Header, right: Header) -> bool:
    return left is right or (left.oid != 0 and left.oid == right.oid)


def _distinct(headers: Sequence[Header]) -> list[Header]:
    """The sets without repetitions of one that was named twice."""
    return list({(header.oid or id(header)): header for header in headers}.values())


def _subs(engine: Engine, header: Header) -> Iterator[bytes]:
    """(hash, member) of every member, in order."""
    if header.value is not None:
        return iter(sorted([U32.pack(xxh32_intdigest(member)) + member for member in header.value]))
    prefix = element_prefix(header.oid, KIND_SET_MEMBER)
    rows = engine.rows.scan(prefix, prefix_successor(prefix))
    return (row[_KIND_PREFIX_BYTES:] for row, _ in rows)


def _is_near(first: Header, other: Header) -> bool:
    """Whether reading all of `other` costs less than asking it for each member of `first`."""
    return other.value is None and other.count < first.count * _LOOKUP_ROWS


def _contained(engine: Engine, found: Iterator[bytes], other: Header, wanted: bool) -> Iterator[bytes]:
    return (sub if sub and contains(engine, other, sub[_HASH_BYTES:]) == wanted else _LEFT_OUT for sub in found)


def _common(engine: Engine, found: Iterator[bytes], other: Header) -> Iterator[bytes]:
    theirs = _subs(engine, other)
    their = next(theirs, None)
    for sub in found:
        if sub:
            while their is not None and their < sub:
                their = next(theirs, None)
            if their is None:
                return
        yield sub if their == sub else _LEFT_OUT


def _only(engine: Engine, found: Iterator[bytes], other: Header) -> Iterator[bytes]:
    theirs = _subs(engine, other)
    their = next(theirs, None)
    for sub in found:
        if sub:
            while their is not None and their < sub:
                their = next(theirs, None)
        yield sub if their != sub else _LEFT_OUT


def _deduplicated(subs: Iterator[bytes]) -> Iterator[bytes]:
    last = b""
    for sub in subs:
        if sub != last:
            last = sub
            yield sub[_HASH_BYTES:]
