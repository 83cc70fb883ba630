"""EVAL, SCRIPT and FUNCTION: conversions and error texts."""

from __future__ import annotations

import pytest

from tests.differential.examples import Example, parse_examples, run_example
from tests.harness import servers

EXAMPLES = r"""
# arity and keys
EVAL
EVAL "return 1"
EVAL "return 1" x
EVAL "return 1" -1
EVAL "return 1" 1
EVAL "return 1" 2 a
EVAL "return {KEYS[1],ARGV[1],ARGV[2]}" 1 k a b
EVAL "return #ARGV" 0
EVALSHA x 0
EVALSHA ffffffffffffffffffffffffffffffffffffffff 0
SCRIPT LOAD "return 5"
EVALSHA 4ca238f611c9d0ae4e9a75a5dbac22aedc1e44d0 0
SCRIPT EXISTS 4ca238f611c9d0ae4e9a75a5dbac22aedc1e44d0 x
SCRIPT LOAD "return"
SCRIPT LOAD "bad syntax"
SCRIPT LOAD
SCRIPT BOGUS
SCRIPT FLUSH BOGUS
SCRIPT FLUSH
SCRIPT EXISTS 4ca238f611c9d0ae4e9a75a5dbac22aedc1e44d0
SCRIPT KILL

# conversions
EVAL "return 3.99" 0
EVAL "return -3.99" 0
EVAL "return true" 0
EVAL "return false" 0
EVAL "return nil" 0
EVAL "return {1,nil,3}" 0
EVAL "return {1,2,{3,{4}}}" 0
EVAL "return {ok='fine'}" 0
EVAL "return {err='ERR mine'}" 0
EVAL "return {err='nocode'}" 0
EVAL "return redis.error_reply('mine')" 0
EVAL "return redis.error_reply('CODE mine')" 0
EVAL "return redis.status_reply('st')" 0
EVAL "return {a=1}" 0
EVAL "return 'x'..1" 0
EVAL "return {double=3.5}" 0
EVAL "return {map={a=1}}" 0
EVAL "return {set={a=true}}" 0
EVAL "return {big_number='123'}" 0
EVAL "return {verbatim_string={format='txt',string='hi'}}" 0
EVAL "redis.setresp(3) return {double=3.5}" 0
EVAL "redis.setresp(3) return true" 0
EVAL "redis.setresp(4) return 1" 0
EVAL "return 1e15" 0
EVAL "return 2^53" 0

# calls
SET k v
EVAL "return redis.call('GET',KEYS[1])" 1 k
EVAL "return redis.call('GET','missing')" 0
EVAL "return type(redis.call('GET','missing'))" 0
EVAL "return redis.call('SET',KEYS[1],ARGV[1])" 1 k 2
EVAL "return redis.call('INCR',KEYS[1])" 1 k
EVAL "return redis.call('MGET','k','nope')" 0
EVAL "return redis.call('LPUSH','k','x')" 0
EVAL "return redis.pcall('LPUSH','k','x')" 0
EVAL "local r = redis.pcall('LPUSH','k','x') return r['err']" 0
EVAL "return redis.call('NOSUCH')" 0
EVAL "return redis.call('GET')" 0
EVAL "return redis.call()" 0
EVAL "return redis.call({})" 0
EVAL "return redis.call('SET','k',12.5)" 0
GET k
EVAL "return redis.call('MULTI')" 0
EVAL "return redis.call('EVAL','return 1',0)" 0
EVAL "redis.call('SELECT',1) return redis.call('SET','x','1')" 0
EXISTS x
EVAL "redis.call('SET','partial','1') error('boom')" 0
EXISTS partial
EVAL "error({err='MY own'})" 0
EVAL "return redis.error_reply()" 0
EVAL_RO "return redis.call('SET','k','v')" 0
EVAL_RO "return redis.call('GET','k')" 0
EVAL "return redis.call('BLPOP','l',0)" 0

# sandbox
EVAL "x = 1" 0
EVAL "return y" 0
EVAL "return os" 0
EVAL "return require" 0
EVAL "return loadfile" 0
EVAL "return type(os.clock())" 0
EVAL "string.x = 1" 0
EVAL "redis.x = 1" 0
EVAL "return bad bad" 0
EVAL "return cjson.encode({1,2,3})" 0
EVAL "return cjson.encode({})" 0
EVAL "return cjson.decode('[1,2]')" 0
EVAL "return cjson.decode('bad')" 0
EVAL "return cmsgpack.unpack(cmsgpack.pack('x',1))" 0
EVAL "return bit.tohex(255)" 0
EVAL "return redis.sha1hex('x')" 0
EVAL "return redis.sha1hex()" 0
EVAL "return {redis.LOG_DEBUG,redis.LOG_WARNING}" 0
EVAL "return redis.log(redis.LOG_DEBUG,'x')" 0
EVAL "return redis.replicate_commands()" 0
EVAL "return tostring(redis.REDIS_VERSION ~= nil)" 0

# shebang
EVAL "#!lua\nreturn 1" 0
EVAL "#!lua flags=no-writes\nreturn redis.call('SET','a','b')" 0
EVAL "#!lua flags=bogus\nreturn 1" 0
EVAL "#!python\nreturn 1" 0
EVAL "#!lua name=x\nreturn 1" 0

# functions
FUNCTION LOAD "#!lua name=lib\nredis.register_function('f', function(keys, args) return {keys[1], args[1]} end)"
FCALL f 1 k a
FCALL f 0
FCALL nope 0
FCALL f x
FCALL f 2 k
FCALL_RO f 1 k a
FUNCTION LOAD "#!lua name=lib\nredis.register_function('f', function() return 1 end)"
FUNCTION LOAD REPLACE "#!lua name=lib\nredis.register_function{function_name='g', callback=w, flags={'no-writes'}}"
FUNCTION LOAD REPLACE "#!lua name=lib\nlocal w = redis.call redis.register_function{function_name='g', callback=w}"
FCALL f 0
FCALL g 0
FCALL_RO g 0
FUNCTION LOAD "no shebang"
FUNCTION LOAD "#!lua\nreturn 1"
FUNCTION LOAD "#!lua name=lib2\nreturn 1"
FUNCTION LOAD "#!lua name=bad-name!\nreturn 1"
FUNCTION LOAD "#!python name=x\nreturn 1"
FUNCTION DELETE nope
FUNCTION DELETE lib
FUNCTION LIST
FUNCTION FLUSH
FUNCTION STATS
FUNCTION KILL
FUNCTION BOGUS
FUNCTION RESTORE bad
"""


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("example", parse_examples(EXAMPLES), ids=str)
def test_example(example: Example, protocol: int) -> None:
    run_example(example, protocol, servers.subject(), servers.reference())
