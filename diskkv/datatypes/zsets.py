"""Sorted sets: members with scores, in order of (score, member).

Small ones are packed: `Header.value` is a dictionary from member to score in that order, within the limits
zset-max-listpack-entries and zset-max-listpack-value as they are at each write. As in Redis, a packed set knows no
negative zero.
Past the limits a set explodes into rows (zset_rows.py) and stays so until it is replaced.

Ranges are in zset_ranges.py, unions and the like in zset_algebra.py.

Source: https://redis.io/docs/latest/commands/?group=sorted-set
"""

from __future__ import annotations

import random
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence

from diskkv.codec.header import ZSET, Header, Value
from diskkv.codec.keys import (
    ELEMENT_PREFIX_SIZE,
    KIND_ZSET_BLOCK,
    KIND_ZSET_GROUP,
    KIND_ZSET_MEMBER,
    KIND_ZSET_SCORE,
    U32,
    element_prefix,
    object_range,
)
from diskkv.codec.rdb_values import RdbValue, ZSetValue
from diskkv.datatypes import operations, zset_rows
from diskkv.datatypes.zset_rows import Entry
from diskkv.engine.database import Database
from diskkv.engine.engine import Engine
from diskkv.errors import CommandError, WrongTypeError

NOT_A_NUMBER = b"ERR resulting score is not a number (NaN)"

_ROW_KINDS = (KIND_ZSET_MEMBER, KIND_ZSET_SCORE, KIND_ZSET_BLOCK, KIND_ZSET_GROUP)


def require(value: Value | None) -> Header | None:
    """The header of a sorted set, None for None. Raises WrongTypeError for another type."""
    if value is not None and (value.__class__ is bytes or value.type != ZSET):  # type: ignore[union-attr]
        raise WrongTypeError
    return value  # type: ignore[return-value]


def by_score(entry: Entry) -> tuple[float, bytes]:
    """The sort key of (member, score)."""
    return entry[1], entry[0]


# ---- making


def fits(engine: Engine, count: int, longest_bytes: int) -> bool:
    """Whether a set of this many members, the longest of this length, is packed."""
    config = engine.config
    return count <= config.zset_max_listpack_entries and longest_bytes <= config.zset_max_listpack_value


def make(engine: Engine, entries: Sequence[Entry], expire_ms: int = 0, packed: bool | None = None) -> Header:
    """A new set, staging its rows when it is big. `entries` ascend by (score, member) and are not empty.

    `packed` overrides the decision by the limits.
    """
    if packed is None:
        packed = fits(engine, len(entries), max([len(member) for member, _ in entries]))
    if packed:
        # Adding zero turns -0.0 into 0.0.
        return Header(ZSET, {member: score + 0.0 for member, score in entries}, expire_ms)
    return zset_rows.build(engine, entries, expire_ms)


def _inserted(packed: dict[bytes, float], member: bytes, score: float) -> dict[bytes, float]:
    """A packed set with one more member."""
    last = next(reversed(packed))
    top = packed[last]
    if score > top or (score == top and member > last):
        grown = packed.copy()
        grown[member] = score
        return grown
    members = list(packed)
    scores = list(packed.values())
    at = bisect_left(scores, score)
    if scores[at] == score:
        at = bisect_left(members, member, at, bisect_right(scores, score, at))
    members.insert(at, member)
    scores.insert(at, score)
    return dict(zip(members, scores, strict=True))


# ---- ZADD


