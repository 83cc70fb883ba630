"""Keyspace notifications: publishing what happens to keys (https://redis.io/docs/latest/develop/use/keyspace-notifications/).

Off by default, and then `enabled` is 0: commands look at that number before they build an event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diskkv.engine.database import Database

if TYPE_CHECKING:
    from diskkv.services.instance import Instance

KEYSPACE = 1
KEYEVENT = 2
GENERIC = 4
STRING = 8
LIST = 16
SET = 32
HASH = 64
ZSET = 128
EXPIRED = 256
EVICTED = 512
STREAM = 1024
MISS = 2048
MODULE = 8192
NEW = 16384
OVERWRITTEN = 32768
TYPE_CHANGED = 65536

_ALL = GENERIC | STRING | LIST | SET | HASH | ZSET | EXPIRED | EVICTED | STREAM | MODULE
_LETTERS = {
    "K": KEYSPACE,
    "E": KEYEVENT,
    "g": GENERIC,
    "$": STRING,
    "l": LIST,
    "s": SET,
    "h": HASH,
    "z": ZSET,
    "x": EXPIRED,
    "e": EVICTED,
    "t": STREAM,
    "m": MISS,
    "d": MODULE,
    "n": NEW,
    # Known to Redis 8.2; nothing publishes events of these classes here.
    "o": OVERWRITTEN,
    "c": TYPE_CHANGED,
    "A": _ALL,
}


def parse_classes(text: str) -> int | None:
    """The classes that a notify-keyspace-events string names, None when it has an unknown letter."""
    classes = 0
    for letter in text:
        if letter not in _LETTERS:
            return None
        classes |= _LETTERS[letter]
    return classes


class Notifications:
    """Publishes events of the classes that are switched on."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self.enabled = 0

    def configure(self, text: str) -> None:
        """Take over a valid notify-keyspace-events string."""
        classes = parse_classes(text) or 0
        # Redis publishes nothing unless at least one of K and E is there.
        self.enabled = enabled = classes if classes & (KEYSPACE | KEYEVENT) else 0
        engine = self._instance.engine
        engine.on_new = self.created if enabled & NEW else None
        engine.on_miss = self.missed if enabled & MISS else None
        engine.on_expired = self.expired if enabled & EXPIRED else None
        engine.on_fields_expired = self.fields_expired if enabled & (HASH | GENERIC) else None
        for client in self._instance.clients.values():
            if client.subscriptions:
                client.refresh()

    def created(self, database: Database, key: bytes) -> None:
        """A key was added that was not there; this event comes before the one that tells what the key became."""
        self.event(NEW, b"new", key, database)

    def missed(self, database: Database, key: bytes) -> None:
        """A reading command did not find a key."""
        self.event(MISS, b"keymiss", key, database)

    def expired(self, database: Database, key: bytes) -> None:
        """A key was deleted because it was past its time."""
        self.event(EXPIRED, b"expired", key, database)

    def fields_expired(self, database: Database, key: bytes, is_last: bool) -> None:
        """Fields of a hash were deleted because they were past their time, and with the last one the key."""
        self.event(HASH, b"hexpired", key, database)
        if is_last:
            self.event(GENERIC, b"del", key, database)

    def event(self, kind: int, name: bytes, key: bytes, database: Database) -> None:
        """Something happened to `key`; `kind` is its class. Callers test `enabled` first."""
        if not self.enabled & kind:
            return
        # The command must not run again: this cannot be taken back.
        self._instance.engine.reader.forbid()
        index = b"%d" % database.index
        publish = self._instance.publish
        if self.enabled & KEYSPACE:
            publish(b"__keyspace@" + index + b"__:" + key, name)
        if self.enabled & KEYEVENT:
            publish(b"__keyevent@" + index + b"__:" + name, key)
