"""diskkvctl check finds every way in which one row can disagree with the others.

A small store with values of all types is sound; every test changes one or two of its rows.
"""

from __future__ import annotations

from collections.abc import Callable

import msgpack
import pytest
from xxhash import xxh32_digest

from diskkv.codec import keys
from diskkv.codec.header import FLAG_RAW, FLAG_ROWS, HASH, LIST, SET, STRING, ZSET, Header, encode_header
from diskkv.codec.keys import U32, U64, element_prefix, garbage_row
from diskkv.codec.list_block import BLOCK_ITEMS, encode_block
from diskkv.codec.numbers import encode_double, encode_i64
from diskkv.datatypes import streams_nodes
from diskkv.datatypes.hashes_edit import encode_field
from diskkv.datatypes.streams import Stream, pack_fields, pack_id
from diskkv.datatypes.streams_groups import CONSUMER_RECORD, GROUP_RECORD, PENDING_RECORD
from diskkv.datatypes.zset_rows import DOUBLE
from diskkv.engine.memory import MemoryStore
from tests.commands.session import NOW_MS, Session
from tools.ctl import check, output
from tools.ctl.check import Checker
from tools.ctl.stats import KINDS

DB = 1
"""The id of database 0."""
LATER_MS = NOW_MS + 100_000
LONG = b"x" * 500
REQUESTS = f"""
    SET string value
    SET session value PXAT {LATER_MS}
    HSET hash {" ".join(f"f{number} v" for number in range(20))}
    HPEXPIREAT hash {LATER_MS} FIELDS 2 f1 f2
    HPEXPIREAT hash {LATER_MS + 5} FIELDS 1 f3
    HSET smallhash a 1 b 2
    HPEXPIREAT smallhash {LATER_MS} FIELDS 1 a
    SADD set {" ".join(f"m{number}" for number in range(20))}
    SADD smallset a b c
    SADD intset 1 2 3
    ZADD zset {" ".join(f"{number % 9} m{number:03d}" for number in range(600))}
    ZPOPMIN zset 3
    ZADD smallzset 1 a 2 b
    RPUSH list {" ".join(f"i{number}" for number in range(70))} {LONG.decode()} last
    LPOP list
    RPUSH smalllist a b
    SETRANGE chunks 40000 x
    SELECT 3
    SET other value
    FLUSHDB
    SET other value
"""


STREAM_REQUESTS = """
    XGROUP CREATE stream g1 0
    XGROUP CREATE stream g2 0
    XREADGROUP GROUP g1 alice COUNT 6 STREAMS stream >
    XREADGROUP GROUP g1 bob COUNT 3 STREAMS stream >
    XREADGROUP GROUP g2 carol COUNT 2 STREAMS stream >
    XACK stream g1 1-1
    XACK stream g2 1-1 2-1
    XTRIM stream MAXLEN 10
    XDEL stream 5-1
"""
"""Applied to a stream of the entries 1-1 to 12-1 in nodes of four: nine of them are left, and 3-1 is the first."""


def build() -> Session:
    """The sound store."""
    session = Session()
    config = session.instance.config
    config.stream_node_max_entries = 4
    for number in range(1, 13):
        session.run(f"XADD stream {number}-1 f v")
    for name in ("hash", "set", "zset"):
        setattr(config, f"{name}_max_listpack_entries", 4)
    config.list_max_listpack_size = 4
    for line in filter(str.strip, (STREAM_REQUESTS + REQUESTS).splitlines()):
        reply = session.run(line)
        assert "ERR" not in reply, (line, reply)
    return session


class Rows(dict[bytes, bytes]):
    """The rows of the store, by key; `oid` of each big value, by the user's key."""

    oid: dict[bytes, int]
    header: dict[bytes, Header]

    def of(self, key: bytes, kind: int, sub: bytes = b"") -> bytes:
        """The row key of an element of the value at `key`."""
        return element_prefix(self.oid[key], kind) + sub

    def first(self, key: bytes, kind: int, number: int = 0) -> bytes:
        """The row key of the first element (or the one of this number) of a kind."""
        prefix = self.of(key, kind)
        return sorted(row for row in self if row.startswith(prefix))[number]

    def put_header(self, key: bytes, value: Header) -> None:
        """Replace the header of `key`."""
        self[keys.header_prefix(DB) + key] = encode_header(value)

    def change(self, key: bytes, **changes: object) -> None:
        """Replace the header of `key` by one with other attributes."""
        header = self.header[key]
        names = ("type", "value", "expire_ms", "oid", "count", "ext", "raw")
        self.put_header(key, Header(**{name: changes.get(name, getattr(header, name)) for name in names}))


