"""What must hold within a big sorted set: both rows of every member agree, and the rank index counts them right."""

from __future__ import annotations

from collections.abc import Iterator
from struct import error as StructError

from xxhash import xxh32_digest

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
from diskkv.datatypes.zset_rows import DOUBLE
from diskkv.engine.leveldb import LevelDBStore

_MOST_PROBLEMS = 10
"""Of one kind in one set; what is wrong with the rest follows from these."""


def zset_problems(store: LevelDBStore, value: Header) -> Iterator[str]:
    """Everything wrong with the rows of a big sorted set; reads them all."""
    yield from _member_problems(store, value)
    positions, stop = _range(value.oid, KIND_ZSET_SCORE)
    for kind, name in ((KIND_ZSET_BLOCK, "block"), (KIND_ZSET_GROUP, "group")):
        borders = _borders(store, value.oid, kind)
        if not borders or borders[0][0]:
            yield f"a sorted set has no first {name}"
            continue
        yield from _count_problems(name, borders, store.scan_keys(positions, stop))
    yield from _hint_problems(store, value)


def _range(oid: int, kind: int) -> tuple[bytes, bytes]:
    prefix = element_prefix(oid, kind)
    return prefix, prefix_successor(prefix)


def _borders(store: LevelDBStore, oid: int, kind: int) -> list[tuple[bytes, int]]:
    """(border, count) of all blocks or groups; a count that does not decode is -1."""
    found = []
    for row, raw in store.scan(*_range(oid, kind)):
        try:
            (count,) = U32.unpack(raw)
        except StructError:
            count = -1
        found.append((row[ELEMENT_PREFIX_SIZE:], count))
    return found


def _member_problems(store: LevelDBStore, value: Header) -> Iterator[str]:
    seen = 0
    scores = element_prefix(value.oid, KIND_ZSET_SCORE)
    for row, raw in store.scan(*_range(value.oid, KIND_ZSET_MEMBER)):
        hashed = row[ELEMENT_PREFIX_SIZE : ELEMENT_PREFIX_SIZE + 4]
        member = row[ELEMENT_PREFIX_SIZE + 4 :]
        problem = ""
        if hashed != xxh32_digest(member):
            problem = "has another hash"
        else:
            try:
                (score,) = DOUBLE.unpack(raw)
                if store.get(scores + encode_double(score) + member) is None:
                    problem = f"has no row at its score {score}"
            except (StructError, ValueError):
                problem = "has no score"
        if problem:
            yield f"the member {member[:64]!r} of a sorted set {problem}"
            seen += 1
            if seen == _MOST_PROBLEMS:
                return


def _count_problems(name: str, borders: list[tuple[bytes, int]], rows: Iterator[bytes]) -> Iterator[str]:
    """Compares the counts with the positions that follow each border."""
    found = [0] * len(borders)
    at = 0
    for row in rows:
        position = row[ELEMENT_PREFIX_SIZE:]
        while at + 1 < len(borders) and position >= borders[at + 1][0]:
            at += 1
        found[at] += 1
    seen = 0
    for (border, count), members in zip(borders, found, strict=True):
        if count != members:
            yield f"the {name} of a sorted set at {border.hex() or 'its beginning'} counts {count} members of {members}"
            seen += 1
            if seen == _MOST_PROBLEMS:
                return


def _hint_problems(store: LevelDBStore, value: Header) -> Iterator[str]:
    if value.ext is None:
        return
    _, low, high = value.ext
    start, stop = _range(value.oid, KIND_ZSET_SCORE)
    if next(iter(store.scan_keys(start, start + low)), None) is not None:
        yield "a sorted set has members before its low end"
    if high and next(iter(store.scan_keys(start + high, stop)), None) is not None:
        yield "a sorted set has members behind its high end"
