"""Which keyspace events are published, in which order, and that nothing is done when none are wanted."""

from __future__ import annotations

import pytest

from tests.commands.session import Session


class Listener(Session):
    """A session that gathers events as (channel, message)."""

    def __init__(self, classes: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, str]] = []
        assert self.run(f"CONFIG SET notify-keyspace-events '{classes}'") == "OK"

        def publish(channel: bytes, message: bytes) -> int:
            self.seen.append((channel.decode(), message.decode()))
            return 0

        self.instance.publish = publish  # type: ignore[method-assign]

    def names(self, line: str) -> list[str]:
        """The names of the events of one request."""
        self.seen.clear()
        self.run(line)
        return [channel.partition("__:")[2] for channel, _ in self.seen]


def test_both_forms_in_order() -> None:
    listener = Listener("KEA")
    listener.run("SELECT 3")
    listener.run("SET k v")
    assert listener.seen == [("__keyspace@3__:k", "set"), ("__keyevent@3__:set", "k")]
    listener.run("CONFIG SET notify-keyspace-events KA")
    listener.seen.clear()
    listener.run("DEL k")
    assert listener.seen == [("__keyspace@3__:k", "del")]


@pytest.mark.parametrize(
    ("classes", "line", "events"),
    [
        ("E$", "SET k v", ["set"]),
        ("Eg", "SET k v", []),
        ("A", "SET k v", []),
        ("E$g", "SET k v EX 10", ["set", "expire"]),
        ("Eg", "DEL here", ["del"]),
        ("E$", "DEL here", []),
        ("Em", "GET nothing", ["keymiss"]),
        ("EA", "GET nothing", []),
        ("Em", "GET here", []),
        ("Em", "SET nothing v", []),
        ("En$", "SET k v", ["new", "set"]),
        ("En$", "SET here v", ["set"]),
        ("EA", "SET k v", ["set"]),
        ("EAoc", "SET here v", ["set"]),
        ("Eng", "RENAME here k", ["new", "rename_from", "rename_to"]),
        ("Eg", "EXPIRE here -1", ["del"]),
    ],
)
def test_classes(classes: str, line: str, events: list[str]) -> None:
    listener = Listener("")
    listener.run("SET here v")
    listener.run(f"CONFIG SET notify-keyspace-events {classes}")
    assert sorted(listener.names(line)) == sorted(events)


def test_expired_on_access_and_by_the_sweeper() -> None:
    listener = Listener("ExgmK")
    for key in ("a", "b"):
        listener.run(f"SET {key} v PX 10")
    listener.seen.clear()
    listener.now_ms += 10
    assert listener.names("GET a") == ["a", "expired", "a", "keymiss"]
    listener.seen.clear()
    listener.engine.begin(listener.now_ms)
    listener.instance.tick(False)
    listener.engine.commit()
    assert listener.seen == [("__keyspace@0__:b", "expired"), ("__keyevent@0__:expired", "b")]


def test_hooks_are_off_unless_wanted() -> None:
    listener = Listener("")
    engine = listener.engine
    hooks = ("on_new", "on_miss", "on_expired", "on_fields_expired")
    assert all(getattr(engine, hook) is None for hook in hooks)
    listener.run("CONFIG SET notify-keyspace-events EAnm")
    assert all(getattr(engine, hook) is not None for hook in hooks)
    listener.run("CONFIG SET notify-keyspace-events Anm")
    assert all(getattr(engine, hook) is None for hook in hooks)
    assert not listener.instance.notifications.enabled
    assert listener.run("CONFIG SET notify-keyspace-events KEAQ").startswith("ERR CONFIG SET failed")


def test_failed_commands_publish_nothing() -> None:
    listener = Listener("KEAnm")
    listener.run("SET k text")
    assert listener.names("INCR k") == []
    assert listener.names("HSET k f v") == []
