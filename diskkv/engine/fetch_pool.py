"""Threads that read rows of the store while the server's loop goes on.

LevelDB takes reads from any thread and plyvel lets go of the interpreter lock in them, so that several wait for the
disk at once: on the machine where this was measured one thread read 8,400 cold rows of 1000 bytes a second, 16 read
33,000. What costs is the hand-over, so rows are handed over several at a time.
"""

from __future__ import annotations

import resource
import threading
from collections.abc import Callable
from queue import SimpleQueue

from diskkv.engine.store import Store
from diskkv.errors import StorageError

_BLOCKS_PER_READ = 16
"""Of 512 bytes: a read of a row takes about two pages."""


class Fetch:
    """One row that is read in the background.

    `value` (None: no such row) or `error` is valid once `is_done`. `users` counts the tickets that need it. When a
    commit changes the row meanwhile, `is_replaced` says that what the store answers is out of date, and `committed` is
    what the row holds.
    """

    __slots__ = ("committed", "error", "from_disk", "is_done", "is_replaced", "row", "tickets", "users", "value")

    def __init__(self, row: bytes) -> None:
        self.row = row
        self.value: bytes | None = None
        self.error: StorageError | None = None
        self.from_disk = False
        """Whether the read went to the disk rather than to the page cache; exact only on average."""
        self.is_done = False
        self.is_replaced = False
        self.committed: bytes | None = None
        self.users = 0
        self.tickets: list[Ticket] = []

    def replace(self, value: bytes | None) -> None:
        """The row was written (None: deleted), perhaps while it is read."""
        self.is_replaced = True
        self.committed = value
        if self.is_done:
            self.value = value
            self.error = None


class Ticket:
    """Some fetches that somebody waits for; `missing` counts those that are not done."""

    __slots__ = ("fetches", "missing", "owner")

    def __init__(self, owner: object) -> None:
        self.owner = owner
        self.fetches: list[Fetch] = []
        self.missing = 0


class FetchPool:
    """Up to `threads` threads, started when they are needed. `submit` and `finished` belong to one thread, the loop's.

    `notify` is called from the threads when `finished` has something to answer, once until it is called.
    """

    def __init__(self, store: Store, threads: int, notify: Callable[[], None]) -> None:
        self._store = store
        self._limit = threads
        self.notify = notify
        self._todo: SimpleQueue[list[Fetch] | None] = SimpleQueue()
        self._done: SimpleQueue[list[Fetch]] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._notified = False
        self.outstanding = 0
        """How many lists were submitted and not answered by `finished`."""

    def submit(self, fetches: list[Fetch]) -> None:
        """Have these rows read, spread over the threads."""
        size = -(-len(fetches) // self._limit)
        for at in range(0, len(fetches), size):
            self.outstanding += 1
            self._todo.put(fetches[at : at + size])
        while len(self._threads) < min(self._limit, self.outstanding):
            thread = threading.Thread(target=self._work, name="cold-reads", daemon=True)
            self._threads.append(thread)
            thread.start()

    def finished(self) -> list[list[Fetch]]:
        """What was read since the last call, without waiting."""
        # Before looking: what is put from now on is announced again.
        self._notified = False
        done = self._done
        lists = []
        while not done.empty():
            lists.append(done.get())
        self.outstanding -= len(lists)
        return lists

    def drain(self) -> list[list[Fetch]]:
        """As `finished`, after waiting for all that is under way."""
        lists = [self._done.get() for _ in range(self.outstanding)]
        self.outstanding = 0
        return lists

    def close(self) -> None:
        """End the threads, after what is under way."""
        for _ in self._threads:
            self._todo.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _work(self) -> None:
        todo, done = self._todo, self._done
        get = self._store.get
        usage = resource.getrusage
        blocks = usage(resource.RUSAGE_THREAD).ru_inblock
        while (fetches := todo.get()) is not None:
            for fetch in fetches:
                try:
                    fetch.value = get(fetch.row)
                except StorageError as exc:
                    fetch.error = exc
            before, blocks = blocks, usage(resource.RUSAGE_THREAD).ru_inblock
            # The kernel tells how much was read, but not for which of them.
            for fetch in fetches[: -(-(blocks - before) // _BLOCKS_PER_READ)]:
                fetch.from_disk = True
            done.put(fetches)
            if not self._notified:
                self._notified = True
                self.notify()
