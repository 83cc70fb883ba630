"""kill -9 while transactions run: each EXEC is there as a whole afterwards or not at all, acknowledged ones are."""

from __future__ import annotations

import random
import time

import pytest

from tests.crash.until_gone import UntilGone
from tests.harness.integrity import assert_sound
from tests.harness.servers import ServerProcess, running, subject_flavour
from tests.harness.statemachine import scaled
from tests.harness.wire import Simple, Wire, encode_command

WRITERS = 3
KEYS = 8


class Transactor(UntilGone):
    """One connection that runs numbered transactions until the server is gone.

    Each sets `KEYS` keys to its number, appends the number to a list, moves money from one counter to another and
    deletes a key that exists only inside it. `acknowledged` and `sent` are the numbers of the last transactions.
    """

    def __init__(self, server: ServerProcess, name: str, number: int, depth: int) -> None:
        super().__init__(server, name, depth)
        self.sent = self.acknowledged = number

    def _round(self, wire: Wire) -> None:
        requests = []
        for _ in range(self._depth):
            self.sent += 1
            requests.append(self._transaction(self.sent))
        wire.send_raw(b"".join(requests))
        for _ in range(self._depth):
            assert wire.read_reply() == Simple(b"OK")
            for _ in range(KEYS + 5):
                assert wire.read_reply() == Simple(b"QUEUED")
            replies = wire.read_reply()
            assert isinstance(replies, list) and len(replies) == KEYS + 5, replies
            self.acknowledged += 1

    def _transaction(self, number: int) -> bytes:
        name = self.name
        commands: list[list[object]] = [["MULTI"]]
        commands += [["SET", f"{name}:{key}", number] for key in range(KEYS)]
        commands += [["SET", f"{name}:inside", number], ["APPEND", f"{name}:log", f"{number},"]]
        commands += [["DECRBY", f"{name}:from", number], ["INCRBY", f"{name}:to", number], ["DEL", f"{name}:inside"]]
        commands.append(["EXEC"])
        return b"".join(encode_command([str(word) for word in command]) for command in commands)


def _check(wire: Wire, writer: Transactor) -> int:
    """All traces of the writer's transactions agree on one number, which this returns."""
    name = writer.name
    values = wire.call("MGET", *(f"{name}:{key}" for key in range(KEYS)))
    assert len(set(map(str, values))) == 1, values
    number = int(values[0]) if isinstance(values[0], bytes) else 0
    assert writer.acknowledged <= number <= writer.sent
    log = wire.call("GET", f"{name}:log") if number else b""
    assert log == b"".join(b"%d," % done for done in range(1, number + 1))
    total = number * (number + 1) // 2
    assert [int(value) for value in wire.call("MGET", f"{name}:from", f"{name}:to") if isinstance(value, bytes)] == (
        [-total, total] if number else []
    )
    assert wire.call("EXISTS", f"{name}:inside") == 0
    return number


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["always", "everysec", "no"])
def test_exec_is_all_or_nothing_after_kill(mode: str) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chooser = random.Random(seed)
    numbers = [0] * WRITERS
    with running(subject_flavour(), "--appendfsync", mode, durable=True) as server:
        for _ in range(scaled(4)):
            writers = [
                Transactor(server, f"w{index}", number, depth=(1, 4, 30)[index]) for index, number in enumerate(numbers)
            ]
            for writer in writers:
                writer.start()
            wanted = sum(numbers) + chooser.randrange(1, 200)
            deadline = time.monotonic() + 60
            while sum(writer.acknowledged for writer in writers) < wanted:
                assert time.monotonic() < deadline and any(writer.is_alive() for writer in writers)
                time.sleep(chooser.random() * 0.001)
            server.kill()
            for writer in writers:
                writer.join(60)
                assert not writer.is_alive()
                if writer.failure is not None:
                    raise writer.failure
            assert_sound(server)
            server.start()
            with server.connect() as wire:
                numbers = [_check(wire, writer) for writer in writers]
                keys = (KEYS + 3) * sum(number > 0 for number in numbers)
                assert wire.call("DBSIZE") == keys
