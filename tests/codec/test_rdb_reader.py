from __future__ import annotations

import contextlib
import io
import struct
import tracemalloc
from random import Random

import pytest

from diskkv.codec.crc64 import crc64
from diskkv.codec.rdb_reader import (
    RdbAux,
    RdbDatabaseSize,
    RdbFunction,
    RdbKey,
    RdbReader,
    RdbRecord,
    RdbSkipped,
    RdbSlotInfo,
)
from diskkv.codec.rdb_strings import encode_length
from diskkv.codec.rdb_values import (
    HashValue,
    ListValue,
    RdbDataError,
    RdbError,
    RdbUnsupportedError,
    RdbVersionError,
    SetValue,
    StringValue,
    ZSetValue,
)
from diskkv.codec.rdb_writer import RdbWriter
from tests.codec.rdb_strategies import in_order, sample_values


class Trickle(io.RawIOBase):
    """A file that gives less than it is asked for."""

    def __init__(self, data: bytes, step: int) -> None:
        self._inner = io.BytesIO(data)
        self._step = step

    def read(self, size: int = -1) -> bytes:
        return self._inner.read(min(size, self._step))


def records(data: bytes, **options: int | bool) -> list[RdbRecord]:
    return list(RdbReader(io.BytesIO(data), **options))  # type: ignore[arg-type]


def sealed(body: bytes, magic: bytes = b"REDIS0011") -> bytes:
    content = magic + body + b"\xff"
    return content + crc64(content).to_bytes(8, "little")


def sample_file(version: int = 12) -> bytes:
    file = io.BytesIO()
    writer = RdbWriter(file, version=version)
    writer.aux(b"redis-ver", b"7.4.0")
    writer.function(b"#!lua name=a\nreturn 1")
    writer.select(0, 20, 1)
    for number, value in enumerate(sample_values()):
        with contextlib.suppress(RdbUnsupportedError):
            writer.add(b"key:%d" % number, value, expire_ms=number * 1000)
    writer.select(11)
    writer.add(b"", StringValue(b"x"), idle_s=70_000)
    writer.add(b"7", StringValue(b""), freq=255)
    writer.finish()
    return file.getvalue()


@pytest.mark.parametrize("version", [10, 11, 12, 80])
@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_reads_what_was_written(version: int, step: int) -> None:
    found = list(RdbReader(Trickle(sample_file(version), step), block_bytes=4096))
    assert found[:3] == [
        RdbAux(b"redis-ver", b"7.4.0"),
        RdbFunction(b"#!lua name=a\nreturn 1"),
        RdbDatabaseSize(0, 20, 1),
    ]
    assert found[-3:] == [
        RdbDatabaseSize(11, 0, 0),
        RdbKey(11, b"", StringValue(b"x"), idle_s=70_000),
        RdbKey(11, b"7", StringValue(b""), freq=255),
    ]
    keys = [record for record in found[3:-3] if isinstance(record, RdbKey)]
    assert len(keys) == len(found) - 6
    for record in keys:
        number = int(record.key[4:])
        assert record.expire_ms == number * 1000
        if version > 10:
            assert in_order(record.value) == in_order(sample_values()[number])
    assert len(keys) == len(sample_values()) - (0 if version >= 12 else 2)


def test_pieces_put_together_are_the_whole() -> None:
    whole = [record for record in records(sample_file()) if isinstance(record, RdbKey)]
    pieces: dict[bytes, list[RdbKey]] = {}
    for record in records(sample_file(), max_elements=60):
        if isinstance(record, RdbKey):
            pieces.setdefault(record.key, []).append(record)
    assert [len(pieces[b"key:%d" % number]) for number in (6, 8, 10, 12)] == [4, 4, 10, 10]
    for record in whole:
        parts = pieces[record.key]
        assert [part.part for part in parts] == list(range(len(parts)))
        assert [part.is_last for part in parts] == [False] * (len(parts) - 1) + [True]
        match record.value:
            case ListValue(elements):
                assert [item for part in parts for item in part.value.elements] == elements  # type: ignore[union-attr]
            case SetValue(members):
                assert [member for part in parts for member in part.value.members] == members  # type: ignore[union-attr]
            case ZSetValue(entries) | HashValue(entries):
                assert [entry for part in parts for entry in part.value.entries] == entries  # type: ignore[union-attr]
            case value:
                assert [part.value for part in parts] == [value]


def test_lists_come_in_pieces_of_nodes() -> None:
    nodes = 5
    body = b"\x12\x01l" + encode_length(nodes)
    body += b"".join(b"\x01\x01" + bytes((97 + number,)) for number in range(nodes))
    parts = records(sealed(body), max_elements=256)
    assert [record.value for record in parts if isinstance(record, RdbKey)] == [
        ListValue([b"a", b"b"]),
        ListValue([b"c", b"d"]),
        ListValue([b"e"]),
    ]


def test_old_expiry_and_hints_and_ranges() -> None:
    body = b"\xfe\x03\xfd" + struct.pack("<i", 1_600_000_000) + b"\x00\x01a\x01b"
    body += b"\xf4\x05\x06\x07" + b"\x00\x01c\x01d"
    assert records(sealed(body, b"REDIS0003")[:-8]) == [
        RdbKey(3, b"a", StringValue(b"b"), 1_600_000_000_000),
        RdbSlotInfo(3, 5, 6, 7),
        RdbKey(3, b"c", StringValue(b"d")),
    ]


