"""Random stream commands on both servers, with restarts and kill -9 of the subject."""

from __future__ import annotations

from tests.differential import strategies
from tests.harness.statemachine import DifferentialMachine, machine_settings

assert strategies


# Small nodes, so that approximate trimming removes some of them.
OPTIONS = ("--stream-node-max-entries", "4")


class Streams(DifferentialMachine):
    groups = ("stream", "base")
    subject_options = OPTIONS
    reference_options = OPTIONS


TestStreams = Streams.TestCase
TestStreams.settings = machine_settings()
