"""Raw rows in words: what the key of a row says, and what is in its value."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from struct import error as StructError
from typing import Any

from diskkv.codec import keys
from diskkv.codec.header import TYPE_NAMES, Header, decode_header, value_type
from diskkv.codec.keys import ELEMENT_PREFIX_SIZE, HEADER_PREFIX_SIZE, U16, U32, U64
from diskkv.codec.list_block import decode_block
from diskkv.codec.numbers import decode_double, decode_i64
from diskkv.datatypes.hashes_edit import decode_field
from diskkv.datatypes.streams import ID_BYTES, unpack_fields, unpack_id
from diskkv.datatypes.streams_groups import CONSUMER_RECORD, GROUP_RECORD, PENDING_RECORD
from diskkv.datatypes.streams_nodes import NODE_RECORD
from diskkv.errors import CorruptionError
from tools.ctl.output import quoted

Facts = dict[str, Any]

TAGS = {
    "system": keys.SYSTEM_TAG,
    "headers": keys.HEADER_TAG,
    "elements": keys.ELEMENT_TAG,
    "expiry": keys.EXPIRY_TAG,
    "garbage": keys.GARBAGE_TAG,
}
KINDS = {
    getattr(keys, name): name.removeprefix("KIND_").replace("_", " ").lower()
    for name in dir(keys)
    if name.startswith("KIND_")
}
_GARBAGE = {
    keys.GARBAGE_OBJECT: "object",
    keys.GARBAGE_DATABASE: "database",
    keys.GARBAGE_LIST_HEAD: "list head",
    keys.GARBAGE_LIST_TAIL: "list tail",
    keys.GARBAGE_ROWS: "rows",
}
_SHOWN_BYTES = 120
_SCORE = Struct(">d")
_PAIR = Struct(">II")


def describe(row: bytes, value: bytes) -> Facts:
    """What a row is. A row or a value that does not decode has `problem` instead of the rest."""
    name = next((name for name, tag in TAGS.items() if row[:1] == tag), None)
    if name is None:
        return {"row": "unknown", "problem": "no known tag"}
    try:
        return {"row": name, **_DESCRIBE[name](row, value)}
    except (StructError, CorruptionError, ValueError, IndexError, KeyError, TypeError) as exc:
        return {"row": name, "problem": f"does not decode: {exc}"}


def one_line(facts: Facts) -> str:
    """Facts as a person reads them."""
    rest = (f"{name}={value}" for name, value in facts.items() if name != "row")
    return " ".join([str(facts["row"]), *rest])


def shown(raw: bytes) -> str:
    """Bytes, cut when they are long."""
    return quoted(raw, _SHOWN_BYTES)


def _cut(thing: object) -> str:
    text = repr(thing)
    return text if len(text) <= _SHOWN_BYTES else f"{text[:_SHOWN_BYTES]}..."


# ---- rows by their tag


def _system(row: bytes, value: bytes) -> Facts:
    if row == keys.SYSTEM_FORMAT:
        return {"what": "format", "version": U32.unpack(value)[0]}
    if row == keys.SYSTEM_LEASE:
        return {"what": "object lease", "below": U64.unpack(value)[0]}
    if row == keys.SYSTEM_DATABASE_LEASE:
        return {"what": "database lease", "below": U32.unpack(value)[0]}
    if row.startswith(keys.SYSTEM_NAMED):
        return {"what": "named", "name": quoted(row[len(keys.SYSTEM_NAMED) :]), "value": shown(value)}
    if row.startswith(keys.SYSTEM_DATABASE):
        return {"what": "database", "index": U32.unpack(row[2:])[0], "id": U32.unpack(value)[0]}
    if row.startswith(keys.SYSTEM_VALUES):
        return {"what": "value file", "number": int.from_bytes(row[2:]), "dead_bytes": int.from_bytes(value)}
    if row.startswith(keys.SYSTEM_COUNTS):
        counts = keys.decode_counts(value)
        return {"what": "counts", "id": U32.unpack(row[2:])[0], "keys": counts[0], "expires": counts[1]}
    if row.startswith(keys.SYSTEM_CURSOR):
        (cursor,) = U64.unpack_from(value)
        return {"what": "cursor", "slot": U16.unpack(row[2:])[0], "cursor": cursor, "after": shown(value[U64.size :])}
    return {"what": "unknown", "name": quoted(row[1:]), "value": shown(value)}


def _header(row: bytes, value: bytes) -> Facts:
    (db_id,) = U32.unpack_from(row, 1)
    facts: Facts = {"db_id": db_id, "key": shown(row[HEADER_PREFIX_SIZE:])}
    decoded = decode_header(value, row)
    facts["type"] = TYPE_NAMES[value_type(decoded)].decode()
    if not isinstance(decoded, Header):
        return {**facts, "value": shown(decoded)}
    if decoded.expire_ms:
        facts["expire_ms"] = decoded.expire_ms
    if decoded.value is None:
        facts |= {"oid": decoded.oid, "count": decoded.count}
    else:
        facts["value"] = shown(decoded.value) if isinstance(decoded.value, bytes) else _cut(decoded.value)
    if decoded.ext is not None:
        facts["ext"] = _cut(decoded.ext)
    return facts


def _expiry(row: bytes, value: bytes) -> Facts:
    at_ms, db_id, key = keys.decode_expiry_row(row)
    return {"at_ms": at_ms, "db_id": db_id, "key": shown(key)}


def _garbage(row: bytes, value: bytes) -> Facts:
    what, ident = keys.decode_garbage_row(row)
    facts: Facts = {"what": _GARBAGE[what], "id": ident}
    if what in (keys.GARBAGE_LIST_HEAD, keys.GARBAGE_LIST_TAIL):
        facts["first"], facts["stop"] = keys.decode_index_range(value)
    elif what == keys.GARBAGE_ROWS:
        start, stop = keys.decode_row_range(value)
        facts |= {"start": start.hex(), "stop": stop.hex()}
    return facts


def _element(row: bytes, value: bytes) -> Facts:
    (oid,) = U64.unpack_from(row, 1)
    kind = row[ELEMENT_PREFIX_SIZE - 1]
    sub = row[ELEMENT_PREFIX_SIZE:]
    facts: Facts = {"oid": oid, "kind": KINDS.get(kind, f"0x{kind:02x}")}
    decode = _ELEMENTS.get(kind)
    return facts | (decode(sub, value) if decode is not None else {"sub": shown(sub), "value": shown(value)})


_DESCRIBE: dict[str, Callable[[bytes, bytes], Facts]] = {
    "system": _system,
    "headers": _header,
    "elements": _element,
    "expiry": _expiry,
    "garbage": _garbage,
}


# ---- element rows by their kind


def _chunk(sub: bytes, value: bytes) -> Facts:
    return {"index": U32.unpack(sub)[0], "bytes": len(value), "value": shown(value)}


def _list_item(sub: bytes, value: bytes) -> Facts:
    facts: Facts = {"index": decode_i64(sub[:8])}
    if len(sub) > 8:
        return {**facts, "long item": shown(value)}
    items = decode_block(value)
    return {**facts, "items": len(items), "value": _cut(items)}


def _hashed(sub: bytes) -> Facts:
    return {"hash": sub[: U32.size].hex(), "member": shown(sub[U32.size :])}


def _hash_field(sub: bytes, value: bytes) -> Facts:
    content, expire_ms = decode_field(value)
    return {**_hashed(sub), "value": shown(content), **({"expire_ms": expire_ms} if expire_ms else {})}


def _hash_expiry(sub: bytes, value: bytes) -> Facts:
    return {"at_ms": U64.unpack_from(sub)[0], **_hashed(sub[U64.size :])}


def _set_member(sub: bytes, value: bytes) -> Facts:
    return _hashed(sub)


def _zset_member(sub: bytes, value: bytes) -> Facts:
    return {**_hashed(sub), "score": _SCORE.unpack(value)[0]}


def _zset_score(sub: bytes, value: bytes) -> Facts:
    return {"score": decode_double(sub[:8]), "member": shown(sub[8:])}


def _zset_count(sub: bytes, value: bytes) -> Facts:
    return {"border": shown(sub), "members": U32.unpack(value)[0]}


def entry_id(raw: bytes) -> str:
    """An ID of a stream as commands show it."""
    ms, sequence = unpack_id(raw)
    return f"{ms}-{sequence}"


def _placed(sub: bytes) -> Facts:
    """The epoch (or the number of the group) and the ID of a stream's row; the guard behind the last one has none."""
    (number,) = U32.unpack_from(sub)
    rest = sub[U32.size :]
    return {"number": number, "id": entry_id(rest) if len(rest) == ID_BYTES else rest.hex()}


