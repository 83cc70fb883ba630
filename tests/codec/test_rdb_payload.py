from __future__ import annotations

import contextlib
import struct
import tracemalloc
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diskkv.codec.crc64 import crc64
from diskkv.codec.rdb_encode import encode_value, format_score
from diskkv.codec.rdb_packed import encode_listpack
from diskkv.codec.rdb_payload import dump_functions, dump_payload, dump_version, load_functions, load_payload
from diskkv.codec.rdb_strings import encode_length
from diskkv.codec.rdb_values import (
    HashValue,
    ListValue,
    RdbDataError,
    RdbError,
    RdbUnsupportedError,
    RdbValue,
    RdbVersionError,
    SetValue,
    StreamEntry,
    StreamValue,
    StringValue,
    ZSetValue,
)
from tests.codec.rdb_old_formats import ziplist, zipmap
from tests.codec.rdb_strategies import (
    EDGE_TEXTS,
    expiring_hashes,
    in_order,
    sample_values,
    scores,
    streams,
    values,
)


def sealed(content: bytes, version: int = 11) -> bytes:
    """A payload with whatever content and a right checksum."""
    content += struct.pack("<H", version)
    return content + struct.pack("<Q", crc64(content))


@given(values, st.sampled_from([None, 11, 12, 80]), st.booleans())
@settings(max_examples=150)
def test_round_trip(value: RdbValue, version: int | None, compress: bool) -> None:
    assert in_order(load_payload(dump_payload(value, version, compress))) == in_order(value)


@given(values.filter(lambda value: not isinstance(value, StreamValue)), st.integers(6, 10))
def test_round_trip_in_old_versions(value: RdbValue, version: int) -> None:
    assert in_order(load_payload(dump_payload(value, version))) == in_order(value)


@given(expiring_hashes, st.sampled_from([12, 80]))
def test_round_trip_of_field_expiry(value: HashValue, version: int) -> None:
    assert in_order(load_payload(dump_payload(value, version))) == in_order(value)


@given(streams())
def test_older_streams_keep_entries_and_pending(value: StreamValue) -> None:
    for version in (9, 10):
        loaded = load_payload(dump_payload(value, version))
        assert isinstance(loaded, StreamValue)
        assert (loaded.entries, loaded.last_id) == (value.entries, value.last_id)
        assert [group.pending for group in loaded.groups] == [group.pending for group in value.groups]


def test_a_stream_from_before_the_counters_gets_estimates() -> None:
    value = sample_values()[-2]
    assert isinstance(value, StreamValue)
    loaded = load_payload(dump_payload(value, 9))
    assert isinstance(loaded, StreamValue)
    assert (loaded.entries_added, loaded.max_deleted_id) == (30, (0, 0))
    assert loaded.groups[0].entries_read == -1
    assert loaded.groups[0].consumers[0].active_time_ms == 1500


@given(scores)
def test_scores_survive_as_text(score: float) -> None:
    assert float(format_score(score)) == score


def test_version_is_as_low_as_the_value_allows() -> None:
    assert dump_version(HashValue([(b"f", b"v", 0)])) == 10
    assert dump_version(StreamValue()) == 11
    assert dump_version(HashValue([(b"f", b"v", 1)])) == 12
    assert load_payload(dump_payload(HashValue([(b"f", b"v", 1)]))) == HashValue([(b"f", b"v", 1)])


def test_what_a_version_cannot_express() -> None:
    with pytest.raises(RdbUnsupportedError):
        dump_payload(HashValue([(b"f", b"v", 1)]), 11)
    with pytest.raises(RdbUnsupportedError):
        dump_payload(StreamValue(), 8)
    with pytest.raises(ValueError, match="empty"):
        dump_payload(ListValue([]))


EXPECTED_TYPES = [
    (StringValue(b"a"), {6: 0, 12: 0, 80: 0}),
    (ListValue([b"a"]), {6: 1, 9: 1, 10: 18, 12: 18, 80: 18}),
    (SetValue([b"1"]), {6: 11, 12: 11}),
    (SetValue([b"a"]), {6: 2, 10: 2, 11: 20, 80: 20}),
    (SetValue([b"x" * 65]), {6: 2, 12: 2}),
    (ZSetValue([(b"a", 1.0)]), {6: 3, 7: 3, 8: 5, 9: 5, 10: 17, 12: 17}),
    (ZSetValue([(b"x" * 65, 1.0)]), {10: 5, 12: 5}),
    (HashValue([(b"a", b"b", 0)]), {6: 4, 9: 4, 10: 16, 12: 16, 80: 16}),
    (HashValue([(b"a", b"b" * 65, 0)]), {10: 4, 12: 4}),
    (HashValue([(b"a", b"b", 5)]), {12: 25, 80: 22}),
    (HashValue([(b"a", b"b" * 65, 5)]), {12: 24, 80: 22}),
    (StreamValue(), {9: 15, 10: 19, 11: 21, 80: 21}),
]


