-- The `redis` table, apart from call and pcall, which are Python callbacks.
local host, sandbox, set_script_resp = ...
local error, type, tostring, select, tonumber = error, type, tostring, select, tonumber
local sub, find, concat = string.sub, string.find, table.concat
local floor = math.floor
local pairs, next, rawget, xpcall = pairs, next, rawget, xpcall

local function raise(message) error({ err = message }, 0) end

local redis = {
  call = host.call, pcall = host.pcall,
  LOG_DEBUG = 0, LOG_VERBOSE = 1, LOG_NOTICE = 2, LOG_WARNING = 3,
  REPL_NONE = 0, REPL_AOF = 1, REPL_SLAVE = 2, REPL_REPLICA = 2, REPL_ALL = 3,
  REDIS_VERSION = host.version, REDIS_VERSION_NUM = host.version_number,
}

-- A C-style integer of any Lua value: what lua_tonumber and a cast make of it.
local function integer(value)
  local number = (type(value) == "number" or type(value) == "string") and tonumber(value) or 0
  return number < 0 and -floor(-number) or floor(number)
end

function redis.log(...)
  local count = select("#", ...)
  local level = ...
  if count < 2 then raise("ERR redis.log() requires two arguments or more.") end
  if not (type(level) == "number" or (type(level) == "string" and tonumber(level))) then
    raise("ERR First argument must be a number (log level).")
  end
  level = integer(level)
  if level < 0 or level > 3 then raise("ERR Invalid log level.") end
  local words, n = {}, 0
  for i = 2, count do
    local word = select(i, ...)
    if type(word) == "string" or type(word) == "number" then
      n = n + 1
      words[n] = word
    end
  end
  host.log(level, concat(words, " "))
end

function redis.sha1hex(...)
  if select("#", ...) ~= 1 then raise("ERR wrong number of arguments") end
  local text = ...
  if type(text) == "number" then text = tostring(text) end
  return host.sha1hex(type(text) == "string" and text or "")
end

function redis.error_reply(...)
  local message = ...
  if select("#", ...) ~= 1 or type(message) ~= "string" then
    return { err = "ERR wrong number or type of arguments", ignore_error_stats_update = true }
  end
  if sub(message, 1, 1) == "-" then message = sub(message, 2) end
  if not find(message, " ", 1, true) then message = "ERR " .. message end
  return { err = message, ignore_error_stats_update = true }
end

function redis.status_reply(...)
  local message = ...
  if select("#", ...) ~= 1 or type(message) ~= "string" then
    return { err = "ERR wrong number or type of arguments", ignore_error_stats_update = true }
  end
  return { ok = message }
end

function redis.setresp(...)
  if select("#", ...) ~= 1 then raise("ERR redis.setresp() requires one argument.") end
  local resp = integer((...))
  if resp ~= 2 and resp ~= 3 then raise("ERR RESP version must be 2 or 3.") end
  host.setresp(resp)
  set_script_resp(resp)
end

function redis.set_repl(...)
  if select("#", ...) ~= 1 then raise("ERR redis.set_repl() requires one argument.") end
  local flags = integer((...))
  if flags < 0 or flags > 3 then
    raise("ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.")
  end
end

function redis.replicate_commands() return true end
function redis.breakpoint() return false end
function redis.debug() end

function redis.acl_check_cmd(...)
  local count = select("#", ...)
  if count == 0 then raise("ERR Please specify at least one argument for this redis lib call") end
  for i = 1, count do
    local kind = type((select(i, ...)))
    if kind ~= "string" and kind ~= "number" then
      raise("ERR Lua redis lib command arguments must be strings or integers")
    end
  end
  local allowed = host.acl_check(...)
  if allowed == nil then raise("ERR Invalid command passed to redis.acl_check_cmd()") end
  return allowed
end

---------------------------------------------------------------------------------------------------------------------
-- Function libraries: functions have no debugger and no replication switch; while a library loads it can only log and
-- register functions.

local function_redis, load_redis = {}, {}
for name, value in pairs(redis) do
  if name ~= "breakpoint" and name ~= "debug" and name ~= "replicate_commands" then function_redis[name] = value end
  if find(name, "^LOG_") or find(name, "^REDIS_") then load_redis[name] = value end
end
load_redis.log = redis.log

-- Takes registrations while a library loads: register(name, callback, description or nil, flags as "a,b").
local registered

local ARGUMENTS = { function_name = true, callback = true, description = true, flags = true }

local function text_of(value)
  if type(value) == "string" then return value end
  if type(value) == "number" then return tostring(value) end
  return nil
end

local function read_flags(flags)
  if type(flags) ~= "table" then
    raise("ERR flags argument to redis.register_function must be a table representing function flags")
  end
  local names = {}
  for i = 1, #flags do
    local name = flags[i]
    if type(name) ~= "string" or not host.is_flag(name) then raise("ERR unknown flag given") end
    names[i] = name
  end
  return concat(names, ",")
end

local function read_named(arguments)
  local name, callback, description, flags
  for key, value in next, arguments do
    if not ARGUMENTS[key] then raise("ERR unknown argument given to redis.register_function") end
    if key == "function_name" then
      name = text_of(value)
      if not name then
        raise("ERR function_name argument given to redis.register_function must be a string")
      end
    elseif key == "description" then
      description = text_of(value)
      if not description then
        raise("ERR description argument given to redis.register_function must be a string")
      end
    elseif key == "callback" then
      if type(value) ~= "function" then
        raise("ERR callback argument given to redis.register_function must be a function")
      end
      callback = value
    else
      flags = read_flags(value)
    end
  end
  if not name then raise("ERR redis.register_function must get a function name argument") end
  if not callback then raise("ERR redis.register_function must get a callback argument") end
  return name, callback, description, flags or ""
end

function load_redis.register_function(...)
  if not registered then raise("ERR redis.register_function can only be called on FUNCTION LOAD command") end
  local count = select("#", ...)
  if count < 1 or count > 2 then raise("ERR wrong number of arguments to redis.register_function") end
  local first, callback = ...
  local name, description, flags = nil, nil, ""
  if count == 1 then
    if type(first) ~= "table" then
      raise("ERR calling redis.register_function with a single argument is only applicable to Lua table "
        .. "(representing named arguments).")
    end
    name, callback, description, flags = read_named(first)
  else
    name = text_of(first)
    if not name then raise("ERR first argument to redis.register_function must be a string") end
    if type(callback) ~= "function" then
      raise("ERR second argument to redis.register_function must be a function")
    end
  end
  local problem = host.register(name, description, flags)
  if problem then raise(problem) end
  registered[name] = callback
end

-- Runs a compiled library; returns the callbacks by name, or nil and the error's text.
local function load_library(f)
  registered = {}
  sandbox.set_loading(true)
  local ok, err = xpcall(f, sandbox.on_error)
  local callbacks = registered
  registered = nil
  sandbox.set_loading(false)
  if ok and not sandbox.is_killed() then return callbacks end
  if sandbox.is_killed() or err == sandbox.KILL then
    sandbox.rearm()
    return nil, host.abort_reason()
  end
  local message = type(err) == "table" and rawget(err, "err") or nil
  return nil, text_of(message) or "ERR unknown error"
end

return redis, function_redis, load_redis, load_library
