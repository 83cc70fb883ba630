"""The RDB codec against real servers: what they dump is read, what is written they restore, and files go both ways."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diskkv.codec.crc64 import crc64
from diskkv.codec.rdb_encode import plain_expiring_fields
from diskkv.codec.rdb_packed import INT64_MAX
from diskkv.codec.rdb_payload import dump_functions, dump_payload, load_functions, load_payload
from diskkv.codec.rdb_reader import RdbAux, RdbDatabaseSize, RdbFunction, RdbKey, RdbReader
from diskkv.codec.rdb_strings import encode_length
from diskkv.codec.rdb_values import (
    HashValue,
    ListValue,
    RdbUnsupportedError,
    RdbValue,
    SetValue,
    StreamValue,
    StringValue,
    ZSetValue,
)
from diskkv.codec.rdb_writer import RdbWriter
from tests.codec.rdb_live import (
    IN_FUTURE_MS,
    call,
    comparable,
    digests,
    fill,
    fill_field_expiry,
    native_version,
    read_back,
    restore,
    without_active_times,
)
from tests.codec.rdb_strategies import in_order, sample_values, values
from tests.codec.test_rdb_payload import OLD_PAYLOADS
from tests.harness.servers import Flavour, ServerProcess, redis_8, running, system_redis, valkey_9
from tests.harness.wire import Wire

FLAVOURS = [system_redis, redis_8, valkey_9]
FIELD_EXPIRY_VERSION = 12


@pytest.fixture(scope="module", params=FLAVOURS, ids=lambda flavour: flavour.__name__)
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    flavour: Flavour = request.param()
    with running(flavour, "--sanitize-dump-payload", "yes") as process:
        yield process


@pytest.fixture
def wire(server: ServerProcess) -> Iterator[Wire]:
    with server.connect() as connection:
        call(connection, "FLUSHALL")
        yield connection


# The type bytes that every server uses under these limits.
EXPECTED_TYPES = {None: {0, 2, 11, 16, 17, 18}, 0: {0, 2, 4, 5, 18}, 100_000: {0, 11, 16, 17, 18}}
PACKED_LIMITS = ["hash-max-listpack-entries", "set-max-listpack-entries", "zset-max-listpack-entries"]


@pytest.mark.parametrize("limit", [None, 0, 100_000])
def test_what_servers_dump_is_read(wire: Wire, limit: int | None) -> None:
    names = [*PACKED_LIMITS, "set-max-intset-entries"]
    saved = {}
    for name in names:
        pair = call(wire, "CONFIG", "GET", name)
        if limit is not None and pair:  # Redis 7.0 knows no set listpacks
            saved[name] = pair[1]
            call(wire, "CONFIG", "SET", name, limit)
    try:
        fill(wire)
        if native_version(wire) >= FIELD_EXPIRY_VERSION:
            fill_field_expiry(wire)
        keys = call(wire, "KEYS", "*")
        assert len(keys) >= 15
        types = set()
        for key in keys:
            payload = call(wire, "DUMP", key)
            types.add(payload[0])
            assert comparable(load_payload(payload)) == comparable(read_back(wire, key)), key
        assert types >= EXPECTED_TYPES[limit]
    finally:
        for name, value in saved.items():
            call(wire, "CONFIG", "SET", name, value)


def versions_for(wire: Wire) -> list[int]:
    """All versions to write for this server: foreign ones are refused by Valkey, newer ones by all."""
    native = native_version(wire)
    return [6, 8, 9, 10, 11, 80] if native == 80 else list(range(6, native + 1))


def test_what_is_written_servers_restore(wire: Wire) -> None:
    fill(wire)
    if native_version(wire) >= FIELD_EXPIRY_VERSION:
        fill_field_expiry(wire)
    keys = call(wire, "KEYS", "*")
    for version in versions_for(wire):
        for key in keys:
            value = load_payload(call(wire, "DUMP", key))
            try:
                payload = dump_payload(value, version, compress=version % 2 == 1)
            except RdbUnsupportedError:
                assert (b"stream" in key and version < 9) or (b"expiring" in key and version < 12)
                continue
            restore(wire, b"copy", payload)
            original, copy = digests(wire, key, b"copy")
            assert original == copy, (key, version)
            if version >= 11:
                assert read_back(wire, b"copy") == read_back(wire, key)


def test_small_values_are_dumped_byte_for_byte_as_servers_do(wire: Wire) -> None:
    call(wire, "SET", "a", "text")
    call(wire, "SET", "b", -70_000)
    call(wire, "RPUSH", "c", "x", 5, -5000, "y" * 100)
    call(wire, "SADD", "d", 1, 2, 70_000)
    call(wire, "HSET", "e", "f", "v", 1, 300)
    call(wire, "ZADD", "f", 1, "x", 2, "y")
    for key in (b"a", b"b", b"c", b"d", b"e", b"f"):
        payload = call(wire, "DUMP", key)
        version = int.from_bytes(payload[-10:-8], "little")
        # The server packs what gets shorter by that, which is none but the list here.
        assert dump_payload(load_payload(payload), version) == payload or key == b"c"


def test_sample_values_arrive(wire: Wire) -> None:
    version = native_version(wire)
    for value in sample_values():
        if isinstance(value, HashValue) and value.has_expiry:
            if version < FIELD_EXPIRY_VERSION:
                continue
            value = HashValue([(name, text, at_ms and at_ms + IN_FUTURE_MS) for name, text, at_ms in value.entries])
        restore(wire, b"key", dump_payload(value, version))
        found = read_back(wire, b"key")
        expected = comparable(value)
        if version < 11 and isinstance(expected, StreamValue):
            expected = without_active_times(expected)
        assert found == expected


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=values, compress=st.booleans())
def test_random_values_arrive(wire: Wire, value: RdbValue, compress: bool) -> None:
    version = native_version(wire)
    restore(wire, b"key", dump_payload(value, version, compress))
    payload = call(wire, "DUMP", b"key")
    expected = comparable(value)
    if version < 11 and isinstance(expected, StreamValue):
        expected = without_active_times(expected)
    assert comparable(load_payload(payload)) == expected


PRE_GA_TYPES = (22, 23)
PORTABLE = [(payload, value) for payload, value in OLD_PAYLOADS if payload[0] not in PRE_GA_TYPES]
PRE_GA = [(payload, value) for payload, value in OLD_PAYLOADS if payload[0] in PRE_GA_TYPES]


@pytest.mark.parametrize(("payload", "value"), PORTABLE)
def test_encodings_that_are_only_read_mean_the_same_to_servers(wire: Wire, payload: bytes, value: RdbValue) -> None:
    restore(wire, b"key", payload)
    assert read_back(wire, b"key") == in_order(value)


@pytest.fixture(scope="module")
def redis_8_wire() -> Iterator[Wire]:
    """A server that knows field expiry in all forms that Redis ever gave it."""
    with running(redis_8(), "--sanitize-dump-payload", "yes") as process, process.connect() as connection:
        yield connection


@pytest.mark.parametrize(("payload", "value"), PRE_GA)
def test_field_expiry_of_release_candidates(redis_8_wire: Wire, payload: bytes, value: RdbValue) -> None:
    restore(redis_8_wire, b"key", payload)
    assert read_back(redis_8_wire, b"key") == value


def test_field_expiry_may_be_told_relative_to_one(redis_8_wire: Wire) -> None:
    wire = redis_8_wire
    for count in (3, 1000):
        entries = [(b"f%d" % n, b"v", 0 if n % 3 == 0 else IN_FUTURE_MS - n * 1000) for n in range(count)]
        fields = plain_expiring_fields(entries, 1, 12)
        content = b"\x18" + struct.pack("<q", 1) + encode_length(count) + fields + b"\x0c\x00"
        restore(wire, b"key", content + crc64(content).to_bytes(8, "little"))
        assert read_back(wire, b"key") == HashValue(sorted(entries))
        call(wire, "DEBUG", "RELOAD")
        assert read_back(wire, b"key") == HashValue(sorted(entries))


LIBRARY = b"#!lua name=mylib\nredis.register_function('f', function() return 'called' end)\n"


def test_functions_go_both_ways(wire: Wire) -> None:
    call(wire, "FUNCTION", "FLUSH")
    call(wire, "FUNCTION", "LOAD", LIBRARY)
    payload = call(wire, "FUNCTION", "DUMP")
    assert load_functions(payload) == [LIBRARY]
    call(wire, "FUNCTION", "FLUSH")
    call(wire, "FUNCTION", "RESTORE", dump_functions([LIBRARY], 10))
    assert call(wire, "FCALL", "f", 0) == b"called"
    call(wire, "FUNCTION", "FLUSH")


def write_file(path: Path, version: int) -> dict[bytes, RdbValue]:
    """An RDB file with a function and two databases; the values of database 0."""
    kept: dict[bytes, RdbValue] = {}
    with open(path, "wb") as file:
        writer = RdbWriter(file, version=version)
        writer.aux(b"redis-ver", b"7.4.0")
        writer.aux(b"redis-bits", b"64")
        writer.function(LIBRARY)
        writer.select(0, 20, 3)
        for number, value in enumerate(sample_values()):
            key = b"key:%d" % number
            if isinstance(value, HashValue) and value.has_expiry:
                value = HashValue([(name, text, at_ms and at_ms + IN_FUTURE_MS) for name, text, at_ms in value.entries])
            with contextlib.suppress(RdbUnsupportedError):
                writer.add(key, value, IN_FUTURE_MS + number if number % 2 else 0)
                kept[key] = value
        for kind, make in PIECE_MAKERS.items():
            key = kind.type_name + b" in pieces"
            pieces = [make(range(start, start + 100)) for start in range(0, 1000, 100)]
            writer.add_pieces(key, kind, 1000, iter(pieces))
            kept[key] = make(range(1000))
        if version >= FIELD_EXPIRY_VERSION:
            fields = [(b"f%d" % n, b"v", IN_FUTURE_MS + n if n % 2 else 0) for n in range(300)]
            writer.add_pieces(b"fields", HashValue, 300, [HashValue(fields[:200]), HashValue(fields[200:])], 0, True)
            kept[b"fields"] = HashValue(fields)
        writer.select(3)
        writer.add(b"expired", StringValue(b"x"), 1000)
        writer.add(b"alive", StringValue(b"y"), IN_FUTURE_MS)
        writer.finish()
    return kept


PIECE_MAKERS = {
    ListValue: lambda numbers: ListValue([b"e%d" % n for n in numbers]),
    SetValue: lambda numbers: SetValue([b"m%d" % n for n in numbers]),
    ZSetValue: lambda numbers: ZSetValue([(b"m%d" % n, n / 3) for n in numbers]),
    HashValue: lambda numbers: HashValue([(b"f%d" % n, b"%d" % n, 0) for n in numbers]),
}


@pytest.mark.parametrize("flavour", FLAVOURS, ids=lambda flavour: flavour.__name__)
@pytest.mark.parametrize("native", [False, True])
def test_files_go_both_ways(flavour: object, native: bool) -> None:
    assert callable(flavour)
    process = ServerProcess(flavour(), ["--sanitize-dump-payload", "yes"])
    path = process.data_directory / "dump.rdb"
    try:
        version = 10
        if native:
            with process.start().connect() as wire:
                version = native_version(wire)
            process.stop()
        kept = write_file(path, version)
        process.start()
        with process.connect() as wire:
            check_loaded(wire, kept, version)
            call(wire, "SAVE")
        check_saved(path, kept, version)
    finally:
        process.close()


def check_loaded(wire: Wire, kept: dict[bytes, RdbValue], version: int) -> None:
    assert call(wire, "DBSIZE") == len(kept)
    assert call(wire, "FCALL", "f", 0) == b"called"
    for key, value in kept.items():
        found = read_back(wire, key)
        if isinstance(value, StreamValue):
            assert isinstance(found, StreamValue)
            assert found.entries == value.entries
            if version >= 11:
                assert found == comparable(value)
        else:
            assert found == in_order(value)
    assert call(wire, "PEXPIRETIME", "key:1") == IN_FUTURE_MS + 1
    assert call(wire, "PEXPIRETIME", "key:2") == -1
    call(wire, "SELECT", 3)
    assert call(wire, "KEYS", "*") == [b"alive"]


def check_saved(path: Path, kept: dict[bytes, RdbValue], version: int) -> None:
    with open(path, "rb") as file:
        reader = RdbReader(file, block_bytes=4096)
        records = list(reader)
        assert reader.offset == path.stat().st_size
    names = {record.name for record in records if isinstance(record, RdbAux)}
    assert b"redis-bits" in names
    assert [record.code for record in records if isinstance(record, RdbFunction)] == [LIBRARY]
    sizes = {record.db: record.keys for record in records if isinstance(record, RdbDatabaseSize)}
    assert sizes == {0: len(kept), 3: 1}
    found = {record.key: record for record in records if isinstance(record, RdbKey) and record.db == 0}
    assert found.keys() == kept.keys()
    assert found[b"key:1"].expire_ms == IN_FUTURE_MS + 1
    assert found[b"key:2"].expire_ms == 0
    for key, value in kept.items():
        if not isinstance(value, StreamValue):
            assert in_order(found[key].value) == in_order(value)
        elif version >= 11:
            assert comparable(found[key].value) == comparable(value)


def test_eviction_hints_are_read(wire: Wire, server: ServerProcess) -> None:
    for policy in ("allkeys-lru", "allkeys-lfu"):
        call(wire, "CONFIG", "SET", "maxmemory-policy", policy)
        call(wire, "SET", "a", "b")
        call(wire, "SAVE")
        with open(server.data_directory / "dump.rdb", "rb") as file:
            (key,) = [record for record in RdbReader(file) if isinstance(record, RdbKey)]
        assert (key.idle_s is not None, key.freq is not None) == (policy == "allkeys-lru", policy == "allkeys-lfu")
    call(wire, "CONFIG", "SET", "maxmemory-policy", "noeviction")


def test_the_largest_counters(wire: Wire) -> None:
    value = StreamValue([], (INT64_MAX, (1 << 64) - 1), (5, 5), INT64_MAX)
    version = min(11, native_version(wire))
    restore(wire, b"key", dump_payload(value, version))
    assert load_payload(call(wire, "DUMP", "key")) == value
