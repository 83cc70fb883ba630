"""The write-ahead log's records: what is written is read, and nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from diskkv.codec import log_record
from diskkv.codec.log_record import FILE_HEADER_SIZE, LogReader, encode_record, file_header, mark_of

Rows = dict[bytes, bytes | None]

rows = st.dictionaries(st.binary(max_size=20), st.none() | st.binary(max_size=300), max_size=5)
places = st.tuples(st.integers(0, 9), st.integers(0, 2**40))
batches = st.lists(st.tuples(rows, places), max_size=6)


def encoded(number: int, written: list[tuple[Rows, tuple[int, int]]]) -> bytes:
    return file_header(number) + b"".join(b"".join(encode_record(*one, mark_of(number))) for one in written)


@given(st.integers(1, 2**60), batches)
def test_what_was_written_is_read(number: int, written: list[tuple[Rows, tuple[int, int]]]) -> None:
    reader = LogReader(encoded(number, written), number)
    assert list(reader) == [one for one, _ in written]
    assert reader.left_bytes == 0
    assert reader.durable == max([(0, 0), *(place for _, place in written)])


@given(batches, st.data())
def test_a_cut_file_has_whole_records_only(written: list[tuple[Rows, tuple[int, int]]], data: st.DataObject) -> None:
    whole = encoded(7, written)
    end = data.draw(st.integers(0, len(whole)))
    reader = LogReader(whole[:end], 7)
    found = list(reader)
    assert found == [one for one, _ in written][: len(found)]
    assert (reader.left_bytes == 0) == (whole[:end] == encoded(7, written[: len(found)]) or not end)
    assert not reader.skip()


@given(batches.filter(bool), st.data())
def test_a_changed_byte_ends_the_reading(written: list[tuple[Rows, tuple[int, int]]], data: st.DataObject) -> None:
    raw = bytearray(encoded(3, written))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= 1 << data.draw(st.integers(0, 7))
    reader = LogReader(bytes(raw), 3)
    found = list(reader)
    damaged = next((n for n in range(len(written) + 1) if len(encoded(3, written[:n])) > at), 0) - 1
    assert found == ([one for one, _ in written][:damaged] if at >= FILE_HEADER_SIZE else [])
    if at >= FILE_HEADER_SIZE:
        # Those behind the damaged one are found again.
        skipped: list[Rows] = []
        while reader.skip():
            skipped += reader
        assert skipped == [one for one, _ in written][damaged + 1 :]


@given(batches.filter(bool))
def test_records_of_another_file_do_not_count(written: list[tuple[Rows, tuple[int, int]]]) -> None:
    other = encoded(1, written)
    assert list(LogReader(other, 2)) == []
    assert list(LogReader(file_header(2) + other[FILE_HEADER_SIZE:], 2)) == []


def test_a_large_record_leaves_no_large_buffer_behind() -> None:
    before = log_record._pack
    encode_record({b"k": bytes(5 << 20)}, (0, 0), 1)
    assert log_record._pack is not before
