"""Client side caching: which client has read which keys, and the messages that tell it when they changed.

In the default mode the keys a client reads are remembered in a bounded table (by name, whatever the database) until one
of them changes; then the clients that read it are told once. In broadcasting mode nothing is remembered: at the end of
a turn a client is told all changed keys that begin with one of its prefixes.

Invalidations take their place in a client's output when the command that changed the keys is done, and leave after the
turn's commit. A change that is undone is forgotten through the journal. Should the commit itself fail, some clients
have lost their place in the table for nothing, so all are told to forget everything they cached.

Source: https://redis.io/docs/latest/develop/reference/client-side-caching/
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from diskkv.engine.database import Database
from diskkv.engine.overlay import ABSENT
from diskkv.resp.reply import bulks
from diskkv.services.client import Client, Message
from diskkv.services.renaming import own_name

if TYPE_CHECKING:
    from diskkv.services.instance import Instance

_PUSH = b">2\r\n$10\r\ninvalidate\r\n"
_CHANNEL_MESSAGE = b"*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n"
_REDIRECT_BROKEN = b">2\r\n$21\r\ntracking-redir-broken\r\n:%d\r\n"

_PREFIX_BYTES = 450
"""What a prefix takes in memory beside its text, if nobody else has it."""

_Changes = dict[bytes, Client | None]
"""By key, the only client that changed it; None for several, for one on the fast path (which tracks nothing), or when
the key expired."""


class Tracking:
    """One client's mode.

    `redirect` is the id of the client that gets the messages, 0 for itself. `caching`: CLIENT CACHING was given for the
    next command or transaction.
    """

    __slots__ = (
        "broadcast",
        "caching",
        "client_id",
        "is_redirect_broken",
        "no_loop",
        "opt_in",
        "opt_out",
        "prefixes",
        "redirect",
        "size_bytes",
    )

    def __init__(self, client_id: int) -> None:
        self.client_id = client_id
        self.redirect = 0
        self.broadcast = False
        self.opt_in = False
        self.opt_out = False
        self.no_loop = False
        self.caching = False
        self.is_redirect_broken = False
        self.prefixes: dict[bytes, None] = {}
        self.size_bytes = 0
        """About the memory that the prefixes take."""


class Trackers:
    """All clients that track, and the table of what they read."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._journal = instance.engine.journal
        self.clients: dict[int, Client] = {}
        """Those that track now, by id. While it is empty nobody need call anything here."""
        self._readers: dict[bytes, int | set[int]] = {}
        """By key, the id of the client that read it, or the ids of several. May name clients that are gone."""
        self._items = 0
        self._prefixes: dict[bytes, dict[Client, None]] = {}
        self._prefix_sizes: Counter[int] = Counter()
        """How many prefixes there are of each length: looking these up takes the same time however many there are."""
        self._changed: _Changes = {}
        """Keys of the table that changed since the last `send`."""
        self._touched: _Changes = {}
        """All keys that changed in this turn, while somebody has a prefix."""
        self._flushed = False
        instance.gauges["tracking_total_keys"] = lambda: len(self._readers)
        instance.gauges["tracking_total_items"] = lambda: self._items
        instance.gauges["tracking_total_prefixes"] = lambda: len(self._prefixes)

    # ---- modes

    def enable(self, client: Client, mode: Tracking, prefixes: Sequence[bytes]) -> None:
        """Track for a client, in a new mode; with `prefixes` in addition to those it had."""
        had: Tracking | None = client.tracking
        mode.prefixes = dict(had.prefixes) if had is not None and mode.broadcast else {}
        if mode.broadcast:
            for prefix in prefixes or (b"",):
                mode.prefixes[prefix] = None
                self._add_prefix(prefix, client)
            mode.size_bytes = sum(map(len, mode.prefixes)) + _PREFIX_BYTES * len(mode.prefixes)
        client.tracking = mode
        client.refresh()
        self.clients[client.id] = client
        if len(self.clients) == 1:
            self._refresh_observers()

    def disable(self, client: Client) -> None:
        """Stop tracking for a client, if it did."""
        mode: Tracking | None = client.tracking
        if mode is None:
            return
        for prefix in mode.prefixes:
            self._remove_prefix(prefix, client)
        client.tracking = None
        client.refresh()
        self.clients.pop(client.id, None)
        if not self.clients:
            self._forget_table()
            self._changed = {}
            self._touched = {}
            self._flushed = False
            self._refresh_observers()

    def _add_prefix(self, prefix: bytes, client: Client) -> None:
        clients = self._prefixes.get(prefix)
        if clients is None:
            clients = self._prefixes[prefix] = {}
            self._prefix_sizes[len(prefix)] += 1
        clients[client] = None

    def _remove_prefix(self, prefix: bytes, client: Client) -> None:
        clients = self._prefixes[prefix]
        clients.pop(client, None)
        if not clients:
            del self._prefixes[prefix]
            self._prefix_sizes[len(prefix)] -= 1
            if not self._prefix_sizes[len(prefix)]:
                del self._prefix_sizes[len(prefix)]

    def _refresh_observers(self) -> None:
        for database in self._instance.engine.databases.values():
            self._instance.refresh_observer(database)

    def command_done(self, client: Client, name: bytes) -> None:
        """A request of a tracking client was handled; `name` is the command's, as sent.

        CLIENT CACHING holds for the command or transaction behind it; further CLIENT commands may come between.
        """
        if client.transaction is None and own_name(name) != b"CLIENT":
            client.tracking.caching = False

    # ---- what was read

    def remember(self, mode: Tracking, command: Any, argv: Sequence[bytes]) -> None:
        """Note the keys of a reading command that ran for the client with this mode."""
        if mode.broadcast or (mode.opt_in and not mode.caching) or (mode.opt_out and mode.caching):
            return
        if self._changed:
            # A transaction may read what it changed: the message about the change must not cover the new reading.
            self._send_changed()
        for at, _ in command.key_positions(argv):
            self._add(argv[at], mode.client_id)
        limit = self._instance.config.tracking_table_max_keys
        if limit and len(self._readers) > limit:
            self._evict(limit)

    def _add(self, key: bytes, client_id: int) -> None:
        readers = self._readers.get(key)
        if readers is None:
            self._readers[key] = client_id
            self._items += 1
        elif isinstance(readers, int):
            if readers != client_id:
                self._readers[key] = {readers, client_id}
                self._items += 1
        elif client_id not in readers:
            if len(readers) > 2 * len(self.clients):
                self._items -= len(readers)
                readers &= self.clients.keys()
                self._items += len(readers)
            readers.add(client_id)
            self._items += 1

    def _evict(self, limit: int) -> None:
        """Make room in the table. The oldest keys go, some at once because finding the first costs a walk."""
        surplus = len(self._readers) - limit + limit // 64
        for key in list(islice(self._readers, surplus)):
            self._invalidate(key, None)

    def _forget_table(self) -> None:
        self._readers.clear()
        self._items = 0

    # ---- what changed

    def observer(self, database: Database) -> Callable[[Database, bytes], None] | None:
        """Who wants to hear of changes in this database: `changed`, or nobody."""
        return self.changed if self.clients else None

    def changed(self, database: Database, key: bytes) -> None:
        """A key was changed or deleted."""
        if key in self._readers:
            self._note(self._changed, key)
        if self._prefixes:
            self._note(self._touched, key)

    def _note(self, changes: _Changes, key: bytes) -> None:
        before = changes.get(key, ABSENT)
        self._journal.append((changes, key, before))
        writer = self._instance.executing
        changes[key] = writer if before is ABSENT or before is writer else None

    def flushed(self) -> None:
        """All keys of a database are gone; every client is told once, however many databases are."""
        if self.clients:
            self._send_changed()
            self._forget_table()
            self._flushed = True

    def turn_failed(self) -> None:
        """The changes of this turn, and the messages about them, never happened."""
        if self.clients:
            self._forget_table()
            self._changed = {}
            self._touched = {}
            self._tell_all()

    # ---- telling

    def send(self) -> None:
        """Tell the clients about keys that they read and that changed since the last time."""
        if self._flushed:
            self._flushed = False
            self._tell_all()
        if self._changed:
            self._send_changed()

    def _send_changed(self) -> None:
        # A new dictionary, because the journal may still refer to the entries of the old one.
        changed, self._changed = self._changed, {}
        for key, writer in changed.items():
            self._invalidate(key, writer)

    def finish_turn(self) -> None:
        """As `send`, and tell those who have prefixes what changed in the turn."""
        self.send()
        if not self._touched:
            return
        touched, self._touched = self._touched, {}
        sizes = sorted(self._prefix_sizes)
        found: dict[bytes, list[bytes]] = {}
        for key in sorted(touched):
            for size in sizes:
                if size > len(key):
                    break
                if key[:size] in self._prefixes:
                    found.setdefault(key[:size], []).append(key)
        for prefix, keys in sorted(found.items()):
            encoded = bulks(keys)
            message = Message(_PUSH + encoded)
            for client in self._prefixes[prefix]:
                if not client.tracking.no_loop:
                    self._tell(client, encoded, message)
                    continue
                others = [key for key in keys if touched[key] is not client]
                if others:
                    self._tell(client, bulks(others))

    def _invalidate(self, key: bytes, writer: Client | None) -> None:
        """Tell the readers of a key, except a writer that does not want to hear of its own changes."""
        readers = self._readers.pop(key, None)
        if readers is None:
            return
        ids = readers if isinstance(readers, set) else (readers,)
        self._items -= len(ids)
        encoded = bulks([key])
        message = Message(_PUSH + encoded)
        for client_id in ids:
            client = self.clients.get(client_id)
            if client is None:
                continue
            mode: Tracking = client.tracking
            if not mode.broadcast and not (mode.no_loop and client is writer):
                self._tell(client, encoded, message)

    def _tell_all(self) -> None:
        """Have every client forget all keys."""
        for client in self.clients.values():
            self._tell(client, None)

    def _tell(self, client: Client, keys: bytes | None, message: Message | None = None) -> None:
        """Send `keys`, an encoded array, or None for all keys; `message` is the ready RESP3 message about them."""
        mode: Tracking = client.tracking
        target = client
        if mode.redirect:
            found = self._instance.clients.get(mode.redirect)
            if found is None or found.closing:
                mode.is_redirect_broken = True
                if client.resp == 3:
                    client.push(_REDIRECT_BROKEN % mode.redirect)
                return
            target = found
        if target.resp == 3:
            target.push(message or Message(_PUSH + (target.null if keys is None else keys)))
        elif mode.redirect and target.subscriptions:
            target.push(_CHANNEL_MESSAGE + (target.null if keys is None else keys))
