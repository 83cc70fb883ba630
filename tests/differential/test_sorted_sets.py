"""Random sorted-set commands on both servers, with restarts and kill -9 of the subject."""

from __future__ import annotations

from tests.differential import strategies
from tests.harness.statemachine import DifferentialMachine, machine_settings

assert strategies


class SortedSets(DifferentialMachine):
    groups = ("sorted-set", "base")


class SmallSortedSets(SortedSets):
    """With limits so small that most sets explode."""

    subject_options = ("--zset-max-listpack-entries", "3")
    reference_options = ("--zset-max-listpack-entries", "3")


TestSortedSets = SortedSets.TestCase
TestSortedSets.settings = machine_settings()
TestSmallSortedSets = SmallSortedSets.TestCase
TestSmallSortedSets.settings = machine_settings()
