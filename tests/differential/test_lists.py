"""Random list commands on both servers, with restarts and kill -9 of the subject."""

from __future__ import annotations

from tests.differential import strategies
from tests.harness.snapshot import assert_same_content
from tests.harness.statemachine import DATABASES, DifferentialMachine, machine_settings

assert strategies


class Lists(DifferentialMachine):
    groups = ("list", "base")


class SmallLists(Lists):
    """With a limit so small that most lists explode.

    Encodings are not compared: a quicklist that shrinks becomes a listpack only when what is left happens to lie in one
    of its nodes, and the subject has no nodes.
    """

    subject_options = ("--list-max-listpack-size", "3")
    reference_options = ("--list-max-listpack-size", "3")

    def compare_content(self) -> None:
        with self.subject.connect() as mine, self.reference.connect() as theirs:
            assert_same_content(mine, theirs, DATABASES, compare_encoding=False)


TestLists = Lists.TestCase
TestLists.settings = machine_settings()
TestSmallLists = SmallLists.TestCase
TestSmallLists.settings = machine_settings()