def _stream_entry(sub: bytes, value: bytes) -> Facts:
    return _placed(sub) | ({"fields": _cut(unpack_fields(value))} if value else {"guard": True})


def _stream_node(sub: bytes, value: bytes) -> Facts:
    last, live, deleted, size_bytes, _ = NODE_RECORD.unpack(value)
    return {**_placed(sub), "last": entry_id(last), "live": live, "deleted": deleted, "size_bytes": size_bytes}


def _group(sub: bytes, value: bytes) -> Facts:
    return {"name": shown(sub), "group": U32.unpack(value)[0]}


def _group_state(sub: bytes, value: bytes) -> Facts:
    names = ("last", "read", "pending", "consumers", "next_consumer", "lowest", "highest")
    fields = (entry_id(field) if isinstance(field, bytes) else field for field in GROUP_RECORD.unpack(value))
    return {"group": U32.unpack(sub)[0], **dict(zip(names, fields, strict=True))}


def _consumer(sub: bytes, value: bytes) -> Facts:
    return {"group": U32.unpack_from(sub)[0], "name": shown(sub[U32.size :]), "consumer": U32.unpack(value)[0]}


def _consumer_state(sub: bytes, value: bytes) -> Facts:
    group, consumer = _PAIR.unpack(sub)
    seen_ms, active_ms, pending = CONSUMER_RECORD.unpack_from(value)
    facts = {"group": group, "consumer": consumer, "seen_ms": seen_ms, "active_ms": active_ms, "pending": pending}
    return {**facts, "name": shown(value[CONSUMER_RECORD.size :])}


