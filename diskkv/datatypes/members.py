"""Members of big hashes, sets and sorted sets as rows in the order of their hash.

    sub = xxh32(member):u32 member              the row's value belongs to the data type

Laid out so, members are spread evenly over 2**32 positions whatever they look like. A scan's cursor is then just the
position to go on from: it needs no state, survives restarts, and every member that is there throughout is returned,
because members never move. And a random position leads to a random member.

Uniform access. Taking the member behind a random position would favour those with a large gap before them. Instead the
positions are cut into 2**k buckets of 12 to 24 members on average, a random bucket is chosen and a random slot in it,
out of more slots than any bucket has members (the mean plus six standard deviations). An empty slot means choosing
anew: every member has the same chance. Two or three tries are needed on average.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import compress, islice
from math import isqrt
from random import getrandbits, randrange, sample
from struct import Struct

from xxhash import xxh32_intdigest

from diskkv.codec.keys import ELEMENT_TAG, U32, element_prefix, prefix_successor
from diskkv.engine.rows import Rows
from diskkv.errors import CorruptionError

PREFIX_BYTES = 14
"""Before the member in a row's key: tag, object id, kind and hash."""

_POSITION_BITS = 32
_LAST_POSITION = (1 << _POSITION_BITS) - 1
_BUCKET_MEMBERS = 12
_TRIES = 64
"""After so many empty slots (less likely than 1 in 10**12) the members are no random set; see `draw`."""

_DRAW_ROWS = 50
"""A draw costs about as much as reading this many rows in order."""

_BATCH_DRAWS = 1_000_000
"""So many draws share one pass over the members; bounds the memory they take."""

ROW = Struct(">cQBI").pack
"""(ELEMENT_TAG, oid, kind, xxh32 of the member) -> row key without the member; for paths where a call counts."""


def member_row(oid: int, kind: int, member: bytes) -> bytes:
    """The row key of one member."""
    return ROW(ELEMENT_TAG, oid, kind, xxh32_intdigest(member)) + member


def first_of_new(names: list[bytes], before: list[bytes | None]) -> list[bool]:
    """For each of some rows that were put one after the other whether it was absent, also from those before it."""
    is_new = [value is None for value in before]
    absent = list(compress(names, is_new))
    if len(set(absent)) < len(absent):
        seen: set[bytes] = set()
        for at, name in enumerate(names):
            is_new[at] = is_new[at] and name not in seen
            seen.add(name)
    return is_new


def member_rows(rows: Rows, oid: int, kind: int) -> Iterator[tuple[bytes, bytes]]:
    """(member, row value) of all members."""
    prefix = element_prefix(oid, kind)
    return ((row[PREFIX_BYTES:], value) for row, value in rows.scan(prefix, prefix_successor(prefix)))


def page(rows: Rows, oid: int, kind: int, cursor: int, count: int) -> tuple[int, list[tuple[bytes, bytes]]]:
    """(next cursor, (member, row value) pairs) from a cursor (0: the start); the next cursor is 0 at the end.

    At least `count` members unless the end is reached; more only where several have the same hash, which are never
    separated.
    """
    if cursor > _LAST_POSITION:
        return 0, []
    prefix = element_prefix(oid, kind)
    found: list[tuple[bytes, bytes]] = []
    last = b""
    for row, value in rows.scan(prefix + U32.pack(cursor), prefix_successor(prefix)):
        position = row[10:PREFIX_BYTES]
        if len(found) >= count and position != last:
            return int.from_bytes(last) + 1, found
        last = position
        found.append((row[PREFIX_BYTES:], value))
    return 0, found


