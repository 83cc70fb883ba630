"""Random commands of all data types leave rows that agree with each other, whatever the turn, the clock and the limits.

The same commands as in the differential tests, but without sockets or a reference: many more of them in the same time,
with sweeps, slices of reclaim, rollbacks and restarts between them.
"""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from diskkv.commands import dispatch
from diskkv.commands.registry import Flag, load_all
from diskkv.engine.expiry import sweep
from diskkv.services.instance import Instance
from tests.commands.session import NOW_MS, Session
from tests.differential import strategies
from tests.harness import grammar
from tests.harness.grammar import Argv
from tests.harness.statemachine import scaled
from tools.ctl.check import Checker

assert strategies

GROUPS = ("base", "generic", "string", "hash", "list", "set", "sorted-set", "stream", "bitmap", "geo", "sort")
COMMANDS = st.one_of([found for group in grammar.registered(GROUPS).values() for found in group])
TURNS = st.lists(st.lists(COMMANDS, min_size=1, max_size=6), min_size=10, max_size=40)
SMALL_LIMITS = {
    "hash_max_listpack_entries": 3,
    "set_max_listpack_entries": 3,
    "set_max_intset_entries": 3,
    "zset_max_listpack_entries": 3,
    "list_max_listpack_size": 3,
    "stream_node_max_entries": 3,
}


class Run:
    """One instance and its clock; `chooser` decides what happens beside the commands."""

    def __init__(self, chooser: Random) -> None:
        self.session = Session()
        self.chooser = chooser
        self.now_ms = NOW_MS
        for name, limit in SMALL_LIMITS.items() if chooser.randrange(4) else ():
            setattr(self.session.instance.config, name, limit)

    def turn(self, commands: list[Argv]) -> None:
        """A turn of these commands; now and then one of them, or the whole turn, is taken back."""
        self.now_ms += self.chooser.choice([0, 0, 5, 1000, 200_000_000])
        session = self.session
        session.engine.begin(self.now_ms)
        for argv in commands:
            mark = len(session.engine.journal)
            dispatch.execute(session.client, list(argv))
            if self.chooser.randrange(20) == 0:
                session.engine.rollback(mark)
        if self.chooser.randrange(20) == 0:
            session.engine.rollback(0)
        session.engine.commit()

    def background(self) -> None:
        """What happens between turns, or a restart."""
        session = self.session
        kind = self.chooser.randrange(12)
        session.engine.begin(self.now_ms)
        if kind < 3:
            sweep(session.engine, self.chooser.choice([1, 3, 100]))
        elif kind < 6:
            session.instance.reclaimer.step(self.chooser.choice([1, 20, 1000]))
        session.engine.commit()
        if kind == 11:
            instance = session.instance = Instance(session.instance.config, session.engine.store)
            instance.use_commands(load_all(), Flag.PLAIN, Flag.SKIP_SLOWLOG)
            session.client = instance.new_client()
            session.engine = instance.engine

    def check(self) -> None:
        """The rows agree."""
        checker = Checker(self.session.engine.store)
        checker.run()
        assert checker.problems == []


@settings(max_examples=scaled(40))
@given(TURNS, st.randoms(use_true_random=False))
def test_rows_agree_after_random_commands(turns: list[list[Argv]], chooser: Random) -> None:
    run = Run(chooser)
    for commands in turns:
        run.turn(commands)
        run.background()
        run.check()
    while run.session.instance.can_reclaim:
        run.session.instance.reclaimer.step(1000)
        run.session.engine.commit()
    run.check()
