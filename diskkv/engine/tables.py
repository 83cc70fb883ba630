"""What LevelDB tells about its tables in the property leveldb.sstables, and how to cut a range where tables end.

    --- level 1 ---
     17:8388608['first key' @ 1278 : 1 .. 'last key' @ 1550 : 1]

Bytes outside of printable ASCII stand as \\xNN. A backslash stands for itself, so a key that contains such a text is
read wrongly; that is good enough for a place to cut, which any key is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_LEVEL = re.compile(rb"^--- level (\d+) ---$")
_TABLE = re.compile(rb"^ (\d+):(\d+)\['(.*)' @ \d+ : \d+ \.\. '(.*)' @ \d+ : \d+\]$")
_ESCAPE = re.compile(rb"\\x([0-9a-f]{2})")


@dataclass(frozen=True, slots=True)
class Table:
    """One table: its level, its size in bytes, its first and its last key."""

    level: int
    number: int
    size_bytes: int
    first: bytes
    last: bytes


def parse_tables(text: bytes) -> Iterator[Table]:
    """The tables in a leveldb.sstables property; lines of another form are skipped."""
    level = 0
    for line in text.split(b"\n"):
        found = _TABLE.match(line)
        if found:
            number, size, first, last = found.groups()
            yield Table(level, int(number), int(size), _unescape(first), _unescape(last))
            continue
        heading = _LEVEL.match(line)
        if heading:
            level = int(heading[1])


def _unescape(shown: bytes) -> bytes:
    return _ESCAPE.sub(lambda found: bytes((int(found[1], 16),)), shown)


def split_keys(tables: Iterable[Table], start: bytes, stop: bytes, slice_bytes: int) -> list[bytes]:
    """Keys with start < key < stop, in order, such that about `slice_bytes` of tables end between two of them."""
    ends = sorted((table.last, table.size_bytes) for table in tables if start < table.last and table.first < stop)
    keys: list[bytes] = []
    size_bytes = 0
    for last, table_bytes in ends:
        size_bytes += table_bytes
        if last >= stop:
            break
        if size_bytes >= slice_bytes and (not keys or last > keys[-1]):
            # Behind the last key of a table: the slice before takes the table whole.
            keys.append(last + b"\x00")
            size_bytes = 0
    return [key for key in keys if start < key < stop]
