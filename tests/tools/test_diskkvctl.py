"""diskkvctl on small real directories."""

from __future__ import annotations

import json
import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from diskkv import __version__
from diskkv.codec import keys
from diskkv.codec.header import HASH, STRING, ZSET, Header, encode_header
from diskkv.config import Config
from diskkv.datatypes import strings
from diskkv.datatypes.hashes_edit import encode_field
from diskkv.datatypes.members import member_row
from diskkv.engine.engine import Engine
from diskkv.engine.leveldb import LevelDBStore
from tools import diskkvctl
from tools.ctl.output import Columns, quoted, size
from tools.ctl.stats import parse_levels

NOW_MS = 1_700_000_000_000
HOUR_MS = 3_600_000


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = diskkvctl.main(list(arguments))
    out, err = capsys.readouterr()
    return status, out, err


def run_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    return json.loads(run(capsys, *arguments, "--json")[1])


def put_hash(engine: Engine, key: bytes, fields: int, rows: int | None = None) -> int:
    """A hash in rows; with `rows` other than `fields` a broken one."""
    oid = engine.new_oid()
    for number in range(fields if rows is None else rows):
        engine.rows.put(member_row(oid, keys.KIND_HASH_FIELD, b"%04d" % number), encode_field(b"v", 0))
    engine.database(0).put(key, Header(HASH, oid=oid, count=fields), None)
    return oid


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """db0: two strings, one with a time to live that was extended, a hash in rows, a small zset; db3: one string; an
    overwritten hash waiting to be reclaimed."""
    store = LevelDBStore(tmp_path / "data")
    engine = Engine(store, Config())
    engine.begin(NOW_MS)
    db = engine.database(0)
    db.put(b"plain", b"value", None)
    first = Header(STRING, b"session", NOW_MS + HOUR_MS)
    db.put(b"session:1", first, None)
    db.put(b"session:1", Header(STRING, b"session", NOW_MS + 2 * HOUR_MS), first)
    put_hash(engine, b"big\x00hash", 300)
    db.put(b"ranking", Header(ZSET, {b"a": 1.0, b"b": 2.5}), None)
    put_hash(engine, b"overwritten", 40)
    engine.commit()
    old = db.get(b"overwritten")
    db.put(b"overwritten", b"now a string", old)
    engine.database(3).put(b"elsewhere", b"1", None)
    engine.commit()
    engine.close()
    return tmp_path / "data"


@pytest.fixture
def store(directory: Path) -> Iterator[LevelDBStore]:
    """The directory opened for damage; close it before running a command."""
    opened = LevelDBStore(directory)
    yield opened
    opened.close()


def damage(store: LevelDBStore, *, put: dict[bytes, bytes] | None = None, delete: list[bytes] | None = None) -> None:
    store.write({**(put or {}), **dict.fromkeys(delete or [])})
    store.close()


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        diskkvctl.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"diskkvctl {__version__}\n"


def test_it_runs_as_a_file(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["diskkvctl.py", "--version"])
    with pytest.raises(SystemExit):
        runpy.run_path(str(Path(diskkvctl.__file__)), run_name="__main__")
    assert capsys.readouterr().out.startswith("diskkvctl ")


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["stats"]])
def test_bad_usage_is_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        diskkvctl.main(arguments)
    assert caught.value.code == 2
    assert "usage: diskkvctl" in capsys.readouterr().err


