"""All declared groups together on the same few keys, with restarts and kill -9 of the subject."""

from __future__ import annotations

from tests.differential import strategies
from tests.differential.groups import declared
from tests.harness.statemachine import DifferentialMachine, machine_settings

assert strategies


class Mixed(DifferentialMachine):
    groups = ("base", *sorted(declared()))
    most_restarts = 2


TestMixed = Mixed.TestCase
TestMixed.settings = machine_settings(examples=25, steps=60)
