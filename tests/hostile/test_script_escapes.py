"""Scripts that try to get out of their sandbox, to fill the memory, or never to end, on a real server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness.raw import settle
from tests.harness.servers import ServerProcess, running, subject_flavour
from tests.harness.wire import ErrorReply, Simple
from tests.hostile.limits import MIB, assert_serves, eventually, field, grows_at_most

FORBIDDEN = [
    *("io.open('/etc/passwd')", "os.execute('id')", "os.getenv('HOME')", "require('os')", "package.loadlib('x', 'y')"),
    *("dofile('/etc/passwd')", "loadfile('/etc/passwd')", "debug.getregistry()", "debug.sethook()", "python.eval('1')"),
    *("string.dump(function() end)()", "getfenv(0).x()", "setfenv(1, {})", "newproxy(true)", "module('x')"),
    *("load(string.char(27) .. 'Lua')()", "loadstring('\\27LuaQ')()", "os.exit(1)", "print.x()"),
    *("coroutine.wrap(io.open)()", "string.dump(redis.call)", "getmetatable(redis.call).x()"),
    *("getmetatable('').__index = {}", "getmetatable('').__gc = 1", "setmetatable(_G, nil)", "_G.x = 1", "x = 1"),
    *("rawset(_G, 'x', 1)", "redis.call = nil", "string.rep = nil", "table.insert(redis, 1)"),
    "setmetatable(redis, {})",
    *("redis.call('EVAL', 'return 1', '0')", "redis.call('SUBSCRIBE', 'c')", "redis.call('SHUTDOWN')"),
    *("redis.call('CLIENT', 'KILL', 'ID', '1')", "redis.call('DEBUG', 'SEGFAULT')", "redis.call('MULTI')"),
]
TOO_LARGE = [
    "return string.rep('x', 1e9)",
    "local t = {} while true do t[#t + 1] = string.rep('x', 100000) .. #t end",
    "local s = 'x' while true do s = s .. s end",
    "return cjson.encode({string.rep('\\1', 100 * 1024 * 1024)})",
    "local t = {} for i = 1, 1e9 do t[i] = i end",
]
TOO_DEEP = [
    "local t = {} for i = 1, 100000 do t = {t} end return cjson.encode(t)",
    "return cjson.decode(string.rep('[', 100000))",
    "return cmsgpack.unpack(string.rep('\\145', 100000))",
    "local function f() return 1 + f() end return f()",
    "local t = {} for i = 1, 100000 do t = {t} end return t",
    "return loadstring('return ' .. string.rep('{', 100000))()",
    "return loadstring('return ' .. string.rep('(', 100000))()",
    "return string.gsub(string.rep('a', 1000), string.rep('(a?)', 100), '')",
    "return string.format('%99999d', 1)",
    "return struct.unpack('c2147483647', 'x')",
    "return struct.pack(string.rep('I32', 100000), 1)",
    "return bit.tohex(1, 2^53)",
]
ENDLESS = [
    "while true do end",
    "while true do pcall(function() while true do end end) end",
    "while true do xpcall(function() error('x') end, function() while true do end end) end",
    "local function f() while true do pcall(f) end end coroutine.wrap(f)()",
    "while true do redis.pcall('GET', 'k') end",
    "local t = setmetatable({}, {__index = function(t, k) return t[k + 1] end})"
    " while true do pcall(function() return t[1] end) end",
    "local function f() while true do pcall(f) end end f()",
    "local function f() while true do xpcall(f, f) end end f()",
    "local function f() while true do coroutine.resume(coroutine.create(f)) end end f()",
    "local function f() while true do load(f) end end f()",
    "local function f() while true do pcall(string.gsub, 'a', 'a', f) end end f()",
    "local function f() while true do pcall(table.sort, {1, 2, 3}, f) end end f()",
]


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with running(subject_flavour(), "--busy-reply-threshold", "50") as process:
        yield process


def test_nothing_forbidden_is_there(server: ServerProcess) -> None:
    with server.connect() as wire:
        for code in FORBIDDEN:
            reply = wire.call("EVAL", code, "0")
            assert isinstance(reply, ErrorReply), (code, reply)
            assert wire.call("EVAL", f"return pcall(function() {code} end) == false", "0") == 1, code
        assert wire.call("EVAL", "return string.rep('a', 2) .. type(redis.call)", "0") == b"aafunction"
        assert field(wire, "stats", "unexpected_error_replies") == 0


def test_memory_is_bounded(server: ServerProcess) -> None:
    with server.connect() as wire, grows_at_most(server, 700 * MIB):
        for script in TOO_LARGE:
            reply = wire.call("EVAL", script, "0")
            assert isinstance(reply, ErrorReply) and b"memory" in reply.text, (script, reply)
            assert_serves(wire)


@pytest.mark.parametrize("script", TOO_DEEP)
def test_depth_is_bounded(server: ServerProcess, script: str) -> None:
    """An error or a plain value, soon; the process lives."""
    with server.connect() as caller, server.connect() as wire:
        # Not parsed: a reply may be nested deeper than this end can take.
        caller.send("EVAL", script, "0")
        settle(server)
        # BUSY is an answer as well, for a while.
        assert eventually(lambda: wire.call("PING") == Simple(b"PONG"))
        assert field(wire, "stats", "unexpected_error_replies") == 0


@pytest.mark.parametrize("script", ENDLESS)
def test_endless_scripts_can_be_killed(server: ServerProcess, script: str) -> None:
    """Also when they catch every error."""
    with server.connect() as caller, server.connect() as other:
        caller.send("EVAL", script, "0")

        def is_killed() -> bool:
            return other.call("SCRIPT", "KILL") == Simple(b"OK")

        assert eventually(is_killed)
        reply = caller.read_reply()
        assert isinstance(reply, ErrorReply) and b"Script killed by user with SCRIPT KILL" in reply.text
        assert_serves(other)