def _group_pending(sub: bytes, value: bytes) -> Facts:
    facts = _placed(sub)
    if not value:
        return {**facts, "guard": True}
    delivered_ms, deliveries, consumer = PENDING_RECORD.unpack(value)
    return {**facts, "delivered_ms": delivered_ms, "deliveries": deliveries, "consumer": consumer}


def _consumer_pending(sub: bytes, value: bytes) -> Facts:
    group, consumer = _PAIR.unpack_from(sub)
    return {"group": group, "consumer": consumer, "id": entry_id(sub[_PAIR.size :])}


_ELEMENTS: dict[int, Callable[[bytes, bytes], Facts]] = {
    keys.KIND_STRING_CHUNK: _chunk,
    keys.KIND_LIST_ITEM: _list_item,
    keys.KIND_HASH_FIELD: _hash_field,
    keys.KIND_HASH_EXPIRY: _hash_expiry,
    keys.KIND_SET_MEMBER: _set_member,
    keys.KIND_ZSET_MEMBER: _zset_member,
    keys.KIND_ZSET_SCORE: _zset_score,
    keys.KIND_ZSET_BLOCK: _zset_count,
    keys.KIND_ZSET_GROUP: _zset_count,
    keys.KIND_STREAM_ENTRY: _stream_entry,
    keys.KIND_STREAM_NODE: _stream_node,
    keys.KIND_STREAM_GROUP: _group,
    keys.KIND_STREAM_GROUP_STATE: _group_state,
    keys.KIND_STREAM_CONSUMER: _consumer,
    keys.KIND_STREAM_CONSUMER_STATE: _consumer_state,
    keys.KIND_STREAM_GROUP_PENDING: _group_pending,
    keys.KIND_STREAM_CONSUMER_PENDING: _consumer_pending,
}
