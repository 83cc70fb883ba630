"""What a benchmark can fail with."""

from __future__ import annotations


class BenchError(Exception):
    """The benchmark cannot go on; the message is one line fit for an operator."""
