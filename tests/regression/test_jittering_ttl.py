"""A time to live that went up and down left an entry in the expiry index every time that it became shorter."""

from __future__ import annotations

import random

from diskkv.codec.keys import EXPIRY_TAG, prefix_successor
from diskkv.engine.expiry import sweep
from tests.commands.session import Session


def entries(session: Session) -> int:
    return sum(1 for _ in session.engine.store.scan_keys(EXPIRY_TAG, prefix_successor(EXPIRY_TAG)))


def swept(session: Session) -> None:
    session.engine.begin(session.now_ms)
    while sweep(session.engine, 100):
        pass
    session.engine.commit()


def test_one_key_has_one_entry() -> None:
    session = Session()
    rng = random.Random(7)
    for _ in range(500):
        session.call(b"SET", b"k", b"v", b"EX", b"%d" % rng.randint(1000, 2000))
        session.now_ms += 1
        assert entries(session) == 1
    session.call(b"DEL", b"k")
    assert entries(session) == 0


def test_every_key_is_swept_whatever_happened_to_it() -> None:
    session = Session()
    rng = random.Random(8)
    keys = [b"k%d" % number for number in range(6)]
    for _ in range(3000):
        key = rng.choice(keys)
        seconds = b"%d" % rng.randint(1, 60)
        session.call(
            *rng.choice(
                [
                    [b"SET", key, b"v", b"EX", seconds],
                    [b"EXPIRE", key, seconds],
                    [b"PERSIST", key],
                    [b"DEL", key],
                    [b"RENAME", key, rng.choice(keys)],
                    [b"HSET", key, b"f", b"v"],
                    [b"HEXPIRE", key, seconds, b"FIELDS", b"1", b"f"],
                    [b"GETEX", key, b"EX", seconds],
                ]
            )
        )
        session.now_ms += rng.choice([0, 0, 10, 3000])
        if rng.random() < 0.2:
            swept(session)
        if rng.random() < 0.05:
            session.engine.indexed.clear()
    for key in keys:
        session.call(b"EXPIRE", key, b"100")
    session.now_ms += 200_000
    swept(session)
    assert session.database.keys == 0
    assert entries(session) == 0
