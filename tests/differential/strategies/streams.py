"""The stream group, with explicit ids: generated ones carry the server's clock."""

from __future__ import annotations

from tests.harness.grammar import (
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

KEY = key("x")
ID = one_of_bytes(
    b"1-1",
    b"1-2",
    b"2-1",
    b"3-0",
    b"5",
    b"5-*",
    b"7-3",
    b"0-0",
    b"0-1",
    b"18446744073709551615-18446744073709551615",
    b"x",
)
BORDER = one_of_bytes(b"-", b"+", b"0", b"1-1", b"2", b"(1-1", b"5-0", b"(5", b"x")
ENTRY_ID = one_of_bytes(b"1-1", b"1-2", b"2-1", b"3-0", b"5-0", b"7-3", b"9-9")
GROUP = one_of_bytes(b"g1", b"g2")
CONSUMER = one_of_bytes(b"alice", b"bob")
PAIRS = many(sequence(one_of_bytes(b"f", b"g", b""), VALUE), 1, 2)
TRIM = choice(
    sequence("MAXLEN", maybe("="), one_of_bytes(b"0", b"1", b"3", b"-1")),
    sequence("MINID", maybe("="), one_of_bytes(b"2", b"5-0", b"x")),
    sequence("MAXLEN", "~", one_of_bytes(b"0", b"2", b"5", b"8"), maybe("LIMIT", one_of_bytes(b"0", b"4", b"-1"))),
    sequence("MINID", "~", one_of_bytes(b"4", b"7-1", b"9")),
)
REFERENCES = choice("KEEPREF", "DELREF")
# In Redis 8.2, a group that was destroyed goes on to count for ACKED until another one is made. Here it does not, so no
# stream gets both.
ACKED_KEY = one_of_bytes(b"x1", b"x2")
DESTROYED_KEY = one_of_bytes(b"x3", b"x")
GROWING_ID = choice(*(f"{n}-*" for n in range(1, 12)))

register("stream", command("XADD", KEY, GROWING_ID, PAIRS), name="XADD", weight=3)
register(
    "stream",
    command("XADD", KEY, maybe("NOMKSTREAM"), maybe(REFERENCES), maybe(TRIM), ID, PAIRS),
    name="XADD",
    weight=2,
)
register("stream", command("XLEN", KEY), name="XLEN")
register(
    "stream", command("XRANGE", KEY, BORDER, BORDER, maybe("COUNT", one_of_bytes(b"1", b"0", b"-1"))), name="XRANGE"
)
register(
    "stream", command("XREVRANGE", KEY, BORDER, BORDER, maybe("COUNT", one_of_bytes(b"1", b"2"))), name="XREVRANGE"
)
register("stream", command("XDEL", KEY, many(ENTRY_ID)), name="XDEL", weight=2)
register("stream", command("XTRIM", KEY, TRIM, maybe(REFERENCES)), name="XTRIM", weight=2)
register("stream", command("XADD", KEY, TRIM, GROWING_ID, PAIRS), name="XADD", weight=2)
register("stream", command("XSETID", KEY, ENTRY_ID), name="XSETID")
register(
    "stream",
    command("XSETID", KEY, ENTRY_ID, maybe("ENTRIESADDED", one_of_bytes(b"3", b"20")), maybe("MAXDELETEDID", ENTRY_ID)),
    name="XSETID",
)
register("stream", command("XREAD", maybe("COUNT", "2"), "STREAMS", KEY, BORDER), name="XREAD")
register("stream", command("XREAD STREAMS", KEY, KEY, "0", one_of_bytes(b"1-1", b"$", b"+")), name="XREAD")
register(
    "stream",
    command(
        "XGROUP CREATE",
        KEY,
        GROUP,
        one_of_bytes(b"0", b"$", b"1-1", b"x"),
        maybe("MKSTREAM"),
        maybe("ENTRIESREAD", one_of_bytes(b"0", b"2", b"-1", b"99")),
    ),
    command("XGROUP SETID", KEY, GROUP, one_of_bytes(b"0", b"$", b"2-1")),
    command("XGROUP DESTROY", DESTROYED_KEY, GROUP),
    command("XGROUP CREATECONSUMER", KEY, GROUP, CONSUMER),
    command("XGROUP DELCONSUMER", KEY, GROUP, CONSUMER),
    name="XGROUP",
)
register("stream", command("XGROUP CREATE", KEY, GROUP, "0", "MKSTREAM"), name="XGROUP", weight=2)
register(
    "stream",
    command(
        "XREADGROUP GROUP",
        GROUP,
        CONSUMER,
        maybe("COUNT", "2"),
        maybe("NOACK"),
        "STREAMS",
        KEY,
        one_of_bytes(b">", b"0", b"1-1"),
    ),
    name="XREADGROUP",
    weight=3,
)
register("stream", command("XACK", KEY, GROUP, many(ENTRY_ID)), name="XACK", weight=2)
register("stream", command("XPENDING", KEY, GROUP), name="XPENDING")
register("stream", command("XPENDING", KEY, GROUP, "-", "+", "10", maybe(CONSUMER)), name="XPENDING")
register(
    "stream",
    command(
        "XCLAIM",
        KEY,
        GROUP,
        CONSUMER,
        "0",
        many(ENTRY_ID, 1, 2),
        maybe("RETRYCOUNT", "3"),
        maybe("FORCE"),
        maybe("JUSTID"),
    ),
    name="XCLAIM",
)
register(
    "stream",
    command("XAUTOCLAIM", KEY, GROUP, CONSUMER, "0", one_of_bytes(b"0", b"2-1"), maybe("COUNT", "2"), maybe("JUSTID")),
    name="XAUTOCLAIM",
)
register(
    "stream",
    command("XINFO STREAM", KEY, maybe("FULL", maybe("COUNT", "1"))),
    command("XINFO GROUPS", KEY),
    command("XINFO CONSUMERS", KEY, GROUP),
    name="XINFO",
)
register("stream", command("XDELEX", KEY, maybe(REFERENCES), "IDS", counted(ENTRY_ID)), name="XDELEX")
register("stream", command("XACKDEL", KEY, GROUP, maybe(REFERENCES), "IDS", counted(ENTRY_ID)), name="XACKDEL")
register("stream", command("XDELEX", ACKED_KEY, "ACKED", "IDS", counted(ENTRY_ID)), name="XDELEX")
register("stream", command("XACKDEL", ACKED_KEY, GROUP, "ACKED", "IDS", counted(ENTRY_ID)), name="XACKDEL")
register("stream", command("XTRIM", ACKED_KEY, TRIM, "ACKED"), name="XTRIM")
register("stream", command("XADD", ACKED_KEY, "ACKED", TRIM, GROWING_ID, PAIRS), name="XADD")
