"""MIGRATE: moving keys to another server, beside the turns.

What is to be moved is read in the turn of the command; a thread then talks to the other server while turns go on. Until
it is done, requests that write one of the keys wait (see `holds`), so that what is deleted at last is what was moved:
for every client the command is as atomic as in Redis, where it stops the whole server. Inside of MULTI and scripts,
which cannot wait, it stops the server here too.

Source: https://redis.io/docs/latest/commands/migrate/
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from diskkv.codec.header import Value, expire_ms_of
from diskkv.codec.rdb_values import RdbValue
from diskkv.datatypes import operations
from diskkv.engine.database import Database
from diskkv.errors import StorageError
from diskkv.resp import reply
from diskkv.services import notifications

if TYPE_CHECKING:
    from diskkv.services.client import Client
    from diskkv.services.instance import Instance

log = logging.getLogger(__name__)

CANNOT_CONNECT = "connect"
CANNOT_WRITE = "writing"
CANNOT_READ = "reading"

_ERRORS = {
    CANNOT_CONNECT: b"IOERR error or timeout connecting to the client",
    CANNOT_WRITE: b"IOERR error or timeout writing to target instance",
    CANNOT_READ: b"IOERR error or timeout reading to target instance",
}
_CHANGED = b"ERR a key was changed by a script while it was moved; it stays here too"
_NO_NETWORK = b"ERR MIGRATE needs a server"


@dataclass(frozen=True, slots=True)
class Item:
    """A key to be moved; `expire_ms` is absolute, 0 for none."""

    key: bytes
    value: RdbValue
    expire_ms: int


@dataclass(slots=True)
class Migration:
    """What is to be done, and how far it came. `user` and `password` are None when the other server needs none."""

    host: str
    port: int
    database: int
    timeout_ms: int
    replace: bool
    user: bytes | None
    password: bytes | None
    items: list[Item]
    moved: list[bytes] = field(default_factory=list)
    """The keys that the other server has acknowledged."""
    target_error: bytes | None = None
    """The first error that it answered, without the leading -."""
    network_error: str | None = None
    """CANNOT_CONNECT, CANNOT_WRITE or CANNOT_READ."""


class Migrations:
    """Those that are under way."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self.perform: Callable[[Migration], None] | None = None
        """Does the work, blocking; set by the server, the only one who has sockets."""
        self.run_beside: Callable[[Callable[[], None], Callable[[], None]], None] | None = None
        """Runs the first function in a thread, then the second between two turns; set by the server."""
        self._held: dict[bytes, int] = {}
        """How many migrations are about to delete a key of this name, in whichever database."""
        self._changed: set[tuple[int, bytes]] = set()

    @property
    def is_holding(self) -> bool:
        """Whether requests may have to wait."""
        return bool(self._held)

    def holds(self, keys: Iterable[bytes]) -> bool:
        """Whether a request that writes these keys has to wait."""
        return any(key in self._held for key in keys)

    def read(self, client: Client, keys: list[bytes]) -> list[Item]:
        """Those of the keys that exist, with their values."""
        items = []
        for key in keys:
            value = client.db.read(key)
            if value is not None:
                content = operations.of(value).export(client.engine, value)
                items.append(Item(key, content, expire_ms_of(value)))
        return items

    def run(self, client: Client, migration: Migration, copy: bool) -> bytes:
        """Do it at once, and hold everybody up."""
        if self.perform is None:
            return reply.error(_NO_NETWORK)
        self.perform(migration)
        return self._finish(client.db, migration, copy)

    def start(self, client: Client, migration: Migration, copy: bool) -> None:
        """Do it after this turn, and have the client, which is blocked then, answered."""
        lost_turns = client.engine.failed_commits
        self._instance.after_turn.append(lambda: self._begin(client, client.db, migration, copy, lost_turns))
        if not copy:
            self._hold(client.db, migration)

    def _begin(self, client: Client, database: Database, migration: Migration, copy: bool, lost_turns: int) -> None:
        perform, run_beside = self.perform, self.run_beside
        assert perform is not None
        assert run_beside is not None
        waiter = client.blocked

        def finish() -> None:
            if not copy:
                self._release(database, migration)
            try:
                answer = self._finish(database, migration, copy)
            except StorageError as exc:
                log.error("keys that were moved stay here too: %s", exc)
                answer = reply.error(f"ERR moved, but not deleted here: {exc}".replace("\n", " ").encode())
            # Unless it is gone, or gave up waiting.
            if waiter is not None and client.blocked is waiter:
                self._instance.blocking.unblock(client, answer)

        if self._instance.engine.failed_commits != lost_turns:
            # What was read may have been staged by the turn that was lost.
            if not copy:
                self._release(database, migration)
            if waiter is not None and client.blocked is waiter:
                self._instance.blocking.unblock(client, reply.error(self._instance.writes.refusal()))
            return
        run_beside(lambda: perform(migration), finish)

    def _finish(self, database: Database, migration: Migration, copy: bool) -> bytes:
        events = self._instance.notifications
        stayed = False
        for key in () if copy else migration.moved:
            if (database.index, key) in self._changed:
                self._changed.discard((database.index, key))
                stayed = stayed or database.get(key) is not None
                continue
            value: Value | None = database.get(key)
            if value is not None:
                database.delete(key, value)
                if events.enabled:
                    events.event(notifications.GENERIC, b"del", key, database)
        if migration.target_error is not None:
            return reply.error(b"ERR Target instance replied with error: " + migration.target_error)
        if migration.network_error is not None:
            return reply.error(_ERRORS[migration.network_error])
        return reply.error(_CHANGED) if stayed else reply.OK

    # ---- who has to wait

    def _hold(self, database: Database, migration: Migration) -> None:
        for item in migration.items:
            self._held[item.key] = self._held.get(item.key, 0) + 1
            self._changed.discard((database.index, item.key))
        self._instance.refresh_fast()
        self._instance.refresh_observer(database)

    def _release(self, database: Database, migration: Migration) -> None:
        for item in migration.items:
            self._held[item.key] -= 1
            if not self._held[item.key]:
                del self._held[item.key]
        instance = self._instance
        instance.refresh_fast()
        instance.refresh_observer(database)
        # Also while others go on: with one after the other, none might ever be the last.
        instance.release_paused()

    def observer(self, database: Database) -> Callable[[Database, bytes], None] | None:
        """Who wants to hear of changes in this database."""
        return self._note_change if self._held else None

    def _note_change(self, database: Database, key: bytes) -> None:
        """A script that did not declare its keys, or the end of a time to live, gets past `holds`."""
        if key in self._held:
            self._changed.add((database.index, key))