@pytest.fixture(scope="module")
def sound() -> Rows:
    """The rows of the sound store."""
    session = build()
    rows = Rows(session.engine.store.scan(b"", b"\xff" * 9))
    database = session.engine.database(0)
    found = {key: value for key, value in database.scan(b"") if isinstance(value, Header)}
    rows.header = found
    rows.oid = {key: value.oid for key, value in found.items() if value.oid}
    return rows


def problems_of(rows: dict[bytes, bytes]) -> list[str]:
    """What the check says about a store of these rows."""
    store = MemoryStore()
    store.write(rows)
    checker = Checker(store)
    checker.run()
    assert checker.problem_count == len(checker.problems)
    return checker.problems


Damage = Callable[[Rows], None]
CASES: list[tuple[str, Damage]] = []


def case(problem: str) -> Callable[[Damage], Damage]:
    """Register a way to damage the store, and a part of what is to be said about it."""

    def register(damage: Damage) -> Damage:
        CASES.append((problem, damage))
        return damage

    return register


def put(problem: str, row: Callable[[Rows], bytes], raw: bytes) -> None:
    """A case: the row is put."""
    CASES.append((problem, lambda rows: rows.__setitem__(row(rows), raw)))


def delete(problem: str, row: Callable[[Rows], bytes]) -> None:
    """A case: the row is deleted."""
    CASES.append((problem, lambda rows: rows.__delitem__(row(rows))))


def change(problem: str, key: bytes, **changes: object) -> None:
    """A case: attributes of a header are other ones."""
    CASES.append((problem, lambda rows: rows.change(key, **changes)))


def header_row(key: bytes) -> Callable[[Rows], bytes]:
    """The row of a header."""
    return lambda rows: keys.header_prefix(DB) + key


def element(key: bytes, kind: int, sub: bytes) -> Callable[[Rows], bytes]:
    """The row of an element."""
    return lambda rows: rows.of(key, kind, sub)


# ---- rows of no known form

put("has no known tag", lambda rows: b"", b"")
put("has no known tag", lambda rows: b"x", b"")
put("has no known tag", lambda rows: b"\xfe", b"")
put("system row", lambda rows: b"\0nonsense", b"")
put("system row", lambda rows: keys.SYSTEM_LEASE, b"short")
put("system row", lambda rows: keys.SYSTEM_COUNTS + U32.pack(DB), b"short")
put("system row", lambda rows: keys.SYSTEM_DATABASE + U32.pack(0), b"short")
put("has no number", lambda rows: keys.SYSTEM_CURSOR + b"\0\0", b"short")
put("is too short", lambda rows: b"m\0", b"")
put("is too short", lambda rows: b"d\0", b"")
put("is too short", lambda rows: b"dzz", b"")
put("is of no known form", lambda rows: b"g\0", b"")
put("is of no known kind", lambda rows: garbage_row(0x7A, 1), b"")
put("does not decode", lambda rows: garbage_row(keys.GARBAGE_LIST_HEAD, 1), b"short")
put("does not decode", lambda rows: garbage_row(keys.GARBAGE_ROWS, 1), keys.encode_row_range(b"m", b"n"))
put("has a value", lambda rows: garbage_row(keys.GARBAGE_OBJECT, 1), b"value")
put("is of no known form", lambda rows: b"t\0", b"")

# ---- databases and counts

