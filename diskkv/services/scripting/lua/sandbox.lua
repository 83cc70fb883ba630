-- The sandbox every script runs in, and the driver that runs it.
--
-- Called once per runtime with a table of Python callbacks (all C functions made by lupa's as_function, so scripts never
-- hold a Python object) and limits; returns the table of entry points that engine.py keeps. Nothing here may use a global
-- after start-up: the original globals are emptied, and scripts get a read-only environment of their own.
--
-- Stock Lua 5.1 has no read-only tables, so scripts see empty proxies whose real tables are known only to REAL below;
-- the functions that bypass metatables (pairs, next, rawget, rawset ...) are wrapped to know about them.
--
-- Chunks of this package are named INTERNAL: error positions inside them are rewritten to the calling script's line, so
-- that libraries written in Lua report errors exactly as Redis' C libraries do.
local host = ...

local INTERNAL = host.internal_chunk
local HOOK_INSTRUCTIONS = host.hook_instructions
local MAX_PATTERN_BYTES = host.max_pattern_bytes
local READONLY = "Attempt to modify a readonly table"

local dbg, base = debug, _G
local getinfo, sethook = dbg.getinfo, dbg.sethook
local rawpcall, rawxpcall, error, type, tostring, select = pcall, xpcall, error, type, tostring, select
local rawnext, rawpairs, rawgetfield, rawsetfield = next, pairs, rawget, rawset
local rawsetmetatable, rawgetmetatable, setfenv, unpack = setmetatable, getmetatable, setfenv, unpack
local rawloadstring, rawcollectgarbage = loadstring, collectgarbage
local cocreate, coresume, cowrap = coroutine.create, coroutine.resume, coroutine.wrap
local sub, byte, find, gsub = string.sub, string.byte, string.find, string.gsub
local concat = table.concat

local REAL = {}
local KILL = {}
local NULL = newproxy(true)
do
  local meta = rawgetmetatable(NULL)
  meta.__tostring = function() return "userdata: (nil)" end
end

local function readonly_write() error(READONLY, 2) end

local VISIBLE_META = {}

local function protect(real, visible_meta)
  local proxy = {}
  REAL[proxy] = real
  VISIBLE_META[proxy] = visible_meta
  return rawsetmetatable(proxy, { __index = real, __newindex = readonly_write })
end

-- State of the run in progress.
local killed = false
local take_error = host.take_error

local kill_source, kill_line

-- Remembers the line of script code that a kill interrupts.
local function locate_kill(level)
  local info = getinfo(level, "Sl")
  while info and (info.short_src == INTERNAL or info.what == "C" or info.what == "tail") do
    level = level + 1
    info = getinfo(level, "Sl")
  end
  kill_source, kill_line = info and info.source, info and info.currentline
end

-- A caught error: a Python exception (from redis.call and its like) becomes the table Redis raises.
local function caught(err)
  if type(err) == "userdata" and err ~= NULL then
    local message = take_error()
    if message then return { err = message } end
    if not killed then locate_kill(4) end
    killed = true
    return KILL
  end
  return err
end

