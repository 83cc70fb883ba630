"""Random geo commands on both servers, with restarts and kill -9 of the subject."""

from __future__ import annotations

from tests.differential import strategies
from tests.harness.statemachine import DifferentialMachine, machine_settings

assert strategies


class Geo(DifferentialMachine):
    groups = ("geo", "base")


TestGeo = Geo.TestCase
TestGeo.settings = machine_settings()
