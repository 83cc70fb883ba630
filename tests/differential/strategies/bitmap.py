"""The bitmap group."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.harness.grammar import (
    INTEGER,
    SMALL_INDEX,
    VALUE,
    choice,
    command,
    key,
    many,
    maybe,
    one_of_bytes,
    register,
    sequence,
)

KEY = key("s")
BIT_OFFSET = st.one_of(
    st.integers(0, 100).map(lambda number: b"%d" % number),
    one_of_bytes(b"131071", b"131072", b"262145", b"-1", b"4294967296", b"x", b"#1"),
)
TYPE = one_of_bytes(b"u8", b"i8", b"u1", b"i5", b"u63", b"i64", b"u64", b"i65", b"u0", b"x", b"i16", b"u16")
FIELD_OFFSET = one_of_bytes(b"0", b"3", b"8", b"#1", b"#2", b"100", b"-1", b"131070", b"#x")
RANGE = sequence(SMALL_INDEX, SMALL_INDEX, maybe(choice("BYTE", "BIT", "NIBBLE")))

register("bitmap", command("SETBIT", KEY, BIT_OFFSET, one_of_bytes(b"1", b"0", b"1", b"2")), name="SETBIT", weight=3)
register("bitmap", command("SET", KEY, VALUE), name="SET")
register("bitmap", command("GET", KEY), name="GET")
register("bitmap", command("GETBIT", KEY, BIT_OFFSET), name="GETBIT", weight=2)
register("bitmap", command("BITCOUNT", KEY, maybe(RANGE)), name="BITCOUNT", weight=2)
register(
    "bitmap",
    command("BITPOS", KEY, one_of_bytes(b"0", b"1", b"2"), maybe(choice(SMALL_INDEX, RANGE))),
    name="BITPOS",
    weight=2,
)
register(
    "bitmap",
    command("BITOP", choice("AND", "OR", "XOR", "NOT", "DIFF", "DIFF1", "ANDOR", "ONE", "NAND"), KEY, many(KEY, 1, 3)),
    name="BITOP",
    weight=2,
)
FIELD_STEP = choice(
    sequence("GET", TYPE, FIELD_OFFSET),
    sequence("SET", TYPE, FIELD_OFFSET, INTEGER),
    sequence("INCRBY", TYPE, FIELD_OFFSET, INTEGER),
    sequence("OVERFLOW", choice("WRAP", "SAT", "FAIL", "NOPE")),
)
register("bitmap", command("BITFIELD", KEY, many(FIELD_STEP, 0, 4)), name="BITFIELD", weight=3)
register("bitmap", command("BITFIELD_RO", KEY, many(FIELD_STEP, 0, 2)), name="BITFIELD_RO")
