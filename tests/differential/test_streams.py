"""Random stream commands on both servers, with restarts and kill -9 of the subject."""

from __future__ import annotations

from tests.differential import strategies
from tests.harness.statemachine import DifferentialMachine, machine_settings

assert strategies


class Streams(DifferentialMachine):
    groups = ("stream", "base")


TestStreams = Streams.TestCase
TestStreams.settings = machine_settings()
