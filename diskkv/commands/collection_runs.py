"""Runs on one big hash, list, set or sorted set, whose header is read and staged once (see runs.py).

Small, packed ones are left to the commands: there the number of arguments decides about the layout.
"""

from __future__ import annotations

from diskkv.codec.header import HASH, LIST, SET, ZSET, Header
from diskkv.codec.numbers import format_double, parse_float
from diskkv.commands.runs import Columns, run_of
from diskkv.datatypes import hashes, lists, lists_edit, sets, zsets
from diskkv.resp.reply import ONE, ZERO, bulk
from diskkv.services.client import Client

_FLAGS = (ZERO, ONE)


def _big_value(client: Client, keys: list[bytes], kind: int) -> Header | None:
    """What all of `keys` name, when that is one key and its value of this type and in rows."""
    if keys.count(keys[0]) != len(keys):
        return None
    value = client.db.get(keys[0])
    if value.__class__ is not Header or value.type != kind or value.value is not None:
        return None
    return value


@run_of("hset", argc=4)
def hset_run(client: Client, columns: Columns) -> list[bytes] | None:
    """Several HSETs of one field of the same hash."""
    _, keys, fields, values = columns
    header = _big_value(client, keys, HASH)
    if header is None or header.ext is not None:
        return None
    return [_FLAGS[is_new] for is_new in hashes.set_each(client.db, keys[0], header, fields, values)]


@run_of("sadd", argc=3)
def sadd_run(client: Client, columns: Columns) -> list[bytes] | None:
    """Several SADDs of one member to the same set."""
    _, keys, members = columns
    header = _big_value(client, keys, SET)
    if header is None:
        return None
    return [_FLAGS[is_new] for is_new in sets.add_each(client.db, keys[0], header, members)]


@run_of("spop", argc=2)
def spop_run(client: Client, columns: Columns) -> list[bytes] | None:
    """Several SPOPs of the same set."""
    keys = columns[1]
    header = _big_value(client, keys, SET)
    database = client.db
    replies = []
    for key in keys:
        if header is None or header.value is not None:
            return None
        replies.append(bulk(sets.pop_member(database, key, header)[0]))
        header = database.get(key)  # type: ignore[assignment]
    return replies


@run_of("lpush", "rpush", argc=3)
def push_run(client: Client, columns: Columns) -> list[bytes] | None:
    """Several LPUSHs or RPUSHs of one item to the same list."""
    names, keys, items = columns
    header = _big_value(client, keys, LIST)
    if header is None:
        return None
    first = header.count + 1
    count = lists.push(client.db, keys[0], header, items, names[0][:1] in b"lL")
    return [b":%d\r\n" % length for length in range(first, count + 1)]


@run_of("lpop", "rpop", argc=2)
def pop_run(client: Client, columns: Columns) -> list[bytes] | None:
    """Several LPOPs or RPOPs of the same list."""
    names, keys = columns
    header = _big_value(client, keys, LIST)
    if header is None:
        return None
    return lists_edit.pop_entries(client.db, keys[0], header, len(keys), names[0][:1] in b"lL")


@run_of("zadd", argc=4)
def zadd_run(client: Client, columns: Columns) -> list[bytes] | None:
    """Several ZADDs of one member to the same sorted set."""
    _, keys, texts, members = columns
    if _big_value(client, keys, ZSET) is None:
        return None
    try:
        scores = [float(text) if text.isdigit() else parse_float(text) for text in texts]
    except ValueError:
        return None
    add_one = zsets.add_one
    database = client.db
    key = keys[0]
    return [
        ONE if add_one(database, key, member, score) > 0 else ZERO
        for member, score in zip(members, scores, strict=True)
    ]


@run_of("zpopmin", "zpopmax", argc=2)
def zset_pop_run(client: Client, columns: Columns) -> list[bytes] | None:
    """Several ZPOPMINs or ZPOPMAXs of the same sorted set."""
    names, keys = columns
    header = _big_value(client, keys, ZSET)
    if header is None or header.count <= len(keys) or client.resp == 3:
        return None
    replies = []
    for member, score in zsets.pop(client.db, keys[0], header, names[0][-1:] in b"xX", len(keys)):
        text = format_double(score)
        replies.append(b"*2\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(member), member, len(text), text))
    return replies
