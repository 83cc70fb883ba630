"""Runs give the replies, and leave the data, that the same requests give one by one."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diskkv.commands import dispatch
from diskkv.commands.registry import TABLE, load_all
from diskkv.commands.runs import RUNS
from diskkv.services.client import Client
from tests.commands.session import Session

load_all()

KEYS = [b"a", b"b", b"c", b"string", b"timed", b"hash", b"list", b"set", b"zset", b"long", b"number", b"expired"]
KEYS += [b"bighash", b"biglist", b"bigset", b"bigzset", b"stream"]
MEMBERS = [b"1", b"2", b"3", b"m", b"n", b"", b"x" * 70]
SETUP = """
SET string text
SET timed text PX 100000
SET expired text PX 1
SET number 41
HSET hash 1 one m two
RPUSH list 1 2 3
SADD set 1 m
ZADD zset 1 1 2 m
XADD stream 1-1 a b
"""


def prepared() -> Session:
    session = Session()
    session.client.refresh()
    for line in (SETUP + LIMITS).split("\n"):
        if not line:
            continue
        session.run(line)
    session.call(b"SET", b"long", b"v" * 5000)
    session.now_ms += 10
    return session


def argument(kind: str, rng: random.Random) -> bytes:
    if kind == "key":
        return rng.choice(KEYS)
    if kind == "star":
        return rng.choice([b"*", b"*", b"*", b"5-*"])
    if kind == "index":
        return rng.choice([b"0", b"1", b"-1", b"30", b"-40", b"x"])
    if kind == "score":
        return rng.choice([b"1", b"2.5", b"-0", b"inf", b"nan", b"x", b"3"])
    return rng.choice(MEMBERS)


SHAPES = {
    "ping": (),
    "get": ("key",),
    "set": ("key", "member"),
    "mset": ("key", "member", "key", "member"),
    "incr": ("key",),
    "hset": ("key", "member", "member"),
    "hget": ("key", "member"),
    "sadd": ("key", "member"),
    "sismember": ("key", "member"),
    "spop": ("key",),
    "lpush": ("key", "member"),
    "rpush": ("key", "member"),
    "lpop": ("key",),
    "lrange": ("key", "index", "index"),
    "rpop": ("key",),
    "xadd": ("key", "star", "member", "member"),
    "zadd": ("key", "score", "member"),
    "zscore": ("key", "member"),
    "zpopmin": ("key",),
    "zpopmax": ("key",),
}
LIMITS = """
CONFIG SET hash-max-listpack-entries 2
CONFIG SET list-max-listpack-size 3
CONFIG SET set-max-listpack-entries 2
CONFIG SET set-max-intset-entries 2
CONFIG SET zset-max-listpack-entries 2
HSET bighash 1 one 2 two m three n four
RPUSH biglist 1 2 3 m n 1 2 3 m n 1 2 3 m n 1 2 3 m n 1 2 3 m n
SADD bigset 1 2 m n o p q r s t
ZADD bigzset 1 1 2 m 3 n -1 o -0 p 0 q 3 r inf s
"""
LIMITS += f"RPUSH biglist {' '.join(map(str, range(70)))} {'y' * 200} 1 2 3 4\n"
BIG = {"h": b"bighash", "l": b"biglist", "r": b"biglist", "s": b"bigset", "z": b"bigzset", "x": b"stream"}


def requests_of(name: str, seed: int, count: int, keys: int) -> list[list[bytes]]:
    rng = random.Random(seed)
    some = rng.sample(KEYS, keys)
    if keys == 1 and name not in ("set", "get") and rng.random() < 0.7:
        some = [BIG.get(name[0], b"number")]
    made = []
    for _ in range(count):
        argv = [name.encode()]
        for kind in SHAPES[name]:
            argv.append(rng.choice(some) if kind == "key" else argument(kind, rng))
        made.append(argv)
    return made


def run(session: Session, requests: list[list[bytes]], as_run: bool) -> bytes:
    """Execute requests in the open turn; the replies."""
    client: Client = session.client
    client.out.clear()
    columns = [list(column) for column in zip(*requests, strict=True)]
    entry = TABLE[requests[0][0].decode()]
    replies = dispatch.execute_run(client, entry, columns) if as_run else None
    if replies is not None:
        assert len(replies) == len(requests)
        return b"".join(replies)
    dispatch.execute_batch(client, requests, 0, len(requests))
    joined = b"".join(client.out)
    client.out.clear()
    return joined


def contents(session: Session) -> list[bytes]:
    """Every key with its value, and the counts."""
    found = []
    for key in KEYS:
        found += [session.call(b"TYPE", key), session.call(b"PTTL", key), session.call(b"OBJECT", b"ENCODING", key)]
    return [*found, session.call(b"DBSIZE"), session.call(b"DEBUG", b"DIGEST")]


def test_members_drawn_by_a_run_are_different_and_gone() -> None:
    session = prepared()
    before = set(session.call(b"SMEMBERS", b"bigset").split(b"\r\n")[2::2])
    session.engine.begin(session.now_ms)
    drawn = run(session, [[b"spop", b"bigset"]] * 4, True).split(b"\r\n")[1::2]
    session.engine.commit()
    after = set(session.call(b"SMEMBERS", b"bigset").split(b"\r\n")[2::2])
    assert len(set(drawn)) == 4
    assert after == before - set(drawn)


@pytest.mark.parametrize("name", sorted(RUNS))
def test_the_usual_requests_are_executed_as_a_run(name: str) -> None:
    session = prepared()
    arguments = {"key": BIG.get(name[0], b"number"), "member": b"m", "score": b"2", "index": b"-1", "star": b"*"}
    if name in ("get", "set"):
        arguments["key"] = b"string"
    columns = [[name.encode()] * 3] + [[arguments[kind]] * 3 for kind in SHAPES[name]]
    replies = dispatch.execute_run(session.client, TABLE[name], columns)
    assert replies is not None
    assert len(replies) == 3


@pytest.mark.parametrize("name", sorted(RUNS.keys() - {"spop"}))
@given(
    batches=st.lists(
        st.tuples(st.integers(0, 1 << 30), st.integers(2, 12), st.sampled_from([1, 1, 2, 5])), min_size=1, max_size=4
    ),
    commits=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_a_run_equals_its_requests(name: str, batches: list[tuple[int, int, int]], commits: bool) -> None:
    singly, together = prepared(), prepared()
    for session in (singly, together):
        session.engine.begin(session.now_ms)
    for seed, count, keys in batches:
        requests = requests_of(name, seed, count, keys)
        expected = run(singly, requests, False)
        assert run(together, [list(argv) for argv in requests], True) == expected
        if commits:
            singly.engine.commit()
            together.engine.commit()
    singly.engine.commit()
    together.engine.commit()
    assert contents(together) == contents(singly)
    assert together.engine.keyspace_hits == singly.engine.keyspace_hits
    assert together.engine.keyspace_misses == singly.engine.keyspace_misses
    assert TABLE[name].calls > 0


@pytest.mark.parametrize("name", sorted(RUNS))
def test_a_run_is_undone_with_its_turn(name: str) -> None:
    session = prepared()
    before = contents(session)
    session.engine.begin(session.now_ms)
    run(session, requests_of(name, 3, 12, 5), True)
    session.engine.rollback(0)
    session.engine.commit()
    assert contents(session) == before


def test_no_run_while_someone_hears_of_changes() -> None:
    session = prepared()
    columns = [[b"set", b"set"], [b"a", b"b"], [b"1", b"2"]]
    session.notify()
    assert None is dispatch.execute_run(session.client, TABLE["set"], columns)
    assert not session.engine.journal


def test_no_run_when_the_slow_log_wants_every_request() -> None:
    session = prepared()
    session.call(b"CONFIG", b"SET", b"slowlog-log-slower-than", b"0")
    columns = [[b"get", b"get"], [b"a", b"b"]]
    assert None is dispatch.execute_run(session.client, TABLE["get"], columns)


def test_a_run_counts_its_calls() -> None:
    session = prepared()
    before = TABLE["get"].calls
    replies = dispatch.execute_run(session.client, TABLE["get"], [[b"get"] * 5, [b"string"] * 5])
    assert TABLE["get"].calls == before + 5
    assert replies == [b"$4\r\ntext\r\n"] * 5
