"""The header record: one row for every key, holding either the whole value or what leads to its rows.

    record  = tag:u8 [expire_ms:u64] body
    tag     = type (low 4 bits) | FLAG_EXPIRES | FLAG_ROWS | FLAG_RAW
    body    = inline | rows
    inline  = the bytes of a string, or msgpack of a small collection ("packed")
    rows    = oid:u64 count:u64 ext                 the elements are rows of object `oid`; ext is msgpack

In memory a plain string (no time to live, no flags: by far the most common value) is just its `bytes`; everything else
is a `Header`. Values are immutable once made: a change builds a new one, so that the overlay, the cache and a rolled
back command never share a half-changed value.

Packed collections, as `Header.value` and on disk:

    list    list of items                            [item, ...]
    set     dict member -> None                      [member, ...]
    zset    dict member -> score, by score, member   [member, score, ...]
    hash    dict field -> value                      [field, value, ...]; with field TTLs: [[field, ...], {field: ms}]

A hash with field TTLs keeps them in `Header.ext`: packed a dict field -> expire_ms of only the fields that have one, in
rows [next_ms, last_ms, fields] where no field expires before next_ms, none after last_ms, and `fields` of them expire
at all.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from struct import error as StructError
from typing import Any

import msgpack

from diskkv.errors import CorruptionError

# On disk: never renumber.
STRING = 0
LIST = 1
SET = 2
ZSET = 3
HASH = 4
STREAM = 6

TYPE_NAMES = {STRING: b"string", LIST: b"list", SET: b"set", ZSET: b"zset", HASH: b"hash", STREAM: b"stream"}

FLAG_EXPIRES = 0x10
FLAG_ROWS = 0x20
FLAG_RAW = 0x40
"""Tells apart two encodings of the same layout, for OBJECT ENCODING and the limits that go with them: a string that was
changed in place is raw whatever its length, a packed set is a listpack rather than an intset, a packed hash is a
listpackex, because one of its fields has or had a time to live."""

STRING_TAG = bytes((STRING,))
_BASE_COST_BYTES = 250
_FIELDS = ("type", "value", "expire_ms", "oid", "count", "ext", "raw")
_EXPIRE = Struct(">Q")
_ROWS = Struct(">QQ")


class Header:
    """The value of one key, decoded.

    `value` is the whole value when it is inline or packed, else None; then `oid` names the object whose rows hold it,
    `count` is its exact number of elements (for a string its length in bytes) and `ext` what the data type keeps
    besides. `expire_ms` is an absolute Unix time, 0 for none. `gone_ms` is when nothing is left of it (0: never), which
    for a hash is also when the last of its fields expires. `cost_bytes` is about what it takes in memory.

    A value is never changed, with one exception: `Database.adjust` moves `count` and `ext` of a header that it made in
    the same turn, whose number is in `turn`.
    """

    __slots__ = ("cost_bytes", "count", "expire_ms", "ext", "gone_ms", "oid", "raw", "turn", "type", "value")

    def __init__(
        self,
        type: int,
        value: Any = None,
        expire_ms: int = 0,
        oid: int = 0,
        count: int = 0,
        ext: Any = None,
        raw: bool = False,
    ) -> None:
        self.type = type
        self.value = value
        self.expire_ms = expire_ms
        self.oid = oid
        self.count = count
        self.ext = ext
        self.raw = raw
        self.turn = 0
        self.cost_bytes = _BASE_COST_BYTES
        self.gone_ms = expire_ms
        if ext is not None and type == HASH:
            last_ms = _last_field_expiry(self)
            if last_ms and (not expire_ms or last_ms < expire_ms):
                self.gone_ms = last_ms

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Header) and all(getattr(self, name) == getattr(other, name) for name in _FIELDS)

    def __setitem__(self, name: str, before: tuple[int, Any]) -> None:
        """Take back what `Database.adjust` did: this is how a journal is undone."""
        self.count, self.ext = before

    def __hash__(self) -> int:
        return hash((self.type, self.expire_ms, self.oid, self.count))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in _FIELDS)
        return f"Header({fields})"

    def with_expiry(self, expire_ms: int) -> Value:
        """The same value with another time to live (0: none); a plain string falls back to bytes."""
        if self.type == STRING and not expire_ms and not self.raw and self.value is not None:
            inline: bytes = self.value
            return inline
        return Header(self.type, self.value, expire_ms, self.oid, self.count, self.ext, self.raw)


Value = bytes | Header
"""What a key holds: plain strings as bytes, everything else as a Header."""


def _last_field_expiry(header: Header) -> int:
    """When the last field of a hash expires (absolute ms), 0 when one never does."""
    ext = header.ext
    if header.value is None:
        return int(ext[1]) if ext[2] == header.count else 0
    return max(ext.values()) if ext and len(ext) == len(header.value) else 0


def next_field_expiry(header: Header) -> int:
    """No field of this hash expires before this time (absolute ms); 0 when none ever does."""
    ext = header.ext
    if not ext:
        return 0
    return int(ext[0]) if header.value is None else min(ext.values())


def value_type(value: Value) -> int:
    """The type number of a value."""
    return STRING if value.__class__ is bytes else value.type  # type: ignore[union-attr]


def expire_ms_of(value: Value) -> int:
    """When the value expires (absolute ms), 0 for never."""
    return 0 if value.__class__ is bytes else value.expire_ms  # type: ignore[union-attr]


def is_gone(value: Value, now_ms: int) -> bool:
    """Whether the value is past its time."""
    return value.__class__ is not bytes and 0 < value.gone_ms <= now_ms  # type: ignore[union-attr]


def with_expiry(value: Value, expire_ms: int) -> Value:
    """The value with another time to live (absolute ms, 0: none)."""
    if isinstance(value, bytes):
        return Header(STRING, value, expire_ms) if expire_ms else value
    return value.with_expiry(expire_ms)


def _pack_hash(header: Header) -> Any:
    flat: list[bytes] = []
    for pair in header.value.items():
        flat += pair
    return [flat, header.ext] if header.ext else flat


def _pack_zset(header: Header) -> Any:
    flat: list[Any] = []
    for pair in header.value.items():
        flat += pair
    return flat


def _unpack_hash(packed: list[Any]) -> tuple[Any, Any]:
    ext = None
    if len(packed) == 2 and packed[0].__class__ is list:
        packed, ext = packed
        if ext.__class__ is not dict:
            raise TypeError(ext)
    items = iter(packed)
    return dict(zip(items, items, strict=True)), ext


def _unpack_zset(packed: list[Any]) -> tuple[Any, Any]:
    items = iter(packed)
    return dict(zip(items, items, strict=True)), None


_PACK: dict[int, Callable[[Header], Any]] = {
    LIST: lambda header: header.value,
    SET: lambda header: list(header.value),
    ZSET: _pack_zset,
    HASH: _pack_hash,
}
_UNPACK: dict[int, Callable[[list[Any]], tuple[Any, Any]]] = {
    LIST: lambda packed: (packed, None),
    SET: lambda packed: (dict.fromkeys(packed), None),
    ZSET: _unpack_zset,
    HASH: _unpack_hash,
}

_packb = msgpack.Packer(use_bin_type=True).pack


def _unpackb(raw: bytes) -> Any:
    return msgpack.unpackb(raw, strict_map_key=False, use_list=True)


def encode_header(value: Value) -> bytes:
    """The record of a value."""
    if isinstance(value, bytes):
        return STRING_TAG + value
    tag = value.type
    if value.raw:
        tag |= FLAG_RAW
    expiry = b""
    if value.expire_ms:
        tag |= FLAG_EXPIRES
        expiry = _EXPIRE.pack(value.expire_ms)
    body: bytes
    if value.value is None:
        tag |= FLAG_ROWS
        body = _ROWS.pack(value.oid, value.count) + _packb(value.ext)
    elif value.type == STRING:
        body = value.value
    else:
        body = _packb(_PACK[value.type](value))
    value.cost_bytes = _cost_bytes(value.type, len(body))
    return bytes((tag,)) + expiry + body


def _cost_bytes(type_number: int, body_bytes: int) -> int:
    # A packed collection of short items takes several times its record: 33 bytes of header an item and dict slots.
    return _BASE_COST_BYTES + (body_bytes if type_number == STRING else 6 * body_bytes)


def decode_header(record: bytes, row: bytes = b"") -> Value:
    """The value of a record. Raises CorruptionError, naming the row, when it does not decode."""
    if record[:1] == STRING_TAG:
        return record[1:]
    try:
        value = _decode(record)
    except (IndexError, KeyError, ValueError, TypeError, StructError, msgpack.UnpackException) as exc:
        message = f"header of row {row.hex()} does not decode: {record[:64].hex()}"
        raise CorruptionError(message) from exc
    value.cost_bytes = _cost_bytes(value.type, len(record))
    return value


def _decode(record: bytes) -> Header:
    tag = record[0]
    type_number = tag & 0x0F
    if type_number not in TYPE_NAMES or tag & 0x80:
        raise ValueError(tag)
    at = 1
    expire_ms = 0
    if tag & FLAG_EXPIRES:
        (expire_ms,) = _EXPIRE.unpack_from(record, 1)
        at = 9
    raw = bool(tag & FLAG_RAW)
    if tag & FLAG_ROWS:
        oid, count = _ROWS.unpack_from(record, at)
        return Header(type_number, None, expire_ms, oid, count, _unpackb(record[at + 16 :]), raw)
    if type_number == STRING:
        return Header(STRING, record[at:], expire_ms, raw=raw)
    packed = _unpackb(record[at:])
    if packed.__class__ is not list:
        raise TypeError(packed)
    value, ext = _UNPACK[type_number](packed)
    return Header(type_number, value, expire_ms, ext=ext, raw=raw)
