"""How the checks of one object say what they find."""

from __future__ import annotations

from collections.abc import Iterator

from tools.ctl.output import quoted

Rows = Iterator[tuple[bytes, bytes]]
"""(row, value) of one kind, in order."""

_MOST_PROBLEMS = 20
_SHOWN_BYTES = 64


class ObjectReport:
    """Collects the first problems of an object; most others follow from these."""

    __slots__ = ("_count", "_problems")

    def __init__(self) -> None:
        self._problems: list[str] = []
        self._count = 0

    def __call__(self, problem: str) -> None:
        self._count += 1
        if self._count <= _MOST_PROBLEMS:
            self._problems.append(problem)

    def problems(self) -> list[str]:
        """What was found."""
        hidden = self._count - len(self._problems)
        return [*self._problems, f"... and {hidden} more"] if hidden else self._problems


def quoted_part(raw: bytes) -> str:
    """The beginning of a member, a field or a name for a message."""
    return quoted(raw, _SHOWN_BYTES)
