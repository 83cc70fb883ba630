"""The log of slow commands (https://redis.io/docs/latest/commands/slowlog/)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from diskkv.config import Config

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


class SlowLog:
    """The newest slow commands. A command that took more than `threshold_ns` is logged; it is huge when that is off."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.entries: deque[SlowLogEntry] = deque()
        self._next_id = 0
        self.threshold_ns = 0
        self.configure()

    def configure(self) -> None:
        """Take over slowlog-log-slower-than and slowlog-max-len."""
        limit_us = self._config.slowlog_log_slower_than
        self.threshold_ns = limit_us * 1000 if limit_us >= 0 else 1 << 62
        while len(self.entries) > self._config.slowlog_max_len:
            self.entries.pop()

    def add(self, argv: list[bytes], duration_ns: int, now_ms: int, address: str, client_name: bytes) -> None:
        """Log a command that took at least the threshold."""
        if self._config.slowlog_max_len <= 0:
            return
        entry = SlowLogEntry(
            self._next_id, now_ms // 1000, duration_ns // 1000, trim_arguments(argv), address, client_name
        )
        self._next_id += 1
        self.entries.appendleft(entry)
        while len(self.entries) > self._config.slowlog_max_len:
            self.entries.pop()