@pytest.mark.parametrize(("value", "types"), EXPECTED_TYPES)
def test_encoding_by_version(value: RdbValue, types: dict[int, int]) -> None:
    assert {version: encode_value(value, version)[0] for version in types} == types


# Real payloads, from the servers named.
@pytest.mark.parametrize(
    ("payload", "value"),
    [
        (b"\x00\x03abc\n\x00\xd9\xac0=Ar\xa2\xe2", StringValue(b"abc")),  # Redis 7.0
        (
            b"\x10\r\r\x00\x00\x00\x02\x00\x81f\x02\x81v\x02\xff\x0c\x00\xeb\x87\t\x84\xd9~\x96\xd4",  # Redis 8.2
            HashValue([(b"f", b"v", 0)]),
        ),
        (
            b"\x16\x02\x01f\x01v\x00 J\xa9\xd1\x01\x00\x00\x01g\x01w\xff\xff\xff\xff\xff\xff\xff\xff"  # Valkey 9.1
            b"P\x00\xc0\xa2\x1e\xb1\x08\xdb\x1bf",
            HashValue([(b"f", b"v", 2_000_000_000_000), (b"g", b"w", 0)]),
        ),
    ],
)
def test_real_payloads(payload: bytes, value: RdbValue) -> None:
    assert load_payload(payload) == value


FIELDS = [(b"f", b"v"), (b"1", b"-200"), (b"long", b"x" * 300)]
FLAT = [text for pair in FIELDS for text in pair]
PLAIN_HASH = HashValue([(name, value, 0) for name, value in FIELDS])
WITH_EXPIRY = HashValue([(b"f", b"v", 4_000_000_000_000), (b"g", b"w", 0)])
SCORES = ZSetValue([(b"a", -1.5), (b"b", 3.0)])


def text(value: bytes) -> bytes:
    return encode_length(len(value)) + value


OLD_PAYLOADS = [
    (sealed(b"\x09" + text(zipmap(FIELDS)), 4), PLAIN_HASH),
    (sealed(b"\x0d" + text(ziplist(FLAT)), 6), PLAIN_HASH),
    (sealed(b"\x0a" + text(ziplist(FLAT)), 6), ListValue(FLAT)),
    (sealed(b"\x0e\x02" + text(ziplist(FLAT)) + text(ziplist([b"end"])), 9), ListValue([*FLAT, b"end"])),
    (sealed(b"\x0c" + text(ziplist([b"a", b"-1.5", b"b", b"3"])), 6), SCORES),
    (sealed(b"\x03\x02\x01a\x04-1.5\x01b\x013", 6), SCORES),
    (sealed(b"\x03\x02\x01a\xfe\x01b\xff", 6), ZSetValue([(b"a", float("inf")), (b"b", float("-inf"))])),
    (sealed(b"\x16\x02\x81" + (4_000_000_000_000).to_bytes(8, "big") + b"\x01f\x01v\x00\x01g\x01w", 12), WITH_EXPIRY),
    (sealed(b"\x17" + text(encode_listpack([b"f", b"v", b"4000000000000", b"g", b"w", b"0"])), 12), WITH_EXPIRY),
]


@pytest.mark.parametrize(("payload", "value"), OLD_PAYLOADS)
def test_encodings_that_are_only_read(payload: bytes, value: RdbValue) -> None:
    assert load_payload(payload) == value


def test_integers_and_lzf_in_place_of_strings() -> None:
    content = b"\x01\x04\xc0\xff\xc1\x00\x01\xc2\x00\x00\x00\x80\xc3\x04\x04\x00a\x20\x00"
    assert load_payload(sealed(content)) == ListValue([b"-1", b"256", b"-2147483648", b"aaaa"])


