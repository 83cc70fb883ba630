"""The set group. The machine lets the subject choose what SPOP removes and repeats the choice on the reference."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.harness.grammar import GLOB, VALUE, choice, command, counted, key, many, maybe, one_of_bytes, register

KEY = key("t")
MEMBER = choice(one_of_bytes(b"a", b"b", b"c", b"1", b"2"), one_of_bytes(b"a", b"b", b"c", b"1", b"2"), VALUE)
MANY_MEMBERS = st.integers(100, 600).map(lambda count: [b"%d" % n for n in range(count)])
LONG_MEMBERS = st.integers(100, 200).map(lambda count: [b"member%d" % n for n in range(count)])

register("set", command("SADD", KEY, many(MEMBER)), name="SADD", weight=3)
register("set", command("SADD", KEY, MANY_MEMBERS), command("SADD", KEY, LONG_MEMBERS), name="SADD")
register("set", command("SREM", KEY, many(MEMBER)), name="SREM", weight=2)
register("set", command("SISMEMBER", KEY, MEMBER), name="SISMEMBER")
register("set", command("SMISMEMBER", KEY, many(MEMBER)), name="SMISMEMBER")
register("set", command("SMEMBERS", KEY), name="SMEMBERS")
register("set", command("SCARD", KEY), name="SCARD")
register("set", command("SMOVE", KEY, KEY, MEMBER), name="SMOVE", weight=2)
register("set", command("SPOP", KEY, maybe(one_of_bytes(b"1", b"2", b"0", b"1000", b"-1", b"x"))), name="SPOP")
register("set", command("SRANDMEMBER", KEY, maybe(one_of_bytes(b"1", b"2", b"0", b"-5", b"x"))), name="SRANDMEMBER")
register(
    "set", command("SSCAN", KEY, "0", maybe("MATCH", GLOB), maybe("COUNT", one_of_bytes(b"1", b"0"))), name="SSCAN"
)
for _name in ("SINTER", "SUNION", "SDIFF"):
    register("set", command(_name, many(KEY)), name=_name)
    register("set", command(_name + "STORE", KEY, many(KEY)), name=_name + "STORE")
register(
    "set", command("SINTERCARD", counted(KEY), maybe("LIMIT", one_of_bytes(b"0", b"1", b"3", b"-1"))), name="SINTERCARD"
)
