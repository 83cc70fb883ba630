"""RDB files and records out of a store: equal to what was put in, whatever the size and encoding."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diskkv.codec.rdb_reader import RdbKey, RdbReader
from diskkv.codec.rdb_values import (
    HashValue,
    ListValue,
    RdbUnsupportedError,
    RdbValue,
    SetValue,
    StreamEntry,
    StreamGroup,
    StreamValue,
    StringValue,
    ZSetValue,
)
from diskkv.config import Config
from diskkv.datatypes import operations, pieces
from diskkv.engine.engine import Engine
from diskkv.engine.leveldb import LevelDBStore
from diskkv.engine.memory import MemoryStore
from diskkv.services.dataset_export import ExportStats, RdbExport, Selection, needs_field_expiry, open_snapshot, records
from tests.codec.rdb_live import comparable
from tests.codec.rdb_strategies import values

NOW_MS = 1_700_000_000_000
LATER_MS = NOW_MS + 1_000_000


def engine_with(content: dict[bytes, RdbValue], directory: Path | None = None) -> Engine:
    """An engine that holds these keys; small collections in rows, too."""
    config = Config()
    config.hash_max_listpack_entries = config.set_max_listpack_entries = config.zset_max_listpack_entries = 4
    config.set_max_intset_entries = 4
    config.list_max_listpack_size = 4
    engine = Engine(LevelDBStore(directory) if directory else MemoryStore(), config)
    engine.begin(NOW_MS)
    for key, value in content.items():
        made = operations.load(engine, value, 0)
        assert made is not None
        engine.database(0).put(key, made, None)
    engine.commit()
    return engine


def exported(engine: Engine, version: int = 12, now_ms: int = NOW_MS) -> dict[bytes, RdbValue]:
    snapshot = open_snapshot(engine.store, now_ms)
    export = RdbExport(snapshot, version)
    made = list(export.pieces())
    # Nothing is made that another client would have to wait long for.
    assert max(map(len, made)) < 1 << 20
    assert export.size_bytes == sum(map(len, made))
    return {one.key: comparable(one.value) for one in RdbReader(io.BytesIO(b"".join(made))) if isinstance(one, RdbKey)}


def live(value: RdbValue) -> RdbValue:
    """Without times of fields that are over: an expired field has no place in a copy."""
    if isinstance(value, HashValue):
        return HashValue([(name, text, ms and ms + LATER_MS) for name, text, ms in value.entries])
    return value


@settings(max_examples=40)
@given(content=st.dictionaries(st.binary(max_size=8), values.map(live), max_size=6))
def test_random_values(content: dict[bytes, RdbValue]) -> None:
    engine = engine_with(content)
    assert exported(engine) == {key: comparable(value) for key, value in content.items()}
    engine.close()


COUNT = 1700
LARGE: dict[bytes, RdbValue] = {
    b"hash": HashValue([(b"f%05d" % n, b"v%d" % n, 0) for n in range(COUNT)]),
    b"list": ListValue([b"%d" % n * (1 + n % 50) for n in range(COUNT)]),
    b"set": SetValue([b"m%05d" % n for n in range(COUNT)]),
    b"stream": StreamValue(
        [StreamEntry((n // 7 + 1, n % 7), [b"f", b"%d" % n, b"g", b"x" * (n % 90)]) for n in range(COUNT)],
        (COUNT, 5),
        (3, 1),
        COUNT + 9,
        [StreamGroup(b"group", (5, 0), 28)],
    ),
    b"string": StringValue(bytes(range(256)) * 5000),
    b"timed": HashValue([(b"f%05d" % n, b"v", LATER_MS + n if n % 3 else 0) for n in range(COUNT)]),
    b"zset": ZSetValue([(b"m%05d" % n, n / 7 - 50) for n in range(COUNT)]),
}


@pytest.mark.parametrize("version", [10, 12, 80])
def test_values_that_are_written_in_pieces(tmp_path: Path, version: int) -> None:
    content = {key: value for key, value in LARGE.items() if version > 10 or key != b"timed"}
    engine = engine_with(content, tmp_path / "db")
    database = engine.database(0)
    assert all(pieces.is_large(database.get(key)) for key in content)  # type: ignore[arg-type]
    assert exported(engine, version) == {key: comparable(value) for key, value in content.items()}
    engine.close()


def test_records_are_pieces_of_bounded_size() -> None:
    engine = engine_with(LARGE)
    snapshot = open_snapshot(engine.store, NOW_MS)
    parts: dict[bytes, list[RdbKey]] = {}
    for record in records(snapshot, Selection(), ExportStats()):
        if isinstance(record, RdbKey):
            parts.setdefault(record.key, []).append(record)
    for key, found in parts.items():
        assert [record.part for record in found] == list(range(len(found)))
        assert [record.is_last for record in found] == [False] * (len(found) - 1) + [True]
        assert len(found) > 3 or key == b"string"


def test_expired_fields_are_not_counted() -> None:
    times = {b"all": lambda n: NOW_MS + n, b"some": lambda n: NOW_MS + n * 1000, b"small": lambda n: NOW_MS + 1}
    content: dict[bytes, RdbValue] = {
        key: HashValue([(b"f%05d" % n, b"v", at(n + 1)) for n in range(3 if key == b"small" else COUNT)])
        for key, at in times.items()
    }
    engine = engine_with(content)
    found = exported(engine, now_ms=NOW_MS + 1_000_000)
    assert found.keys() == {b"some"}
    some = found[b"some"]
    assert isinstance(some, HashValue)
    assert len(some.entries) == COUNT - 1000


def test_what_a_version_cannot_express() -> None:
    engine = engine_with({b"a": StringValue(b"x"), b"timed": LARGE[b"timed"], b"stream": LARGE[b"stream"]})
    snapshot = open_snapshot(engine.store, NOW_MS)
    assert list(needs_field_expiry(snapshot))[-1] is True
    with pytest.raises(RdbUnsupportedError, match="timed"):
        list(RdbExport(snapshot, 10).pieces())
    export = RdbExport(snapshot, 8, lossy=True)
    data = b"".join(export.pieces())
    found = {one.key: one.value for one in RdbReader(io.BytesIO(data)) if isinstance(one, RdbKey)}
    assert found.keys() == {b"a", b"timed"}
    assert not found[b"timed"].has_expiry  # type: ignore[union-attr]
    assert sum(export.stats.lost.values()) == 2


def test_keys_beyond_every_prefix() -> None:
    names = [b"", b"\xff", b"\xff\xff", b"a", b"a\xff", b"a\xff\xff", b"b"]
    engine = engine_with({name: StringValue(b"x") for name in names})
    snapshot = open_snapshot(engine.store, NOW_MS)
    for prefix in [*names, b"\xff\xff\xff", b"c"]:
        found = [
            one.key for one in records(snapshot, Selection(prefix=prefix), ExportStats()) if isinstance(one, RdbKey)
        ]
        assert found == sorted(name for name in names if name.startswith(prefix))


def test_a_copy_does_not_change_with_the_store() -> None:
    with tempfile.TemporaryDirectory() as directory:
        engine = engine_with(LARGE, Path(directory) / "db")
        snapshot = open_snapshot(engine.store, NOW_MS)
        made = RdbExport(snapshot, 12).pieces()
        first = next(made)
        engine.flush(engine.database(0))
        engine.commit()
        data = first + b"".join(made)
        found = {one.key: comparable(one.value) for one in RdbReader(io.BytesIO(data)) if isinstance(one, RdbKey)}
        assert found == {key: comparable(value) for key, value in LARGE.items()}
        snapshot.close()
        engine.close()
