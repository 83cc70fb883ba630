-- The struct library: binary packing with the formats of lua-struct 0.2 as Redis ships it.
--
--   > <    byte order       ![n]   alignment         x      a zero byte
--   b B    8 bits           h H    16 bits           l L T  64 bits
--   i[n] I[n]  n bytes (4)  f d    float, double     s      zero-terminated   c[n]  n bytes; c0: by the previous value
local host, lib = ...
local bad_argument, typename = lib.bad_argument, lib.typename
local error, type, select, tonumber, tostring, unpack = error, type, select, tonumber, tostring, unpack
local byte, char, sub, find, rep, reverse = string.byte, string.char, string.sub, string.find, string.rep, string.reverse
local floor, concat, match = math.floor, table.concat, string.match
local pack_double, pack_float, unpack_double, unpack_float =
  host.pack_double, host.pack_float, host.unpack_double, host.unpack_float

local MAX_INTEGER_SIZE, MAX_ALIGNMENT, INT_MAX = 32, 8, 2147483647
local TWO32 = 4294967296
local FIXED = { b = 1, B = 1, h = 2, H = 2, l = 8, L = 8, T = 8, f = 4, d = 8, x = 1 }

local function read_number(format, at, default)
  local digits = match(format, "^%d+", at)
  if not digits then return default, at end
  local number = 0
  for i = 1, #digits do
    number = number * 10 + byte(digits, i) - 48
    if number > INT_MAX then error("integral size overflow", 4) end
  end
  return number, at + #digits
end

-- Iterates over a format's options: state {format, position, little, alignment}; returns option, size or nil.
local function next_option(state, is_size)
  local format = state.format
  while true do
    local at = state.at
    local option = sub(format, at, at)
    if option == "" then return nil end
    at = at + 1
    local size = FIXED[option]
    if size then
      state.at = at
      return option, size
    elseif option == "i" or option == "I" then
      size, at = read_number(format, at, 4)
      if size > MAX_INTEGER_SIZE then
        error("integral size " .. size .. " is larger than limit of " .. MAX_INTEGER_SIZE, 3)
      end
      state.at = at
      return option, size
    elseif option == "c" then
      size, state.at = read_number(format, at, 1)
      return option, size
    elseif option == "s" then
      state.at = at
      return option, 0
    elseif option == ">" or option == "<" then
      state.little = option == "<"
    elseif option == "!" then
      local alignment
      alignment, at = read_number(format, at, MAX_ALIGNMENT)
      local power = 1
      while power < alignment do power = power * 2 end
      if alignment == 0 or power ~= alignment then
        error("alignment " .. alignment .. " is not a power of 2", 3)
      end
      state.alignment = alignment
    elseif option ~= " " and not (is_size and find(option, "^%w")) then
      bad_argument(2, 1, "invalid format option '" .. option .. "'")
    end
    state.at = at
  end
end

local function and_small(a, b)
  local result, bit = 0, 1
  while b > 0 do
    local x, y = a % 2, b % 2
    if x == 1 and y == 1 then result = result + bit end
    a, b, bit = (a - x) / 2, (b - y) / 2, bit * 2
  end
  return result
end

local function padding(length, state, option, size)
  if size == 0 or option == "c" or option == "s" then return 0 end
  local alignment = state.alignment
  if size > alignment then size = alignment end
  -- (size - (length & (size - 1))) & (size - 1), whatever the size: also for those that are no power of two.
  return and_small(size - and_small(length, size - 1), size - 1)
end

local function pack_integer(n, size, little)
  n = n < 0 and -floor(-n) or floor(n)
  local low, high = n % TWO32, floor(n / TWO32) % TWO32
  local bytes = {}
  for i = 1, size do
    local part = 0
    if i <= 4 then
      part = low % 256
      low = (low - part) / 256
    elseif i <= 8 then
      part = high % 256
      high = (high - part) / 256
    end
    bytes[i] = char(part)
  end
  local packed = concat(bytes)
  return little and packed or reverse(packed)
end

local function unpack_integer(data, at, size, little, signed)
  local low, high = 0, 0
  for i = 0, (size < 8 and size or 8) - 1 do
    local part = byte(data, little and at + i or at + size - 1 - i)
    if i < 4 then
      low = low + part * 256 ^ i
    else
      high = high + part * 256 ^ (i - 4)
    end
  end
  if signed and size > 0 then
    if size >= 8 then
      if high >= 2147483648 then return -((TWO32 - 1 - high) * TWO32 + (TWO32 - low)) end
    else
      local value = high * TWO32 + low
      if value >= 256 ^ size / 2 then return value - 256 ^ size end
      return value
    end
  end
  return high * TWO32 + low
