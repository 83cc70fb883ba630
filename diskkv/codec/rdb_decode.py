"""One value out of its RDB encoding: every type and encoding of Redis 2.6 .. 8.2 and Valkey up to 9, but modules'.

Only the type byte before a value tells its encoding; all readers leave the source right after the value.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from diskkv.codec import rdb_const as rdb
from diskkv.codec.rdb_packed import INT64_MAX, decode_intset, decode_listpack, decode_ziplist, decode_zipmap
from diskkv.codec.rdb_source import RdbSource
from diskkv.codec.rdb_stream import read_stream, read_stream_pieces
from diskkv.codec.rdb_values import (
    HashValue,
    ListValue,
    RdbDataError,
    RdbUnsupportedError,
    RdbValue,
    SetValue,
    StreamValue,
    StringValue,
    ZSetValue,
)

_unpack_double = struct.Struct("<d").unpack_from
_SPECIAL_SCORES = {254: float("inf"), 255: float("-inf")}


ItemReader = Callable[[RdbSource, int], RdbValue]

_STREAM_GENERATIONS = {rdb.STREAM_LISTPACKS: 1, rdb.STREAM_LISTPACKS_2: 2, rdb.STREAM_LISTPACKS_3: 3}

# A quicklist node holds 8 KiB of elements by default; pieces of lists are counted in nodes.
_NODE_ELEMENTS = 128


def read_value(source: RdbSource, type_number: int, version: int) -> RdbValue:
    """The value of type `type_number` at the source, as RDB version `version` writes it.

    It can be an empty collection (see `is_empty`). Raises RdbDataError when it does not decode, RdbUnsupportedError
    for a module's value.
    """
    items = _open_items(source, type_number, version)
    if items is not None:
        return items(source, source.length())
    return _whole_reader(type_number)(source)


def read_pieces(
    source: RdbSource, type_number: int, version: int, max_elements: int
) -> Iterator[tuple[RdbValue, bool]]:
    """As `read_value`, but (piece, is_last) of a plain or quicklist collection of more than `max_elements` elements.

    Duplicates are only seen within a piece. Packed collections come whole; of a stream, only the last piece has more
    than entries.
    """
    if type_number in _STREAM_GENERATIONS:
        yield from read_stream_pieces(source, _STREAM_GENERATIONS[type_number], max_elements)
        return
    items = _open_items(source, type_number, version)
    if items is None:
        yield _whole_reader(type_number)(source), True
        return
    step = max_elements
    if type_number in (rdb.LIST_QUICKLIST, rdb.LIST_QUICKLIST_2):
        step = max(1, max_elements // _NODE_ELEMENTS)
    remaining = source.length()
    source.check_count(remaining, 1)
    while remaining > step:
        yield items(source, step), False
        remaining -= step
    yield items(source, remaining), True


def _open_items(source: RdbSource, type_number: int, version: int) -> ItemReader | None:
    """The reader of a number of elements or nodes, when the type is a count and then these; else None."""
    if type_number == rdb.HASH_METADATA:
        # Each expiry is kept as its distance from the earliest one, plus 1; 0 stands for none.
        return partial(_hash_expiry_items, base_ms=_require_expiry(source.int64()) - 1)
    if type_number == rdb.HASH_2_VALKEY and version >= rdb.VALKEY_VERSION:
        return _hash_valkey_items
    return _ITEM_READERS.get(type_number)


def _whole_reader(type_number: int) -> Callable[[RdbSource], RdbValue]:
    reader = _WHOLE_READERS.get(type_number)
    if reader is None:
        if type_number in (rdb.MODULE_2, rdb.MODULE_PRE_GA):
            raise RdbUnsupportedError("a module's value")
        raise RdbDataError(f"unknown value type {type_number}")
    return reader


def is_empty(value: RdbValue) -> bool:
    """Whether it is a collection without elements that Redis would not keep as a key."""
    match value:
        case ListValue(elements):
            return not elements
        case SetValue(members):
            return not members
        case ZSetValue(entries):
            return not entries
        case HashValue(fields):
            return not fields
        case _:
            return False


def _require_distinct(names: Iterable[bytes], count: int) -> None:
    if len(set(names)) != count:
        raise RdbDataError("a member or field is there twice")


def _read_string(source: RdbSource) -> RdbValue:
    return StringValue(source.string())


# --- lists


def _list_items(source: RdbSource, count: int) -> RdbValue:
    return ListValue(source.strings(count))


def _read_list_ziplist(source: RdbSource) -> RdbValue:
    return ListValue(decode_ziplist(source.string()))


def _quicklist_items(source: RdbSource, count: int) -> RdbValue:
    elements: list[bytes] = []
    for _ in range(count):
        elements += decode_ziplist(source.string())
    return ListValue(elements)


def _quicklist_2_items(source: RdbSource, count: int) -> RdbValue:
    elements: list[bytes] = []
    for _ in range(count):
        container = source.length()
        node = source.string()
        if container == rdb.NODE_PLAIN:
            elements.append(node)
        elif container == rdb.NODE_PACKED:
            elements += decode_listpack(node)
        else:
            raise RdbDataError("unknown container of a quicklist node")
    return ListValue(elements)


# --- sets


def _set(members: list[bytes]) -> SetValue:
    _require_distinct(members, len(members))
    return SetValue(members)


def _set_items(source: RdbSource, count: int) -> RdbValue:
    return _set(source.strings(count))


def _read_set_intset(source: RdbSource) -> RdbValue:
    return SetValue(decode_intset(source.string()))


def _read_set_listpack(source: RdbSource) -> RdbValue:
    return _set(decode_listpack(source.string()))


# --- sorted sets


def _zset(entries: list[tuple[bytes, float]]) -> ZSetValue:
    _require_distinct([entry[0] for entry in entries], len(entries))
    return ZSetValue(entries)


def _parse_score(text: bytes) -> float:
    """A score as Redis prints it; Python alone would also take blanks and underscores."""
    try:
        score = float(text)
    except ValueError:
        raise RdbDataError("score is not a number") from None
    if score != score or b"_" in text or text[:1].isspace() or text[-1:].isspace():
        raise RdbDataError("score is not a number")
    return score


def _zset_items(source: RdbSource, count: int) -> RdbValue:
    entries = []
    source.check_count(count, 2)
    for _ in range(count):
        member = source.string()
        size = source.byte()
        if size == 253:
            raise RdbDataError("score is not a number")
        entries.append((member, _SPECIAL_SCORES[size] if size > 253 else _parse_score(source.take(size))))
    return _zset(entries)


def _zset_2_items(source: RdbSource, count: int) -> RdbValue:
    entries: list[tuple[bytes, float]] = []
    append = entries.append
    source.check_count(count, 9)
    buf, pos = source.buf, source.pos
    fast_end = len(buf) - 72
    while count:
        count -= 1
        if pos < fast_end and (size := buf[pos]) < 64:
            start = pos + 1
            pos = start + size
            (score,) = _unpack_double(buf, pos)
            if score != score:
                raise RdbDataError("score is not a number")
            append((buf[start:pos], score))
            pos += 8
        else:
            source.pos = pos
            append((source.string(), source.double()))
            if source.buf is not buf:
                buf = source.buf
                fast_end = len(buf) - 72
            pos = source.pos
    source.pos = pos
    return _zset(entries)


def _zset_from_flat(flat: list[bytes]) -> ZSetValue:
    if len(flat) % 2:
        raise RdbDataError("a member without a score")
    return _zset(list(zip(flat[::2], map(_parse_score, flat[1::2]), strict=True)))


def _read_zset_ziplist(source: RdbSource) -> RdbValue:
    return _zset_from_flat(decode_ziplist(source.string()))


def _read_zset_listpack(source: RdbSource) -> RdbValue:
    return _zset_from_flat(decode_listpack(source.string()))


# --- hashes


def _hash_from_flat(flat: list[bytes]) -> HashValue:
    if len(flat) % 2:
        raise RdbDataError("a field without a value")
    names = flat[::2]
    _require_distinct(names, len(names))
    return HashValue([(name, value, 0) for name, value in zip(names, flat[1::2], strict=True)])


def _hash(entries: list[tuple[bytes, bytes, int]]) -> HashValue:
    _require_distinct([entry[0] for entry in entries], len(entries))
    return HashValue(entries)


def _require_expiry(expire_ms: int) -> int:
    if not 0 <= expire_ms <= INT64_MAX:
        raise RdbDataError("expiry of a field is out of range")
    return expire_ms


def _hash_items(source: RdbSource, count: int) -> RdbValue:
    source.check_count(count, 2)
    return _hash_from_flat(source.strings(2 * count))


def _read_hash_zipmap(source: RdbSource) -> RdbValue:
    return _hash_from_flat(decode_zipmap(source.string()))


def _read_hash_ziplist(source: RdbSource) -> RdbValue:
    return _hash_from_flat(decode_ziplist(source.string()))


def _read_hash_listpack(source: RdbSource) -> RdbValue:
    return _hash_from_flat(decode_listpack(source.string()))


def _hash_expiry_items(source: RdbSource, count: int, base_ms: int = 0) -> RdbValue:
    entries = []
    source.check_count(count, 3)
    for _ in range(count):
        relative = source.length()
        expire_ms = _require_expiry(base_ms + relative) if relative else 0
        name = source.string()
        entries.append((name, source.string(), expire_ms))
    return _hash(entries)


def _hash_valkey_items(source: RdbSource, count: int) -> RdbValue:
    entries = []
    source.check_count(count, 10)
    for _ in range(count):
        name = source.string()
        value = source.string()
        expire_ms = source.int64()
        entries.append((name, value, 0 if expire_ms == -1 else _require_expiry(expire_ms)))
    return _hash(entries)


def _read_hash_listpack_ex(source: RdbSource) -> RdbValue:
    _require_expiry(source.int64())  # the earliest expiry: the fields tell it too
    return _read_hash_listpack_ex_pre_ga(source)


def _read_hash_listpack_ex_pre_ga(source: RdbSource) -> RdbValue:
    flat = decode_listpack(source.string())
    if len(flat) % 3:
        raise RdbDataError("a field without a value or an expiry")
    try:
        expiries = [_require_expiry(int(text)) for text in flat[2::3]]
    except ValueError:
        raise RdbDataError("expiry of a field is not a number") from None
    return _hash(list(zip(flat[::3], flat[1::3], expiries, strict=True)))


# --- streams


def _read_stream_1(source: RdbSource) -> StreamValue:
    return read_stream(source, 1)


def _read_stream_2(source: RdbSource) -> StreamValue:
    return read_stream(source, 2)


def _read_stream_3(source: RdbSource) -> StreamValue:
    return read_stream(source, 3)


_ITEM_READERS: dict[int, ItemReader] = {
    rdb.LIST: _list_items,
    rdb.SET: _set_items,
    rdb.ZSET: _zset_items,
    rdb.HASH: _hash_items,
    rdb.ZSET_2: _zset_2_items,
    rdb.LIST_QUICKLIST: _quicklist_items,
    rdb.LIST_QUICKLIST_2: _quicklist_2_items,
    rdb.HASH_METADATA_PRE_GA: _hash_expiry_items,
}

_WHOLE_READERS: dict[int, Callable[[RdbSource], RdbValue]] = {
    rdb.STRING: _read_string,
    rdb.HASH_ZIPMAP: _read_hash_zipmap,
    rdb.LIST_ZIPLIST: _read_list_ziplist,
    rdb.SET_INTSET: _read_set_intset,
    rdb.ZSET_ZIPLIST: _read_zset_ziplist,
    rdb.HASH_ZIPLIST: _read_hash_ziplist,
    rdb.STREAM_LISTPACKS: _read_stream_1,
    rdb.HASH_LISTPACK: _read_hash_listpack,
    rdb.ZSET_LISTPACK: _read_zset_listpack,
    rdb.STREAM_LISTPACKS_2: _read_stream_2,
    rdb.SET_LISTPACK: _read_set_listpack,
    rdb.STREAM_LISTPACKS_3: _read_stream_3,
    rdb.HASH_LISTPACK_EX_PRE_GA: _read_hash_listpack_ex_pre_ga,
    rdb.HASH_LISTPACK_EX: _read_hash_listpack_ex,
}
