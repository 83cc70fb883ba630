"""How far a transfer is, on standard error: a bar at a terminal, elsewhere a line every few seconds."""

from __future__ import annotations

import sys
import time
from typing import Any

from tqdm import tqdm

from tools.ctl.output import size

_INTERVAL_S = 5.0

EVERY_MASK = 0x3F
"""Told of progress once in so many items: telling costs as much as a small item."""

tqdm.monitor_interval = 0


class Meter:
    """Measures in bytes of the input when its length is known, else in keys."""

    def __init__(self, verb: str, total_bytes: int, total_keys: int = 0) -> None:
        self._verb = verb
        self._began_s = self._told_s = time.monotonic()
        self._in_bytes = bool(total_bytes)
        self._total = total_bytes or total_keys
        self._bar: Any = None
        if sys.stderr.isatty():
            unit, divisor = ("B", 1024) if self._in_bytes else (" keys", 1000)
            self._bar = tqdm(
                total=self._total or None, desc=verb, unit=unit, unit_scale=True, unit_divisor=divisor, leave=False
            )

    def update(self, done_bytes: int, keys: int) -> None:
        """How much is done now; `EVERY_MASK` says how often to call it."""
        done = done_bytes if self._in_bytes else keys
        if self._bar is not None:
            self._bar.update(done - self._bar.n)
            return
        now_s = time.monotonic()
        if now_s - self._told_s >= _INTERVAL_S:
            self._told_s = now_s
            share = f" ({100 * done / self._total:.0f} %)" if self._total else ""
            amount = size(done_bytes) if self._in_bytes else f"{keys:,} keys"
            print(f"{self._verb}: {amount}{share} in {now_s - self._began_s:.0f} s", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began_s
