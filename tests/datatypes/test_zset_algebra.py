"""Unions, intersections and differences against plain dictionaries, for inputs of every kind and size."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diskkv.codec.header import SET, STRING, Header
from diskkv.codec.keys import KIND_SET_MEMBER
from diskkv.config import Config
from diskkv.datatypes import zset_algebra, zsets
from diskkv.datatypes.members import member_row
from diskkv.datatypes.zset_algebra import AGGREGATES, Source
from diskkv.engine.engine import Engine
from diskkv.engine.memory import MemoryStore
from diskkv.errors import WrongTypeError

SCORES = st.sampled_from([-2.0, -0.0, 0.0, 1.0, 3.5, inf, -inf])
MEMBERS = st.integers(0, 30).map(lambda number: b"m%d" % number)
INPUTS = st.one_of(
    st.tuples(st.just("zset"), st.dictionaries(MEMBERS, SCORES, max_size=25), st.booleans()),
    st.tuples(st.just("set"), st.dictionaries(MEMBERS, st.just(1.0), max_size=25), st.booleans()),
)


def source_of(engine: Engine, kind: str, content: dict[bytes, float], packed: bool) -> Source:
    """An input of this content, as one value or as rows."""
    if not content:
        return Source(engine, None)
    if kind == "zset":
        return Source(engine, zsets.make(engine, sorted(content.items(), key=zsets.by_score), packed=packed))
    if packed:
        return Source(engine, Header(SET, dict.fromkeys(content)))
    oid = engine.new_oid()
    for member in content:
        engine.rows.put(member_row(oid, KIND_SET_MEMBER, member), b"")
    return Source(engine, Header(SET, None, 0, oid, len(content)))


def times(weight: float, score: float) -> float:
    product = weight * score
    return 0.0 if product != product else product


@settings(max_examples=200, deadline=None)
@given(
    inputs=st.lists(INPUTS, min_size=1, max_size=4),
    weights=st.lists(st.sampled_from([1.0, 0.0, -1.0, 2.5]), min_size=4, max_size=4),
    aggregate=st.sampled_from(sorted(AGGREGATES)),
    limit=st.integers(0, 5),
)
def test_against_dictionaries(
    inputs: list[tuple[str, dict[bytes, float], bool]], weights: list[float], aggregate: bytes, limit: int
) -> None:
    engine = Engine(MemoryStore(), Config())
    engine.begin(1)
    sources = [source_of(engine, *each) for each in inputs]
    for source, weight in zip(sources, weights, strict=False):
        source.weight = weight
    contents = [
        content if packed is False or kind == "set" else {member: score + 0.0 for member, score in content.items()}
        for kind, content, packed in inputs
    ]
    combine = AGGREGATES[aggregate]
    by_size = sorted(zip(contents, weights, strict=False), key=lambda pair: len(pair[0]))
    union: dict[bytes, float] = {}
    for content, weight in by_size:
        for member, score in content.items():
            value = times(weight, score)
            union[member] = combine(union[member], value) if member in union else value
    assert zset_algebra.union(sources, combine) == sorted(union.items(), key=zsets.by_score)
    common = set.intersection(*(set(content) for content in contents))
    found = zset_algebra.intersection(sources, combine)
    assert {member for member, _ in found} == common
    assert found == sorted(found, key=zsets.by_score)
    if all(abs(score) < inf for content in contents for score in content.values()):
        assert dict(found) == {member: union[member] for member in common}
    size = zset_algebra.intersection_size(sources, limit)
    assert size == (min(limit, len(common)) if limit else len(common))
    rest = {
        member: score for member, score in contents[0].items() if not any(member in content for content in contents[1:])
    }
    assert zset_algebra.difference(sources) == sorted(rest.items(), key=zsets.by_score)


def test_infinities_add_up_to_zero() -> None:
    assert zset_algebra.add(inf, -inf) == 0.0
    assert zset_algebra.add(1.5, 2.0) == 3.5


@pytest.mark.parametrize("value", [b"string", Header(STRING, b"long", 5)])
def test_other_types_are_refused(value: object) -> None:
    engine = Engine(MemoryStore(), Config())
    with pytest.raises(WrongTypeError):
        Source(engine, value)  # type: ignore[arg-type]
