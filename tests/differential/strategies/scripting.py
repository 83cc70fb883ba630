"""The scripting group: Lua scripts that convert replies both ways, fail half-way, and call commands."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.harness.grammar import VALUE, choice, command, key, one_of_bytes, register

KEY = key("s")
SCRIPTS = (
    "return 1",
    "return 'text'",
    "return {1,2,{3,'four'},false,5}",
    "return nil",
    "return true",
    "return false",
    "return 3.99",
    "return {ok='FINE'}",
    "return {err='MY error'}",
    "return redis.error_reply('no')",
    "return redis.status_reply('yes')",
    "return redis.call('GET', KEYS[1])",
    "return redis.call('SET', KEYS[1], ARGV[1])",
    "redis.call('SET', KEYS[1], ARGV[1]); error('stopped')",
    "redis.call('SET', KEYS[1], ARGV[1]); return redis.call('LPUSH', KEYS[1], 'x')",
    "return redis.pcall('LPUSH', KEYS[1], 'x')",
    "return redis.pcall('NOSUCH')",
    "return redis.call('INCR', KEYS[1])",
    "return {KEYS[1], KEYS[2], ARGV[1], #KEYS, #ARGV}",
    "return redis.sha1hex(ARGV[1])",
    "return tostring(redis.call('EXISTS', KEYS[1], KEYS[2]))",
    "local t = redis.call('TYPE', KEYS[1]); return t['ok']",
    "return cjson.encode({a=1,b={1,2},c='x'})",
    "return cjson.decode('{\"a\":[1,2,\"x\"]}')['a']",
    "return cmsgpack.unpack(cmsgpack.pack({1,2,3}))",
    "return struct.pack('>I2', 258)",
    "return bit.band(255, 15)",
    "return string.format('%s %d', ARGV[1], 7)",
    "syntax error here",
    "return unknown_global",
    "new_global = 1",
    "redis.setresp(3); return redis.call('GET', KEYS[1])",
    "redis.setresp(3); return {double=1.5}",
    "math.randomseed(5); return math.random(100)",
    "return redis.call('SELECT', 1)",
    "return redis.call('SUBSCRIBE', 'c')",
)
SCRIPT = st.sampled_from([script.encode() for script in SCRIPTS])

register("scripting", command("EVAL", SCRIPT, "2", KEY, KEY, VALUE), name="EVAL", weight=4)
register("scripting", command("EVAL", SCRIPT, one_of_bytes(b"0", b"-1", b"3", b"x"), KEY), name="EVAL")
register("scripting", command("EVAL_RO", SCRIPT, "2", KEY, KEY, VALUE), name="EVAL_RO")
register("scripting", command("SCRIPT LOAD", choice("return 1", "return KEYS[1]")), name="SCRIPT")
register(
    "scripting",
    command(
        "EVALSHA",
        one_of_bytes(
            b"e0e1f9fabfc9d4800c877a703b823ac0578ff8db", b"4a2267357833227dd98abdedb8cf24b15a986445", b"f" * 40, b"x"
        ),
        "1",
        KEY,
    ),
    name="EVALSHA",
)
register("scripting", command("SCRIPT EXISTS", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", "f" * 40), name="SCRIPT")
register("scripting", command("SET", KEY, VALUE), command("GET", KEY), name="SET")
