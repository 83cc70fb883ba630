"""Keys at random places of the store, for evictions.

A place is drawn between the ends of two neighbouring tables, so each part of the data is as likely as it is large; from
there the keys are taken as they come. That is close to uniform where keys are spread evenly, and it frees rows that lie
side by side, which gives their space back with less rewriting than rows here and there.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from random import Random

from diskkv.codec.header import Header, Value
from diskkv.codec.keys import EXPIRY_TAG, U64, database_range, decode_expiry_row
from diskkv.engine.database import Database
from diskkv.engine.engine import Engine

_INDEX_END = b"u"
_AFTER_TIME = len(EXPIRY_TAG) + U64.size
"""Where an entry of the expiry index says whose it is."""
_DRAWN_BYTES = 8
_CUT_BYTES = 1 << 20

Candidate = tuple[Database, bytes, Value]


def keys_from_random_place(
    engine: Engine, database: Database, cuts: list[bytes], count: int, random: Random
) -> list[Candidate]:
    """`count` keys of a database from a random place on (going round at its end); `cuts` are from `places`."""
    start, stop = database_range(database.id)
    ends = [start, *(cut for cut in cuts if start < cut < stop), stop]
    at = random.randrange(len(ends) - 1)
    place = between(ends[at], ends[at + 1], random)[len(start) :]
    found = [(database, key, value) for key, value in islice(database.scan_heads(place), count) if value is not None]
    if len(found) < count and place:
        rest = islice(database.scan_heads(b"", place), count - len(found))
        found += [(database, key, value) for key, value in rest if value is not None]
    return found


def places(engine: Engine) -> list[bytes]:
    """Where tables of about a MiB or more end, for `keys_from_random_place`; good until the data has changed much."""
    return engine.store.split_keys(b"m", b"n", _CUT_BYTES)


def expiring_keys(engine: Engine, count: int, random: Random | None) -> list[Candidate]:
    """`count` keys that have a time to live: those that expire first, or from a random place of the index on."""
    start = EXPIRY_TAG
    if random is not None:
        first = next(iter(engine.rows.scan(EXPIRY_TAG, _INDEX_END)), None)
        last = next(iter(engine.rows.scan(EXPIRY_TAG, _INDEX_END, True)), None)
        if first is None or last is None:
            return []
        low, high = (U64.unpack_from(row, 1)[0] for row, _ in (first, last))
        start = EXPIRY_TAG + U64.pack(random.randint(low, high))
    return list(islice(_live_entries(engine, start), count))


def _live_entries(engine: Engine, start: bytes) -> Iterator[Candidate]:
    seen: set[bytes] = set()
    for row, _ in engine.rows.scan(start, _INDEX_END):
        _, db_id, key = decode_expiry_row(row)
        if row[_AFTER_TIME:] in seen:
            # A time to live that was shortened has left an entry behind.
            continue
        seen.add(row[_AFTER_TIME:])
        database = engine.by_id.get(db_id)
        value = database.peek(key) if database is not None else None
        # An entry may have outlived its key, or its key's time to live.
        if database is not None and isinstance(value, Header) and value.expire_ms:
            yield database, key, value


def between(low: bytes, high: bytes, random: Random) -> bytes:
    """Bytes drawn evenly from low <= drawn < high, as far as the first eight bytes behind a common prefix tell.

    Numbers in decimal or hexadecimal and other text are drawn from their own characters: of all bytes, nearly none
    would hit between two keys.
    """
    shared = 0
    for left, right in zip(low, high, strict=False):
        if left != right:
            break
        shared += 1
    ends = (low[shared : shared + _DRAWN_BYTES], high[shared : shared + _DRAWN_BYTES])
    used = set(ends[0] + ends[1]) - {0}
    alphabet = next(each for each in _ALPHABETS if used <= set(each))
    first, last = (_number(end, alphabet) for end in ends)
    drawn = random.randint(first, max(first, last - 1))
    digits = bytearray()
    for _ in range(_DRAWN_BYTES):
        drawn, digit = divmod(drawn, len(alphabet))
        digits.append(alphabet[digit])
    return max(low, low[:shared] + bytes(reversed(digits)))


_ALPHABETS = (b"0123456789", b"0123456789abcdef", bytes(range(32, 127)), bytes(range(256)))


def _number(end: bytes, alphabet: bytes) -> int:
    number = 0
    for byte in end.ljust(_DRAWN_BYTES, b"\0"):
        number = number * len(alphabet) + max(alphabet.find(byte), 0)
    return number