def draw(rows: Rows, oid: int, kind: int, count: int) -> tuple[bytes, bytes]:
    """A member of an object with `count` (at least 1) members and its row value, each with the same chance.

    Members that somebody chose for their equal hashes still have a chance each, but not the same.
    """
    prefix = element_prefix(oid, kind)
    bits = max(0, (count // _BUCKET_MEMBERS).bit_length() - 1)
    if not bits:
        everything = rows.scan(prefix, prefix_successor(prefix))
        drawn = next(islice(everything, randrange(count), None), None)
        if drawn is None:
            message = f"object {oid} has not as many rows as its header says"
            raise CorruptionError(message)
        return drawn[0][PREFIX_BYTES:], drawn[1]
    mean = (count >> bits) + 1
    slots = mean + 6 * isqrt(mean) + 4
    shift = _POSITION_BITS - bits
    for _ in range(_TRIES):
        bucket = getrandbits(bits)
        slot = randrange(slots)
        members = _bucket(rows, prefix, bucket, bits, shift)
        found = next(islice(members, slot, None), None)
        if found is None:
            continue
        if slot == slots - 1:
            # The last slot stands for all members beyond, so that nobody is out of reach.
            for seen, other in enumerate(members, 2):
                if not randrange(seen):
                    found = other
        return found[0][PREFIX_BYTES:], found[1]
    return _behind(rows, prefix, getrandbits(_POSITION_BITS))


def _bucket(rows: Rows, prefix: bytes, bucket: int, bits: int, shift: int) -> Iterator[tuple[bytes, bytes]]:
    start = prefix + U32.pack(bucket << shift)
    if bucket + 1 == 1 << bits:
        return rows.scan(start, prefix_successor(prefix))
    return rows.scan(start, prefix + U32.pack((bucket + 1) << shift))


def _behind(rows: Rows, prefix: bytes, position: int) -> tuple[bytes, bytes]:
    stop = prefix_successor(prefix)
    for start in (prefix + U32.pack(position), prefix):
        for row, value in rows.scan(start, stop):
            return row[PREFIX_BYTES:], value
    raise AssertionError("an object without members is deleted")


def is_drawn_in_one_scan(count: int, wanted: int) -> bool:
    """Whether `wanted` different members out of `count`, or all, come from one pass over them."""
    return wanted * _DRAW_ROWS > count


def draw_distinct(rows: Rows, oid: int, kind: int, count: int, wanted: int) -> Iterator[tuple[bytes, bytes]]:
    """`wanted` (less than `count`) different members out of `count`, with their row values, in no particular order."""
    if is_drawn_in_one_scan(count, wanted):
        chosen = iter(sorted(sample(range(count), wanted)))
        return _at_ranks(member_rows(rows, oid, kind), chosen)
    drawn: dict[bytes, bytes] = {}
    while len(drawn) < wanted:
        member, value = draw(rows, oid, kind, count)
        drawn[member] = value
    return iter(drawn.items())


def _at_ranks(pairs: Iterator[tuple[bytes, bytes]], ranks: Iterator[int]) -> Iterator[tuple[bytes, bytes]]:
    wanted = next(ranks, None)
    for rank, pair in enumerate(pairs):
        if rank == wanted:
            yield pair
            wanted = next(ranks, None)
            if wanted is None:
                return


def draw_repeatedly(rows: Rows, oid: int, kind: int, count: int, wanted: int) -> Iterator[tuple[bytes, bytes]]:
    """`wanted` independent draws out of `count` members, with their row values."""
    if wanted * _DRAW_ROWS <= count:
        for _ in range(wanted):
            yield draw(rows, oid, kind, count)
        return
    for at in range(0, wanted, _BATCH_DRAWS):
        yield from _draw_batch(rows, oid, kind, count, min(_BATCH_DRAWS, wanted - at))


def _draw_batch(rows: Rows, oid: int, kind: int, count: int, wanted: int) -> list[tuple[bytes, bytes]]:
    """Draw ranks, read their members in one pass over all of them, and answer them in the order of the draws."""
    drawn = [randrange(count) for _ in range(wanted)]
    ranks = sorted(set(drawn))
    found = dict(zip(ranks, _at_ranks(member_rows(rows, oid, kind), iter(ranks)), strict=True))
    return [found[rank] for rank in drawn]
