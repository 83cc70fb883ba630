"""Clients that wait for a key: who waits, who is first, and who is served when a key changes.

A blocking command that finds nothing answers with a `Block`. When one of its keys changes, the command is simply run
again for the clients that wait for it, first blocked first served, right after the command that changed the key and in
the same turn. Nothing is popped for a client that is known to be gone.

A client that waits costs nothing: it is looked at only when one of its keys changes or its time is over. A key that
changes costs as much as there are clients to serve, however many wait for it.
"""

from __future__ import annotations

import heapq
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from diskkv.codec.header import value_type
from diskkv.engine.database import Database
from diskkv.errors import CommandError, StorageError
from diskkv.resp import reply

if TYPE_CHECKING:
    from diskkv.services.client import Client

log = logging.getLogger(__name__)

UNBLOCKED = b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"
_FAILED = b"-ERR internal error; the server's log has the details\r\n"


class Block:
    """What a blocking command answers instead of a reply.

    It waits for any of `keys` to hold a value of `type`; `deadline_ms` is an absolute time, 0 for never. On time-out
    the client gets `timeout_reply`, and `denied_reply` (the same unless given) where nothing may block: in transactions
    and scripts. `wake_on_delete`: also run again when the key vanishes or changes its type.
    """

    __slots__ = ("deadline_ms", "denied_reply", "keys", "timeout_reply", "type", "wake_on_delete")

    def __init__(
        self,
        keys: Sequence[bytes],
        type: int,
        deadline_ms: int,
        timeout_reply: bytes,
        wake_on_delete: bool = False,
        denied_reply: bytes | None = None,
    ) -> None:
        self.keys = list(dict.fromkeys(keys))
        self.type = type
        self.deadline_ms = deadline_ms
        self.timeout_reply = timeout_reply
        self.denied_reply = timeout_reply if denied_reply is None else denied_reply
        self.wake_on_delete = wake_on_delete


class Waiter:
    """A blocked client and the command it waits in. `silent`: CLIENT REPLY suppresses the reply."""

    __slots__ = ("argv", "block", "client", "command", "db", "kind", "silent", "since_ms")

    def __init__(self, client: Client, command: Any, argv: list[bytes], block: Block, since_ms: int) -> None:
        self.client = client
        self.command = command
        self.argv = argv
        self.block = block
        self.db = client.db
        self.kind = block.type + _ANY_CHANGE if block.wake_on_delete else block.type
        self.silent = not client.reply_on or client.skip_replies > 0
        self.since_ms = since_ms


_ANY_CHANGE = 0x100
"""Added to the type in `Waiter.kind`: run again whatever the key holds now."""

Queue = OrderedDict[Waiter, None]
"""Those who wait for a key, first blocked first: taking out the first one must not cost more the more there were."""


