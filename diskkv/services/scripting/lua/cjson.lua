-- The cjson library: lua-cjson 2.1.0 as Redis ships it (same defaults, limits and error texts).
local _, lib = ...
local NULL, bad_argument = lib.NULL, lib.bad_argument
local error, type, tonumber, tostring, select, next = error, type, tonumber, tostring, select, next
local rawget = rawget
local byte, sub, find, format, gsub, char = string.byte, string.sub, string.find, string.format, string.gsub, string.char
local match, lower, concat, floor, huge = string.match, string.lower, table.concat, math.floor, math.huge

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["/"] = "\\/", ["\b"] = "\\b", ["\t"] = "\\t", ["\n"] = "\\n",
  ["\f"] = "\\f", ["\r"] = "\\r" }
for code = 0, 31 do
  local c = char(code)
  ESCAPES[c] = ESCAPES[c] or format("\\u%04x", code)
end
ESCAPES["\127"] = "\\u007f"
local NEEDS_ESCAPE = '[%z\1-\31"\\/\127]'

local UNESCAPES = { ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

local function new()
  local cjson = { null = NULL, _NAME = "cjson", _VERSION = "2.1.0", new = new }
  local sparse_convert, sparse_ratio, sparse_safe = false, 2, 10
  local encode_depth, decode_depth = 1000, 1000
  local keep_buffer = true
  local encode_invalid, decode_invalid = false, true
  local precision, number_format = 14, "%.14g"
  -- Errors are raised from any depth of nested calls of this chunk; `fail` carries them out to the entry point.
  local failure

  ---------------------------------------------------------------------------------------------------------------
  -- encode

  local encode_value

  -- Returns the length of t if it is an array, or nil; raises for an excessively sparse one.
  local function array_length(t)
    local max, items = 0, 0
    for key in next, t do
      if type(key) ~= "number" or key < 1 or key > 2147483647 or key ~= floor(key) then return nil end
      if key > max then max = key end
      items = items + 1
    end
    if sparse_ratio > 0 and max > items * sparse_ratio and max > sparse_safe then
      if not sparse_convert then
        failure = "Cannot serialise table: excessively sparse array"
        return -1
      end
      return nil
    end
    if max == 0 then return nil end
    return max
  end

  local function encode_string(out, n, s)
    if find(s, NEEDS_ESCAPE) then s = gsub(s, NEEDS_ESCAPE, ESCAPES) end
    n = n + 1
    out[n] = '"' .. s .. '"'
    return n
  end

  local function number_text(value)
    if value ~= value or value == huge or value == -huge then
      if encode_invalid == "null" then return "null" end
      if not encode_invalid then
        failure = "Cannot serialise number: must not be NaN or Inf"
        return nil
      end
      if value ~= value then return "nan" end
      return value > 0 and "inf" or "-inf"
    end
    return format(number_format, value)
  end

  local function encode_table(out, n, t, depth)
    if depth > encode_depth then
      failure = "Cannot serialise, excessive nesting (" .. depth .. ")"
      return nil
    end
    local length = array_length(t)
    if length then
      if length < 0 then return nil end
      n = n + 1
      out[n] = "["
      for i = 1, length do
        if i > 1 then
          n = n + 1
          out[n] = ","
        end
        n = encode_value(out, n, rawget(t, i), depth)
        if not n then return nil end
      end
      n = n + 1
      out[n] = "]"
      return n
    end
    n = n + 1
    out[n] = "{"
    local first = true
    for key, value in next, t do
      if first then
        first = false
      else
        n = n + 1
        out[n] = ","
      end
      local kind = type(key)
      if kind == "string" then
        n = encode_string(out, n, key)
      elseif kind == "number" then
        local text = number_text(key)
        if not text then return nil end
        n = n + 1
        out[n] = '"' .. text .. '"'
      else
        failure = "Cannot serialise " .. kind .. ": table key must be a number or string"
        return nil
      end
      n = n + 1
      out[n] = ":"
      n = encode_value(out, n, value, depth)
      if not n then return nil end
    end
    n = n + 1
    out[n] = "}"
    return n
  end

  encode_value = function(out, n, value, depth)
    local kind = type(value)
    if kind == "string" then return encode_string(out, n, value) end
    if kind == "table" then return encode_table(out, n, value, depth + 1) end
    n = n + 1
    if kind == "number" then
      local text = number_text(value)
      if not text then return nil end
      out[n] = text
    elseif kind == "boolean" then
      out[n] = value and "true" or "false"
    elseif value == nil or value == NULL then
      out[n] = "null"
    else
      failure = "Cannot serialise " .. kind .. ": type not supported"
      return nil
    end
    return n
  end

  function cjson.encode(...)
    if select("#", ...) ~= 1 then bad_argument(1, 1, "expected 1 argument") end
    local out = {}
    local n = encode_value(out, 0, (...), 0)
    if not n then error(failure, 2) end
    return concat(out, "", 1, n)
  end

  ---------------------------------------------------------------------------------------------------------------
  -- decode: values are returned with the position after them; a nil position means that `failure` is set.

  local decode_value

  local TOKENS = { ["{"] = "T_OBJ_BEGIN", ["}"] = "T_OBJ_END", ["["] = "T_ARR_BEGIN", ["]"] = "T_ARR_END",
    [":"] = "T_COLON", [","] = "T_COMMA", ['"'] = "T_STRING" }

  local function utf8(code)
    if code < 0x80 then return char(code) end
    if code < 0x800 then return char(0xC0 + floor(code / 64), 0x80 + code % 64) end
    if code < 0x10000 then
      return char(0xE0 + floor(code / 4096), 0x80 + floor(code / 64) % 64, 0x80 + code % 64)
    end
    return char(0xF0 + floor(code / 262144), 0x80 + floor(code / 4096) % 64, 0x80 + floor(code / 64) % 64,
      0x80 + code % 64)
  end

  -- Returns the text and the position after a \u escape at `at`, or nil.
  local function unicode_escape(text, at)
    local digits = match(text, "^%x%x%x%x", at + 2)
    if not digits then return nil end
    local code = tonumber(digits, 16)
    at = at + 6
    if code >= 0xD800 and code < 0xE000 then
      if code >= 0xDC00 then return nil end
      digits = match(text, "^\\u(%x%x%x%x)", at)
      if not digits then return nil end
      local second = tonumber(digits, 16)
      if second < 0xDC00 or second >= 0xE000 then return nil end
      code = 0x10000 + (code - 0xD800) * 1024 + (second - 0xDC00)
      at = at + 6
    end
    return utf8(code), at
  end

  -- Returns the string that starts after the quote at `at - 1` and the position after it; or nil, what was wrong, where.
  local function decode_string(text, at)
    local stop = find(text, '[%z"\\]', at)
    if stop and byte(text, stop) == 34 then return sub(text, at, stop - 1), stop + 1 end
    local out, n = {}, 0
    while true do
      if not stop then return nil, "unexpected end of string", #text + 1 end
      n = n + 1
      out[n] = sub(text, at, stop - 1)
      local c = byte(text, stop)
      if c == 34 then return concat(out), stop + 1 end
      if c == 0 then return nil, "unexpected end of string", stop end
      local escaped = sub(text, stop + 1, stop + 1)
      local plain = UNESCAPES[escaped]
      n = n + 1
      if plain then
        out[n] = plain
        at = stop + 2
      elseif escaped == "u" then
        local piece, after = unicode_escape(text, stop)
        if not piece then return nil, "invalid unicode escape code", stop end
        out[n] = piece
        at = after
      else
        return nil, "invalid escape code", stop
      end
      stop = find(text, '[%z"\\]', at)
    end
  end

  -- Whether the number at `at` is one that JSON has no syntax for but strtod would take.
  local function is_invalid_number(text, at)
    local c = sub(text, at, at)
    if c == "+" then return true end
    if c == "-" then
      at = at + 1
      c = sub(text, at, at)
    end
    if c == "0" then return find(text, "^[xX%d]", at + 1) ~= nil end
    if find(c, "^%d") then return false end
    local word = lower(sub(text, at, at + 2))
    return word == "inf" or word == "nan"
  end

  -- What strtod makes of the text at `at`: the value and the position after it, or nil.
  local function scan_number(text, at)
    local _, stop, sign, body = find(text, "^([+-]?)(0[xX]%x+)", at)
    if stop then
      local value = tonumber(body)
      return sign == "-" and -value or value, stop + 1
    end
    _, stop = find(text, "^[+-]?%d+%.?%d*", at)
    if not stop then _, stop = find(text, "^[+-]?%.%d+", at) end
    if stop then
      local _, exponent_stop = find(text, "^[eE][+-]?%d+", stop + 1)
      stop = exponent_stop or stop
      return tonumber(sub(text, at, stop)), stop + 1
    end
    _, stop, sign, body = find(text, "^([+-]?)(%a+)", at)
    if not stop then return nil end
    body = lower(body)
    local value, length
    if sub(body, 1, 8) == "infinity" then
      value, length = huge, 8
    elseif sub(body, 1, 3) == "inf" then
      value, length = huge, 3
    elseif sub(body, 1, 3) == "nan" then
      value, length = -(0 / 0), 3
    else
      return nil
    end
    return sign == "-" and -value or value, at + #sign + length
  end

  -- The name Redis gives the token at `at`, for error texts, and where it reports it.
  local function token_name(text, at)
    local c = sub(text, at, at)
    if c == "" or c == "\0" then return "T_END", at end
    if c == '"' then
      local value, problem, where = decode_string(text, at + 1)
      if value == nil then return problem, where end
      return "T_STRING", at
    end
    if TOKENS[c] then return TOKENS[c], at end
    if find(c, "^[%d-]") or (decode_invalid and is_invalid_number(text, at)) then
      if not decode_invalid and is_invalid_number(text, at) then return "invalid number", at end
      if not scan_number(text, at) then return "invalid number", at end
      return "T_NUMBER", at
    end
    if sub(text, at, at + 3) == "true" or sub(text, at, at + 4) == "false" then return "T_BOOLEAN", at end
    if sub(text, at, at + 3) == "null" then return "T_NULL", at end
    return "invalid token", at
  end

  local function unexpected(expected, text, at)
    local found, where = token_name(text, at)
    failure = "Expected " .. expected .. " but found " .. found .. " at character " .. where
    return nil, nil
  end

  -- The position of the first byte at or after `at` that is no white space, and that byte (nil at the end).
  local function skip(text, at)
    local c = byte(text, at)
    if c == 32 or c == 10 or c == 13 or c == 9 then
      at = find(text, "[^ \t\r\n]", at) or #text + 1
      return at, byte(text, at)
    end
    return at, c
  end

  local function too_deep(depth, at)
    failure = "Found too many nested data structures (" .. depth .. ") at character " .. at
    return nil, nil
  end

  local function decode_array(text, at, depth)
    if depth > decode_depth then return too_deep(depth, at - 1) end
    local t, i = {}, 1
    local c
    at, c = skip(text, at)
    if c == 93 then return t, at + 1 end
    while true do
      t[i], at = decode_value(text, at, c, depth)
      if not at then return nil, nil end
      i = i + 1
      at, c = skip(text, at)
      if c == 93 then return t, at + 1 end
      if c ~= 44 then return unexpected("comma or array end", text, at) end
      at, c = skip(text, at + 1)
    end
  end

  local function decode_object(text, at, depth)
    if depth > decode_depth then return too_deep(depth, at - 1) end
    local t = {}
    local c
    at, c = skip(text, at)
    if c == 125 then return t, at + 1 end
    while true do
      if c ~= 34 then return unexpected("object key string", text, at) end
      local key, after = decode_string(text, at + 1)
      if key == nil then return unexpected("object key string", text, at) end
      at, c = skip(text, after)
      if c ~= 58 then return unexpected("colon", text, at) end
      at, c = skip(text, at + 1)
      local value
      value, at = decode_value(text, at, c, depth)
      if not at then return nil, nil end
      t[key] = value
      at, c = skip(text, at)
      if c == 125 then return t, at + 1 end
      if c ~= 44 then return unexpected("comma or object end", text, at) end
      at, c = skip(text, at + 1)
    end
  end

  -- The value at `at`, whose first byte is `c`.
  decode_value = function(text, at, c, depth)
    if c == 34 then
      local value, after = decode_string(text, at + 1)
      if value == nil then return unexpected("value", text, at) end
      return value, after
    end
    if c == 123 then return decode_object(text, at + 1, depth + 1) end
    if c == 91 then return decode_array(text, at + 1, depth + 1) end
    if c and c >= 49 and c <= 57 then
      -- Decimal integers, which most documents are full of; anything else takes the long way.
      local d = byte(text, at + 1)
      if d == 44 or d == 93 or d == 125 then return c - 48, at + 1 end
      local _, stop = find(text, "^%d+", at)
      d = byte(text, stop + 1)
      if d == 44 or d == 93 or d == 125 then return tonumber(sub(text, at, stop)), stop + 1 end
    end
    if c == 116 and sub(text, at, at + 3) == "true" then return true, at + 4 end
    if c == 102 and sub(text, at, at + 4) == "false" then return false, at + 5 end
    if c == 110 and sub(text, at, at + 3) == "null" then return NULL, at + 4 end
    if token_name(text, at) ~= "T_NUMBER" then return unexpected("value", text, at) end
    return scan_number(text, at)
  end

  function cjson.decode(...)
    if select("#", ...) ~= 1 then bad_argument(1, 1, "expected 1 argument") end
    local text = ...
    if type(text) == "number" then text = tostring(text) end
    if type(text) ~= "string" then bad_argument(1, 1, "string expected, got " .. type(text)) end
    if #text >= 2 and (byte(text, 1) == 0 or byte(text, 2) == 0) then
      error("JSON parser does not support UTF-16 or UTF-32", 2)
    end
    local at, c = skip(text, 1)
    local value
    value, at = decode_value(text, at, c, 0)
    if at then
      at, c = skip(text, at)
      if c == nil or c == 0 then return value end
      unexpected("the end", text, at)
    end
    error(failure, 2)
  end

  ---------------------------------------------------------------------------------------------------------------
  -- configuration

  local function check_count(count, max)
    if count > max then bad_argument(2, max + 1, "found too many arguments") end
  end

  local function integer_option(value, current, min, max)
    if value == nil then return current end
    local number = (type(value) == "number" or type(value) == "string") and tonumber(value) or nil
    if not number then bad_argument(2, 1, "number expected, got " .. type(value)) end
    number = number < 0 and -floor(-number) or floor(number)
    if number < min or number > max then
      bad_argument(2, 1, "expected integer between " .. min .. " and " .. max)
    end
    return number
  end

  local function switch_option(value, current, extra)
    if value == nil then return current end
    if value == true or value == false then return value end
    if value == "on" then return true end
    if value == "off" then return false end
    if extra and value == extra then return extra end
    if type(value) ~= "string" and type(value) ~= "number" then
      bad_argument(2, 1, "string expected, got " .. type(value))
    end
    bad_argument(2, 1, "invalid option '" .. value .. "'")
  end

  function cjson.encode_sparse_array(...)
    local convert, ratio, safe = ...
    check_count(select("#", ...), 3)
    sparse_convert = switch_option(convert, sparse_convert, nil)
    sparse_ratio = integer_option(ratio, sparse_ratio, 0, 2147483647)
    sparse_safe = integer_option(safe, sparse_safe, 0, 2147483647)
    return sparse_convert, sparse_ratio, sparse_safe
  end

  function cjson.encode_max_depth(...)
    check_count(select("#", ...), 1)
    encode_depth = integer_option((...), encode_depth, 1, 2147483647)
    return encode_depth
  end

  function cjson.decode_max_depth(...)
    check_count(select("#", ...), 1)
    decode_depth = integer_option((...), decode_depth, 1, 2147483647)
    return decode_depth
  end

  function cjson.encode_number_precision(...)
    check_count(select("#", ...), 1)
    precision = integer_option((...), precision, 1, 14)
    number_format = "%." .. precision .. "g"
    return precision
  end

  function cjson.encode_keep_buffer(...)
    check_count(select("#", ...), 1)
    keep_buffer = switch_option((...), keep_buffer, nil)
    return keep_buffer
  end

  function cjson.encode_invalid_numbers(...)
    check_count(select("#", ...), 1)
    encode_invalid = switch_option((...), encode_invalid, "null")
    return encode_invalid
  end

  function cjson.decode_invalid_numbers(...)
    check_count(select("#", ...), 1)
    decode_invalid = switch_option((...), decode_invalid, nil)
    return decode_invalid
  end

  return cjson
end

return new()
