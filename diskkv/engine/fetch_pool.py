"""Threads that read rows of the store while the server's loop goes on.

LevelDB takes reads from any thread, so several wait for the disk at once. There are two pools that do the same.
`NativePool` is compiled (`_reads.pyx`) and used for LevelDB when it could be built: its threads know nothing of Python.
`FetchPool` uses Python's threads: plyvel lets go of the interpreter lock while it reads, but each thread has to get it
back after every read. On a machine of two cores whose disk gave 67,000 reads a second to 16 threads, a GET of a cold
1000-byte value took 53 us of the server's processor time with the compiled threads, 95 us with Python's.

Waking a thread costs more than the rest of a hand-over. So the rows that come together wake one thread, which wakes the
next one if there is more to do, and threads that have read a row take another one without going to sleep. In the same
way the loop is only woken when it sleeps (`await_rows`), and for several rows together while there is more to do.
"""

from __future__ import annotations

import os
import resource
import threading
from _thread import LockType, allocate_lock
from collections import deque
from typing import Any

import plyvel

from diskkv.engine.compiled import usable
from diskkv.engine.leveldb import LevelDBStore
from diskkv.engine.overlay import ABSENT
from diskkv.engine.store import Store
from diskkv.errors import StorageError

_REVISION = 3
"""What the Python code expects of the compiled module; `_reads.pyx` has it too. They change together."""

try:
    from diskkv.engine import _reads
except ImportError:
    native = None
else:
    native = _reads if usable(_reads, _REVISION) else None

_ANNOUNCED = 4
"""While more is to be read the loop is told of so many rows together."""
_MEASURED_READS = 8
"""Of so many reads of a Python thread one is asked whether it went to the disk, which costs as much as a hand-over."""


