"""Writers that keep a ledger of what the server acknowledged, and the check of a recovered server against it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.crash.until_gone import UntilGone
from tests.harness.integrity import assert_sound
from tests.harness.servers import ServerProcess
from tests.harness.snapshot import scan_all
from tests.harness.wire import ErrorReply, Simple, Wire, encode_command

GROUP_SIZE = 5


@dataclass
class Ledger:
    """What one writer knows: every value that the server acknowledged, and the one request in flight.

    Each writer uses keys of its own, so that the last acknowledged value of a key is what must be there, or, when a
    request was in flight, what that request would have made of it.
    """

    acknowledged: dict[bytes, Any] = field(default_factory=dict)
    in_flight: list[dict[bytes, Any]] = field(default_factory=list)
    requests: int = 0


class Writer(UntilGone):
    """One connection that writes until the server is gone.

    Args:
        server: The server to write to.
        name: The prefix of the writer's keys.
        seed: Of the random choice of commands.
        ledger: What earlier writers of these keys left there; continued.
        depth: How many requests are sent before their replies are read.
    """

    def __init__(self, server: ServerProcess, name: str, seed: int, ledger: Ledger, depth: int = 1) -> None:
        super().__init__(server, name, depth)
        self._random = random.Random(seed)
        self._prefix = name.encode()
        self._ledger = ledger

    def _round(self, wire: Wire) -> None:
        current = {key: value for key, value in self._ledger.acknowledged.items() if value is not None}
        requests, effects, expected = [], [], []
        for _ in range(self._depth):
            argv, effect, reply = self._request(current)
            requests.append(encode_command(argv))
            effects.append(effect)
            expected.append(reply)
            current.update(effect)
        self._ledger.in_flight = effects
        wire.send_raw(b"".join(requests))
        for effect, reply in zip(effects, expected, strict=True):
            got = wire.read_reply()
            assert not isinstance(got, ErrorReply) and got == reply, (effect, got, reply)
            self._ledger.acknowledged.update(effect)
            self._ledger.in_flight = self._ledger.in_flight[1:]
            self._ledger.requests += 1

    def _request(self, current: dict[bytes, Any]) -> tuple[list[bytes], dict[bytes, Any], object]:
        """A command, its effect on the writer's keys (None: gone), and its reply; `current` is what is there before."""
        kind = self._random.choice(["set", "set", "incr", "mset", "append", "del", "rename", "big", "expire"])
        key = self._prefix + b":%d" % self._random.randrange(50)
        old = current.get(key)
        if kind == "incr":
            key = self._prefix + b":counter"
            new = b"%d" % (int(current.get(key) or b"0") + 1)
            return [b"INCR", key], {key: new}, int(new)
        if kind == "mset":
            number = self._random.randrange(10)
            value = b"%d" % self._random.randrange(10**9)
            effect: dict[bytes, Any] = {
                self._prefix + b":group%d:%d" % (number, index): value for index in range(GROUP_SIZE)
            }
            return [b"MSET", *(part for name in effect for part in (name, value))], effect, Simple(b"OK")
        if kind == "append":
            new = (old or b"") + b"+%d" % self._random.randrange(1000)
            return [b"APPEND", key, new[len(old or b"") :]], {key: new}, len(new)
        if kind == "del":
            return [b"DEL", key], {key: None}, int(old is not None)
        if kind == "rename" and old is not None:
            target = self._prefix + b":renamed"
            return [b"RENAME", key, target], {key: None, target: old}, Simple(b"OK")
        if kind == "expire" and old is not None:
            return [b"PEXPIREAT", key, b"1"], {key: None}, 1
        size = self._random.choice([40_000, 70_000]) if kind == "big" else self._random.randrange(100)
        value = self._random.randbytes(size)
        return [b"SET", key, value], {key: value}, Simple(b"OK")


def read_strings(wire: Wire, names: list[bytes]) -> dict[bytes, Any]:
    """The values of these keys, None for those that do not exist."""
    values = wire.pipeline([[b"GET", name] for name in names])
    return {name: value if isinstance(value, bytes) else None for name, value in zip(names, values, strict=True)}


Reader = Callable[[Wire, list[bytes]], dict[bytes, Any]]


def check(server: ServerProcess, ledgers: list[Ledger], read: Reader = read_strings) -> None:
    """The server holds exactly what the ledgers say, its counts are exact, and its rows agree with each other.

    A pipeline in flight may have been executed up to any request, never a part of a request and never a later request
    without an earlier one. The ledgers then continue from what is there.
    """
    with server.connect() as wire:
        found = read(wire, sorted({key for ledger in ledgers for key in _keys(ledger)}))
        for ledger in ledgers:
            _settle(ledger, found)
        alive = {name for name, value in found.items() if value is not None}
        scanned = scan_all(wire, "SCAN", "CURSOR", "COUNT", 1000)
        assert set(scanned) == alive and len(scanned) == len(alive)
        assert wire.call("DBSIZE") == len(alive)
    assert_sound(server)


def _keys(ledger: Ledger) -> set[bytes]:
    return set(ledger.acknowledged).union(*ledger.in_flight)


def _settle(ledger: Ledger, found: dict[bytes, Any]) -> None:
    mine = {key: found[key] for key in _keys(ledger)}
    state: dict[bytes, Any] = dict.fromkeys(mine)
    state.update(ledger.acknowledged)
    candidates = [dict(state)]
    for effect in ledger.in_flight:
        state.update(effect)
        candidates.append(dict(state))
    if mine not in candidates:
        wrong = {key: (value, candidates[0][key]) for key, value in mine.items() if value != candidates[0][key]}
        shown = {key: tuple(str(value)[:1000] for value in pair) for key, pair in wrong.items()}
        raise AssertionError(f"found and acknowledged differ: {shown}; in flight: {str(ledger.in_flight)[:2000]}")
    ledger.acknowledged = {key: value for key, value in mine.items() if value is not None}
    ledger.in_flight = []
