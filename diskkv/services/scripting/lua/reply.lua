-- Conversions between RESP and Lua values, and the runs of scripts and functions.
--
-- redis.call itself is a Python callback (a C function, so that error positions and tail calls look as in Redis); it
-- converts plain replies in Python and comes here for the ones that need a table.
local host, sandbox = ...
local on_error, KILL = sandbox.on_error, sandbox.KILL
local is_killed, rearm = sandbox.is_killed, sandbox.rearm
local type, tostring, tonumber, select, rawget, next = type, tostring, tonumber, select, rawget, next
local rawxpcall, collectgarbage = xpcall, collectgarbage
local byte, sub, find, format, gsub = string.byte, string.sub, string.find, string.format, string.gsub
local concat = table.concat
local format_double = host.format_double
local MAX_DEPTH = host.max_reply_depth

local script_resp = 2

---------------------------------------------------------------------------------------------------------------------
-- RESP -> Lua

local parse

local function parse_items(reply, at, count)
  local t = {}
  for i = 1, count do
    -- Short strings and small numbers, most of what arrays hold, without a search for the line's end.
    local kind, first, second, third = byte(reply, at, at + 3)
    if kind == 36 and second == 13 and first ~= 45 then
      local after = at + 4 + first - 48
      t[i] = sub(reply, at + 4, after - 1)
      at = after + 2
    elseif kind == 36 and third == 13 and first ~= 45 then
      local after = at + 5 + (first - 48) * 10 + second - 48
      t[i] = sub(reply, at + 5, after - 1)
      at = after + 2
    else
      t[i], at = parse(reply, at)
    end
  end
  return t, at
end

