"""Imports into a directory, in process: what is kept of keys that expired, interrupted imports, conflicts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from diskkv.codec.rdb_reader import RdbAux, RdbFunction, RdbKey
from diskkv.codec.rdb_values import (
    HashValue,
    ListValue,
    RdbValue,
    SetValue,
    StreamEntry,
    StreamValue,
    StringValue,
    ZSetValue,
)
from diskkv.services.dataset_export import ExportStats, Selection, open_snapshot, records
from diskkv.services.unfinished import has_unfinished_import
from tests.codec.rdb_strategies import in_order, sample_values
from tests.tools.transfer.datasets import ctl
from tools.ctl.check import check_directory
from tools.ctl.store import opened
from tools.ctl.transfer.directory import DirectorySink
from tools.ctl.transfer.items import Command, Item, TransferError

PAST_MS = 1000
FUTURE_MS = 4_000_000_000_000
LIBRARY = b"#!lua name=mylib\nredis.register_function('f', function() return 1 end)\n"


def put(directory: Path, *items: Item, identity: str = "a file", existing: str = "fail") -> DirectorySink:
    sink = DirectorySink(directory, identity, existing)
    try:
        for item in items:
            sink.put(item)
        sink.finish()
    finally:
        sink.close()
    return sink


def content(directory: Path) -> dict[tuple[int, bytes], tuple[RdbValue, int]]:
    """What is in a directory, which must be sound; pieces put together."""
    checker = check_directory(directory)
    assert not checker.problem_count, checker.problems
    with opened(directory) as store:
        engine = open_snapshot(store, time.time_ns() // 1_000_000)
        found: dict[tuple[int, bytes], tuple[RdbValue, int]] = {}
        for record in records(engine, Selection(), ExportStats()):
            if isinstance(record, RdbKey):
                place = (record.db, record.key)
                value = record.value if not record.part else joined(found[place][0], record.value)
                found[place] = (value, record.expire_ms)
        engine.close()
    return {place: (in_order(value), expire_ms) for place, (value, expire_ms) in found.items()}


def joined(first: RdbValue, more: RdbValue) -> RdbValue:
    match first, more:
        case ListValue(a), ListValue(b):
            return ListValue(a + b)
        case SetValue(a), SetValue(b):
            return SetValue(a + b)
        case ZSetValue(a), ZSetValue(b):
            return ZSetValue(a + b)
        case HashValue(a), HashValue(b):
            return HashValue(a + b)
        case StreamValue(), StreamValue():
            return StreamValue(
                first.entries + more.entries, more.last_id, more.max_deleted_id, more.entries_added, more.groups
            )
        case _:
            raise AssertionError(first)


def command(text: str) -> Command:
    return Command(text.encode().split())


def string(key: bytes, expire_ms: int = 0, data: bytes = b"value") -> RdbKey:
    return RdbKey(0, key, StringValue(data), expire_ms)


def in_pieces(key: bytes, values: list[RdbValue], expire_ms: int = 0) -> Iterator[RdbKey]:
    for part, value in enumerate(values):
        yield RdbKey(0, key, value, expire_ms, part=part, is_last=part == len(values) - 1)


PIECES: list[list[RdbValue]] = [
    [ListValue([b"%d" % n for n in range(at, at + 700)]) for at in range(0, 2100, 700)],
    [SetValue([b"m%05d" % n for n in range(at, at + 700)]) for at in range(0, 2100, 700)],
    [ZSetValue([(b"m%05d" % n, n / 3) for n in range(at, at + 700)]) for at in range(0, 2100, 700)],
    [HashValue([(b"f%05d" % n, b"v", FUTURE_MS * (n % 2)) for n in range(at, at + 700)]) for at in range(0, 2100, 700)],
    [
        *(
            StreamValue([StreamEntry((n + 1, 0), [b"f", b"v"]) for n in range(at, at + 700)])
            for at in range(0, 2100, 700)
        ),
        StreamValue([], (3000, 1), (5, 5), 2200),
    ],
]


@pytest.mark.parametrize("values", PIECES, ids=lambda values: type(values[0]).__name__)
def test_values_in_pieces(tmp_path: Path, values: list[RdbValue]) -> None:
    put(tmp_path, *in_pieces(b"key", values, FUTURE_MS), *in_pieces(b"gone", values, PAST_MS), string(b"other"))
    whole = values[0]
    for value in values[1:]:
        whole = joined(whole, value)
    assert content(tmp_path) == {
        (0, b"key"): (in_order(whole), FUTURE_MS),
        (0, b"other"): (StringValue(b"value"), 0),
    }


def test_samples_of_all_encodings(tmp_path: Path) -> None:
    keys = [RdbKey(n % 3, b"%d" % n, value) for n, value in enumerate(sample_values())]
    keys = [
        RdbKey(key.db, key.key, HashValue([(f, v, ms and ms + FUTURE_MS) for f, v, ms in key.value.entries]))
        if isinstance(key.value, HashValue)
        else key
        for key in keys
    ]
    put(tmp_path, *keys)
    assert content(tmp_path) == {(key.db, key.key): (in_order(key.value), 0) for key in keys}


def test_expired_keys_of_an_rdb_file_are_left_out(tmp_path: Path) -> None:
    hash_value = HashValue([(b"f", b"v", PAST_MS)])
    sink = put(tmp_path, string(b"dead", PAST_MS), string(b"alive", FUTURE_MS), RdbKey(0, b"hash", hash_value))
    assert sink.counts()["expired"] == 2
    assert list(content(tmp_path)) == [(0, b"alive")]


def test_expired_keys_of_a_preamble_may_get_another_time_to_live(tmp_path: Path) -> None:
    put(
        tmp_path,
        RdbAux(b"aof-base", b"1"),
        string(b"prolonged", PAST_MS),
        string(b"persisted", PAST_MS),
        string(b"dead", PAST_MS),
        command(f"PEXPIREAT prolonged {FUTURE_MS}"),
        command("PERSIST persisted"),
    )
    assert content(tmp_path) == {
        (0, b"prolonged"): (StringValue(b"value"), FUTURE_MS),
        (0, b"persisted"): (StringValue(b"value"), 0),
    }


def test_a_stream_of_commands_is_replayed_as_of_its_time(tmp_path: Path) -> None:
    """INCR after a time to live that is over now changes the key that lived then, and makes no new one."""
    sink = put(
        tmp_path,
        command(f"SET counter 1 PXAT {PAST_MS}"),
        command("INCR counter"),
        command("SET soon x EX 100"),
        command("SELECT 3"),
        command("MULTI"),
        command("RPUSH list a b"),
        command("EXEC"),
    )
    assert sink.counts()["errors"] == 0
    found = content(tmp_path)
    assert found.keys() == {(0, b"soon"), (3, b"list")}
    left_ms = found[0, b"soon"][1] - time.time_ns() // 1_000_000
    assert 0 < left_ms <= 100_000


def test_errors_of_commands_are_told(tmp_path: Path) -> None:
    sink = put(
        tmp_path, command("SET a b"), command("LPUSH a b"), command("NOSUCH"), command("BLPOP x 0"), command("GET a")
    )
    assert sink.counts()["errors"] == 3
    assert any("WRONGTYPE" in note for note in sink.notes)
    assert any("would block" in note for note in sink.notes)
    assert content(tmp_path) == {(0, b"a"): (StringValue(b"b"), 0)}


def test_functions(tmp_path: Path) -> None:
    assert put(tmp_path, RdbFunction(LIBRARY), RdbFunction(b"broken")).counts()["functions"] == 1
    with opened(tmp_path) as store:
        engine = open_snapshot(store, 1)
        assert list(records(engine, Selection(), ExportStats())) == [RdbFunction(LIBRARY)]
        engine.close()


def test_keys_that_are_there_already(tmp_path: Path) -> None:
    put(tmp_path, string(b"a", data=b"old"))
    with pytest.raises(TransferError, match="holds keys already"):
        put(tmp_path, string(b"a"))
    assert put(tmp_path, string(b"a"), string(b"b"), existing="skip").counts()["skipped"] == 1
    assert content(tmp_path)[0, b"a"] == (StringValue(b"old"), 0)
    put(tmp_path, string(b"a", FUTURE_MS), *in_pieces(b"b", PIECES[0]), existing="replace")
    found = content(tmp_path)
    assert found[0, b"a"] == (StringValue(b"value"), FUTURE_MS)
    assert isinstance(found[0, b"b"][0], ListValue)


def test_skipped_keys_in_pieces_stay_as_they_are(tmp_path: Path) -> None:
    put(tmp_path, RdbKey(0, b"key", ListValue([b"old"])))
    put(tmp_path, *in_pieces(b"key", PIECES[0]), existing="skip")
    assert content(tmp_path) == {(0, b"key"): (ListValue([b"old"]), 0)}


def interrupted(directory: Path, items: list[Item], after: int, identity: str = "a file") -> None:
    """Put some items, and go away in the middle, with the last ones uncommitted."""
    sink = DirectorySink(directory, identity)
    try:
        for item in items[:after]:
            sink.put(item)
        sink.flush()
        for item in items[after : after + 2]:
            sink.put(item)
    finally:
        sink.close()


def test_an_interrupted_import_goes_on_where_it_was(tmp_path: Path) -> None:
    items: list[Item] = [
        *in_pieces(b"dead", PIECES[0], PAST_MS),
        string(b"a"),
        *in_pieces(b"list", PIECES[0]),
        command("SELECT 2"),
        command("INCR counter"),
        command("INCR counter"),
    ]
    put(tmp_path / "whole", *items)
    expected = content(tmp_path / "whole")
    assert expected[2, b"counter"] == (StringValue(b"2"), 0)
    for after in range(1, len(items)):
        directory = tmp_path / str(after)
        interrupted(directory, items, after)
        with opened(directory) as store:
            assert has_unfinished_import(store)
        with pytest.raises(TransferError, match="a file was interrupted here"):
            put(directory, *items, identity="another")
        sink = put(directory, *items)
        assert f"went on after the {after} items" in sink.notes[0]
        assert content(directory) == expected
        with opened(directory) as store:
            assert not has_unfinished_import(store)


def test_another_import_may_begin_anew(tmp_path: Path) -> None:
    interrupted(tmp_path, [string(b"a"), string(b"b")], 1)
    sink = put(tmp_path, string(b"a", data=b"new"), identity="another", existing="replace")
    assert "began anew" in sink.notes[0]
    assert content(tmp_path)[0, b"a"] == (StringValue(b"new"), 0)


def test_databases_beyond_the_default_are_told_of(tmp_path: Path) -> None:
    sink = put(tmp_path, RdbKey(20, b"a", StringValue(b"b")))
    assert sink.notes == ["keys are in database 20: start the server with --databases 21 or more"]


# ---- the command line


def test_exports_of_a_selection(tmp_path: Path) -> None:
    data = tmp_path / "data"
    put(
        data,
        RdbFunction(LIBRARY),
        string(b"user:1"),
        RdbKey(0, b"user:2", SetValue([b"m"])),
        RdbKey(1, b"user:3", StringValue(b"x")),
        string(b"other"),
        string(b"\xff\xff"),
    )

    def exported(*options: str) -> list[bytes]:
        path = tmp_path / "out.resp"
        ctl("export", path, "--dir", data, *options)
        lines = path.read_bytes().split(b"\r\n")
        return sorted(line for line in lines if line.startswith((b"user", b"other", b"#!lua", b"\xff")))

    assert exported() == sorted([LIBRARY.split(b"\r\n")[0], b"other", b"user:1", b"user:2", b"user:3", b"\xff\xff"])
    assert exported("--db", "0", "--prefix", "user:") == [b"user:1", b"user:2"]
    assert exported("--type", "set") == [b"user:2"]
    assert exported("--db", "1") == [b"user:3"]
    assert exported("--db", "1", "--db", "0", "--type", "string") == [b"other", b"user:1", b"user:3", b"\xff\xff"]


def test_what_an_rdb_version_cannot_express(tmp_path: Path) -> None:
    data, path = tmp_path / "data", tmp_path / "dump.rdb"
    put(
        data,
        RdbFunction(LIBRARY),
        RdbKey(0, b"hash", HashValue([(b"f", b"v", FUTURE_MS)])),
        RdbKey(0, b"large", HashValue([(b"f%d" % n, b"v", FUTURE_MS) for n in range(1000)])),
        RdbKey(0, b"stream", StreamValue([StreamEntry((1, 1), [b"f", b"v"])], (1, 1), (0, 0), 1)),
    )
    assert ctl("export", path, "--dir", data)["rdb_version"] == 12
    complaint = ctl("export", path, "--dir", data, "--rdb-version", "9", status=1)
    assert "library b'mylib': RDB version 9 has no functions" in complaint
    complaint = ctl("export", path, "--dir", data, "--rdb-version", "10", status=1)
    assert "--lossy" in complaint
    assert list(tmp_path.glob(".*part")) == []
    result = ctl("export", path, "--dir", data, "--rdb-version", "10", "--lossy")
    assert result["notes"] == ["left out of 2 keys: RDB version 10 has no expiry of hash fields"]
    ctl("import", path, "--dir", tmp_path / "back")
    assert content(tmp_path / "back")[0, b"hash"] == (HashValue([(b"f", b"v", 0)]), 0)
    assert "left out of 1 libraries: RDB version 6 has no functions" in (
        ctl("export", path, "--dir", data, "--rdb-version", "6", "--lossy")["notes"]
    )
    ctl("import", path, "--dir", tmp_path / "old")
    assert content(tmp_path / "old").keys() == {(0, b"hash"), (0, b"large")}


def test_a_damaged_file_is_told_with_the_way_out(tmp_path: Path) -> None:
    data, path = tmp_path / "data", tmp_path / "dump.rdb"
    put(data, string(b"a"), string(b"b"))
    ctl("export", path, "--dir", data)
    path.write_bytes(path.read_bytes()[:-12])
    complaint = ctl("import", path, "--dir", tmp_path / "new", status=1)
    assert "unexpected end of file, at about byte" in complaint
    assert "goes on from there" in complaint


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["import", "--dir", "x"], "give either FILE or --from"),
        (["import", "file", "--dir", "x", "--follow"], "--follow needs --from"),
        (["import", "--from", "http://x", "--dir", "x"], "expected redis://"),
        (["import", "--from", "redis://127.0.0.1:1", "--dir", "x"], "cannot connect to 127.0.0.1:1"),
        (["import", "--from", "redis://h:port", "--dir", "x"], "bad port"),
    ],
)
def test_bad_usage(arguments: list[str], complaint: str) -> None:
    assert complaint in ctl(*arguments, status=1)


def test_an_output_that_is_there_already(tmp_path: Path) -> None:
    put(tmp_path / "data", string(b"a"))
    (tmp_path / "out").mkdir()
    assert "exists already" in ctl("export", tmp_path / "out", "--format", "aof", "--dir", tmp_path / "data", status=1)
