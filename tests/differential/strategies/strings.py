"""The string group."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.harness.grammar import (
    BAD_TIMES,
    EXPIRE_OPTION,
    FAR_MILLISECONDS,
    FAR_SECONDS,
    FLOAT,
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
# Around the borders of 16 KiB pieces, and past the largest string; nothing that would allocate hundreds of megabytes.
OFFSET = st.one_of(
    st.integers(0, 80).map(lambda number: b"%d" % number),
    one_of_bytes(b"16383", b"16384", b"16385", b"32768", b"40000", b"-1", b"536870912", b"4294967296", b"x", b""),
)
RANGE_END = st.one_of(SMALL_INDEX, INTEGER, one_of_bytes(b"16383", b"16384", b"40000", b"-16384"))
LONG_VALUE = st.sampled_from([b"z" * 16384, b"q" * 20000, bytes(range(256)) * 70])

register(
    "string",
    command("SET", KEY, VALUE),
    command("SET", KEY, INTEGER),
    command("SET", KEY, FLOAT),
    command("SET", KEY, VALUE, maybe(choice("NX", "XX", "nx")), maybe("GET"), maybe(EXPIRE_OPTION)),
    command("SET", KEY, VALUE, many(choice("NX", "XX", "GET", "KEEPTTL", "EX", "10", EXPIRE_OPTION), 1, 3)),
    command("SET", KEY, LONG_VALUE),
    name="SET",
)
register("string", command("GET", KEY), name="GET", weight=2)
register("string", command("GETDEL", KEY), name="GETDEL")
register(
    "string",
    command("GETEX", KEY, maybe(choice(EXPIRE_OPTION, "PERSIST", "KEEPTTL"))),
    name="GETEX",
)
register("string", command("GETSET", KEY, VALUE), name="GETSET")
register("string", command("SETNX", KEY, VALUE), name="SETNX")
register("string", command("SETEX", KEY, one_of_bytes(*FAR_SECONDS, *BAD_TIMES), VALUE), name="SETEX")
register("string", command("PSETEX", KEY, one_of_bytes(*FAR_MILLISECONDS, *BAD_TIMES), VALUE), name="PSETEX")
register("string", command("APPEND", KEY, choice(VALUE, VALUE, LONG_VALUE)), name="APPEND", weight=2)
register("string", command("STRLEN", KEY), name="STRLEN")
register("string", command("SETRANGE", KEY, OFFSET, choice(VALUE, VALUE, LONG_VALUE)), name="SETRANGE", weight=2)
register("string", command("GETRANGE", KEY, RANGE_END, RANGE_END), name="GETRANGE", weight=2)
register("string", command("SUBSTR", KEY, RANGE_END, RANGE_END), name="SUBSTR")
register("string", command("INCR", KEY), name="INCR")
register("string", command("DECR", KEY), name="DECR")
register("string", command("INCRBY", KEY, INTEGER), name="INCRBY")
register("string", command("DECRBY", KEY, INTEGER), name="DECRBY")
register("string", command("INCRBYFLOAT", KEY, FLOAT), name="INCRBYFLOAT")
register("string", command("MGET", many(KEY)), name="MGET")
register("string", command("MSET", many(sequence(KEY, VALUE))), name="MSET")
register("string", command("MSETNX", many(sequence(KEY, VALUE))), name="MSETNX")
register(
    "string",
    command(
        "LCS",
        KEY,
        KEY,
        many(choice("IDX", "LEN", "WITHMATCHLEN", sequence("MINMATCHLEN", one_of_bytes(b"0", b"2", b"-1"))), 0, 3),
    ),
    name="LCS",
)
