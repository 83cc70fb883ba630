"""What must hold within one header record, without looking at any other row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from struct import error as StructError
from typing import Any

from diskkv.codec.header import HASH, LIST, SET, STREAM, STRING, ZSET, Header, encode_header
from diskkv.datatypes.sets import is_integer
from diskkv.datatypes.streams import ID_BYTES, Stream
from diskkv.datatypes.zset_rows import DOUBLE

_MAX_EXPIRE_MS = (1 << 63) - 1
_NEGATIVE_ZERO = DOUBLE.pack(-0.0)


def record_problems(value: Header, record: bytes) -> Iterator[str]:
    """Everything wrong with a header that decodes."""
    if not 0 <= value.expire_ms <= _MAX_EXPIRE_MS:
        yield f"its time to live ends at {value.expire_ms}"
    if value.value is None:
        yield from _rows_problems(value)
    elif value.type != STRING:
        yield from _packed_problems(value)
    # What decodes to the same value as another record was not written by the encoder: an element is there twice, a
    # number is longer than need be.
    if encode_header(value) != record:
        yield "its record has an element twice, or is not in the form in which it is written"


def _rows_problems(value: Header) -> Iterator[str]:
    if not value.oid:
        yield "it has rows and no object id"
    if not value.count and value.type != STREAM:
        yield "it is empty and exists"
    if not _EXT[value.type](value):
        yield f"its header ends in {value.ext!r:.200}"


def _packed_problems(value: Header) -> Iterator[str]:
    if value.type == STREAM:
        yield "a stream is packed"
        return
    if not value.value:
        yield "it is empty and exists"
    wrong = next((element for element in value.value if element.__class__ is not bytes), None)
    if wrong is not None:
        yield f"an element of it is no string of bytes: {wrong!r:.200}"
        return
    yield from _PACKED[value.type](value)


def _packed_set_problems(value: Header) -> Iterator[str]:
    if not value.raw:
        wrong = next((member for member in value.value if not is_integer(member)), None)
        if wrong is not None:
            yield f"an intset has the member {wrong[:64]!r}"


def _packed_zset_problems(value: Header) -> Iterator[str]:
    for member, score in value.value.items():
        if score.__class__ is not float or score != score or DOUBLE.pack(score) == _NEGATIVE_ZERO:
            yield f"the member {member[:64]!r} has the score {score!r:.200}"
            return
    entries = ((score, member) for member, score in value.value.items())
    if any(before >= after for before, after in pairwise(entries)):
        yield "a packed sorted set is not in order"


def _packed_hash_problems(value: Header) -> Iterator[str]:
    wrong = next((data for data in value.value.values() if data.__class__ is not bytes), None)
    if wrong is not None:
        yield f"a value of it is no string of bytes: {wrong!r:.200}"
    times = value.ext
    if times is None:
        return
    if times.__class__ is not dict or not times:
        yield f"its fields' times to live are {times!r:.200}"
        return
    if not value.raw:
        yield "its fields have times to live and it is no listpackex"
    for field, expire_ms in times.items():
        if field not in value.value or not _is_count(expire_ms) or not 0 < expire_ms <= _MAX_EXPIRE_MS:
            yield f"the time to live of the field {field!r:.200} ends at {expire_ms!r:.200}"
            return


def _no_problems(value: Header) -> Iterator[str]:
    return iter(())


_PACKED: dict[int, Callable[[Header], Iterator[str]]] = {
    LIST: _no_problems,
    SET: _packed_set_problems,
    ZSET: _packed_zset_problems,
    HASH: _packed_hash_problems,
}


# ---- what headers of big values end in


def _is_count(number: Any) -> bool:
    return number.__class__ is int and number >= 0


def _is_sequence(ext: Any, size: int) -> bool:
    return isinstance(ext, list | tuple) and len(ext) == size


def _is_list(value: Header) -> bool:
    ext = value.ext
    return _is_sequence(ext, 3) and all(number.__class__ is int for number in ext) and ext[1] >= -1 and 0 <= ext[2] <= 3


def _is_hash(value: Header) -> bool:
    ext = value.ext
    return ext is None or (_is_sequence(ext, 3) and all(map(_is_count, ext)) and ext[2] > 0 and ext[0] <= ext[1])


def _is_zset(value: Header) -> bool:
    ext = value.ext
    return ext is None or (
        _is_sequence(ext, 3) and ext[0] in (0, 1) and all(position.__class__ is bytes for position in ext[1:])
    )


def _is_stream(value: Header) -> bool:
    try:
        stream = Stream(value)
    except (TypeError, ValueError, StructError):
        return False
    ids = [stream.last, stream.max_deleted, stream.first]
    counts = (stream.added, stream.groups, stream.next_group, stream.epoch, stream.nodes)
    if not all(map(_is_count, counts)):
        return False
    if stream.nodes:
        ids += [stream.tail, stream.tail_last]
    return all(entry_id.__class__ is bytes and len(entry_id) == ID_BYTES for entry_id in ids)


_EXT: dict[int, Callable[[Header], bool]] = {
    STRING: lambda value: value.ext is None,
    LIST: _is_list,
    SET: lambda value: value.ext is None,
    ZSET: _is_zset,
    HASH: _is_hash,
    STREAM: _is_stream,
}
