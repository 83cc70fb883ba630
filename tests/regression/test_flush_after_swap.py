"""SWAPDB and FLUSHDB in one turn left the flushed keys on disk for good: nothing told the reclaimer of them."""

from __future__ import annotations

import pytest

from diskkv.codec.keys import HEADER_TAG
from tests.commands.session import Session
from tools.ctl.check import Checker


@pytest.mark.parametrize("lines", [("SWAPDB 0 1", "FLUSHDB"), ("SWAPDB 1 0", "FLUSHALL"), ("FLUSHDB", "FLUSHALL")])
def test_flushed_keys_are_reclaimed(lines: tuple[str, ...]) -> None:
    session = Session()
    session.run("SADD zero a b c")
    session.run("SELECT 1")
    session.run("MSET one 1 two 2")
    for line in ("SELECT 0", "MULTI", *lines, "EXEC"):
        session.run(line)
    checker = Checker(session.engine.store)
    checker.run()
    assert checker.problems == []
    while session.instance.can_reclaim:
        session.instance.reclaimer.step(1000)
        session.engine.commit()
    left = len(list(session.engine.store.scan_keys(HEADER_TAG, b"n")))
    assert left == sum(session.engine.databases[number].keys for number in range(2))
