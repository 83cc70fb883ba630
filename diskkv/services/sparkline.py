"""A graph in plain characters, as LATENCY GRAPH draws it: one column for each sample."""

from __future__ import annotations

from collections.abc import Sequence

_ROWS = 4
_COLUMNS = 80
_TOP = "_-`"
"""The end of a bar, lower to higher within its row."""


def sparkline(samples: Sequence[tuple[int, str]]) -> str:
    """Bars of the values, 0 at the bottom, with the labels written downwards below."""
    lines: list[str] = []
    for start in range(0, len(samples), _COLUMNS):
        part = samples[start : start + _COLUMNS]
        lines += _bars([value for value, _ in part], max(value for value, _ in samples))
        lines.append("")
        depth = max(len(label) for _, label in part)
        lines += ["".join(label[row] if row < len(label) else " " for _, label in part) for row in range(depth)]
    return "\n".join(lines)


def _bars(values: Sequence[int], top: int) -> list[str]:
    steps = len(_TOP)
    heights = [max(1, -(-value * _ROWS * steps // top)) if top else 1 for value in values]
    rows = []
    for row in range(_ROWS - 1, -1, -1):
        rows.append("".join(_cell(height - row * steps, height == _ROWS * steps) for height in heights))
    return rows


def _cell(above: int, is_highest: bool) -> str:
    """What a bar shows in a row that it exceeds by `above` steps."""
    if above <= 0:
        return " "
    if above > len(_TOP):
        return "|"
    return "#" if is_highest and above == len(_TOP) else _TOP[above - 1]