put("db0 counts 9 keys", lambda rows: keys.SYSTEM_COUNTS + U32.pack(DB), keys.encode_counts(9, 2))
put("share the id 1", lambda rows: keys.SYSTEM_DATABASE + U32.pack(7), U32.pack(DB))
put("is not below the lease 1", lambda rows: keys.SYSTEM_DATABASE_LEASE, U32.pack(1))
put("counts are kept for database id 9", lambda rows: keys.SYSTEM_COUNTS + U32.pack(9), keys.encode_counts(1, 0))
put("keys belong to database id 9", lambda rows: keys.header_prefix(9) + b"k", encode_header(b"v"))
put("waits to be reclaimed while it is in use", lambda rows: garbage_row(keys.GARBAGE_DATABASE, DB), b"")
delete("db0 counts 13 keys and has 12", header_row(b"string"))

# ---- objects

put("is not below the lease 1", lambda rows: keys.SYSTEM_LEASE, U64.pack(1))
put("is not below the lease", lambda rows: element_prefix(1 << 40, keys.KIND_SET_MEMBER), b"")
put("belongs to no key", lambda rows: element_prefix(1000, keys.KIND_SET_MEMBER), b"")
put("rows of the kind list item", element(b"set", keys.KIND_LIST_ITEM, b"x"), b"")
put("rows of the kind 238, which is not known", element(b"set", 0xEE, b"x"), b"")


@case("two keys share object")
def _share(rows: Rows) -> None:
    rows.change(b"smallset", value=None, oid=rows.oid[b"set"], count=20, raw=False)


@case("waits to be reclaimed while a key uses it")
def _garbage_in_use(rows: Rows) -> None:
    rows[garbage_row(keys.GARBAGE_OBJECT, rows.oid[b"set"])] = b""


# ---- headers by themselves

put("does not decode", header_row(b"string"), b"\xff???")
put("does not decode", header_row(b"smallhash"), bytes((HASH,)) + msgpack.packb([[b"a", b"1"], [1]]))
put("an element twice", header_row(b"smallset"), bytes((SET | FLAG_RAW,)) + msgpack.packb([b"a", b"a"]))
put("an element twice", header_row(b"smallhash"), bytes((HASH,)) + msgpack.packb([b"a", b"1", b"a", b"1"]))
put("an element twice", header_row(b"smallzset"), bytes((ZSET,)) + msgpack.packb([b"a", 1.0, b"a", 1.0]))
put("not in the form", header_row(b"smalllist"), bytes((LIST,)) + b"\xdc\0\1\xc4\1a")
put("it is empty and exists", header_row(b"smalllist"), bytes((LIST,)) + msgpack.packb([]))
put("no string of bytes: 7", header_row(b"smalllist"), bytes((LIST,)) + msgpack.packb([7]))
put("no string of bytes: 7", header_row(b"smallhash"), bytes((HASH,)) + msgpack.packb([b"a", 7]))
change("an intset has the member b'a'", b"smallset", raw=False)
change("not in order", b"smallzset", value={b"b": 2.0, b"a": 1.0})
change("has the score nan", b"smallzset", value={b"a": float("nan")})
change("has the score -0.0", b"smallzset", value={b"a": -0.0})
change("has the score 1", b"smallzset", value={b"a": 1})
change("its time to live ends at", b"session", expire_ms=1 << 63)
change("its fields have times to live and it is no listpackex", b"smallhash", raw=False)
change("the time to live of the field b'zz'", b"smallhash", ext={b"zz": LATER_MS})
change("the time to live of the field b'a'", b"smallhash", ext={b"a": "soon"[1:].encode()})
change("it is empty and exists", b"set", count=0)
change("its header ends in", b"set", ext=[1])
change("its header ends in", b"list", ext=[1, 2])
change("its header ends in", b"zset", ext=[2, b"", b""])
change("its header ends in", b"hash", ext=[9, 8, 1])
put("it has rows and no object id", header_row(b"string"), bytes((STRING | FLAG_ROWS,)) + U64.pack(0) * 2 + b"\xc0")

# ---- expiry