class Blocking:
    """All blocked clients. `ready` holds keys that changed while somebody waits for them; dispatch calls `serve`."""

    def __init__(self, refresh_observer: Callable[[Database], None]) -> None:
        self._refresh_observer = refresh_observer
        self._waiting: dict[int, dict[bytes, dict[int, Queue]]] = {}
        """By database, key, and kind."""
        self._deadlines: list[tuple[int, int, Waiter]] = []
        self._sequence = 0
        self.ready: dict[tuple[int, bytes], None] = {}
        self.count = 0
        """How many clients are blocked."""

    def block(self, client: Client, command: Any, argv: list[bytes], block: Block) -> None:
        """Make the client wait; its further requests are held back until it is served or times out."""
        waiter = Waiter(client, command, argv, block, client.engine.now_ms)
        by_key = self._waiting.setdefault(client.db.index, {})
        is_first = not by_key
        for key in block.keys:
            by_key.setdefault(key, {}).setdefault(waiter.kind, OrderedDict())[waiter] = None
        if block.deadline_ms:
            self._sequence += 1
            heapq.heappush(self._deadlines, (block.deadline_ms, self._sequence, waiter))
        client.blocked = waiter
        self.count += 1
        if is_first:
            self._refresh_observer(client.db)

    def unblock(self, client: Client, result: bytes | None = None) -> None:
        """Stop waiting, with a reply or (the connection is going away) without one."""
        waiter: Waiter | None = client.blocked
        if waiter is None:
            return
        client.blocked = None
        self.count -= 1
        by_key = self._waiting[waiter.db.index]
        for key in waiter.block.keys:
            by_kind = by_key[key]
            queue = by_kind[waiter.kind]
            del queue[waiter]
            if not queue:
                del by_kind[waiter.kind]
                if not by_kind:
                    del by_key[key]
        if not by_key:
            self._refresh_observer(waiter.db)
        if len(self._deadlines) > 64 + 2 * self.count:
            self._deadlines = [entry for entry in self._deadlines if entry[2].client.blocked is entry[2]]
            heapq.heapify(self._deadlines)
        if result is not None:
            if not waiter.silent:
                client.out.append(result)
            client.instance.wake(client)

    # ---- keys that change

    def observer(self, database: Database) -> Callable[[Database, bytes], None] | None:
        """Who wants to hear of changes in this database: `changed`, or nobody."""
        return self.changed if self._waiting.get(database.index) else None

    def changed(self, database: Database, key: bytes) -> None:
        """A key changed; remember it when somebody waits for it."""
        by_key = self._waiting.get(database.index)
        if by_key and key in by_key:
            self.ready[database.index, key] = None

    def changed_all(self, database: Database) -> None:
        """Every key of the database may have changed (SWAPDB, FLUSHDB)."""
        for key in self._waiting.get(database.index, ()):
            self.ready[database.index, key] = None

    def serve(self, databases: dict[int, Database]) -> None:
        """Run the commands of those who wait for keys that changed, until nothing changes any more."""
        ready = self.ready
        while ready:
            changed = list(ready)
            # Cleared, not replaced: dispatch has a reference to it.
            ready.clear()
            for index, key in changed:
                by_kind = self._waiting.get(index, {}).get(key)
                if by_kind:
                    for kind, queue in list(by_kind.items()):
                        self._serve_queue(databases[index], key, kind, queue)

    def _serve_queue(self, database: Database, key: bytes, kind: int, queue: Queue) -> None:
        """Try those who wait for a key in order, each at most once, as long as the key holds what they wait for."""
        while queue and self._suits(database, key, kind):
            first = next(iter(queue))
            if not self._try(first):
                # It goes on waiting (a stream has nothing new for it, say), and keeps its place.
                break
        else:
            return
        for waiter in list(queue)[1:]:
            if waiter.client.blocked is waiter and self._suits(database, key, kind):
                self._try(waiter)

    def _suits(self, database: Database, key: bytes, kind: int) -> bool:
        if kind >= _ANY_CHANGE:
            return True
        try:
            value = database.get(key)
        except StorageError as exc:
            log.error("cannot read a key that clients wait for: %s", exc)
            return False
        return value is not None and value_type(value) == kind

    def _try(self, waiter: Waiter) -> bool:
        """Run a command again; whether its client waits no longer."""
        client = waiter.client
        if not client.is_connected():
            self.unblock(client)
            client.close()
            return True
        engine = client.engine
        instance = client.instance
        mark = len(engine.journal)
        instance.executing = client
        try:
            result = waiter.command.fn(client, waiter.argv)
        except CommandError as exc:
            engine.rollback(mark)
            result = exc.reply
        except StorageError as exc:
            engine.rollback(mark)
            log.error("%s failed to read: %s", waiter.command.name, exc)
            result = reply.error(f"ERR storage error: {exc}".replace("\n", " ").encode())
        except Exception:
            # The boundary where a bug in one command must not end the server.
            engine.rollback(mark)
            log.exception("bug: %s of a blocked client failed", waiter.command.name)
            result = _FAILED
        instance.executing = None
        if result.__class__ is Block:
            return False
        self.unblock(client, result)
        if instance.deferred:
            # Events of its own command, if it listens to them, come after the reply.
            client.push(b"".join(instance.deferred))
            instance.deferred.clear()
        return True

    # ---- time-outs

    def expire(self, now_ms: int) -> None:
        """Answer those whose time is over."""
        while self._deadlines and self._deadlines[0][0] <= now_ms:
            waiter = heapq.heappop(self._deadlines)[2]
            if waiter.client.blocked is waiter:
                self.unblock(waiter.client, waiter.block.timeout_reply)

    @property
    def next_deadline_ms(self) -> int | None:
        """When the next time-out is due, None when there is none."""
        return self._deadlines[0][0] if self._deadlines else None

    # ---- for INFO

    @property
    def deadlines(self) -> int:
        """How many time-outs are kept; some may belong to clients that were served meanwhile."""
        return len(self._deadlines)

    @property
    def keys(self) -> int:
        """How many keys are waited for."""
        return sum(map(len, self._waiting.values()))
