"""Streams and their groups against a plain model, with commits, rollbacks and forgotten mirrors between."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from diskkv.codec.header import STREAM, Header
from diskkv.config import Config
from diskkv.datatypes import streams, streams_edit, streams_groups, streams_pending, streams_transfer
from diskkv.datatypes.streams import MAX_ID, ZERO_ID, Stream, next_id, pack_id, unpack_fields
from diskkv.datatypes.streams_edit import ACKED, DELREF, KEEPREF, Trim
from diskkv.datatypes.streams_groups import NOT_KNOWN, Group
from diskkv.datatypes.streams_pending import Claim
from diskkv.engine.engine import Engine
from diskkv.engine.leveldb import LevelDBStore
from diskkv.engine.memory import MemoryStore
from diskkv.engine.store import Store
from diskkv.errors import CorruptionError, WrongTypeError
from tests.datatypes.stream_rows import GroupContent, check_groups, check_stream

KEY = b"key"
NOW_MS = 1_700_000_000_000


def memory_store(stack: ExitStack) -> Store:
    return MemoryStore()


def leveldb_store(stack: ExitStack) -> Store:
    store = LevelDBStore(stack.enter_context(tempfile.TemporaryDirectory()))
    stack.callback(store.close)
    return store


def config(node_entries: int = 100, node_bytes: int = 4096) -> Config:
    made = Config()
    made.stream_node_max_entries = node_entries
    made.stream_node_max_bytes = node_bytes
    return made


NUMBERS = st.integers(0, 60)
IDS = st.lists(NUMBERS.map(lambda number: pack_id(number, 0)), min_size=1, max_size=6)
GROUPS = st.sampled_from([b"", b"g", b"g\xff"])
CONSUMERS = st.sampled_from([b"", b"alice", b"\xff"])
POLICIES = st.sampled_from([KEEPREF, DELREF, ACKED])
FIELDS = st.lists(st.sampled_from([b"", b"f", b"12", b"x" * 90]), min_size=1, max_size=3).map(lambda names: names * 2)


class StreamMachine(RuleBasedStateMachine):
    """Entries have the IDs 1-0, 2-0 ... so that the model can name them by number."""

    make_store: Callable[[ExitStack], Store] = staticmethod(memory_store)

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.entries: dict[bytes, list[bytes]] = {}
        self.groups: dict[bytes, GroupContent] = {}
        self.counters = {"last": 0, "added": 0}
        self.max_deleted = ZERO_ID
        self.saved: Any = None

    @initialize(node_entries=st.integers(1, 7), node_bytes=st.sampled_from([60, 300, 4096]))
    def begin(self, node_entries: int, node_bytes: int) -> None:
        self.engine = Engine(self.make_store(self.stack), config(node_entries, node_bytes))
        self.engine.begin(NOW_MS)
        self.database = self.engine.database(0)
        self.database.put(KEY, streams.new(self.engine).header(), None)
        self.append(12, 1, [b"f", b"v"])
        for name in (b"", b"g"):
            self.create_group(name, 0)
            self.read_new(name, b"alice", 6, False)
            self.read_new(name, b"", 3, False)
        self.commit()

    def teardown(self) -> None:
        self.stack.close()

    @property
    def stream(self) -> Stream:
        value = self.database.get(KEY)
        assert isinstance(value, Header)
        return Stream(value)

    def put(self, stream: Stream) -> None:
        self.database.put(KEY, stream.header(), self.database.get(KEY))

    def group(self, name: bytes) -> Group | None:
        return streams_groups.find(self.engine, self.stream, name)

    def is_referenced(self, entry_id: bytes) -> bool:
        return any(entry_id > group.last or entry_id in group.pending for group in self.groups.values())

    # ---- entries

    @rule(count=st.integers(1, 12), gap=st.integers(1, 3), fields=FIELDS)
    def append(self, count: int, gap: int, fields: list[bytes]) -> None:
        stream = self.stream
        for _ in range(count):
            self.counters["last"] += gap
            self.counters["added"] += 1
            entry_id = pack_id(self.counters["last"], 0)
            streams_edit.append(self.engine, stream, entry_id, fields)
            self.entries[entry_id] = fields
        self.put(stream)

    @rule(ids=IDS)
    def delete(self, ids: list[bytes]) -> None:
        stream = self.stream
        gone = set(ids) & set(self.entries)
        assert streams_edit.delete(self.engine, stream, ids) == len(gone)
        self.forget(gone)
        self.put(stream)

    @rule(count=st.integers(1, 5))
    def delete_head(self, count: int) -> None:
        if self.entries:
            self.delete(sorted(self.entries)[:count])

    @rule(ids=IDS, policy=POLICIES)
    def delete_with(self, ids: list[bytes], policy: int) -> None:
        stream = self.stream
        results = streams_edit.delete_with(self.engine, stream, ids, policy)
        self.put(stream)
        for entry_id, result in zip(ids, results, strict=True):
            if policy == ACKED and self.is_referenced(entry_id):
                assert result == streams_edit.STILL_REFERENCED
                continue
            if policy == DELREF:
                self.drop_references(entry_id)
            assert result == (streams_edit.DELETED if entry_id in self.entries else streams_edit.NOT_FOUND)
            self.forget({entry_id} & set(self.entries))

    def forget(self, gone: set[bytes]) -> None:
        for entry_id in gone:
            del self.entries[entry_id]
            self.max_deleted = max(self.max_deleted, entry_id)

    def drop_references(self, entry_id: bytes) -> None:
        for group in self.groups.values():
            group.pending.pop(entry_id, None)

    @rule(maxlen=st.none() | st.integers(0, 30), minid=NUMBERS, policy=st.sampled_from([KEEPREF, DELREF]))
    def trim(self, maxlen: int | None, minid: int, policy: int) -> None:
        border = pack_id(minid, 0)
        ids = sorted(self.entries)
        doomed = [i for i in ids if i < border] if maxlen is None else ids[: max(len(ids) - maxlen, 0)]
        stream = self.stream
        assert streams_edit.trim(self.engine, stream, Trim(maxlen, border, policy=policy)) == len(doomed)
        self.put(stream)
        for entry_id in doomed:
            if policy == DELREF:
                self.drop_references(entry_id)
            del self.entries[entry_id]

    @rule(maxlen=st.integers(0, 30), limit=st.integers(0, 20))
    def trim_nodes(self, maxlen: int, limit: int) -> None:
        stream = self.stream
        deleted = streams_edit.trim(self.engine, stream, Trim(maxlen, approximate=True, limit=limit))
        self.put(stream)
        assert not deleted or len(self.entries) - deleted >= maxlen
        assert not limit or deleted <= limit
        for entry_id in sorted(self.entries)[:deleted]:
            del self.entries[entry_id]

    @rule(maxlen=st.integers(0, 30))
    def trim_acknowledged(self, maxlen: int) -> None:
        stream = self.stream
        before = len(self.entries)
        deleted = streams_edit.trim(self.engine, stream, Trim(maxlen, policy=ACKED))
        self.put(stream)
        for entry_id in set(self.entries) - set(check_stream(self.engine, stream)):
            assert not self.is_referenced(entry_id)
            del self.entries[entry_id]
        assert before - len(self.entries) == deleted
        assert not deleted or len(self.entries) >= maxlen

    @rule(start=NUMBERS, end=NUMBERS, count=st.integers(0, 9), reverse=st.booleans())
    def read_range(self, start: int, end: int, count: int, reverse: bool) -> None:
        low, high = pack_id(start, 0), pack_id(end, 0)
        expected = [(i, self.entries[i]) for i in sorted(self.entries, reverse=reverse) if low <= i <= high]
        found = streams.read_range(self.engine, self.stream, low, high, count, reverse)
        assert [(i, unpack_fields(raw)) for i, raw in found] == (expected[:count] if count else expected)

    @rule()
    def set_last_back(self) -> None:
        """XSETID on an empty stream: IDs are given out again while rows of the same IDs may wait for the reclaimer."""
        if not self.entries:
            stream = self.stream
            streams.set_last_id(self.engine, stream, ZERO_ID)
            self.counters["last"] = 0
            self.put(stream)

    # ---- groups

    @rule(name=GROUPS, count=st.integers(1, 9))
    def consume(self, name: bytes, count: int) -> None:
        """What consumers do all the time; each rule is drawn as often as any other."""
        self.append(count, 1, [b"f", b"v"])
        self.read_new(name, b"alice", count, False)

    @rule(name=GROUPS, start=NUMBERS)
    def create_group(self, name: bytes, start: int) -> None:
        if name not in self.groups:
            stream = self.stream
            streams_groups.create(self.engine, stream, name, pack_id(start, 0), NOT_KNOWN)
            self.put(stream)
            self.groups[name] = GroupContent(pack_id(start, 0))

    @rule(name=GROUPS)
    def destroy_group(self, name: bytes) -> None:
        stream = self.stream
        group = streams_groups.find(self.engine, stream, name)
        assert (group is not None) == (name in self.groups)
        if group is not None:
            streams_groups.destroy(self.engine, stream, group)
            self.put(stream)
            del self.groups[name]

    @rule(name=GROUPS, start=NUMBERS)
    def set_group_back(self, name: bytes, start: int) -> None:
        group = self.group(name)
        if group is not None:
            group.last = self.groups[name].last = pack_id(start, 0)
            group.save()

    def consumer(self, group: Group, name: bytes) -> streams_groups.Consumer:
        self.groups[group.name].consumers.add(name)
        return group.consumer(name) or group.create_consumer(name, NOW_MS)

    @rule(name=GROUPS, who=CONSUMERS, count=st.integers(0, 9), acknowledge=st.booleans())
    def read_new(self, name: bytes, who: bytes, count: int, acknowledge: bool) -> None:
        group = self.group(name)
        if group is None:
            return
        model = self.groups[name]
        ids = [entry_id for entry_id in sorted(self.entries) if entry_id > model.last]
        ids = ids[:count] if count else ids
        consumer = self.consumer(group, who)
        found = streams_pending.read_new(self.engine, group.stream, group, consumer, count, acknowledge)
        group.save()
        assert [entry_id for entry_id, _ in found] == ids
        if ids:
            model.last = ids[-1]
        if not acknowledge:
            model.pending.update(dict.fromkeys(ids, (who, 1)))

    @rule(name=GROUPS, who=CONSUMERS, after=NUMBERS, count=st.integers(0, 5))
    def read_history(self, name: bytes, who: bytes, after: int, count: int) -> None:
        group = self.group(name)
        if group is None:
            return
        pending = self.groups[name].pending
        ids = [i for i in sorted(pending) if i > pack_id(after, 0) and pending[i][0] == who]
        consumer = self.consumer(group, who)
        found = streams_pending.read_history(self.engine, group.stream, group, consumer, pack_id(after, 0), count)
        group.save()
        assert [entry_id for entry_id, _ in found] == (ids[:count] if count else ids)
        for entry_id, raw in found:
            assert (None if raw is None else unpack_fields(raw)) == self.entries.get(entry_id)
            if raw is not None:
                pending[entry_id] = (who, pending[entry_id][1] + 1)

    @rule(name=GROUPS, ids=IDS)
    def acknowledge(self, name: bytes, ids: list[bytes]) -> None:
        group = self.group(name)
        if group is not None:
            gone = set(ids) & set(self.groups[name].pending)
            assert streams_pending.acknowledge(group, ids) == len(gone)
            for entry_id in gone:
                del self.groups[name].pending[entry_id]

    @rule(name=GROUPS, count=st.integers(1, 5))
    def acknowledge_lowest(self, name: bytes, count: int) -> None:
        if name in self.groups:
            self.acknowledge(name, sorted(self.groups[name].pending)[:count])

    @rule(name=GROUPS, ids=IDS, policy=POLICIES)
    def acknowledge_and_delete(self, name: bytes, ids: list[bytes], policy: int) -> None:
        stream = self.stream
        group = streams_groups.find(self.engine, stream, name)
        if group is None:
            return
        results = streams_edit.acknowledge_and_delete(self.engine, stream, group, ids, policy)
        self.put(stream)
        for entry_id, result in zip(ids, results, strict=True):
            if self.groups[name].pending.pop(entry_id, None) is None:
                assert result == streams_edit.NOT_FOUND
            elif policy == ACKED and self.is_referenced(entry_id):
                assert result == streams_edit.STILL_REFERENCED
            else:
                assert result == streams_edit.DELETED
                if policy == DELREF:
                    self.drop_references(entry_id)
                self.forget({entry_id} & set(self.entries))

    @rule(name=GROUPS, who=CONSUMERS, ids=IDS, force=st.booleans(), deliveries=st.sampled_from([-1, 0, 7]))
    def claim(self, name: bytes, who: bytes, ids: list[bytes], force: bool, deliveries: int) -> None:
        group = self.group(name)
        if group is None:
            return
        pending = self.groups[name].pending
        expected = []
        for entry_id in ids:
            if entry_id not in self.entries:
                pending.pop(entry_id, None)
            elif entry_id in pending or force:
                count = pending.get(entry_id, (b"", 1))[1]
                pending[entry_id] = (who, count + 1 if deliveries < 0 else deliveries)
                expected.append(entry_id)
        consumer = self.consumer(group, who)
        how = Claim(0, NOW_MS, deliveries, force)
        found = streams_pending.claim(self.engine, group.stream, group, consumer, ids, how)
        group.save()
        assert [entry_id for entry_id, _ in found] == expected

    @rule(name=GROUPS, who=CONSUMERS, start=NUMBERS, count=st.integers(1, 4))
    def claim_idle(self, name: bytes, who: bytes, start: int, count: int) -> None:
        group = self.group(name)
        if group is None:
            return
        pending = self.groups[name].pending
        ids = [entry_id for entry_id in sorted(pending) if entry_id >= pack_id(start, 0)]
        consumer = self.consumer(group, who)
        following, claimed, gone = streams_pending.claim_idle(
            self.engine, group.stream, group, consumer, pack_id(start, 0), count, 0, False
        )
        group.save()
        assert following == (ids[count] if len(ids) > count else ZERO_ID)
        assert [entry_id for entry_id, _ in claimed] == [i for i in ids[:count] if i in self.entries]
        assert gone == [i for i in ids[:count] if i not in self.entries]
        for entry_id, _ in claimed:
            pending[entry_id] = (who, pending[entry_id][1] + 1)
        for entry_id in gone:
            del pending[entry_id]

    @rule(name=GROUPS, who=CONSUMERS)
    def delete_consumer(self, name: bytes, who: bytes) -> None:
        group = self.group(name)
        consumer = None if group is None else group.consumer(who)
        if group is None or consumer is None:
            return
        model = self.groups[name]
        owned = [entry_id for entry_id, (owner, _) in model.pending.items() if owner == who]
        assert group.delete_consumer(consumer) == len(owned)
        group.save()
        model.consumers.remove(who)
        for entry_id in owned:
            del model.pending[entry_id]

    # ---- the whole

    @rule()
    def copy_over(self) -> None:
        value = self.database.get(KEY)
        assert isinstance(value, Header)
        self.database.put(KEY, streams_transfer.copy(self.engine, value), value)

    @rule()
    def dump_and_load(self) -> None:
        value = self.database.get(KEY)
        assert isinstance(value, Header)
        dumped = streams_transfer.export(self.engine, value)
        loaded = streams_transfer.load(self.engine, dumped, 0)
        assert streams_transfer.export(self.engine, loaded) == dumped
        self.database.put(KEY, loaded, value)

    @rule()
    def commit(self) -> None:
        self.engine.commit()
        self.saved = copy.deepcopy((self.entries, self.groups, self.counters, self.max_deleted))

    @rule()
    def roll_back(self) -> None:
        self.engine.rollback(0)
        self.entries, self.groups, self.counters, self.max_deleted = copy.deepcopy(self.saved)

    @rule()
    def forget_mirrors(self) -> None:
        """As after a restart."""
        self.engine.mirrors.clear()

    @invariant()
    def check_content(self) -> None:
        stream = self.stream
        assert check_stream(self.engine, stream) == self.entries
        assert check_groups(self.engine, stream) == self.groups
        assert stream.last == pack_id(self.counters["last"], 0)
        assert stream.added == self.counters["added"]
        assert stream.max_deleted == self.max_deleted


class LevelDBStreamMachine(StreamMachine):
    make_store = staticmethod(leveldb_store)


def test_streams_in_memory() -> None:
    run_state_machine_as_test(StreamMachine, settings=settings(max_examples=20, stateful_step_count=60))


@pytest.mark.slow
def test_streams_on_disk() -> None:
    run_state_machine_as_test(LevelDBStreamMachine, settings=settings(max_examples=40, stateful_step_count=80))


# ---- single functions


@pytest.mark.parametrize("number", [1, 2**64 - 1, 2**64, 2**127, 2**128 - 2])
def test_ids_count_across_their_halves(number: int) -> None:
    entry_id = number.to_bytes(16)
    assert int.from_bytes(next_id(entry_id)) == number + 1
    assert streams.previous_id(next_id(entry_id)) == entry_id


def test_there_is_no_id_beyond_the_ends() -> None:
    with pytest.raises(OverflowError):
        next_id(MAX_ID)
    with pytest.raises(OverflowError):
        streams.previous_id(ZERO_ID)


@pytest.mark.parametrize(
    ("last", "now_ms", "expected"),
    [((5, 7), 6, (6, 0)), ((5, 7), 5, (5, 8)), ((5, 7), 4, (5, 8)), ((5, 2**64 - 1), 5, (6, 0)), ((0, 0), 0, (0, 1))],
)
def test_clock_id(last: tuple[int, int], now_ms: int, expected: tuple[int, int]) -> None:
    stream = streams.new(Engine(MemoryStore(), Config()))
    stream.last = pack_id(*last)
    assert streams.next_clock_id(stream, now_ms) == pack_id(*expected)


@pytest.mark.parametrize(
    ("last", "ms", "expected"),
    [((5, 7), 6, (6, 0)), ((5, 7), 5, (5, 8)), ((5, 7), 4, None), ((5, 2**64 - 1), 5, None), ((0, 0), 0, (0, 1))],
)
def test_sequence_id(last: tuple[int, int], ms: int, expected: tuple[int, int] | None) -> None:
    stream = streams.new(Engine(MemoryStore(), Config()))
    stream.last = pack_id(*last)
    assert streams.next_sequence_id(stream, ms) == (None if expected is None else pack_id(*expected))


def test_other_types_are_refused() -> None:
    for value in (b"string", Header(0, b"raw", raw=True)):
        with pytest.raises(WrongTypeError):
            streams.require_stream(value)
    header = streams.new(Engine(MemoryStore(), Config())).header()
    assert streams.require_stream(header) is header
    assert header.type == STREAM


def test_memory_usage_grows_with_the_content() -> None:
    engine = Engine(MemoryStore(), Config())
    stream = streams.new(engine)
    sizes = []
    for number in range(1, 4):
        for at in range(100):
            streams_edit.append(engine, stream, pack_id(number, at), [b"field", b"value" * 20])
        sizes.append(streams_transfer.memory_bytes(engine, stream.header(), 5))
    assert 100 * 100 < sizes[0] < 100 * 200
    assert sizes[0] < sizes[1] < sizes[2] <= 3 * sizes[0]


def test_damaged_rows_are_loud() -> None:
    engine = Engine(MemoryStore(), Config())
    stream = streams.new(engine)
    group = streams_groups.create(engine, stream, b"g", ZERO_ID, 0)
    for at in range(3):
        streams_edit.append(engine, stream, pack_id(1, at), [b"f", b"v"])
    group.deliver_new([pack_id(1, 0)], group.create_consumer(b"c", NOW_MS), NOW_MS)
    group.save()
    engine.rows.put(group.pending_prefix + pack_id(1, 0), b"short")
    with pytest.raises(CorruptionError, match="pending entry"):
        group.get_pending(pack_id(1, 0))
    for row, raw in list(engine.rows.scan(*group.row_ranges()[1][:2])):
        engine.rows.put(row, raw[:-1])
    with pytest.raises(CorruptionError, match="state"):
        streams_groups.find(engine, stream, b"g")
    engine.rows.delete(stream.prefix + pack_id(1, 1))
    engine.rows.delete(stream.prefix + pack_id(1, 2))
    with pytest.raises(CorruptionError, match="none behind"):
        streams_edit.delete(engine, stream, [pack_id(1, 0)])
