"""Counters behind INFO, reset by CONFIG RESETSTAT."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

_SAMPLES = 16


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
    errors: Counter[bytes] = field(default_factory=Counter)
    """Error replies by their code."""
    _samples: list[tuple[float, int, int, int, int]] = field(default_factory=list)
    """(time in s, commands, input bytes, output bytes, turns), the newest last."""

    def reset(self) -> None:
        """Back to zero."""
        fresh = Stats()
        for name in self.__slots__:
            setattr(self, name, getattr(fresh, name))

    def sample(self, now_s: float, commands: int) -> None:
        """Remember the counters at this time, for the rates of the last seconds."""
        self._samples.append((now_s, commands, self.input_bytes, self.output_bytes, self.turns))
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

    def _rate(self, column: int) -> float:
        if len(self._samples) < 2:
            return 0.0
        first, last = self._samples[0], self._samples[-1]
        seconds = last[0] - first[0]
        # A reset between two samples makes the later count the smaller one.
        return max(0.0, (last[column] - first[column]) / seconds) if seconds > 0 else 0.0