change("expires at 7 and has no entry", b"session", expire_ms=7)
change("expires at 7 and has no entry", b"smallhash", ext={b"a": 7})
delete(f"expires at {LATER_MS} and has no entry", lambda rows: keys.expiry_row(LATER_MS, DB, b"session"))
delete(f"expires at {LATER_MS} and has no entry", lambda rows: keys.expiry_row(LATER_MS, DB, b"hash"))
delete(f"expires at {LATER_MS} and has no entry", lambda rows: keys.expiry_row(LATER_MS, DB, b"smallhash"))
change("db0 counts 1 keys with a time to live and has 0", b"session", expire_ms=0)

# ---- strings

put("chunk 9 of a string of 40001 bytes", element(b"chunks", keys.KIND_STRING_CHUNK, U32.pack(9)), b"x")
put("has 0 bytes", element(b"chunks", keys.KIND_STRING_CHUNK, U32.pack(0)), b"")
put("a key of the wrong length", element(b"chunks", keys.KIND_STRING_CHUNK, b"abc"), b"x")

# ---- sets and hashes


def _member(member: bytes) -> bytes:
    return xxh32_digest(member) + member


delete("a set of 20 members has 19", element(b"set", keys.KIND_SET_MEMBER, _member(b"m1")))
put("a set of 20 members has 21", element(b"set", keys.KIND_SET_MEMBER, _member(b"new")), b"")
put('the member "m1" of a set has a value', element(b"set", keys.KIND_SET_MEMBER, _member(b"m1")), b"v")
put('the member "new" of a set has another hash', element(b"set", keys.KIND_SET_MEMBER, b"\0\0\0\0new"), b"")

delete("a hash of 20 fields has 19", element(b"hash", keys.KIND_HASH_FIELD, _member(b"f9")))
put('the field "new" of a hash has another hash', element(b"hash", keys.KIND_HASH_FIELD, b"\0\0\0\0new"), b"\0v")
put('the value of the field "f9" does not decode', element(b"hash", keys.KIND_HASH_FIELD, _member(b"f9")), b"\2v")
put('the value of the field "f9" does not decode', element(b"hash", keys.KIND_HASH_FIELD, _member(b"f9")), b"")
put('the value of the field "f1" does not decode', element(b"hash", keys.KIND_HASH_FIELD, _member(b"f1")), b"\1v")
put("3 of its fields expire, and 2 do", element(b"hash", keys.KIND_HASH_FIELD, _member(b"f1")), b"\0v")
put("and 4 do", element(b"hash", keys.KIND_HASH_FIELD, _member(b"f9")), encode_field(b"v", LATER_MS))
put(
    'the field "f1" is not in the expiry index of its hash',
    element(b"hash", keys.KIND_HASH_FIELD, _member(b"f1")),
    encode_field(b"v", LATER_MS + 1),
)
delete(
    'the field "f1" is not in the expiry index of its hash',
    element(b"hash", keys.KIND_HASH_EXPIRY, U64.pack(LATER_MS) + _member(b"f1")),
)
put(
    "the expiry index of a hash has a row that belongs to no field",
    element(b"hash", keys.KIND_HASH_EXPIRY, U64.pack(LATER_MS + 1) + _member(b"f1")),
    b"",
)
put("has a value", element(b"hash", keys.KIND_HASH_EXPIRY, U64.pack(LATER_MS) + _member(b"f1")), b"v")
change('the field "f3" expires at', b"hash", ext=[LATER_MS, LATER_MS + 4, 3])
change('the field "f1" expires at', b"hash", ext=[LATER_MS + 1, LATER_MS + 9, 3])
change("says that 2 of its fields expire, and 3 do", b"hash", ext=[LATER_MS, LATER_MS + 9, 2])
change("says that 0 of its fields expire, and 3 do", b"hash", ext=None)

# ---- lists: 72 items less one from the head, in blocks of 32; the long one has the index 70

