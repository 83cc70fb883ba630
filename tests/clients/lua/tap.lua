-- Reports checks as TAP, and compares values.

local tap = { reported = 0, failed = 0 }

local function shown(value)
  if type(value) == 'table' then
    local parts = {}
    for i = 1, #value do
      parts[i] = shown(value[i])
    end
    return '[' .. table.concat(parts, ', ') .. ']'
  elseif type(value) == 'string' then
    return #value > 200 and #value .. ' bytes' or string.format('%q', value)
  end
  return tostring(value)
end

local function same(got, wanted)
  if type(got) ~= 'table' or type(wanted) ~= 'table' then
    return got == wanted
  end
  for key, value in pairs(wanted) do
    if not same(got[key], value) then
      return false
    end
  end
  for key in pairs(got) do
    if wanted[key] == nil then
      return false
    end
  end
  return true
end

-- The value; fails the check when it is nil or false.
function tap.expect(value, what)
  if not value then
    error(what or 'not so', 2)
  end
  return value
end

function tap.equal(got, wanted)
  if not same(got, wanted) then
    error('got ' .. shown(got) .. ', wanted ' .. shown(wanted), 2)
  end
end

function tap.begins(text, wanted)
  if type(text) ~= 'string' or string.sub(text, 1, #wanted) ~= wanted then
    error('got ' .. shown(text) .. ', which does not begin with ' .. shown(wanted), 2)
  end
end

function tap.check(name, body)
  local ok, problem = xpcall(body, function(raised)
    return debug.traceback(tostring(raised))
  end)
  tap.reported = tap.reported + 1
  tap.write((ok and '' or 'not ') .. 'ok ' .. tap.reported .. ' - ' .. name)
  if not ok then
    tap.failed = tap.failed + 1
    for line in string.gmatch(problem, '[^\r\n]+') do
      tap.write('# ' .. line)
    end
  end
end

function tap.skip(name, reason)
  tap.reported = tap.reported + 1
  tap.write('ok ' .. tap.reported .. ' - ' .. name .. ' # SKIP ' .. reason)
end

function tap.write(line)
  io.stdout:write(line, '\n')
  io.stdout:flush()
end

function tap.wait_for_restart()
  tap.write('# RESTART')
  tap.expect(io.stdin:read('*l'), 'the restart did not come')
end

function tap.finish()
  tap.write('1..' .. tap.reported)
  os.exit(tap.failed == 0 and 0 or 1)
end

-- All 256 bytes in order.
function tap.all_bytes()
  local bytes = {}
  for i = 0, 255 do
    bytes[i + 1] = string.char(i)
  end
  return table.concat(bytes)
end

function tap.sorted(values)
  table.sort(values)
  return values
end

return tap
