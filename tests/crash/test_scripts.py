"""kill -9 while scripts run: each is there whole afterwards or not at all, acknowledged ones are; so are functions."""

from __future__ import annotations

import random
import time

import pytest

from tests.crash.until_gone import UntilGone
from tests.harness.servers import ServerProcess, running, subject_flavour
from tests.harness.statemachine import scaled
from tests.harness.wire import Simple, Wire, encode_command

WRITERS = 3
KEYS = 200
SCRIPT = f"""
for i = 1, {KEYS} do redis.call('SET', KEYS[1] .. ':' .. i, ARGV[1]) end
redis.call('RPUSH', KEYS[1] .. ':log', ARGV[1])
redis.call('SET', KEYS[1] .. ':inside', ARGV[1])
redis.call('HSET', KEYS[1] .. ':hash', 'number', ARGV[1], 'field' .. ARGV[1], 'x')
return redis.call('DEL', KEYS[1] .. ':inside')
"""


class Caller(UntilGone):
    """One connection that runs the numbered script until the server is gone, with a function of the same number.

    `acknowledged` and `sent` are the numbers of the last scripts.
    """

    def __init__(self, server: ServerProcess, name: str, number: int, depth: int) -> None:
        super().__init__(server, name, depth)
        self.sent = self.acknowledged = number

    def _round(self, wire: Wire) -> None:
        requests = []
        for _ in range(self._depth):
            self.sent += 1
            requests.append(self._request(self.sent))
        wire.send_raw(b"".join(requests))
        for _ in range(self._depth):
            assert wire.read_reply() == Simple(b"OK")
            assert [wire.read_reply(), wire.read_reply()] == [Simple(b"QUEUED")] * 2
            assert wire.read_reply() == [1, self.name.encode()]
            self.acknowledged += 1

    def _request(self, number: int) -> bytes:
        name = self.name
        library = f"#!lua name={name}\nredis.register_function('{name}', function() return {number} end)"
        commands = [
            ["MULTI"],
            ["EVAL", SCRIPT, "1", name, str(number)],
            ["FUNCTION", "LOAD", "REPLACE", library],
            ["EXEC"],
        ]
        return b"".join(encode_command(command) for command in commands)


def _check(wire: Wire, caller: Caller) -> int:
    """All traces of the caller's scripts agree on one number, which this returns."""
    name = caller.name
    values = wire.call("MGET", *(f"{name}:{key}" for key in range(1, KEYS + 1)))
    assert len(set(map(str, values))) == 1, values
    number = int(values[0]) if isinstance(values[0], bytes) else 0
    assert caller.acknowledged <= number <= caller.sent
    assert wire.call("LRANGE", f"{name}:log", "0", "-1") == [b"%d" % done for done in range(1, number + 1)]
    assert wire.call("HLEN", f"{name}:hash") == (number + 1 if number else 0)
    assert wire.call("EXISTS", f"{name}:inside") == 0
    if number:
        assert wire.call("HGET", f"{name}:hash", "number") == b"%d" % number
        assert wire.call("FCALL", name, "0") == number
    return number


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["always", "everysec"])
def test_a_script_is_all_or_nothing_after_kill(mode: str) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chooser = random.Random(seed)
    numbers = [0] * WRITERS
    with running(subject_flavour(), "--appendfsync", mode, durable=True) as server:
        for _ in range(scaled(4)):
            callers = [
                Caller(server, f"w{index}", number, depth=(1, 2, 8)[index]) for index, number in enumerate(numbers)
            ]
            for caller in callers:
                caller.start()
            wanted = sum(numbers) + chooser.randrange(1, 60)
            deadline = time.monotonic() + 60
            while sum(caller.acknowledged for caller in callers) < wanted:
                assert time.monotonic() < deadline and any(caller.is_alive() for caller in callers)
                time.sleep(chooser.random() * 0.001)
            server.kill()
            for caller in callers:
                caller.join(60)
                assert not caller.is_alive()
                if caller.failure is not None:
                    raise caller.failure
            server.start()
            with server.connect() as wire:
                numbers = [_check(wire, caller) for caller in callers]
                assert wire.call("DBSIZE") == (KEYS + 2) * sum(number > 0 for number in numbers)
