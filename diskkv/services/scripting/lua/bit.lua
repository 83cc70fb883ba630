-- The bit library: 32-bit operations with the semantics of BitOp 1.0.2, on plain Lua numbers.
local _, lib = ...
local bad_argument, typename = lib.bad_argument, lib.typename
local type, tonumber, select = type, tonumber, select
local frexp, floor, format, upper, sub = math.frexp, math.floor, string.format, string.upper, string.sub

local BIAS = 6755399441055744 -- 2^52 + 2^51: adding it leaves the low 32 bits of an integer in the mantissa's low bits
local TWO32, TWO31, TWO53 = 4294967296, 2147483648, 9007199254740992

-- Returns x as an unsigned 32-bit number.
local function unsigned(x)
  local sum = x + BIAS
  if sum >= 4503599627370496 and sum < TWO53 then return sum % TWO32 end
  if sum ~= sum or sum == 1 / 0 or sum == -1 / 0 then return 0 end
  local mantissa = frexp(sum)
  if mantissa < 0 then mantissa = -mantissa end
  return (mantissa * TWO53) % TWO32
end

local function argument(count, position, value)
  local number = tonumber(value)
  if number == nil or (type(value) ~= "number" and type(value) ~= "string") then
    bad_argument(2, position, "number expected, got " .. typename(count, position, value))
  end
  return unsigned(number)
end

local function signed(x)
  if x >= TWO31 then return x - TWO32 end
  return x
end

-- AND of two bytes, by a table built when first needed.
local AND
local function build_table()
  local t = {}
  for a = 0, 255 do
    for b = 0, 255 do
      local result, bit_value, x, y = 0, 1, a, b
      for _ = 1, 8 do
        local xb, yb = x % 2, y % 2
        if xb + yb == 2 then result = result + bit_value end
        x, y, bit_value = (x - xb) / 2, (y - yb) / 2, bit_value * 2
      end
      t[a * 256 + b + 1] = result
    end
  end
  AND = t
end

local function and32(a, b)
  if not AND then build_table() end
  local a0, b0 = a % 256, b % 256
  a, b = (a - a0) / 256, (b - b0) / 256
  local a1, b1 = a % 256, b % 256
  a, b = (a - a1) / 256, (b - b1) / 256
  local a2, b2 = a % 256, b % 256
  a, b = (a - a2) / 256, (b - b2) / 256
  return AND[a0 * 256 + b0 + 1] + AND[a1 * 256 + b1 + 1] * 256 + AND[a2 * 256 + b2 + 1] * 65536
    + AND[a * 256 + b + 1] * 16777216
end

local bit = {}

function bit.tobit(...)
  local x = ...
  return signed(argument(select("#", ...), 1, x))
end

function bit.bnot(...)
  local x = ...
  return signed(TWO32 - 1 - argument(select("#", ...), 1, x))
end

function bit.band(...)
  local count = select("#", ...)
  local x, y = ...
  local result = argument(count, 1, x)
  if count == 2 then return signed(and32(result, argument(2, 2, y))) end
  for i = 2, count do result = and32(result, argument(count, i, (select(i, ...)))) end
  return signed(result)
end

function bit.bor(...)
  local count = select("#", ...)
  local result = argument(count, 1, (...))
  for i = 2, count do
    local other = argument(count, i, (select(i, ...)))
    result = result + other - and32(result, other)
  end
  return signed(result)
end

function bit.bxor(...)
  local count = select("#", ...)
  local result = argument(count, 1, (...))
  for i = 2, count do
    local other = argument(count, i, (select(i, ...)))
    result = result + other - 2 * and32(result, other)
  end
  return signed(result)
end

local function shift_left(x, n) return (x % 2 ^ (32 - n)) * 2 ^ n end
local function shift_right(x, n) return floor(x / 2 ^ n) end

local function define_shift(name, operation)
  bit[name] = function(...)
    local count = select("#", ...)
    local x, n = ...
    return signed(operation(argument(count, 1, x), argument(count, 2, n) % 32))
  end
end

define_shift("lshift", shift_left)
define_shift("rshift", shift_right)
define_shift("arshift", function(x, n)
  local result = shift_right(x, n)
  if x >= TWO31 then result = result + TWO32 - 2 ^ (32 - n) end
  return result
end)
define_shift("rol", function(x, n) return shift_left(x, n) + shift_right(x, 32 - n) end)
define_shift("ror", function(x, n)
  n = (32 - n) % 32
  return shift_left(x, n) + shift_right(x, 32 - n)
end)

function bit.bswap(...)
  local x = argument(select("#", ...), 1, (...))
  local b0 = x % 256
  x = (x - b0) / 256
  local b1 = x % 256
  x = (x - b1) / 256
  local b2 = x % 256
  return signed(b0 * 16777216 + b1 * 65536 + b2 * 256 + (x - b2) / 256)
end

function bit.tohex(...)
  local count = select("#", ...)
  local x, n = ...
  x = argument(count, 1, x)
  n = count < 2 and 8 or signed(argument(count, 2, n))
  local digits = format("%08x", x)
  if n < 0 then
    n = -n
    digits = upper(digits)
  end
  if n > 8 then n = 8 end
  return sub(digits, 9 - n)
end

return bit