def test_an_expiry_at_the_epoch_is_not_none() -> None:
    body = b"\xfc" + bytes(8) + b"\x00\x01a\x01b"
    assert records(sealed(body)) == [RdbKey(0, b"a", StringValue(b"b"), 1)]


def test_what_has_no_place_is_skipped_and_reported() -> None:
    module = int.from_bytes(b"\x00" * 8, "big")
    module_id = b"\x81" + struct.pack(">Q", (27 << 58 | module) | 1)  # "bAAAAAAAA"
    data = b"\x01\x05\x02\x06\x03" + bytes(4) + b"\x04" + bytes(8) + b"\x05\x03abc\x00"
    body = b"\xf7" + module_id + b"\x02\x01" + data
    body += b"\x07\x01m" + module_id + data
    body += b"\x01\x01e\x00"
    body += b"\xf3\x03job\x02\x00\x05\x07\x09"
    body += b"\x00\x01a\x01b"
    assert records(sealed(body, b"VALKEY080")) == [
        RdbSkipped(0, None, "data of module bAAAAAAAA"),
        RdbSkipped(0, b"m", "value of module type bAAAAAAAA"),
        RdbSkipped(0, b"e", "empty collection"),
        RdbSkipped(0, None, "slot import in progress"),
        RdbKey(0, b"a", StringValue(b"b")),
    ]


def test_checksum() -> None:
    data = bytearray(sealed(b"\x00\x01a\x01b"))
    data[-9 - 1] ^= 1  # the value
    with pytest.raises(RdbVersionError, match="checksum"):
        records(bytes(data))
    assert records(bytes(data), verify_checksum=False) == [RdbKey(0, b"a", StringValue(b"c"))]
    assert records(bytes(data[:-8]) + bytes(8)) == [RdbKey(0, b"a", StringValue(b"c"))]
    with pytest.raises(RdbDataError, match="end of file"):
        records(bytes(data[:-1]))


@pytest.mark.parametrize("magic", [b"REDIS0000", b"REDIS0013", b"REDIS0080", b"VALKEY079", b"VALKEY081"])
def test_unknown_versions(magic: bytes) -> None:
    with pytest.raises(RdbVersionError):
        records(sealed(b"", magic))


@pytest.mark.parametrize("data", [b"", b"REDIS001", b"REDIS00x1", b"*1\r\n$4\r\nPING\r\n"])
def test_not_an_rdb_file(data: bytes) -> None:
    with pytest.raises(RdbDataError):
        records(data)


@pytest.mark.parametrize("body", [b"\xf2", b"\xf3\x00\x00", b"\x08", b"\xfc" + b"\xff" * 8, b"\x07\x01m\x01\x06"])
def test_unknown_content(body: bytes) -> None:
    with pytest.raises(RdbDataError, match="at about byte"):
        records(sealed(body))


@pytest.mark.parametrize("body", [b"\xf6\x01a", b"\x06\x01m\x00"])
def test_unsupported_content(body: bytes) -> None:
    with pytest.raises(RdbUnsupportedError):
        records(sealed(body))


def test_what_follows_is_left_to_the_caller() -> None:
    file = io.BytesIO(sealed(b"\x00\x01a\x01b") + b"*1\r\n" + b"x" * 5000)
    reader = RdbReader(file, block_bytes=100)
    assert len(list(reader)) == 1
    assert reader.offset == 9 + 5 + 9
    assert reader.unread + file.read() == b"*1\r\n" + b"x" * 5000


def test_every_truncation_raises() -> None:
    data = sample_file()
    for cut in range(0, len(data), 37):
        with pytest.raises(RdbDataError):
            records(data[:cut])


@pytest.mark.parametrize("seed", range(3))
def test_damage_raises_only_rdb_errors(seed: int) -> None:
    random = Random(seed)
    content = sample_file()[:-8]
    for _ in range(150):
        damaged = bytearray(content)
        for _ in range(random.randint(1, 3)):
            damaged[random.randrange(9, len(damaged))] = random.randrange(256)
        with contextlib.suppress(RdbError):
            records(bytes(damaged) + bytes(8), block_bytes=512)


def test_memory_is_bounded_by_one_value() -> None:
    value = StringValue(bytes(100_000))
    file = io.BytesIO()
    writer = RdbWriter(file, version=11)
    for number in range(100):
        writer.add(b"%d" % number, value)
    writer.finish()
    file.seek(0)
    tracemalloc.start()
    try:
        assert sum(1 for _ in RdbReader(file, block_bytes=1 << 16)) == 100
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_huge_declared_length_reads_only_what_is_there() -> None:
    tracemalloc.start()
    try:
        with pytest.raises(RdbDataError):
            records(b"REDIS0011\x00\x01a\x81\x00\x00\x00\xff\xff\xff\xff\xff" + b"x" * 1000)
        with pytest.raises(RdbDataError):
            records(b"REDIS0011\x01\x01a\x81\x00\x00\x00\xff\xff\xff\xff\xff" + b"x" * 1000)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
