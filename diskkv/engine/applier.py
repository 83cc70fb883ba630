"""Moves full memtables into LevelDB and tidies up there, in a thread of its own.

LevelDB so gets each row once for all the times that it was written while its memtable filled up, and the thread that
serves clients never waits for LevelDB, which stops writers when its compactions fall behind.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from diskkv.engine.memtable import Memtable
from diskkv.engine.split_tree import COLLECTED_SHARE, SplitTree
from diskkv.errors import StorageError

_WANTED_SHARE = 0.1
"""When collection is asked for, value files are given up from this share of dead strings on."""
_KEEPING_UP_STEPS = 32
"""After each memtable so much is collected at most while most of the value files is dead."""
_SLICE_ROWS = 1024
_SLICE_BYTES = 1 << 20
"""The interpreter is held while a batch of so many rows is put together: 200 us or so."""


class Applier:
    """Memtables waiting to be written to the tree, oldest first. `failure` tells why that does not go on."""

    def __init__(self, tree: SplitTree, on_applied: Callable[[Memtable], None]) -> None:
        self._tree = tree
        self._on_applied = on_applied
        """Called in the thread when all rows of a memtable are in the tree, on stable storage."""
        self._changed = threading.Condition()
        self._waiting: deque[Memtable] = deque()
        self._thread: threading.Thread | None = None
        self._is_ending = False
        self._has_dead = True
        """Value files may have become worth giving up."""
        self._collecting = False
        """All that can be collected is wanted, as soon as nothing waits to be applied."""
        self.failure: StorageError | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def submit(self, table: Memtable) -> None:
        """Have a memtable applied that does not change any more."""
        with self._changed:
            self._waiting.append(table)
            self._wake_up()

    def collect(self) -> None:
        """Give the space of dead strings back, also where it is not much, and wait for that."""
        with self._changed:
            self._collecting = True
            self._wake_up()
            self._changed.wait_for(lambda: not self._collecting or self.failure is not None or self._is_ending)

    def _wake_up(self) -> None:
        self._changed.notify_all()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="applier", daemon=True)
            self._thread.start()

    def wait(self, most: int = 0) -> None:
        """Wait until at most so many are left. Raises StorageError when it does not go on."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._waiting) <= most or self.failure is not None or self._is_ending)
            if len(self._waiting) > most:
                raise self.failure or StorageError("the store is being closed")

    def end(self) -> None:
        """Stop after the batch under way; what is not applied stays in its logs."""
        with self._changed:
            self._is_ending = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        for table in self._waiting:
            table.log.close()

    def _work(self) -> None:
        try:
            self._run()
        finally:
            with self._changed:
                if not self._is_ending and self.failure is None:
                    # Whatever it was, nobody is to wait for this thread any more.
                    self.failure = StorageError("the thread that moves rows into LevelDB has ended")
                self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._has_work)
                if self._is_ending:
                    return
                table = self._waiting[0] if self._waiting else None
            try:
                if table is None:
                    self._collect()
                    continue
                if not self._apply(table):
                    return
                self._on_applied(table)
                table.log.remove()
                self._keep_up()
            except StorageError as exc:
                with self._changed:
                    self.failure = exc
                    self._changed.notify_all()
                return
            with self._changed:
                self._waiting.popleft()
                self._changed.notify_all()
            rows, watched = table.rows, weakref.ref(table)
            del table
            if watched() is None:
                # No snapshot and no scan reads it.
                _free(rows)
            self._has_dead = True

    def _has_work(self) -> bool:
        return bool(self._waiting) or self._is_ending or self._collecting or self._has_dead

    def _collect(self) -> None:
        """Give up some of a value file that holds dead strings."""
        if not self._tree.collect(_WANTED_SHARE if self._collecting else COLLECTED_SHARE):
            with self._changed:
                self._collecting = self._has_dead = False
                self._changed.notify_all()

    def _keep_up(self) -> None:
        """Collect even if memtables wait: writers that never pause must not fill the disk with dead strings."""
        for _ in range(_KEEPING_UP_STEPS if self._tree.is_mostly_dead else 0):
            if self._is_ending or not self._tree.collect():
                break

    def _apply(self, table: Memtable) -> bool:
        """Whether all of it was applied, and not ended before."""
        # A row must not survive in the tree that the log forgets in a power failure.
        table.log.sync()
        for rows in _slices(table.rows.items()):
            if self._is_ending:
                return False
            self._tree.write(rows)
        self._tree.sync()
        return True


def _free(rows: dict[bytes, bytes | None]) -> None:
    """Free rows that are in the tree bit by bit: all at once would hold the interpreter for many milliseconds.

    A lookup under way may still find some of them gone; it then goes on to the tree.
    """
    while rows:
        for _ in range(min(_SLICE_ROWS, len(rows))):
            rows.popitem()
        # Lets others run.
        time.sleep(0)


def _slices(rows: Iterable[tuple[bytes, bytes | None]]) -> Iterator[list[tuple[bytes, bytes | None]]]:
    left = iter(rows)
    while taken := list(islice(left, _SLICE_ROWS)):
        size_bytes = sum(len(value) for _, value in taken if value is not None)
        pieces = min(-(-size_bytes // _SLICE_BYTES) or 1, len(taken))
        for at in range(pieces):
            yield taken[at::pieces]
