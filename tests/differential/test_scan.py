"""SCAN's guarantee: an element that is there from the start to the end of an iteration is returned.

The expectations are the documentation's (https://redis.io/commands/scan), so only the subject is driven.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.differential.groups import declared
from tests.harness import servers
from tests.harness.servers import running, subject_flavour
from tests.harness.wire import Simple, Wire

COLLECTIONS = {
    "hash": ("HSCAN", "HSET", "HDEL"),
    "set": ("SSCAN", "SADD", "SREM"),
    "sorted-set": ("ZSCAN", "ZADD", "ZREM"),
}
KINDS = ["keys", *(kind for kind in COLLECTIONS if kind in declared())]


class Scanned:
    """A set of elements that can be scanned, added to and removed from: a database's keys or a collection's members."""

    def __init__(self, wire: Wire, kind: str) -> None:
        self._wire = wire
        self._kind = kind

    def page(self, cursor: bytes, count: int) -> tuple[bytes, list[bytes]]:
        """One SCAN call: the next cursor and the elements."""
        if self._kind == "keys":
            reply = self._wire.call("SCAN", cursor, "COUNT", count)
            return reply[0], reply[1]
        reply = self._wire.call(COLLECTIONS[self._kind][0], "collection", cursor, "COUNT", count)
        step = 1 if self._kind == "set" else 2
        return reply[0], reply[1][::step]

    def add(self, names: list[bytes]) -> None:
        """Add elements."""
        if self._kind == "keys":
            commands = [[b"SET", name, b"v"] for name in names]
        elif self._kind == "hash":
            commands = [[b"HSET", b"collection", name, b"v"] for name in names]
        elif self._kind == "set":
            commands = [[b"SADD", b"collection", name] for name in names]
        else:
            commands = [[b"ZADD", b"collection", b"%d" % (len(name) % 7), name] for name in names]
        self._wire.pipeline(commands)

    def remove(self, names: list[bytes]) -> None:
        """Remove elements."""
        if self._kind == "keys":
            self._wire.pipeline([[b"DEL", name] for name in names])
        else:
            self._wire.pipeline([[COLLECTIONS[self._kind][2], b"collection", name] for name in names])


def _names(count: int, seed: int) -> list[bytes]:
    chooser = random.Random(seed)
    names = {b"", b"\x00", b"\xff", b"\xff\xff", b"a", b"a\x00"}
    while len(names) < count:
        names.add(chooser.randbytes(chooser.randrange(1, 8)))
    return sorted(names)


def _iterate(scanned: Scanned, count: int, between: Callable[[], None]) -> list[bytes]:
    cursor, found = b"0", []
    while True:
        cursor, page = scanned.page(cursor, count)
        found += page
        if cursor == b"0":
            return found
        between()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 7, 100, 5000])
def test_quiet_iteration_returns_each_element_once(kind: str, count: int) -> None:
    names = _names(400, seed=count)
    with servers.subject().connect() as wire:
        assert wire.call("FLUSHALL") == Simple(b"OK")
        scanned = Scanned(wire, kind)
        scanned.add(names)
        found = _iterate(scanned, count, lambda: None)
        assert set(found) == set(names)
        if servers.subject_flavour().is_diskkv:
            assert len(found) == len(names)


@pytest.mark.parametrize("kind", KINDS)
def test_iteration_under_change_returns_all_that_stays(kind: str) -> None:
    """Half of the elements stay; the others come and go between the pages."""
    names = _names(600, seed=1)
    chooser = random.Random(2)
    chooser.shuffle(names)
    staying, moving = names[:300], names[300:]
    with servers.subject().connect() as wire:
        assert wire.call("FLUSHALL") == Simple(b"OK")
        scanned = Scanned(wire, kind)
        scanned.add(names)

        def change() -> None:
            scanned.remove(chooser.sample(moving, 20))
            scanned.add(chooser.sample(moving, 20))
            scanned.add([b"new%d" % chooser.randrange(10**6)])

        found = _iterate(scanned, 10, change)
        missing = set(staying) - set(found)
        assert not missing, missing


def test_several_iterations_interleave() -> None:
    """Iterations of several clients and databases do not disturb one another."""
    names = _names(300, seed=3)
    with servers.subject().connect() as first, servers.subject().connect() as second:
        assert first.call("FLUSHALL") == Simple(b"OK")
        second.call("SELECT", 1)
        Scanned(first, "keys").add(names)
        Scanned(second, "keys").add(names[:100])
        cursors, found = [b"0", b"0"], [set[bytes](), set[bytes]()]
        done = [False, False]
        while not all(done):
            for index, wire in enumerate((first, second)):
                if not done[index]:
                    cursors[index], page = Scanned(wire, "keys").page(cursors[index], 5)
                    found[index].update(page)
                    done[index] = cursors[index] == b"0"
        assert found == [set(names), set(names[:100])]


def test_match_and_type_filter_whole_iterations() -> None:
    with servers.subject().connect() as wire:
        assert wire.call("FLUSHALL") == Simple(b"OK")
        wire.pipeline([[b"SET", b"user:%d" % number, b"v"] for number in range(200)])
        wire.pipeline([[b"SET", b"item:%d" % number, b"v"] for number in range(200)])
        for pattern, wanted in ((b"user:*", 200), (b"*:1?", 20), (b"user:5", 1), (b"nothing*", 0), (b"[iu]*:7", 2)):
            cursor, found = b"0", []
            while True:
                cursor, page = wire.call("SCAN", cursor, "MATCH", pattern, "COUNT", 13)
                found += page
                if cursor == b"0":
                    break
            assert len(set(found)) == wanted, pattern
        assert wire.call("SCAN", 0, "TYPE", "hash", "COUNT", 1000) == [b"0", []]


if servers.subject_flavour().is_diskkv:

    def test_cursors_survive_a_restart() -> None:
        """An iteration goes on after SIGTERM and after kill -9, as the README promises."""
        names = _names(300, seed=4)
        with running(subject_flavour(), durable=True) as server:
            with server.connect() as wire:
                Scanned(wire, "keys").add(names)
                cursor, found = Scanned(wire, "keys").page(b"0", 50)
            for restart in (server.restart, server.kill_and_restart):
                assert cursor != b"0"
                restart()
                with server.connect() as wire:
                    cursor, page = Scanned(wire, "keys").page(cursor, 50)
                    found += page
            with server.connect() as wire:
                while cursor != b"0":
                    cursor, page = Scanned(wire, "keys").page(cursor, 50)
                    found += page
        assert set(found) == set(names) and len(found) == len(names)
