"""Whether writes are taken: not while the disk is nearly full, and not after the store failed until it works again.

LevelDB that runs out of space cannot even delete, so writes are refused while there is still room (`min-free-disk`):
deleting goes on, and its compactions have space to work in. If a write fails all the same, LevelDB refuses all others
until it is opened again, which itself needs some space; until there is, the failed store stays open and serves reads.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from diskkv.config import Config
from diskkv.engine.engine import Engine
from diskkv.errors import ConfigError, StorageError

_RESUME_SHARE = 8
"""Writes are taken again when an eighth more than min-free-disk is free, so that the gate does not flutter."""


class WriteGate:
    """`failed` tells why the store takes no writes, `low_space` why only those that free space are let through."""

    def __init__(self, config: Config, engine: Engine, on_change: Callable[[], None]) -> None:
        self._config = config
        self._engine = engine
        self._on_change = on_change
        self.failed: str | None = None
        self.lacking: str | None = None
        """What is missing for opening the failed store again."""
        self.low_space: str | None = None
        self.full: str | None = None
        """The error for commands that need space while there is more data than `maxdisk` allows."""

    @property
    def reason(self) -> str | None:
        """Why (some) writes are refused, None when they are not."""
        if self.failed is not None and self.lacking is not None:
            return f"{self.failed}; {self.lacking}"
        return self.failed or self.low_space

    def refusal(self) -> bytes:
        """The error that refused writes get."""
        return (
            "MISCONF diskkv cannot write to its data directory. Commands that may modify the data set are disabled "
            f"until it can again. Reason: {self.reason}"
        ).encode()

    def set_full(self, error: str | None) -> None:
        """Refuse commands that need space with this error, or (None) no longer."""
        if error != self.full:
            self.full = error
            self._on_change()

    def store_failed(self, reason: str) -> None:
        """A commit or a sync failed."""
        self.failed = reason
        self.lacking = None
        self._on_change()

    def check_space(self) -> None:
        """Look how much of the disk is free; called several times a second."""
        if not self._engine.store.persistent:
            return
        try:
            # What is on its way to LevelDB will take about as much there as in memory.
            free_bytes = self._free_bytes() - int(self._engine.store.property("memtables.bytes") or 0)
        except (OSError, StorageError):
            # The directory is gone or cannot be reached; the store itself tells when it does not work without.
            return
        limit_bytes = self._config.min_free_disk
        if self.low_space is not None:
            limit_bytes += limit_bytes // _RESUME_SHARE
        was = self.low_space
        if free_bytes < limit_bytes:
            self.low_space = f"only {free_bytes >> 20} MB are free on the disk (min-free-disk)"
        else:
            self.low_space = None
        if (was is None) != (self.low_space is None):
            self._on_change()

    def try_again(self) -> None:
        """After a failure: open the store again if there is space for that, and see whether it takes writes."""
        if self.failed is None:
            return
        needed_bytes = 2 * self._config.leveldb_write_buffer_size + self._config.leveldb_max_file_size
        try:
            # The logs are to be applied, perhaps once more.
            needed_bytes += int(self._engine.store.property("memtables.bytes") or 0)
            free_bytes = self._free_bytes() if self._engine.store.persistent else needed_bytes
            if free_bytes < needed_bytes:
                self.lacking = f"{free_bytes >> 20} MB are free on the disk, going on takes {needed_bytes >> 20} MB"
                return
            self.lacking = None
            self._engine.reopen()
        except (OSError, StorageError, ConfigError) as exc:
            self.failed = str(exc)
            return
        self.failed = None
        self._on_change()

    def _free_bytes(self) -> int:
        system = os.statvfs(self._config.dir)
        return system.f_bavail * system.f_frsize