class Fetch:
    """One row that is read in the background.

    `value` (None: no such row) or `error` is valid once `is_done`. `users` counts the tickets that need it. When a
    commit changes the row meanwhile, `is_replaced` says that what the store answers is out of date, and `committed` is
    what the row holds.
    """

    __slots__ = (
        "committed",
        "error",
        "from_disk",
        "is_done",
        "is_pointer",
        "is_replaced",
        "row",
        "tickets",
        "users",
        "value",
    )

    def __init__(self, row: bytes) -> None:
        self.row = row
        self.value: bytes | None = None
        self.is_pointer = False
        """`value` is a pointer still: what that leads to is not there, or is damaged."""
        self.error: StorageError | None = None
        self.from_disk: bool | None = None
        """Whether the read went to the disk rather than to the page cache; None when that is not known."""
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
    """Up to `threads` threads, started when they are needed. All methods belong to one thread, the loop's.

    `event_fd` is written when `finished` has something to answer, once after each call of `await_rows`.
    """

    def __init__(self, store: Store, threads: int, event_fd: int) -> None:
        self._store = store
        self._limit = threads
        self._event_fd = event_fd
        self._todo: deque[Fetch | None] = deque()
        """None tells a thread to end."""
        self._done: deque[Fetch] = deque()
        self._idle: list[LockType] = []
        """Threads that sleep until their lock is released."""
        self._threads: list[threading.Thread] = []
        self._wakes = False
        """A thread was woken and does not run yet."""
        self._notifies = False
        self._drains = False
        self._drained = threading.Event()
        self.outstanding = 0
        """How many rows were submitted and not answered by `finished`."""

    def submit(self, fetches: list[Fetch]) -> None:
        """Have rows read."""
        self.outstanding += len(fetches)
        self._todo += fetches
        self._wake_one()
        while len(self._threads) < min(self._limit, self.outstanding):
            thread = threading.Thread(target=self._work, name="cold-reads", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _wake_one(self) -> None:
        if not self._wakes:
            # Another thread may be quicker, so that there is none left to wake.
            try:
                sleep = self._idle.pop()
            except IndexError:
                return
            self._wakes = True
            sleep.release()

    def await_rows(self) -> bool:
        """Whether `finished` has something to answer; if not, `event_fd` is written when it does."""
        if self._done:
            return True
        self._notifies = True
        # Once more: what is done from now on is announced.
        return bool(self._done)

    def finished(self) -> list[Fetch]:
        """The fetches that were read since the last call."""
        done = self._done
        fetches = [done.popleft() for _ in range(len(done))]
        self.outstanding -= len(fetches)
        return fetches

    def drain(self) -> list[Fetch]:
        """As `finished`, after waiting for all that is under way."""
        self._drained.clear()
        self._drains = True
        if len(self._done) < self.outstanding:
            self._drained.wait()
        self._drains = False
        return self.finished()

    def close(self) -> None:
        """End the threads, after what is under way."""
        self._todo += [None] * len(self._threads)
        self._wake_one()
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _work(self) -> None:
        todo, done, idle = self._todo, self._done, self._idle
        get = self._store.get
        blocks_read = _blocks_read
        blocks = blocks_read()
        until_measured = _MEASURED_READS
        sleep = allocate_lock()
        sleep.acquire()
        while True:
            try:
                fetch = todo.popleft()
            except IndexError:
                idle.append(sleep)
                # Who submits looks for idle threads afterwards, so one of both sees the other.
                if not todo or not self._stay_awake(sleep):
                    sleep.acquire()
                    # Before looking for something to do, so that nobody relies on this thread in vain.
                    self._wakes = False
                continue
            if todo and idle:
                self._wake_one()
            if fetch is None:
                return
            try:
                fetch.value = get(fetch.row)
            except StorageError as exc:
                fetch.error = exc
            until_measured -= 1
            if until_measured == 1:
                blocks = blocks_read()
            elif not until_measured:
                fetch.from_disk = blocks_read() != blocks
                until_measured = _MEASURED_READS
            done.append(fetch)
            if self._notifies and (not todo or len(done) >= _ANNOUNCED):
                self._notifies = False
                os.eventfd_write(self._event_fd, 1)
            if self._drains and len(done) >= self.outstanding:
                self._drained.set()

    def _stay_awake(self, sleep: LockType) -> bool:
        """Take a thread's lock back from the idle ones; False when somebody is about to release it."""
        try:
            self._idle.remove(sleep)
        except ValueError:
            return False
        return True


def _blocks_read() -> int:
    """How much this thread has read from the disk, in blocks of 512 bytes, as far as the kernel counts it."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_inblock


class NativePool:
    """As FetchPool, for LevelDB, with threads that know nothing of Python.

    They see LevelDB only, and value files: rows in memtables are answered without them.
    """

    def __init__(self, store: LevelDBStore, threads: int, event_fd: int) -> None:
        self._store = store
        self._event_fd = event_fd
        self._pool: Any = native.NativePool(threads, event_fd)  # type: ignore[union-attr]
        self._files: dict[int, int] = {}
        self._known: list[Fetch] = []
        """Fetches that need no thread."""
        self.close = self._pool.close

    def submit(self, fetches: list[Fetch]) -> None:
        """Have rows read."""
        unknown: list[Fetch] = []
        recent = self._store.recent
        for fetch in fetches:
            value = recent(fetch.row)
            if value is ABSENT:
                unknown.append(fetch)
            else:
                fetch.value = value  # type: ignore[assignment]
                self._known.append(fetch)
        try:
            files = self._store.value_descriptors
            if files is not self._files:
                self._files = files
                self._pool.set_files(files)
            self._pool.submit(self._store.database, unknown)
        except StorageError as exc:
            # The store was closed, because it could not be opened again.
            for fetch in unknown:
                fetch.error = exc
            self._known += unknown

    def await_rows(self) -> bool:
        """Whether `finished` has something to answer; if not, `event_fd` is written when it does."""
        return bool(self._known or self._pool.await_rows())

    def finished(self) -> list[Fetch]:
        """The fetches that were read since the last call."""
        return self._complete(self._pool.finished())

    def drain(self) -> list[Fetch]:
        """As `finished`, after waiting for all that is under way."""
        return self._complete(self._pool.drain())

    def _complete(self, fetches: list[Fetch]) -> list[Fetch]:
        for fetch in fetches:
            if fetch.is_pointer:
                # Most likely it was moved meanwhile.
                fetch.is_pointer = False
                try:
                    fetch.value = self._store.get(fetch.row)
                except StorageError as exc:
                    fetch.error = exc
        known, self._known = self._known, []
        return fetches + known if known else fetches


def open_pool(store: Store, threads: int, event_fd: int) -> FetchPool | NativePool:
    """The faster one of the two that can read this store."""
    if (
        native is not None
        and isinstance(store, LevelDBStore)
        and native.use(plyvel._plyvel.__file__)
        and native.can_read(store.database)
    ):
        return NativePool(store, threads, event_fd)
    return FetchPool(store, threads, event_fd)
