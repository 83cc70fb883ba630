"""Every command with random arguments, in this process: no bug, no hang, no leak, and sound rows on disk.

The seed is random and printed; `python -m tests.hostile.campaign --seed N --inputs 1000000` makes longer runs.
"""

from __future__ import annotations

import gc
import secrets
import sys
from pathlib import Path
from random import Random

import pytest

from tests.hostile.arena import Arena, entries
from tests.hostile.arguments import mutated_payload

INPUTS = 2400


def new_rng() -> Random:
    """A generator whose seed is in the output of a test that fails."""
    seed = secrets.randbits(32)
    print("seed", seed)
    return Random(seed)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["memory", "leveldb"])
def test_random_requests(where: str, tmp_path: Path) -> None:
    arena = Arena(new_rng(), tmp_path if where == "leveldb" else None)
    for _ in range(2):
        arena.round(INPUTS // 2)
    assert arena.inputs >= INPUTS // 2
    # The fuzzer is worth little if it only ever hears of syntax errors.
    assert arena.outcomes["reply"] > arena.inputs // 5
    assert arena.instance.stats.unexpected_errors == 0


FAIL_HERE = {
    *("acl|load", "acl|save", "config|rewrite", "client|caching", "exec", "script|kill", "function|kill", "migrate"),
    *("function|restore", "latency|graph", "module|load", "module|loadex", "module|unload"),
}
"""What needs a file, a running script, a mode, another server or more luck."""


@pytest.mark.slow
def test_every_command_is_drawn_and_can_succeed() -> None:
    """Arguments are right often enough: each command is tried until it answers something else than an error."""
    arena = Arena(Random(1))
    failing = []
    for number, entry in enumerate(entries()):
        if number % 30 == 0:
            arena.reset()
            arena.fill()
        if entry.name in FAIL_HERE or entry.subcommands:
            continue
        for _ in range(400):
            replies = arena.one(arena.vectors.vector(entry))
            if not replies or not isinstance(replies[0], Exception):
                break
        else:
            failing.append(entry.name)
    assert not failing


@pytest.mark.slow
def test_nothing_is_left_behind() -> None:
    """After rounds of requests an instance that is put back to empty holds no more than before."""
    arena = Arena(new_rng())

    def blocks_left() -> int:
        arena.reset()
        arena.recent.clear()
        gc.collect()
        return sys.getallocatedblocks()

    arena.round(2500)
    before = blocks_left()
    for _ in range(3):
        arena.round(800)
    grown = blocks_left() - before
    # Compiled patterns, names of commands and the like are kept, up to a bound.
    assert grown < 10_000, f"{grown} blocks more"


def test_corrupt_payloads(tmp_path: Path) -> None:
    """RESTORE of payloads with flipped bits and a right checksum: refused, or a value that all commands can read."""
    rng = new_rng()
    arena = Arena(rng, tmp_path)
    arena.reset()
    arena.fill()
    payloads = arena.vectors.payloads
    arena.control([b"CONFIG", b"SET", b"proto-max-bulk-len", b"16mb"])
    restored = 0
    readers = [b"DUMP", b"TYPE", b"HGETALL", b"LRANGE", b"SMEMBERS", b"ZRANGE", b"XRANGE", b"XINFO", b"GET", b"PFCOUNT"]
    for number in range(1500):
        payload = mutated_payload(rng, payloads[number % len(payloads)])
        key = b"restored:%d" % (number % 20)
        replies = arena.one([b"RESTORE", key, b"0", payload, b"REPLACE"])
        if replies and replies[0] in (b"OK", "OK"):
            restored += 1
            for name in readers:
                arena.one(_reading(name, key))
    assert restored > 50
    arena.settle()


def _reading(name: bytes, key: bytes) -> list[bytes]:
    if name == b"XINFO":
        return [name, b"STREAM", key, b"FULL"]
    tail = {b"LRANGE": [b"0", b"-1"], b"ZRANGE": [b"0", b"-1", b"WITHSCORES"], b"XRANGE": [b"-", b"+"]}
    return [name, key, *tail.get(name, [])]
