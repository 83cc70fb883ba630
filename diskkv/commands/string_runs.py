"""Runs of GET, SET, MSET and INCR (see runs.py)."""

from __future__ import annotations

from itertools import chain
from typing import Any

from diskkv.codec.header import Value
from diskkv.commands.runs import ANY, Columns, run_of
from diskkv.commands.string import string_reply
from diskkv.datatypes.strings import INLINE_MAX_BYTES
from diskkv.resp.reply import BULK_HEADS, OK
from diskkv.services.client import Client

_SURE_DIGITS = 18
"""Fewer digits than that are a 64-bit integer."""
_ZERO = 0x30
_MSET_ARGUMENTS = 3
_LONG_BYTES = 2048
"""The replies of a run are made at once: of longer strings they could take much memory."""


@run_of("get", argc=2)
def get_run(client: Client, columns: Columns) -> list[bytes] | None:
    """Several GETs."""
    values: list[Any] = client.db.read_many(columns[1])
    replies = []
    for value in values:
        if value.__class__ is bytes:
            size = len(value)
            if size >= _LONG_BYTES:
                return None
            replies.append(BULK_HEADS[size] + value + b"\r\n")
        else:
            reply = _unusual_reply(client, value)
            if reply is None:
                return None
            replies.append(reply)
    return replies


def _unusual_reply(client: Client, value: Value | None) -> bytes | None:
    """The reply for a missing key or a short string with a TTL; raises WrongTypeError for another type."""
    if value is None:
        return client.null
    reply = string_reply(client, value)
    return reply if isinstance(reply, bytes) and len(reply) < 2 * _LONG_BYTES else None


@run_of("set", argc=3)
def set_run(client: Client, columns: Columns) -> list[bytes] | None:
    """Several SETs without options."""
    _, keys, values = columns
    if max(map(len, values)) > INLINE_MAX_BYTES:
        return None
    client.db.put_plain(keys, values)
    return [OK] * len(keys)


@run_of("mset", argc=ANY)
def mset_run(client: Client, columns: Columns) -> list[bytes] | None:
    """Several MSETs of as many keys each."""
    if len(columns) < _MSET_ARGUMENTS or not len(columns) & 1:
        return None
    values = list(chain.from_iterable(zip(*columns[2::2], strict=True)))
    if max(map(len, values)) > INLINE_MAX_BYTES:
        return None
    client.db.put_plain(list(chain.from_iterable(zip(*columns[1::2], strict=True))), values)
    return [OK] * len(columns[0])


@run_of("incr", argc=2)
def incr_run(client: Client, columns: Columns) -> list[bytes] | None:
    """Several INCRs."""
    database = client.db
    numbers: dict[bytes, int] = {}
    made = []
    replies = []
    keys = columns[1]
    for key, value in zip(keys, database.get_many(keys), strict=True):
        number = numbers.get(key)
        if number is None:
            if value is None:
                made.append(key)
                number = 0
            elif value.__class__ is bytes and value.isdigit() and len(value) < _SURE_DIGITS:
                if value[0] == _ZERO and len(value) > 1:
                    return None
                number = int(value)
            else:
                return None
        numbers[key] = number = number + 1
        replies.append(b":%d\r\n" % number)
    database.stage_plain({key: b"%d" % number for key, number in numbers.items()}, made)
    return replies
