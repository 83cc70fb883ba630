"""Collects the tests of what only diskkv promises only when diskkv is the server under test."""

from __future__ import annotations

from tests.harness.servers import subject_flavour

# A Redis that cannot write its log ends instead of refusing writes.
collect_ignore = [] if subject_flavour().is_diskkv else ["test_failed_writes.py"]
