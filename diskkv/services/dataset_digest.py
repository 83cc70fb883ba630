"""Redis' digests of values and of the whole dataset, as DEBUG DIGEST and DEBUG DIGEST-VALUE give them.

A digest is 20 bytes. Adding data in an order that matters (`_mix`) xors its SHA-1 in and takes the SHA-1 of the result;
adding data whose order does not matter (`_xor`) only xors. Two servers with the same data so have the same digest.
"""

from __future__ import annotations

from hashlib import sha1
from struct import Struct

from diskkv.codec.header import Value, expire_ms_of, value_type
from diskkv.codec.numbers import format_double
from diskkv.codec.rdb_values import HashValue, ListValue, RdbValue, SetValue, StringValue, ZSetValue
from diskkv.datatypes import operations
from diskkv.engine.engine import Engine

EMPTY = bytes(20)
_U32 = Struct(">I")


def _xor(digest: bytes, data: bytes) -> bytes:
    return (int.from_bytes(digest, "big") ^ int.from_bytes(sha1(data).digest(), "big")).to_bytes(20, "big")


def _mix(digest: bytes, *parts: bytes) -> bytes:
    for part in parts:
        digest = sha1(_xor(digest, part)).digest()
    return digest


def value_digest(engine: Engine, value: Value, digest: bytes = EMPTY) -> bytes:
    """A value mixed into a digest."""
    digest = _mix(digest, _U32.pack(value_type(value)))
    digest = _content(digest, operations.of(value).export(engine, value))
    return _xor(digest, b"!!expire!!") if expire_ms_of(value) else digest


def _content(digest: bytes, content: RdbValue) -> bytes:
    if isinstance(content, StringValue):
        return _mix(digest, content.data)
    if isinstance(content, ListValue):
        return _mix(digest, *content.elements)
    if isinstance(content, SetValue):
        for member in content.members:
            digest = _xor(digest, member)
    elif isinstance(content, ZSetValue):
        for member, score in content.entries:
            digest = _xor(digest, _mix(EMPTY, member, format_double(score)))
    elif isinstance(content, HashValue):
        for field, field_value, expire_ms in content.entries:
            element = _mix(EMPTY, field, field_value)
            if expire_ms:
                element = _xor(element, b"!!hexpire!!")
            digest = _xor(digest, element)
    else:
        for entry in content.entries:
            digest = _mix(digest, b"%d.%d" % entry.id, *entry.fields)
    return digest


def dataset_digest(engine: Engine) -> bytes:
    """The digest of all keys of all databases that are not expired. Reads everything: for tests."""
    digest = EMPTY
    for index, database in sorted(engine.databases.items()):
        if not database.keys:
            continue
        digest = _mix(digest, _U32.pack(index))
        for key, value in database.scan(b""):
            expire_ms = expire_ms_of(value)
            if not expire_ms or expire_ms > engine.now_ms:
                digest = _xor(digest, value_digest(engine, value, _mix(EMPTY, key)))
    return digest
