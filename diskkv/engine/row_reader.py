"""Every read of a row that is neither staged nor cached, and the choice between reading it at once and in a thread.

A read that goes to the disk takes 100 us and more in which nobody is served. `read` therefore raises `ColdRead` when
whoever called the command lets it (`allow`), has staged nothing yet, and reads of this kind were slow lately. The
command is then undone, its rows are read by `FetchPool`'s threads, and it runs again when they are there.

Fetched rows stay at hand as long as a ticket needs them, whatever the cache does. A commit that changes one of them
replaces it, so that nobody ever gets an older value than the store holds.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from resource import RUSAGE_THREAD, getrusage
from time import perf_counter_ns
from typing import Any

from diskkv.engine.fetch_pool import Fetch, FetchPool, NativePool, Ticket, open_pool
from diskkv.engine.overlay import ABSENT
from diskkv.engine.store import Store

SLOW_READ_NS = 30_000
"""A read that takes longer went to the disk. Handing a read over to a thread and back costs about as much."""

_READS_ARE_COUNTED = os.path.exists("/proc/self/io")
"""Whether the kernel counts what a thread reads from the disk."""

_CLIP_NS = 400_000
"""A longer read counts as this long: one that met a compaction must not decide for the next hundred."""
_AVERAGE_SHIFT = 5
"""Of the mean of the last 32 reads or so: when most keys do not exist, only a few reads go to the disk."""
_DISK_WEIGHT = 1 / 64
_DISK_SHARE_LOW = 0.2
_WINDOW_NS = 50_000_000
_WINDOW_READS = 8
_WINDOW_SHARE = 20
"""Slow reads begin to be handed over when they take this part (1/20) of the time."""


class ColdRead(Exception):
    """A row has to come from the disk and its command can wait for it; see the module's description."""

    def __init__(self, row: bytes) -> None:
        self.row = row


class Meter:
    """How slow the reads of one command were lately; `hands_over`: whether they are better left to threads."""

    __slots__ = ("_average_ns", "_disk_share", "hands_over")
    is_eager = False

    def __init__(self) -> None:
        self.hands_over = False
        self._average_ns = 0
        self._disk_share = 1.0

    def note_read(self, spent_ns: int) -> None:
        """A row was read at once."""
        self._average_ns += (min(spent_ns, _CLIP_NS) - self._average_ns) >> _AVERAGE_SHIFT
        if self._average_ns > SLOW_READ_NS:
            self.hands_over = True
            self._disk_share = 1.0

    def note_fetched(self, from_disk: bool) -> None:
        """A row was read by a thread, where the time it took says nothing: threads wait for each other."""
        self._disk_share += (from_disk - self._disk_share) * _DISK_WEIGHT
        if self._disk_share < _DISK_SHARE_LOW:
            self.hands_over = False
            self._average_ns = 0


class EagerMeter(Meter):
    """Hands over every read, however fast, even of rows that are in memory."""

    __slots__ = ()
    is_eager = True

    def __init__(self) -> None:
        super().__init__()
        self.hands_over = True

    def note_read(self, spent_ns: int) -> None:
        """Does not matter."""

    def note_fetched(self, from_disk: bool) -> None:
        """Does not matter."""


