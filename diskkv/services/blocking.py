"""Clients that wait for a key: who waits, who is first, and who is served when a key changes.

A blocking command that finds nothing answers with a `Block`. When one of its keys changes, the command is simply run
again for the clients that wait for it, first blocked first served, right after the command that changed the key and in
the same turn. Nothing is popped for a client that is known to be gone.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from diskkv.codec.header import value_type
from diskkv.engine.database import Database
from diskkv.errors import CommandError

if TYPE_CHECKING:
    from diskkv.services.client import Client


class Block:
    """What a blocking command answers instead of a reply.

    It waits for any of `keys` to hold a value of `type`; `deadline_ms` is an absolute time, 0 for never. On time-out
    the client gets `timeout_reply`. `wake_on_delete`: also run again when the key vanishes or changes its type.
    """

    __slots__ = ("deadline_ms", "keys", "timeout_reply", "type", "wake_on_delete")

    def __init__(
        self,
        keys: Sequence[bytes],
        type: int,
        deadline_ms: int,
        timeout_reply: bytes,
        wake_on_delete: bool = False,
    ) -> None:
        self.keys = list(dict.fromkeys(keys))
        self.type = type
        self.deadline_ms = deadline_ms
        self.timeout_reply = timeout_reply
        self.wake_on_delete = wake_on_delete


class Waiter:
    """A blocked client and the command it waits in."""

    __slots__ = ("argv", "block", "client", "command", "db", "since_ms")

    def __init__(self, client: Client, command: Any, argv: list[bytes], block: Block, since_ms: int) -> None:
        self.client = client
        self.command = command
        self.argv = argv
        self.block = block
        self.db = client.db
        self.since_ms = since_ms


class Blocking:
    """All blocked clients. `ready` holds keys that changed while somebody waits for them; dispatch calls `serve`."""

    def __init__(self, refresh_observer: Callable[[Database], None]) -> None:
        self._refresh_observer = refresh_observer
        self._waiting: dict[int, dict[bytes, dict[Waiter, None]]] = {}
        self._deadlines: list[tuple[int, int, Waiter]] = []
        self._sequence = 0
        self.ready: dict[tuple[int, bytes], None] = {}
        self.count = 0
        """How many clients are blocked."""

    def block(self, client: Client, command: Any, argv: list[bytes], block: Block) -> None:
        """Make the client wait; its further requests are held back until it is served or times out."""
        waiter = Waiter(client, command, argv, block, client.engine.now_ms)
        by_key = self._waiting.setdefault(client.db.index, {})
        for key in block.keys:
            by_key.setdefault(key, {})[waiter] = None
        if block.deadline_ms:
            self._sequence += 1
            heapq.heappush(self._deadlines, (block.deadline_ms, self._sequence, waiter))
        client.blocked = waiter
        self.count += 1
        self._refresh_observer(client.db)

    def waits(self, database: Database) -> bool:
        """Whether anybody waits for a key of this database."""
        return bool(self._waiting.get(database.index))

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
        while self.ready:
            index, key = next(iter(self.ready))
            del self.ready[index, key]
            for waiter in list(self._waiting.get(index, {}).get(key, ())):
                if waiter.client.blocked is not waiter:
                    continue
                value = databases[index].get(key)
                if value is None or value_type(value) != waiter.block.type:
                    if not waiter.block.wake_on_delete:
                        # Nobody else who waits for this type can be served; others may wait for another type.
                        continue
                self._try(waiter)

    def _try(self, waiter: Waiter) -> None:
        client = waiter.client
        if not client.is_connected():
            self.unblock(client)
            client.close()
            return
        engine = client.engine
        mark = len(engine.journal)
        try:
            result = waiter.command.fn(client, waiter.argv)
        except CommandError as exc:
            engine.rollback(mark)
            result = exc.reply
        if result.__class__ is not bytes:
            return
        self.unblock(client, result)

    def unblock(self, client: Client, result: bytes | None = None) -> None:
        """Stop waiting, with a reply or (the connection is going away) without one."""
        waiter: Waiter | None = client.blocked
        if waiter is None:
            return
        client.blocked = None
        self.count -= 1
        by_key = self._waiting[waiter.db.index]
        for key in waiter.block.keys:
            waiters = by_key[key]
            waiters.pop(waiter, None)
            if not waiters:
                del by_key[key]
        self._refresh_observer(waiter.db)
        if len(self._deadlines) > 64 + 2 * self.count:
            self._deadlines = [entry for entry in self._deadlines if entry[2].client.blocked is entry[2]]
            heapq.heapify(self._deadlines)
        if result is not None:
            client.out.append(result)
            client.instance.wake(client)

    def expire(self, now_ms: int) -> None:
        """Answer those whose time is over."""
        deadlines = self._deadlines
        while deadlines and deadlines[0][0] <= now_ms:
            waiter = heapq.heappop(deadlines)[2]
            if waiter.client.blocked is waiter:
                self.unblock(waiter.client, waiter.block.timeout_reply)

    @property
    def deadlines(self) -> int:
        """How many time-outs are kept; some may belong to clients that were served meanwhile."""
        return len(self._deadlines)

    @property
    def keys(self) -> int:
        """How many keys are waited for."""
        return sum(map(len, self._waiting.values()))

    @property
    def next_deadline_ms(self) -> int | None:
        """When the next time-out is due, None when there is none."""
        return self._deadlines[0][0] if self._deadlines else None
