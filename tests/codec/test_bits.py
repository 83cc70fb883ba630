"""Bitmaps: every function against a bit-by-bit oracle, and BITCOUNT, BITPOS, BITOP, BITFIELD of a real server."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskkv.codec import bits
from diskkv.codec.bits import FieldType
from diskkv.errors import CommandError
from tests.harness.servers import POOL, redis_8
from tests.harness.wire import ErrorReply, Wire, is_nil

MAX_SIZE_BYTES = 512 * 1024 * 1024


@pytest.fixture(scope="module")
def redis() -> Iterator[Wire]:
    with POOL.get(redis_8()).connect() as wire:
        wire.call(b"FLUSHALL")
        yield wire


def as_text(block: bytes) -> str:
    return "".join(f"{byte:08b}" for byte in block)


def from_text(text: str) -> bytes:
    return bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))


blocks = st.one_of(
    st.binary(max_size=12),
    st.builds(lambda n, tail: b"\xff" * n + tail, st.integers(0, 8), st.binary(max_size=2)),
    st.builds(lambda n, tail: b"\0" * n + tail, st.integers(0, 8), st.binary(max_size=2)),
)
positions = st.integers(0, 110)


@given(blocks, positions, positions)
def test_count_bits(block: bytes, first: int, last: int) -> None:
    text = as_text(block)
    assert bits.count_bits(block, first, last) == text[first : last + 1].count("1")
    assert bits.popcount(block) == text.count("1")


@given(blocks, st.integers(0, 1), positions, positions)
def test_find_bit(block: bytes, bit: int, first: int, last: int) -> None:
    text = as_text(block).ljust(200, "0")
    assert bits.find_bit(block, bit, first, last) == text.find(str(bit), first, last + 1)


@given(blocks, positions, st.integers(0, 1))
def test_single_bits(block: bytes, offset: int, bit: int) -> None:
    text = list(as_text(block.ljust((offset >> 3) + 1, b"\0")))
    assert bits.get_bit(block, offset) == int(text[offset])
    text[offset] = str(bit)
    assert bits.replace_bit(block, offset, bit) == from_text("".join(text))


def test_an_unchanged_bit_keeps_the_block() -> None:
    block = b"\x80\x01"
    assert bits.replace_bit(block, 0, 1) is block
    assert bits.replace_bit(block, 1, 0) is block


@given(st.integers(1, 5), positions, positions, st.integers(0, 14))
def test_clip_to_chunk_covers_the_range_once(chunk_bytes: int, first: int, last: int, chunks: int) -> None:
    covered = []
    for index in range(chunks):
        part = bits.clip_to_chunk(index, chunk_bytes, first, last)
        if part is not None:
            covered += [index * chunk_bytes * 8 + bit for bit in range(part[0], part[1] + 1)]
    assert covered == [bit for bit in range(first, last + 1) if bit < chunks * chunk_bytes * 8]


BIT_OPERATIONS = {
    b"AND": all,
    b"OR": any,
    b"XOR": lambda column: sum(column) % 2,
    b"NOT": lambda column: not column[0],
    b"DIFF": lambda column: column[0] and not any(column[1:]),
    b"DIFF1": lambda column: any(column[1:]) and not column[0],
    b"ANDOR": lambda column: column[0] and any(column[1:]),
    b"ONE": lambda column: sum(column) == 1,
}


@given(st.sampled_from(sorted(BIT_OPERATIONS)), st.lists(st.none() | st.binary(max_size=4), min_size=2, max_size=5))
def test_combine(operation: bytes, sources: list[bytes | None]) -> None:
    if operation == b"NOT":
        sources = sources[:1]
    padded = [[int(bit) for bit in as_text((source or b"").ljust(4, b"\0"))] for source in sources]
    rule = BIT_OPERATIONS[operation]
    expected = from_text("".join(str(int(bool(rule(list(column))))) for column in zip(*padded, strict=True)))
    result = bits.combine(operation, sources, 4)
    assert result == (None if expected == bytes(4) else expected)


def test_combine_knows_every_operation() -> None:
    assert set(BIT_OPERATIONS) == bits.OPERATIONS


def test_bitop_matches_a_server(redis: Wire) -> None:
    rng = random.Random(7)
    for operation in sorted(bits.OPERATIONS):
        count = 1 if operation == b"NOT" else rng.randint(2, 5)
        sources = [rng.randbytes(rng.randint(1, 40)) for _ in range(count)]
        size = max(map(len, sources))
        for index, source in enumerate(sources):
            redis.call(b"SET", b"bitop%d" % index, source)
        assert redis.call(b"BITOP", operation, b"bitop", *[b"bitop%d" % i for i in range(count)]) == size
        assert (bits.combine(operation, sources, size) or bytes(size)) == redis.call(b"GET", b"bitop")


@pytest.mark.parametrize("operation", [b"NOT", b"DIFF", b"DIFF1", b"ANDOR", b"ONE", b"AND", b"FOO"])
@pytest.mark.parametrize("sources", [1, 2])
def test_operation_errors_match_a_server(redis: Wire, operation: bytes, sources: int) -> None:
    reply = redis.call(b"BITOP", operation, b"dest", *[b"absent"] * sources)
    if isinstance(reply, ErrorReply):
        with pytest.raises(CommandError) as caught:
            bits.check_operation(operation, sources)
        assert caught.value.message == reply.text
    else:
        bits.check_operation(operation, sources)


def our_bitcount(value: bytes, start: int, end: int, in_bits: bool) -> int:
    selected = bits.resolve_range(start, end, len(value), in_bits=in_bits, for_count=True)
    return 0 if selected is None else bits.count_bits(value, *selected)


def our_bitpos(value: bytes, bit: int, start: int, end: int, in_bits: bool) -> int:
    selected = bits.resolve_range(start, end, len(value), in_bits=in_bits)
    return -1 if selected is None else bits.find_bit(value, bit, *selected)


def test_ranges_match_a_server(redis: Wire) -> None:
    rng = random.Random(11)
    commands: list[list[bytes | int]] = []
    expected: list[object] = []
    for size in (0, 1, 2, 7, 20):
        value = bytes(rng.choice([0, 255, rng.randrange(256)]) for _ in range(size))
        commands.append([b"SET", b"ranges", value])
        expected.append(None)
        for _ in range(120):
            unit, bit = rng.choice([b"BYTE", b"BIT"]), rng.randint(0, 1)
            limit = size * (8 if unit == b"BIT" else 1) + 3
            start, end = rng.randint(-limit, limit), rng.randint(-limit, limit)
            commands.append([b"BITCOUNT", b"ranges", start, end, unit])
            expected.append(our_bitcount(value, start, end, unit == b"BIT"))
            commands.append([b"BITPOS", b"ranges", bit, start, end, unit])
            expected.append(our_bitpos(value, bit, start, end, unit == b"BIT"))
    for command, ours, theirs in zip(commands, expected, redis.pipeline(commands), strict=True):
        assert ours is None or ours == theirs, command


def test_negative_range_in_the_wrong_order() -> None:
    assert bits.resolve_range(-100, -200, 10) == (0, 7)
    assert bits.resolve_range(-100, -200, 10, for_count=True) is None


# --- arguments ---

OFFSETS = [b"0", b"7", b"4294967295", b"4294967296", b"-1", b"", b"x", b" 1", b"01", b"+1", b"1.0", b"#0", b"#1", b"#",
           b"#-1", b"#536870911", b"#536870912", b"#2305843009213693952", b"#9223372036854775807",
           b"#9223372036854775808", b"9223372036854775808", b"##1", b"-0"]  # fmt: skip


@pytest.mark.parametrize("offset", OFFSETS)
def test_offsets_match_a_server(redis: Wire, offset: bytes) -> None:
    for command, field_bits in (([b"GETBIT", b"offsets", offset], 0), ([b"BITFIELD", b"k", b"GET", b"u8", offset], 8)):
        reply = redis.call(*command)
        if isinstance(reply, ErrorReply):
            with pytest.raises(CommandError) as caught:
                bits.parse_bit_offset(offset, MAX_SIZE_BYTES, field_bits)
            assert caught.value.message == reply.text
        else:
            assert 0 <= bits.parse_bit_offset(offset, MAX_SIZE_BYTES, field_bits) < MAX_SIZE_BYTES * 8


def test_hash_offset_counts_fields() -> None:
    assert bits.parse_bit_offset(b"#3", MAX_SIZE_BYTES, 5) == 15
    assert bits.parse_bit_offset(b"3", MAX_SIZE_BYTES, 5) == 3
    assert bits.parse_bit_offset(b"#2305843009213693952", MAX_SIZE_BYTES, 8) == 0


TYPES = [b"u1", b"u63", b"u64", b"i64", b"i65", b"i1", b"u0", b"i0", b"u-1", b"u08", b"U8", b"8", b"", b"u", b"i 8",
         b"i8x", b"i8\0x", b"\0", b"u9223372036854775808"]  # fmt: skip


@pytest.mark.parametrize("text", TYPES)
def test_field_types_match_a_server(redis: Wire, text: bytes) -> None:
    reply = redis.call(b"BITFIELD", b"absent", b"GET", text, b"0")
    if isinstance(reply, ErrorReply):
        with pytest.raises(CommandError) as caught:
            bits.parse_field_type(text)
        assert caught.value.message == reply.text
    else:
        parsed = bits.parse_field_type(text)
        assert b"%c%d" % (b"i" if parsed.signed else b"u", parsed.bits) == text.partition(b"\0")[0]


@pytest.mark.parametrize("argument", [b"0", b"1", b"2", b"-1", b"", b"01", b"x", b" 1"])
def test_bit_arguments_match_a_server(redis: Wire, argument: bytes) -> None:
    reply = redis.call(b"SETBIT", b"setbit", b"0", argument)
    if isinstance(reply, ErrorReply):
        with pytest.raises(CommandError) as caught:
            bits.parse_bit(argument)
        assert caught.value.message == reply.text
    else:
        assert bits.parse_bit(argument) == int(argument)


# --- fields ---

field_types = st.builds(FieldType, st.just(False), st.integers(1, 63)) | st.builds(
    FieldType, st.just(True), st.integers(1, 64)
)


@given(field_types, st.binary(max_size=12), st.integers(0, 30), st.data())
def test_fields_round_trip_and_leave_their_surroundings(
    field_type: FieldType, window: bytes, offset: int, data: st.DataObject
) -> None:
    value = data.draw(st.integers(field_type.lowest, field_type.highest))
    changed = bits.set_field(window, offset, field_type, value)
    assert bits.get_field(changed, offset, field_type) == value
    assert len(changed) == max(len(window), bits.field_window(offset, field_type.bits)[1])
    before, after = as_text(window.ljust(len(changed), b"\0")), as_text(changed)
    assert (after[:offset], after[offset + field_type.bits :]) == (before[:offset], before[offset + field_type.bits :])
    number = int(before[offset : offset + field_type.bits], 2)
    assert (bits.get_field(window, offset, field_type) - number) % (1 << field_type.bits) == 0


@given(field_types, st.integers(0, 1000))
def test_field_window_is_small_and_holds_the_field(field_type: FieldType, offset: int) -> None:
    first, end = bits.field_window(offset, field_type.bits)
    assert first * 8 <= offset and offset + field_type.bits <= end * 8 and end - first <= 9


def edge_values(rng: random.Random, field_type: FieldType) -> int:
    edges = [0, 1, -1, field_type.lowest, field_type.highest, field_type.highest + 1, field_type.lowest - 1]
    edges += [2**63 - 1, -(2**63), -(2**63) + 1, -(2**63) + field_type.highest, -(2**63) + field_type.highest + 1]
    value = rng.choice([*edges, rng.randint(-300, 300), rng.randint(-(2**63), 2**63 - 1)])
    return min(max(value, -(2**63)), 2**63 - 1)


def test_bitfield_matches_a_server(redis: Wire) -> None:
    rng = random.Random(3)
    for _ in range(60):
        model = rng.randbytes(12)
        redis.call(b"SET", b"fields", model)
        arguments: list[bytes | int] = []
        expected: list[int | None] = []
        size_bytes = len(model)
        for _ in range(12):
            width = rng.choice([1, 2, 7, 8, 9, 31, 32, 33, 62, 63, 64])
            field_type = FieldType(width == 64 or rng.random() < 0.5, width)
            name = b"%c%d" % (b"i" if field_type.signed else b"u", width)
            offset, overflow = rng.randint(0, 96), rng.choice([bits.WRAP, bits.SAT, bits.FAIL])
            value, is_set = edge_values(rng, field_type), rng.random() < 0.5
            old = bits.get_field(model, offset, field_type)
            new = bits.add_to_field(value if is_set else old, 0 if is_set else value, field_type, overflow)
            if new is not None:
                model = bits.set_field(model, offset, field_type, new)
            # The server grows the string for all writes up front, also for those that fail then.
            size_bytes = max(size_bytes, bits.field_window(offset, width)[1])
            arguments += [b"OVERFLOW", overflow, b"SET" if is_set else b"INCRBY", name, offset, value]
            arguments += [b"GET", name, offset]
            expected += [None if new is None else old if is_set else new, bits.get_field(model, offset, field_type)]
        replies = redis.call(b"BITFIELD", b"fields", *arguments)
        assert isinstance(replies, list)
        assert [None if is_nil(reply) else reply for reply in replies] == expected
        assert redis.call(b"GET", b"fields") == model.ljust(size_bytes, b"\0")
