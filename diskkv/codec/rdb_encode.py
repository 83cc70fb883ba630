"""One value into the RDB encoding that a given RDB version has for it, small ones byte for byte as Redis does.

Small collections become listpacks under Redis' default limits where the version has them, large ones the plain
encodings that every version reads. Strings are stored as they are unless `compress` is asked for: readers take both.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from diskkv.codec import rdb_const as rdb
from diskkv.codec.rdb_packed import canonical_int, encode_intset, encode_listpack, join_listpack, listpack_entry
from diskkv.codec.rdb_stream import encode_stream
from diskkv.codec.rdb_strings import (
    SHORT_LENGTHS,
    StringEncoder,
    encode_compressed_string,
    encode_length,
    encode_raw_string,
    encode_string,
)
from diskkv.codec.rdb_values import (
    HashValue,
    ListValue,
    RdbUnsupportedError,
    RdbValue,
    SetValue,
    StreamValue,
    StringValue,
    ZSetValue,
)

# Redis' default limits for the packed encodings (hash-max-listpack-entries and so on).
PACKED_MAX_ENTRIES = 128
PACKED_MAX_FIELDS = 512
PACKED_MAX_ELEMENT_BYTES = 64
INTSET_MAX_ENTRIES = 512
LIST_NODE_BYTES = 8192

_pack_double = struct.Struct("<d").pack
_pack_int64 = struct.Struct("<q").pack

def encode_value(value: RdbValue, version: int, compress: bool = False) -> tuple[int, bytes]:
    """The type byte and the bytes after it, in an encoding that a server with RDB version `version` reads.

    Raises RdbUnsupportedError when the version has none (streams before 9, field expiry before 12), and ValueError for
    an empty collection, which no server would take.
    """
    string: StringEncoder = encode_compressed_string if compress else encode_raw_string
    match value:
        case StringValue(data):
            return rdb.STRING, (string if compress else encode_string)(data)
        case ListValue(elements):
            _require_some(elements)
            return _encode_list(elements, version, string)
        case SetValue(members):
            _require_some(members)
            return _encode_set(members, version, string)
        case ZSetValue(entries):
            _require_some(entries)
            return _encode_zset(entries, version, string)
        case HashValue(fields):
            _require_some(fields)
            return _encode_hash(value, version, string)
        case StreamValue():
            return encode_stream(value, version)


def _require_some(elements: Sequence[object]) -> None:
    if not elements:
        raise ValueError("an empty collection has no RDB encoding")


# --- plain encodings, also for collections that are written in pieces


def plain_type(type_name: bytes, version: int) -> int:
    """The type number of the plain encoding of b"list", b"set", b"zset" or b"hash" (without field expiry)."""
    if type_name == b"zset":
        return rdb.ZSET_2 if version >= rdb.ZSET_2_VERSION else rdb.ZSET
    return {b"list": rdb.LIST, b"set": rdb.SET, b"hash": rdb.HASH}[type_name]


def plain_strings(strings: Iterable[bytes], string: StringEncoder = encode_raw_string) -> bytes:
    """Strings one after the other: the elements of a plain list or set, or fields and values of a plain hash."""
    if string is not encode_raw_string:
        return b"".join(map(string, strings))
    short = SHORT_LENGTHS
    return b"".join(
        [short[size] + text if (size := len(text)) < 64 else encode_raw_string(text) for text in strings]
    )


def plain_scores(
    entries: Iterable[tuple[bytes, float]], version: int, string: StringEncoder = encode_raw_string
) -> bytes:
    """Members with their scores, of a plain sorted set."""
    if version >= rdb.ZSET_2_VERSION:
        return b"".join([string(member) + _pack_double(score) for member, score in entries])
    return b"".join([string(member) + _ascii_score(score) for member, score in entries])


def plain_expiring_fields(
    entries: Iterable[tuple[bytes, bytes, int]], base_ms: int, version: int, string: StringEncoder = encode_raw_string
) -> bytes:
    """Fields with values and expiries, of a plain hash of type HASH_METADATA with `base_ms`, or Valkey's."""
    if version >= rdb.VALKEY_VERSION:
        return b"".join([string(name) + string(data) + _pack_int64(at_ms or -1) for name, data, at_ms in entries])
    return b"".join(
        [
            encode_length(at_ms - base_ms + 1 if at_ms else 0) + string(name) + string(data)
            for name, data, at_ms in entries
        ]
    )


def _ascii_score(score: float) -> bytes:
    if score in (float("inf"), float("-inf")):
        return b"\xfe" if score > 0 else b"\xff"
    text = format_score(score)
    return SHORT_LENGTHS[len(text)] + text


# --- by type


