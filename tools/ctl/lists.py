"""What must hold within a big list: its blocks have all items between head and tail, and nothing else is there."""

from __future__ import annotations

from collections.abc import Callable

from diskkv.codec.header import Header
from diskkv.codec.keys import (
    ELEMENT_PREFIX_SIZE,
    GARBAGE_LIST_HEAD,
    GARBAGE_LIST_TAIL,
    KIND_LIST_ITEM,
)
from diskkv.codec.list_block import BLOCK_ITEMS, BLOCK_MASK, INLINE_MAX_BYTES, decode_block
from diskkv.codec.listpack_size import EMPTY_BYTES, entry_bytes
from diskkv.codec.numbers import encode_i64
from diskkv.datatypes.list_rows import LONG, index_of_row
from diskkv.datatypes.lists import PENDING_HEAD, PENDING_TAIL
from diskkv.engine.store import Store
from tools.ctl.leftovers import Leftovers
from tools.ctl.report import ObjectReport, Rows

_INDEX_BYTES = 8


class ListCheck:
    """One list; layout in datatypes/list_rows.py."""

    def __init__(self, store: Store, value: Header, left: Leftovers, report: ObjectReport) -> None:
        self._report = report
        self._left = left
        self._head, self._packed_bytes, self._pending = value.ext
        self._tail = self._head + value.count
        self._next = self._head
        """The index of the item that is to come next."""
        self._long: list[int] = []
        """Indexes of the long items of the last block, reversed, as far as their rows are still to come."""
        self._size_bytes = EMPTY_BYTES
        self.kinds: dict[int, Callable[[Rows], None]] = {KIND_LIST_ITEM: self._items}

    def _items(self, rows: Rows) -> None:
        for row, raw in rows:
            sub = row[ELEMENT_PREFIX_SIZE:]
            if len(sub) < _INDEX_BYTES or sub[_INDEX_BYTES:] not in (b"", LONG):
                self._report(f"a row of a list has a key of no known form: {row.hex()}")
                continue
            index = index_of_row(row)
            block = index & BLOCK_MASK
            is_block = len(sub) == _INDEX_BYTES
            if is_block and index != block:
                self._report(f"a block of a list begins at {index}, which is no multiple of {BLOCK_ITEMS}")
                continue
            inside = block < self._tail and block + BLOCK_ITEMS > self._head
            if self._left and self._left.cover(row):
                if inside:
                    self._report(f"the row of a list at {index} waits to be reclaimed while it is in use")
            elif not inside:
                self._report(f"a list from {self._head} to {self._tail} has a row at {index}")
                continue
            if not inside:
                continue
            if is_block:
                self._block(index, raw)
            else:
                self._long_item(index, raw)

    def _block(self, first: int, raw: bytes) -> None:
        self._end_block()
        wanted = max(first, self._head)
        if wanted != self._next:
            self._report(f"a list has no items from {self._next} to {wanted}")
        stop = min(first + BLOCK_ITEMS, self._tail)
        self._next = stop
        try:
            items = decode_block(raw)
        except ValueError:
            self._report(f"the block of a list at {first} does not decode")
            return
        if len(items) != stop - wanted:
            self._report(f"the block of a list at {first} has {len(items)} items instead of {stop - wanted}")
            return
        for index, item in enumerate(items, wanted):
            if item is None:
                self._long.append(index)
            else:
                self._size_bytes += entry_bytes(item)
        self._long.reverse()

    def _long_item(self, index: int, item: bytes) -> None:
        if not self._long or self._long[-1] != index:
            self._report(f"a list has a row for a long item at {index} and no such item")
            return
        self._long.pop()
        self._size_bytes += entry_bytes(item)
        if len(item) <= INLINE_MAX_BYTES:
            self._report(f"the item of a list at {index} has a row of its own and only {len(item)} bytes")

    def _end_block(self) -> None:
        for index in reversed(self._long):
            self._report(f"the long item of a list at {index} is missing")
        self._long.clear()

    def end(self) -> None:
        """Look for what is missing at the end, and whether what waits to be reclaimed is known to the header."""
        self._end_block()
        if self._next != self._tail:
            self._report(f"a list has no items from {self._next} to {self._tail}")
        elif self._packed_bytes not in (-1, self._size_bytes):
            self._report(f"a list takes {self._size_bytes} bytes packed, its header says {self._packed_bytes}")
        for kind, flag in ((GARBAGE_LIST_HEAD, PENDING_HEAD), (GARBAGE_LIST_TAIL, PENDING_TAIL)):
            if kind in self._left.kinds and not self._pending & flag:
                self._report("rows at an end of a list wait to be reclaimed, and its header does not say so")


assert len(encode_i64(0)) == _INDEX_BYTES
