from __future__ import annotations

import io

import pytest

from diskkv.codec.rdb_reader import RdbKey, RdbReader
from diskkv.codec.rdb_values import (
    HashValue,
    ListValue,
    RdbUnsupportedError,
    RdbValue,
    SetValue,
    StringValue,
    ZSetValue,
)
from diskkv.codec.rdb_writer import RdbWriter

PIECES: list[tuple[list[RdbValue], RdbValue]] = [
    ([ListValue([b"a", b"b"]), ListValue([]), ListValue([b"c"])], ListValue([b"a", b"b", b"c"])),
    ([SetValue([b"a"]), SetValue([b"b" * 100])], SetValue([b"a", b"b" * 100])),
    ([ZSetValue([(b"a", 1.5)]), ZSetValue([(b"b", -2.0)])], ZSetValue([(b"a", 1.5), (b"b", -2.0)])),
    ([HashValue([(b"a", b"b", 0)]), HashValue([(b"c", b"d", 0)])], HashValue([(b"a", b"b", 0), (b"c", b"d", 0)])),
    ([HashValue([(b"a", b"b", 7)]), HashValue([(b"c", b"d", 0)])], HashValue([(b"a", b"b", 7), (b"c", b"d", 0)])),
]


def written(pieces: list[RdbValue], count: int, version: int, field_expiry: bool) -> bytes:
    file = io.BytesIO()
    writer = RdbWriter(file, version=version)
    writer.select(0)
    writer.add_pieces(b"key", type(pieces[0]), count, iter(pieces), 5000, field_expiry)  # type: ignore[arg-type]
    writer.finish()
    assert writer.size_bytes == len(file.getvalue())
    return file.getvalue()


@pytest.mark.parametrize("version", [12, 80])
@pytest.mark.parametrize(("pieces", "whole"), PIECES)
def test_pieces(pieces: list[RdbValue], whole: RdbValue, version: int) -> None:
    count = len(getattr(whole, "elements", None) or getattr(whole, "members", None) or whole.entries)  # type: ignore[union-attr]
    field_expiry = isinstance(whole, HashValue) and whole.has_expiry
    data = written(pieces, count, version, field_expiry)
    assert list(RdbReader(io.BytesIO(data)))[1:] == [RdbKey(0, b"key", whole, 5000)]
    with pytest.raises(ValueError, match="add up"):
        written(pieces, count + 1, version, field_expiry)


def test_pieces_that_do_not_belong_are_refused() -> None:
    with pytest.raises(ValueError, match="among pieces"):
        written([ListValue([b"a"]), SetValue([b"b"])], 2, 11, False)
    with pytest.raises(ValueError, match="expiry"):
        written([HashValue([(b"a", b"b", 7)])], 1, 12, False)
    with pytest.raises(ValueError, match="empty"):
        written([ListValue([])], 0, 11, False)
    with pytest.raises(RdbUnsupportedError):
        written([HashValue([(b"a", b"b", 7)])], 1, 11, True)


def test_a_value_that_cannot_be_written_leaves_the_file_whole() -> None:
    file = io.BytesIO()
    writer = RdbWriter(file, version=11)
    with pytest.raises(RdbUnsupportedError):
        writer.add(b"key", HashValue([(b"a", b"b", 7)]), expire_ms=1)
    writer.add(b"key", StringValue(b"x"))
    writer.finish()
    file.seek(0)
    assert list(RdbReader(file)) == [RdbKey(0, b"key", StringValue(b"x"))]


def test_compression_makes_it_smaller() -> None:
    sizes = []
    for compress in (False, True):
        file = io.BytesIO()
        writer = RdbWriter(file, version=11, compress=compress)
        writer.add(b"key", StringValue(b"ab" * 1000))
        writer.finish()
        sizes.append(len(file.getvalue()))
        file.seek(0)
        assert list(RdbReader(file)) == [RdbKey(0, b"key", StringValue(b"ab" * 1000))]
    assert sizes[1] < sizes[0] / 10


def test_large_files_are_written_in_blocks() -> None:
    class Blocks:
        def __init__(self) -> None:
            self.sizes: list[int] = []

        def write(self, data: bytes, /) -> None:
            self.sizes.append(len(data))

    blocks = Blocks()
    writer = RdbWriter(blocks, version=11)
    for number in range(1000):
        writer.add(b"%d" % number, StringValue(bytes(1000)))
    writer.finish()
    assert sum(blocks.sizes) == writer.size_bytes
    assert max(blocks.sizes) < 300_000
    assert len(blocks.sizes) < 10
