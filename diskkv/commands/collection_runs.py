"""Runs on hashes, lists, sets and sorted sets (see runs.py).

Those that change one big value read and stage its header once. Small, packed values, and different ones, are changed
one request after the other: the number of arguments of a command may decide about the layout.
"""

from __future__ import annotations

from diskkv.codec.header import HASH, LIST, SET, ZSET, Header
from diskkv.codec.numbers import format_double, parse_float
from diskkv.commands.list import lrange
from diskkv.commands.runs import Columns, run_of
from diskkv.commands.zset_replies import read as read_zset
from diskkv.commands.zset_replies import score_bulk
from diskkv.datatypes import hashes, lists, lists_edit, sets, zset_rows, zsets
from diskkv.resp.reply import BULK_HEADS, EMPTY_ARRAY, ONE, ZERO, bulk
from diskkv.services.client import Client

_FLAGS = (ZERO, ONE)
_LONG_BYTES = 2048
"""The replies of a run are made at once: of longer values they could take much memory."""
_MOST_BYTES = 16 << 20
_SURE_DIGITS = 300
"""A number of fewer digits is not too large for a double."""


def _big_value(client: Client, keys: list[bytes], kind: int) -> Header | None:
    """What all of `keys` name, when that is one key and its value of this type and in rows."""
    if keys.count(keys[0]) != len(keys):
        return None
    value = client.db.get(keys[0])
    if value.__class__ is not Header or value.type != kind or value.value is not None:
        return None
    return value


def _from_nothing(client: Client, keys: list[bytes], reply: bytes) -> list[bytes] | None:
    """The replies to those who pop from keys that do not exist, as consumers of an empty queue do all the time."""
    get = client.db.get
    if any(get(key) is not None for key in set(keys)):
        return None
    return [reply] * len(keys)


@run_of("hset", argc=4)
def hset_run(client: Client, columns: Columns) -> list[bytes] | None:
    """Several HSETs of one field of the same hash."""
    _, keys, fields, values = columns
    database = client.db
    header = _big_value(client, keys, HASH)
    if header is not None and header.ext is None:
        return [_FLAGS[is_new] for is_new in hashes.set_each(database, keys[0], header, fields, values)]
    get = database.get
    put = hashes.set_field
    return [
        _FLAGS[put(database, key, get(key), field, value)]
        for key, field, value in zip(keys, fields, values, strict=True)
    ]


@run_of("hget", argc=3)
def hget_run(client: Client, columns: Columns) -> list[bytes] | None:
    """Several HGETs."""
    database = client.db
    engine = client.engine
    null = client.null
    replies = []
    for key, field in zip(columns[1], columns[2], strict=True):
        header = hashes.require_hash(database, key, database.read(key))
        value = None if header is None else hashes.get(engine, header, field)
        if value is None:
            replies.append(null)
        elif len(value) < _LONG_BYTES:
            replies.append(BULK_HEADS[len(value)] + value + b"\r\n")
        else:
            return None
    return replies


@run_of("sadd", argc=3)
def sadd_run(client: Client, columns: Columns) -> list[bytes] | None:
    """Several SADDs of one member to the same set."""
    _, keys, members = columns
    database = client.db
    header = _big_value(client, keys, SET)
    if header is not None:
        return [_FLAGS[is_new] for is_new in sets.add_each(database, keys[0], header, members)]
    get = database.get
    add = sets.add_member
    require = sets.require_set
    return [
        _FLAGS[add(database, key, require(get(key)), member)] for key, member in zip(keys, members, strict=True)
    ]


@run_of("sismember", argc=3)
def sismember_run(client: Client, columns: Columns) -> list[bytes] | None:
    """Several SISMEMBERs."""
    read = client.db.read
    engine = client.engine
    replies = []
    for key, member in zip(columns[1], columns[2], strict=True):
        header = sets.require_set(read(key))
        replies.append(ONE if header is not None and sets.contains(engine, header, member) else ZERO)
    return replies


@run_of("spop", argc=2)
def spop_run(client: Client, columns: Columns) -> list[bytes] | None:
    """Several SPOPs of the same set."""
    keys = columns[1]
    header = _big_value(client, keys, SET)
    if header is None:
        return _from_nothing(client, keys, client.null)
    database = client.db
    popped = sets.pop_each(database, keys[0], header, len(keys))
    if popped is not None:
        return [
            BULK_HEADS[len(member)] + member + b"\r\n" if len(member) < _LONG_BYTES else bulk(member)
            for member in popped
        ]
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
        return _from_nothing(client, keys, client.null)
    return lists_edit.pop_entries(client.db, keys[0], header, len(keys), names[0][:1] in b"lL")


@run_of("lrange", argc=4)
def lrange_run(client: Client, columns: Columns) -> list[bytes] | None:
    """Several LRANGEs: what is asked for more than once is read once."""
    engine = client.engine
    read: dict[tuple[bytes, bytes, bytes], tuple[bytes, int]] = {}
    replies = []
    room_bytes = _MOST_BYTES
    for asked in zip(columns[1], columns[2], columns[3], strict=True):
        found = read.get(asked)
        if found is None:
            hits = engine.keyspace_hits
            reply = lrange(client, [b"lrange", *asked])
            if not isinstance(reply, bytes):
                reply.close()
                return None
            read[asked] = reply, engine.keyspace_hits - hits
        else:
            reply, hits = found
            engine.keyspace_hits += hits
            engine.keyspace_misses += 1 - hits
        replies.append(reply)
        room_bytes -= len(reply)
        if room_bytes < 0:
            return None
    return replies


@run_of("zadd", argc=4)
def zadd_run(client: Client, columns: Columns) -> list[bytes] | None:
    """Several ZADDs of one member to the same sorted set."""
    _, keys, texts, members = columns
    try:
        scores = [float(text) if text.isdigit() and len(text) < _SURE_DIGITS else parse_float(text) for text in texts]
    except ValueError:
        return None
    database = client.db
    header = _big_value(client, keys, ZSET)
    if header is not None:
        return [_FLAGS[is_new] for is_new in zset_rows.put_each(database, keys[0], header, members, scores)]
    add_one = zsets.add_one
    return [
        ONE if add_one(database, key, member, score) > 0 else ZERO
        for key, member, score in zip(keys, members, scores, strict=True)
    ]


@run_of("zscore", argc=3)
def zscore_run(client: Client, columns: Columns) -> list[bytes] | None:
    """Several ZSCOREs."""
    engine = client.engine
    null = client.null
    replies = []
    for key, member in zip(columns[1], columns[2], strict=True):
        header = read_zset(client, key)
        score = None if header is None else zsets.score_of(engine, header, member)
        replies.append(null if score is None else score_bulk(score, client.resp))
    return replies


@run_of("zpopmin", "zpopmax", argc=2)
def zset_pop_run(client: Client, columns: Columns) -> list[bytes] | None:
    """Several ZPOPMINs or ZPOPMAXs of the same sorted set."""
    names, keys = columns
    header = _big_value(client, keys, ZSET)
    if header is None:
        return _from_nothing(client, keys, EMPTY_ARRAY)
    if header.count <= len(keys) or client.resp == 3:
        return None
    replies = []
    for member, score in zsets.pop(client.db, keys[0], header, names[0][-1:] in b"xX", len(keys)):
        text = format_double(score)
        replies.append(b"*2\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(member), member, len(text), text))
    return replies
