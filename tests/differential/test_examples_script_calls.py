"""What scripts may call, and the options and errors of the commands about scripts and functions."""

from __future__ import annotations

import re

import pytest

from tests.differential.examples import Example, parse_examples, run_example
from tests.harness import servers
from tests.harness.wire import ErrorReply, Simple, Wire

EXAMPLES = r"""
# refused commands
EVAL "return redis.call('config','get','x')" 0
EVAL "return redis.call('config')" 0
EVAL "return redis.call('config','bogus')" 0
EVAL "return redis.call('object')" 0
EVAL "return redis.call('object','bogus')" 0
EVAL "return redis.call('Get')" 0
EVAL "return redis.call('GET','a','b')" 0
EVAL "return redis.call('client','id')" 0
EVAL "return redis.call('subscribe','a')" 0
EVAL "return redis.call('hello')" 0
EVAL "return redis.call('reset')" 0
EVAL "return redis.call('quit')" 0
EVAL "return redis.call('auth','a')" 0
EVAL "return redis.call('function','list')" 0
EVAL "return redis.call('script','load','return 1')" 0
EVAL "return redis.call('fcall','f',0)" 0
EVAL "return redis.call('exec')" 0
EVAL "return redis.call('watch','k')" 0
EVAL "return redis.call('unwatch')" 0
EVAL "return redis.call('monitor')" 0
EVAL "return redis.call('shutdown')" 0
EVAL "return redis.call('debug','sleep','0')" 0
EVAL "return redis.call('acl','whoami')" 0
EVAL "return redis.call('latency','reset')" 0

# allowed commands
EVAL "return redis.call('ping')" 0
EVAL "return redis.call('echo','x')" 0
EVAL "return redis.call('publish','a','b')" 0
EVAL "return redis.call('dbsize')" 0
EVAL "return redis.call('select',99)" 0
EVAL "return redis.call('select','x')" 0
EVAL "return redis.call('swapdb',0,1)" 0
EVAL "return redis.call('flushall')" 0
EVAL "return redis.call('object','help')[1]" 0
EVAL "return #redis.call('time')" 0
EVAL "return redis.call('info','nosuchsection')" 0
EVAL "return redis.call('lastsave') > 0" 0
EVAL "return redis.call('gEt','k')" 0

# blocking commands do not block
EVAL "return redis.call('blpop','l',0)" 0
EVAL "return redis.call('bzpopmin','z',0)" 0
EVAL "return redis.call('blmove','l','m','left','right',0)" 0
EVAL "return redis.call('blmpop',0,1,'l','left')" 0
EVAL "return redis.call('xread','block',0,'streams','s','$')" 0
EVAL "redis.call('rpush','l','x') return redis.call('blpop','l',0)" 0

# the database and the protocol of a script are its own
SET k 0
EVAL "redis.call('select',3) redis.call('set','k','3') return redis.call('get','k')" 0
GET k
EVAL "return redis.call('get','k')" 0
SELECT 3
EVAL "return redis.call('get','k')" 0
HSET h f v
EVAL "return redis.call('hgetall','h')" 0
EVAL "redis.setresp(3) return redis.call('hgetall','h')" 0
EVAL "redis.setresp(3) local r = redis.call('hgetall','h') return r.map.f" 0
EVAL "return redis.call('hgetall','h')" 0
EVAL "redis.setresp(3) return redis.call('get','nosuch') == nil" 0
EVAL "return redis.call('get','nosuch') == false" 0

# what a failing script wrote stays
EVAL "redis.call('set','a','1') redis.call('lpush','a','x') redis.call('set','b','1')" 0
MGET a b
EVAL "redis.call('set','c','1') return bad()" 0
GET c
EVAL "redis.call('set','d','1') redis.call('nosuch')" 0
GET d

# sequences of errors and their texts
SET s x
EVAL "return redis.pcall('incr','s')" 0
EVAL "local r = redis.pcall('incr','s') return {r.err, type(r)}" 0
EVAL "local ok, e = pcall(redis.call,'incr','s') return {tostring(ok), e.err}" 0
EVAL "local ok, e = pcall(redis.call,'nosuch') return e.err" 0
EVAL "redis.call('incr','s')\nreturn 1" 0
EVAL "return {1, redis.pcall('incr','s'), 3}" 0

# transactions
MULTI
EVAL "redis.call('set','m',ARGV[1]) return redis.call('get','m')" 0 v
EVAL "return redis.call('nosuch')" 0
EVAL "return redis.call('blpop','l',0)" 0
EVALSHA ffffffffffffffffffffffffffffffffffffffff 0
EXEC
GET m
WATCH w
2> EVAL "return redis.call('set','w','1')" 0
MULTI
PING
EXEC

# waking blocked clients
2~ BLPOP queue 0
EVAL "redis.call('rpush','queue','a','b') return redis.call('llen','queue')" 0
2<
LLEN queue

# read-only scripts
SET k v
EVAL_RO "return redis.call('get','k')" 0
EVAL_RO "return redis.call('set','k','w')" 0
EVAL_RO "return redis.call('set','k')" 0
EVAL_RO "return redis.call('publish','a','b')" 0
EVAL_RO "return redis.call('pfcount','a')" 0
EVAL_RO "#!lua\nreturn 1" 0
EVAL_RO "#!lua flags=no-writes\nreturn redis.call('get','k')" 0
EVAL "#!lua flags=no-writes\nreturn redis.call('del','k')" 0
EVAL "#!lua flags=no-writes\nreturn redis.pcall('del','k')" 0
SCRIPT LOAD "return redis.call('get',KEYS[1])"
EVALSHA_RO d3c21d0c2b9ca22f82737626a27bcaf5d288f99f 1 k
EVALSHA_RO D3C21D0C2B9CA22F82737626A27BCAF5D288F99F 1 k
EVALSHA_RO ffffffffffffffffffffffffffffffffffffffff 0
GET k

# number of keys
EVALSHA x y
EVALSHA ffffffffffffffffffffffffffffffffffffffff y
EVALSHA ffffffffffffffffffffffffffffffffffffffff -1
EVALSHA ffffffffffffffffffffffffffffffffffffffff 1
EVAL "bad bad" -1
EVAL "return 1" 9223372036854775808
EVAL "return 1" " 1" x
EVAL "return 1" 01 x
EVAL "return {#KEYS,#ARGV}" 17 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18
COMMAND GETKEYS EVAL "return 1" 2 a b c
COMMAND GETKEYS EVALSHA sha 1 a b
COMMAND GETKEYS FCALL f 2 a b c
COMMAND GETKEYS FCALL_RO f 0 a
COMMAND GETKEYS EVAL "return 1" 3 a b
COMMAND GETKEYSANDFLAGS EVAL_RO "return 1" 1 a b

# SCRIPT
SCRIPT
SCRIPT EXISTS
SCRIPT FLUSH SYNC x
SCRIPT FLUSH sync
SCRIPT FLUSH Async
SCRIPT DEBUG x
SCRIPT DEBUG no
SCRIPT SHOW x
SCRIPT LOAD a b
SCRIPT KILL x
SCRIPT LOAD "#!lua flags=nosuch\nreturn 1"
SCRIPT EXISTS E0E1F9FABFC9D4800C877A703B823AC0578FF8DB e0e1f9fabfc9d4800c877a703b823ac0578ff8db
EVAL "return 1" 0
SCRIPT EXISTS E0E1F9FABFC9D4800C877A703B823AC0578FF8DB e0e1f9fabfc9d4800c877a703b823ac0578ff8db
EVAL "nonsense nonsense" 0
SCRIPT EXISTS 7d0b1c7f5a1d1b3b45a6d6ab9a7db4f0f4ee0c65

# FUNCTION LOAD
FUNCTION
FUNCTION LOAD
FUNCTION LOAD x y
FUNCTION LOAD REPLACE
FUNCTION LOAD REPLACE REPLACE x
FUNCTION LOAD REPLACE x "#!lua name=l\nreturn 1"
FUNCTION LOAD "#!lua name=l\nredis.register_function('f', function(k, a) return {#k, #a, a[1]} end)"
FUNCTION LOAD "#!lua name=l\nredis.register_function('f2', function() end)"
FUNCTION LOAD "#!lua name=other\nredis.register_function('F', function() end)"
FUNCTION LOAD replace "#!lua name=l\nredis.register_function('f', function(k, a) return {#k, #a, a[2]} end)"
FUNCTION LOAD REPLACE "#!lua name=l\nredis.register_function('broken'"
FCALL F 1 k a b
FCALL f x
FCALL f 3 k
FCALL f -1
FCALL nosuch x
FCALL_RO f 0
FCALL_RO nosuch 0
FUNCTION DELETE L
FUNCTION DELETE l
FCALL f 0

# FUNCTION LIST and STATS
FUNCTION LIST x
FUNCTION LIST LIBRARYNAME
FUNCTION LIST LIBRARYNAME a LIBRARYNAME b
FUNCTION LIST WITHCODE WITHCODE
FUNCTION LOAD "#!lua name=l1\nredis.register_function{function_name='f', callback=function() end, flags={'no-writes'}}"
FUNCTION LIST
FUNCTION LIST WITHCODE
FUNCTION LIST LIBRARYNAME L* withcode
FUNCTION LIST LIBRARYNAME x*
FUNCTION STATS
FUNCTION STATS x
FUNCTION LOAD "#!lua name=l2\nredis.register_function{function_name='g', callback=function() end, description='d e'}"
FUNCTION LIST LIBRARYNAME l2
FUNCTION STATS

# functions that call commands
SET k v
FUNCTION LOAD "#!lua name=l\nredis.register_function('get', function(k) return redis.call('get', k[1]) end)"
FCALL get 1 k
FCALL GET 1 k
FCALL get 0
LPUSH list x
FCALL get 1 list
FUNCTION LOAD "#!lua name=r\nredis.register_function{function_name='d', flags={'no-writes'}, callback=function() redis.call('del','k') end}"
FCALL d 0
FCALL_RO d 0
MULTI
FCALL get 1 k
FCALL nosuch 0
EXEC

# FUNCTION FLUSH, DUMP, RESTORE, KILL
FUNCTION FLUSH x
FUNCTION FLUSH SYNC x
FUNCTION FLUSH async
FUNCTION FLUSH
FUNCTION DUMP x
FUNCTION RESTORE x BOGUS
FUNCTION RESTORE x FLUSH y
FUNCTION RESTORE x
FUNCTION KILL
FUNCTION KILL x
FUNCTION LOAD "#!lua name=l\nredis.register_function('f', function() return 1 end)"
FLUSHALL
FCALL f 0
FUNCTION DELETE l
FUNCTION DELETE l

# a user's permissions
ACL SETUSER worker on nopass +eval +get +set +fcall ~k* resetchannels
2> AUTH worker x
2> EVAL "return redis.call('set','k1','v')" 0
2> EVAL "return redis.call('get','k1')" 1 k1
2> EVAL "return redis.call('get','x')" 0
2> EVAL "return redis.pcall('get','x')" 0
2> EVAL "return redis.call('del','k1')" 0
2> EVAL "return redis.call('nosuch')" 0
2> EVAL "return 1" 1 x
2> EVAL "return {redis.acl_check_cmd('get','x'), redis.acl_check_cmd('get','k'), redis.acl_check_cmd('del','k')}" 0
2> EVAL "return redis.acl_check_cmd('nosuch')" 0
2> EVAL "return redis.acl_check_cmd('config','bogus')" 0
2> EVAL_RO "return 1" 0
2> SCRIPT LOAD "return 1"
ACL DELUSER worker
"""  # noqa: E501


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("example", parse_examples(EXAMPLES), ids=str)
def test_example(example: Example, protocol: int) -> None:
    with servers.subject().connect() as mine, servers.reference().connect() as theirs:
        for wire in (mine, theirs):
            wire.pipeline([["FUNCTION", "FLUSH"], ["SCRIPT", "FLUSH"]])
    run_example(example, protocol, servers.subject(), servers.reference())


