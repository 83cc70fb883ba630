"""How long the calls of a command took: a histogram that costs the hot path next to nothing.

Up to 65 us, which nearly all calls stay below, durations are counted in steps of 256 ns; dispatch increments `fine` on
its own and only calls `add` when that raises IndexError. Longer ones are counted in eighths of a power of two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

FINE_SHIFT = 8
"""dispatch counts a duration in fine[duration_ns >> FINE_SHIFT]."""
_FINE_BUCKETS = 256
_SUB_BITS = 3


class Durations:
    """The histogram of one command; takes memory only once something was counted."""

    __slots__ = ("coarse", "fine")

    def __init__(self) -> None:
        self.fine: list[int] = []
        """Calls by duration_ns >> FINE_SHIFT; empty before the first call. The list is never replaced."""
        self.coarse: dict[int, int] = {}
        """Calls of the longer ones by bucket number."""

    def add(self, duration_ns: int, calls: int = 1) -> None:
        """Count calls of this duration, whatever its length."""
        if not self.fine:
            self.fine += [0] * _FINE_BUCKETS
        if duration_ns >> FINE_SHIFT < _FINE_BUCKETS:
            self.fine[duration_ns >> FINE_SHIFT] += calls
        else:
            shift = duration_ns.bit_length() - 1 - _SUB_BITS
            bucket = (shift << _SUB_BITS) + (duration_ns >> shift) - (1 << _SUB_BITS)
            self.coarse[bucket] = self.coarse.get(bucket, 0) + calls

    def clear(self) -> None:
        """Forget everything."""
        self.fine.clear()
        self.coarse.clear()

    @property
    def count(self) -> int:
        """How many durations were counted."""
        return sum(self.fine) + sum(self.coarse.values())

    def buckets(self) -> Iterator[tuple[int, int, int]]:
        """(from_ns, to_ns, calls) of the buckets that have calls, from_ns <= duration < to_ns, in order."""
        step = 1 << FINE_SHIFT
        for at, calls in enumerate(self.fine):
            if calls:
                yield at * step, (at + 1) * step, calls
        for bucket, calls in sorted(self.coarse.items()):
            shift, part = bucket >> _SUB_BITS, bucket & ((1 << _SUB_BITS) - 1)
            start = ((1 << _SUB_BITS) + part) << shift
            yield start, start + (1 << shift), calls

    def percentiles_us(self, wanted: Sequence[float]) -> list[float]:
        """The durations in us below which these percentages (0 to 100, ascending) of the calls were.

        The exact one lies in the same bucket: it differs by at most 0.256 us up to 65 us, by an eighth above.
        """
        total = self.count
        if not total:
            return [0.0] * len(wanted)
        found: list[float] = []
        seen = 0
        for start_ns, stop_ns, calls in self.buckets():
            while len(found) < len(wanted) and wanted[len(found)] / 100 * total <= seen + calls:
                share = max(0.0, wanted[len(found)] / 100 * total - seen) / calls
                found.append((start_ns + share * (stop_ns - start_ns)) / 1000)
            seen += calls
        return found

    def cumulative(self) -> list[tuple[int, int]]:
        """(limit, calls that took no longer), for the limits 1.024 us * 2**n that LATENCY HISTOGRAM shows, in us.

        Begins with the first limit that has calls, ends with the one that has all; limits without calls of their own
        are left out.
        """
        rows: list[tuple[int, int]] = []
        seen = 0
        for start_ns, _, calls in self.buckets():
            limit_us = (1 << max(10, start_ns.bit_length())) // 1000
            seen += calls
            if rows and rows[-1][0] == limit_us:
                rows[-1] = (limit_us, seen)
            else:
                rows.append((limit_us, seen))
        return rows
