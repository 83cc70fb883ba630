"""Records as the commands that make them: what an append-only file has after a rewrite."""

from __future__ import annotations

from collections.abc import Iterator

from diskkv.codec.rdb_encode import format_score
from diskkv.codec.rdb_reader import RdbFunction, RdbKey
from diskkv.codec.rdb_values import (
    HashValue,
    ListValue,
    RdbValue,
    SetValue,
    StreamGroup,
    StreamId,
    StreamValue,
    StringValue,
    ZSetValue,
)

_ELEMENTS = 500
"""Elements in one command."""
_SCAFFOLD = b"made-by-export"


def function_command(record: RdbFunction) -> list[bytes]:
    """FUNCTION LOAD of a library."""
    return [b"FUNCTION", b"LOAD", b"REPLACE", record.code]


def key_commands(record: RdbKey) -> Iterator[list[bytes]]:
    """The commands that make a key (or add a piece to it) in the selected database, its time to live last."""
    if isinstance(record.value, StreamValue):
        yield from _stream_commands(record, record.value)
    else:
        yield from _value_commands(record.key, record.value)
    if record.is_last and record.expire_ms:
        yield [b"PEXPIREAT", record.key, b"%d" % record.expire_ms]


def _value_commands(key: bytes, value: RdbValue) -> Iterator[list[bytes]]:
    match value:
        case StringValue(data):
            yield [b"SET", key, data]
        case ListValue(elements):
            yield from _grouped(b"RPUSH", key, elements, _ELEMENTS)
        case SetValue(members):
            yield from _grouped(b"SADD", key, members, _ELEMENTS)
        case ZSetValue(entries):
            flat = [text for member, score in entries for text in (format_score(score), member)]
            yield from _grouped(b"ZADD", key, flat, 2 * _ELEMENTS)
        case HashValue(fields):
            flat = [text for name, data, _ in fields for text in (name, data)]
            yield from _grouped(b"HMSET", key, flat, 2 * _ELEMENTS)
            for name, _, at_ms in fields:
                if at_ms:
                    yield [b"HPEXPIREAT", key, b"%d" % at_ms, b"FIELDS", b"1", name]


def _grouped(name: bytes, key: bytes, arguments: list[bytes], size: int) -> Iterator[list[bytes]]:
    for at in range(0, len(arguments), size):
        yield [name, key, *arguments[at : at + size]]


def _id(entry_id: StreamId) -> bytes:
    return b"%d-%d" % entry_id


def _stream_commands(record: RdbKey, value: StreamValue) -> Iterator[list[bytes]]:
    key = record.key
    for entry in value.entries:
        yield [b"XADD", key, _id(entry.id), *entry.fields]
    if not record.is_last:
        return
    if not record.part and not value.entries:
        if value.last_id > (0, 0):
            yield [b"XADD", key, b"MAXLEN", b"0", _id(value.last_id), b"x", b"y"]
        else:
            # It never had an entry.
            yield [b"XGROUP", b"CREATE", key, _SCAFFOLD, b"0", b"MKSTREAM"]
            yield [b"XGROUP", b"DESTROY", key, _SCAFFOLD]
    if value.last_id > (0, 0):
        yield [b"XSETID", key, _id(value.last_id), b"ENTRIESADDED", b"%d" % value.entries_added,
               b"MAXDELETEDID", _id(value.max_deleted_id)]  # fmt: skip
    for group in value.groups:
        yield from _group_commands(key, group)


def _group_commands(key: bytes, group: StreamGroup) -> Iterator[list[bytes]]:
    create = [b"XGROUP", b"CREATE", key, group.name, _id(group.last_id)]
    yield [*create, b"ENTRIESREAD", b"%d" % group.entries_read] if group.entries_read >= 0 else create
    details = {item.id: item for item in group.pending}
    for consumer in group.consumers:
        yield [b"XGROUP", b"CREATECONSUMER", key, group.name, consumer.name]
        for entry_id in consumer.pending:
            item = details[entry_id]
            yield [b"XCLAIM", key, group.name, consumer.name, b"0", _id(entry_id), b"TIME",
                   b"%d" % item.delivery_time_ms, b"RETRYCOUNT", b"%d" % item.delivery_count,
                   b"JUSTID", b"FORCE"]  # fmt: skip
