"""What a script must not be able to do: reach Python or files, change shared tables, crash or fill the process."""

from __future__ import annotations

import pytest

from diskkv.errors import CommandError
from diskkv.services.scripting.engine import ScriptEngine

MEMORY_LIMIT_BYTES = 12 * 1024 * 1024


def echo(argv: list[bytes], _resp: int) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(argv[-1]), argv[-1])


@pytest.fixture
def engine() -> ScriptEngine:
    return ScriptEngine(echo, memory_limit_bytes=MEMORY_LIMIT_BYTES)


def evaluate(engine: ScriptEngine, source: bytes, *args: bytes) -> bytes:
    try:
        return engine.run(engine.load(source, from_eval=True), [], args)
    except CommandError as error:
        return error.reply


# Walks everything that a script can reach and reports values that are no plain Lua value.
WALK = b"""
local seen, found, todo = {}, {}, {_G, getmetatable(''), getmetatable(_G)}
local names = {io = 1, debug = 1, package = 1, require = 1, python = 1, dofile = 1, loadfile = 1, getfenv = 1,
  setfenv = 1, newproxy = 1, module = 1, print = 1, execute = 1, exit = 1, rename = 1, getenv = 1,
  tmpname = 1, popen = 1}
while #todo > 0 do
  local t = table.remove(todo)
  if not seen[t] then
    seen[t] = true
    for k, v in pairs(t) do
      if type(v) == 'userdata' and v ~= cjson.null then found[#found + 1] = tostring(k) end
      if names[k] and t ~= redis then found[#found + 1] = tostring(k) end
      if type(v) == 'table' then todo[#todo + 1] = v end
      if type(k) == 'table' then todo[#todo + 1] = k end
      local meta = getmetatable(v)
      if type(meta) == 'table' then todo[#todo + 1] = meta end
    end
  end
end
return found
"""


def test_nothing_reachable_leads_to_python_files_or_the_process(engine: ScriptEngine) -> None:
    assert evaluate(engine, WALK) == b"*0\r\n"


@pytest.mark.parametrize(
    "source",
    [
        b"return type(select(2, pcall(redis.call)))",
        b"return type(select(2, xpcall(redis.call, function(e) return e end)))",
        b"return type(select(2, coroutine.resume(coroutine.create(function() redis.call() end))))",
        b"return type(select(2, pcall(coroutine.wrap(function() redis.call() end))))",
        b"return type(select(2, load(function() redis.call() end)))",
    ],
)
def test_errors_of_callbacks_are_never_python_objects(engine: ScriptEngine, source: bytes) -> None:
    assert evaluate(engine, source) in (b"$6\r\nstring\r\n", b"$5\r\ntable\r\n")


@pytest.mark.parametrize(
    "source",
    [
        b"string.rep = nil",
        b"rawset(string, 'rep', nil)",
        b"table.insert(_G, 1)",
        b"getmetatable('').__index.rep = nil",
        b"setmetatable(redis, {})",
        b"for k in pairs(math) do math[k] = nil end",
        b"_G = nil",
        b"_G._G.x = 1",
        b"getmetatable(_G).__index = function() end",
    ],
)
def test_shared_tables_are_read_only(engine: ScriptEngine, source: bytes) -> None:
    assert b"Attempt to modify a readonly table" in evaluate(engine, source)
    assert evaluate(engine, b"return ('a'):rep(2) .. math.abs(-1) .. #pairs.x") != b""
    assert evaluate(engine, b"return string.rep('a', 2)") == b"$2\r\naa\r\n"


def test_the_collector_keeps_running_after_a_script_stops_it(engine: ScriptEngine) -> None:
    evaluate(engine, b"collectgarbage('stop') collectgarbage('setpause', 100000)")
    assert evaluate(engine, b"for i = 1, 100000 do local s = ('x'):rep(100) .. i end return 1") == b":1\r\n"


@pytest.mark.parametrize(
    "source",
    [
        b"local t = {} while true do t[#t + 1] = ('x'):rep(1000) .. #t end",
        b"local t = {} while true do pcall(function() t[#t + 1] = ('x'):rep(1000) .. #t end) end",
        b"local t = {} while true do t[#t + 1] = redis.call('echo', ('x'):rep(1000) .. #t) end",
        b"local t = {} while true do t[#t + 1] = redis.pcall('echo', ('x'):rep(20000) .. #t) end",
        b"local t = {} while true do pcall(function() t[#t + 1] = redis.call('echo', ('x'):rep(1000) .. #t) end) end",
        b"local s = 'x' while true do s = s .. s end",
        b"local s = ('x'):rep(5000000) return redis.call('echo', s)",
        b"return ('x'):rep(1e9)",
        b"local t = {} for i = 1, 1e7 do t[i] = coroutine.create(function() end) end",
        b"load(function() return 'local x = 1 ' end)",
        b"return cjson.encode({('\\1'):rep(3000000)})",
        b"local t = {} for i = 1, 1e7 do t[i] = i end return t",
    ],
)
def test_memory_is_bounded(engine: ScriptEngine, source: bytes) -> None:
    reply = evaluate(engine, source)
    assert reply.startswith(b"-ERR not enough memory"), reply[:200]
    assert evaluate(engine, b"return cjson.encode({1})") == b"$3\r\n[1]\r\n"
    assert engine.memory_bytes < MEMORY_LIMIT_BYTES


