"""Slows writers down before the store has to make them wait, which would stop everybody.

What is written collects in memtables, which a thread moves into LevelDB (engine/leveldb.py). LevelDB merges with one
thread of its own; when that falls behind, it delays and then stops whoever writes to it, often for seconds. Then
memtables pile up, and when there are too many the thread that serves all clients would have to wait, for reads too.

So the store's pressure is watched, in steps from 0 to 12, and from step 8 on (while one memtable is moved the next one
became full) writes get a rate: what the store lately digested, more of it while the pressure is low and less while it
is high. What a turn writes is a debt that is paid at this rate; until it is paid, requests that write wait (as with
CLIENT PAUSE WRITE) and everything else is served. Those who wait go on in the order in which they came, so many at a
time as fit in a slice, so that the delay is a small one for each instead of a long one for some. At step 12 nothing is
written until the pressure is lower.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from diskkv.engine.store import Store
from diskkv.errors import StorageError

if TYPE_CHECKING:
    from diskkv.services.client import Client

_START_STEP = 8
_CALM_STEP = 6
_STOP_STEP = 12
_RATE_FACTORS = (2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 1.5, 1.2, 1.0, 0.8, 0.6, 0.4)
"""By the step of the pressure: the part of the digested rate that writers get."""

_DIGEST_S = 10.0
"""The rate that LevelDB digests is a mean over about this long."""
_FIRST_RATE = 16 << 20
_LEAST_RATE = 1 << 20
"""Bytes per second: what is assumed of a disk that nothing is known about, and of the slowest."""
_SAMPLE_BYTES = 64 << 10
"""The pressure is looked at after so many written bytes while all is well; a memtable has several MiB."""
_WINDOW_NS = 50_000_000
_SLICE_S = 0.01
_LONGEST_WAIT_MS = 20
"""How long writers wait before the rate is looked at again."""
_STOPPED_MS = 10
_STOP_LIMIT_MS = 30_000
"""A store that does not get on for so long is broken, and it is for the next write to find out."""
_STALL_NS = 100_000_000
"""A commit that took longer counts as a stall."""


def _now_ns() -> int:
    return time.time_ns()


class WritePacer:
    """`active`: requests that write are looked at by `must_wait`. `holding`: some of them wait, or would."""

    def __init__(
        self, store: Store, paused: list[Client], on_change: Callable[[], None], clock: Callable[[], int] = _now_ns
    ) -> None:
        self._store = store
        self._paused = paused
        self._on_change = on_change
        self._clock = clock
        self.enabled = True
        self.least_step = 0
        """Writers are paced as if the pressure was at this step at least: `maxdisk` is exceeded."""
        self.active = False
        self.holding = False
        self.due_ms = 0
        """While `holding`: when `release` is to be called."""
        self._passing: set[int] = set()
        self._seen_bytes = store.written_bytes
        self._unsampled_bytes = 0
        self._window_bytes = 0
        self._window_began_ns = clock()
        self._paid_ns = self._window_began_ns
        self._digested = 0.0
        self._debt_bytes = 0.0
        self._bytes_per_client = 0.0
        self._released = 0
        self._stopped_since_ms = 0
        self.rate = 0.0
        """Bytes per second that writers get; 0 for as many as they like."""
        self.stalls = 0
        self.stalled_ns = 0
        self.longest_stall_ns = 0
        self.held_requests = 0
        self._active_ns = 0
        self._active_since_ns = 0

    def enable(self, enabled: bool) -> None:
        """Switch pacing on or off."""
        self.enabled = enabled
        if self.active and not enabled:
            self._stop(self._clock())

    # ---- the turn

    def must_wait(self, client: Client) -> bool:
        """Whether a request that writes has to wait now; the caller then adds the client to those that are paused."""
        if client.id in self._passing or client.is_script:
            return False
        self.held_requests += 1
        return True

    def committed(self, spent_ns: int) -> None:
        """A turn's commit took `spent_ns`."""
        written = self._store.written_bytes - self._seen_bytes
        self._seen_bytes += written
        self._window_bytes += written
        self._unsampled_bytes += written
        if spent_ns > _STALL_NS:
            self.stalls += 1
            self.stalled_ns += spent_ns
            self.longest_stall_ns = max(self.longest_stall_ns, spent_ns)
        if self.active or self._unsampled_bytes >= _SAMPLE_BYTES:
            self._look(written)

    def _look(self, written: int) -> None:
        self._unsampled_bytes = 0
        now_ns = self._clock()
        self._sample(now_ns)
        if not self.active:
            return
        if self._released:
            self._bytes_per_client += (written / self._released - self._bytes_per_client) / 8
            self._released = 0
        self._passing.clear()
        self._pay(now_ns)
        self._debt_bytes += written
        if not self.holding and self._debt_bytes > self.rate * 0.001:
            self.holding = True
            self._wait(now_ns // 1_000_000)

    def _sample(self, now_ns: int) -> None:
        """Follow the pressure and the mean rate, and set the rate for writers."""
        step = self._step()
        window_ns = now_ns - self._window_began_ns
        if window_ns >= _WINDOW_NS:
            share = min(1.0, window_ns / (_DIGEST_S * 1e9))
            self._digested += (self._window_bytes * 1e9 / window_ns - self._digested) * share
            self._window_bytes = 0
            self._window_began_ns = now_ns
        if not self.active:
            if step < _START_STEP or not self.enabled:
                return
            self._digested = max(self._digested, _FIRST_RATE)
            self._debt_bytes = 0.0
            self._paid_ns = self._active_since_ns = now_ns
            self.active = True
            self._on_change()
        elif (step < _CALM_STEP and self._debt_bytes <= 0) or not self.enabled:
            self._stop(now_ns)
            return
        self.rate = max(self._digested, _LEAST_RATE) * _RATE_FACTORS[min(step, _STOP_STEP - 1)]

    def _step(self) -> int:
        try:
            return max(min(int(self._store.pressure() * _STOP_STEP + 1e-6), _STOP_STEP), self.least_step)
        except StorageError:
            # It is for the next write to find out, and to be told about.
            return 0

    def _stop(self, now_ns: int) -> None:
        self.active = self.holding = False
        self.rate = 0.0
        self._active_ns += now_ns - self._active_since_ns
        self._passing.clear()
        self._wake(len(self._paused))
        self._on_change()

    def _pay(self, now_ns: int) -> None:
        # A clock that was set back, or far ahead, must not make anybody wait or let everybody go.
        passed_s = min(max(now_ns - self._paid_ns, 0) / 1e9, 1.0)
        self._paid_ns = now_ns
        self._debt_bytes = max(0.0, self._debt_bytes - self.rate * passed_s)

    def _wait(self, now_ms: int) -> None:
        self.due_ms = now_ms + min(max(int(self._debt_bytes * 1000 / self.rate), 1), _LONGEST_WAIT_MS)

    # ---- those who wait

    def release(self) -> None:
        """Let some of those who wait go on, if the debt is paid; to be called when `due_ms` has come."""
        now_ns = self._clock()
        now_ms = now_ns // 1_000_000
        self._sample(now_ns)
        if not self.active:
            return
        self._pay(now_ns)
        if self._step() >= _STOP_STEP:
            self._stopped_since_ms = self._stopped_since_ms or now_ms
            if now_ms - self._stopped_since_ms < _STOP_LIMIT_MS:
                self.due_ms = now_ms + _STOPPED_MS
                return
        self._stopped_since_ms = 0
        if self._debt_bytes > 0:
            self._wait(now_ms)
            return
        fitting = int(self.rate * _SLICE_S / max(self._bytes_per_client, 1.0))
        self._wake(max(1, fitting))
        self.holding = bool(self._paused)
        self.due_ms = now_ms + 1

    def _wake(self, count: int) -> None:
        clients = self._paused[:count]
        del self._paused[:count]
        self._released = len(clients)
        self._passing = {client.id for client in clients}
        # Those who are woken are looked at from the last to the first.
        for client in reversed(clients):
            client.paused = False
            client.instance.wake(client)

    @property
    def active_ms(self) -> int:
        """For how long writers were paced, in all."""
        running_ns = self._clock() - self._active_since_ns if self.active else 0
        return (self._active_ns + running_ns) // 1_000_000
