"""A client: everything the server remembers about one connection, without its socket.

Commands get the client as their first argument. The network side subclasses it (server/connection.py); scripts and an
embedding program use it as it is. Replies gather in `out` and leave after the turn's commit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from diskkv.engine.database import Database
from diskkv.resp import reply

if TYPE_CHECKING:
    from diskkv.services.instance import Instance
    from diskkv.services.streaming import StreamedReply

_NO_COMMANDS: Mapping[bytes, Any] = {}


class Message(bytes):
    """Encoded output that is no reply to a request. It is dropped when its turn fails."""

    __slots__ = ()


class Client:
    """One client's state. `db` is the selected database, `resp` the protocol version (2 or 3)."""

    __slots__ = (
        "active_ms",
        "address",
        "authenticated",
        "awaits_rows",
        "blocked",
        "closing",
        "commands_run",
        "created_ms",
        "db",
        "engine",
        "fast",
        "fd",
        "id",
        "instance",
        "is_monitor",
        "is_script",
        "last_command",
        "last_request",
        "lib_name",
        "lib_version",
        "local_address",
        "name",
        "next_request",
        "no_evict",
        "no_touch",
        "null",
        "null_array",
        "out",
        "paused",
        "pubsub",
        "reads",
        "received_bytes",
        "replica",
        "reply_on",
        "resp",
        "sent_bytes",
        "skip_replies",
        "stream",
        "subscriptions",
        "tracking",
        "transaction",
        "user",
        "watching",
    )

    def __init__(self, instance: Instance, client_id: int) -> None:
        self.instance = instance
        self.engine = instance.engine
        self.id = client_id
        self.db: Database = instance.engine.database(0)
        self.resp = 2
        self.null = reply.NULL_BULK
        self.null_array = reply.NULL_ARRAY
        self.next_request = 0
        """The index of the first request that was not executed, of those that were received together."""
        self.out: list[bytes] = []
        self.fast: Mapping[bytes, Any] = _NO_COMMANDS
        """Commands that need none of dispatch's checks for this client now; see `refresh`."""
        self.user: Any = instance.acl.default_user
        self.authenticated = False
        self.name = self.lib_name = self.lib_version = b""
        self.address = ""
        self.local_address = ""
        self.created_ms = instance.engine.now_ms
        self.active_ms = self.created_ms
        self.last_command = "NULL"
        """The last command that went through all checks (not on the fast path), by its full name."""
        self.last_request = b""
        """The name of the last request, as it was sent."""
        self.commands_run = 0
        self.received_bytes = 0
        self.sent_bytes = 0
        self.fd = -1
        self.no_evict = False
        self.no_touch = False
        self.is_script = False
        """Runs commands for a script: never blocks, never queues."""
        self.is_monitor = False
        self.reply_on = True
        self.skip_replies = 0
        """Bit 0: the reply to this command is skipped; bit 1: the reply to the next one is (CLIENT REPLY SKIP)."""
        self.transaction: Any = None
        """The open MULTI, else None."""
        self.watching: Any = None
        """What WATCH watches, else None."""
        self.subscriptions = 0
        """The number of channels, patterns and shard channels subscribed to."""
        self.pubsub: Any = None
        """The subscriptions themselves; None when there never was one."""
        self.tracking: Any = None
        """Client side caching's state, else None."""
        self.replica: Any = None
        """What the client said with REPLCONF and got with SYNC, else None."""
        self.stream: Any = None
        """The `StreamedReply` that is being sent, else None; further requests wait for its end."""
        self.blocked: Any = None
        """The `Waiter` of a blocked client, else None."""
        self.paused = False
        self.closing = False
        """To be closed as soon as its replies are out."""
        self.reads: Any = None
        """The rows that its next command waited for; None unless one did."""
        self.awaits_rows = False
        """The next command waits for rows that threads read."""

    can_park = False
    """Whether commands may be put off, to be run again later (see parking.py)."""

    def following(self, argv: list[bytes]) -> list[list[bytes]]:
        """The requests that were received with, and come after, the one that runs now."""
        return []

    def refresh(self) -> None:
        """Decide anew whether commands may run without dispatch's checks; call it after any change of state."""
        plain = (
            self.authenticated
            and self.reply_on
            and not self.skip_replies
            and self.tracking is None
            and (not self.subscriptions or (self.resp == 3 and not self.instance.notifications.enabled))
            and self.user.unrestricted
        )
        if not plain:
            self.fast = _NO_COMMANDS
        else:
            self.fast = self.instance.fast if self.transaction is None else self.instance.queueing

    def use_resp(self, version: int) -> None:
        """Switch the protocol version (2 or 3)."""
        self.resp = version
        self.null = reply.NULL if version == 3 else reply.NULL_BULK
        self.null_array = reply.NULL if version == 3 else reply.NULL_ARRAY
        self.refresh()

    def push(self, message: bytes) -> None:
        """Send a message that is no reply to a command; it leaves after the turn's commit.

        What a client's own command brings about comes after the reply to it.
        """
        instance = self.instance
        if instance.executing is self:
            instance.deferred.append(message)
        else:
            self.out.append(message if message.__class__ is Message else Message(message))
            instance.wake(self)

    @property
    def can_stream(self) -> bool:
        """Whether a command may answer a `StreamedReply` now."""
        return False

    def start_stream(self, streamed: StreamedReply) -> int:
        """Send a reply while it is made, behind what is in `out` now and before all that comes later.

        Answers a negative number: the room that is left for replies in this turn.
        """
        raise NotImplementedError

    def close(self) -> None:
        """End the connection after the replies gathered so far."""
        self.closing = True
        self.instance.wake(self)

    def kill(self) -> None:
        """End the connection at once: what it has not got yet is dropped."""
        self.out.clear()
        self.close()

    def is_connected(self) -> bool:
        """Whether the other side is still there, as far as can be known without sending."""
        return not self.closing

    @property
    def is_local(self) -> bool:
        """Whether the client is on this machine, as enable-debug-command and enable-protected-configs ask."""
        return self.address.startswith(("127.", "[::1]:", "[::ffff:127.", "/")) or not self.address

    @property
    def kind(self) -> str:
        """normal, pubsub, master or replica, as CLIENT LIST TYPE and the output buffer limits name it."""
        if self.replica is not None and self.replica.state:
            return "replica"
        return "pubsub" if self.subscriptions else "normal"

    @property
    def subscription_counts(self) -> tuple[int, int, int]:
        """How many channels, patterns and shard channels the client is subscribed to."""
        mine = self.pubsub
        return (0, 0, 0) if mine is None else (len(mine.channels), len(mine.patterns), len(mine.shard_channels))

    @property
    def output_bytes(self) -> int:
        """What waits to be sent."""
        return sum(map(len, self.out))

    @property
    def input_bytes(self) -> int:
        """What was received and not executed yet."""
        return 0
