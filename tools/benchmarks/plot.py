"""Line charts as SVG, without a plotting library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

Point = tuple[float, float]

WIDTH = 720
HEIGHT = 260
LEFT, RIGHT, TOP, BOTTOM = 80, 20, 40, 44
COLOURS = ("#1f6fb4", "#d1642b", "#3a8f4d", "#8456a8", "#777777")
MAX_POINTS = 600
MAX_TICKS = 6


@dataclass
class Chart:
    """One chart: named series of (x, y), both from 0; `limit` is a dashed horizontal line."""

    title: str
    x_label: str
    y_label: str
    series: dict[str, Sequence[Point]] = field(default_factory=dict)
    limit: float | None = None


def ticks(highest: float) -> list[float]:
    """Round values from 0 to at least `highest`, MAX_TICKS steps at most."""
    if highest <= 0:
        return [0.0, 1.0]
    rough = highest / MAX_TICKS
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= rough * (1 - 1e-9))
    return [step * number for number in range(math.ceil(highest / step - 1e-9) + 1)]


def thinned(points: Sequence[Point]) -> list[Point]:
    """At most MAX_POINTS points: of each group the highest, so that peaks stay visible."""
    group = math.ceil(len(points) / MAX_POINTS)
    if group <= 1:
        return list(points)
    return [max(points[i : i + group], key=lambda point: point[1]) for i in range(0, len(points), group)]


def _label(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.2g}"


def _text(x: float, y: float, text: str, anchor: str = "middle", extra: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{extra}>{escape(text)}</text>'


def _rule(y: float, style: str) -> str:
    return f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" {style}/>'


def _draw(chart: Chart, top: float) -> list[str]:
    points = [point for series in chart.series.values() for point in series]
    x_ticks = ticks(max((x for x, _ in points), default=0.0))
    y_ticks = ticks(max([y for _, y in points] + ([chart.limit] if chart.limit is not None else []), default=0.0))
    plot_width, plot_height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    base = top + HEIGHT - BOTTOM

    def place(point: Point) -> tuple[float, float]:
        return LEFT + point[0] / x_ticks[-1] * plot_width, base - point[1] / y_ticks[-1] * plot_height

    parts = [_text(WIDTH / 2, top + 18, chart.title, extra=' font-weight="bold"')]
    for value in y_ticks:
        _, y = place((0, value))
        parts.append(_rule(y, 'stroke="#dddddd"'))
        parts.append(_text(LEFT - 6, y + 4, _label(value), "end"))
    for value in x_ticks:
        parts.append(_text(place((value, 0))[0], base + 16, _label(value)))
    parts.append(_text(WIDTH / 2, base + 34, chart.x_label))
    middle = base - plot_height / 2
    parts.append(_text(16, middle, chart.y_label, extra=f' transform="rotate(-90 16 {middle:.1f})"'))
    if chart.limit is not None:
        _, y = place((0, chart.limit))
        parts.append(_rule(y, 'stroke="#aa0000" stroke-dasharray="5 4"'))
    for number, (name, series) in enumerate(chart.series.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(place, thinned(series)))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(_text(WIDTH - RIGHT - 4, top + TOP + 12 + 15 * number, name, "end", f' fill="{colour}"'))
    return parts


def svg(charts: Sequence[Chart]) -> str:
    """The charts one below the other."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT * len(charts)}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for number, chart in enumerate(charts):
        parts += _draw(chart, number * HEIGHT)
    return "\n".join([*parts, "</svg>"]) + "\n"
