"""LOLWUT: the version, and a picture that is another one every time."""

from __future__ import annotations

import random

from diskkv.commands.arguments import parse_integer
from diskkv.commands.registry import Flag, command
from diskkv.resp.reply import verbatim
from diskkv.services.client import Client
from diskkv.services.info import REDIS_VERSION

_COLUMNS, _LAYERS = 66, 7
_MAX_COLUMNS, _MAX_LAYERS = 1000, 100
_WITH_PICTURE = (5, 6, 8)
"""The versions that drew something; any other one only tells the version."""
_GRAINS = " .:-=+*o%#@"


@command("LOLWUT", arity=-1, flags=Flag.READONLY | Flag.FAST, group="server", since="5.0.0", complexity="",
         syntax="[VERSION version]")  # fmt: skip
def lolwut(client: Client, argv: list[bytes]) -> bytes:
    """Draw strata: what was written last lies on top, and what lies deep is denser. Tell the version."""
    sizes: list[int] = []
    if len(argv) >= 3 and argv[1].upper() == b"VERSION":
        version = parse_integer(argv[2])
        if version not in _WITH_PICTURE:
            return verbatim(f"Redis ver. {REDIS_VERSION}\n".encode(), client.resp)
        sizes = [parse_integer(text) for text in argv[3:5]]
    columns = min(max(sizes[0], 1), _MAX_COLUMNS) if sizes else _COLUMNS
    layers = min(max(sizes[1], 1), _MAX_LAYERS) if len(sizes) > 1 else _LAYERS
    picture = "\n".join(_strata(columns, layers))
    return verbatim(f"{picture}\n\nStrata, drawn by diskkv. Redis ver. {REDIS_VERSION}\n".encode(), client.resp)


def _strata(columns: int, layers: int) -> list[str]:
    """Rows of a cut through the ground. Each layer follows the one below it, and smooths it out a little."""
    heights = [0.0] * columns
    tops: list[list[int]] = []
    for _ in range(layers):
        slope, level = 0.0, random.uniform(1.0, 3.0)
        for column in range(columns):
            slope = 0.8 * slope + random.uniform(-0.35, 0.35)
            level = min(max(level + slope, 0.4), 4.0)
            heights[column] += level
        tops.append([round(height) for height in heights])
    rows = []
    for row in range(max(tops[-1]), 0, -1):
        rows.append("".join(_grain(column, row, tops) for column in range(columns)).rstrip())
    return rows


def _grain(column: int, row: int, tops: list[list[int]]) -> str:
    for depth, top in enumerate(tops):
        if row <= top[column]:
            density = (len(tops) - depth) / len(tops)
            return _GRAINS[max(1, round(density * (len(_GRAINS) - 1)))]
    return _GRAINS[0]
