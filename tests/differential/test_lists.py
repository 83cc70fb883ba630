"""Random list commands on both servers, with restarts and kill -9 of the subject."""

from __future__ import annotations

from tests.differential import strategies
from tests.harness.statemachine import DifferentialMachine, machine_settings

assert strategies


class Lists(DifferentialMachine):
    groups = ("list", "base")


TestLists = Lists.TestCase
TestLists.settings = machine_settings()
