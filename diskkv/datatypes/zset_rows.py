"""Big sorted sets: one row by member, one row by score for every member, and the rank index.

    KIND_ZSET_MEMBER    sub = xxh32(member) member              value = score, IEEE 754 big-endian
    KIND_ZSET_SCORE     sub = ordered score (8 bytes) member    value = empty
    KIND_ZSET_BLOCK, KIND_ZSET_GROUP                            see zset_blocks.py

The `sub` of a score row is the member's position: positions ascend as Redis orders members. The order knows no
negative zero, so a set that ever held a score of -0.0 is marked, and only in such a set the member row is asked for the
sign of a zero.

Header.ext is None, or [has negative zeros (0 or 1), low, high]: no member lies before position `low`, none at or behind
`high`; b"" for not known. Pops and the removal of the lowest or highest members keep them, so that a queue which lost
a million members does not walk over their tombstones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import compress, islice
from struct import Struct
from typing import Any

from xxhash import xxh32_digest

from diskkv.codec.header import ZSET, Header
from diskkv.codec.keys import KIND_ZSET_MEMBER, KIND_ZSET_SCORE, element_prefix, prefix_successor
from diskkv.codec.numbers import decode_double, encode_double
from diskkv.datatypes.members import page
from diskkv.datatypes.zset_blocks import BLOCK_MEMBERS, RankIndex, index_of, new_index, shortest_border
from diskkv.engine.bulk import Bulk
from diskkv.engine.database import Database
from diskkv.engine.engine import Engine
from diskkv.errors import CorruptionError

Entry = tuple[bytes, float]
"""(member, score)."""

DOUBLE = Struct(">d")
"""The score in a member row."""
_pack_double = DOUBLE.pack
_ZERO = encode_double(0.0)
_MEMBER_AT = 18
"""Where the member begins in a score row: behind the element prefix (10 bytes) and the score."""
_SCORE_AT = 10
_KNOWN_MEMBERS = 4096
"""The positions of a new set of at most so many members are taken into memory at once."""
_HINT_BYTES = 64
_FILLED_BLOCK = BLOCK_MEMBERS * 3 // 4


def _is_negative_zero(score: float) -> bool:
    return score == 0.0 and _pack_double(score)[0] == 0x80


def position_of(member: bytes, score: float) -> bytes:
    """Where a member with this score stands in the order."""
    return encode_double(score) + member


# ---- building


def build(engine: Engine, entries: Sequence[Entry], expire_ms: int) -> Header:
    """The rows of a new set, however many; `entries` ascend by (score, member) and are not empty."""
    oid = engine.new_oid()
    index = new_index(engine, oid, _block_counts(entries))
    bulk = Bulk(engine, oid)
    put = bulk.put
    members, scores = index.members, index.scores
    negative_zeros = 0
    known: list[bytes] = []
    for member, score in entries:
        position = encode_double(score) + member
        put(members + xxh32_digest(member) + member, _pack_double(score))
        put(scores + position, b"")
        if score == 0.0 and _is_negative_zero(score):
            negative_zeros = 1
        if len(known) <= _KNOWN_MEMBERS:
            known.append(position)
    bulk.finish()
    if len(known) == len(entries):
        index.know(known)
    return Header(ZSET, None, expire_ms, oid, len(entries), [1, b"", b""] if negative_zeros else None)


def _block_counts(entries: Sequence[Entry]) -> list[tuple[bytes, int]]:
    counts: list[tuple[bytes, int]] = []
    border = b""
    for at in range(0, len(entries), _FILLED_BLOCK):
        if at:
            (before, low), (after, high) = entries[at - 1 : at + 1]
            border = shortest_border(position_of(before, low), position_of(after, high))
        counts.append((border, min(_FILLED_BLOCK, len(entries) - at)))
    return counts


# ---- one member


def score_of(engine: Engine, header: Header, member: bytes) -> float | None:
    """The score of a member, None when it is not in the set."""
    raw = engine.rows.get(element_prefix(header.oid, KIND_ZSET_MEMBER) + xxh32_digest(member) + member)
    if raw is None:
        return None
    score: float = DOUBLE.unpack(raw)[0]
    return score


def put_one(database: Database, key: bytes, header: Header, member: bytes, score: float) -> int:
    """Add a member or change its score: 1 when it is new, 0 when it changed, -1 when it has this score already.

    In place where the database can: `header` is not to be used any more.
    """
    engine = database.engine
    index: RankIndex = engine.mirrors.get(header.oid) or index_of(engine, header.oid)
    rows = engine.rows
    row = index.members + xxh32_digest(member) + member
    raw = rows.get(row)
    if raw is not None:
        before: float = DOUBLE.unpack(raw)[0]
        if before == score:
            return -1
        new = move(engine, header, member, before, score)
        if new is header:
            database.touch(key)
        else:
            database.put(key, new, header)
        return 0
    position = encode_double(score) + member
    put = rows.put
    put(row, _pack_double(score))
    put(index.scores + position, b"")
    index.insert(position)
    ext = header.ext
    if ext is not None or score == 0.0:
        ext = _ext_with(ext, position, score)
    database.adjust(key, header, header.count + 1, ext)
    return 1


def put_each(database: Database, key: bytes, header: Header, members: list[bytes], scores: list[float]) -> list[bool]:
    """Add many members, or change their scores, one after the other; answers which ones are new.

    `header` is not to be used any more.
    """
    last = dict(zip(members, scores, strict=True))
    if len(last) < len(members) and 0.0 in scores:
        # Which sign a zero gets depends on the score before it.
        return _put_one_by_one(database, key, members, scores)
    engine = database.engine
    index: RankIndex = engine.mirrors.get(header.oid) or index_of(engine, header.oid)
    prefix = index.members
    names = [prefix + xxh32_digest(member) + member for member in last]
    before = engine.rows.get_many(names)
    added, removed, ext = _put_rows(engine, index, header.ext, last, names, before)
    if added:
        index.change(added, removed)
    new = before.count(None)
    if new or ext is not header.ext:
        database.adjust(key, header, header.count + new, ext)
    elif added:
        database.touch(key)
    if len(last) == len(members):
        return [raw is None for raw in before]
    missing = set(compress(last, [raw is None for raw in before]))
    is_new = []
    for member in members:
        is_new.append(member in missing)
        missing.discard(member)
    return is_new


def _put_rows(
    engine: Engine,
    index: RankIndex,
    ext: Any,
    scores: dict[bytes, float],
    names: list[bytes],
    before: list[bytes | None],
) -> tuple[list[bytes], list[bytes], Any]:
    """Stage the rows of members, whose member rows are `names`: (positions they have now, positions left, new ext)."""
    pack, unpack = _pack_double, DOUBLE.unpack
    prefix = index.scores
    rows: dict[bytes, bytes | None] = {}
    added: list[bytes] = []
    removed: list[bytes] = []
    for (member, score), name, raw in zip(scores.items(), names, before, strict=True):
        value = pack(score)
        if raw is not None:
            if raw == value:
                continue
            old: float = unpack(raw)[0]
            if old == score:
                continue
            # Of a positive number, which most are, this is what encode_double makes.
            position = (pack(-old) if old > 0.0 else encode_double(old)) + member
            removed.append(position)
            rows[prefix + position] = None
        rows[name] = value
        position = (pack(-score) if score > 0.0 else encode_double(score)) + member
        added.append(position)
        rows[prefix + position] = b""
        if ext is not None or score == 0.0:
            ext = _ext_with(ext, position, score)
    engine.rows.put_many(rows)
    return added, removed, ext


def _put_one_by_one(database: Database, key: bytes, members: list[bytes], scores: list[float]) -> list[bool]:
    is_new = []
    for member, score in zip(members, scores, strict=True):
        header = database.get(key)
        assert isinstance(header, Header)
        is_new.append(put_one(database, key, header, member, score) > 0)
    return is_new


def insert(engine: Engine, header: Header, member: bytes, score: float) -> Header:
    """Add a member that is not in the set; answers the new header."""
    index = engine.mirrors.get(header.oid) or index_of(engine, header.oid)
    position = encode_double(score) + member
    put = engine.rows.put
    put(index.members + xxh32_digest(member) + member, _pack_double(score))
    put(index.scores + position, b"")
    index.insert(position)
    ext = header.ext
    if ext is not None or score == 0.0:
        ext = _ext_with(ext, position, score)
    return Header(ZSET, None, header.expire_ms, header.oid, header.count + 1, ext)


def move(engine: Engine, header: Header, member: bytes, old: float, new: float) -> Header:
    """Give a member another score; answers the header, the same one when nothing in it changes."""
    index = index_of(engine, header.oid)
    before, after = position_of(member, old), position_of(member, new)
    rows = engine.rows
    rows.put(index.members + xxh32_digest(member) + member, _pack_double(new))
    # The index splits a block by its rows, so rows and counts change together.
    rows.delete(index.scores + before)
    index.remove(before)
    rows.put(index.scores + after, b"")
    index.insert(after)
    ext = header.ext
    if ext is not None or new == 0.0:
        ext = _ext_with(ext, after, new)
        if ext != header.ext:
            return Header(ZSET, None, header.expire_ms, header.oid, header.count, ext)
    return header


def _ext_with(ext: list[object] | None, position: bytes, score: float) -> list[object] | None:
    """Header.ext of a set that gets a member at `position`."""
    negative = score == 0.0 and _is_negative_zero(score)
    if ext is None:
        return [1, b"", b""] if negative else None
    negatives, low, high = ext
    if low and position < low:  # type: ignore[operator]
        low = position[:_HINT_BYTES]
    if high and position >= high:  # type: ignore[operator]
        high = b""
    return [1 if negative else negatives, low, high]


def delete(engine: Engine, header: Header, positions: Sequence[bytes]) -> Header:
    """Remove the members at these positions, which ascend; answers the new header (the count may be 0)."""
    index: RankIndex = engine.mirrors.get(header.oid) or index_of(engine, header.oid)
    prefix = index.members
    members = [position[8:] for position in positions]
    rows = [prefix + xxh32_digest(member) + member for member in members]
    rows += map(index.scores.__add__, positions)
    engine.rows.put_many(dict.fromkeys(rows))
    if len(positions) == 1:
        index.remove(positions[0])
    else:
        index.remove_all(positions)
    left = header.count - len(positions)
    engine.note_removed(header.oid, len(positions), left)
    return Header(ZSET, None, header.expire_ms, header.oid, left, header.ext)


# ---- the two ends


def pop(engine: Engine, header: Header, highest: bool, count: int) -> tuple[list[Entry], Header]:
    """Remove `count` (below the number of members) from one end: (outermost first, the new header)."""
    index: RankIndex = engine.mirrors.get(header.oid) or index_of(engine, header.oid)
    negatives, low, high = header.ext or _NO_EXT
    found = index.highest(count, low, high) if highest else index.lowest(count, low, high)
    if len(found) < count:
        raise _less_rows(index)
    if negatives:
        entries = [(position[8:], _exact(engine, index, position, negatives)) for position in found]
    else:
        entries = [(position[8:], decode_double(position[:8])) for position in found]
    header = trimmed(delete(engine, header, found), found, not highest, highest)
    if highest:
        entries.reverse()
    return entries, header


def pop_one(database: Database, key: bytes, header: Header, highest: bool) -> Entry:
    """As `pop` of one member, but not the last one, of the set at `key`; `header` is not to be used any more."""
    engine = database.engine
    oid = header.oid
    index: RankIndex = engine.mirrors.get(oid) or index_of(engine, oid)
    negatives, low, high = header.ext or _NO_EXT
    if highest:
        found = index.highest(1, low, high)
        if not found:
            raise _less_rows(index)
        position = found[0]
        high = position if len(position) <= _HINT_BYTES else prefix_successor(position[:_HINT_BYTES])
    else:
        found = index.lowest(1, low, high)
        if not found:
            raise _less_rows(index)
        position = found[0]
        low = position[:_HINT_BYTES]
    member = position[8:]
    score = _exact(engine, index, position, negatives) if negatives else decode_double(position[:8])
    discard = engine.rows.delete
    discard(index.members + xxh32_digest(member) + member)
    discard(index.scores + position)
    index.remove(position)
    left = header.count - 1
    engine.note_removed(oid, 1, left)
    database.adjust(key, header, left, [negatives, low, high])
    return member, score


_NO_EXT = (0, b"", b"")


def _exact(engine: Engine, index: RankIndex, position: bytes, negatives: int) -> float:
    """The score at a position; `negatives` says whether a zero may be a negative one."""
    if negatives and position.startswith(_ZERO):
        member = position[8:]
        return _stored_score(engine, index.members + xxh32_digest(member) + member)
    return decode_double(position[:8])


def _stored_score(engine: Engine, row: bytes) -> float:
    raw = engine.rows.get(row)
    if raw is None:
        message = f"a member of a sorted set has a score row and no member row {row.hex()}"
        raise CorruptionError(message)
    score: float = DOUBLE.unpack(raw)[0]
    return score


def _less_rows(index: RankIndex) -> CorruptionError:
    return CorruptionError(f"sorted set object {index.oid} has less score rows than its header says")


def trimmed(header: Header, positions: Sequence[bytes], at_start: bool, at_end: bool) -> Header:
    """The header after these members (ascending) were deleted; they were the lowest, or the highest, of all."""
    if not positions or not (at_start or at_end):
        return header
    negatives, low, high = header.ext or (0, b"", b"")
    if at_start:
        low = positions[-1][:_HINT_BYTES]
    if at_end:
        first = positions[0]
        high = first if len(first) <= _HINT_BYTES else prefix_successor(first[:_HINT_BYTES])
    return Header(ZSET, None, header.expire_ms, header.oid, header.count, [negatives, low, high])


# ---- ranks


def rank_of(engine: Engine, header: Header, position: bytes) -> int:
    """How many members lie before a position, whether a member stands there or not."""
    _, low, high = header.ext or _NO_EXT
    return index_of(engine, header.oid).rank(position, low, high)


def first_score(engine: Engine, header: Header, highest: bool = False) -> float:
    """The lowest (or highest) score."""
    return next(entries(engine, header, slice_of(engine, header, 0, 1, highest)))[1]


class Slice:
    """Members in order: `skip` of the rows in [start, stop) are left out, `count` (None: all) are taken."""

    __slots__ = ("count", "reverse", "skip", "start", "stop")

    def __init__(self, start: bytes, stop: bytes, reverse: bool, skip: int, count: int | None) -> None:
        self.start = start
        self.stop = stop
        self.reverse = reverse
        self.skip = skip
        self.count = count


def slice_of(engine: Engine, header: Header, rank: int, count: int, reverse: bool = False) -> Slice:
    """`count` members from `rank` on (counted from the highest member when `reverse`); rank + count <= members."""
    index = index_of(engine, header.oid)
    _, low, high = header.ext or (0, b"", b"")
    if reverse:
        if not rank:
            return Slice(low, high, True, 0, count)
        border, end, skip, members = index.locate(header.count - 1 - rank)
        stop = end or high
        return Slice(low, stop, True, members - 1 - skip, count)
    if not rank:
        return Slice(low, high, False, 0, count)
    border, _, skip, _ = index.locate(rank)
    return Slice(max(border, low), high, False, skip, count)


def span_of(header: Header, start: bytes, stop: bytes, reverse: bool) -> Slice:
    """All members at positions start <= position < stop (b"": no end)."""
    _, low, high = header.ext or (0, b"", b"")
    if high and (not stop or high < stop):
        stop = high
    return Slice(max(start, low), stop, reverse, 0, None)


def score_rows(engine: Engine, header: Header, part: Slice) -> Iterator[bytes]:
    """The keys of the score rows of a slice, lazily."""
    scores = element_prefix(header.oid, KIND_ZSET_SCORE)
    stop = scores + part.stop if part.stop else prefix_successor(scores)
    start = scores + part.start
    if start >= stop or part.count == 0:
        return iter(())
    found = engine.rows.scan(start, stop, part.reverse)
    keys = (row for row, _ in found)
    if part.skip or part.count is not None:
        return islice(keys, part.skip, None if part.count is None else part.skip + part.count)
    return keys


def members(engine: Engine, header: Header, part: Slice) -> Iterator[bytes]:
    """The members of a slice, lazily."""
    return (row[_MEMBER_AT:] for row in score_rows(engine, header, part))


def positions(engine: Engine, header: Header, part: Slice) -> Iterator[bytes]:
    """The positions of a slice, lazily."""
    return (row[_SCORE_AT:] for row in score_rows(engine, header, part))


def is_plain(header: Header) -> bool:
    """Whether the score rows alone say everything; else the sign of a zero has to be looked up for `entries`."""
    return not (header.ext and header.ext[0])


def entries(engine: Engine, header: Header, part: Slice) -> Iterator[Entry]:
    """(member, score) of a slice, lazily."""
    decode = decode_double
    if is_plain(header):
        return ((row[_MEMBER_AT:], decode(row[_SCORE_AT:_MEMBER_AT])) for row in score_rows(engine, header, part))
    index = index_of(engine, header.oid)
    found = positions(engine, header, part)
    return ((position[8:], _exact(engine, index, position, 1)) for position in found)


# ---- by member


def scan(engine: Engine, header: Header, start: int, count: int) -> tuple[int, list[Entry]]:
    """About `count` members from hash `start` on: (hash to go on from, 0 at the end; the members).

    Members of equal hash always come together.
    """
    cursor, found = page(engine.rows, header.oid, KIND_ZSET_MEMBER, start, count)
    unpack = DOUBLE.unpack
    return cursor, [(member, unpack(value)[0]) for member, value in found]
