"""Random HyperLogLog commands on both servers, with restarts and kill -9 of the subject."""

from __future__ import annotations

from tests.differential import strategies
from tests.harness.statemachine import DifferentialMachine, machine_settings

assert strategies


class HyperLogLogs(DifferentialMachine):
    groups = ("hyperloglog", "base")


TestHyperLogLogs = HyperLogLogs.TestCase
TestHyperLogLogs.settings = machine_settings()
