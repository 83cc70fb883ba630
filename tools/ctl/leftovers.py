"""Rows of living objects that wait for the reclaimer: ends cut off lists, and ranges cut out of streams."""

from __future__ import annotations

from struct import error as StructError

from diskkv.codec import keys
from diskkv.codec.keys import ELEMENT_TAG, GARBAGE_LIST_HEAD, GARBAGE_LIST_TAIL, GARBAGE_ROWS, KIND_LIST_ITEM, U64
from diskkv.codec.numbers import encode_i64


class Leftovers:
    """The ranges of one object. `kinds` are the kinds of garbage rows that it has."""

    __slots__ = ("_ranges", "kinds")

    def __init__(self) -> None:
        self._ranges: list[tuple[bytes, bytes]] = []
        self.kinds: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def add(self, kind: int, start: bytes, stop: bytes) -> None:
        """Rows with start <= row < stop wait to be deleted."""
        self.kinds.add(kind)
        self._ranges.append((start, stop))

    def cover(self, row: bytes) -> bool:
        """Whether a row waits to be deleted."""
        return any(start <= row < stop for start, stop in self._ranges)


NONE = Leftovers()


def decode(what: int, ident: int, raw: bytes) -> tuple[int, bytes, bytes] | None:
    """(oid, start, stop) of a garbage row of a living object. None when it does not decode."""
    try:
        if what in (GARBAGE_LIST_HEAD, GARBAGE_LIST_TAIL):
            prefix = keys.element_prefix(ident, KIND_LIST_ITEM)
            first, last = keys.decode_index_range(raw)
            return ident, prefix + encode_i64(first), prefix + encode_i64(last)
        if what == GARBAGE_ROWS:
            start, stop = keys.decode_row_range(raw)
            (oid,) = U64.unpack_from(start, 1)
            own_start, own_stop = keys.object_range(oid)
            if start[:1] == ELEMENT_TAG and own_start <= start <= stop <= own_stop:
                return oid, start, stop
    except StructError:
        pass
    return None
