"""The rows of the store: every key layout, in one place.

All integers are big-endian and fixed width, so that LevelDB's bytewise order is their numeric order. `|` is
concatenation.

    row          = system | header | element | expiry | garbage
    system       = 0x00 name                          one-off records, see `SYSTEM_*`
    header       = "m" db:u32 key                     value: header record (codec/header.py)
    element      = "d" oid:u64 kind:u8 sub            rows of one big value; `sub` belongs to its data type
    expiry       = "t" at_ms:u64 db:u32 key           value: empty; an entry may be early or stale, never late
    garbage      = "g" what:u8 id:u64                 value: empty; an object or a database waiting to be reclaimed,
                                                      or start:i64 stop:i64; items cut off an end of a list
                                                      or size:u32 start stop; rows of an object that lives on

The user's key is always last: no escaping is needed and headers lie in lexical order of their keys.

The tag and kind bytes are on disk: never change the meaning of one, never reuse one.
"""

from __future__ import annotations

from struct import Struct

SYSTEM_TAG = b"\x00"
HEADER_TAG = b"m"
ELEMENT_TAG = b"d"
EXPIRY_TAG = b"t"
GARBAGE_TAG = b"g"

FORMAT_VERSION = 3
"""The layout described here. A store of a newer version is refused, an older one until it is upgraded.

It is counted up with every change that rows of the old form do not agree with; see engine/upgrades.py.
"""

SYSTEM_FORMAT = b"\x00format"
"""Value: u32 format version."""
SYSTEM_LEASE = b"\x00lease"
"""Value: u64; every object id below it may be in use."""
SYSTEM_DATABASE_LEASE = b"\x00dblease"
"""Value: u32; every database id below it may be in use."""
SYSTEM_DATABASE = b"\x00d"
"""Followed by index:u32. Value: u32 id of the database that SELECT index shows."""
SYSTEM_COUNTS = b"\x00c"
"""Followed by id:u32. Value: u64 number of keys, u64 number of keys with a time to live."""
SYSTEM_CURSOR = b"\x00s"
"""Followed by slot:u16. Value: u64 cursor, then the key after which SCAN goes on."""
SYSTEM_VALUES = b"\x00v"
"""Followed by number:u32 of a value file. Value: u64 bytes in it that nothing refers to."""
SYSTEM_NAMED = b"\x00n:"
"""Followed by a name. Value: whatever the service of that name keeps across restarts."""

GARBAGE_OBJECT = 0x6F
GARBAGE_DATABASE = 0x64
GARBAGE_LIST_HEAD = 0x68
GARBAGE_LIST_TAIL = 0x74
GARBAGE_ROWS = 0x72

# Element kinds, one byte after the object id; grouped by data type.
KIND_STRING_CHUNK = 0x10
KIND_LIST_ITEM = 0x20
KIND_HASH_FIELD = 0x30
KIND_HASH_EXPIRY = 0x31
KIND_SET_MEMBER = 0x40
KIND_ZSET_MEMBER = 0x50
KIND_ZSET_SCORE = 0x51
KIND_ZSET_BLOCK = 0x52
KIND_ZSET_GROUP = 0x53
KIND_STREAM_ENTRY = 0x60
KIND_STREAM_GROUP = 0x61
KIND_STREAM_CONSUMER = 0x62
KIND_STREAM_GROUP_PENDING = 0x63
KIND_STREAM_CONSUMER_PENDING = 0x64
KIND_STREAM_NODE = 0x65
KIND_STREAM_GROUP_STATE = 0x66
KIND_STREAM_CONSUMER_STATE = 0x67

SCANNED_KINDS = frozenset(
    {KIND_ZSET_SCORE, KIND_ZSET_BLOCK, KIND_ZSET_GROUP, KIND_STREAM_ENTRY, KIND_STREAM_CONSUMER_PENDING}
)
"""Kinds whose rows are only read by scans, which look at the store itself: they are not worth room in the cache."""

