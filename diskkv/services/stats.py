"""Counters behind INFO, reset by CONFIG RESETSTAT."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


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
    _samples: list[tuple[float, int]] = field(default_factory=list)

    def reset(self) -> None:
        """Back to zero."""
        fresh = Stats()
        for name in self.__slots__:
            setattr(self, name, getattr(fresh, name))

    def sample(self, now_s: float, commands: int) -> None:
        """Remember the number of commands processed at this time, for the rate of the last seconds."""
        self._samples.append((now_s, commands))
        del self._samples[:-16]

    @property
    def commands_per_second(self) -> int:
        """The rate over the samples taken last."""
        if len(self._samples) < 2:
            return 0
        (start_s, before), (end_s, after) = self._samples[0], self._samples[-1]
        return round((after - before) / (end_s - start_s)) if end_s > start_s else 0