_ITEM = keys.KIND_LIST_ITEM
delete("a list has no items from 32 to 64", element(b"list", _ITEM, encode_i64(32)))
delete("a list has no items from 1 to 32", element(b"list", _ITEM, encode_i64(0)))
delete("a list has no items from 64 to 72", element(b"list", _ITEM, encode_i64(64)))
put("does not decode", element(b"list", _ITEM, encode_i64(32)), b"\x07")
put("has 1 items instead of 32", element(b"list", _ITEM, encode_i64(32)), encode_block([b"a"]))
put("begins at 33", element(b"list", _ITEM, encode_i64(33)), encode_block([b"a"]))
put("a list from 1 to 72 has a row at 96", element(b"list", _ITEM, encode_i64(96)), encode_block([b"a"]))
put("a list from 1 to 72 has a row at -32", element(b"list", _ITEM, encode_i64(-BLOCK_ITEMS)), encode_block([b"a"]))
put("a row for a long item at 3 and no such", element(b"list", _ITEM, encode_i64(3) + b"\x01"), LONG)
put("only 5 bytes", element(b"list", _ITEM, encode_i64(70) + b"\x01"), b"short")
put("a key of no known form", element(b"list", _ITEM, b"abc"), b"")
put("a key of no known form", element(b"list", _ITEM, encode_i64(70) + b"\x02"), b"")
delete("the long item of a list at 70 is missing", element(b"list", _ITEM, encode_i64(70) + b"\x01"))
change("has 31 items instead of 32", b"list", ext=[0, -1, 0])
change("has 8 items instead of 9", b"list", count=72)
change("a list has no items from 96 to 97", b"list", count=96)
change("packed, its header says 7", b"list", ext=[1, 7, 0])


@case("waits to be reclaimed while it is in use")
def _leftover_in_use(rows: Rows) -> None:
    rows.change(b"list", ext=[1, -1, 3])
    rows[garbage_row(keys.GARBAGE_LIST_TAIL, rows.oid[b"list"])] = keys.encode_index_range(64, 128)


@case("wait to be reclaimed, and its header does not say so")
def _unknown_leftover(rows: Rows) -> None:
    rows[garbage_row(keys.GARBAGE_LIST_HEAD, rows.oid[b"list"])] = keys.encode_index_range(-64, -32)


# ---- sorted sets: 597 members in blocks of 192; the three lowest, of score 0, are gone

_SCORE = encode_double(1.0) + b"m010"
change("a sorted set of 9 members has 597", b"zset", count=9)
put(
    'the member "new" of a sorted set has another hash', element(b"zset", keys.KIND_ZSET_MEMBER, bytes(4) + b"new"), b""
)
put("has no score", element(b"zset", keys.KIND_ZSET_MEMBER, _member(b"m010")), b"short")
put("has no score", element(b"zset", keys.KIND_ZSET_MEMBER, _member(b"m010")), DOUBLE.pack(float("nan")))
put("has no row at its score 2.5", element(b"zset", keys.KIND_ZSET_MEMBER, _member(b"m010")), DOUBLE.pack(2.5))
delete("belongs to no member", element(b"zset", keys.KIND_ZSET_MEMBER, _member(b"m010")))
delete("has no row at its score 1.0", element(b"zset", keys.KIND_ZSET_SCORE, _SCORE))
put("belongs to no member", element(b"zset", keys.KIND_ZSET_SCORE, _SCORE + b"x"), b"")
put("has a value", element(b"zset", keys.KIND_ZSET_SCORE, _SCORE), b"v")
delete("has no first block", element(b"zset", keys.KIND_ZSET_BLOCK, b""))
delete("has no first group", element(b"zset", keys.KIND_ZSET_GROUP, b""))
delete("counts 189 members of 381", lambda rows: rows.first(b"zset", keys.KIND_ZSET_BLOCK, 1))
put("counts 1 members of 189", element(b"zset", keys.KIND_ZSET_BLOCK, b""), U32.pack(1))
put("counts 1 members of 597", element(b"zset", keys.KIND_ZSET_GROUP, b""), U32.pack(1))
put("does not decode", element(b"zset", keys.KIND_ZSET_GROUP, b""), b"short")
put("counts 0 members of", element(b"zset", keys.KIND_ZSET_BLOCK, _SCORE), U32.pack(0))
put("begins inside of a block", element(b"zset", keys.KIND_ZSET_GROUP, _SCORE), U32.pack(0))
put("begins inside of a block", element(b"zset", keys.KIND_ZSET_GROUP, b"\xff"), U32.pack(0))
change("before its low end", b"zset", ext=[0, encode_double(1.0), b""])
change("behind its high end", b"zset", ext=[0, b"", encode_double(8.0)])


