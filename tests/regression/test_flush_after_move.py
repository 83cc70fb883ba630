"""A big value moved to another database lost its elements when the source was flushed in the same turn."""

from __future__ import annotations

import pytest

from diskkv.codec.keys import ELEMENT_TAG
from tests.commands.session import Session

_FIELDS = 600


def _make_big_hash(session: Session) -> None:
    session.call(b"HSET", b"h", *(b"%d" % number for number in range(2 * _FIELDS)))


def _reclaim(session: Session) -> None:
    while session.instance.can_reclaim:
        session.instance.reclaimer.step(1000)
        session.engine.commit()


def test_a_moved_value_survives() -> None:
    session = Session()
    _make_big_hash(session)
    for line in ("MULTI", "MOVE h 1", "FLUSHDB", "EXEC"):
        session.run(line)
    _reclaim(session)
    session.run("SELECT 1")
    assert session.run("HLEN h") == str(_FIELDS)
    assert len(session.call(b"HVALS", b"h").split(b"\r\n")) == 2 * _FIELDS + 2


@pytest.mark.parametrize("flush", ["FLUSHDB", "FLUSHALL"])
def test_a_value_made_in_the_turn_that_flushes_leaves_nothing(flush: str) -> None:
    session = Session()
    session.run("MULTI")
    _make_big_hash(session)
    session.run(flush)
    session.run("EXEC")
    _reclaim(session)
    assert session.run("DBSIZE") == "0"
    assert list(session.engine.store.scan_keys(ELEMENT_TAG, b"e")) == []