def add_one(database: Database, key: bytes, member: bytes, score: float) -> int:
    """Add a member or change its score; answers 1 when it is new, 0 when it changed, -1 when nothing did.

    Raises:
        WrongTypeError: The key holds another type.
    """
    engine = database.engine
    old = database.get(key)
    if old is None:
        database.put(key, make(engine, [(member, score)]), None)
        return 1
    if old.__class__ is bytes or old.type != ZSET:  # type: ignore[union-attr]
        raise WrongTypeError
    assert isinstance(old, Header)
    packed: dict[bytes, float] | None = old.value
    if packed is None:
        return zset_rows.put_one(database, key, old, member, score)
    current = packed.get(member)
    if current == score:
        return -1
    if current is not None:
        packed = packed.copy()
        del packed[member]
        new = _inserted(packed, member, score + 0.0) if packed else {member: score + 0.0}
        database.put(key, Header(ZSET, new, old.expire_ms), old)
        return 0
    config = engine.config
    if len(packed) < config.zset_max_listpack_entries and len(member) <= config.zset_max_listpack_value:
        database.put(key, Header(ZSET, _inserted(packed, member, score + 0.0), old.expire_ms), old)
        return 1
    database.put(key, _exploded(engine, old, [(member, score)]), old)
    return 1


def _exploded(engine: Engine, old: Header, more: list[Entry]) -> Header:
    return zset_rows.build(engine, sorted([*old.value.items(), *more], key=by_score), old.expire_ms)


def _put_moved(database: Database, key: bytes, old: Header, new: Header) -> None:
    if new is old:
        database.touch(key)
    else:
        database.put(key, new, old)


class Conditions:
    """Which members ZADD may touch, and whether scores are increments."""

    __slots__ = ("add_only", "greater", "increment", "less", "update_only")

    def __init__(self, add_only: bool, update_only: bool, greater: bool, less: bool, increment: bool) -> None:
        self.add_only = add_only
        self.update_only = update_only
        self.greater = greater
        self.less = less
        self.increment = increment

    def decide(self, current: float | None, score: float) -> float | None:
        """The score that a member gets, None when it is left alone. Raises CommandError for NaN."""
        if current is None:
            return None if self.update_only else score
        if self.add_only:
            return None
        if self.increment:
            score += current
            if score != score:
                raise CommandError(NOT_A_NUMBER)
        if (self.less and score >= current) or (self.greater and score <= current):
            return None
        return score


UNCONDITIONAL = Conditions(False, False, False, False, False)
INCREMENT = Conditions(False, False, False, False, True)


class Added:
    """What ZADD did: members added, scores changed, and the last score set (None when the conditions forbade it)."""

    __slots__ = ("added", "score", "updated")

    def __init__(self) -> None:
        self.added = 0
        self.updated = 0
        self.score: float | None = None


def add(database: Database, key: bytes, entries: Sequence[Entry], conditions: Conditions) -> Added:
    """ZADD with several members or conditions, in order.

    Raises:
        WrongTypeError: The key holds another type.
        CommandError: An increment made a score NaN; with increments there is only one entry.
    """
    engine = database.engine
    old = require(database.get(key))
    done = Added()
    if old is None and conditions.update_only:
        return done
    if old is not None and old.value is None:
        _add_to_rows(database, key, old, entries, conditions, done)
        return done
    # Redis chooses the encoding of a new set by the number of pairs and the first member, that of an old one by the
    # number of pairs, and explodes it before the member that does not fit.
    limit = engine.config.zset_max_listpack_entries
    longest = engine.config.zset_max_listpack_value
    exploded = len(entries) > limit or (old is None and len(entries[0][0]) > longest)
    scores: dict[bytes, float] = {} if old is None else dict(old.value)
    for member, score in entries:
        current = scores.get(member)
        decided = conditions.decide(current, score)
        if decided is None:
            continue
        done.score = decided
        if current is None:
            exploded = exploded or len(scores) >= limit or len(member) > longest
            scores[member] = decided if exploded else decided + 0.0
            done.added += 1
        elif current != decided:
            scores[member] = decided if exploded else decided + 0.0
            done.updated += 1
    if done.added or done.updated or (exploded and old is not None):
        header = make(engine, sorted(scores.items(), key=by_score), old.expire_ms if old else 0, packed=not exploded)
        database.put(key, header, old)
    return done


