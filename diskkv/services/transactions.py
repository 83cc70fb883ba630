"""MULTI's queue, and WATCH: which clients have to give up their transaction because a key changed.

Source: https://redis.io/docs/latest/develop/using-commands/transactions/
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from diskkv.codec.header import Header, is_gone
from diskkv.engine.database import Database
from diskkv.errors import CommandError
from diskkv.resp.reply import QUEUED

if TYPE_CHECKING:
    from diskkv.services.client import Client
    from diskkv.services.instance import Instance

_ARGUMENT_BYTES = 64
"""What an argument takes in memory beside its content."""


class Transaction:
    """The commands that a client queued since MULTI.

    `failed`: a command was refused, so that EXEC will discard everything. `size_bytes`: about the memory of the queue.
    `switched_replies`: CLIENT REPLY was among the commands that ran.
    """

    __slots__ = ("_client", "commands", "failed", "size_bytes", "switched_replies")

    def __init__(self, client: Client) -> None:
        self._client = client
        self.failed = False
        self.switched_replies = False
        self.commands: list[tuple[Any, list[bytes]]] = []
        self.size_bytes = 0

    def queue(self, command: Any, argv: list[bytes]) -> bytes:
        """Keep a command for EXEC. A queue larger than client-query-buffer-limit ends the connection."""
        if self.failed:
            return QUEUED
        self.commands.append((command, argv))
        self.size_bytes += sum(map(len, argv)) + _ARGUMENT_BYTES * len(argv)
        client = self._client
        if self.size_bytes > client.instance.config.client_query_buffer_limit:
            client.instance.stats.input_buffer_limit_disconnections += 1
            discard(client)
            client.kill()
        return QUEUED

    def __len__(self) -> int:
        return len(self.commands)


class Queueing:
    """Takes a command's place on the fast path of a client in a transaction: the same arity, but it only queues.

    It looks like a command to dispatch, whose statistics of it mean nothing and come to nothing.
    """

    __slots__ = ("durations", "fine_durations", "flag_names", "flags", "fn", "max_argc", "min_argc", "name", "usec_ns")
    run_argc = 0

    def __init__(self, command: Any, skip_slowlog: int) -> None:
        self.name: str = command.name
        self.min_argc: int = command.min_argc
        self.max_argc: int = command.max_argc
        self.flags = skip_slowlog
        self.flag_names = ("fast",)
        self.usec_ns = 0
        self.fine_durations = _NO_DURATIONS
        self.durations = self

        def queue(client: Client, argv: list[bytes]) -> bytes:
            queued: bytes = client.transaction.queue(command, argv)
            return queued

        self.fn = queue

    def add(self, duration_ns: int) -> None:
        """Forget how long it took."""


_NO_DURATIONS = [0] * 4096
"""Long enough that counting a duration of up to a millisecond takes the short way."""


def discard(client: Client) -> None:
    """End the client's transaction, if there is one, and forget what it watches."""
    client.transaction = None
    client.instance.watches.forget(client)
    client.refresh()


def abort(client: Client, reason: CommandError) -> CommandError:
    """EXEC itself was refused: the transaction is discarded; answers the error that says so."""
    discard(client)
    return CommandError(b"EXECABORT Transaction discarded because of: " + reason.message.removeprefix(b"ERR "))


_KEY_BYTES = 400
"""What a watched key takes in memory beside its name."""


class Watching:
    """What one client watches. `dirty` is set through the journal, so that a change that is undone does not count."""

    # No __slots__: journal entries restore `dirty` through __dict__.

    def __init__(self) -> None:
        self.dirty = False
        self.size_bytes = 0
        """About the memory that the keys take."""
        self.keys: dict[tuple[int, bytes], int] = {}
        """By database number and key: when the value goes past its time, 0 for never."""
        self.expired: dict[tuple[int, bytes], bool] = {}
        """Those keys that were past their time already when WATCH came: their deletion is no change."""

    def __len__(self) -> int:
        return len(self.keys)


class Watches:
    """All watched keys, by database and key. Database.observer calls `changed` only while somebody watches."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._engine = instance.engine
        self._watchers: dict[int, dict[bytes, dict[Watching, None]]] = {}

    # ---- the clients' side

    def watch(self, client: Client, keys: Sequence[bytes]) -> None:
        """Have the client's next EXEC fail if one of these keys of its database changes before."""
        watching: Watching | None = client.watching
        if watching is None:
            watching = client.watching = Watching()
        database = client.db
        now_ms = self._engine.now_ms
        by_key = self._watchers.setdefault(database.index, {})
        for key in keys:
            place = (database.index, key)
            if place in watching.keys:
                continue
            value = database.peek(key)
            if value is not None and is_gone(value, now_ms):
                watching.expired[place] = True
            watching.keys[place] = value.gone_ms if isinstance(value, Header) else 0
            watching.size_bytes += len(key) + _KEY_BYTES
            by_key.setdefault(key, {})[watching] = None
        self._instance.refresh_observer(database)

    def forget(self, client: Client) -> None:
        """The client watches nothing any more (UNWATCH, EXEC, DISCARD, its end)."""
        watching: Watching | None = client.watching
        if watching is None:
            return
        client.watching = None
        for index, key in watching.keys:
            by_key = self._watchers[index]
            watchers = by_key[key]
            del watchers[watching]
            if not watchers:
                del by_key[key]
        for index in {index for index, _ in watching.keys}:
            self._instance.refresh_observer(self._engine.databases[index])

    def is_touched(self, client: Client) -> bool:
        """Whether a watched key changed, or went past its time, since the client began to watch it."""
        watching: Watching | None = client.watching
        if watching is None:
            return False
        if watching.dirty:
            return True
        now_ms = self._engine.now_ms
        return any(0 < gone_ms <= now_ms and place not in watching.expired for place, gone_ms in watching.keys.items())

    # ---- the keys' side

    def observer(self, database: Database) -> Callable[[Database, bytes], None] | None:
        """Who wants to hear of changes in this database: `changed`, or nobody."""
        return self.changed if self._watchers.get(database.index) else None

    def changed(self, database: Database, key: bytes) -> None:
        """A key was changed or deleted."""
        watchers = self._watchers[database.index].get(key)
        if watchers is None:
            return
        for watching in watchers:
            if watching.expired and database.staged.get(key, b"") is None:
                place = (database.index, key)
                if place in watching.expired:
                    # It counted as absent before. From now on its creation counts.
                    self._engine.journal.append((watching.expired, place, True))
                    del watching.expired[place]
                    self._engine.journal.append((watching.keys, place, watching.keys[place]))
                    watching.keys[place] = 0
                    continue
            self._touch(watching)

    def changed_all(self, database: Database, other: Database | None) -> None:
        """A database is about to be emptied, or was or will be exchanged with another one."""
        by_key = self._watchers.get(database.index)
        if not by_key:
            return
        now_ms = self._engine.now_ms
        for key, watchers in by_key.items():
            if _exists(database, key, now_ms) or (other is not None and _exists(other, key, now_ms)):
                for watching in watchers:
                    self._touch(watching)

    def _touch(self, watching: Watching) -> None:
        if not watching.dirty:
            self._engine.journal.append((watching.__dict__, "dirty", False))
            watching.dirty = True


def _exists(database: Database, key: bytes, now_ms: int) -> bool:
    value = database.peek(key)
    return value is not None and not is_gone(value, now_ms)