local parsers = {
  [36] = function(reply, at, line, after) -- $
    local length = tonumber(line)
    if length < 0 then return false, after end
    return sub(reply, after, after + length - 1), after + length + 2
  end,
  [58] = function(reply, at, line, after) return tonumber(line), after end, -- :
  [43] = function(reply, at, line, after) return { ok = line }, after end, -- +
  [45] = function(reply, at, line, after) return { err = line }, after end, -- -
  [42] = function(reply, at, line, after) -- *
    local count = tonumber(line)
    if count < 0 then return false, after end
    return parse_items(reply, after, count)
  end,
  [95] = function(reply, at, line, after) return nil, after end, -- _
  [35] = function(reply, at, line, after) return line == "t", after end, -- #
  [44] = function(reply, at, line, after) return { double = tonumber(line) }, after end, -- ,
  [40] = function(reply, at, line, after) return { big_number = line }, after end, -- (
  [61] = function(reply, at, line, after) -- =
    local length = tonumber(line)
    local value = { format = sub(reply, after, after + 2), string = sub(reply, after + 4, after + length - 1) }
    return { verbatim_string = value }, after + length + 2
  end,
  [37] = function(reply, at, line, after) -- %
    local map = {}
    for _ = 1, tonumber(line) do
      local key, value
      key, after = parse(reply, after)
      value, after = parse(reply, after)
      if key ~= nil and key == key then map[key] = value end
    end
    return { map = map }, after
  end,
  [126] = function(reply, at, line, after) -- ~
    local set = {}
    for _ = 1, tonumber(line) do
      local member
      member, after = parse(reply, after)
      if member ~= nil and member == member then set[member] = true end
    end
    return { set = set }, after
  end,
}
parsers[62] = parsers[42]

parse = function(reply, at)
  local stop = find(reply, "\r\n", at, true)
  return parsers[byte(reply, at)](reply, at, sub(reply, at + 1, stop - 1), stop + 2)
end

---------------------------------------------------------------------------------------------------------------------
-- Lua -> RESP

local function one_line(text) return (gsub(text, "[\r\n]", " ")) end

local function error_line(message)
  return "-" .. one_line((gsub(message, "[\r\n]+$", ""))) .. "\r\n"
end

local function double_text(value)
  if value == 0 then return 1 / value < 0 and "-0" or "0" end
  if value ~= value then return "nan" end
  return format_double(value)
end

local emit

local function emit_pairs(out, n, t, resp, depth, marker, with_values)
  local head = n + 1
  n = head
  local count = 0
  for key, value in next, t do
    n = emit(out, n, key, resp, depth + 3)
    if with_values then n = emit(out, n, value, resp, depth + 3) end
    count = count + 1
  end
  if resp < 3 then
    out[head] = "*" .. (with_values and count * 2 or count) .. "\r\n"
  else
    out[head] = marker .. count .. "\r\n"
  end
  return n
end

local function emit_bulk(out, n, text)
  out[n + 1] = "$" .. #text .. "\r\n"
  out[n + 2] = text
  out[n + 3] = "\r\n"
  return n + 3
end

local function emit_table(out, n, t, resp, depth)
  local field = rawget(t, "err")
  if type(field) == "string" then
    out[n + 1] = error_line(field)
    return n + 1
  end
  field = rawget(t, "ok")
  if type(field) == "string" then
    out[n + 1] = "+" .. one_line(field) .. "\r\n"
    return n + 1
  end
  field = rawget(t, "double")
  if type(field) == "number" then
    local text = double_text(field)
    if resp < 3 then return emit_bulk(out, n, text) end
    out[n + 1] = "," .. text .. "\r\n"
    return n + 1
  end
  field = rawget(t, "map")
  if type(field) == "table" then return emit_pairs(out, n, field, resp, depth, "%", true) end
  field = rawget(t, "set")
  if type(field) == "table" then return emit_pairs(out, n, field, resp, depth, "~", false) end
  field = rawget(t, "big_number")
  if type(field) == "string" then
    local text = one_line(field)
    if resp < 3 then return emit_bulk(out, n, text) end
    out[n + 1] = "(" .. text .. "\r\n"
    return n + 1
  end
  field = rawget(t, "verbatim_string")
  if type(field) == "table" then
    local kind, text = rawget(field, "format"), rawget(field, "string")
    if type(kind) == "string" and type(text) == "string" then
      if resp < 3 then return emit_bulk(out, n, text) end
      out[n + 1] = "=" .. (#text + 4) .. "\r\n" .. sub(kind .. "   ", 1, 3) .. ":" .. text .. "\r\n"
      return n + 1
    end
  end
  local head = n + 1
  n = head
  local i = 1
  while true do
    local item = rawget(t, i)
    if item == nil then break end
    local kind = type(item)
    if kind == "string" then
      out[n + 1] = "$" .. #item .. "\r\n"
      out[n + 2] = item
      out[n + 3] = "\r\n"
      n = n + 3
    elseif kind == "number" then
      n = n + 1
      out[n] = format(":%d\r\n", item)
    else
      n = emit(out, n, item, resp, depth + 1)
    end
    i = i + 1
  end
  out[head] = "*" .. (i - 1) .. "\r\n"
  return n
end

emit = function(out, n, value, resp, depth)
  local kind = type(value)
  if depth > MAX_DEPTH then
    out[n + 1] = "-ERR reached lua stack limit\r\n"
    return n + 1
  end
  if kind == "table" then
    return emit_table(out, n, value, resp, depth)
  end
  if kind == "string" then return emit_bulk(out, n, value) end
  n = n + 1
  if kind == "number" then
    out[n] = format(":%d\r\n", value)
  elseif kind == "boolean" then
    if script_resp < 3 then
      out[n] = value and ":1\r\n" or (resp < 3 and "$-1\r\n" or "_\r\n")
    elseif resp < 3 then
      out[n] = value and ":1\r\n" or ":0\r\n"
    else
      out[n] = value and "#t\r\n" or "#f\r\n"
    end
  else
    out[n] = resp < 3 and "$-1\r\n" or "_\r\n"
  end
  return n
end

local function encode(value, resp)
  local kind = type(value)
  if kind == "string" then return "$" .. #value .. "\r\n" .. value .. "\r\n" end
  if kind == "number" then return format(":%d\r\n", value) end
  if kind == "nil" then return resp < 3 and "$-1\r\n" or "_\r\n" end
  local out = {}
  local n = emit(out, 0, value, resp, 1)
  return n == 1 and out[1] or concat(out)
end

local function with_origin(message, name, source, line)
  local text = message .. " script: " .. name
  if source then text = text .. ", on " .. source .. ":" .. line .. "." end
  return error_line(text)
end

local function uncaught(err, name)
  if type(err) ~= "table" then return with_origin("ERR " .. tostring(err), name) end
  local message = rawget(err, "err")
  if type(message) ~= "string" and type(message) ~= "number" then message = "ERR unknown error" end
  return with_origin(message, name, rawget(err, "source"), rawget(err, "line"))
end

---------------------------------------------------------------------------------------------------------------------
-- Runs. Each returns the encoded reply; a killed run's is the reason it was killed for.

local function finish(ok, value, resp, name)
  -- Lua 5.1 does not collect before it gives up on an allocation: without this there is no room to say so.
  if not ok and value == "not enough memory" then collectgarbage() end
  local killed, source, line = is_killed()
  if killed or value == KILL then
    rearm()
    return with_origin(host.abort_reason(), name, source, line)
  end
  if ok then return encode(value, resp) end
  return uncaught(value, name)
end

local G

local function run_script(f, name, resp, nkeys, ...)
  if nkeys == 0 then
    G.KEYS = {}
    G.ARGV = { ... }
  elseif nkeys == 1 then
    local first = ...
    G.KEYS = { first }
    G.ARGV = { select(2, ...) }
  else
    local keys, argv = {}, {}
    local all = { ... }
    local total = select("#", ...)
    for i = 1, nkeys do keys[i] = all[i] end
    for i = nkeys + 1, total do argv[i - nkeys] = all[i] end
    G.KEYS, G.ARGV = keys, argv
  end
  script_resp = 2
  local ok, value = rawxpcall(f, on_error)
  return finish(ok, value, resp, name)
end

-- For argument lists longer than a Lua stack holds: append() as often as needed, then run with the tables it filled.
local pending_keys, pending_argv = {}, {}

local function append(to_keys, ...)
  local t = to_keys and pending_keys or pending_argv
  local n = #t
  for i = 1, select("#", ...) do t[n + i] = (select(i, ...)) end
end

local function take_pending()
  local keys, argv = pending_keys, pending_argv
  pending_keys, pending_argv = {}, {}
  return keys, argv
end

local function run_script_pending(f, name, resp)
  G.KEYS, G.ARGV = take_pending()
  script_resp = 2
  local ok, value = rawxpcall(f, on_error)
  return finish(ok, value, resp, name)
end

local function call_function(f, name, resp, keys, argv)
  script_resp = 2
  local ok, value = rawxpcall(function() return f(keys, argv) end, on_error)
  return finish(ok, value, resp, name)
end

local function run_function(f, name, resp, nkeys, ...)
  local keys, argv = {}, {}
  local all = { ... }
  for i = 1, nkeys do keys[i] = all[i] end
  for i = nkeys + 1, select("#", ...) do argv[i - nkeys] = all[i] end
  return call_function(f, name, resp, keys, argv)
end

local function run_function_pending(f, name, resp)
  return call_function(f, name, resp, take_pending())
end

return {
  parse = function(reply) return (parse(reply, 1)) end,
  status = function(text) return { ok = text } end,
  failure = function(message) return { err = message, ignore_error_stats_update = true } end,
  run_script = run_script,
  append = append,
  drop_pending = function() take_pending() end,
  run_script_pending = run_script_pending,
  run_function = run_function,
  run_function_pending = run_function_pending,
  set_script_resp = function(resp) script_resp = resp end,
  attach = function(globals) G = globals end,
}
