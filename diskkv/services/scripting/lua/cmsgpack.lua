-- The cmsgpack library: MessagePack with the choices of lua-cmsgpack 0.4.0 (smallest integer and float forms, arrays by
-- exact key count, nesting cut at 16 levels).
local host, lib = ...
local bad_argument, typename = lib.bad_argument, lib.typename
local error, type, select, next, rawget, tonumber, tostring = error, type, select, next, rawget, tonumber, tostring
local byte, char, sub, concat, floor, unpack = string.byte, string.char, string.sub, table.concat, math.floor, unpack
local pcall, huge = pcall, math.huge
local pack_double, pack_float, unpack_double, unpack_float =
  host.pack_double, host.pack_float, host.unpack_double, host.unpack_float
local fits_float = host.fits_float

local MAX_NESTING = 16
local TWO32, TWO63 = 4294967296, 9223372036854775808

local function u16(n) return char(floor(n / 256), n % 256) end

local function u32(n)
  local d = n % 256
  n = (n - d) / 256
  local c = n % 256
  n = (n - c) / 256
  local b = n % 256
  return char((n - b) / 256, b, c, d)
end

local function encode_number(n)
  if n ~= floor(n) or n == huge or n == -huge or n >= TWO63 or n < -TWO63 then
    if fits_float(n) then return "\202" .. pack_float(n) end
    return "\203" .. pack_double(n)
  end
  if n >= 0 then
    if n <= 127 then return char(n) end
    if n <= 255 then return char(204, n) end
    if n <= 65535 then return "\205" .. u16(n) end
    if n < TWO32 then return "\206" .. u32(n) end
    return "\207" .. u32(floor(n / TWO32)) .. u32(n % TWO32)
  end
  if n >= -32 then return char(256 + n) end
  if n >= -128 then return char(208, 256 + n) end
  if n >= -32768 then return "\209" .. u16(65536 + n) end
  if n >= -2147483648 then return "\210" .. u32(TWO32 + n) end
  return "\211" .. u32(floor(n / TWO32) % TWO32) .. u32(n % TWO32)
end

local function header(length, fix, fix_max, tag16, tag32)
  if length <= fix_max then return char(fix + length) end
  if length <= 65535 then return char(tag16) .. u16(length) end
  return char(tag32) .. u32(length)
end

local encode

-- Returns the number of items if the keys of t are exactly 1..n, or nil and the number of keys.
local function array_length(t)
  local max, count = 0, 0
  local is_array = true
  for key in next, t do
    count = count + 1
    if is_array then
      if type(key) ~= "number" or key <= 0 or key ~= floor(key) then
        is_array = false
      elseif key > max then
        max = key
      end
    end
  end
  if is_array and max == count then return count end
  return nil, count
end

encode = function(out, n, value, level)
  local kind = type(value)
  n = n + 1
  if kind == "string" then
    local length = #value
    if length >= 32 and length <= 255 then
      out[n] = char(217, length) .. value
    else
      out[n] = header(length, 160, 31, 218, 219) .. value
    end
  elseif kind == "number" then
    out[n] = encode_number(value)
  elseif kind == "boolean" then
    out[n] = value and "\195" or "\194"
  elseif kind == "table" and level < MAX_NESTING then
    local length, count = array_length(value)
    if length then
      out[n] = header(length, 144, 15, 220, 221)
      for i = 1, length do n = encode(out, n, rawget(value, i), level + 1) end
    else
      out[n] = header(count, 128, 15, 222, 223)
      for key, item in next, value do
        n = encode(out, n, key, level + 1)
        n = encode(out, n, item, level + 1)
      end
    end
  else
    out[n] = "\192"
  end
  return n
end

local cmsgpack = {
  _NAME = "cmsgpack", _VERSION = "lua-cmsgpack 0.4.0",
  _COPYRIGHT = "Copyright (C) 2012, Salvatore Sanfilippo",
  _DESCRIPTION = "MessagePack C implementation for Lua",
}

function cmsgpack.pack(...)
  local count = select("#", ...)
  if count == 0 then bad_argument(1, 0, "MessagePack pack needs input.") end
  local out, n = {}, 0
  for i = 1, count do n = encode(out, n, (select(i, ...)), 0) end
  return concat(out, "", 1, n)
end

---------------------------------------------------------------------------------------------------------------------
-- Decoding: values with the position after them; failures are raised as one of these tables.

local MISSING, BAD, NIL_INDEX = {}, {}, {}
local TEXTS = { [MISSING] = "Missing bytes in input.", [BAD] = "Bad data format in input." }

local function need(text, at, count)
  if at + count - 1 > #text then error(MISSING, 0) end
end

local function number16(text, at)
  local a, b = byte(text, at, at + 1)
  return a * 256 + b
end

local function number32(text, at)
  local a, b, c, d = byte(text, at, at + 3)
  return ((a * 256 + b) * 256 + c) * 256 + d
end

local decode

local function decode_text(text, at, length)
  need(text, at, length)
  return sub(text, at, at + length - 1), at + length
end

local function decode_array(text, at, length)
  local t = {}
  for i = 1, length do t[i], at = decode(text, at) end
  return t, at
end

local function decode_map(text, at, length)
  local t = {}
  for _ = 1, length do
    local key, value
    key, at = decode(text, at)
    value, at = decode(text, at)
    if key == nil or key ~= key then error(NIL_INDEX, 0) end
    t[key] = value
  end
  return t, at
