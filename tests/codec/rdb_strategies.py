"""Hypothesis strategies for RDB values, and value builders that several test modules share."""

from __future__ import annotations

from hypothesis import strategies as st

from diskkv.codec.rdb_values import (
    HashValue,
    ListValue,
    RdbValue,
    SetValue,
    StreamConsumer,
    StreamEntry,
    StreamGroup,
    StreamId,
    StreamPending,
    StreamValue,
    StringValue,
    ZSetValue,
)

EDGE_TEXTS = [
    b"",
    b"\x00",
    b"\xff" * 3,
    b"0",
    b"-0",
    b"00",
    b"-1",
    b"127",
    b"128",
    b"-4096",
    b"-4097",
    b"4095",
    b"4096",
    b"32767",
    b"-8388608",
    b"8388608",
    b"2147483647",
    b"-2147483649",
    b"9223372036854775807",
    b"9223372036854775808",
    b"-9223372036854775808",
    b"-9223372036854775809",
    b"+1",
    b"1.0",
    b" 1",
    b"1_0",
    b"x" * 63,
    b"x" * 64,
    b"y" * 65,
    b"z" * 4095,
    b"z" * 4096,
    b"ab" * 5000,
    bytes(range(256)) * 70,
]
texts = st.one_of(st.sampled_from(EDGE_TEXTS), st.binary(max_size=80), st.integers().map(lambda number: b"%d" % number))
scores = st.one_of(
    st.floats(allow_nan=False),
    st.integers(-(1 << 54), 1 << 54).map(float),
    st.sampled_from([0.0, float("inf"), float("-inf"), 1e-310, 1.7e308, 0.1]),
)
expiries = st.one_of(st.just(0), st.integers(1, (1 << 48) - 1))

strings = texts.map(StringValue)
lists = st.lists(texts, min_size=1, max_size=200).map(ListValue)
sets = st.one_of(
    st.lists(texts, min_size=1, max_size=150, unique=True),
    st.lists(st.integers(-(1 << 63), (1 << 63) - 1), min_size=1, unique=True).map(
        lambda numbers: [b"%d" % number for number in numbers]
    ),
).map(SetValue)
zsets = st.dictionaries(texts, scores, min_size=1, max_size=150).map(lambda d: ZSetValue(list(d.items())))
hashes = st.dictionaries(texts, texts, min_size=1, max_size=150).map(
    lambda d: HashValue([(name, value, 0) for name, value in d.items()])
)
expiring_hashes = st.dictionaries(texts, st.tuples(texts, expiries), min_size=1, max_size=150).map(
    lambda d: HashValue([(name, value, expire_ms) for name, (value, expire_ms) in d.items()])
)

_u64 = st.one_of(st.integers(0, 5), st.integers(0, (1 << 64) - 1))
stream_ids = st.tuples(_u64, _u64)
_times = st.integers(0, (1 << 62))
_fields = st.lists(st.tuples(st.sampled_from([b"a", b"b", b"7", b""]), texts), min_size=1, max_size=3).map(
    lambda pairs: [text for pair in pairs for text in pair]
)


@st.composite
def stream_groups(draw: st.DrawFn, name: bytes) -> StreamGroup:
    """A group whose pending entries are dealt out to its consumers."""
    names = draw(st.lists(texts, unique=True, max_size=3))
    ids = sorted(draw(st.sets(stream_ids, max_size=8))) if names else []
    owners = [draw(st.integers(0, len(names) - 1)) for _ in ids]
    pending = [StreamPending(entry_id, draw(_times), draw(st.integers(0, 1 << 40))) for entry_id in ids]
    consumers = [
        StreamConsumer(
            consumer,
            draw(_times),
            draw(st.one_of(st.just(-1), _times)),
            [entry_id for entry_id, owner in zip(ids, owners, strict=True) if owner == index],
        )
        for index, consumer in enumerate(names)
    ]
    return StreamGroup(name, draw(stream_ids), draw(st.integers(-1, 1 << 40)), pending, consumers)


@st.composite
def streams(draw: st.DrawFn) -> StreamValue:
    """A stream with up to some nodes of entries and a few groups."""
    ids: list[StreamId] = sorted(draw(st.sets(stream_ids, max_size=120)))
    entries = [StreamEntry(entry_id, draw(_fields)) for entry_id in ids]
    last_id = max(ids[-1] if ids else (0, 0), draw(stream_ids))
    names = draw(st.lists(texts, unique=True, max_size=3))
    groups = [draw(stream_groups(name)) for name in names]
    return StreamValue(entries, last_id, draw(stream_ids), draw(_u64), groups)


values = st.one_of(strings, lists, sets, zsets, hashes, streams())


def in_order(value: RdbValue) -> RdbValue:
    """`value` with its members sorted where their order means nothing, to compare with."""
    match value:
        case SetValue(members):
            return SetValue(sorted(members))
        case ZSetValue(entries):
            return ZSetValue(sorted(entries))
        case HashValue(fields):
            return HashValue(sorted(fields))
        case _:
            return value


def sample_values() -> list[RdbValue]:
    """At least one value for every encoding that is written, without randomness."""
    long_text = b"long text, " * 40
    entries = [StreamEntry((5 + number // 3, number % 3), [b"f", b"%d" % number]) for number in range(30)]
    pending = [StreamPending((5, 0), 1000, 1), StreamPending((6, 1), 2000, 3)]
    consumers = [StreamConsumer(b"one", 1500, 1400, [(5, 0), (6, 1)]), StreamConsumer(b"two", 1600, -1, [])]
    group = StreamGroup(b"group", (9, 2), 15, pending, consumers)
    return [
        StringValue(b"text"),
        StringValue(b"-12345"),
        StringValue(long_text),
        ListValue([b"a", b"1", b"-70000", long_text, b"z" * 9000]),
        SetValue([b"1", b"-2", b"70000"]),
        SetValue([b"a", b"1"]),
        SetValue([b"%d!" % number for number in range(200)]),
        ZSetValue([(b"a", 1.0), (b"b", -2.5), (b"c", float("inf"))]),
        ZSetValue([(b"m%d" % number, number / 7) for number in range(200)]),
        HashValue([(b"f", b"v", 0), (b"1", b"2", 0)]),
        HashValue([(b"f%d" % number, b"v", 0) for number in range(600)]),
        HashValue([(b"f", b"v", 0), (b"1", b"2", 2_000_000_000_000)]),
        HashValue([(b"f%d" % number, b"v", 2_000_000_000_000 + number if number % 2 else 0) for number in range(600)]),
        StreamValue(entries, (99, 1), (5, 5), 40, [group]),
        StreamValue([], (7, 0), (7, 0), 1, []),
    ]
