"""The manifest of real LevelDB directories, read whole, in pieces, cut off and damaged."""

from __future__ import annotations

from pathlib import Path
from struct import Struct

import pytest

from diskkv.codec.manifest import BLOCK_BYTES, ManifestReader, masked_crc
from diskkv.engine.leveldb import LevelDBOptions, LevelDBStore
from diskkv.errors import CorruptionError

RECORD = Struct("<IHB")


def record(kind: int, data: bytes) -> bytes:
    return RECORD.pack(masked_crc(bytes((kind,)) + data), len(data), kind) + data


def varint(number: int) -> bytes:
    out = b""
    while number >= 0x80:
        out += bytes((number & 0x7F | 0x80,))
        number >>= 7
    return out + bytes((number,))


def new_table(number: int, size_bytes: int, key: bytes = b"k") -> bytes:
    text = varint(len(key)) + key
    return b"\x07\x02" + varint(number) + varint(size_bytes) + text + text


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that was written, compacted and opened again; closed."""
    path = tmp_path_factory.mktemp("store")
    for _ in range(2):
        store = LevelDBStore(path, LevelDBOptions(write_buffer_size=64 << 10, max_file_size=1 << 20, compression=False))
        for number in range(2000):
            store.write({b"%06d" % (number * 7919 % 100_000): bytes(200)})
        store.compact(b"", b"\xff")
        store.close()
    return path


def manifest(directory: Path) -> bytes:
    return (directory / (directory / "CURRENT").read_text().strip()).read_bytes()


def test_the_live_tables_are_those_on_disk(directory: Path) -> None:
    reader = ManifestReader()
    reader.feed(manifest(directory))
    assert {f"{number:06d}.ldb": size for number, size in reader.tables.items()} == {
        path.name: path.stat().st_size for path in directory.glob("*.ldb")
    }
    assert [int(path.stem) >= reader.log_number for path in directory.glob("*.log")] == [True]
    assert reader.end == len(manifest(directory))


@pytest.mark.parametrize("step", [1, 13, 100_000])
def test_it_can_be_read_in_pieces(directory: Path, step: int) -> None:
    raw = manifest(directory)
    whole, reader = ManifestReader(), ManifestReader()
    whole.feed(raw)
    for stop in range(0, len(raw) + step, step):
        reader.feed(raw[reader.end : stop])
    assert (reader.tables, reader.log_number, reader.end) == (whole.tables, whole.log_number, whole.end)


def test_edits_in_several_records_and_blocks() -> None:
    long = new_table(2, 222, b"x" * 20_000)
    first = BLOCK_BYTES - 2 * RECORD.size - len(new_table(1, 111)) - 3
    raw = record(1, new_table(1, 111)) + record(2, long[:first])
    raw += bytes(3)  # too few for a record: the next one starts in the next block
    assert len(raw) == BLOCK_BYTES
    raw += record(3, long[first : first + 9]) + record(4, long[first + 9 :])
    reader = ManifestReader()
    for stop in range(0, len(raw), 997):
        reader.feed(raw[reader.end : stop])
        assert reader.tables == ({1: 111} if stop >= 30 else {})
    reader.feed(raw[reader.end :] + record(1, b"\x06\x02\x01" + b"\x02\x09"))
    assert (reader.tables, reader.log_number) == ({2: 222}, 9)


def test_a_table_that_moves_to_another_level_stays() -> None:
    reader = ManifestReader()
    reader.feed(record(1, new_table(5, 50)) + record(1, b"\x06\x02\x05" + new_table(5, 50)))
    assert reader.tables == {5: 50}


@pytest.mark.parametrize(
    "raw",
    [
        record(1, new_table(1, 1))[:4] + b"\xff" + record(1, new_table(1, 1))[5:] + bytes(300),
        record(3, b"\x02\x01"),
        record(2, b"\x02") + record(1, b"\x02\x01"),
        record(1, b"\x02\x80"),
        record(1, new_table(1, 1)[:-1]),
        record(1, b"\x63\x01"),
        record(7, b""),
        bytes(RECORD.size),
    ],
)
def test_damage_is_told(raw: bytes) -> None:
    with pytest.raises(CorruptionError):
        ManifestReader().feed(raw)


def test_every_changed_byte_of_a_whole_record_is_noticed() -> None:
    raw = record(1, new_table(1, 100)) + record(1, new_table(2, 100))
    for at in range(len(raw)):
        reader = ManifestReader()
        try:
            reader.feed(raw[:at] + bytes((raw[at] ^ 1,)) + raw[at + 1 :])
        except CorruptionError:
            continue
        # A changed length may make it look as if the rest were still to come.
        assert len(reader.tables) < 2