def test_stats_counts_rows_and_keys(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = run_json(capsys, "stats", "--dir", str(directory))
    assert data["format"] == keys.FORMAT_VERSION
    assert data["tags"]["headers"]["rows"] == 6
    assert data["tags"]["elements"]["rows"] == 340
    assert data["tags"]["expiry index"]["rows"] == 1
    assert data["tags"]["garbage queue"]["rows"] == 1
    assert data["element_kinds"] == {"hash field": 340}
    assert [(row["index"], row["keys"], row["expires"]) for row in data["databases"]] == [(0, 5, 1), (3, 1, 0)]
    assert sum(found["size_bytes"] for found in data["files"].values()) > 0


def test_stats_for_people(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "stats", "--dir", str(directory), "--quick")
    assert (status, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert ["db0", "5", "1", "1"] in lines
    assert next(line for line in lines if line[:1] == ["headers"])[1] == "-"


def test_the_parent_of_the_store_directory_works_too(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_json(capsys, "stats", "--dir", str(directory.parent))["directory"] == str(directory)


def test_a_directory_in_use_is_one_clear_line(
    directory: Path, store: LevelDBStore, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run(capsys, "stats", "--dir", str(directory))
    assert (status, out) == (1, "")
    assert err == f"diskkvctl: {directory} is in use by another process; for a running server use --url\n"


def test_no_store_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "stats", "--dir", str(tmp_path)) == (1, "", f"diskkvctl: {tmp_path} holds no diskkv data\n")
    assert list(tmp_path.iterdir()) == []
    missing = tmp_path / "missing"
    assert run(capsys, "stats", "--dir", str(missing))[2] == f"diskkvctl: {missing} is not a directory\n"


def test_a_newer_format_is_refused(directory: Path, store: LevelDBStore, capsys: pytest.CaptureFixture[str]) -> None:
    damage(store, put={keys.SYSTEM_FORMAT: keys.U32.pack(99)})
    status, _, err = run(capsys, "check", "--dir", str(directory))
    assert status == 1
    assert "has format 99" in err


def test_another_programs_leveldb_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    damage(LevelDBStore(tmp_path), put={b"a": b"b"})
    status, _, err = run(capsys, "scan", "--dir", str(tmp_path))
    assert status == 1
    assert "not diskkv's" in err


def test_scan_selects_by_database_prefix_pattern_type_and_limit(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def scan(*more: str) -> list[str]:
        return run(capsys, "scan", "--dir", str(directory), *more)[1].split()

    assert scan() == ['"big\\x00hash"', '"overwritten"', '"plain"', '"ranking"', '"session:1"']
    assert scan("--db", "3") == ['"elsewhere"']
    assert scan("--db", "7") == []
    assert scan("--prefix", "r") == ['"ranking"']
    assert scan("--match", "*n*") == ['"overwritten"', '"plain"', '"ranking"', '"session:1"']
    assert scan("--type", "hash") == ['"big\\x00hash"']
    assert scan("--limit", "2") == ['"big\\x00hash"', '"overwritten"']


def test_inspect_shows_an_inline_value(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = run_json(capsys, "inspect", "--dir", str(directory), "session:1")
    assert (data["type"], data["layout"], data["value"]) == ("string", "inline", '"session"')
    assert data["expire_ms"] == NOW_MS + 2 * HOUR_MS
    assert data["expires"] == "2023-11-15T00:13:20.000+00:00"
    assert data["own expiry row"] is False


def test_inspect_shows_rows(store: LevelDBStore, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    engine = Engine(store, Config())
    oid = put_hash(engine, b"h", 3)
    engine.commit()
    store.close()
    data = run_json(capsys, "inspect", "--dir", str(directory), "h", "--rows", "2")
    assert (data["layout"], data["oid"], data["count"]) == ("rows", oid, 3)
    assert data["element rows"] == {"hash field": 3}
    assert [row["row"] for row in data["rows"]] == ["hash field"] * 2
    assert all(re.fullmatch(r'hash=[0-9a-f]{8} member="000[012]" value="v"', row["value"]) for row in data["rows"])


def test_inspect_of_a_missing_key(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, "inspect", "--dir", str(directory), "nope", "--db", "3")
    assert (status, err) == (1, 'diskkvctl: no key "nope" in db3\n')


def test_bigkeys_orders_by_size_and_totals_by_type(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = run_json(capsys, "bigkeys", "--dir", str(directory), "--top", "2")
    assert data["totals"]["hash"]["elements"] == 300
    assert data["totals"]["string"]["keys"] == 4
    assert [row["key"] for row in data["largest"]["string"]] == ['"session:1"', '"overwritten"']
    assert data["largest"]["zset"][0]["elements"] == 2


def test_compact_reclaims_what_waits(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = run_json(capsys, "compact", "--dir", str(directory))
    assert data["reclaimed_rows"] == 41
    stats = run_json(capsys, "stats", "--dir", str(directory))
    assert stats["tags"]["garbage queue"]["rows"] == 0
    assert stats["tags"]["elements"]["rows"] == 300
    assert run(capsys, "check", "--dir", str(directory))[0] == 0


def test_check_of_a_sound_store(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "check", "--dir", str(directory)) == (
        0,
        "ok: 6 keys, 2 objects, 1 expiry entries, 1 garbage entries\n",
        "",
    )


def check(capsys: pytest.CaptureFixture[str], directory: Path) -> list[str]:
    status, out, _ = run(capsys, "check", "--dir", str(directory), "--json")
    data = json.loads(out)
    assert status == (1 if data["problems"] else 0)
    assert data["problem_count"] == len(data["problems"])
    problems: list[str] = data["problems"]
    return problems


def test_check_finds_wrong_counts(directory: Path, store: LevelDBStore, capsys: pytest.CaptureFixture[str]) -> None:
    damage(store, put={keys.SYSTEM_COUNTS + keys.U32.pack(1): keys.encode_counts(9, 2)})
    assert check(capsys, directory) == [
        "db0 counts 9 keys and has 5",
        "db0 counts 2 keys with a time to live and has 1",
    ]


def test_check_finds_a_missing_and_a_late_expiry_entry(
    directory: Path, store: LevelDBStore, capsys: pytest.CaptureFixture[str]
) -> None:
    late = keys.expiry_row(NOW_MS + 3 * HOUR_MS, 1, b"session:1")
    damage(store, put={late: b""}, delete=[keys.expiry_row(NOW_MS + HOUR_MS, 1, b"session:1")])
    assert check(capsys, directory) == [
        f'"session:1" in db0 expires at {NOW_MS + 2 * HOUR_MS} and has no entry in the index by then'
    ]


def test_check_finds_a_wrong_number_of_elements(
    directory: Path, store: LevelDBStore, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = Engine(store, Config())
    put_hash(engine, b"short", 10, rows=9)
    engine.commit()
    store.close()
    assert check(capsys, directory) == ['"short" in db0: a hash of 10 fields has 9']


def test_check_finds_rows_of_another_type(
    directory: Path, store: LevelDBStore, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = Engine(store, Config())
    oid = put_hash(engine, b"mixed", 1)
    engine.commit()
    damage(store, put={keys.element_prefix(oid, keys.KIND_LIST_ITEM) + b"x": b""})
    assert check(capsys, directory) == ['"mixed" in db0: a hash has 1 rows of the kind list item']


def test_check_finds_chunks_behind_the_end_of_a_string(
    directory: Path, store: LevelDBStore, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = Engine(store, Config())
    value = strings.make(engine, b"x" * 40_000)
    assert isinstance(value, Header)
    engine.database(0).put(b"long", value, None)
    engine.commit()
    prefix = keys.element_prefix(value.oid, keys.KIND_STRING_CHUNK)
    damage(store, put={prefix + keys.U32.pack(0): b"x" * 20_000, prefix + keys.U32.pack(2): b"x" * 8000})
    assert check(capsys, directory) == [
        '"long" in db0: chunk 0 of a string has 20000 bytes, not 1 to 16384',
        '"long" in db0: chunk 2 of a string of 40000 bytes reaches behind its end',
    ]


def test_check_finds_an_object_that_nobody_owns(
    directory: Path, store: LevelDBStore, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(store, put={keys.element_prefix(12345, keys.KIND_SET_MEMBER) + b"x": b""})
    assert check(capsys, directory) == ["object 12345 belongs to no key and is not waiting to be reclaimed"]


def test_check_finds_garbage_in_use_shared_objects_and_the_lease(
    directory: Path, store: LevelDBStore, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = Engine(store, Config())
    oid = put_hash(engine, b"one", 1)
    engine.database(0).put(b"two", Header(HASH, oid=oid, count=1), None)
    engine.commit()
    damage(
        store,
        put={
            keys.garbage_row(keys.GARBAGE_OBJECT, oid): b"",
            keys.garbage_row(keys.GARBAGE_DATABASE, 1): b"",
            keys.SYSTEM_LEASE: keys.U64.pack(oid),
        },
    )
    assert sorted(check(capsys, directory)) == sorted(
        [
            f"two keys share object {oid}",
            f"object {oid} is not below the lease {oid}",
            f"the row {member_row(oid, keys.KIND_HASH_FIELD, b'0000').hex()} belongs to an object that is not below "
            f"the lease {oid}",
            f"object {oid} waits to be reclaimed while a key uses it",
            "db0 (id 1) waits to be reclaimed while it is in use",
        ]
    )


def test_check_finds_headers_that_do_not_decode_or_belong_nowhere(
    directory: Path, store: LevelDBStore, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(
        store,
        put={
            keys.header_prefix(1) + b"plain": b"\x0f???",
            keys.header_prefix(77) + b"lost": encode_header(b"v"),
        },
    )
    first, second = check(capsys, directory)
    assert first.startswith('"plain" in db0: header of row 6d')
    assert second == "1 keys belong to database id 77, which no database has"


def test_a_flushed_database_waiting_for_reclaim_is_sound(
    directory: Path, store: LevelDBStore, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = Engine(store, Config())
    engine.begin(NOW_MS)
    engine.flush(engine.database(0))
    engine.commit()
    store.close()
    assert check(capsys, directory) == []


@pytest.mark.parametrize(
    ("size_bytes", "expected"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (3 << 29, "1.5 GiB"), (1 << 52, "4096.0 TiB")],
)
def test_sizes(size_bytes: int, expected: str) -> None:
    assert size(size_bytes) == expected


def test_quoted_shows_every_byte_and_cuts_long_values() -> None:
    assert quoted(b'a"\\\n\x00\xff') == '"a\\"\\\\\\n\\x00\\xff"'
    assert quoted(b"abcdef", 3) == '"abc"... (6 bytes)'


def test_columns_align_numbers_to_the_right() -> None:
    assert Columns(["name", "n"], [("a", 1), ("long name", 1000)]).lines() == [
        "name           n",
        "a              1",
        "long name  1,000",
    ]


def test_leveldb_levels_are_parsed() -> None:
    text = (
        "                               Compactions\n"
        "Level  Files Size(MB) Time(sec) Read(MB) Write(MB)\n"
        "--------------------------------------------------\n"
        "  0        2        4         1        0         9\n"
        "  1       10       20         3       30        28\n"
    )
    assert [(row["level"], row["files"], row["size_mib"]) for row in parse_levels(text)] == [(0, 2, 4), (1, 10, 20)]
    assert parse_levels("") == []
