"""Counters behind INFO, reset by CONFIG RESETSTAT."""

from __future__ import annotations

import resource
import time
from collections import Counter
from dataclasses import dataclass, field

_SAMPLES = 16
MAX_ERROR_CODES = 128
_TOO_MANY_CODES = b"ERRORSTATS_DISABLED"


def busy_us() -> int:
    """Processor time of this thread, which serves all clients, in us."""
    used = resource.getrusage(resource.RUSAGE_THREAD)
    return round((used.ru_utime + used.ru_stime) * 1e6)


@dataclass(slots=True)
class Peak:
    """The most memory that the process ever had, and when (Unix time); not reset."""

    size_bytes: int = 0
    time_s: int = field(default_factory=lambda: int(time.time()))

    def look(self) -> None:
        """Notice a new peak; called often."""
        size_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if size_bytes > self.size_bytes:
            self.size_bytes = size_bytes
            self.time_s = int(time.time())


@dataclass(slots=True)
class Stats:
    """Counts since the start or the last CONFIG RESETSTAT."""

    connections_received: int = 0
    connections_rejected: int = 0
    input_bytes: int = 0
    output_bytes: int = 0
    input_buffer_limit_disconnections: int = 0
    output_buffer_limit_disconnections: int = 0
    unexpected_errors: int = 0
    turns: int = 0
    sweep_ns: int = 0
    """How long the sweeper of expired keys ran."""
    busy_before_us: int = field(default_factory=busy_us)
    """Processor time that does not count: from before the reset."""
    peak: Peak = field(default_factory=Peak)
    error_replies: int = 0
    errors: Counter[bytes] = field(default_factory=Counter)
    """Error replies by their code. Scripts can make codes up: past MAX_ERROR_CODES nothing more is told apart."""
    _samples: list[tuple[float, int, int, int, int, int]] = field(default_factory=list)
    """(time in s, commands, input bytes, output bytes, turns, processor time in us), the newest last."""

    def reset(self) -> None:
        """Back to zero."""
        fresh = Stats(peak=self.peak)
        for name in self.__slots__:
            setattr(self, name, getattr(fresh, name))

    def count_error(self, code: bytes) -> None:
        """Count an error reply."""
        self.error_replies += 1
        errors = self.errors
        if code in errors:
            errors[code] += 1
        elif _TOO_MANY_CODES not in errors:
            if len(errors) >= MAX_ERROR_CODES:
                errors.clear()
                code = _TOO_MANY_CODES
            errors[code] = 1

    def sample(self, now_s: float, commands: int) -> None:
        """Remember the counters at this time, for the rates of the last seconds."""
        self.peak.look()
        self._samples.append((now_s, commands, self.input_bytes, self.output_bytes, self.turns, self.busy_us))
        del self._samples[:-_SAMPLES]

    @property
    def commands_per_second(self) -> int:
        """The rate over the samples taken last."""
        return round(self._rate(1))

    @property
    def input_kib_per_second(self) -> float:
        """Received KiB a second."""
        return self._rate(2) / 1024

    @property
    def output_kib_per_second(self) -> float:
        """Sent KiB a second."""
        return self._rate(3) / 1024

    @property
    def turns_per_second(self) -> int:
        """How many turns of the server's loop a second."""
        return round(self._rate(4))

    @property
    def busy_us(self) -> int:
        """Processor time of the server's loop in us."""
        return busy_us() - self.busy_before_us

    @property
    def us_per_turn(self) -> int:
        """Processor time of a turn, over the samples taken last."""
        turns = self._rate(4)
        return round(self._rate(5) / turns) if turns else 0

    def _rate(self, column: int) -> float:
        if len(self._samples) < 2:
            return 0.0
        first, last = self._samples[0], self._samples[-1]
        seconds = last[0] - first[0]
        # A reset between two samples makes the later count the smaller one.
        return max(0.0, (last[column] - first[column]) / seconds) if seconds > 0 else 0.0
