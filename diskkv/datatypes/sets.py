"""Sets: packed into the header while small, one row a member once large.

Packed, `Header.value` is a dict member -> None: an intset (all members are integers; limit set-max-intset-entries) or,
with `Header.raw`, a listpack (limits set-max-listpack-entries and -value). The two differ in their limits and in what
OBJECT ENCODING says; an intset becomes a listpack with the first other member, and neither goes back.

In rows (never packed again):

    KIND_SET_MEMBER     sub = xxh32(member):u32 member      value empty
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import compress, islice
from random import randrange, sample

from xxhash import xxh32_digest, xxh32_intdigest

from diskkv.codec.header import SET, Header, Value
from diskkv.codec.keys import ELEMENT_TAG, KIND_SET_MEMBER, element_prefix, prefix_successor
from diskkv.codec.numbers import parse_int64
from diskkv.codec.rdb_values import RdbValue, SetValue
from diskkv.datatypes import members, operations
from diskkv.datatypes.members import PREFIX_BYTES, member_row
from diskkv.datatypes.sets_pool import Pool, begin_pool, pool_for_draw, pool_of_changed
from diskkv.engine.bulk import Bulk
from diskkv.engine.database import Database
from diskkv.engine.engine import Engine
from diskkv.errors import WrongTypeError

_SET_ROW = members.ROW


def require_set(value: Value | None) -> Header | None:
    """`value` as a set, None for none. Raises WrongTypeError for other types."""
    if value is not None and (value.__class__ is bytes or value.type != SET):  # type: ignore[union-attr]
        raise WrongTypeError
    return value  # type: ignore[return-value]


def is_integer(member: bytes) -> bool:
    """Whether an intset can hold the member: the usual form of a 64-bit integer."""
    size = len(member)
    if size < 19 and member.isdigit():
        return member[0] != 0x30 or size == 1
    if size > 20:
        return False
    try:
        parse_int64(member)
    except ValueError:
        return False
    return True


# ---- reading


def length(header: Header) -> int:
    """The number of members."""
    return header.count if header.value is None else len(header.value)


def contains(engine: Engine, header: Header, member: bytes) -> bool:
    """Whether the set has this member."""
    packed = header.value
    if packed is not None:
        return member in packed
    row = _SET_ROW(ELEMENT_TAG, header.oid, KIND_SET_MEMBER, xxh32_intdigest(member)) + member
    return engine.rows.get(row) is not None


def iterate(engine: Engine, header: Header) -> Iterator[bytes]:
    """Every member, in no particular order."""
    if header.value is not None:
        return iter(header.value)
    return (member for member, _ in members.member_rows(engine.rows, header.oid, KIND_SET_MEMBER))


def scan(engine: Engine, header: Header, cursor: int, count: int) -> tuple[int, list[bytes]]:
    """(next cursor, members) as SSCAN sees them; a packed set comes whole."""
    if header.value is not None:
        return 0, list(header.value)
    next_cursor, found = members.page(engine.rows, header.oid, KIND_SET_MEMBER, cursor, count)
    return next_cursor, [member for member, _ in found]


def random_member(engine: Engine, header: Header) -> bytes:
    """A member, each with the same chance."""
    packed = header.value
    if packed is None:
        pool = pool_for_draw(engine, header)
        if pool is not None:
            return pool.draw()[PREFIX_BYTES:]
        return members.draw(engine.rows, header.oid, KIND_SET_MEMBER, header.count)[0]
    member: bytes = next(islice(packed, randrange(len(packed)), None))
    return member


def is_drawn_lazily(header: Header, wanted: int) -> bool:
    """Whether `random_members` takes them from memory or from one scan."""
    return header.value is not None or members.is_drawn_in_one_scan(header.count, wanted)


def random_members(engine: Engine, header: Header, wanted: int) -> Iterator[bytes]:
    """Up to `wanted` different members, or -`wanted` independent draws when it is negative."""
    size = length(header)
    if wanted >= size:
        return iterate(engine, header)
    if header.value is not None:
        packed = list(header.value)
        if wanted >= 0:
            return iter(sample(packed, wanted))
        return (packed[randrange(size)] for _ in range(-wanted))
    draw = members.draw_distinct if wanted >= 0 else members.draw_repeatedly
    return (member for member, _ in draw(engine.rows, header.oid, KIND_SET_MEMBER, size, abs(wanted)))


# ---- writing


def add_member(database: Database, key: bytes, old: Header | None, member: bytes) -> int:
    """Add one member; answers 1 when it is new, else 0."""
    if old is None:
        return add_members(database, key, None, (member,))
    packed = old.value
    engine = database.engine
    if packed is None:
        row = _SET_ROW(ELEMENT_TAG, old.oid, KIND_SET_MEMBER, xxh32_intdigest(member)) + member
        rows = engine.rows
        if rows.get(row) is not None:
            return 0
        rows.put(row, b"")
        pool: Pool | None = engine.mirrors.get(old.oid)
        if pool is not None:
            engine.journal.append((engine.mirrors, old.oid, None))
            pool.add(row)
        database.adjust(key, old, old.count + 1, None)
        return 1
    if member in packed:
        return 0
    return add_members(database, key, old, (member,))


def add_each(database: Database, key: bytes, old: Header, added: list[bytes]) -> list[bool]:
    """Add many members to a set in rows; answers which ones are new. `old` is not to be used any more."""
    engine = database.engine
    rows = engine.rows
    oid = old.oid
    prefix = element_prefix(oid, KIND_SET_MEMBER)
    names = [prefix + xxh32_digest(member) + member for member in added]
    is_new = members.first_of_new(names, rows.get_many(names))
    new = dict.fromkeys(compress(names, is_new), b"")
    if new:
        rows.put_many(new)
        pool = pool_of_changed(engine, oid)
        if pool is not None:
            pool.add_each(new)
        database.adjust(key, old, old.count + len(new), None)
    return is_new


def add_members(database: Database, key: bytes, old: Header | None, added: Sequence[bytes]) -> int:
    """Add members (at least one); answers how many are new."""
    edit = SetEdit(database, key, old)
    edit.expect(added[0], len(added))
    count = sum([edit.add(member) for member in added])
    edit.save()
    return count


def remove_members(database: Database, key: bytes, old: Header, removed: Iterable[bytes]) -> tuple[int, bool]:
    """Remove members; answers how many there were, and whether the set still exists."""
    edit = SetEdit(database, key, old)
    count = sum([edit.remove(member) for member in removed])
    return count, edit.save() if count else True


def pop_member(database: Database, key: bytes, old: Header) -> tuple[bytes, bool]:
    """Remove a random member; answers it, and whether the set still exists."""
    engine = database.engine
    if old.value is None and old.count > 1:
        oid = old.oid
        pool = pool_for_draw(engine, old)
        if pool is not None:
            engine.journal.append((engine.mirrors, oid, None))
            row = pool.take()
        else:
            row = member_row(oid, KIND_SET_MEMBER, members.draw(engine.rows, oid, KIND_SET_MEMBER, old.count)[0])
            pool = pool_of_changed(engine, oid)
            if pool is not None:
                pool.remove(row)
        engine.rows.delete(row)
        engine.note_removed(oid, 1, old.count)
        database.adjust(key, old, old.count - 1, None)
        return row[PREFIX_BYTES:], True
    member = random_member(engine, old)
    return member, remove_members(database, key, old, (member,))[1]


def pop_each(database: Database, key: bytes, old: Header, count: int) -> list[bytes] | None:
    """As many times `pop_member` of a set with more members; None when it has no pool (see sets_pool.py).

    `old` is not to be used any more.
    """
    engine = database.engine
    if old.value is not None or old.count <= count:
        return None
    pool = pool_for_draw(engine, old)
    if pool is None:
        return None
    oid = old.oid
    engine.journal.append((engine.mirrors, oid, None))
    popped = pool.take_each(count)
    engine.rows.put_many(dict.fromkeys(popped))
    left = old.count - count
    engine.note_removed(oid, count, left)
    database.adjust(key, old, left, None)
    return [row[PREFIX_BYTES:] for row in popped]


def pop_members(database: Database, key: bytes, old: Header, wanted: int) -> tuple[list[bytes], bool]:
    """Remove up to `wanted` (at least 1) random members; answers them, and whether the set still exists."""
    engine = database.engine
    popped = list(random_members(engine, old, wanted))
    left = length(old) - len(popped)
    if not left:
        database.delete(key, old)
        return popped, False
    if old.value is not None:
        return popped, remove_members(database, key, old, popped)[1]
    discard = engine.rows.delete
    pool = pool_of_changed(engine, old.oid)
    for member in popped:
        row = member_row(old.oid, KIND_SET_MEMBER, member)
        discard(row)
        if pool is not None:
            pool.remove(row)
    engine.note_removed(old.oid, len(popped), left)
    database.put(key, Header(SET, None, old.expire_ms, old.oid, left), old)
    return popped, True


class SetEdit:
    """Changes to the set `old` (None: a new one) at `key`; `save` stages them, or deletes the key of an empty set."""

    __slots__ = ("_config", "_count", "_database", "_key", "_members", "_oid", "_old", "_raw", "_rows")

    def __init__(self, database: Database, key: bytes, old: Header | None) -> None:
        self._database = database
        self._rows = database.engine.rows
        self._config = database.engine.config
        self._key = key
        self._old = old
        self._members: dict[bytes, None] | None = {}
        self._raw = False
        self._oid = self._count = 0
        if old is None:
            return
        if old.value is not None:
            self._members = old.value.copy()
            self._raw = old.raw
        else:
            self._members = None
            self._oid = old.oid
            self._count = old.count

    def expect(self, first: bytes, count: int) -> None:
        """Choose the encoding for `count` members that are about to be added, the first of which is `first`.

        As in Redis the number of arguments decides, even when some of them name the same member.
        """
        if self._members is None:
            return
        if not self._members:
            self._raw = not is_integer(first) or count > self._config.set_max_intset_entries
        if count > self._limit():
            self._explode()

    def add(self, member: bytes) -> bool:
        """Add a member; whether it is new."""
        packed = self._members
        if packed is None:
            return self._add_row(member)
        if member in packed:
            return False
        if not self._raw and not is_integer(member):
            self._raw = True
        config = self._config
        if len(packed) < self._limit() and not (self._raw and len(member) > config.set_max_listpack_value):
            packed[member] = None
            return True
        self._explode()
        return self._add_row(member)

    def remove(self, member: bytes) -> bool:
        """Remove a member; whether it was there."""
        packed = self._members
        if packed is not None:
            if member not in packed:
                return False
            del packed[member]
            return True
        row = member_row(self._oid, KIND_SET_MEMBER, member)
        if self._rows.get(row) is None:
            return False
        self._rows.delete(row)
        self._count -= 1
        pool = pool_of_changed(self._database.engine, self._oid)
        if pool is not None:
            pool.remove(row)
        return True

    def _limit(self) -> int:
        config = self._config
        return config.set_max_listpack_entries if self._raw else config.set_max_intset_entries

    def _add_row(self, member: bytes) -> bool:
        row = _SET_ROW(ELEMENT_TAG, self._oid, KIND_SET_MEMBER, xxh32_intdigest(member)) + member
        if self._rows.get(row) is not None:
            return False
        self._rows.put(row, b"")
        self._count += 1
        pool = pool_of_changed(self._database.engine, self._oid)
        if pool is not None:
            pool.add(row)
        return True

    def _explode(self) -> None:
        packed, self._members = self._members, None
        assert packed is not None
        engine = self._database.engine
        self._oid = engine.new_oid()
        prefix = element_prefix(self._oid, KIND_SET_MEMBER)
        rows = [prefix + xxh32_digest(member) + member for member in packed]
        self._rows.put_many(dict.fromkeys(rows, b""))
        begin_pool(engine, self._oid, rows)
        self._count = len(rows)

    @property
    def count(self) -> int:
        """The number of members now."""
        return self._count if self._members is None else len(self._members)

    def header(self, expire_ms: int) -> Header:
        """The set as it is now, as a value with this time to live (0: none)."""
        if self._members is not None:
            return Header(SET, self._members, expire_ms, raw=self._raw)
        return Header(SET, None, expire_ms, self._oid, self._count)

    def save(self) -> bool:
        """Stage the changes; False when the set is empty and the key deleted. The edit cannot be used after it."""
        database, old = self._database, self._old
        if not self.count:
            if old is not None:
                database.delete(self._key, old)
            return False
        new = self.header(old.expire_ms if old is not None else 0)
        if new != old:
            if old is not None and new.count < old.count:
                database.engine.note_removed(old.oid, old.count - new.count, new.count)
            database.put(self._key, new, old)
        return True


class SetBuilder(SetEdit):
    """A new set of any size. The members that are added must be distinct; `header` ends the building."""

    __slots__ = ("_bulk",)

    def __init__(self, database: Database) -> None:
        super().__init__(database, b"", None)
        self._bulk: Bulk | None = None

    def use_encoding_for(self, size: int, held: Iterable[bytes]) -> None:
        """Take the encoding that a set of these `size` members needs."""
        config = self._config
        if size <= config.set_max_intset_entries and all(is_integer(member) for member in held):
            return
        if size <= config.set_max_listpack_entries and max(map(len, held)) <= config.set_max_listpack_value:
            self._raw = True
        else:
            self._explode()

    def _explode(self) -> None:
        packed, self._members = self._members, None
        assert packed is not None
        self._oid = self._database.engine.new_oid()
        self._bulk = Bulk(self._database.engine, self._oid)
        for member in packed:
            self._add_row(member)

    def _add_row(self, member: bytes) -> bool:
        assert self._bulk is not None
        self._bulk.put(member_row(self._oid, KIND_SET_MEMBER, member), b"")
        self._count += 1
        return True

    def header(self, expire_ms: int) -> Header:
        """The set as it is now, as a value with this time to live (0: none)."""
        if self._bulk is not None:
            self._bulk.finish()
        return super().header(expire_ms)


# ---- what OBJECT, DUMP, RESTORE, COPY and MEMORY need


def encoding(engine: Engine, value: Value) -> bytes:
    """intset, listpack or hashtable, as OBJECT ENCODING names them."""
    assert isinstance(value, Header)
    if value.value is None:
        return b"hashtable"
    return b"listpack" if value.raw else b"intset"


def export(engine: Engine, value: Value) -> RdbValue:
    """The set as the RDB codec takes it."""
    assert isinstance(value, Header)
    return SetValue(list(iterate(engine, value)))


def load(engine: Engine, value: RdbValue, expire_ms: int) -> Value:
    """A set made of what the RDB codec read."""
    assert isinstance(value, SetValue)
    builder = SetBuilder(engine.database(0))
    for member in dict.fromkeys(value.members):
        builder.add(member)
    return builder.header(expire_ms)


def copy(engine: Engine, value: Value) -> Value:
    """An independent set of the same content."""
    assert isinstance(value, Header)
    if value.value is not None:
        return value
    oid = operations.copy_rows(engine, value, (KIND_SET_MEMBER,))
    return Header(SET, None, value.expire_ms, oid, value.count)


_HEADER_BYTES = 24


def memory_bytes(engine: Engine, value: Value, samples: int) -> int:
    """About what the set takes; `samples` members are looked at, 0 means all."""
    assert isinstance(value, Header)
    if value.value is not None:
        return _HEADER_BYTES + sum(len(member) + 2 for member in value.value)
    prefix = element_prefix(value.oid, KIND_SET_MEMBER)
    sizes = [len(row) for row, _ in islice(engine.rows.scan(prefix, prefix_successor(prefix)), samples or None)]
    return _HEADER_BYTES + sum(sizes) * value.count // max(1, len(sizes))


operations.register(SET, SetValue, sys.modules[__name__])
