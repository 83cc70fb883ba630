"""Hashes: packed into the header while small, one row a field once large; fields can have their own time to live.

Packed, `Header.value` is a dict field -> value and `Header.ext` a dict field -> expire_ms of the fields that expire.

In rows (limits: hash-max-listpack-entries and -value; never packed again) there are two kinds:

    KIND_HASH_FIELD     sub = xxh32(field):u32 field            value = 0x00 value, or 0x01 expire_ms:u64 value
    KIND_HASH_EXPIRY    sub = expire_ms:u64 xxh32(field):u32 field      value empty; one for each field that expires

and `Header.ext` is None or [next_ms, last_ms, fields]: bounds of the expiry times, and how many fields have one.
`Header.count` counts rows, fields that expired and are not deleted yet among them. These are invisible everywhere; see
hashes_expiry.py for what deletes them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from random import randrange, sample

from xxhash import xxh32_digest, xxh32_intdigest

from diskkv.codec.header import HASH, Header, Value
from diskkv.codec.keys import (
    ELEMENT_TAG,
    KIND_HASH_EXPIRY,
    KIND_HASH_FIELD,
    U64,
    element_prefix,
    prefix_successor,
)
from diskkv.codec.rdb_values import HashValue, RdbValue
from diskkv.datatypes import hashes_expiry, members, operations
from diskkv.datatypes.hashes_edit import HashBuilder, HashEdit, decode_field
from diskkv.datatypes.members import member_row
from diskkv.engine.database import Database
from diskkv.engine.engine import Engine
from diskkv.errors import WrongTypeError

COUNTED_EXPIRED = 10_000
"""HLEN leaves out up to so many fields that expired and are not deleted yet; it would take too long to count more."""

_FIELD_ROW = members.ROW
_NO_EXPIRY = b"\0"


def require_hash(database: Database, key: bytes, value: Value | None) -> Header | None:
    """`value`, which was just read, without packed fields that expired. Raises WrongTypeError for other types."""
    if value is None:
        return None
    if value.__class__ is bytes or value.type != HASH:  # type: ignore[union-attr]
        raise WrongTypeError
    if value.ext is None:  # type: ignore[union-attr]
        return value  # type: ignore[return-value]
    return hashes_expiry.settle(database, key, value)  # type: ignore[arg-type]


# ---- reading; every header here comes from `require_hash`


def get(engine: Engine, header: Header, field: bytes) -> bytes | None:
    """The value of a field, or None."""
    packed = header.value
    if packed is not None:
        found: bytes | None = packed.get(field)
        return found
    raw = engine.rows.get(_FIELD_ROW(ELEMENT_TAG, header.oid, KIND_HASH_FIELD, xxh32_intdigest(field)) + field)
    if raw is None:
        return None
    if raw[0]:
        value, expire_ms = decode_field(raw)
        return value if expire_ms > engine.now_ms else None
    return raw[1:]


def expiry(engine: Engine, header: Header, field: bytes) -> int | None:
    """When a field expires (absolute ms), 0 when it does not, None when there is no such field."""
    packed = header.value
    if packed is not None:
        if field not in packed:
            return None
        return header.ext.get(field, 0) if header.ext else 0
    raw = engine.rows.get(member_row(header.oid, KIND_HASH_FIELD, field))
    if raw is None:
        return None
    expire_ms = decode_field(raw)[1]
    return expire_ms if not expire_ms or expire_ms > engine.now_ms else None


def length(engine: Engine, header: Header) -> int:
    """The number of fields. Fields that expired and are not deleted yet are left out, up to COUNTED_EXPIRED of them."""
    if header.value is not None:
        return len(header.value)
    if not header.ext or header.ext[0] > engine.now_ms:
        return header.count
    return header.count - sum(1 for _ in islice(hashes_expiry.due_rows(engine, header), COUNTED_EXPIRED))


def entries(engine: Engine, header: Header) -> Iterator[tuple[bytes, bytes, int]]:
    """(field, value, expire_ms) of every field, expire_ms 0 for none."""
    if header.value is not None:
        times = header.ext or {}
        for field, value in header.value.items():
            yield field, value, times.get(field, 0)
        return
    now_ms = engine.now_ms
    for field, raw in members.member_rows(engine.rows, header.oid, KIND_HASH_FIELD):
        value, expire_ms = decode_field(raw)
        if not expire_ms or expire_ms > now_ms:
            yield field, value, expire_ms


def pairs(engine: Engine, header: Header) -> Iterator[tuple[bytes, bytes]]:
    """(field, value) of every field."""
    if header.value is not None:
        return iter(header.value.items())
    return _live(engine, members.member_rows(engine.rows, header.oid, KIND_HASH_FIELD))


def has_expired(engine: Engine, header: Header) -> bool:
    """Whether rows of a big hash may belong to fields that expired, so that `Header.count` is too high."""
    return bool(header.value is None and header.ext and header.ext[0] <= engine.now_ms)


def slots(engine: Engine, header: Header) -> Iterator[tuple[bytes, bytes] | None]:
    """(field, value) of every field of a big hash, and None for each one that expired and is not deleted yet."""
    now_ms = engine.now_ms
    for field, raw in members.member_rows(engine.rows, header.oid, KIND_HASH_FIELD):
        value, expire_ms = decode_field(raw)
        yield None if 0 < expire_ms <= now_ms else (field, value)


def _live(engine: Engine, found: Iterator[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    """The fields and values of rows, without those that expired."""
    now_ms = engine.now_ms
    for field, raw in found:
        if raw[0]:
            value, expire_ms = decode_field(raw)
            if expire_ms > now_ms:
                yield field, value
        else:
            yield field, raw[1:]


def scan(engine: Engine, header: Header, cursor: int, count: int) -> tuple[int, list[tuple[bytes, bytes]]]:
    """(next cursor, (field, value) pairs) as HSCAN sees them; a packed hash comes whole."""
    if header.value is not None:
        return 0, list(header.value.items())
    next_cursor, found = members.page(engine.rows, header.oid, KIND_HASH_FIELD, cursor, count)
    return next_cursor, list(_live(engine, iter(found)))


# ---- random fields


def random_pair(engine: Engine, header: Header) -> tuple[bytes, bytes] | None:
    """A field and its value, each field with the same chance; None when all of them expired."""
    return next(random_pairs(engine, header, 1), None)


def random_pairs(engine: Engine, header: Header, wanted: int) -> Iterator[tuple[bytes, bytes]]:
    """Up to `wanted` different fields with their values, or -`wanted` independent draws when it is negative."""
    if header.value is not None:
        return _choose(list(header.value.items()), wanted)
    if header.ext and header.ext[0] <= engine.now_ms:
        return _random_live_pairs(engine, header, wanted)
    if wanted >= header.count:
        return pairs(engine, header)
    draw = members.draw_distinct if wanted >= 0 else members.draw_repeatedly
    return _live(engine, draw(engine.rows, header.oid, KIND_HASH_FIELD, header.count, abs(wanted)))


def drawn_count(header: Header, wanted: int) -> int | None:
    """How many `random_pairs` draws; None when that depends on which fields are still there."""
    if header.ext:
        return None
    return -wanted if wanted < 0 else min(wanted, header.count if header.value is None else len(header.value))


def is_drawn_lazily(header: Header, wanted: int) -> bool:
    """Whether `random_pairs` of a hash without expiring fields takes them from memory or from one scan."""
    return header.value is not None or members.is_drawn_in_one_scan(header.count, wanted)


def _choose(items: list[tuple[bytes, bytes]], wanted: int) -> Iterator[tuple[bytes, bytes]]:
    size = len(items)
    if wanted >= size:
        return iter(items)
    if wanted == 1:
        return iter((items[randrange(size)],))
    if wanted >= 0:
        return iter(sample(items, wanted))
    return (items[randrange(size)] for _ in range(-wanted if size else 0))


def _random_live_pairs(engine: Engine, header: Header, wanted: int) -> Iterator[tuple[bytes, bytes]]:
    """As `random_pairs` while expired fields are among the rows: draws that hit one do not count.

    A few hits in a row mean that there are many of them: then the live ones are listed, which is exact whatever their
    share. The sweeper ends this state soon.
    """
    if abs(wanted) == 1:
        for _ in range(16):
            drawn = members.draw(engine.rows, header.oid, KIND_HASH_FIELD, header.count)
            found = next(_live(engine, iter((drawn,))), None)
            if found is not None:
                return iter((found,))
    return _choose(list(pairs(engine, header)), wanted)


# ---- writing


def set_field(database: Database, key: bytes, value: Value | None, field: bytes, data: bytes) -> int:
    """As `set_fields` for one field, the usual case; `value` is what the key holds, of whatever type.

    Setting a field to the value it has leaves everything as it is but still counts as a change.
    """
    if value.__class__ is Header and value.type == HASH and value.ext is None:
        packed = value.value
        if packed is not None:
            config = database.engine.config
            longest = config.hash_max_listpack_value
            most = config.hash_max_listpack_entries
            if len(field) <= longest and len(data) <= longest and len(packed) <= most:
                if packed.get(field) == data:
                    database.touch(key)
                    return 0
                changed = packed.copy()
                changed[field] = data
                if len(changed) <= most:
                    database.put(key, Header(HASH, changed, value.expire_ms, 0, 0, None, value.raw), value)
                    return len(changed) - len(packed)
        else:
            row = _FIELD_ROW(ELEMENT_TAG, value.oid, KIND_HASH_FIELD, xxh32_intdigest(field)) + field
            rows = database.engine.rows
            before = rows.get(row)
            raw = _NO_EXPIRY + data
            if before is None:
                rows.put(row, raw)
                database.adjust(key, value, value.count + 1, None)
                return 1
            if before != raw:
                rows.put(row, raw)
            database.touch(key)
            return 0
    return set_fields(database, key, require_hash(database, key, value), [b"", key, field, data], 2)


def set_each(database: Database, key: bytes, old: Header, fields: list[bytes], values: list[bytes]) -> list[bool]:
    """Set many fields of a hash in rows of which no field expires; answers which ones are new.

    `old` is not to be used any more.
    """
    engine = database.engine
    rows = engine.rows
    prefix = element_prefix(old.oid, KIND_HASH_FIELD)
    names = [prefix + xxh32_digest(field) + field for field in fields]
    before = rows.get_many(names)
    rows.put_many(dict(zip(names, map(_NO_EXPIRY.__add__, values), strict=True)))
    is_new = members.first_of_new(names, before)
    added = sum(is_new)
    if added:
        database.adjust(key, old, old.count + added, None)
    else:
        database.touch(key)
    return is_new


def set_fields(database: Database, key: bytes, old: Header | None, argv: list[bytes], at: int) -> int:
    """Set the fields and values that alternate in argv[at:]; answers how many fields are new. Ends their expiry."""
    engine = database.engine
    if old is not None and old.ext is None:
        packed = old.value
        if packed is None:
            return _set_rows(database, key, old, argv, at)
        config = engine.config
        longest = config.hash_max_listpack_value
        most = config.hash_max_listpack_entries
        if len(argv) - at <= 2 * most:
            changed = packed.copy()
            for index in range(at, len(argv), 2):
                field = argv[index]
                value = argv[index + 1]
                if len(field) > longest or len(value) > longest:
                    break
                changed[field] = value
            else:
                if len(changed) <= most:
                    database.put(key, Header(HASH, changed, old.expire_ms, raw=old.raw), old)
                    return len(changed) - len(packed)
    edit = HashEdit(database, key, old)
    edit.expect(argv[at:])
    added = 0
    for index in range(at, len(argv), 2):
        added += edit.put(argv[index], argv[index + 1])
    edit.save()
    return added


def _set_rows(database: Database, key: bytes, old: Header, argv: list[bytes], at: int) -> int:
    """`set_fields` of a hash in rows of which no field expires."""
    rows = database.engine.rows
    oid = old.oid
    added = 0
    for index in range(at, len(argv), 2):
        field = argv[index]
        row = _FIELD_ROW(ELEMENT_TAG, oid, KIND_HASH_FIELD, xxh32_intdigest(field)) + field
        if rows.get(row) is None:
            added += 1
        rows.put(row, _NO_EXPIRY + argv[index + 1])
    if added:
        database.adjust(key, old, old.count + added, None)
    else:
        database.touch(key)
    return added


def delete_fields(database: Database, key: bytes, old: Header, fields: list[bytes]) -> tuple[int, bool]:
    """Delete fields; answers how many there were, and whether the hash still exists."""
    edit = HashEdit(database, key, old)
    deleted = sum([edit.delete(field) for field in fields])
    # Fields that expired do not count as deleted, but their rows went as well.
    return deleted, edit.save() if edit.changed else True


# ---- what OBJECT, DUMP, RESTORE, COPY and MEMORY need


def encoding(engine: Engine, value: Value) -> bytes:
    """listpack, listpackex or hashtable, as OBJECT ENCODING names them."""
    assert isinstance(value, Header)
    if value.value is None:
        return b"hashtable"
    return b"listpackex" if value.raw else b"listpack"


def export(engine: Engine, value: Value) -> RdbValue:
    """The hash as the RDB codec takes it."""
    assert isinstance(value, Header)
    return HashValue([entry for entry in entries(engine, value) if not 0 < entry[2] <= engine.now_ms])


def load(engine: Engine, value: RdbValue, expire_ms: int) -> Value:
    """A hash made of what the RDB codec read, without the fields that expired (unless all did)."""
    assert isinstance(value, HashValue)
    now_ms = engine.now_ms
    live = [entry for entry in value.entries if not 0 < entry[2] <= now_ms] or value.entries
    builder = HashBuilder(engine.database(0))
    builder.expect([text for entry in live for text in entry[:2]])
    for field, (data, field_ms) in {field: (data, field_ms) for field, data, field_ms in live}.items():
        builder.put(field, data, field_ms)
    return builder.header(expire_ms)


def copy(engine: Engine, value: Value) -> Value:
    """An independent hash of the same content."""
    assert isinstance(value, Header)
    if value.value is not None:
        return value
    oid = operations.copy_rows(engine, value, (KIND_HASH_FIELD, KIND_HASH_EXPIRY))
    return Header(HASH, None, value.expire_ms, oid, value.count, value.ext)


_HEADER_BYTES = 24


def memory_bytes(engine: Engine, value: Value, samples: int) -> int:
    """About what the hash takes; `samples` fields are looked at, 0 means all."""
    assert isinstance(value, Header)
    if value.value is not None:
        return _HEADER_BYTES + sum(len(field) + len(data) + 4 for field, data in value.value.items())
    prefix = element_prefix(value.oid, KIND_HASH_FIELD)
    rows = engine.rows.scan(prefix, prefix_successor(prefix))
    sizes = [len(row) + len(raw) for row, raw in islice(rows, samples or None)]
    size = sum(sizes) * value.count // max(1, len(sizes))
    if value.ext:
        size += value.ext[2] * (size // value.count + U64.size)
    return _HEADER_BYTES + size


operations.register(HASH, HashValue, sys.modules[__name__])