def test_a_script_may_handle_a_failed_allocation(engine: ScriptEngine) -> None:
    assert evaluate(engine, b"return {pcall(string.rep, 'x', 1e9)}") == b"*2\r\n$-1\r\n$17\r\nnot enough memory\r\n"


@pytest.mark.parametrize("size_bytes", [6_000_000, 20_000_000])
def test_sources_and_arguments_that_do_not_fit_are_refused(engine: ScriptEngine, size_bytes: int) -> None:
    refused = b"-ERR not enough memory for the script\r\n"
    assert evaluate(engine, b"return #ARGV[1]", b"x" * size_bytes) == refused
    assert evaluate(engine, b"--" + b"x" * size_bytes) == refused
    many = [b"%01000d" % i for i in range(size_bytes // 500)]
    assert engine.run(engine.load(b"return #ARGV"), [], many) == refused
    assert engine.run(engine.load(b"return #ARGV"), [], many[:5000]) == b":5000\r\n"
    assert evaluate(engine, b"return #ARGV[1]", b"x" * 1_000_000) == b":1000000\r\n"


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (b"return string.find(('a'):rep(1e6), ('a?'):rep(1e6))", b"pattern too complex"),
        (b"return ('a'):match(('a-'):rep(1e5))", b"pattern too complex"),
        (b"return ('a'):gsub(('()'):rep(1e5), '')", b"pattern too complex"),
        (b"local function f() return 1 + f() end return f()", b"stack overflow"),
        (b"local t = setmetatable({}, {}) getmetatable(t).__index = function(t, k) return t[k + 1] end return t[1]",
         b"C stack overflow"),
        (b"local f f = function(s) return s:gsub('.', f) end return f('abc')", b"C stack overflow"),
        (b"local function f() return coroutine.wrap(f)() end return f()", b"C stack overflow"),
        (b"cjson.decode_max_depth(1e6) return cjson.decode(('['):rep(3e4))", b"stack overflow"),
        (b"cjson.encode_max_depth(1e6) local t = {} for i = 1, 3e4 do t = {t} end return cjson.encode(t)",
         b"stack overflow"),
        (b"return cmsgpack.unpack(('\\145'):rep(1e5))", b"stack overflow"),
        (b"return {cmsgpack.unpack(('\\1'):rep(1e5))}", b"too many return values at once"),
        (b"return {unpack({}, 1, 1e7)}", b"too many results to unpack"),
        (b"return " + b"{" * 1000 + b"}" * 1000, b"chunk has too many syntax levels"),
        (b"local t = {} table.insert(t, -2^31, 1)", b"position out of bounds"),
        (b"local function f(" + b",".join(b"a%d" % i for i in range(190)) + b", ...) end", b"too many parameters"),
    ],
)  # fmt: skip
def test_deep_recursion_and_absurd_arguments_are_errors(source: bytes, error: bytes) -> None:
    engine = ScriptEngine(echo)
    assert error in evaluate(engine, source)
    assert evaluate(engine, b"return 1") == b":1\r\n"


def test_repeating_nothing_is_instant(engine: ScriptEngine) -> None:
    assert evaluate(engine, b"return string.rep('', 2^31)") == b"$0\r\n\r\n"


def test_long_plain_searches_are_allowed(engine: ScriptEngine) -> None:
    assert evaluate(engine, b"local s = ('ab'):rep(20000) return string.find('x' .. s, s, 1, true)") == b":2\r\n"


def test_runtime_chunks_share_the_restrictions(engine: ScriptEngine) -> None:
    assert b"Attempt to modify a readonly table" in evaluate(engine, b"loadstring('x = 1')()")
    assert b"nonexistent global variable 'io'" in evaluate(engine, b"return loadstring('return io')()")
    names = b",".join(b"a%d" % i for i in range(190))
    assert b"too many parameters" in evaluate(
        engine, b"return assert(loadstring('local function f(" + names + b",...) end'))"
    )
