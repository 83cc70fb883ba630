"""Changing a hash: one set of operations on both layouts, and the way from the packed one to rows.

A `HashEdit` gathers the changes that one command makes to one hash; `save` stages the new header, or deletes the key
when no field is left. Row layouts are described in hashes.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from diskkv.codec.header import HASH, Header
from diskkv.codec.keys import KIND_HASH_EXPIRY, KIND_HASH_FIELD, U64, element_prefix, prefix_successor
from diskkv.datatypes.members import member_row
from diskkv.engine.bulk import Bulk
from diskkv.engine.database import Database

_PREFIX_BYTES = 10
NEVER_MS = 1 << 62


def decode_field(raw: bytes) -> tuple[bytes, int]:
    """(value, expire_ms) of a field's row, expire_ms 0 for none."""
    if raw[0]:
        return raw[9:], U64.unpack_from(raw, 1)[0]
    return raw[1:], 0


def encode_field(value: bytes, expire_ms: int) -> bytes:
    """The inverse of `decode_field`."""
    return b"\1%b%b" % (U64.pack(expire_ms), value) if expire_ms else b"\0" + value


def expiry_row_of(oid: int, field_row: bytes, expire_ms: int) -> bytes:
    """The index row of a field with this row key."""
    return element_prefix(oid, KIND_HASH_EXPIRY) + U64.pack(expire_ms) + field_row[_PREFIX_BYTES:]


