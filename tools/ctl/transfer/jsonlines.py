"""JSON lines: one object a line, for reading and writing with any tool.

    {"db": 0, "key": "user:1", "type": "hash", "expire_ms": 1700000000000, "value": {"name": "Ann"}}
    {"function": "#!lua name=lib\\n..."}

    string  "text"                          list, set   ["a", "b"]
    hash    {"field": "value"}              zset        [["member", 1.5], ...]; "inf" and "-inf" are text
    stream  {"entries": [["1-0", ["f", "v"]], ...], "last_id": "1-0", "max_deleted_id": "0-0", "entries_added": 1,
             "groups": [{"name": ..., "last_id": ..., "entries_read": 1, "pending": [[id, time_ms, count], ...],
                         "consumers": [{"name": ..., "seen_ms": 1, "active_ms": 1, "pending": [id, ...]}]}]}

Bytes that are not UTF-8 are {"base64": "..."} in the place of a text. A hash one of whose names is not text, or whose
fields expire, is a list: [["field", "value", expire_ms], ...]. A value in pieces takes several lines with "part" from 0
on, and "more" in all but the last. `expire_ms` is absolute and may be missing.
"""

from __future__ import annotations

import base64
import binascii
import json
from itertools import pairwise
from typing import Any

from diskkv.codec.rdb_reader import RdbFunction, RdbKey, RdbRecord
from diskkv.codec.rdb_values import (
    HashValue,
    ListValue,
    RdbValue,
    SetValue,
    StreamConsumer,
    StreamEntry,
    StreamGroup,
    StreamId,
    StreamPending,
    StreamValue,
    StringValue,
    ZSetValue,
)

MAX_LINE_BYTES = 1 << 30


def encode_line(record: RdbRecord) -> bytes | None:
    """The line of a record with its line feed; None for records that have no place in this format."""
    if isinstance(record, RdbFunction):
        data: dict[str, Any] = {"function": _text(record.code)}
    elif isinstance(record, RdbKey):
        data = {"db": record.db, "key": _text(record.key), "type": record.value.type_name.decode()}
        if record.expire_ms:
            data["expire_ms"] = record.expire_ms
        if record.part or not record.is_last:
            data["part"] = record.part
            if not record.is_last:
                data["more"] = True
        data["value"] = _encode_value(record.value)
    else:
        return None
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def decode_line(line: bytes) -> RdbFunction | RdbKey:
    """The record of a line. Raises ValueError when it is none."""
    data = json.loads(line)
    if not isinstance(data, dict):
        raise ValueError("not an object")
    try:
        if "function" in data:
            return RdbFunction(_bytes(data["function"]))
        expire_ms = _integer(data.get("expire_ms", 0))
        part = _integer(data.get("part", 0))
        value = _decode_value(data["type"], data["value"])
        return RdbKey(
            _integer(data.get("db", 0)), _bytes(data["key"]), value, expire_ms, part=part, is_last=not data.get("more")
        )
    except KeyError as exc:
        message = f"{exc} is missing"
        raise ValueError(message) from exc
    except (TypeError, AttributeError) as exc:
        message = f"something has the wrong type ({exc})"
        raise ValueError(message) from exc


# ---- texts and numbers


def _text(raw: bytes) -> Any:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(raw).decode()}


def _bytes(value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict) and list(value) == ["base64"]:
        try:
            return base64.b64decode(value["base64"], validate=True)
        except binascii.Error as exc:
            raise ValueError("bad base64") from exc
    if isinstance(value, int | float) and not isinstance(value, bool):
        # Written by hand, a number in the place of a text is meant as its text.
        return str(value).encode()
    raise TypeError("expected a text")


