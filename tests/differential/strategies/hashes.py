"""The hash group, with field TTLs and the newer HGETEX, HSETEX and HGETDEL."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.harness.grammar import (
    BAD_TIMES,
    EXPIRE_OPTION,
    FAR_MILLISECONDS,
    FAR_SECONDS,
    FAR_UNIX_MILLISECONDS,
    FAR_UNIX_SECONDS,
    FLOAT,
    GLOB,
    INTEGER,
    PAST_UNIX,
    VALUE,
    choice,
    command,
    counted,
    key,
    many,
    maybe,
    one_of_bytes,
    register,
    sequence,
)

KEY = key("h")
FIELD = st.one_of(one_of_bytes(b"f1", b"f2", b"f3", b"f4"), one_of_bytes(b"", b"\x00", b"\xff\xff", b"1", b"f" * 70))
MANY_PAIRS = st.integers(100, 700).map(lambda count: [[b"n%d" % n, b"%d" % n] for n in range(count)])
FIELDS = sequence("FIELDS", counted(FIELD))

register(
    "hash",
    command("HSET", KEY, many(sequence(FIELD, VALUE))),
    command("HSET", KEY, many(sequence(FIELD, VALUE))),
    command("HSET", KEY, MANY_PAIRS),
    name="HSET",
)
register("hash", command("HMSET", KEY, many(sequence(FIELD, VALUE))), name="HMSET")
register("hash", command("HSETNX", KEY, FIELD, VALUE), name="HSETNX")
register("hash", command("HGET", KEY, FIELD), name="HGET")
register("hash", command("HMGET", KEY, many(FIELD)), name="HMGET")
register("hash", command("HDEL", KEY, many(FIELD)), name="HDEL", weight=2)
for _name in ("HGETALL", "HKEYS", "HVALS", "HLEN"):
    register("hash", command(_name, KEY), name=_name)
register("hash", command("HEXISTS", KEY, FIELD), name="HEXISTS")
register("hash", command("HSTRLEN", KEY, FIELD), name="HSTRLEN")
register("hash", command("HINCRBY", KEY, FIELD, INTEGER), name="HINCRBY")
register("hash", command("HINCRBYFLOAT", KEY, FIELD, FLOAT), name="HINCRBYFLOAT")
register(
    "hash",
    command("HRANDFIELD", KEY, maybe(one_of_bytes(b"0", b"2", b"-3", b"x"), maybe("WITHVALUES"))),
    name="HRANDFIELD",
)
register(
    "hash",
    command("HSCAN", KEY, "0", maybe("MATCH", GLOB), maybe("COUNT", one_of_bytes(b"1", b"0")), maybe("NOVALUES")),
    name="HSCAN",
)
FLAG = maybe(choice("NX", "XX", "GT", "LT"))
register("hash", command("HEXPIRE", KEY, one_of_bytes(*FAR_SECONDS, *BAD_TIMES), FLAG, FIELDS), name="HEXPIRE")
register("hash", command("HPEXPIRE", KEY, one_of_bytes(*FAR_MILLISECONDS, *BAD_TIMES), FLAG, FIELDS), name="HPEXPIRE")
register(
    "hash",
    command("HEXPIREAT", KEY, one_of_bytes(*FAR_UNIX_SECONDS, *PAST_UNIX), FLAG, FIELDS),
    name="HEXPIREAT",
    weight=2,
)
register(
    "hash",
    command("HPEXPIREAT", KEY, one_of_bytes(*FAR_UNIX_MILLISECONDS, *PAST_UNIX, *BAD_TIMES), FLAG, FIELDS),
    name="HPEXPIREAT",
    weight=2,
)
for _name in ("HTTL", "HPTTL", "HEXPIRETIME", "HPEXPIRETIME", "HPERSIST"):
    register("hash", command(_name, KEY, FIELDS), name=_name)
register("hash", command("HGETDEL", KEY, FIELDS), name="HGETDEL")
register("hash", command("HGETEX", KEY, maybe(choice(EXPIRE_OPTION, "PERSIST")), FIELDS), name="HGETEX")
register(
    "hash",
    command(
        "HSETEX",
        KEY,
        maybe(choice("FNX", "FXX")),
        maybe(choice(EXPIRE_OPTION, "KEEPTTL")),
        "FIELDS",
        counted(sequence(FIELD, VALUE), width=2),
    ),
    name="HSETEX",
)