def _add_to_rows(
    database: Database, key: bytes, old: Header, entries: Sequence[Entry], conditions: Conditions, done: Added
) -> None:
    engine = database.engine
    header = old
    for member, score in entries:
        current = zset_rows.score_of(engine, header, member)
        decided = conditions.decide(current, score)
        if decided is None:
            continue
        done.score = decided
        if current is None:
            header = zset_rows.insert(engine, header, member, decided)
            done.added += 1
        elif current != decided:
            header = zset_rows.move(engine, header, member, current, decided)
            done.updated += 1
    if done.added or done.updated:
        _put_moved(database, key, old, header)


# ---- reading


def cardinality(header: Header) -> int:
    """The number of members."""
    return header.count if header.value is None else len(header.value)


def score_of(engine: Engine, header: Header, member: bytes) -> float | None:
    """The score of a member, None when it is not in the set."""
    if header.value is None:
        return zset_rows.score_of(engine, header, member)
    score: float | None = header.value.get(member)
    return score


def rank_of(engine: Engine, header: Header, member: bytes, reverse: bool) -> tuple[int, float] | None:
    """(rank from 0, score) of a member, counted from the highest when `reverse`; None when it is not in the set."""
    score = score_of(engine, header, member)
    if score is None:
        return None
    if header.value is None:
        rank = zset_rows.rank_of(engine, header, zset_rows.position_of(member, score))
    else:
        rank = list(header.value).index(member)
    return (cardinality(header) - 1 - rank if reverse else rank), score


def entries(engine: Engine, header: Header) -> Iterator[Entry]:
    """All (member, score) in order, lazily."""
    if header.value is not None:
        return iter(header.value.items())
    return zset_rows.entries(engine, header, zset_rows.span_of(header, b"", b"", False))


def scan(engine: Engine, header: Header, cursor: int, count: int) -> tuple[int, list[Entry]]:
    """ZSCAN: (next cursor, 0 at the end; members). A packed set comes whole."""
    if header.value is not None:
        return 0, list(header.value.items())
    return zset_rows.scan(engine, header, cursor, count)


def random_draws(header: Header, count: int) -> Iterator[Entry]:
    """`count` independent draws from a packed sorted set, made while they are asked for."""
    packed = list(header.value.items())
    return (random.choice(packed) for _ in range(count))


def random_entries(engine: Engine, header: Header, count: int, distinct: bool) -> list[Entry]:
    """`count` members chosen uniformly; when `distinct`, each at most once and at most all of them."""
    size = cardinality(header)
    if distinct and count >= size:
        return list(entries(engine, header))
    ranks = random.sample(range(size), count) if distinct else [random.randrange(size) for _ in range(count)]
    if header.value is not None:
        all_entries = list(header.value.items())
        return [all_entries[rank] for rank in ranks]
    found: dict[int, Entry] = {}
    wanted = sorted(set(ranks))
    at = 0
    while at < len(wanted):
        # Ranks near each other are read in one scan.
        first = last = wanted[at]
        while at < len(wanted) and wanted[at] - last <= _NEAR_RANKS:
            last = wanted[at]
            at += 1
        part = zset_rows.slice_of(engine, header, first, last - first + 1)
        for rank, entry in enumerate(zset_rows.entries(engine, header, part), first):
            found[rank] = entry
    return [found[rank] for rank in ranks]


_NEAR_RANKS = 64


# ---- removing


def remove(database: Database, key: bytes, members: Iterable[bytes]) -> tuple[int, bool]:
    """ZREM: (how many were removed, whether the key is gone). Raises WrongTypeError."""
    old = require(database.get(key))
    if old is None:
        return 0, False
    engine = database.engine
    if old.value is not None:
        left = dict(old.value)
        for member in members:
            left.pop(member, None)
        removed = len(old.value) - len(left)
        if not removed:
            return 0, False
        if left:
            database.put(key, Header(ZSET, left, old.expire_ms), old)
        else:
            database.delete(key, old)
        return removed, not left
    header = old
    for member in dict.fromkeys(members):
        score = zset_rows.score_of(engine, header, member)
        if score is not None:
            header = zset_rows.delete(engine, header, (zset_rows.position_of(member, score),))
    return old.count - header.count, put_or_delete(database, key, header, old)


