"""The longest common subsequence of two strings, with the choices that Redis' LCS makes between equally long ones.

Redis fills a table of the lengths L(i, j) for all prefixes and walks back from its far corner: over a pair of equal
bytes diagonally, else up when L(i-1, j) > L(i, j-1) and left otherwise. Neighbouring lengths differ by at most 1, so a
row of the table is kept here as one bit a column (Hyyro, "Bit-parallel LCS-length computation revisited", 2004), and a
new row takes a few operations on big integers: 11,000 by 11,000 bytes, the most that Redis' default limit allows, take
some 30 ms, and 1/32 of the memory of Redis' table. Rows run over the shorter string.

Source: https://redis.io/docs/latest/commands/lcs/ and a real server's replies.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from diskkv.errors import CommandError

_CELL_BYTES = 4
_MAX_STRING_BYTES = (1 << 32) - 3


class Match(NamedTuple):
    """A run of equal bytes in both strings; positions are inclusive."""

    first_a: int
    last_a: int
    first_b: int
    last_b: int

    @property
    def length(self) -> int:
        """How many bytes match."""
        return self.last_a - self.first_a + 1


class Subsequence(NamedTuple):
    """The longest common subsequence, and where it lies; matches from the last to the first."""

    text: bytes
    matches: list[Match]


def check_lcs_size(size_a: int, size_b: int, max_bytes: int) -> None:
    """Refuse strings for which Redis' table, of 4 bytes a cell, would outgrow ``proto-max-bulk-len``.

    Raises:
        CommandError: With Redis' text.
    """
    if size_a > _MAX_STRING_BYTES or size_b > _MAX_STRING_BYTES:
        raise CommandError(b"ERR String too long for LCS")
    if (size_a + 1) * (size_b + 1) * _CELL_BYTES > max_bytes:
        raise CommandError(b"ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len")


def lcs_length(a: bytes, b: bytes) -> int:
    """LCS with LEN: only the length."""
    same = _common_prefix(a, b)
    a, b = a[same:], b[same:]
    ends = _common_suffix(a, b)
    short, long = sorted((a[: len(a) - ends], b[: len(b) - ends]), key=len)
    full = (1 << len(long)) - 1
    row = full
    for row in _rows(short, long, _places(short, long)):  # noqa: B007
        pass
    return same + ends + len(long) - row.bit_count()


def longest_common_subsequence(a: bytes, b: bytes) -> Subsequence:
    """LCS, and LCS with IDX: the bytes and the matching runs. MINMATCHLEN is left to the caller."""
    # Equal ends are walked over diagonally whatever the table says, so it is not needed for them.
    ends = _common_suffix(a, b)
    matches = [Match(len(a) - ends, len(a) - 1, len(b) - ends, len(b) - 1)] if ends else []
    head_a, head_b = a[: len(a) - ends], b[: len(b) - ends]
    steps: Iterator[tuple[int, int]]
    if len(head_a) > len(head_b):
        steps = ((i, j) for j, i in _walk_back(head_b, head_a, transposed=True))
    else:
        steps = _walk_back(head_a, head_b, transposed=False)
    for i, j in steps:
        if matches and (matches[-1].first_a, matches[-1].first_b) == (i + 1, j + 1):
            last = matches[-1]
            matches[-1] = Match(i, last.last_a, j, last.last_b)
        else:
            matches.append(Match(i, i, j, j))
    return Subsequence(b"".join(a[match.first_a : match.last_a + 1] for match in reversed(matches)), matches)


def _common_prefix(a: bytes, b: bytes) -> int:
    """How many bytes at the start are equal."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _common_suffix(a: bytes, b: bytes) -> int:
    """How many bytes at the end are equal."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[len(a) - middle : len(a) - low] == b[len(b) - middle : len(b) - low]:
            low = middle
        else:
            high = middle - 1
    return low


def _places(short: bytes, long: bytes) -> dict[int, int]:
    """For each byte of `short`, the bits of the columns that hold it in `long` (column 0 is the lowest bit)."""
    if not long:
        return dict.fromkeys(short, 0)
    # int() of a text in base 2 reads the highest bit first, and takes linear time.
    backwards = long[::-1]
    places = {}
    for byte in set(short):
        table = bytearray(b"0" * 256)
        table[byte] = 0x31
        places[byte] = int(backwards.translate(table), 2)
    return places


def _rows(short: bytes, long: bytes, places: dict[int, int]) -> Iterator[int]:
    """The table's rows for 1, 2, ... bytes of `short`: bit j is 0 where the length grows from column j to j + 1."""
    full = (1 << len(long)) - 1
    row = full
    for byte in short:
        kept = row & places[byte]
        row = (row + kept | row - kept) & full
        yield row


def _walk_back(short: bytes, long: bytes, *, transposed: bool) -> Iterator[tuple[int, int]]:
    """The positions (in `short`, in `long`) of the chosen pairs of equal bytes, from the last to the first.

    Args:
        short: The rows.
        long: The columns.
        transposed: Whether `short` is the second string, so that Redis' up is a step along the row here.
    """
    places = _places(short, long)
    full = (1 << len(long)) - 1
    # In each row, the columns where the walk does not go on along the row: equal bytes, and those where it changes to
    # the row before. Redis goes up when the length to the left is smaller by 1. As rows that is where the bit is 0. As
    # columns (transposed) the length to the left is the one in the row before; where it is smaller, the walk stays.
    stops = []
    before = full
    for byte, row in zip(short, _rows(short, long, places), strict=True):
        if transposed:
            # Between a growth that is new in this row and the next one that has gone, the row is ahead of the last one.
            ahead = (row & ~before) - (before & ~row) & full
            stops.append(places[byte] | full ^ ahead)
            before = row
        else:
            stops.append(places[byte] | full ^ row)
    column = len(long)
    for index in range(len(short) - 1, -1, -1):
        reachable = stops[index] & ((1 << column) - 1)
        if not reachable:
            return
        column = reachable.bit_length()
        if long[column - 1] == short[index]:
            column -= 1
            yield index, column