@case("has the score -0, and its set does not say so")
def _negative_zero(rows: Rows) -> None:
    rows[rows.of(b"zset", keys.KIND_ZSET_MEMBER, _member(b"m036"))] = DOUBLE.pack(-0.0)


# ---- streams: the nodes begin at 1-1, 5-1 and 9-1

_ENTRY, _NODE = keys.KIND_STREAM_ENTRY, keys.KIND_STREAM_NODE
_EPOCH = U32.pack(0)
_FIELDS = pack_fields([b"f", b"v"])
# Of the group g1, and of alice and bob, its consumers.
_GROUP, _ALICE, _BOB = U32.pack(0), U32.pack(0), U32.pack(1)


def _id(ms: int) -> bytes:
    return pack_id(ms, 1)


def _node(last: int, live: int, deleted: int = 0) -> bytes:
    return streams_nodes.Node(b"", _id(last), live, deleted, 0, bytes(8)).encode()


def _stream(**changes: object) -> Damage:
    """Changes attributes of the stream in its header."""

    def damage(rows: Rows) -> None:
        stream = Stream(rows.header[b"stream"])
        for name, value in changes.items():
            setattr(stream, name, value)
        rows.put_header(b"stream", stream.header())

    return damage


delete("a stream of 9 entries has 8", element(b"stream", _ENTRY, _EPOCH + _id(7)))
delete("counts 3 entries and has 2", element(b"stream", _ENTRY, _EPOCH + _id(7)))
delete("first entry is", element(b"stream", _ENTRY, _EPOCH + _id(3)))
put("a stream of 9 entries has 10", element(b"stream", _ENTRY, _EPOCH + _id(5)), _FIELDS)
put("belongs to nothing in it", element(b"stream", _ENTRY, _EPOCH + _id(1)), _FIELDS)
put("belongs to nothing in it", element(b"stream", _ENTRY, U32.pack(1) + _id(7)), _FIELDS)
put("belongs to no node", element(b"stream", _ENTRY, _EPOCH + _id(99)), _FIELDS)
put("lies behind its last ID", element(b"stream", _ENTRY, _EPOCH + _id(99)), _FIELDS)
put("a key of the wrong length", element(b"stream", _ENTRY, b"abc"), _FIELDS)
put("does not decode", element(b"stream", _ENTRY, _EPOCH + _id(7)), b"\xc1")
put("does not decode", element(b"stream", _ENTRY, _EPOCH + _id(7)), pack_fields([b"f"]))
put("does not decode", element(b"stream", _ENTRY, _EPOCH + _id(7)), b"")
delete("belongs to no node", element(b"stream", _NODE, _EPOCH + _id(5)))
delete("a stream of 3 nodes has 2", element(b"stream", _NODE, _EPOCH + _id(5)))
put("does not decode", element(b"stream", _NODE, _EPOCH + _id(5)), b"short")
put("counts 4 entries and has 3", element(b"stream", _NODE, _EPOCH + _id(5)), _node(8, 4))
put("begins before the end of the one before", element(b"stream", _NODE, _EPOCH + _id(5)), _node(10, 3))
put("belongs to nothing in it", element(b"stream", _NODE, _EPOCH + _id(99)), _node(99, 1))
put("its header says otherwise", element(b"stream", _NODE, _EPOCH + _id(1)), _node(3, 1))
for _problem, _changes in (
    ("a stream of 3 groups has 2", {"groups": 3}),
    ("a stream of 4 nodes has 3", {"nodes": 4}),
    ("first entry is", {"first": _id(2)}),
    ("belongs to nothing in it", {"first": _id(4)}),
    ("lies behind its last ID", {"last": _id(11)}),
    ("counts 1 entries and has 2", {"head_live": 1}),
    ("counts 1 entries and has 4", {"tail_live": 1}),
    ("has no number that was given out", {"next_group": 1}),
    ("its header ends in", {"last": b"short"}),
    ("its header ends in", {"added": b"x"}),
):
    CASES.append((_problem, _stream(**_changes)))  # type: ignore[arg-type]


