"""The sorted-set group."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.harness.grammar import (
    FLOAT,
    GLOB,
    SMALL_INDEX,
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

KEY = key("z")
# Where scores differ, lexical ranges of a big set depend on chance in the reference: on the levels of its skip list.
LEX_KEY = one_of_bytes(b"zlex1", b"zlex2")
MEMBER = choice(
    one_of_bytes(b"a", b"b", b"c", b"d"), one_of_bytes(b"a", b"b", b"c", b"d", b"", b"\xff", b"\x00", b"aa")
)
SCORE = choice(st.integers(-5, 5).map(lambda number: b"%d" % number), FLOAT)
SCORE_BORDER = choice(SCORE, SCORE.map(lambda score: b"(" + score), one_of_bytes(b"-inf", b"+inf", b"(inf", b"x"))
LEX_BORDER = one_of_bytes(b"-", b"+", b"[a", b"(a", b"[b", b"(c", b"[", b"(", b"[\xff", b"a", b"", b"[aa")
MANY_MEMBERS = st.integers(100, 300).map(lambda count: [[b"%d" % (n % 50), b"m%d" % n] for n in range(count)])
LIMIT = maybe("LIMIT", SMALL_INDEX, SMALL_INDEX)
AGGREGATE = sequence(
    maybe("WEIGHTS", many(SCORE, 1, 3)), maybe("AGGREGATE", choice("SUM", "MIN", "MAX", "AVG")), maybe("WITHSCORES")
)
STORE_AGGREGATE = sequence(maybe("WEIGHTS", many(SCORE, 1, 3)), maybe("AGGREGATE", choice("SUM", "MIN", "MAX", "AVG")))
TIMEOUT = one_of_bytes(b"0.001", b"0.002", b"-1", b"x")

register("sorted-set", command("ZADD", KEY, many(sequence(SCORE, MEMBER))), name="ZADD", weight=4)
register("sorted-set", command("ZADD", KEY, MANY_MEMBERS), name="ZADD")
register("sorted-set", command("ZADD", LEX_KEY, many(sequence("0", MEMBER), 1, 6)), name="ZADD", weight=2)
register("sorted-set", command("ZREM", LEX_KEY, many(MEMBER, 1, 2)), name="ZREM")
register(
    "sorted-set",
    command("ZADD", KEY, many(choice("NX", "XX", "GT", "LT", "CH", "INCR"), 1, 2), many(sequence(SCORE, MEMBER), 1, 2)),
    name="ZADD",
    weight=2,
)
register("sorted-set", command("ZINCRBY", KEY, SCORE, MEMBER), name="ZINCRBY")
register("sorted-set", command("ZREM", KEY, many(MEMBER)), name="ZREM", weight=2)
register("sorted-set", command("ZCARD", KEY), name="ZCARD")
register("sorted-set", command("ZSCORE", KEY, MEMBER), name="ZSCORE")
register("sorted-set", command("ZMSCORE", KEY, many(MEMBER)), name="ZMSCORE")
register("sorted-set", command("ZCOUNT", KEY, SCORE_BORDER, SCORE_BORDER), name="ZCOUNT")
register("sorted-set", command("ZLEXCOUNT", LEX_KEY, LEX_BORDER, LEX_BORDER), name="ZLEXCOUNT")
for _name in ("ZRANK", "ZREVRANK"):
    register("sorted-set", command(_name, KEY, MEMBER, maybe("WITHSCORE")), name=_name)
register(
    "sorted-set",
    command("ZRANGE", KEY, SMALL_INDEX, SMALL_INDEX, maybe("REV"), maybe("WITHSCORES")),
    command("ZRANGE", KEY, SCORE_BORDER, SCORE_BORDER, "BYSCORE", maybe("REV"), LIMIT, maybe("WITHSCORES")),
    command("ZRANGE", LEX_KEY, LEX_BORDER, LEX_BORDER, "BYLEX", maybe("REV"), LIMIT, maybe("WITHSCORES")),
    name="ZRANGE",
)
register(
    "sorted-set",
    command("ZRANGESTORE", KEY, KEY, SMALL_INDEX, SMALL_INDEX, maybe("REV")),
    command("ZRANGESTORE", KEY, KEY, SCORE_BORDER, SCORE_BORDER, "BYSCORE", maybe("REV"), LIMIT),
    command("ZRANGESTORE", KEY, LEX_KEY, LEX_BORDER, LEX_BORDER, "BYLEX", LIMIT),
    name="ZRANGESTORE",
)
register("sorted-set", command("ZREVRANGE", KEY, SMALL_INDEX, SMALL_INDEX, maybe("WITHSCORES")), name="ZREVRANGE")
for _name in ("ZRANGEBYSCORE", "ZREVRANGEBYSCORE"):
    register("sorted-set", command(_name, KEY, SCORE_BORDER, SCORE_BORDER, maybe("WITHSCORES"), LIMIT), name=_name)
for _name in ("ZRANGEBYLEX", "ZREVRANGEBYLEX"):
    register("sorted-set", command(_name, LEX_KEY, LEX_BORDER, LEX_BORDER, LIMIT), name=_name)
register("sorted-set", command("ZREMRANGEBYRANK", KEY, SMALL_INDEX, SMALL_INDEX), name="ZREMRANGEBYRANK")
register("sorted-set", command("ZREMRANGEBYSCORE", KEY, SCORE_BORDER, SCORE_BORDER), name="ZREMRANGEBYSCORE")
register("sorted-set", command("ZREMRANGEBYLEX", LEX_KEY, LEX_BORDER, LEX_BORDER), name="ZREMRANGEBYLEX")
for _name in ("ZPOPMIN", "ZPOPMAX"):
    register("sorted-set", command(_name, KEY, maybe(one_of_bytes(b"0", b"1", b"3", b"-1", b"x"))), name=_name)
    register("sorted-set", command("B" + _name, many(KEY, 1, 3), TIMEOUT), name="B" + _name)
register(
    "sorted-set",
    command("ZMPOP", counted(KEY), choice("MIN", "MAX"), maybe("COUNT", one_of_bytes(b"1", b"3", b"0"))),
    name="ZMPOP",
)
register(
    "sorted-set", command("BZMPOP", TIMEOUT, counted(KEY), choice("MIN", "MAX"), maybe("COUNT", "2")), name="BZMPOP"
)
register(
    "sorted-set",
    command("ZRANDMEMBER", KEY, maybe(one_of_bytes(b"0", b"2", b"-3", b"x"), maybe("WITHSCORES"))),
    name="ZRANDMEMBER",
)
register("sorted-set", command("ZSCAN", KEY, "0", maybe("MATCH", GLOB), maybe("COUNT", "1")), name="ZSCAN")
for _name in ("ZUNION", "ZINTER"):
    register("sorted-set", command(_name, counted(KEY), AGGREGATE), name=_name)
    register("sorted-set", command(_name + "STORE", KEY, counted(KEY), STORE_AGGREGATE), name=_name + "STORE")
register("sorted-set", command("ZDIFF", counted(KEY), maybe("WITHSCORES")), name="ZDIFF")
register("sorted-set", command("ZDIFFSTORE", KEY, counted(KEY)), name="ZDIFFSTORE")
register(
    "sorted-set",
    command("ZINTERCARD", counted(KEY), maybe("LIMIT", one_of_bytes(b"0", b"1", b"-1"))),
    name="ZINTERCARD",
)