class RowReader:
    """Reads rows of the store. Belongs to the loop's thread, but for the pool behind it."""

    def __init__(self, store: Store, journal: list[Any]) -> None:
        self._store = store
        self._journal = journal
        self.fetches: dict[bytes, Fetch] = {}
        """Rows that are being read or were, and are needed; by their key."""
        self._new: list[Fetch] = []
        self._suspended: list[Ticket] = []
        self._pool: FetchPool | NativePool | None = None
        self._event_fd = -1
        self._meter: Meter | None = None
        self._mark = 0
        self._blocks = getrusage(RUSAGE_THREAD).ru_inblock
        self._window_ns = 0
        self._window_slow_ns = 0
        self._window_reads = 0
        self.on_slow: Callable[[], None] = lambda: None
        """Called when slow reads begin to hold everybody up."""
        self.fetched = 0
        """How many rows were read by threads."""
        self.slow_reads = 0
        """How many were read at once and took long."""

    # ---- reading

    def read(self, row: bytes) -> bytes | None:
        """The stored value of a row, or None. Raises StorageError, and ColdRead where that is allowed."""
        if self.fetches:
            fetch = self.fetches.get(row)
            if fetch is not None and fetch.is_done:
                if fetch.error is not None:
                    raise fetch.error
                return fetch.value
        meter = self._meter
        if meter is not None and meter.hands_over and len(self._journal) == self._mark:
            recent = self._store.recent(row)
            if recent is ABSENT or meter.is_eager:
                raise ColdRead(row)
            return recent  # type: ignore[return-value]
        start_ns = perf_counter_ns()
        value = self._store.get(row)
        spent_ns = perf_counter_ns() - start_ns
        if spent_ns > SLOW_READ_NS:
            if self._went_to_disk():
                self._note_slow(start_ns, spent_ns)
            else:
                spent_ns = 0
        if meter is not None:
            meter.note_read(spent_ns)
        return value

    def allow(self, meter: Meter) -> None:
        """Let reads raise ColdRead until `forbid` or until something is staged."""
        self._meter = meter
        self._mark = len(self._journal)

    def watch(self, meter: Meter) -> None:
        """Only measure reads, until `forbid`."""
        self._meter = meter
        self._mark = -1

    def forbid(self) -> None:
        """From now on every row is read at once."""
        self._meter = None

    def _went_to_disk(self) -> bool:
        """Whether this thread has read from the disk since the last call.

        If not, what took long was to get the processor. Where the kernel does not count it is assumed.
        """
        before, self._blocks = self._blocks, getrusage(RUSAGE_THREAD).ru_inblock
        return self._blocks != before or not _READS_ARE_COUNTED

    def _note_slow(self, start_ns: int, spent_ns: int) -> None:
        self.slow_reads += 1
        passed_ns = start_ns - self._window_ns
        if passed_ns > _WINDOW_NS:
            is_recent = passed_ns < 4 * _WINDOW_NS and self._window_reads >= _WINDOW_READS
            if is_recent and self._window_slow_ns * _WINDOW_SHARE > passed_ns:
                self.on_slow()
            self._window_ns = start_ns
            self._window_slow_ns = self._window_reads = 0
        self._window_slow_ns += spent_ns
        self._window_reads += 1

    # ---- threads

    def start(self, threads: int, event_fd: int) -> None:
        """Use up to `threads` threads from now on; `event_fd` is an eventfd, for which see `await_rows`."""
        self._end_pool()
        self._event_fd = event_fd
        self._pool = open_pool(self._store, threads, event_fd)

    def request(self, owner: object, rows: Iterable[bytes]) -> Ticket:
        """Have rows read; `submit` must follow. They stay at hand until the ticket is released."""
        ticket = Ticket(owner)
        for row in rows:
            fetch = self.fetches.get(row)
            if fetch is None:
                fetch = self.fetches[row] = Fetch(row)
                self._new.append(fetch)
            fetch.users += 1
            ticket.fetches.append(fetch)
            if not fetch.is_done:
                fetch.tickets.append(ticket)
                ticket.missing += 1
        return ticket

    def is_at_hand(self, row: bytes) -> bool:
        """Whether a row was fetched and is still there."""
        fetch = self.fetches.get(row)
        return fetch is not None and fetch.is_done

    def submit(self) -> None:
        """Hand over what was requested since the last call."""
        if self._new:
            assert self._pool is not None
            new, self._new = self._new, []
            self._pool.submit(new)

    def await_rows(self) -> bool:
        """Whether `finished` may have something to answer; if not, the event is written when it does."""
        return bool(self._suspended) or (self._pool is not None and self._pool.await_rows())

    def finished(self) -> list[Ticket]:
        """The tickets that miss nothing any more since the last call."""
        if self._pool is None:
            return []
        suspended, self._suspended = self._suspended, []
        return suspended + self._complete(self._pool.finished())

    def _complete(self, fetches: list[Fetch]) -> list[Ticket]:
        complete = []
        self.fetched += len(fetches)
        for fetch in fetches:
            fetch.is_done = True
            if fetch.is_replaced:
                fetch.value = fetch.committed
                fetch.error = None
            if not fetch.users:
                self._forget(fetch)
            for ticket in fetch.tickets:
                ticket.missing -= 1
                if not ticket.missing:
                    complete.append(ticket)
            fetch.tickets.clear()
        return complete

    def release(self, ticket: Ticket) -> None:
        """The rows of a ticket are not needed any more by it; it will not be answered by `finished`."""
        for fetch in ticket.fetches:
            fetch.users -= 1
            if not fetch.is_done:
                fetch.tickets.remove(ticket)
            elif not fetch.users:
                self._forget(fetch)
        ticket.fetches.clear()

    def _forget(self, fetch: Fetch) -> None:
        if self.fetches.get(fetch.row) is fetch:
            del self.fetches[fetch.row]

    def suspend(self) -> None:
        """Wait for all threads and forget what they read, because the store is about to be closed.

        The tickets that waited are answered by `finished`, with nothing at hand.
        """
        if self._pool is not None and self.fetches:
            new, self._new = self._new, []
            self._suspended += self._complete([*self._pool.drain(), *new])
            self.fetches.clear()
            os.eventfd_write(self._event_fd, 1)

    def close(self) -> None:
        """End the threads; every row is read at once from now on."""
        self._end_pool()

    def _end_pool(self) -> None:
        if self._pool is not None:
            self._pool.close()
            self._pool = None
