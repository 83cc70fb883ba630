"""Charts."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from tools.benchmarks.plot import MAX_POINTS, MAX_TICKS, Chart, svg, thinned, ticks

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("highest", [0.003, 1.0, 6.0, 7.5, 60.0, 99.0, 768.0, 123456.0])
def test_ticks_are_round_and_reach_the_top(highest: float) -> None:
    found = ticks(highest)
    assert found[0] == 0
    assert highest <= found[-1] * (1 + 1e-9)
    assert len(found) <= MAX_TICKS + 1
    digits = f"{found[1]:.0e}"[0]
    assert digits in "125"


def test_ticks_of_nothing() -> None:
    assert ticks(0.0) == [0.0, 1.0]


def test_thinning_keeps_peaks() -> None:
    points = [(float(i), 1000.0 if i == 4321 else 1.0) for i in range(10_000)]
    found = thinned(points)
    assert len(found) <= MAX_POINTS
    assert (4321.0, 1000.0) in found


def test_a_drawing_has_a_line_for_each_series_within_its_frame() -> None:
    charts = [
        Chart("Load <fast>", "s", "keys/s", {"diskkv": [(0, 1), (1, 5), (2, 3)], "redis": [(0, 2), (2, 2)]}),
        Chart("Memory", "s", "MiB", {"diskkv": [(0, 100), (10, 200)]}, limit=300),
        Chart("Empty", "s", "MiB"),
    ]
    root = ET.fromstring(svg(charts))
    lines = root.findall(f"{SVG}polyline")
    assert len(lines) == 3
    height = float(root.attrib["height"])
    for line in lines:
        for pair in line.attrib["points"].split():
            x, y = map(float, pair.split(","))
            assert 0 <= x <= float(root.attrib["width"])
            assert 0 <= y <= height
    assert "Load <fast>" in [text.text for text in root.findall(f"{SVG}text")]
    assert len([line for line in root.findall(f"{SVG}line") if "stroke-dasharray" in line.attrib]) == 1
