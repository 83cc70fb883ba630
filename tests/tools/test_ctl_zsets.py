"""The checks of big sorted sets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from xxhash import xxh32_digest

from diskkv.codec.header import Header
from diskkv.codec.keys import (
    KIND_ZSET_BLOCK,
    KIND_ZSET_GROUP,
    KIND_ZSET_MEMBER,
    KIND_ZSET_SCORE,
    U32,
    element_prefix,
)
from diskkv.codec.numbers import encode_double
from diskkv.config import Config
from diskkv.datatypes import zsets
from diskkv.engine.engine import Engine
from diskkv.engine.leveldb import LevelDBStore
from tools.ctl.objects import object_problems

MEMBERS = 1000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LevelDBStore]:
    opened = LevelDBStore(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def header(store: LevelDBStore) -> Header:
    """A set of 1000 members that lost the lowest and the highest 50."""
    engine = Engine(store, Config())
    engine.begin(1)
    database = engine.database(0)
    zsets.store(database, b"z", [(b"m%04d" % number, float(number)) for number in range(MEMBERS)])
    for highest in (False, True):
        value = zsets.require(database.get(b"z"))
        assert value is not None
        zsets.pop(database, b"z", value, highest, 50)
    engine.commit()
    value = zsets.require(database.get(b"z"))
    assert value is not None
    return value


def damaged(store: LevelDBStore, header: Header, kind: int, sub: bytes, value: bytes | None) -> list[str]:
    store.write({element_prefix(header.oid, kind) + sub: value})
    return list(object_problems(store, header))


def test_a_sound_set(store: LevelDBStore, header: Header) -> None:
    assert list(object_problems(store, header)) == []


def test_a_wrong_count(store: LevelDBStore, header: Header) -> None:
    assert damaged(store, header, KIND_ZSET_GROUP, b"", U32.pack(9)) == [
        "the group of a sorted set at its beginning counts 9 members of 900"
    ]


def test_a_missing_first_block(store: LevelDBStore, header: Header) -> None:
    assert damaged(store, header, KIND_ZSET_BLOCK, b"", None)[0] == "a sorted set has no first block"


def test_rows_that_disagree(store: LevelDBStore, header: Header) -> None:
    sub = xxh32_digest(b"m0500") + b"m0500"
    position = encode_double(500.0) + b"m0500"
    stray = f"a score row of a sorted set belongs to no member: {element_prefix(header.oid, KIND_ZSET_SCORE).hex()}"
    assert damaged(store, header, KIND_ZSET_MEMBER, sub, b"short") == [
        'the member "m0500" of a sorted set has no score',
        stray + position.hex(),
    ]
    problems = damaged(store, header, KIND_ZSET_MEMBER, sub, b"\x40" + b"\0" * 7)
    assert problems == ['the member "m0500" has no row at its score 2.0', stray + position.hex()]


def test_a_member_under_another_hash(store: LevelDBStore, header: Header) -> None:
    problems = damaged(store, header, KIND_ZSET_MEMBER, b"\0\0\0\0m0500", b"\0" * 8)
    assert 'the member "m0500" of a sorted set has another hash' in problems


def test_hints(store: LevelDBStore, header: Header) -> None:
    for score, end in ((1.0, "before its low end"), (990.0, "behind its high end")):
        sub = encode_double(score) + b"x"
        assert f"a sorted set has members {end}" in damaged(store, header, KIND_ZSET_SCORE, sub, b"")