end

local SIZES = { [202] = 4, [203] = 8, [204] = 1, [205] = 2, [206] = 4, [207] = 8, [208] = 1, [209] = 2, [210] = 4,
  [211] = 8, [217] = 1, [218] = 2, [219] = 4, [220] = 2, [221] = 4, [222] = 2, [223] = 4 }

local function signed64(text, at)
  local high, low = number32(text, at), number32(text, at + 4)
  if high < 2147483648 then return high * TWO32 + low, at + 8 end
  return -((TWO32 - 1 - high) * TWO32 + (TWO32 - low)), at + 8
end

local DECODERS = {
  [202] = function(text, at) return unpack_float(sub(text, at, at + 3)), at + 4 end,
  [203] = function(text, at) return unpack_double(sub(text, at, at + 7)), at + 8 end,
  [204] = function(text, at) return byte(text, at), at + 1 end,
  [205] = function(text, at) return number16(text, at), at + 2 end,
  [206] = function(text, at) return number32(text, at), at + 4 end,
  [207] = signed64, -- the C library casts to a signed integer
  [208] = function(text, at)
    local n = byte(text, at)
    return n >= 128 and n - 256 or n, at + 1
  end,
  [209] = function(text, at)
    local n = number16(text, at)
    return n >= 32768 and n - 65536 or n, at + 2
  end,
  [210] = function(text, at)
    local n = number32(text, at)
    return n >= 2147483648 and n - TWO32 or n, at + 4
  end,
  [211] = signed64,
  [217] = function(text, at) return decode_text(text, at + 1, byte(text, at)) end,
  [218] = function(text, at) return decode_text(text, at + 2, number16(text, at)) end,
  [219] = function(text, at) return decode_text(text, at + 4, number32(text, at)) end,
  [220] = function(text, at) return decode_array(text, at + 2, number16(text, at)) end,
  [221] = function(text, at) return decode_array(text, at + 4, number32(text, at)) end,
  [222] = function(text, at) return decode_map(text, at + 2, number16(text, at)) end,
  [223] = function(text, at) return decode_map(text, at + 4, number32(text, at)) end,
}

decode = function(text, at)
  local tag = byte(text, at)
  if not tag then error(MISSING, 0) end
  at = at + 1
  if tag < 128 then return tag, at end
  if tag < 144 then return decode_map(text, at, tag - 128) end
  if tag < 160 then return decode_array(text, at, tag - 144) end
  if tag < 192 then return decode_text(text, at, tag - 160) end
  if tag >= 224 then return tag - 256, at end
  if tag == 192 then return nil, at end
  if tag == 194 then return false, at end
  if tag == 195 then return true, at end
  local decoder = DECODERS[tag]
  if not decoder then error(BAD, 0) end
  need(text, at, SIZES[tag])
  return decoder(text, at)
end

local function decode_many(text, at, limit)
  local out, n = {}, 0
  while n < limit and at <= #text do
    n = n + 1
    out[n], at = decode(text, at)
  end
  return out, n, at
end

local function integer(value)
  local number = (type(value) == "number" or type(value) == "string") and tonumber(value) or nil
  if not number then return nil end
  return number < 0 and -floor(-number) or floor(number)
end

local function check_text(count, text)
  if type(text) == "number" then return tostring(text) end
  if type(text) ~= "string" then
    bad_argument(2, 1, "string expected, got " .. typename(count, 1, text))
  end
  return text
end

local function check_integer(count, position, value)
  local number = integer(value)
  if not number then
    bad_argument(2, position, "number expected, got " .. typename(count, position, value))
  end
  return number
end

local function unpack_full(text, limit, offset)
  local all = limit == 0 and offset == 0
  if offset < 0 or limit < 0 then
    error("Invalid request to unpack with offset of " .. offset .. " and limit of " .. #text .. ".", 3)
  end
  if offset > #text then
    error("Start offset " .. offset .. " greater than input length " .. #text .. ".", 3)
  end
  local ok, out, n, at = pcall(decode_many, text, offset + 1, all and huge or limit)
  if not ok then
    if out == NIL_INDEX then error("table index is nil", 0) end
    if out == lib.KILL or not TEXTS[out] then error(out, 0) end
    error(TEXTS[out], 3)
  end
  if n > 7000 then
    error("too many return values at once; use unpack_one or unpack_limit instead.", 3)
  end
  if all then return unpack(out, 1, n) end
  return at > #text and -1 or at - 1, unpack(out, 1, n)
end

-- Results are collected in locals before returning: a tail call would lose the caller's line in errors.
function cmsgpack.unpack(...)
  local text = check_text(select("#", ...), (...))
  return (function(...) return ... end)(unpack_full(text, 0, 0))
end

function cmsgpack.unpack_one(...)
  local text, offset = ...
  text = check_text(select("#", ...), text)
  offset = offset == nil and 0 or check_integer(select("#", ...), 2, offset)
  return (function(...) return ... end)(unpack_full(text, 1, offset))
end

function cmsgpack.unpack_limit(...)
  local text, limit, offset = ...
  text = check_text(select("#", ...), text)
  limit = check_integer(select("#", ...), 2, limit)
  offset = offset == nil and 0 or check_integer(select("#", ...), 3, offset)
  return (function(...) return ... end)(unpack_full(text, limit, offset))
end

return cmsgpack
