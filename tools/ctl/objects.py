"""What must hold between a header and the rows of its object; one function for each type that has more to say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from diskkv.codec import keys
from diskkv.codec.header import HASH, LIST, SET, STREAM, STRING, TYPE_NAMES, ZSET, Header
from diskkv.codec.keys import ELEMENT_PREFIX_SIZE, KIND_STRING_CHUNK, U32, object_range
from diskkv.datatypes.strings import CHUNK_BYTES
from diskkv.engine.leveldb import LevelDBStore
from tools.ctl.stats import KINDS
from tools.ctl.zsets import zset_problems

# Kinds are numbered by type in their upper four bits.
KIND_GROUPS = {STRING: 0x1, LIST: 0x2, HASH: 0x3, SET: 0x4, ZSET: 0x5, STREAM: 0x6}
# The kinds whose rows must number exactly as many as the header's count.
COUNTED_KINDS = {
    LIST: (keys.KIND_LIST_ITEM,),
    HASH: (keys.KIND_HASH_FIELD,),
    SET: (keys.KIND_SET_MEMBER,),
    ZSET: (keys.KIND_ZSET_MEMBER, keys.KIND_ZSET_SCORE),
}


def object_problems(store: LevelDBStore, value: Header) -> Iterator[str]:
    """What is wrong with the rows of `value`, whose `oid` is set; reads the keys of all of them."""
    type_name = TYPE_NAMES[value.type].decode()
    counts = Counter(row[ELEMENT_PREFIX_SIZE - 1] for row in store.scan_keys(*object_range(value.oid)))
    for kind, count in counts.items():
        if kind >> 4 != KIND_GROUPS[value.type]:
            yield f"a {type_name} has {count} rows of the kind {KINDS.get(kind, hex(kind))}"
    for kind in COUNTED_KINDS.get(value.type, ()):
        if counts[kind] != value.count:
            yield f"a {type_name} of {value.count} elements has {counts[kind]} rows of the kind {KINDS[kind]}"
    if value.type in _MORE:
        yield from _MORE[value.type](store, value)


def _string_problems(store: LevelDBStore, value: Header) -> Iterator[str]:
    """A string's count is its length, and an absent chunk is zeros: so only what lies behind the end is wrong."""
    prefix = keys.element_prefix(value.oid, KIND_STRING_CHUNK)
    for row, chunk in store.scan(prefix, keys.prefix_successor(prefix)):
        (index,) = U32.unpack(row[ELEMENT_PREFIX_SIZE:])
        if len(chunk) > CHUNK_BYTES:
            yield f"chunk {index} of a string has {len(chunk)} bytes, more than {CHUNK_BYTES}"
        elif index * CHUNK_BYTES + len(chunk) > value.count:
            yield f"chunk {index} of a string of {value.count} bytes reaches behind its end"


_MORE: dict[int, Callable[[LevelDBStore, Header], Iterator[str]]] = {
    STRING: _string_problems,
    ZSET: zset_problems,
}
