"""The generic group, and the database commands of the connection and server groups."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.harness.grammar import (
    BAD_TIMES,
    FAR_MILLISECONDS,
    FAR_SECONDS,
    FAR_UNIX_MILLISECONDS,
    FAR_UNIX_SECONDS,
    GLOB,
    INTEGER,
    PAST_UNIX,
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

KEY = key()
DATABASE = st.one_of(
    one_of_bytes(b"0", b"1", b"2", b"3"), one_of_bytes(b"0", b"1", b"2", b"3", b"16", b"-1", b"x", b"")
)
EXPIRE_FLAGS = many(choice("NX", "XX", "GT", "LT", "nx"), 0, 2)
# A string "hi" as RDB version 9, a cut payload, and no payload at all.
PAYLOAD = one_of_bytes(b"\x00\x02hi\x09\x00\xb1\xb2\x04\x27\xae\x1a\x0b\xd6", b"\x00\x02hi\x09\x00", b"", b"junk" * 8)

register("generic", command("DEL", many(KEY)), name="DEL")
register("generic", command("UNLINK", many(KEY)), name="UNLINK")
register("generic", command("EXISTS", many(KEY)), name="EXISTS")
register("generic", command("TOUCH", many(KEY)), name="TOUCH")
register("generic", command("TYPE", KEY), name="TYPE")
register("generic", command("SET", KEY, VALUE), name="SET", weight=3)
register("generic", command("EXPIRE", KEY, one_of_bytes(*FAR_SECONDS, *BAD_TIMES), EXPIRE_FLAGS), name="EXPIRE")
register("generic", command("PEXPIRE", KEY, one_of_bytes(*FAR_MILLISECONDS, *BAD_TIMES), EXPIRE_FLAGS), name="PEXPIRE")
register(
    "generic",
    command("EXPIREAT", KEY, one_of_bytes(*FAR_UNIX_SECONDS, *FAR_UNIX_SECONDS, *PAST_UNIX, *BAD_TIMES), EXPIRE_FLAGS),
    name="EXPIREAT",
)
register(
    "generic",
    command("PEXPIREAT", KEY, one_of_bytes(*FAR_UNIX_MILLISECONDS, *PAST_UNIX, *BAD_TIMES), EXPIRE_FLAGS),
    name="PEXPIREAT",
)
for _name in ("TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME", "PERSIST", "DUMP"):
    register("generic", command(_name, KEY), name=_name)
register("generic", command("RENAME", KEY, KEY), name="RENAME", weight=2)
register("generic", command("RENAMENX", KEY, KEY), name="RENAMENX")
register(
    "generic", command("COPY", KEY, KEY, maybe("DB", DATABASE), maybe("REPLACE"), maybe("DB", DATABASE)), name="COPY"
)
register("generic", command("COPY", KEY, KEY, maybe("REPLACE")), name="COPY")
register("generic", command("MOVE", KEY, DATABASE), name="MOVE", weight=2)
register("generic", command("KEYS", GLOB), name="KEYS")
register("generic", command("RANDOMKEY"), name="RANDOMKEY")
register(
    "generic",
    command(
        "SCAN",
        one_of_bytes(b"0", b"0", b"0", b"x", b"-1", b"", b"18446744073709551616"),
        maybe("MATCH", GLOB),
        maybe("COUNT", one_of_bytes(b"1", b"10", b"1000", b"0", b"-1", b"x")),
        maybe("TYPE", one_of_bytes(b"string", b"hash", b"STRING", b"nope")),
    ),
    name="SCAN",
)
register(
    "generic",
    command(
        "OBJECT", choice("ENCODING", "REFCOUNT", "IDLETIME", "FREQ", "HELP", "encoding", "NOPE"), KEY, maybe("junk")
    ),
    command("OBJECT ENCODING", KEY),
    name="OBJECT",
)
register(
    "generic",
    command(
        "RESTORE",
        KEY,
        one_of_bytes(b"0", b"0", b"100000000", b"-1", b"x"),
        PAYLOAD,
        many(
            choice(
                "REPLACE",
                "REPLACE",
                "ABSTTL",
                sequence("IDLETIME", one_of_bytes(b"10", b"-1")),
                sequence("FREQ", one_of_bytes(b"5", b"256")),
            ),
            0,
            2,
        ),
    ),
    name="RESTORE",
)
register("generic", command("SELECT", DATABASE), name="SELECT", weight=2)
register("generic", command("SWAPDB", DATABASE, DATABASE), name="SWAPDB")
register("generic", command("FLUSHDB", maybe(choice("ASYNC", "SYNC", "x"))), name="FLUSHDB")
register("generic", command("DBSIZE"), name="DBSIZE", weight=2)
register("generic", command("MEMORY USAGE", KEY, maybe("SAMPLES", INTEGER)), name="MEMORY")
register("generic", command("WAIT", "0", one_of_bytes(b"0", b"10", b"-1", b"x")), name="WAIT")
register("generic", command("PING", maybe(VALUE)), name="PING")
register("generic", command("ECHO", VALUE), name="ECHO")
