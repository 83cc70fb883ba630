"""The latency monitor: when something made clients wait for longer than latency-monitor-threshold.

Events: `command` and `fast-command` (by the command's flags), `commit` (writing a turn to LevelDB), `expire-cycle` and
`reclaim` (the background work inside a turn).

Source: https://redis.io/docs/latest/operate/oss_and_stack/management/optimization/latency-monitor/
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from diskkv.config import Config

HISTORY = 160
"""Samples kept for each event."""

_NEVER_NS = 1 << 62


@dataclass(slots=True)
class Event:
    """The samples (Unix time in s, latency in ms) of one event, the newest last; `max_ms` since the last reset."""

    max_ms: int = 0
    samples: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=HISTORY))

    def add(self, time_s: int, latency_ms: int) -> None:
        """Note a latency; of those of one second the highest is kept."""
        self.max_ms = max(self.max_ms, latency_ms)
        if self.samples and self.samples[-1][0] == time_s:
            latency_ms = max(latency_ms, self.samples.pop()[1])
        self.samples.append((time_s, latency_ms))

    @property
    def average_ms(self) -> int:
        """The mean of the samples."""
        return sum(latency for _, latency in self.samples) // len(self.samples)

    @property
    def deviation_ms(self) -> int:
        """The mean absolute deviation from the mean."""
        mean = self.average_ms
        return sum(abs(latency - mean) for _, latency in self.samples) // len(self.samples)

    def period_s(self, now_s: int) -> float:
        """How many seconds lie between samples, on average."""
        return max(1, now_s - self.samples[0][0]) / len(self.samples)


class LatencyMonitor:
    """All events that took at least the threshold. `threshold_ns` is very large while the monitor is off."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.events: dict[str, Event] = {}
        self.threshold_ns = _NEVER_NS
        self.configure()

    def configure(self) -> None:
        """Take over latency-monitor-threshold."""
        limit_ms = self._config.latency_monitor_threshold
        self.threshold_ns = limit_ms * 1_000_000 if limit_ms else _NEVER_NS

    def note(self, name: str, spent_ns: int, now_ms: int) -> None:
        """Something took this long; kept when that reaches the threshold."""
        if spent_ns >= self.threshold_ns:
            event = self.events.get(name)
            if event is None:
                event = self.events[name] = Event()
            event.add(now_ms // 1000, spent_ns // 1_000_000)

    def reset(self, names: list[str]) -> int:
        """Forget events, all of them without names; answers how many there were."""
        chosen = names or list(self.events)
        return sum(self.events.pop(name, None) is not None for name in chosen)
