"""Settings for all tests: hypothesis profiles, and the end of pooled servers."""

from __future__ import annotations

import os
from collections.abc import Iterator

import hypothesis.internal.conjecture.engine
import pytest
from hypothesis import HealthCheck, settings

from tests.harness.servers import POOL

_SCALE = float(os.environ.get("DISKKV_TEST_EXAMPLES", "1"))

settings.register_profile(
    "ci",
    max_examples=max(1, int(60 * _SCALE)),
    deadline=None,
    derandomize=False,
    print_blob=True,
    report_multiple_bugs=False,
    # Real servers answer as fast as the machine lets them; slow data generation is no finding here.
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
settings.load_profile("ci")
# Every attempt to shrink drives real servers; hypothesis' own limit of five minutes a test would be most of a run.
hypothesis.internal.conjecture.engine.MAX_SHRINKING_SECONDS = int(os.environ.get("DISKKV_TEST_SHRINK_SECONDS", "60"))


@pytest.fixture(scope="session", autouse=True)
def _end_pooled_servers() -> Iterator[None]:
    yield
    POOL.close()