local function strip_internal(err)
  if type(err) == "string" and sub(err, 1, #INTERNAL + 1) == INTERNAL .. ":" then
    return (gsub(err, "^[^:]*:%d+: ", "", 1))
  end
  return err
end

-- The instruction hook: asks the engine whether the run may go on. Once killed it fires on every instruction of script
-- code (never of this file), so that no pcall can swallow the kill.
local tick = host.tick
local function hook()
  if killed then
    local info = getinfo(2, "S")
    if info and info.short_src ~= INTERNAL then error(KILL, 0) end
  elseif tick() then
    killed = true
    locate_kill(3)
    sethook(hook, "", 1)
    error(KILL, 0)
  end
end
sethook(hook, "", HOOK_INSTRUCTIONS)

local function rearm()
  -- In this order: while the hook still fires on every instruction, it must find the run killed.
  sethook(hook, "", HOOK_INSTRUCTIONS)
  killed = false
  kill_source, kill_line = nil, nil
end

local function check_alive()
  if killed or tick() then
    if not killed then locate_kill(3) end
    killed = true
    error(KILL, 0)
  end
end

-- Finds the frame Redis would name as the origin of an error: the function at `level`, or its caller when that is a C
-- function; frames of this package count as one C function.
local function origin(level)
  local info = getinfo(level, "Sl")
  local skipped = false
  if info and info.what == "C" then
    level = level + 1
    info = getinfo(level, "Sl")
    skipped = true
    if not (info and info.short_src == INTERNAL) then return info end
  end
  while info and (info.short_src == INTERNAL or (skipped and (info.what == "C" or info.what == "tail"))) do
    skipped = true
    level = level + 1
    info = getinfo(level, "Sl")
  end
  return info
end

local function describe(err, info)
  if type(err) ~= "table" then
    if type(err) == "string" then
      local bare = strip_internal(err)
      if bare ~= err and info and info.currentline > 0 then
        bare = info.short_src .. ":" .. info.currentline .. ": " .. bare
      end
      err = bare
    end
    err = { err = "ERR " .. tostring(err) }
  elseif REAL[err] then
    return { err = "ERR unknown error" }
  end
  if info then
    rawsetfield(err, "source", info.source)
    rawsetfield(err, "line", info.currentline)
  end
  return err
end

local function on_error(err)
  err = caught(err)
  if err == KILL then
    sethook(hook, "", 1)
    return KILL
  end
  return describe(err, origin(3))
end

-- Raises what luaL_argerror would, at the line of script code that called the function `level` levels above this one's
-- caller (1: the caller itself), and with the name it was called by.
local function bad_argument(level, position, text)
  local info = getinfo(level + 1, "n")
  local name = info and info.name or "?"
  if info and info.namewhat == "method" then
    position = position - 1
    if position == 0 then error("calling '" .. name .. "' on bad self (" .. text .. ")", level + 2) end
  end
  error("bad argument #" .. position .. " to '" .. name .. "' (" .. text .. ")", level + 2)
end

local function typename(count, position, value)
  if count < position then return "no value" end
  return type(value)
end

---------------------------------------------------------------------------------------------------------------------
-- Base library

-- Where C calls are nested as deep as Lua allows, the hook cannot be called: it fails like any other call there, and a
-- script that stays at that depth would run for ever. Whoever catches such a failure therefore asks in its place.
local function check_overflow(err)
  if killed then error(KILL, 0) end
  if type(err) == "string" and (find(err, "stack overflow", 1, true) or err == "error in error handling") then
    if tick() then
      killed = true
      locate_kill(4)
      sethook(hook, "", 1)
      error(KILL, 0)
    end
  end
end

local function after_pcall(ok, err, ...)
  if ok then return true, err, ... end
  err = strip_internal(caught(err))
  if err == KILL then error(KILL, 0) end
  check_overflow(err)
  if type(err) == "table" then
    local message = err.err
    if type(message) == "string" or type(message) == "number" then return false, message end
    return false, err, message
  end
  return false, err
end

local function w_pcall(...)
  if select("#", ...) == 0 then return false, "attempt to call a boolean value" end
  return after_pcall(rawpcall(...))
end

local function after_xpcall(ok, err, ...)
  if not ok then
    if err == KILL then error(KILL, 0) end
    -- The handler may have put anything in the place of the error.
    check_overflow("stack overflow")
  end
  return ok, err, ...
end

local function w_xpcall(...)
  if select("#", ...) < 2 then bad_argument(1, 2, "value expected") end
  local f, handler = ...
  return after_xpcall(rawxpcall(f, function(err)
    err = strip_internal(caught(err))
    if killed or err == KILL then return KILL end
    return handler(err)
  end))
end

local function w_pairs(...)
  local t = ...
  if type(t) ~= "table" then bad_argument(1, 1, "table expected, got " .. typename(select("#", ...), 1, t)) end
  return rawnext, REAL[t] or t, nil
end

local function w_next(...)
  local t, key = ...
  if type(t) ~= "table" then bad_argument(1, 1, "table expected, got " .. typename(select("#", ...), 1, t)) end
  return rawnext(REAL[t] or t, key)
end

local function w_rawget(...)
  local t, key = ...
  if type(t) ~= "table" then bad_argument(1, 1, "table expected, got " .. typename(select("#", ...), 1, t)) end
  return rawgetfield(REAL[t] or t, key)
end

local function w_rawset(...)
  local t, key, value = ...
  if type(t) ~= "table" then bad_argument(1, 1, "table expected, got " .. typename(select("#", ...), 1, t)) end
  if REAL[t] then error(READONLY, 0) end
  if key == nil then error("table index is nil", 0) end
  return rawsetfield(t, key, value)
end

local function w_getmetatable(...)
  local t = ...
  if t == NULL then return nil end
  if t ~= nil and REAL[t] then return VISIBLE_META[t] end
  if select("#", ...) == 0 then bad_argument(1, 1, "value expected") end
  return rawgetmetatable(t)
end

local function w_setmetatable(...)
  local t, meta = ...
  if type(t) ~= "table" then
    bad_argument(1, 1, "table expected, got " .. typename(select("#", ...), 1, t))
  end
  if select("#", ...) < 2 or (meta ~= nil and type(meta) ~= "table") then
    bad_argument(1, 2, "nil or table expected")
  end
  if REAL[t] then error(READONLY, 0) end
  local current = rawgetmetatable(t)
  if current ~= nil then
    -- A protected metatable shows as its __metatable field, or refuses to be set again.
    if not rawpcall(rawsetmetatable, t, meta) then error("cannot change a protected metatable", 2) end
    return t
  end
  return rawsetmetatable(t, meta)
end

local verify = host.verify
local dump = string.dump

-- Source only: a chunk of bytecode is refused with the parser's own message. Vararg functions are re-made with a stack
-- that holds their fixed parameters twice, which Lua 5.1 forgets to reserve.
local function compile(chunk, chunkname, environment)
  local f, message
  if byte(chunk, 1) == 27 then
    f, message = rawloadstring("\1" .. sub(chunk, 2), chunkname or chunk)
    return nil, (gsub(message or "binary chunk refused", "char%(1%)", "char(27)"))
  end
  f, message = rawloadstring(chunk, chunkname or chunk)
  if not f then return nil, message end
  if find(chunk, "...", 1, true) then
    local safe = verify(dump(f))
    if safe == false then return nil, "function with too many parameters" end
    if safe then f = rawloadstring(safe, chunkname or chunk) end
  end
  return setfenv(f, environment)
end

-- Compiles the body of a script or library; returns the function, or nil and the parser's message.
local function compile_script(source, chunkname, environment)
  if byte(source, 1) == 27 then return nil, chunkname:sub(2) .. ":1: unexpected symbol near 'char(27)'" end
  local f, message = rawloadstring(source, chunkname)
  if not f then return nil, message end
  local patched = verify(dump(f))
  if patched == false then return nil, chunkname:sub(2) .. ": function with too many parameters" end
  return setfenv(patched and rawloadstring(patched, chunkname) or f, environment)
end

-- loadstring and load for scripts whose globals are `environment`.
local function make_loaders(environment)
  local function loadstring(...)
    local chunk, chunkname = ...
    local count = select("#", ...)
    if type(chunk) == "number" then chunk = tostring(chunk) end
    if type(chunk) ~= "string" then
      bad_argument(1, 1, "string expected, got " .. typename(count, 1, chunk))
    end
    if type(chunkname) == "number" then chunkname = tostring(chunkname) end
    if chunkname ~= nil and type(chunkname) ~= "string" then
      bad_argument(1, 2, "string expected, got " .. type(chunkname))
    end
    return compile(chunk, chunkname, environment)
  end

  local function load(...)
    local reader, chunkname = ...
    if type(reader) ~= "function" then
      bad_argument(1, 1, "function expected, got " .. typename(select("#", ...), 1, reader))
    end
    local pieces, n = {}, 0
    while true do
      local ok, piece = rawpcall(reader)
      if not ok then
        piece = strip_internal(caught(piece))
        if piece == KILL then error(KILL, 0) end
        check_overflow(piece)
        return nil, describe(piece, nil)
      end
      if piece == nil or piece == "" then break end
      if type(piece) ~= "string" and type(piece) ~= "number" then
        local where = getinfo(2, "Sl")
        local prefix = where and where.currentline > 0 and (where.short_src .. ":" .. where.currentline .. ": ") or ""
        return nil, { err = "ERR " .. prefix .. "reader function must return a string" }
      end
      n = n + 1
      pieces[n] = piece
    end
    return compile(concat(pieces), chunkname or "=(load)", environment)
  end

  return loadstring, load
end

local GC_OPTIONS = { stop = true, restart = true, collect = true, count = true, step = true, setpause = true, setstepmul = true }

-- The collector belongs to the server: a script may look and collect, not stop it for the scripts after it.
local function w_collectgarbage(...)
  local option, argument = ...
  if option == nil then option = "collect" end
  if type(option) ~= "string" then bad_argument(1, 1, "string expected, got " .. type(option)) end
  if not GC_OPTIONS[option] then bad_argument(1, 1, "invalid option '" .. option .. "'") end
  if option == "count" then return rawcollectgarbage("count") end
  if option == "collect" then return rawcollectgarbage("collect") end
  if option == "step" then return rawcollectgarbage("step", 0) end
  if option == "setpause" or option == "setstepmul" then return 200 end
  return 0
end

---------------------------------------------------------------------------------------------------------------------
-- Coroutines: every thread gets the hook, and creating threads in a loop is itself checked now and then.

local created = 0
local function count_thread()
  created = created + 1
  if created >= 64 then
    created = 0
    check_alive()
  end
end

local function check_body(f)
  if type(f) ~= "function" or getinfo(f, "S").what == "C" then
    bad_argument(2, 1, "Lua function expected")
  end
  count_thread()
end

local function w_create(f)
  check_body(f)
  local co = cocreate(f)
  sethook(co, hook, "", HOOK_INSTRUCTIONS)
  return co
end

local function w_wrap(f)
  check_body(f)
  return cowrap(function(...)
    sethook(hook, "", HOOK_INSTRUCTIONS)
    return f(...)
  end)
end

local function after_resume(ok, err, ...)
  if ok then return true, err, ... end
  err = strip_internal(caught(err))
  if err == KILL then error(KILL, 0) end
  check_overflow(err)
  return false, err
end

local function w_resume(...)
  if type((...)) ~= "thread" then bad_argument(1, 1, "coroutine expected") end
  return after_resume(coresume(...))
end

---------------------------------------------------------------------------------------------------------------------
-- string: the matcher recurses in C once per pattern item, so very long patterns are refused; rep("") must not spin.

local match, gmatch, rep = string.match, string.gmatch, string.rep
local string_lib = {}
for name, f in rawpairs(string) do string_lib[name] = f end

-- Raises for a subject or pattern that is not a string (numbers count as strings).
local function check_strings(count, s, p)
  if type(s) ~= "string" and type(s) ~= "number" then
    bad_argument(2, 1, "string expected, got " .. typename(count, 1, s))
  end
  if type(p) ~= "string" and type(p) ~= "number" then
    bad_argument(2, 2, "string expected, got " .. typename(count, 2, p))
  end
end

string_lib.find = function(...)
  local s, p, _, plain = ...
  if type(s) ~= "string" or type(p) ~= "string" then
    check_strings(select("#", ...), s, p)
  elseif #p > MAX_PATTERN_BYTES and not plain then
    error("pattern too complex", 2)
  end
  return find(...)
end

string_lib.match = function(...)
  local s, p = ...
  if type(s) ~= "string" or type(p) ~= "string" then
    check_strings(select("#", ...), s, p)
  elseif #p > MAX_PATTERN_BYTES then
    error("pattern too complex", 2)
  end
  return match(...)
end

string_lib.gmatch = function(...)
  local s, p = ...
  if type(s) ~= "string" or type(p) ~= "string" then
    check_strings(select("#", ...), s, p)
  elseif #p > MAX_PATTERN_BYTES then
    error("pattern too complex", 2)
  end
  return gmatch(...)
end
string_lib.gfind = string_lib.gmatch

string_lib.gsub = function(...)
  local s, p, replacement = ...
  if type(s) ~= "string" or type(p) ~= "string" then
    check_strings(select("#", ...), s, p)
  elseif #p > MAX_PATTERN_BYTES then
    error("pattern too complex", 2)
  end
  local kind = type(replacement)
  if kind ~= "string" and kind ~= "function" and kind ~= "table" and kind ~= "number" then
    bad_argument(1, 3, "string/function/table expected")
  end
  return gsub(...)
end

string_lib.rep = function(...)
  local s, n = ...
  if type(s) ~= "string" and type(s) ~= "number" then
    bad_argument(1, 1, "string expected, got " .. typename(select("#", ...), 1, s))
  end
  if type(n) ~= "number" and type(n) ~= "string" then
    bad_argument(1, 2, "number expected, got " .. typename(select("#", ...), 2, n))
  end
  if s == "" then return "" end
  return rep(...)
end

---------------------------------------------------------------------------------------------------------------------
-- table: insert writes without metatables, and shifts items one by one from the position it is given.

local MAX_SHIFT = 100000000
local insert = table.insert
local table_lib = {}
for name, f in rawpairs(table) do table_lib[name] = f end

table_lib.insert = function(...)
  local t, position = ...
  if t ~= nil and REAL[t] then error(READONLY, 0) end
  if select("#", ...) == 3 and type(position) == "number" and position < -MAX_SHIFT then
    bad_argument(1, 2, "position out of bounds")
  end
  return insert(...)
end

---------------------------------------------------------------------------------------------------------------------
-- Environment

local G, ENV = {}, {}
-- Function libraries have globals of their own; while one loads, it sees only what may be used then.
local FUNCTION_G, FUNCTION_ENV, LOAD_G = {}, {}, {}
local function_meta = { __index = FUNCTION_G, __newindex = readonly_write }

local function missing_global(_, name)
  if type(name) ~= "string" and type(name) ~= "number" then
    error("Second argument to luaProtectedTableError must be a string or number", 2)
  end
  error("Script attempted to access nonexistent global variable '" .. name .. "'", 2)
end

local MISSING = { __index = missing_global }

-- Makes `env` the read-only view of the globals in `real`.
local function seal(env, real, meta)
  real._G = env
  REAL[env] = real
  VISIBLE_META[env] = protect({ __index = missing_global })
  rawsetmetatable(real, MISSING)
  rawsetmetatable(env, meta)
end

local function build(libraries, redis, function_redis, load_redis)
  local coroutine_lib = {}
  for name, f in rawpairs(coroutine) do coroutine_lib[name] = f end
  coroutine_lib.create, coroutine_lib.resume, coroutine_lib.wrap = w_create, w_resume, w_wrap

  local common = {
    _VERSION = _VERSION,
    assert = assert, error = error, gcinfo = gcinfo, getmetatable = w_getmetatable, ipairs = ipairs,
    rawequal = rawequal, select = select, tonumber = tonumber, tostring = tostring, type = type, unpack = unpack,
    pcall = w_pcall, xpcall = w_xpcall, pairs = w_pairs, next = w_next, rawget = w_rawget, rawset = w_rawset,
    setmetatable = w_setmetatable, collectgarbage = w_collectgarbage,
    string = protect(string_lib), table = protect(table_lib), coroutine = protect(coroutine_lib),
    os = protect({ clock = os.clock }),
  }
  for name, library in rawpairs(libraries) do common[name] = protect(library) end
  for name, value in rawpairs(common) do G[name], FUNCTION_G[name] = value, value end
  G.loadstring, G.load = make_loaders(ENV)
  FUNCTION_G.loadstring, FUNCTION_G.load = make_loaders(FUNCTION_ENV)
  G.redis = protect(redis)
  FUNCTION_G.redis = protect(function_redis)
  LOAD_G.redis = protect(rawsetmetatable(load_redis, MISSING))
  rawsetmetatable(LOAD_G, MISSING)
  G.__redis__err__handler = function(err) return describe(err, getinfo(2, "Sl")) end
  G.KEYS, G.ARGV = {}, {}

  local string_meta = rawgetmetatable("")
  string_meta.__index = string_lib
  string_meta.__metatable = protect({ __index = common.string })
  seal(ENV, G, { __index = G, __newindex = readonly_write })
  seal(FUNCTION_ENV, FUNCTION_G, function_meta)
  -- The C functions and this package keep the original globals as their environment: leave nothing in them.
  for name in rawpairs(base) do rawsetfield(base, name, nil) end
end

-- While a library loads, the globals of functions are only those of LOAD_G.
local function set_loading(loading) function_meta.__index = loading and LOAD_G or FUNCTION_G end

-- What the libraries written in Lua share.
local lib = { protect = protect, NULL = NULL, KILL = KILL, typename = typename, bad_argument = bad_argument, string = string_lib }

return {
  lib = lib,
  build = build,
  rearm = rearm,
  on_error = on_error,
  KILL = KILL,
  is_killed = function() return killed, kill_source, kill_line end,
  globals = G,
  compile_script = function(source, chunkname) return compile_script(source, chunkname, ENV) end,
  compile_library = function(source, chunkname) return compile_script(source, chunkname, FUNCTION_ENV) end,
  set_loading = set_loading,
}
