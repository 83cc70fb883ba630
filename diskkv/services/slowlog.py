"""The log of slow commands (https://redis.io/docs/latest/commands/slowlog/), in memory and in a file.

With `slowlog-file` every entry is also a line of that file, a JSON object: `time` (RFC 3339, UTC), `id`, `duration_us`,
`waiting_us`, `command` (the arguments, cut as SLOWLOG GET cuts them, without secrets), `client`, `client_name`, `db`.
`waiting_us` is how long the server's thread did not run meanwhile, which on a machine with processors to spare is the
time that the disk took.
"""

from __future__ import annotations

import datetime
import json
import logging
import os
import time
from collections import deque
from dataclasses import dataclass
from typing import TextIO

from diskkv.config import Config
from diskkv.errors import ConfigError

log = logging.getLogger(__name__)

_MAX_ARGUMENTS = 32
_MAX_ARGUMENT_BYTES = 128


@dataclass(frozen=True, slots=True)
class SlowLogEntry:
    """One slow command; arguments are cut as Redis cuts them."""

    id: int
    time_s: int
    duration_us: int
    argv: list[bytes]
    address: str
    client_name: bytes


def trim_arguments(argv: list[bytes]) -> list[bytes]:
    """At most 32 arguments of at most 128 bytes, saying how much is missing."""
    shown = argv if len(argv) <= _MAX_ARGUMENTS else argv[: _MAX_ARGUMENTS - 1]
    trimmed = [
        argument
        if len(argument) <= _MAX_ARGUMENT_BYTES
        else b"%b... (%d more bytes)" % (argument[:_MAX_ARGUMENT_BYTES], len(argument) - _MAX_ARGUMENT_BYTES)
        for argument in shown
    ]
    if len(argv) > _MAX_ARGUMENTS:
        trimmed.append(b"... (%d more arguments)" % (len(argv) - _MAX_ARGUMENTS + 1))
    return trimmed


class SlowLogFile:
    """Appends entries to a file."""

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(path)
        self._file = self._open()
        self._started_ns = 0
        self._started_cpu_ns = 0

    def _open(self) -> TextIO:
        return open(self._path, "a", buffering=1)

    def reopen(self) -> None:
        """Go on in a new file when this one was moved away; the old one is kept when that fails."""
        try:
            file = self._open()
        except OSError as exc:
            log.warning("cannot open %s again: %s", self._path, exc.strerror)
            return
        self._file.close()
        self._file = file

    def begin_turn(self) -> None:
        """From now on waiting is counted."""
        self._started_ns = time.perf_counter_ns()
        self._started_cpu_ns = time.thread_time_ns()

    def _take_waiting_ns(self) -> int:
        """How long the thread did not run since the turn began or this was last asked."""
        elapsed_ns = time.perf_counter_ns() - self._started_ns
        ran_ns = time.thread_time_ns() - self._started_cpu_ns
        self.begin_turn()
        return max(0, elapsed_ns - ran_ns)

    def write(self, entry: SlowLogEntry, now_ms: int, db: int) -> None:
        """Append an entry; when that fails the log says so, and the entry is lost."""
        moment = datetime.datetime.fromtimestamp(now_ms / 1000, datetime.UTC)
        line = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "id": entry.id,
            "duration_us": entry.duration_us,
            "waiting_us": min(entry.duration_us, self._take_waiting_ns() // 1000),
            "command": [argument.decode("utf-8", "backslashreplace") for argument in entry.argv],
            "client": entry.address,
            "client_name": entry.client_name.decode("utf-8", "backslashreplace"),
            "db": db,
        }
        try:
            self._file.write(json.dumps(line) + "\n")
        except OSError as exc:
            log.warning("cannot write to %s: %s", self._path, exc.strerror)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class SlowLog:
    """The newest slow commands. A command that took more than `threshold_ns` is logged; it is huge when that is off."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.file: SlowLogFile | None = None
        self.entries: deque[SlowLogEntry] = deque()
        self._next_id = 0
        self.added = 0
        """Entries since the start."""
        self.threshold_ns = 0
        self.configure()

    def configure(self) -> None:
        """Take over slowlog-log-slower-than and slowlog-max-len."""
        limit_us = self._config.slowlog_log_slower_than
        self.threshold_ns = limit_us * 1000 if limit_us >= 0 else 1 << 62
        while len(self.entries) > self._config.slowlog_max_len:
            self.entries.pop()

    def open_file(self) -> None:
        """Write to `slowlog-file` from now on, where there is one. Raises ConfigError."""
        if self._config.slowlog_file:
            try:
                self.file = SlowLogFile(self._config.slowlog_file)
            except OSError as exc:
                message = f"cannot open the slow log {self._config.slowlog_file}: {exc.strerror}"
                raise ConfigError(message) from exc

    def reopen(self) -> None:
        """Go on in a new file where the old one was moved away."""
        if self.file is not None:
            self.file.reopen()

    def add(
        self, argv: list[bytes], duration_ns: int, now_ms: int, address: str, client_name: bytes, db: int = 0
    ) -> None:
        """Log a command that took at least the threshold."""
        if self._config.slowlog_max_len <= 0 and self.file is None:
            return
        entry = SlowLogEntry(
            self._next_id, now_ms // 1000, duration_ns // 1000, trim_arguments(argv), address, client_name
        )
        self._next_id += 1
        self.added += 1
        if self.file is not None:
            self.file.write(entry, now_ms, db)
        self.entries.appendleft(entry)
        while len(self.entries) > self._config.slowlog_max_len:
            self.entries.pop()
