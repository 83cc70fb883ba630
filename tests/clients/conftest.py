"""Gives the toolchains a directory that all processes of this run share."""

from __future__ import annotations

import os

import pytest

from tests.clients.harness import toolchains


@pytest.fixture(scope="session", autouse=True)
def _shared_root(tmp_path_factory: pytest.TempPathFactory) -> None:
    base = tmp_path_factory.getbasetemp()
    # Each process of pytest-xdist has its own directory in the run's.
    toolchains.shared_root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
