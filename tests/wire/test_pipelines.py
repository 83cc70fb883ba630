"""Pipelines of one command, which are executed as a whole, compared with the reference; compiled and in Python."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.harness import servers
from tests.harness.servers import ServerProcess
from tests.harness.wire import Simple, is_nil

KEYS = ["string", "number", "list", "set", "zset", "hash", "new", "other"]
MEMBERS = ["1", "2", "3", "m", "n", "", "x" * 80]
SCORES = ["1", "2.5", "-0", "inf", "3", "nan", "word"]
SHAPES = {
    "GET": "k",
    "SET": "km",
    "MSET": "kmkmkm",
    "INCR": "k",
    "LPUSH": "km",
    "RPUSH": "km",
    "LPOP": "k",
    "RPOP": "k",
    "SADD": "km",
    "SREM": "km",
    "SISMEMBER": "km",
    "HSET": "kmm",
    "HGET": "km",
    "HDEL": "km",
    "ZADD": "ksm",
    "ZSCORE": "km",
    "ZPOPMIN": "k",
    "ZINCRBY": "ksm",
    "DEL": "k",
    "EXPIRE": "kt",
}
SETUP = [
    ("FLUSHALL",),
    ("SET", "string", "text"),
    ("SET", "number", "7", "EX", "1000"),
    ("RPUSH", "list", "1", "2"),
    ("SADD", "set", "1", "m"),
    ("ZADD", "zset", "1", "1", "2", "m"),
    ("HSET", "hash", "1", "one"),
    ("CONFIG", "SET", "list-max-listpack-size", "8", "hash-max-listpack-entries", "6"),
    ("CONFIG", "SET", "zset-max-listpack-entries", "6"),
]
END = [("EXISTS", *KEYS), ("DEBUG", "DIGEST")] + [("OBJECT", "ENCODING", key) for key in KEYS]


def pipeline(rng: random.Random) -> list[list[str]]:
    """Between two and forty commands, mostly of one kind and on few keys."""
    some = rng.sample(KEYS, rng.choice([1, 1, 2, 8]))
    values = {"m": MEMBERS, "s": SCORES[: rng.choice([5, 7])], "t": ["100", "1000"], "k": some}
    commands = []
    for _ in range(rng.choice([1, 1, 1, 3])):
        name = rng.choice(list(SHAPES))
        if rng.random() < 0.2:
            values["m"] = [f"member:{number}" for number in range(50)]
        shape = SHAPES[name]
        if name == "MSET":
            # Two or three keys, or a value too few.
            shape = shape[: rng.choice([4, 6, 6, 5])]
        for _ in range(rng.randint(2, 40)):
            commands.append([name, *(rng.choice(values[kind]) for kind in shape)])
    if rng.random() < 0.1:
        commands = [["MULTI"], *commands, ["EXEC"]]
    return commands


@pytest.fixture(params=["compiled", "portable"], scope="module")
def subject(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    wrapper = ("env", "DISKKV_PURE_PYTHON=1") if request.param == "portable" else ()
    with ServerProcess(servers.subject_flavour(), wrapper=wrapper).start() as server:
        yield server


@pytest.mark.parametrize("seed", range(12))
def test_pipelines_are_answered_as_by_the_reference(subject: ServerProcess, seed: int) -> None:
    rng = random.Random(seed)
    with subject.connect() as wire, servers.reference().connect() as expected:
        for each in (wire, expected):
            each.pipeline(SETUP)
        for _ in range(20):
            commands = pipeline(rng)
            assert wire.pipeline(commands) == expected.pipeline(commands), commands
        assert wire.pipeline(END) == expected.pipeline(END)


def test_a_deep_pipeline_arrives_in_pieces(subject: ServerProcess) -> None:
    """Requests that are cut by the receive buffer, alike or with another one among them."""
    with subject.connect() as wire:
        wire.call("FLUSHALL")
        numbers = range(10_000)
        stored = wire.pipeline([["SET", f"deep:{number}", "v" * (number % 50)] for number in numbers])
        assert stored == [Simple(b"OK")] * len(numbers)
        found = wire.pipeline([["GET", f"deep:{number}"] for number in numbers])
        assert found == [b"v" * (number % 50) for number in numbers]
        pushes = [["RPUSH", "deep:list", f"item:{number}"] for number in numbers]
        pushes[5000] = ["LLEN", "deep:list"]
        lengths = wire.pipeline(pushes)
        assert lengths == [*range(1, 5001), 5000, *range(5001, 10_000)]


def test_a_pipeline_serves_those_who_wait(subject: ServerProcess) -> None:
    with subject.connect() as wire, subject.connect() as waiting, subject.connect() as watching:
        wire.call("FLUSHALL")
        waiting.send("BLPOP", "queue", "0")
        watching.call("WATCH", "queue")
        while b"blocked_clients:1" not in wire.call("INFO", "clients"):
            pass
        assert wire.pipeline([["RPUSH", "queue", str(number)] for number in range(5)]) == [1, 1, 2, 3, 4]
        assert waiting.read_reply() == [b"queue", b"0"]
        assert is_nil(watching.pipeline([["MULTI"], ["LLEN", "queue"], ["EXEC"]])[-1])


def test_clients_send_requests_of_different_lengths(subject: ServerProcess) -> None:
    """At the same time, so that some of them come in one turn."""
    pairs = [1, 2, 2, 3, 1, 2, 3, 3]
    clients = [subject.connect() for _ in pairs]
    try:
        for turn in range(40):
            for number, (client, count) in enumerate(zip(clients, pairs, strict=True)):
                arguments = [f"{each}:{number}:{index}" for index in range(count) for each in ("key", turn)]
                client.send("MSET", *arguments, *(["one"] if number == 4 and turn % 2 else []))
            for number, client in enumerate(clients):
                reply = client.read_reply()
                assert (reply == Simple(b"OK")) is not (number == 4 and turn % 2)
        for number, (client, count) in enumerate(zip(clients, pairs, strict=True)):
            expected = [f"{38 if number == 4 else 39}:{number}:{index}".encode() for index in range(count)]
            assert client.call("MGET", *(f"key:{number}:{index}" for index in range(count))) == expected
    finally:
        for client in clients:
            client.close()


def test_statistics_count_every_command_of_a_pipeline(subject: ServerProcess) -> None:
    with subject.connect() as wire:
        wire.call("CONFIG", "RESETSTAT")
        wire.pipeline([["SET", f"key:{number}", "v"] for number in range(20)])
        wire.pipeline([["GET", f"key:{number}"] for number in range(25)])
        stats = wire.call("INFO", "commandstats", "stats")
        assert b"cmdstat_set:calls=20," in stats
        assert b"cmdstat_get:calls=25," in stats
        assert b"keyspace_hits:20\r" in stats
        assert b"keyspace_misses:5\r" in stats
