"""Compactions: rewriting a part of the store so that what was deleted in it gives its space back.

LevelDB merges by itself when levels grow. What is only deleted may wait for that for long, so ranges are compacted on
request (COMPACT), in a daily window (`compaction-window`), and where much was deleted (engine/dead_space.py). A job is
cut into pieces where LevelDB's tables end. Each piece runs in a thread, and between two pieces the next one may have to
wait: for an I/O limit, for the end of writers' pressure on LevelDB, or for the window to open again. A piece itself is
LevelDB's work and runs at the speed of the disk.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING

from diskkv.codec.header import Header, decode_header
from diskkv.codec.keys import object_range
from diskkv.engine.dead_space import Point, ranges_to_compact
from diskkv.errors import CommandError, StorageError
from diskkv.resp import reply
from diskkv.services.leveldb_info import parse_levels

if TYPE_CHECKING:
    from diskkv.services.blocking import Block
    from diskkv.services.client import Client
    from diskkv.services.instance import Instance

log = logging.getLogger(__name__)

Range = tuple[bytes, bytes]

WHOLE: Range = (b"", b"\xff" * 8)
PIECE_BYTES = 64 << 20
_LEAST_PIECE_BYTES = 8 << 20
_MOST_JOBS = 64
_MOST_OBJECT_RANGES = 1024
_SCANNED_KEYS = 500
_SCAN_PAUSE_S = 0.001
_PRESSURE_S = {"command": 2.0, "scheduled": 60.0, "emptied": 30.0}
"""How long a piece waits at most while writers are paced, by the reason of the job."""
_DEAD_SHARE = 0.25
_NOTED_BYTES = 4 << 20
_HEADER_BYTES = 4096
"""Deletions are looked at closely when they may be worth it."""
_LOOK_INTERVAL_S = 5.0
_URGENT_INTERVAL_S = 0.5
_URGENT_PRESSURE_S = 0.5
_STOPPED = CommandError(b"ERR the compaction was stopped").reply


@dataclass(eq=False)
class Job:
    """Ranges to compact. `reason`: command, scheduled or emptied. `io_limit`: bytes per second, 0 for none.

    `prefix_range`: a range of headers; the rows of the big values in it are compacted too.
    """

    reason: str
    ranges: list[Range]
    io_limit: int = 0
    prefix_range: Range | None = None
    waits_for_reclaim: bool = False
    pieces: deque[Range] = field(default_factory=deque)
    waiting: list[tuple[Client, Block]] = field(default_factory=list)
    is_planned: bool = False
    total_pieces: int = 0
    began_s: float = 0.0
    ready_s: float = 0.0
    is_stopped: bool = False
    dead_points: list[Point] = field(default_factory=list)
    """Notes about the dead rows that are gone when this is done."""


class Compactions:
    """The queue of jobs; `poll` is called several times a second and begins the next piece when it may."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._jobs: deque[Job] = deque()
        self._scheduled: Job | None = None
        """The job of the window, which is left and taken up again as the window closes and opens."""
        self._window_used = False
        """The window that is open now has had its job."""
        self.in_store = False
        """A thread is inside the store, which must not be closed meanwhile."""
        self.clock: Callable[[], float] = time.monotonic
        self.local_time: Callable[[], datetime] = datetime.now
        self.dead_share = _DEAD_SHARE
        """Slices of the store with so large a part of dead rows are compacted."""
        self._look_again_s = 0.0
        self.completed = 0
        self.failed = 0
        self.written_mib = 0
        self.last_duration_ms = -1

    # ---- requests

    def add(self, job: Job) -> None:
        """Put a job into the queue. Raises CommandError when too many wait."""
        if len(self._jobs) >= _MOST_JOBS:
            raise CommandError(b"ERR too many compactions wait already")
        self._queue(job)

    def _queue(self, job: Job) -> None:
        job.ready_s = max(job.ready_s, self.clock())
        self._jobs.append(job)

    def stop(self) -> int:
        """Give up all jobs, after the piece that is under way; answers how many."""
        jobs = list(self._jobs)
        for job in jobs:
            job.is_stopped = True
            self._end(job, _STOPPED)
        return len(jobs)

    @property
    def current(self) -> Job | None:
        """The job that is under way."""
        return self._jobs[0] if self._jobs else None

    @property
    def queued(self) -> int:
        """How many jobs are not done."""
        return len(self._jobs)

    @property
    def wants_reclaim(self) -> bool:
        """A job waits until everything that was deleted is reclaimed."""
        return bool(self._jobs) and self._jobs[0].waits_for_reclaim

    # ---- work

    def poll(self) -> None:
        """Begin the next piece of work if there is one and it may begin now."""
        if self.in_store:
            return
        if not self._instance.engine.store.persistent:
            for done in list(self._jobs):
                self._end(done, reply.OK)
            return
        self._follow_window()
        if not self._jobs:
            self._take_emptied()
        if not self._jobs and self._look_for_dead_space():
            return
        job = self.current
        if job is None or self._instance.writes.failed is not None or not self._may_begin(job):
            return
        job.began_s = job.began_s or self.clock()
        self.in_store = True
        outcome: list[str] = []
        self._instance.saves.run_beside(lambda: self._work(job, outcome), lambda: self._worked(job, outcome))

    def _take_emptied(self) -> None:
        emptied = self._instance.reclaimer.ranges
        if emptied:
            # In place: the engine holds on to the list.
            ranges, emptied[:] = list(emptied), []
            self._queue(Job("emptied", ranges, self._instance.config.compaction_io_limit))

    def _look_for_dead_space(self) -> bool:
        """Now and then, in a thread, look which parts of the store are worth a compaction; whether it is done now."""
        engine = self._instance.engine
        dead = engine.dead_space
        now_s = self.clock()
        noted = dead.known_bytes + dead.headers * _HEADER_BYTES
        if now_s < self._look_again_s or noted < _NOTED_BYTES or self._instance.writes.failed is not None:
            return False
        urgent = self.dead_share < _DEAD_SHARE
        self._look_again_s = now_s + (_URGENT_INTERVAL_S if urgent else _LOOK_INTERVAL_S)
        noted_points = dead.points()
        live = sum(database.keys for database in engine.databases.values())
        found: list[tuple[bytes, bytes, list[Point]]] = []

        def work() -> None:
            with contextlib.suppress(StorageError):
                found.extend(ranges_to_compact(engine.store, noted_points, live, self.dead_share, urgent))

        def finish() -> None:
            self.in_store = False
            if found:
                ranges = [(start, stop) for start, stop, _ in found]
                points = [point for _, _, inside in found for point in inside]
                self._queue(Job("emptied", ranges, self._instance.config.compaction_io_limit, dead_points=points))

        self.in_store = True
        self._instance.saves.run_beside(work, finish)
        return True

    def _may_begin(self, job: Job) -> bool:
        now_s = self.clock()
        instance = self._instance
        if job.waits_for_reclaim:
            if instance.engine.has_garbage or instance.engine.journal:
                return False
            job.waits_for_reclaim = False
        if now_s < job.ready_s:
            return False
        if not instance.pacer.active or instance.pacer.least_step > 0:
            return True
        urgent = self.dead_share < _DEAD_SHARE
        return now_s - job.ready_s > (_URGENT_PRESSURE_S if urgent else _PRESSURE_S[job.reason])

    def _work(self, job: Job, outcome: list[str]) -> None:
        """In a thread: find the pieces, or compact one of them."""
        store = self._instance.engine.store
        try:
            if not job.is_planned:
                self._plan(job)
                return
            start, stop = job.pieces.popleft()
            before_mib = self._disk_mib()
            size_bytes = store.approximate_size_bytes(start, stop)
            began_s = self.clock()
            store.compact(start, stop)
            rewritten_mib = max(0, self._disk_mib() - before_mib)
            self.written_mib += rewritten_mib
            if job.io_limit:
                # LevelDB counts in MiB; a small piece may show as none.
                job.ready_s = began_s + max(size_bytes, rewritten_mib << 20) / job.io_limit
        except StorageError as exc:
            outcome.append(str(exc))

    def _plan(self, job: Job) -> None:
        store = self._instance.engine.store
        ranges = list(job.ranges)
        if job.prefix_range is not None:
            ranges += self._object_ranges(job, *job.prefix_range)
        # With a limit, a piece should not be much more than what it allows in a second.
        limit = max(_LEAST_PIECE_BYTES, min(PIECE_BYTES, job.io_limit)) if job.io_limit else PIECE_BYTES
        for start, stop in ranges:
            cuts = [start, *store.split_keys(start, stop, limit), stop]
            job.pieces.extend(pairwise(cuts))
        job.total_pieces = len(job.pieces)
        job.is_planned = True

    def _object_ranges(self, job: Job, start: bytes, stop: bytes) -> list[Range]:
        """The rows of the big values with these headers; objects that lie close together share a range."""
        store = self._instance.engine.store
        oids: list[int] = []
        while not job.is_stopped:
            rows = store.read_apart(start, stop, _SCANNED_KEYS)
            for row, record in rows:
                value = decode_header(record, row)
                if isinstance(value, Header) and value.oid:
                    oids.append(value.oid)
            if len(rows) < _SCANNED_KEYS:
                break
            start = rows[-1][0] + b"\x00"
            # The thread that serves clients needs its turn.
            time.sleep(_SCAN_PAUSE_S)
        return [(object_range(first)[0], object_range(last)[1]) for first, last in join_objects(sorted(oids))]

    def _disk_mib(self) -> int:
        table = self._instance.engine.store.property("leveldb.stats") or ""
        return sum(level.written_mib for level in parse_levels(table))

    def _worked(self, job: Job, outcome: list[str]) -> None:
        """Between two turns: what follows from a piece that is done."""
        self.in_store = False
        if job.is_stopped:
            return
        if outcome:
            log.warning("compaction failed: %s", outcome[0])
            self.failed += 1
            self._end(job, reply.error(f"ERR compaction failed: {outcome[0]}".replace("\n", " ").encode()))
        elif not job.pieces:
            self.completed += 1
            if job.ranges == [WHOLE]:
                self._instance.engine.dead_space.clear()
            self._instance.engine.dead_space.forget(job.dead_points)
            self.last_duration_ms = int((self.clock() - job.began_s) * 1000)
            self._end(job, reply.OK)
        self.poll()

    def _end(self, job: Job, answer: bytes) -> None:
        if job in self._jobs:
            self._jobs.remove(job)
        if job is self._scheduled:
            self._scheduled = None
        self._answer(job, answer)

    def _answer(self, job: Job, answer: bytes) -> None:
        for client, block in job.waiting:
            # Unless it is gone, or gave up waiting, and maybe waits for something else now.
            if client.blocked is not None and client.blocked.block is block:
                self._instance.blocking.unblock(client, answer)
        job.waiting.clear()

    # ---- the daily window

    def _follow_window(self) -> None:
        """Take up the compaction of everything when the window opens, put it aside when it closes."""
        window = self._instance.config.compaction_window
        now = self.local_time()
        if not window or not in_window(window, now):
            if self._scheduled is not None and self._scheduled in self._jobs:
                self._jobs.remove(self._scheduled)
            self._window_used = False
            return
        if self._scheduled is None and not self._window_used:
            self._scheduled = Job("scheduled", [WHOLE], self._instance.config.compaction_io_limit)
            log.info("compacting everything, as compaction-window asks")
        self._window_used = True
        if self._scheduled is not None and self._scheduled not in self._jobs and len(self._jobs) < _MOST_JOBS:
            self._scheduled.io_limit = self._instance.config.compaction_io_limit
            self._queue(self._scheduled)


def in_window(window: str, now: datetime) -> bool:
    """Whether a local time is in a window such as 22:30-05:00, which may go over midnight; its end is outside."""
    first, _, last = window.partition("-")
    at = now.strftime("%H:%M")
    return first <= at < last if first <= last else at >= first or at < last


def join_objects(oids: list[int], most: int = _MOST_OBJECT_RANGES) -> list[tuple[int, int]]:
    """First and last of at most `most` ranges that hold all of the sorted `oids`, leaving out the largest gaps."""
    if not oids:
        return []
    gaps = sorted(range(1, len(oids)), key=lambda at: oids[at] - oids[at - 1], reverse=True)[: most - 1]
    cuts = [0, *sorted(at for at in gaps if oids[at] - oids[at - 1] > 1), len(oids)]
    return [(oids[low], oids[high - 1]) for low, high in pairwise(cuts)]
