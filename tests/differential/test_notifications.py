"""Random commands on both servers; after each one the keyspace events that it caused are the same in the same order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from hypothesis.stateful import initialize

from tests.differential import strategies
from tests.harness import servers
from tests.harness.compare import show
from tests.harness.grammar import Argv
from tests.harness.statemachine import DifferentialMachine, machine_settings
from tests.harness.wire import Reply, Simple, Wire

assert strategies

# Their choice of members is random, or what they do is no command on keys.
_NOT_COMPARED = frozenset({b"SPOP"})


class Notifications(DifferentialMachine):
    groups = (
        "base",
        "generic",
        "string",
        "hash",
        "list",
        "set",
        "sorted-set",
        "stream",
        "bitmap",
        "geo",
        "hyperloglog",
    )
    subject_options: ClassVar[Sequence[str]] = ("--notify-keyspace-events", "KEAnm")
    reference_options: ClassVar[Sequence[str]] = ("--notify-keyspace-events", "KEAnm")
    most_restarts = 0

    def __init__(self) -> None:
        super().__init__()
        self.listeners: list[Wire] = []

    @initialize()
    def listen(self) -> None:
        """Subscribe to all events on both servers."""
        self.listeners = [server.connect() for server in (self.subject, self.reference)]
        for wire in self.listeners:
            assert wire.call("PSUBSCRIBE", "__key*__:*") == [b"psubscribe", b"__key*__:*", 1]

    def run(self, connection: int, argv: Argv) -> None:
        if argv[0].upper() in _NOT_COMPARED:
            return
        self._compare_events("the commands before")
        super().run(connection, argv)
        self._compare_events(show(argv))

    def _compare_events(self, cause: str) -> None:
        if self.listeners:
            mine, theirs = self._events()
            assert mine == theirs, f"{cause} caused\n{show_events(mine)}\nthe reference has\n{show_events(theirs)}"

    def _events(self) -> list[list[Reply]]:
        """What came since the last time, on both servers."""
        found = []
        for wire in self.listeners:
            wire.send("PING")
            events = []
            while (reply := wire.read_any()) != [b"pong", b""]:
                events.append(reply[2:])
            found.append(events)
        return found

    def teardown(self) -> None:
        for wire in self.listeners:
            wire.close()
        super().teardown()


def show_events(events: list[list[bytes]]) -> str:
    """Channels and messages, one a line."""
    return "\n".join(f"  {channel!r} {message!r}" for channel, message in events)


TestNotifications = Notifications.TestCase
TestNotifications.settings = machine_settings()


def test_the_listener_hears_of_events() -> None:
    """The counterpart, which shows that the machine compares something."""
    for server in (servers.subject(Notifications.subject_options), servers.reference(Notifications.reference_options)):
        with server.connect() as listener, server.connect() as wire:
            listener.call("PSUBSCRIBE", "__keyevent@0__:*")
            assert wire.call("FLUSHALL") == Simple(b"OK")
            assert wire.call("SET", "k", "v") == Simple(b"OK")
            assert listener.read_any()[2:] == [b"__keyevent@0__:new", b"k"]
            assert listener.read_any()[2:] == [b"__keyevent@0__:set", b"k"]
