"""Raw rows: what the turn staged, over the cache, over the store.

Data types keep the elements of big values here (`codec.keys.element_prefix`); the engine keeps its indexes. Everything
staged is visible to later reads and scans of the same turn, and reaches the store with the turn's batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import repeat
from typing import Any

from diskkv.codec.keys import ELEMENT_TAG, SCANNED_KINDS, U64
from diskkv.engine.cache import Segment
from diskkv.engine.overlay import ABSENT, KeyIndex, merge_staged
from diskkv.engine.row_reader import RowReader
from diskkv.engine.store import Store

Journal = list[tuple[Any, Any, Any]]
"""(dictionary, key, what it held before or ABSENT), in order; undone backwards by `Engine.rollback`.

Anything that takes `target[key] = before` can stand for the dictionary: a list, a header."""


ELEMENT_TAG_BYTE = 0x64
KIND_AT = 9


def is_cached_row(row: bytes) -> bool:
    """Whether the cache holds rows like this: only elements, and of these only what is looked up one by one."""
    return row[0] == ELEMENT_TAG_BYTE and row[KIND_AT] not in SCANNED_KINDS


_NOTHING_KNOWN = b"\xff"


class Undo:
    """Stands for a dictionary in the journal: undoes that many keys were added to it at once."""

    __slots__ = ("_staged",)

    def __init__(self, staged: dict[bytes, Any]) -> None:
        self._staged = staged

    def __setitem__(self, names: list[bytes], _: None) -> None:
        for name in names:
            del self._staged[name]


class Rows:
    """Element and index rows by full row key. A value of None in `staged` deletes the row.

    All rows of objects that were made since `know_from` went through the cache (but for those of SCANNED_KINDS). As
    long as it lost none of them, what is not there does not exist, and the store is not asked.
    """

    __slots__ = (
        "_index",
        "_journal",
        "_known_from",
        "_losses",
        "_read",
        "_store",
        "cached",
        "hits",
        "segment",
        "staged",
    )

    def __init__(self, store: Store, reader: RowReader, segment: Segment, journal: Journal) -> None:
        self._store = store
        self._read = reader.read
        self._journal = journal
        self.segment = segment
        self.cached: dict[bytes, bytes] = segment.data
        self.hits = segment.hits
        self.staged: dict[bytes, bytes | None] = {}
        self._index = KeyIndex(self.staged)
        self._known_from = _NOTHING_KNOWN
        self._losses = 0

    def know_from(self, oid: int) -> None:
        """No object with this id or a higher one has rows yet, neither in the store nor in the cache."""
        self._known_from = ELEMENT_TAG + U64.pack(oid)
        self._losses = self.segment.losses

    def is_known(self, row: bytes) -> bool:
        """Whether all rows of this one's object and kind are staged or cached."""
        if row < self._known_from or not is_cached_row(row):
            return False
        if self._losses == self.segment.losses:
            return True
        self._known_from = _NOTHING_KNOWN
        return False

    def get(self, row: bytes) -> bytes | None:
        """The value of a row, or None."""
        value = self.staged.get(row, ABSENT)
        if value is not ABSENT:
            return value  # type: ignore[return-value]
        value = self.cached.get(row)
        if value is not None:
            if self.segment.is_pressed:
                self.hits.add(row)
            return value
        if row >= self._known_from and self.is_known(row):
            return None
        value = self._read(row)
        if value is not None and is_cached_row(row):
            self.segment.store(row, value)
        return value

    def peek(self, row: bytes) -> bytes | None:
        """As `get`, for rows read once: leaves the cache as it is."""
        value = self.staged.get(row, ABSENT)
        if value is not ABSENT:
            return value  # type: ignore[return-value]
        value = self.cached.get(row)
        return self._read(row) if value is None else value

    def get_many(self, names: list[bytes]) -> list[bytes | None]:
        """`get` of every row; all belong to the same object and kind."""
        found: list[Any] = list(map(self.cached.get, names))
        staged = self.staged
        if staged and not staged.keys().isdisjoint(names):
            found = list(map(self.get, names))
        elif None in found and not self.is_known(names[0]):
            get = self.get
            for at, value in enumerate(found):
                if value is None:
                    found[at] = get(names[at])
        if self.segment.is_pressed:
            self.hits.update(names)
        return found

    def put_many(self, values: Mapping[bytes, bytes | None]) -> None:
        """Stage several rows; None deletes one."""
        staged = self.staged
        if staged and not staged.keys().isdisjoint(values):
            self._journal.extend(zip(repeat(staged), values, map(staged.get, values, repeat(ABSENT))))
        else:
            self._journal.append((Undo(staged), list(values), None))
        staged.update(values)

    def put(self, row: bytes, value: bytes) -> None:
        """Stage a row."""
        staged = self.staged
        self._journal.append((staged, row, staged.get(row, ABSENT)))
        staged[row] = value

    def delete(self, row: bytes) -> None:
        """Stage the deletion of a row; it need not exist."""
        staged = self.staged
        self._journal.append((staged, row, staged.get(row, ABSENT)))
        staged[row] = None

    def scan(
        self, start: bytes, stop: bytes, reverse: bool = False, heads: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """(row, value) with start <= row < stop, in order, as of this call; drop it before the turn ends.

        Reverse scans begin at the last row before `stop`. Rows staged after this call are not seen. With `heads`,
        header records of long strings may come without the string.
        """
        read = self._store.scan_heads if heads else self._store.scan
        stored = read(start, stop, reverse)
        if self.staged:
            keys = self._index.range(start, stop, reverse)
            if keys:
                return merge_staged(stored, self.staged, keys, reverse)
        return stored

    def clear_staged(self) -> None:
        """Forget what is staged, after a commit."""
        self.staged.clear()
        self._index.reset()

    def reset_index(self) -> None:
        """Must follow every rollback."""
        self._index.reset()