U16 = Struct(">H")
U32 = Struct(">I")
U64 = Struct(">Q")
_ELEMENT = Struct(">cQB")
_EXPIRY = Struct(">cQI")
_GARBAGE = Struct(">cBQ")
_COUNTS = Struct(">QQ")
_INDEX_RANGE = Struct(">qq")

HEADER_PREFIX_SIZE = 5
ELEMENT_PREFIX_SIZE = 10
EXPIRY_PREFIX_SIZE = 13


def header_prefix(db_id: int) -> bytes:
    """The prefix of every header of one database; the header's row key is this plus the user's key."""
    return HEADER_TAG + U32.pack(db_id)


def element_prefix(oid: int, kind: int) -> bytes:
    """The prefix of one object's rows of one kind; the row key is this plus `sub`."""
    return _ELEMENT.pack(ELEMENT_TAG, oid, kind)


def object_range(oid: int) -> tuple[bytes, bytes]:
    """All element rows of one object: start (inclusive) and stop (exclusive)."""
    return ELEMENT_TAG + U64.pack(oid), ELEMENT_TAG + U64.pack(oid + 1)


def database_range(db_id: int) -> tuple[bytes, bytes]:
    """All headers of one database: start (inclusive) and stop (exclusive)."""
    return header_prefix(db_id), header_prefix(db_id + 1)


def prefix_successor(prefix: bytes) -> bytes:
    """The smallest bytes greater than everything that starts with `prefix`; `prefix` holds a byte below 0xff."""
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes((stripped[-1] + 1,))


def expiry_row(at_ms: int, db_id: int, key: bytes) -> bytes:
    """The index entry that makes the sweeper look at `key` at `at_ms`."""
    return _EXPIRY.pack(EXPIRY_TAG, at_ms, db_id) + key


def decode_expiry_row(row: bytes) -> tuple[int, int, bytes]:
    """(at_ms, db_id, key) of an expiry row."""
    _, at_ms, db_id = _EXPIRY.unpack_from(row)
    return at_ms, db_id, row[EXPIRY_PREFIX_SIZE:]


def garbage_row(what: int, ident: int) -> bytes:
    """The queue entry of a dead object (`GARBAGE_OBJECT`) or database (`GARBAGE_DATABASE`) of this id.

    The id of a `GARBAGE_ROWS` entry is a new one, so that an object can have several.
    """
    return _GARBAGE.pack(GARBAGE_TAG, what, ident)


def decode_garbage_row(row: bytes) -> tuple[int, int]:
    """(what, id) of a garbage row."""
    _, what, ident = _GARBAGE.unpack(row)
    return what, ident


def encode_counts(keys: int, expires: int) -> bytes:
    """The value of a `SYSTEM_COUNTS` row."""
    return _COUNTS.pack(keys, expires)


def decode_counts(raw: bytes) -> tuple[int, int]:
    """(keys, expires) of a `SYSTEM_COUNTS` row."""
    keys, expires = _COUNTS.unpack(raw)
    return keys, expires


def encode_index_range(start: int, stop: int) -> bytes:
    """The value of a `GARBAGE_LIST_HEAD` or `GARBAGE_LIST_TAIL` row: indexes with start <= index < stop."""
    return _INDEX_RANGE.pack(start, stop)


def decode_index_range(raw: bytes) -> tuple[int, int]:
    """(start, stop) of a garbage row of a list."""
    start, stop = _INDEX_RANGE.unpack(raw)
    return start, stop


def encode_row_range(start: bytes, stop: bytes) -> bytes:
    """The value of a `GARBAGE_ROWS` row: element rows with start <= row < stop."""
    return U32.pack(len(start)) + start + stop


def decode_row_range(raw: bytes) -> tuple[bytes, bytes]:
    """(start, stop) of a `GARBAGE_ROWS` row."""
    size = 4 + U32.unpack_from(raw)[0]
    return raw[4:size], raw[size:]