def _group_state(pending: int, consumers: int = 2, bounds: tuple[bytes, bytes] = (_id(2), _id(9))) -> bytes:
    return GROUP_RECORD.pack(_id(9), 9, pending, consumers, 2, *bounds)


delete("belongs to nothing in it", element(b"stream", keys.KIND_STREAM_GROUP, b"g1"))
delete("a stream of 2 groups has 1", element(b"stream", keys.KIND_STREAM_GROUP, b"g2"))
delete("no guard row behind its entries", element(b"stream", _ENTRY, b"\xff" * 4))
delete("no guard row behind its pending", element(b"stream", keys.KIND_STREAM_GROUP_PENDING, _GROUP + b"\xff" * 17))
put("two groups of a stream have the number 1", element(b"stream", keys.KIND_STREAM_GROUP, b"g1"), U32.pack(1))
put("has no number that was given out", element(b"stream", keys.KIND_STREAM_GROUP, b"g1"), b"short")
delete("is missing or does not decode", element(b"stream", keys.KIND_STREAM_GROUP_STATE, _GROUP))
put("is missing or does not decode", element(b"stream", keys.KIND_STREAM_GROUP_STATE, _GROUP), b"short")
put("belongs to nothing in it", element(b"stream", keys.KIND_STREAM_GROUP_STATE, U32.pack(7)), _group_state(0))
put("counts 5 pending entries and has 8", element(b"stream", keys.KIND_STREAM_GROUP_STATE, _GROUP), _group_state(5))
put("of 3 consumers has 2", element(b"stream", keys.KIND_STREAM_GROUP_STATE, _GROUP), _group_state(8, 3))
put(
    "outside of its bounds",
    element(b"stream", keys.KIND_STREAM_GROUP_STATE, _GROUP),
    _group_state(8, bounds=(_id(3), _id(9))),
)
put("has bounds and nothing pending", element(b"stream", keys.KIND_STREAM_GROUP_STATE, _GROUP), _group_state(0))
delete("of 2 consumers has 1", element(b"stream", keys.KIND_STREAM_CONSUMER, _GROUP + b"bob"))
delete("does not exist", element(b"stream", keys.KIND_STREAM_CONSUMER, _GROUP + b"bob"))
put("no number of its own", element(b"stream", keys.KIND_STREAM_CONSUMER, _GROUP + b"bob"), _ALICE)
put("belongs to nothing in it", element(b"stream", keys.KIND_STREAM_CONSUMER, U32.pack(7) + b"bob"), _ALICE)
put("has the number 7 of 2", element(b"stream", keys.KIND_STREAM_CONSUMER, _GROUP + b"bob"), U32.pack(7))
put(
    "counts 1 pending entries and has 3",
    element(b"stream", keys.KIND_STREAM_CONSUMER_STATE, _GROUP + _BOB),
    CONSUMER_RECORD.pack(1, 1, 1) + b"bob",
)
put(
    "missing or of another one",
    element(b"stream", keys.KIND_STREAM_CONSUMER_STATE, _GROUP + _BOB),
    CONSUMER_RECORD.pack(1, 1, 3) + b"rob",
)
delete("missing or of another one", element(b"stream", keys.KIND_STREAM_CONSUMER_STATE, _GROUP + _BOB))
put("belongs to nothing in it", element(b"stream", keys.KIND_STREAM_CONSUMER_STATE, _GROUP + U32.pack(7)), b"")
delete("is pending with a consumer and not so", element(b"stream", keys.KIND_STREAM_GROUP_PENDING, _GROUP + _id(4)))
put("does not decode", element(b"stream", keys.KIND_STREAM_GROUP_PENDING, _GROUP + _id(4)), b"short")
put("belongs to nothing in it", element(b"stream", keys.KIND_STREAM_GROUP_PENDING, U32.pack(7) + _id(4)), b"")
put(
    "is pending with a consumer that its group does not have",
    element(b"stream", keys.KIND_STREAM_GROUP_PENDING, _GROUP + _id(4)),
    PENDING_RECORD.pack(1, 1, 7),
)
put(
    "and not with its owner",
    element(b"stream", keys.KIND_STREAM_GROUP_PENDING, _GROUP + _id(4)),
    PENDING_RECORD.pack(1, 1, 1),
)
delete("and not with its owner", element(b"stream", keys.KIND_STREAM_CONSUMER_PENDING, _GROUP + _BOB + _id(8)))
put(
    "is pending with a consumer and not so",
    element(b"stream", keys.KIND_STREAM_CONSUMER_PENDING, _GROUP + _BOB + _id(4)),
    b"",
)
put("has a value", element(b"stream", keys.KIND_STREAM_CONSUMER_PENDING, _GROUP + _BOB + _id(8)), b"v")