def _integer(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("expected an integer")
    return value


def _score(score: float) -> Any:
    return str(score) if score in (float("inf"), float("-inf")) else score


def _id(entry_id: StreamId) -> str:
    return f"{entry_id[0]}-{entry_id[1]}"


def _parse_id(text: str) -> StreamId:
    ms, _, seq = text.partition("-")
    return int(ms), int(seq or 0)


# ---- values


def _encode_value(value: RdbValue) -> Any:
    match value:
        case StringValue(data):
            return _text(data)
        case ListValue(elements):
            return [_text(element) for element in elements]
        case SetValue(members):
            return [_text(member) for member in members]
        case ZSetValue(entries):
            return [[_text(member), _score(score)] for member, score in entries]
        case HashValue(fields):
            names = [_text(name) for name, _, _ in fields]
            if value.has_expiry or any(not isinstance(name, str) or name == "base64" for name in names):
                return [[_text(name), _text(data), *([at_ms] if at_ms else [])] for name, data, at_ms in fields]
            return {name: _text(data) for name, (_, data, _) in zip(names, fields, strict=True)}
        case StreamValue():
            return _encode_stream(value)


def _encode_stream(value: StreamValue) -> Any:
    return {
        "entries": [[_id(entry.id), [_text(text) for text in entry.fields]] for entry in value.entries],
        "last_id": _id(value.last_id),
        "max_deleted_id": _id(value.max_deleted_id),
        "entries_added": value.entries_added,
        "groups": [
            {
                "name": _text(group.name),
                "last_id": _id(group.last_id),
                "entries_read": group.entries_read,
                "pending": [[_id(item.id), item.delivery_time_ms, item.delivery_count] for item in group.pending],
                "consumers": [
                    {
                        "name": _text(consumer.name),
                        "seen_ms": consumer.seen_time_ms,
                        "active_ms": consumer.active_time_ms,
                        "pending": [_id(entry_id) for entry_id in consumer.pending],
                    }
                    for consumer in group.consumers
                ],
            }
            for group in value.groups
        ],
    }


def _decode_value(type_name: str, value: Any) -> RdbValue:
    if type_name == "string":
        return StringValue(_bytes(value))
    if type_name == "list":
        return ListValue([_bytes(element) for element in _array(value)])
    if type_name == "set":
        return SetValue(list(dict.fromkeys(_bytes(member) for member in _array(value))))
    if type_name == "zset":
        scores = {_bytes(member): float(score) for member, score in _array(value)}
        if any(score != score for score in scores.values()):
            raise ValueError("a score is not a number")
        return ZSetValue(list(scores.items()))
    if type_name == "hash":
        if isinstance(value, dict):
            return HashValue([(name.encode(), _bytes(data), 0) for name, data in value.items()])
        return HashValue([(_bytes(item[0]), _bytes(item[1]), _integer(item[2]) if len(item) > 2 else 0)
                          for item in _array(value)])  # fmt: skip
    if type_name == "stream":
        return _decode_stream(value)
    raise ValueError(f"unknown type {type_name!r}")


def _array(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("expected a list")
    return value


def _decode_stream(value: dict[str, Any]) -> StreamValue:
    entries = [
        StreamEntry(_parse_id(entry_id), [_bytes(text) for text in _array(fields)])
        for entry_id, fields in _array(value["entries"])
    ]
    if any(a.id >= b.id for a, b in pairwise(entries)):
        raise ValueError("stream entries are out of order")
    last = entries[-1].id if entries else (0, 0)
    return StreamValue(
        entries,
        max(last, _parse_id(value.get("last_id", "0-0"))),
        _parse_id(value.get("max_deleted_id", "0-0")),
        _integer(value.get("entries_added", len(entries))),
        [_decode_group(group) for group in value.get("groups", [])],
    )


def _decode_group(group: dict[str, Any]) -> StreamGroup:
    pending = [StreamPending(_parse_id(item[0]), _integer(item[1]), _integer(item[2])) for item in group["pending"]]
    consumers = [
        StreamConsumer(
            _bytes(consumer["name"]),
            _integer(consumer["seen_ms"]),
            _integer(consumer["active_ms"]),
            [_parse_id(entry_id) for entry_id in consumer["pending"]],
        )
        for consumer in group["consumers"]
    ]
    owned = [entry_id for consumer in consumers for entry_id in consumer.pending]
    if sorted(owned) != [item.id for item in pending]:
        raise ValueError("the pending entries of the consumers are not those of the group")
    return StreamGroup(
        _bytes(group["name"]), _parse_id(group["last_id"]), _integer(group["entries_read"]), pending, consumers
    )
