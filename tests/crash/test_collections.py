"""kill -9 while values of all types change: every acknowledged change is there as a whole, and all rows agree."""

from __future__ import annotations

import random
import time

import pytest

from tests.crash.collection_writers import LIMITS, CollectionWriter, read_collections
from tests.crash.writers import Ledger, check
from tests.harness.integrity import assert_sound
from tests.harness.servers import running, subject_flavour
from tests.harness.statemachine import scaled

DEPTHS = (1, 6, 30)
"""How many requests each writer has in flight."""


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["always", "everysec"])
def test_changes_of_collections_survive_kill(mode: str) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chooser = random.Random(seed)
    ledgers = [Ledger() for _ in DEPTHS]
    with running(subject_flavour(), "--appendfsync", mode, *LIMITS, durable=True) as server:
        for _ in range(scaled(3)):
            writers = [
                CollectionWriter(server, f"w{number}", chooser.randrange(10**6), ledger, depth)
                for number, (ledger, depth) in enumerate(zip(ledgers, DEPTHS, strict=True))
            ]
            for writer in writers:
                writer.start()
            wanted = sum(ledger.requests for ledger in ledgers) + chooser.randrange(1, 2000)
            deadline = time.monotonic() + 60
            while sum(ledger.requests for ledger in ledgers) < wanted:
                assert time.monotonic() < deadline and any(writer.is_alive() for writer in writers), "no more writes"
                time.sleep(chooser.random() * 0.001)
            server.kill()
            for writer in writers:
                writer.join(60)
                assert not writer.is_alive()
                if writer.failure is not None:
                    raise writer.failure
            assert_sound(server)
            server.start()
            check(server, ledgers, read_collections)