# ---- tests


def test_the_store_is_sound(sound: Rows) -> None:
    assert problems_of(sound) == []


@pytest.mark.parametrize(("problem", "damage"), CASES, ids=[f"{at}-{problem}" for at, (problem, _) in enumerate(CASES)])
def test_damage_is_found(sound: Rows, problem: str, damage: Damage) -> None:
    rows = Rows(sound)
    rows.oid, rows.header = sound.oid, sound.header
    damage(rows)
    assert rows != sound
    problems = problems_of(rows)
    assert any(problem in found for found in problems), problems


def few_of_each_kind(rows: Rows) -> list[bytes]:
    """The first and the last two rows of each kind of each object, and all others."""
    kinds: dict[bytes, list[bytes]] = {}
    for row in rows:
        kinds.setdefault(row[: keys.ELEMENT_PREFIX_SIZE] if row[:1] == keys.ELEMENT_TAG else row, []).append(row)
    return [row for found in kinds.values() for row in dict.fromkeys(found[:2] + found[-2:])]


def test_every_row_matters(sound: Rows) -> None:
    """Without any one of its rows the store is not sound; a few of each kind of each object are tried.

    Except for chunks of strings, which may be absent, for headers of the flushed database, and for the format, which
    is looked at before.
    """
    unnoticed = set()
    for row in few_of_each_kind(sound):
        rest = dict(sound)
        del rest[row]
        if not problems_of(rest):
            unnoticed.add(row)
    chunks = element_prefix(sound.oid[b"chunks"], keys.KIND_STRING_CHUNK)
    flushed = keys.header_prefix(DB + 1)
    may_go = {row for row in sound if row.startswith((chunks, flushed)) or row == keys.SYSTEM_FORMAT}
    assert unnoticed <= may_go


def test_an_early_expiry_entry_will_do(sound: Rows) -> None:
    rows = dict(sound)
    del rows[keys.expiry_row(LATER_MS, DB, b"session")]
    rows[keys.expiry_row(LATER_MS - 1, DB, b"session")] = b""
    assert problems_of(rows) == []


def test_every_kind_of_row_is_in_the_store(sound: Rows) -> None:
    """So that the tests above leave none out."""
    assert {row[keys.ELEMENT_PREFIX_SIZE - 1] for row in sound if row[:1] == keys.ELEMENT_TAG} == set(KINDS)


def test_problems_are_bounded(sound: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "MAX_PROBLEMS", 5)
    store = MemoryStore()
    store.write({b"x%d" % number: b"" for number in range(50)})
    checker = Checker(store)
    checker.run()
    assert (len(checker.problems), checker.problem_count) == (5, 50)


def test_the_problems_of_one_object_are_bounded(sound: Rows) -> None:
    rows = Rows(sound)
    prefix = element_prefix(sound.oid[b"set"], keys.KIND_SET_MEMBER)
    for number in range(100):
        rows[prefix + bytes(4) + b"%d" % number] = b""
    problems = problems_of(rows)
    assert len(problems) < 25
    assert problems[-1].endswith("more")


def test_long_checks_tell_how_far_they_are(
    sound: Rows, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(output, "_INTERVAL_S", 0)
    monkeypatch.setattr(output, "_LOOK_AT_CLOCK_MASK", 0x3FF)
    assert problems_of(sound) == []
    assert capsys.readouterr().err.startswith("checked 1,024 rows in 0 s\n")
