"""The list group; blocking commands with a short timeout only."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.harness.grammar import (
    INTEGER,
    SMALL_INDEX,
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

KEY = key("l")
ELEMENT = choice(one_of_bytes(b"a", b"b", b"c"), one_of_bytes(b"a", b"b", b"c"), VALUE)
MANY_ELEMENTS = st.integers(100, 400).map(lambda count: [b"%d" % (n % 7) for n in range(count)])
WHERE = choice("LEFT", "RIGHT", "left")
TIMEOUT = one_of_bytes(b"0.001", b"0.001", b"0.002", b"-1", b"x")

for _name in ("LPUSH", "RPUSH"):
    register("list", command(_name, KEY, many(ELEMENT)), command(_name, KEY, many(ELEMENT)), name=_name)
    register("list", command(_name, KEY, MANY_ELEMENTS), name=_name)
for _name in ("LPUSHX", "RPUSHX"):
    register("list", command(_name, KEY, many(ELEMENT)), name=_name)
for _name in ("LPOP", "RPOP"):
    register("list", command(_name, KEY, maybe(one_of_bytes(b"0", b"1", b"3", b"1000", b"-1", b"x"))), name=_name)
register("list", command("LLEN", KEY), name="LLEN")
register(
    "list", command("LRANGE", KEY, SMALL_INDEX, SMALL_INDEX), command("LRANGE", KEY, INTEGER, INTEGER), name="LRANGE"
)
register("list", command("LINDEX", KEY, choice(SMALL_INDEX, INTEGER)), name="LINDEX")
# Redis 8.2 takes LSET's index modulo 2**32 and so changes the first element when asked for 2**32: no larger ones here.
LSET_INDEX = choice(SMALL_INDEX, one_of_bytes(b"2147483647", b"2147483648", b"x", b"1.5", b""))
register("list", command("LSET", KEY, LSET_INDEX, ELEMENT), name="LSET")
register("list", command("LINSERT", KEY, choice("BEFORE", "AFTER", "AT"), ELEMENT, ELEMENT), name="LINSERT")
register("list", command("LREM", KEY, SMALL_INDEX, ELEMENT), name="LREM")
register("list", command("LTRIM", KEY, SMALL_INDEX, SMALL_INDEX), name="LTRIM")
register("list", command("RPOPLPUSH", KEY, KEY), name="RPOPLPUSH")
register("list", command("LMOVE", KEY, KEY, WHERE, WHERE), name="LMOVE", weight=2)
register(
    "list",
    command(
        "LPOS",
        KEY,
        ELEMENT,
        maybe("RANK", one_of_bytes(b"1", b"2", b"-1", b"-2", b"0", b"-9223372036854775808")),
        maybe("COUNT", one_of_bytes(b"0", b"1", b"2", b"-1")),
        maybe("MAXLEN", one_of_bytes(b"0", b"1", b"5", b"-1")),
    ),
    name="LPOS",
)
register("list", command("LMPOP", counted(KEY), WHERE, maybe("COUNT", one_of_bytes(b"1", b"3", b"0"))), name="LMPOP")
register("list", command("BLPOP", many(KEY, 1, 3), TIMEOUT), name="BLPOP")
register("list", command("BRPOP", many(KEY, 1, 3), TIMEOUT), name="BRPOP")
register("list", command("BLMOVE", KEY, KEY, WHERE, WHERE, TIMEOUT), name="BLMOVE")
register("list", command("BRPOPLPUSH", KEY, KEY, TIMEOUT), name="BRPOPLPUSH")
register("list", command("BLMPOP", TIMEOUT, counted(KEY), WHERE, maybe("COUNT", "2")), name="BLMPOP")
# Text weights that are equal leave the order of the elements to the sort algorithm: BY only without ALPHA.
register(
    "list",
    command(
        "SORT",
        KEY,
        maybe("BY", choice("nosort", "#")),
        maybe("LIMIT", SMALL_INDEX, SMALL_INDEX),
        maybe(sequence("GET", choice("#", "s*", "h*->f1"))),
        maybe(choice("ASC", "DESC")),
        "ALPHA",
        maybe("STORE", KEY),
    ),
    command(
        "SORT",
        KEY,
        maybe("BY", choice("nosort", "s*", "h*->f1")),
        maybe("LIMIT", SMALL_INDEX, SMALL_INDEX),
        maybe(sequence("GET", choice("#", "s*", "h*->f1"))),
        maybe(choice("ASC", "DESC")),
        maybe("STORE", KEY),
    ),
    command("SORT_RO", KEY, maybe("LIMIT", SMALL_INDEX, SMALL_INDEX), maybe(choice("ASC", "DESC")), maybe("ALPHA")),
    name="SORT",
)