def test_version_and_checksum_have_their_own_error() -> None:
    payload = dump_payload(StringValue(b"abc"))
    for version in (0, 13, 79, 81, 65535):
        with pytest.raises(RdbVersionError):
            load_payload(sealed(payload[:-10], version))
    for at in range(len(payload)):
        damaged = bytearray(payload)
        damaged[at] ^= 1
        with pytest.raises(RdbVersionError):
            load_payload(bytes(damaged))
    for cut in range(len(payload)):
        with pytest.raises(RdbVersionError):
            load_payload(payload[:cut])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x08\x00",  # no such type
        b"\x1a\x00",
        b"\xff",
        b"\x00\x03ab",
        b"\x00\x03abcd",  # more than the value
        b"\x00\x82\x00\x00",  # no such length
        b"\x00\xc4",  # no such string
        b"\x01\x00",  # empty collections
        b"\x02\x00",
        b"\x05\x00",
        b"\x04\x00",
        b"\x02\x02\x01a\x01a",  # twice the same
        b"\x04\x02\x01a\x00\x01a\x00",
        b"\x05\x02\x01a" + b"\x00" * 8 + b"\x01a" + b"\x00" * 8,
        b"\x05\x01\x01a" + struct.pack("<d", float("nan")),
        b"\x03\x01\x01a\xfd",
        b"\x03\x01\x01a\x031_0",
        b"\x11" + text(encode_listpack([b"a", b" 1"])),
        b"\x11" + text(encode_listpack([b"a", b"nan"])),
        b"\x11" + text(encode_listpack([b"a"])),
        b"\x10" + text(encode_listpack([b"a"])),
        b"\x12\x01\x03\x00",
        b"\x01\xc0\x01",  # an integer where a count belongs
        b"\x01\x81" + b"\xff" * 8,
        b"\x00\xc3\x04\x81" + b"\xff" * 8 + b"\x00a\x20\x00",
    ],
)
def test_undecodable_content(content: bytes) -> None:
    with pytest.raises(RdbDataError):
        load_payload(sealed(content))


def test_modules_values_are_unsupported() -> None:
    with pytest.raises(RdbUnsupportedError):
        load_payload(sealed(b"\x07\x00"))


def test_expansion_is_limited_over_all_strings() -> None:
    value = ListValue([b"a" * 100] * 10)
    payload = sealed(b"\x01\x0a" + (b"\xc3\x05\x40\x64" + b"\x00a\xe0\x5a\x00") * 10)
    assert load_payload(payload, expand_limit_bytes=1000) == value
    with pytest.raises(RdbDataError, match="limit"):
        load_payload(payload, expand_limit_bytes=999)


def test_declared_counts_allocate_nothing() -> None:
    huge = b"\x81" + b"\x7f" + b"\xff" * 7
    tracemalloc.start()
    try:
        for type_number in (0, 1, 2, 3, 4, 5, 14, 15, 18, 19, 21, 22):
            with pytest.raises(RdbDataError):
                load_payload(sealed(bytes((type_number,)) + huge + b"x" * 100))
        with pytest.raises(RdbDataError):
            load_payload(sealed(b"\x18" + b"\x00" * 8 + huge + b"x" * 100, 12))
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("value", sample_values())
@pytest.mark.parametrize("compress", [False, True])
def test_every_truncation_raises(value: RdbValue, compress: bool) -> None:
    content = dump_payload(value, compress=compress)[:-10]
    step = max(1, len(content) // 300)
    for cut in range(0, len(content), step):
        with pytest.raises(RdbDataError):
            load_payload(sealed(content[:cut], 12))


@pytest.mark.parametrize("version", [9, 12, 80])
def test_damage_with_a_right_checksum_raises_only_rdb_errors(version: int) -> None:
    random = Random(version)
    for value in sample_values():
        try:
            content = dump_payload(value, version, compress=random.random() < 0.3)[:-10]
        except RdbUnsupportedError:
            continue
        for _ in range(200):
            damaged = bytearray(content)
            for _ in range(random.randint(1, 3)):
                if random.random() < 0.5:
                    damaged[random.randrange(min(len(damaged), 64))] ^= 1 << random.randrange(8)
                else:
                    damaged[random.randrange(len(damaged))] = random.randrange(256)
            with contextlib.suppress(RdbError):
                load_payload(sealed(bytes(damaged), version))


@given(st.binary(max_size=200), st.integers(0, 26))
@settings(max_examples=300)
def test_garbage_raises_only_rdb_errors(garbage: bytes, type_number: int) -> None:
    for version in (12, 80):
        with contextlib.suppress(RdbError):
            load_payload(sealed(bytes((type_number,)) + garbage, version))


def test_deleted_entries_of_a_stream_are_left_out() -> None:
    node = encode_listpack(
        [b"1", b"1", b"1", b"f", b"0", b"3", b"0", b"0", b"gone", b"4", b"0", b"1", b"-1", b"1", b"g", b"here", b"6"]
    )
    body = b"\x01\x10" + struct.pack(">QQ", 5, 1) + text(node) + b"\x01\x06\x00\x06\x00\x05\x01\x02\x00"
    loaded = load_payload(sealed(b"\x15" + body))
    assert loaded == StreamValue([StreamEntry((6, 0), [b"g", b"here"])], (6, 0), (5, 1), 2)


def test_functions() -> None:
    codes = [b"#!lua name=a\nreturn 1", EDGE_TEXTS[-1]]
    assert load_functions(dump_functions(codes)) == codes
    assert load_functions(dump_functions([])) == []
    with pytest.raises(RdbDataError):
        load_functions(dump_payload(StringValue(b"abc")))
    with pytest.raises(RdbVersionError):
        load_functions(b"x")
