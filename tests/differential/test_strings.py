"""Random string commands on both servers, with restarts and kill -9 of the subject."""

from __future__ import annotations

from tests.differential import strategies
from tests.harness.statemachine import DifferentialMachine, machine_settings

assert strategies


class Strings(DifferentialMachine):
    groups = ("string", "string", "base")


TestStrings = Strings.TestCase
TestStrings.settings = machine_settings(examples=20, steps=50)