class HashEdit:
    """Changes to the hash `old` (None: a new one) at `key`; `old` comes from `hashes.require_hash`."""

    __slots__ = (
        "_count", "_database", "_fields", "_key", "_last_ms", "_next_ms", "_now_ms", "_oid", "_old", "_raw", "_rows",
        "_timed", "_times", "changed",
    )  # fmt: skip

    def __init__(self, database: Database, key: bytes, old: Header | None) -> None:
        self._database = database
        self._rows = database.engine.rows
        self._now_ms = database.engine.now_ms
        self._key = key
        self._old = old
        self._fields: dict[bytes, bytes] | None = {}
        self._times: dict[bytes, int] = {}
        self._raw = False
        self.changed = False
        """Whether there is something to save."""
        self._oid = self._count = self._timed = self._last_ms = 0
        self._next_ms = NEVER_MS
        if old is None:
            return
        if old.value is not None:
            self._fields = old.value.copy()
            self._times = old.ext.copy() if old.ext else {}
            self._raw = old.raw
            return
        self._fields = None
        self._oid = old.oid
        self._count = old.count
        if old.ext:
            self._next_ms, self._last_ms, self._timed = old.ext

    # ---- reading

    def get(self, field: bytes) -> tuple[bytes, int] | None:
        """(value, expire_ms) of a field, expire_ms 0 for none; None when there is no such field."""
        if self._fields is not None:
            value = self._fields.get(field)
            return None if value is None else (value, self._times.get(field, 0))
        raw = self._rows.get(member_row(self._oid, KIND_HASH_FIELD, field))
        if raw is None:
            return None
        found = decode_field(raw)
        return None if 0 < found[1] <= self._now_ms else found

    # ---- changing

    def expect(self, texts: Sequence[bytes]) -> None:
        """Go over to rows at once if these fields and values, which are about to be put, are too many or too long.

        As in Redis the number of arguments decides, even when some of them name the same field.
        """
        config = self._database.engine.config
        if self._fields is not None and (
            len(texts) > 2 * config.hash_max_listpack_entries
            or (texts and max(map(len, texts)) > config.hash_max_listpack_value)
        ):
            self._explode()

    def mark_timed(self) -> None:
        """Note that a command was about to change the expiry of fields: from then on a packed hash is a listpackex."""
        self._raw = self.changed = True

    def put(self, field: bytes, value: bytes, expire_ms: int = 0) -> bool:
        """Set the value and the expiry of a field; whether it is new."""
        self.changed = True
        packed = self._fields
        if packed is None:
            return self._put_row(field, value, expire_ms)
        is_new = field not in packed
        packed[field] = value
        if expire_ms:
            self._raw = True
            self._times[field] = expire_ms
        elif self._times:
            self._times.pop(field, None)
        config = self._database.engine.config
        longest = config.hash_max_listpack_value
        if len(packed) > config.hash_max_listpack_entries or len(field) > longest or len(value) > longest:
            self._explode()
        return is_new

    def delete(self, field: bytes) -> bool:
        """Delete a field; whether it existed."""
        packed = self._fields
        if packed is not None:
            if field not in packed:
                return False
            self.changed = True
            self._times.pop(field, None)
            del packed[field]
            return True
        row = member_row(self._oid, KIND_HASH_FIELD, field)
        raw = self._rows.get(row)
        if raw is None:
            return False
        expire_ms = decode_field(raw)[1]
        self.changed = True
        self._rows.delete(row)
        self._count -= 1
        if expire_ms:
            self._forget_time(row, expire_ms)
        return not 0 < expire_ms <= self._now_ms

    def _put_row(self, field: bytes, value: bytes, expire_ms: int) -> bool:
        row = member_row(self._oid, KIND_HASH_FIELD, field)
        before = self._rows.get(row)
        before_ms = 0
        if before is None:
            self._count += 1
        else:
            before_ms = decode_field(before)[1]
        self._rows.put(row, encode_field(value, expire_ms))
        if expire_ms != before_ms:
            if before_ms:
                self._forget_time(row, before_ms)
            if expire_ms:
                self._rows.put(expiry_row_of(self._oid, row, expire_ms), b"")
                self._timed += 1
                self._next_ms = min(self._next_ms, expire_ms)
                self._last_ms = max(self._last_ms, expire_ms)
        return before is None or 0 < before_ms <= self._now_ms

    def _forget_time(self, row: bytes, expire_ms: int) -> None:
        self._rows.delete(expiry_row_of(self._oid, row, expire_ms))
        self._timed -= 1
        if not self._timed:
            self._next_ms = NEVER_MS
            self._last_ms = 0

    def _explode(self) -> None:
        packed, self._fields = self._fields, None
        assert packed is not None
        self._oid = self._database.engine.new_oid()
        for field, value in packed.items():
            self._put_row(field, value, self._times.get(field, 0))

    # ---- finishing

    def header(self, expire_ms: int) -> Header:
        """The hash as it is now, as a value with this time to live of its own (0: none)."""
        if self._fields is not None:
            return Header(HASH, self._fields, expire_ms, ext=self._times or None, raw=self._raw)
        ext = [self._next_ms, self._last_ms, self._timed] if self._timed else None
        return Header(HASH, None, expire_ms, self._oid, self._count, ext)

    def save(self) -> bool:
        """Stage the changes; False when no field is left and the key is deleted. The edit cannot be used after it."""
        database, key, old = self._database, self._key, self._old
        if not self._has_fields():
            if old is not None:
                database.delete(key, old)
            return False
        new = self.header(old.expire_ms if old is not None else 0)
        if old is not None and new.count < old.count:
            database.engine.note_removed(old.oid, old.count - new.count, new.count)
        if old is not None and new.value is None and new == old:
            database.touch(key)
        else:
            database.put(key, new, old)
        return True

    def _has_fields(self) -> bool:
        if self._fields is not None:
            return bool(self._fields)
        if self._timed < self._count or self._next_ms > self._now_ms:
            return self._count > 0
        # Every field expires, and some did: the last one of the index tells whether all of them did.
        stop = prefix_successor(element_prefix(self._oid, KIND_HASH_EXPIRY))
        start = element_prefix(self._oid, KIND_HASH_EXPIRY) + U64.pack(self._now_ms + 1)
        return any(True for _ in self._rows.scan(start, stop, reverse=True))


class HashBuilder(HashEdit):
    """A new hash of any size. The fields that are put must be distinct; `header` ends the building."""

    __slots__ = ("_bulk",)

    def __init__(self, database: Database) -> None:
        super().__init__(database, b"", None)
        self._bulk: Bulk | None = None

    def _explode(self) -> None:
        packed, self._fields = self._fields, None
        assert packed is not None
        self._oid = self._database.engine.new_oid()
        self._bulk = Bulk(self._database.engine, self._oid)
        for field, value in packed.items():
            self._put_row(field, value, self._times.get(field, 0))

    def _put_row(self, field: bytes, value: bytes, expire_ms: int) -> bool:
        assert self._bulk is not None
        row = member_row(self._oid, KIND_HASH_FIELD, field)
        self._bulk.put(row, encode_field(value, expire_ms))
        self._count += 1
        if expire_ms:
            self._bulk.put(expiry_row_of(self._oid, row, expire_ms), b"")
            self._timed += 1
            self._next_ms = min(self._next_ms, expire_ms)
            self._last_ms = max(self._last_ms, expire_ms)
        return True

    def header(self, expire_ms: int) -> Header:
        if self._bulk is not None:
            self._bulk.finish()
        return super().header(expire_ms)
