"""PERSIST of a hash whose field expires at the same time as the key left the field's row behind for good."""

from __future__ import annotations

import pytest

from diskkv.engine.expiry import sweep
from tests.commands.session import NOW_MS, Session
from tools.ctl.check import Checker

SOON_MS = NOW_MS + 1000


def problems_of(session: Session) -> list[str]:
    checker = Checker(session.engine.store)
    checker.run()
    return checker.problems


@pytest.mark.parametrize("entries", [1, 128])
@pytest.mark.parametrize("later_ms", [0, 500])
def test_persist_keeps_the_entry_of_a_field(entries: int, later_ms: int) -> None:
    """Also when the field's time was put off since: its entry in the index is the one that was there before."""
    session = Session()
    session.instance.config.hash_max_listpack_entries = entries
    session.run("HSET hash field value other value")
    session.run(f"HPEXPIREAT hash {SOON_MS} FIELDS 1 field")
    session.run(f"PEXPIREAT hash {SOON_MS}")
    session.run(f"HPEXPIREAT hash {SOON_MS + later_ms} FIELDS 1 field")
    assert session.run("PERSIST hash") == "1"
    assert problems_of(session) == []
    for _ in range(2):
        session.engine.begin(SOON_MS + later_ms + 1)
        sweep(session.engine, 100)
        session.engine.commit()
    assert session.engine.expired_fields == 1
    assert problems_of(session) == []


def test_a_hash_that_is_renamed_over_another_keeps_its_entry() -> None:
    session = Session()
    session.run("HSET hash field value other value")
    session.run(f"HPEXPIREAT hash {SOON_MS} FIELDS 1 field")
    session.run(f"PEXPIREAT hash {SOON_MS}")
    session.run(f"HPEXPIREAT hash {SOON_MS + 1} FIELDS 1 field")
    session.run("HSET second field value other value")
    session.run(f"HPEXPIREAT second {SOON_MS + 2} FIELDS 1 field")
    assert session.run("RENAME second hash") == "OK"
    assert problems_of(session) == []
