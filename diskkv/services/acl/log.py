"""The denials that ACL LOG shows: failed authentications, and commands, keys and channels a user had no right to."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from itertools import islice
from typing import Final

GROUPING_MS: Final = 60_000
"""A denial no later than this after a like one counts as its repetition."""
GROUPING_ENTRIES: Final = 10
"""Repetitions are looked for among this many newest entries, so that a denial has a bounded cost."""
MAX_TEXT_BYTES: Final = 4096
"""Keys, channels and user names are kept up to this length: clients that may do nothing can fill the log."""

REASONS: Final = ("auth", "command", "key", "channel")


@dataclass(slots=True, eq=False)
class AclLogEntry:
    """One denial with its repetitions. Times are Unix time in ms; `client_info` is the newest offender's."""

    id: int
    reason: str
    context: str
    object: bytes
    username: bytes
    client_info: bytes
    created_ms: int
    updated_ms: int
    count: int = 1

    def age_s(self, now_ms: int) -> float:
        """Seconds since the newest repetition."""
        return (now_ms - self.updated_ms) / 1000


class AclLog:
    """The newest denials, newest first, at most `max_len` (0 keeps none). `denials` counts all, by reason."""

    def __init__(self, max_len: int = 128) -> None:
        self.max_len = max_len
        self.denials: Counter[str] = Counter(dict.fromkeys(REASONS, 0))
        self._entries: deque[AclLogEntry] = deque()
        self._next_id = 0

    def add(
        self, reason: str, context: str, denied: bytes, username: bytes, client_info: bytes, now_ms: int
    ) -> AclLogEntry | None:
        """Note a denial.

        `reason` is auth, command, key or channel; `context` toplevel, multi or lua; `denied` the command's full name,
        the key, the channel, or for auth the command as it was sent. Answers the entry, None when none are kept.
        """
        self.denials[reason] += 1
        if self.max_len <= 0:
            self._entries.clear()
            return None
        denied, username = denied[:MAX_TEXT_BYTES], username[:MAX_TEXT_BYTES]
        entry = self._find(reason, context, denied, username, now_ms)
        if entry is None:
            entry = AclLogEntry(self._next_id, reason, context, denied, username, client_info, now_ms, now_ms)
            self._next_id += 1
        else:
            self._entries.remove(entry)
            entry.client_info = client_info
            entry.updated_ms = now_ms
            entry.count += 1
        self._entries.appendleft(entry)
        while len(self._entries) > self.max_len:
            self._entries.pop()
        return entry

    def _find(self, reason: str, context: str, denied: bytes, username: bytes, now_ms: int) -> AclLogEntry | None:
        for entry in islice(self._entries, GROUPING_ENTRIES):
            if (
                entry.object == denied
                and entry.username == username
                and entry.reason == reason
                and entry.context == context
                and abs(now_ms - entry.updated_ms) <= GROUPING_MS
            ):
                return entry
        return None

    def newest(self, count: int = 10) -> list[AclLogEntry]:
        """Up to `count` entries, newest first; none for a negative count."""
        return list(islice(self._entries, max(count, 0)))

    def reset(self) -> None:
        """Forget all entries; the counts by reason stay."""
        self._entries.clear()
