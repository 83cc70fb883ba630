-- math.random and math.randomseed over the 48-bit linear congruential generator that Redis uses (the drand48 family),
-- from the same initial state in every server, so that a sequence of scripts can be repeated. The state is kept as two 24-bit halves because
-- doubles hold products of at most 53 bits.
local _, lib = ...
local bad_argument, typename = lib.bad_argument, lib.typename
local error, type, tonumber, select, floor = error, type, tonumber, select, math.floor

local MULTIPLIER_HIGH, MULTIPLIER_LOW, INCREMENT = 0x5DE, 0xECE66D, 0xB
local HALF, MAX = 16777216, 2147483647
local high, low

local function seed(value)
  value = value % 4294967296
  -- state = value * 2^16 + 0x330E
  high = floor(value / 256)
  low = (value % 256) * 65536 + 0x330E
end

-- Returns the next 31-bit number.
local function draw()
  local product = low * MULTIPLIER_LOW + INCREMENT
  local new_low = product % HALF
  local carry = (product - new_low) / HALF
  high = (carry + (high * MULTIPLIER_LOW) % HALF + low * MULTIPLIER_HIGH) % HALF
  low = new_low
  return high * 128 + floor(low / 131072)
end

-- lua_Number to C int, as luaL_checkint does it on x86-64: truncation modulo 2^32.
local function integer(count, position, value)
  local number = (type(value) == "number" or type(value) == "string") and tonumber(value) or nil
  if number == nil then
    bad_argument(2, position, "number expected, got " .. typename(count, position, value))
  end
  if number ~= number or number >= 9223372036854775808 or number < -9223372036854775808 then return 0 end
  number = number < 0 and -floor(-number) or floor(number)
  number = number % 4294967296
  return number >= 2147483648 and number - 4294967296 or number
end

local function random(...)
  local count = select("#", ...)
  local first, second = ...
  local r = (draw() % MAX) / MAX
  if count == 0 then return r end
  if count == 1 then
    local upper = integer(count, 1, first)
    if upper < 1 then bad_argument(1, 1, "interval is empty") end
    return floor(r * upper) + 1
  end
  if count == 2 then
    local lower, upper = integer(count, 1, first), integer(count, 2, second)
    if lower > upper then bad_argument(1, 2, "interval is empty") end
    return floor(r * (upper - lower + 1)) + lower
  end
  error("wrong number of arguments", 2)
end

local function randomseed(...)
  seed(integer(select("#", ...), 1, (...)))
end

-- The family's customary state before any seed: 1234ABCD330E in hex.
high, low = 0x1234AB, 0xCD330E
return { random = random, randomseed = randomseed }
