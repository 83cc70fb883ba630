"""SORT: the elements of a list, set or sorted set in order of themselves, or of weights found under other keys.

A pattern names such a key: its first ``*`` stands for the element, and ``->field`` at its end for a field of a hash.

Memory: all elements are held with their weights, or, when LIMIT asks for a small part, only that part. What would take
more than proto-max-bulk-len is refused.

Source: https://redis.io/docs/latest/commands/sort/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from heapq import nlargest, nsmallest
from itertools import islice
from operator import itemgetter
from typing import Any

from diskkv.codec.header import HASH, LIST, SET, STRING, ZSET, Value, value_type
from diskkv.datatypes import hashes, lists, lists_edit, sets, strings, zset_ranges, zsets
from diskkv.engine.database import Database
from diskkv.errors import CommandError, WrongTypeError

Lookup = Callable[[bytes], bytes | None]
"""From an element to what a pattern leads to; None when there is nothing."""

_NOT_A_NUMBER = b"ERR One or more scores can't be converted into double"
_TOO_MUCH = b"ERR sorting this needs more memory than proto-max-bulk-len; use LIMIT"
_ITEM_BYTES = 200
"""What an element takes besides its bytes, with its weight and in Python's structures."""
_SMALL_SHARE = 8
_EVERYTHING = zset_ranges.RankRange(0, -1)


@dataclass(slots=True)
class Order:
    """How to sort. `limit` is negative for no limit; `nosort` keeps the order of the value."""

    weight_of: Lookup | None = None
    nosort: bool = False
    alpha: bool = False
    descending: bool = False
    offset: int = 0
    limit: int = -1


def parse_weight(text: bytes) -> float:
    """The number that an element or weight stands for; an empty one and what begins with a NUL are 0."""
    text = text.partition(b"\0")[0]
    if not text:
        return 0.0
    # float() is less strict than Redis here: it strips spaces and takes underscores and NaN.
    if text[0] > 0x20 and text[-1] > 0x20 and b"_" not in text:
        try:
            number = float(text)
        except ValueError:
            raise CommandError(_NOT_A_NUMBER) from None
        if number == number:
            return number
    raise CommandError(_NOT_A_NUMBER)


def lookup_of(database: Database, pattern: bytes) -> Lookup:
    """How to follow a pattern of GET or BY; without a ``*`` it leads nowhere."""
    if pattern == b"#":
        return lambda element: element
    before, star, behind = pattern.partition(b"*")
    if not star:
        return lambda element: None
    behind, arrow, field = behind.partition(b"->")
    if arrow and field:
        return lambda element: _hash_field(database, before + element + behind, field)
    behind += arrow
    return lambda element: _string(database, before + element + behind)


def _string(database: Database, key: bytes) -> bytes | None:
    value = database.read(key)
    if value is None or value_type(value) != STRING:
        return None
    return strings.read(database.engine, value)


def _hash_field(database: Database, key: bytes, field: bytes) -> bytes | None:
    value = database.read(key)
    if value is None or value_type(value) != HASH:
        return None
    header = hashes.require_hash(database, key, value)
    return None if header is None else hashes.get(database.engine, header, field)


# ---- choosing the elements


def select(database: Database, value: Value, order: Order) -> list[bytes]:
    """The elements asked for, in order. Raises WrongTypeError, and an error for weights that are no numbers."""
    total = _length(value)
    start = min(max(order.offset, 0), total)
    stop = total if order.limit < 0 else min(start + order.limit, total)
    if order.nosort:
        return _unsorted(database, value, start, stop, order.descending)
    return _sorted(database, _elements(database, value), total, start, stop, order)


def _length(value: Value) -> int:
    kind = value_type(value)
    if kind == LIST:
        return lists.length(lists.require_list(value))
    if kind == SET:
        return sets.length(value)  # type: ignore[arg-type]
    if kind == ZSET:
        return zsets.cardinality(value)  # type: ignore[arg-type]
    raise WrongTypeError


def _elements(database: Database, value: Any) -> Iterator[bytes]:
    kind = value_type(value)
    if kind == LIST:
        return lists_edit.items(database.engine, value)
    if kind == SET:
        return sets.iterate(database.engine, value)
    return zset_ranges.select_members(database.engine, value, _EVERYTHING)


def _unsorted(database: Database, value: Any, start: int, stop: int, reverse: bool) -> list[bytes]:
    """The elements from `start` to `stop` in the value's own order; only those are read."""
    kind = value_type(value)
    engine = database.engine
    if stop <= start:
        return []
    elements: Iterable[bytes]
    if kind == LIST:
        total = lists.length(value)
        first, last = (total - stop, total - start) if reverse else (start, stop)
        elements = lists.items_between(engine, value, first, last, reverse)
    elif kind == ZSET:
        part = zset_ranges.RankRange(start, stop - 1)
        elements = zset_ranges.select_members(engine, value, part, reverse)
    else:
        elements = islice(sets.iterate(engine, value), start, stop)
    return list(bounded(database, elements))


def bounded(database: Database, elements: Iterable[bytes | None]) -> Iterator[Any]:
    """The elements, as long as holding them takes a bounded amount of memory. Raises CommandError."""
    room_bytes: int = database.engine.config.proto_max_bulk_len
    for element in elements:
        room_bytes -= _ITEM_BYTES + (len(element) if element is not None else 0)
        if room_bytes < 0:
            raise CommandError(_TOO_MUCH)
        yield element


def _sorted(
    database: Database, elements: Iterator[bytes], total: int, start: int, stop: int, order: Order
) -> list[bytes]:
    weight_of = order.weight_of
    ranked: Iterator[tuple[Any, bytes]]
    if not order.alpha:
        # Equal numbers are ordered by the elements, backwards too when descending.
        ranked = (((_number(element, weight_of), element), element) for element in elements)
    elif weight_of is None:
        ranked = ((element, element) for element in elements)
    else:
        ranked = ((_text(weight_of(element)), element) for element in elements)
    first = itemgetter(0)
    if stop * _SMALL_SHARE < total:
        # All weights are looked at, even for an empty part: one that is no number is an error.
        best = (nlargest if order.descending else nsmallest)(max(stop, 1), ranked, key=first)
        return [element for _, element in best[start:stop]]
    kept = _within_bounds(database, ranked)
    kept.sort(key=first, reverse=order.descending)
    return [element for _, element in kept[start:stop]]


def _within_bounds(database: Database, ranked: Iterator[tuple[Any, bytes]]) -> list[tuple[Any, bytes]]:
    room_bytes: int = database.engine.config.proto_max_bulk_len
    kept = []
    for pair in ranked:
        room_bytes -= _ITEM_BYTES + len(pair[1])
        if room_bytes < 0:
            raise CommandError(_TOO_MUCH)
        kept.append(pair)
    return kept


def _number(element: bytes, weight_of: Lookup | None) -> float:
    if weight_of is None:
        return parse_weight(element)
    weight = weight_of(element)
    return 0.0 if weight is None else parse_weight(weight)


def _text(weight: bytes | None) -> tuple[bool, bytes]:
    """The sort key of a weight: a missing one comes first."""
    return weight is not None, weight or b""
