"""What sub-commands answer, and how it looks."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tqdm import tqdm

tqdm.monitor_interval = 0
"""No thread of its own, which would only redraw bars that do not move."""

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_ESCAPES = {0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t", 0x07: "\\a", 0x08: "\\b", 0x22: '\\"', 0x5C: "\\\\"}

_INTERVAL_S = 5.0
_LOOK_AT_CLOCK_MASK = 0x3FFF

Row = TypeVar("Row")


@dataclass
class Outcome:
    """The answer for people (`lines`), for programs (`data`), and the exit status.

    `took_output`: standard output has got something else, which these must not be mixed with.
    """

    lines: list[str]
    data: Any
    status: int = 0
    took_output: bool = False


@dataclass
class Columns:
    """Rows of cells under headers; numbers are set to the right, text to the left."""

    headers: Sequence[str]
    rows: list[Sequence[str | int]] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The table, columns two spaces apart."""
        cells = [list(self.headers), *([_cell(value) for value in row] for row in self.rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(self.headers))]
        right = [bool(self.rows) and all(isinstance(row[i], int) for row in self.rows) for i in range(len(widths))]
        return [
            "  ".join(
                cell.rjust(width) if to_right else cell.ljust(width)
                for cell, width, to_right in zip(row, widths, right, strict=True)
            ).rstrip()
            for row in cells
        ]


def _cell(value: str | int) -> str:
    return value if isinstance(value, str) else f"{value:,}"


def size(size_bytes: int) -> str:
    """A size for reading: 512 B, 3.4 KiB, 12.0 GiB."""
    number = float(size_bytes)
    for unit in _UNITS:
        if number < 1024 or unit == _UNITS[-1]:
            return f"{size_bytes} B" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    raise AssertionError(size_bytes)


def quoted(raw: bytes, limit: int = 0) -> str:
    """Bytes as redis-cli shows them: in double quotes, the rest as \\xNN; cut after `limit` bytes."""
    shown = raw[:limit] if limit else raw
    text = "".join(
        _ESCAPES.get(byte) or (chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}") for byte in shown
    )
    more = f"... ({len(raw)} bytes)" if len(shown) < len(raw) else ""
    return f'"{text}"{more}'


class Progress:
    """Counts rows, and tells of it on standard error while a sub-command takes long.

    At a terminal as a line that changes, elsewhere as a line every few seconds.
    """

    def __init__(self, verb: str) -> None:
        self.rows = 0
        self._verb = verb
        self._began_s = self._told_s = time.monotonic()
        self._bar: Any = None

    def watch(self, rows: Iterator[Row]) -> Iterator[Row]:
        """The same rows, counted."""
        for row in rows:
            self.rows += 1
            if not self.rows & _LOOK_AT_CLOCK_MASK:
                self._tell()
            yield row

    def count(self, size_bytes: int) -> None:
        """Another row, of any size."""
        self.rows += 1
        if not self.rows & _LOOK_AT_CLOCK_MASK:
            self._tell()

    def _tell(self) -> None:
        now_s = time.monotonic()
        if sys.stderr.isatty():
            if self._bar is None:
                self._bar = tqdm(desc=self._verb, unit=" rows", unit_scale=True, leave=False)
            self._bar.update(self.rows - self._bar.n)
        elif now_s - self._told_s >= _INTERVAL_S:
            self._told_s = now_s
            print(f"{self._verb} {self.rows:,} rows in {now_s - self._began_s:.0f} s", file=sys.stderr, flush=True)


class Bar:
    """How much of a known amount is done, on standard error when that is a terminal. `unit`: B for bytes."""

    def __init__(self, verb: str, total: int, unit: str = "B") -> None:
        divisor = 1024 if unit == "B" else 1000
        self._bar: Any = tqdm(
            total=total, desc=verb, unit=unit, unit_scale=True, unit_divisor=divisor, leave=False, disable=None
        )

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._bar.close()

    def advance(self, amount: int) -> None:
        """So much more is done."""
        self._bar.update(amount)