LIBRARIES = [f"#!lua name=l{n}\nredis.register_function('f{n}', function() return {n} end)" for n in range(3)]


@pytest.mark.parametrize("swapped", [False, True], ids=["from the reference", "to the reference"])
def test_libraries_can_be_moved_from_server_to_server(swapped: bool) -> None:
    with servers.subject().connect() as mine, servers.reference().connect() as theirs:
        source, target = (mine, theirs) if swapped else (theirs, mine)
        for wire in (source, target):
            wire.call("FUNCTION", "FLUSH")
        for code in LIBRARIES:
            assert isinstance(source.call("FUNCTION", "LOAD", code), bytes)
        payload = source.call("FUNCTION", "DUMP")
        assert target.call("FUNCTION", "RESTORE", payload) == Simple(b"OK")
        assert [target.call("FCALL", f"f{number}", "0") for number in range(3)] == [0, 1, 2]
        refusal = target.call("FUNCTION", "RESTORE", payload, "APPEND")
        assert isinstance(refusal, ErrorReply) and refusal.text.endswith(b"already exists")
        for policy in ("REPLACE", "FLUSH"):
            assert target.call("FUNCTION", "RESTORE", payload, policy) == Simple(b"OK")
        assert len(target.call("FUNCTION", "LIST")) == 3


