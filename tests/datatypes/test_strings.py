"""Strings against a plain bytearray, inline and in chunks, with commits and rollbacks in between."""

from __future__ import annotations

import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from diskkv.codec.header import SET, STRING, Header, encode_header
from diskkv.codec.keys import object_range
from diskkv.config import Config
from diskkv.datatypes import strings
from diskkv.engine.engine import Engine
from diskkv.engine.leveldb import LevelDBStore
from diskkv.engine.memory import MemoryStore
from diskkv.engine.reclaim import Reclaimer
from diskkv.engine.store import Store
from diskkv.errors import WrongTypeError

KEY = b"key"
EXPIRE_MS = 1 << 50


def memory_store(stack: ExitStack) -> Store:
    return MemoryStore()


def leveldb_store(stack: ExitStack) -> Store:
    store = LevelDBStore(stack.enter_context(tempfile.TemporaryDirectory()))
    stack.callback(store.close)
    return store


@pytest.fixture
def engine() -> Engine:
    return Engine(MemoryStore(), Config())


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that let short examples cross every border."""
    monkeypatch.setattr(strings, "INLINE_MAX_BYTES", 20)
    monkeypatch.setattr(strings, "CHUNK_BYTES", 8)
    monkeypatch.setattr(strings, "PIECE_BYTES", 12)


def rows_of(engine: Engine, oid: int) -> int:
    return len(list(engine.rows.scan(*object_range(oid))))


class Strings(RuleBasedStateMachine):
    """One key and the bytes it should hold; None: it should not exist."""

    make_store: Callable[[ExitStack], Store] = staticmethod(memory_store)

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.engine = Engine(self.make_store(self.stack), Config())
        self.database = self.engine.database(0)
        self.model: bytearray | None = None
        self.expire_ms = 0

    def teardown(self) -> None:
        self.stack.close()

    @property
    def old(self) -> Any:
        return self.database.get(KEY)

    @rule(data=st.binary(max_size=60), expire_ms=st.sampled_from([0, EXPIRE_MS]))
    def set(self, data: bytes, expire_ms: int) -> None:
        self.database.put(KEY, strings.make(self.engine, data, expire_ms), self.old)
        self.model = bytearray(data)
        self.expire_ms = expire_ms

    @precondition(lambda self: self.model is not None)
    @rule(data=st.binary(max_size=30))
    def append(self, data: bytes) -> None:
        assert self.model is not None
        size = strings.append(self.database, KEY, self.old, data)
        self.model += data
        assert size == len(self.model)
        assert strings.encoding(self.engine, self.old) == b"raw"

    @rule(offset=st.integers(0, 70), data=st.binary(min_size=1, max_size=30))
    def write_range(self, offset: int, data: bytes) -> None:
        size = strings.write_range(self.database, KEY, self.old, offset, data)
        if self.model is None:
            self.model = bytearray()
            self.expire_ms = 0
        self.model.extend(bytes(max(0, offset - len(self.model))))
        self.model[offset : offset + len(data)] = data
        assert size == len(self.model)
        assert strings.encoding(self.engine, self.old) == b"raw"

    @precondition(lambda self: self.model is not None)
    @rule()
    def delete(self) -> None:
        self.database.delete(KEY, self.old)
        self.model = None

    @rule()
    def commit(self) -> None:
        self.engine.commit()

    @rule(offset=st.integers(0, 70), data=st.binary(min_size=1, max_size=30), replace=st.booleans())
    def rolled_back(self, offset: int, data: bytes, replace: bool) -> None:
        mark = len(self.engine.journal)
        before = self.old
        strings.write_range(self.database, KEY, self.old, offset, data)
        if replace:
            self.database.put(KEY, strings.make(self.engine, data * 3), self.old)
        self.engine.rollback(mark)
        assert self.old == before

    @precondition(lambda self: self.model is not None)
    @rule(start=st.integers(0, 100), size=st.integers(0, 100))
    def read_range(self, start: int, size: int) -> None:
        assert self.model is not None
        stop = min(start + size, len(self.model))
        start = min(start, stop)
        assert strings.read_range(self.engine, self.old, start, stop) == self.model[start:stop]

    @invariant()
    def holds_the_model(self) -> None:
        value = self.old
        if self.model is None:
            assert value is None
            return
        assert strings.length(value) == len(self.model)
        assert strings.read(self.engine, value) == self.model
        assert b"".join(strings.pieces(self.engine, value)) == self.model
        assert (value.expire_ms if isinstance(value, Header) else 0) == self.expire_ms

    @invariant()
    def stays_within_its_chunks(self) -> None:
        value = self.old
        if not isinstance(value, Header) or value.value is not None:
            return
        chunks = strings.stored_chunks(self.engine, value)
        assert rows_of(self.engine, value.oid) == len(chunks)
        for index, data in chunks:
            assert index * strings.CHUNK_BYTES + len(data) <= value.count
            assert len(data) <= strings.CHUNK_BYTES


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize(("make_store", "examples"), [(memory_store, 100), (leveldb_store, 20)])
def test_against_a_model(make_store: Callable[[ExitStack], Store], examples: int) -> None:
    class Machine(Strings):
        pass

    Machine.make_store = staticmethod(make_store)
    run_state_machine_as_test(Machine, settings=settings(max_examples=examples, stateful_step_count=25))


def sizes_around_the_borders() -> Iterator[int]:
    for border in (strings.CHUNK_BYTES, strings.INLINE_MAX_BYTES, 3 * strings.CHUNK_BYTES):
        yield from (border - 1, border, border + 1)


@pytest.mark.parametrize("size", list(sizes_around_the_borders()))
def test_every_write_around_a_real_border(engine: Engine, size: int) -> None:
    database = engine.database(0)
    content = bytes(range(251)) * (size // 251 + 1)
    for offset in (0, size - 2, size - 1, size, size + 1, size + strings.CHUNK_BYTES):
        old = database.get(KEY)
        database.put(KEY, strings.make(engine, content[:size]), old)
        engine.commit()
        model = bytearray(content[:size])
        model.extend(bytes(max(0, offset - size)))
        model[offset : offset + 3] = b"xyz"
        assert strings.write_range(database, KEY, database.get(KEY), offset, b"xyz") == len(model)
        assert strings.read(engine, database.get(KEY)) == model
        engine.commit()
        model += b"appended"
        assert strings.append(database, KEY, database.get(KEY), b"appended") == len(model)
        engine.commit()
        assert strings.read(engine, database.get(KEY)) == model


def test_a_write_far_out_costs_one_chunk(engine: Engine) -> None:
    database = engine.database(0)
    tracemalloc.start()
    size = strings.write_range(database, KEY, None, 536_870_000, b"end")
    engine.commit()
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    value = database.get(KEY)
    assert size == strings.length(value) == 536_870_003
    assert peak_bytes < 10 * strings.CHUNK_BYTES
    assert rows_of(engine, value.oid) == 1
    assert strings.read_range(engine, value, 536_869_998, size) == b"\0\0end"
    assert strings.read_range(engine, value, 1_000_000, 1_000_003) == bytes(3)


def test_an_inline_string_grows_into_chunks_without_its_gap(engine: Engine) -> None:
    database = engine.database(0)
    database.put(KEY, strings.make(engine, b"start"), None)
    strings.write_range(database, KEY, database.get(KEY), 100 * strings.CHUNK_BYTES, b"end")
    value = database.get(KEY)
    assert [index for index, _ in strings.stored_chunks(engine, value)] == [0, 100]
    assert strings.read_range(engine, value, 0, 7) == b"start\0\0"


def test_a_write_inside_chunks_leaves_the_header_alone_and_tells_observers(engine: Engine) -> None:
    database = engine.database(0)
    strings.write_range(database, KEY, None, 0, bytes(strings.INLINE_MAX_BYTES + 1))
    engine.commit()
    seen: list[bytes] = []
    database.observer = lambda _, key: seen.append(key)
    changes = engine.changes
    strings.write_range(database, KEY, database.get(KEY), 5, b"x")
    assert not database.staged
    engine.commit()
    assert seen == [KEY]
    assert engine.changes == changes + 1
    assert strings.read_range(engine, database.get(KEY), 4, 7) == b"\0x\0"


@pytest.mark.parametrize("replacement", [b"short", b"z" * 100_000])
def test_the_chunks_of_a_replaced_string_are_reclaimed(engine: Engine, replacement: bytes) -> None:
    database = engine.database(0)
    database.put(KEY, strings.make(engine, b"y" * 100_000), None)
    first = database.get(KEY)
    engine.commit()
    database.put(KEY, strings.make(engine, replacement), first)
    engine.commit()
    reclaimer = Reclaimer(engine)
    while not reclaimer.idle:
        reclaimer.step(1000)
        engine.commit()
    assert rows_of(engine, first.oid) == 0
    assert strings.read(engine, database.get(KEY)) == replacement


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", b"embstr"),
        (b"0", b"int"),
        (b"-1", b"int"),
        (b"9223372036854775807", b"int"),
        (b"-9223372036854775808", b"int"),
        (b"9223372036854775808", b"embstr"),
        (b"00", b"embstr"),
        (b"+1", b"embstr"),
        (b" 1", b"embstr"),
        (b"x" * 44, b"embstr"),
        (b"x" * 45, b"raw"),
        (b"1" * 45, b"raw"),
        (b"x" * 100_000, b"raw"),
    ],
)
def test_encoding(engine: Engine, data: bytes, expected: bytes) -> None:
    assert strings.encoding(engine, strings.make(engine, data)) == expected
    assert strings.encoding(engine, strings.make(engine, data, EXPIRE_MS)) == expected
    assert strings.encoding(engine, strings.make(engine, data, raw=True)) == b"raw"


def test_equals_reads_only_when_the_lengths_agree(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    value = strings.make(engine, b"x" * 50_000)
    assert strings.equals(engine, value, b"x" * 50_000)
    assert not strings.equals(engine, value, b"x" * 49_999 + b"y")
    monkeypatch.setattr(strings, "read", None)
    assert not strings.equals(engine, value, b"x")


def test_other_types_are_refused() -> None:
    strings.require_string(b"")
    strings.require_string(Header(STRING, b"x", EXPIRE_MS))
    with pytest.raises(WrongTypeError):
        strings.require_string(Header(SET, {b"member": None}))


def test_the_header_of_a_long_string_is_small(engine: Engine) -> None:
    assert len(encode_header(strings.make(engine, bytes(1_000_000), EXPIRE_MS))) < 32


@pytest.mark.parametrize("size", [5, 100_000])
def test_a_copy_is_independent(engine: Engine, size: int) -> None:
    database = engine.database(0)
    database.put(KEY, strings.make(engine, b"a" * size, EXPIRE_MS), None)
    database.put(b"copy", strings.copy(engine, database.get(KEY)), None)
    engine.commit()
    strings.write_range(database, KEY, database.get(KEY), 0, b"changed")
    engine.commit()
    copied = database.get(b"copy")
    assert strings.read(engine, copied) == b"a" * size
    assert copied.expire_ms == EXPIRE_MS


@pytest.mark.parametrize("data", [b"", b"12", b"x" * 100_000])
def test_export_and_load_are_inverse(engine: Engine, data: bytes) -> None:
    exported = strings.export(engine, strings.make(engine, data))
    loaded = strings.load(engine, exported, EXPIRE_MS)
    assert strings.read(engine, loaded) == data
    assert isinstance(loaded, Header)
    assert loaded.expire_ms == EXPIRE_MS