end

local function check_number(value, position)
  local number = (type(value) == "number" or type(value) == "string") and tonumber(value) or nil
  if not number then
    bad_argument(2, position, "number expected, got " .. type(value))
  end
  return number
end

local function check_string(count, value, position)
  if type(value) == "number" then return tostring(value) end
  if type(value) ~= "string" then
    bad_argument(2, position, "string expected, got " .. typename(count, position, value))
  end
  return value
end

local struct = {}

function struct.pack(...)
  local count = select("#", ...)
  local state = { format = check_string(count, (...), 1), at = 1, little = true, alignment = 1 }
  local out, n, length, position = {}, 0, 0, 2
  while true do
    local option, size = next_option(state)
    if not option then break end
    local pad = padding(length, state, option, size)
    local piece
    if option == "x" then
      piece = "\0"
    else
      local value = select(position, ...)
      if option == "s" or option == "c" then
        value = check_string(position, value, position)
        if size == 0 then size = #value end
        if #value < size then
          bad_argument(1, position + 1, "string too short")
        end
        piece = option == "s" and value .. "\0" or sub(value, 1, size)
      elseif option == "f" or option == "d" then
        value = check_number(value, position)
        piece = option == "f" and pack_float(value) or pack_double(value)
        if value == 0 and 1 / value < 0 then piece = "\128" .. sub(piece, 2) end
        if state.little then piece = reverse(piece) end
      else
        piece = pack_integer(check_number(value, position), size, state.little)
      end
      position = position + 1
    end
    if pad > 0 then piece = rep("\0", pad) .. piece end
    n = n + 1
    out[n] = piece
    length = length + #piece
  end
  return concat(out)
end

function struct.unpack(...)
  local count = select("#", ...)
  local format, data, at = ...
  local state = { format = check_string(count, format, 1), at = 1, little = true, alignment = 1 }
  data = check_string(count, data, 2)
  at = at == nil and 1 or check_number(at, 3)
  at = at < 0 and -floor(-at) or floor(at)
  if at == 0 then bad_argument(1, 3, "offset must be 1 or greater") end
  local out, n = {}, 0
  while true do
    local option, size = next_option(state)
    if not option then break end
    at = at + padding(at - 1, state, option, size)
    if at < 1 or at - 1 > #data - size then bad_argument(1, 2, "data string too short") end
    if n >= 7000 then error("stack overflow (too many results)", 2) end
    if option == "s" then
      local stop = find(data, "\0", at, true)
      if not stop then error("unfinished string in data", 2) end
      n = n + 1
      out[n] = sub(data, at, stop - 1)
      at = stop + 1
    elseif option == "c" then
      if size == 0 then
        size = n > 0 and tonumber(out[n]) or nil
        if not size then error("format 'c0' needs a previous size", 2) end
        size = floor(size)
        if size < 0 or at - 1 > #data - size then bad_argument(1, 2, "data string too short") end
        n = n - 1
      end
      n = n + 1
      out[n] = sub(data, at, at + size - 1)
      at = at + size
    elseif option == "x" then
      at = at + 1
    else
      n = n + 1
      if option == "f" or option == "d" then
        local piece = sub(data, at, at + size - 1)
        if state.little then piece = reverse(piece) end
        out[n] = option == "f" and unpack_float(piece) or unpack_double(piece)
      else
        local signed = option == "b" or option == "h" or option == "i" or option == "l"
        out[n] = unpack_integer(data, at, size, state.little, signed)
      end
      at = at + size
    end
  end
  out[n + 1] = at
  return unpack(out, 1, n + 1)
end

function struct.size(...)
  local state = { format = check_string(select("#", ...), (...), 1), at = 1, little = true, alignment = 1 }
  local length = 0
  while true do
    local option, size = next_option(state, true)
    if not option then break end
    if option == "s" then
      bad_argument(1, 1, "option 's' has no fixed size")
    elseif option == "c" and size == 0 then
      bad_argument(1, 1, "option 'c0' has no fixed size")
    end
    length = length + padding(length, state, option, size) + size
  end
  return length
end

return struct