def test_statistics_of_scripts_are_the_references() -> None:
    """Calls, refused and failed calls of EVAL and of what scripts call, and errors by code."""
    scripts = (
        "return redis.call('lpush','s','b')",
        "error('x')",
        "return redis.error_reply('FOO a')",
        "return {err='BAR x'}",
        "return redis.pcall('lpush','s','b')",
        "redis.pcall('lpush','s','b') return 1",
        "redis.pcall('lpush','s','b') error('a')",
        "return redis.call('nosuch')",
        "redis.pcall('nosuch') return 1",
        "return redis.call('get')",
        "return redis.call('config','get','x')",
        "bad bad",
        "error({err='MINE x'})",
        "return redis.call('get','s')",
    )
    seen = []
    for server in (servers.subject(), servers.reference()):
        with server.connect() as wire:
            wire.pipeline([["FLUSHALL"], ["SET", "s", "v"], ["CONFIG", "RESETSTAT"]])
            found = []
            for script in scripts:
                wire.call("EVAL", script, "0")
                found.append((script, _counts(wire)))
                wire.call("CONFIG", "RESETSTAT")
        seen.append(found)
    for mine, theirs in zip(*seen, strict=True):
        assert mine == theirs


def _counts(wire: Wire) -> set[str]:
    """commandstats without times, and errorstats."""
    lines = wire.call("INFO", "commandstats").decode().splitlines() + wire.call("INFO", "errorstats").decode().split()
    kept = {re.sub(r"usec=.*per_call=[0-9.]+,", "", line) for line in lines if line.startswith(("cmdstat_", "error"))}
    return {line for line in kept if not line.startswith(("cmdstat_info", "cmdstat_config|resetstat"))}