def put_or_delete(database: Database, key: bytes, header: Header, old: Header) -> bool:
    """Stage the header of a big set after removals; a set without members is deleted (answers True)."""
    if not header.count:
        database.delete(key, old)
        return True
    if header is not old:
        database.put(key, header, old)
    return False


def pop(database: Database, key: bytes, old: Header, highest: bool, count: int) -> list[Entry]:
    """Remove up to `count` (at least 1) members from one end, outermost first; an emptied set is deleted."""
    packed = old.value
    if packed is None:
        if count >= old.count:
            part = zset_rows.span_of(old, b"", b"", highest)
            popped = list(zset_rows.entries(database.engine, old, part))
            database.delete(key, old)
            return popped
        popped, header = zset_rows.pop(database.engine, old, highest, count)
        database.put(key, header, old)
        return popped
    if count >= len(packed):
        popped = list(packed.items())
        if highest:
            popped.reverse()
        database.delete(key, old)
        return popped
    left = packed.copy()
    if highest:
        popped = [left.popitem() for _ in range(count)]
    else:
        popped = []
        for member in list(packed)[:count]:
            popped.append((member, left.pop(member)))
    database.put(key, Header(ZSET, left, old.expire_ms), old)
    return popped


def pop_one(database: Database, key: bytes, old: Header, highest: bool) -> Entry:
    """As `pop` of one member; `old` is not to be used any more."""
    if old.value is None and old.count > 1:
        return zset_rows.pop_one(database, key, old, highest)
    return pop(database, key, old, highest, 1)[0]


def store(database: Database, key: bytes, new: Sequence[Entry]) -> int:
    """Replace whatever `key` holds by a set of these entries (ascending); without any the key is deleted.

    Answers their number. A time to live does not survive.
    """
    old = database.get(key)
    if new:
        database.put(key, make(database.engine, new), old)
    elif old is not None:
        database.delete(key, old)
    return len(new)


# ---- what OBJECT, DUMP, RESTORE, COPY and MEMORY need (operations.TypeOperations)


def encoding(engine: Engine, value: Value) -> bytes:
    """listpack or skiplist."""
    assert isinstance(value, Header)
    return b"skiplist" if value.value is None else b"listpack"


def export(engine: Engine, value: Value) -> RdbValue:
    """The whole set."""
    assert isinstance(value, Header)
    return ZSetValue(list(entries(engine, value)))


def load(engine: Engine, value: RdbValue, expire_ms: int) -> Value:
    """A new set."""
    assert isinstance(value, ZSetValue)
    return make(engine, sorted(value.entries, key=by_score), expire_ms)


def copy(engine: Engine, value: Value) -> Value:
    """An independent set of the same members, encoding and time to live."""
    assert isinstance(value, Header)
    if value.value is not None:
        return Header(ZSET, value.value, value.expire_ms)
    oid = operations.copy_rows(engine, value, _ROW_KINDS)
    return Header(ZSET, None, value.expire_ms, oid, value.count, value.ext)


def memory_bytes(engine: Engine, value: Value, samples: int) -> int:
    """About what it takes on disk."""
    assert isinstance(value, Header)
    if value.value is not None:
        return sum(map(len, value.value)) + 11 * len(value.value) + 16
    limit = samples or value.count
    total = seen = 0
    start = element_prefix(value.oid, KIND_ZSET_MEMBER)
    for row, data in engine.rows.scan(start, object_range(value.oid)[1]):
        # A member's name is in two rows; its share of the rank index is a fraction of a byte.
        total += 2 * len(row) + len(data) + ELEMENT_PREFIX_SIZE - U32.size
        seen += 1
        if seen >= limit:
            break
    return total * value.count // max(seen, 1)


operations.register(ZSET, ZSetValue, sys.modules[__name__])