def _encode_list(elements: list[bytes], version: int, string: StringEncoder) -> tuple[int, bytes]:
    if version < rdb.LISTPACK_VERSION:
        return rdb.LIST, encode_length(len(elements)) + plain_strings(elements, string)
    nodes: list[bytes] = []
    packed: list[bytes] = []
    packed_bytes = 7

    def close_node() -> None:
        nonlocal packed, packed_bytes
        if packed:
            nodes.append(SHORT_LENGTHS[rdb.NODE_PACKED] + string(join_listpack(packed)))
            packed, packed_bytes = [], 7

    for element in elements:
        if len(element) > LIST_NODE_BYTES:
            close_node()
            nodes.append(SHORT_LENGTHS[rdb.NODE_PLAIN] + string(element))
            continue
        entry = listpack_entry(element)
        if packed_bytes + len(entry) > LIST_NODE_BYTES:
            close_node()
        packed.append(entry)
        packed_bytes += len(entry)
    close_node()
    return rdb.LIST_QUICKLIST_2, encode_length(len(nodes)) + b"".join(nodes)


def _encode_set(members: list[bytes], version: int, string: StringEncoder) -> tuple[int, bytes]:
    if len(members) <= INTSET_MAX_ENTRIES:
        numbers = []
        for member in members:
            number = canonical_int(member)
            if number is None:
                break
            numbers.append(number)
        else:
            return rdb.SET_INTSET, string(encode_intset(numbers))
    if version >= rdb.LOSSLESS_VERSION and _fits_packed(members, PACKED_MAX_ENTRIES):
        return rdb.SET_LISTPACK, string(encode_listpack(members))
    return rdb.SET, encode_length(len(members)) + plain_strings(members, string)


def _encode_zset(entries: list[tuple[bytes, float]], version: int, string: StringEncoder) -> tuple[int, bytes]:
    in_order = sorted(entries, key=_by_score)
    if version >= rdb.LISTPACK_VERSION and _fits_packed([entry[0] for entry in entries], PACKED_MAX_ENTRIES):
        flat = [text for member, score in in_order for text in (member, format_score(score))]
        return rdb.ZSET_LISTPACK, string(encode_listpack(flat))
    # Highest first, as in Redis: its skip list then inserts at the head.
    in_order.reverse()
    return plain_type(b"zset", version), encode_length(len(entries)) + plain_scores(in_order, version, string)


def _by_score(entry: tuple[bytes, float]) -> tuple[float, bytes]:
    return entry[1], entry[0]


def format_score(score: float) -> bytes:
    """The shortest text that reads back as `score`, as in Redis' listpacks: integers without point and exponent."""
    if score.is_integer() and -(1 << 53) < score < 1 << 53:
        return b"-0" if score == 0 and str(score)[0] == "-" else b"%d" % int(score)
    return repr(score).encode()


def _encode_hash(value: HashValue, version: int, string: StringEncoder) -> tuple[int, bytes]:
    entries = value.entries
    if value.has_expiry:
        if version < rdb.FIELD_EXPIRY_VERSION:
            raise RdbUnsupportedError(f"RDB version {version} has no expiry of hash fields")
        return _encode_hash_expiry(entries, version, string)
    flat = [text for name, data, _ in entries for text in (name, data)]
    if version >= rdb.LISTPACK_VERSION and _fits_packed(flat, 2 * PACKED_MAX_FIELDS):
        return rdb.HASH_LISTPACK, string(encode_listpack(flat))
    return rdb.HASH, encode_length(len(entries)) + plain_strings(flat, string)


def _encode_hash_expiry(
    entries: list[tuple[bytes, bytes, int]], version: int, string: StringEncoder
) -> tuple[int, bytes]:
    # Redis keeps the soonest first and the fields without expiry last, and wants to find them so.
    in_order = sorted(entries, key=lambda entry: entry[2] or 1 << 63)
    first_ms = in_order[0][2]
    if version >= rdb.VALKEY_VERSION:
        fields = plain_expiring_fields(in_order, first_ms, version, string)
        return rdb.HASH_2_VALKEY, encode_length(len(in_order)) + fields
    flat = [text for name, data, _ in in_order for text in (name, data)]
    if _fits_packed(flat, 2 * PACKED_MAX_FIELDS):
        triples = [text for name, data, expire_ms in in_order for text in (name, data, b"%d" % expire_ms)]
        return rdb.HASH_LISTPACK_EX, _pack_int64(first_ms) + string(encode_listpack(triples))
    fields = plain_expiring_fields(in_order, first_ms, version, string)
    return rdb.HASH_METADATA, _pack_int64(first_ms) + encode_length(len(in_order)) + fields


def _fits_packed(elements: list[bytes], max_elements: int) -> bool:
    return len(elements) <= max_elements and max(map(len, elements)) <= PACKED_MAX_ELEMENT_BYTES
