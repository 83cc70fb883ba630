-- Drives a server through redis-lua and reports every check as TAP.
-- Started as: lua client.lua HOST PORT PASSWORD DIRECTORY; with `worker` behind that, it is the queue's other process.

local here = arg[0]:match('^(.*)/') or '.'
package.path = here .. '/?.lua;' .. package.path

local redis = require('redis')
local gettime = require('socket').gettime
local sleep = require('socket').sleep
local tap = require('tap')
local check, expect, equal, begins = tap.check, tap.expect, tap.equal, tap.begins

local host, port, password, directory, role = arg[1], tonumber(arg[2]), arg[3], arg[4], arg[5]

-- The library knows the commands of Redis 2.8; this is its way to add later ones.
local later = 'xadd xgroup xreadgroup xpending xack xclaim xlen lmove zpopmin nosuch'
for name in later:gmatch('%a+') do
  redis.commands[name] = redis.command(name:upper())
end
redis.commands.hset_many = redis.command('HSET')

local function client()
  local connected = redis.connect(host, port, 20)
  if password ~= '' then
    connected:auth(password)
  end
  return connected
end

-- The text of the server's error that the call ends in.
local function error_of(call, ...)
  local ok, problem = pcall(call, ...)
  expect(not ok, 'no error')
  return (problem:gsub('^.-redis error: ', ''))
end

if role == 'worker' then
  local own = client()
  for _ = 1, 3 do
    own:rpush('done', 'did-' .. own:blpop('jobs', 10)[2])
  end
  os.exit(0)
end

tap.write('# library redis-lua ' .. redis._VERSION:match('%d%S*'))
local db = client()
db:flushall()

check('connect', function()
  local open = redis.connect { host = host, port = tonumber(os.getenv('DISKKV_CLIENT_OPEN_PORT') or port) }
  equal(open:ping(), true)
  equal(open:echo('hello'), 'hello')
  equal(redis.connect('redis://' .. host .. ':' .. (os.getenv('DISKKV_CLIENT_OPEN_PORT') or port)):ping(), true)
  open:quit()
end)

check('auth', function()
  local unknown = redis.connect(host, port)
  begins(error_of(unknown.get, unknown, 'k'), 'NOAUTH Authentication required')
  equal(unknown:auth(password), true)
  equal(unknown:ping(), true)
  equal(unknown:auth('default', password), true)
end)

check('wrong password error', function()
  local unknown = redis.connect(host, port)
  begins(error_of(unknown.auth, unknown, 'no such password'), 'WRONGPASS invalid username-password pair')
  begins(error_of(unknown.ping, unknown), 'NOAUTH')
end)

check('select database isolation', function()
  db:set('where', 'zero')
  equal(db:select(3), true)
  equal(db:get('where'), nil)
  db:set('where', 'three')
  equal(db:dbsize(), 1)
  begins(error_of(db.select, db, 1000), 'ERR DB index is out of range')
  db:select(0)
  equal(db:get('where'), 'zero')
end)

check('strings', function()
  equal(db:set('s', 'value'), true)
  equal(db:get('s'), 'value')
  equal(db:set('s', 'other', 'NX'), nil)
  equal(db:getset('s', 'other'), 'value')
  equal(db:append('s', 's'), 6)
  equal(db:getrange('s', 1, 3), 'the')
  equal(db:mset { s1 = 'one', s2 = 'two' }, true)
  equal(db:mget('s1', 'nosuch', 's2'), { 'one', nil, 'two' })
  equal(db:del('s', 's1', 's2', 'nosuch'), 3)
end)

check('counters', function()
  equal(db:incr('n'), 1)
  -- A Lua number is a double: the exact digits are in GET's reply.
  db:incrby('n', '9223372036854775000')
  equal(db:get('n'), '9223372036854775001')
  begins(error_of(db.incrby, db, 'n', 1000), 'ERR increment or decrement would overflow')
  equal(db:decrby('n', '9223372036854775000'), 1)
  equal(db:incrbyfloat('n', 0.5), 1.5)
  begins(error_of(db.incr, db, 'n'), 'ERR value is not an integer or out of range')
end)

check('binary-safe keys and values', function()
  local all = tap.all_bytes()
  equal(db:set(all, all), true)
  equal(db:get(all), all)
  equal(db:keys('\0\1*'), { all })
  equal(db:set('', ''), true)
  equal(db:get(''), '')
  equal(db:del(''), 1)
  local big = all:rep(4096)
  equal(db:set('big', big), true)
  equal(db:get('big'), big)
  local long = ('k'):rep(65536)
  db:set(long, 'long key')
  equal(db:get(long), 'long key')
end)

check('hashes', function()
  equal(db:hset_many('h', 'a', 1, 'b', 2), 2)
  equal(db:hset('h', 'c', 3), true)
  equal(db:hget('h', 'b'), '2')
  equal(db:hget('h', 'nosuch'), nil)
  equal(db:hgetall('h'), { a = '1', b = '2', c = '3' })
  equal(db:hmget('h', 'c', 'nosuch'), { '3', nil })
  equal(db:hmset('h', { d = 4 }), true)
  equal(db:hscan('h', 0)[2], { a = '1', b = '2', c = '3', d = '4' })
  equal(db:hincrby('h', 'a', 41), 42)
  equal(db:hdel('h', 'b', 'c', 'nosuch'), 2)
  equal(db:hlen('h'), 2)
end)

check('lists', function()
  equal(db:rpush('l', 'a', 'b', 'c'), 3)
  equal(db:lpush('l', 'z'), 4)
  equal(db:lrange('l', 0, -1), { 'z', 'a', 'b', 'c' })
  equal(db:lpop('l'), 'z')
  equal(db:rpop('l', 2), { 'c', 'b' })
  equal(db:lindex('l', 0), 'a')
  equal(db:lmove('l', 'l2', 'LEFT', 'RIGHT'), 'a')
  equal(db:exists('l'), false)
end)

check('sets', function()
  equal(db:sadd('s1', 'a', 'b', 'c', 'a'), 3)
  equal(db:sadd('s2', 'b', 'c', 'd'), 3)
  equal(db:sismember('s1', 'a'), true)
  equal(tap.sorted(db:sinter('s1', 's2')), { 'b', 'c' })
  equal(db:sunionstore('s3', 's1', 's2'), 4)
  equal(db:sdiff('s1', 's2'), { 'a' })
  equal(db:srem('s1', 'a', 'nosuch'), 1)
  equal(db:scard('s1'), 2)
end)

check('sorted sets', function()
  equal(db:zadd('z', 1, 'a', 2.5, 'b', '-inf', 'c'), 3)
  equal(db:zrange('z', 0, -1, { withscores = true }), { { 'c', '-inf' }, { 'a', '1' }, { 'b', '2.5' } })
  equal(db:zscore('z', 'b'), '2.5')
  equal(db:zincrby('z', 2, 'a'), 3)
  equal(db:zrank('z', 'a'), 2)
  equal(db:zrangebyscore('z', '(2.5', '+inf', { limit = { 0, 1 } }), { 'a' })
  equal(db:zpopmin('z'), { 'c', '-inf' })
  equal(db:zcard('z'), 2)
end)

check('expiry', function()
  equal(db:set('e', 'v', 'EX', 100), true)
  local ttl = db:ttl('e')
  expect(ttl >= 99 and ttl <= 100, ttl)
  equal(db:persist('e'), true)
  equal(db:ttl('e'), -1)
  equal(db:pexpire('e', 30), true)
  local deadline = gettime() + 5
  while db:exists('e') and gettime() < deadline do
    sleep(0.005)
  end
  equal(db:get('e'), nil)
  equal(db:ttl('e'), -2)
end)

check('pipeline of 10,000 commands', function()
  local replies, count = db:pipeline(function(pipeline)
    for i = 1, 10000 do
      pipeline:incrby('pipelined', i % 7)
    end
  end)
  equal(count, 10000)
  local sum = 0
  for i = 1, 10000 do
    sum = sum + i % 7
    equal(replies[i], sum)
  end
  equal(db:get('pipelined'), tostring(sum))
end)

check('MULTI/EXEC', function()
  local replies, count = db:transaction(function(transaction)
    transaction:set('t', 1)
    transaction:incr('t')
    transaction:hgetall('nosuch')
  end)
  equal(count, 3)
  equal(replies, { true, 2, {} })
  -- The library stops reading at an error inside EXEC's reply: only a connection of its own can be used for that.
  local own = client()
  begins(
    error_of(own.transaction, own, function(transaction)
      transaction:incr('t')
      transaction:lpop('t')
    end),
    'WRONGTYPE'
  )
  equal(db:get('t'), '3')
  own = client()
  own:multi()
  begins(error_of(own.get, own), "ERR wrong number of arguments for 'get' command")
  begins(error_of(own.exec, own), 'EXECABORT')
  own:multi()
  own:incr('t')
  equal(own:discard(), true)
  equal(db:get('t'), '3')
end)

check('WATCH conflict', function()
  local other = client()
  db:set('w', 1)
  local tries = 0
  local options = { watch = 'w', cas = true, retry = 1 }
  local replies = db:transaction(options, function(transaction)
    tries = tries + 1
    local seen = transaction:get('w')
    if tries == 1 then
      other:incr('w')
    end
    transaction:multi()
    transaction:set('w', seen * 100)
  end)
  equal(tries, 2)
  equal(replies, { true })
  equal(db:get('w'), '200')
  db:watch('w')
  other:incr('w')
  db:multi()
  db:set('w', 1)
  equal(db:exec(), nil)
  equal(db:get('w'), '201')
end)

check('publish/subscribe message', function()
  local subscriber = client()
  local heard = {}
  for message, abort in subscriber:pubsub { subscribe = 'news' } do
    heard[#heard + 1] = { message.kind, message.channel, message.payload }
    if message.kind == 'subscribe' then
      equal(db:publish('news', 'a\0b'), 1)
    elseif message.kind == 'message' then
      abort()
    end
  end
  equal({ heard[1], heard[2] }, { { 'subscribe', 'news', 1 }, { 'message', 'news', 'a\0b' } })
end)

check('publish/subscribe pattern', function()
  local next_message = client():pubsub { psubscribe = { 'n?ws.*' } }
  equal(next_message().kind, 'psubscribe')
  equal(db:publish('nws.art', 'hello'), 0)
  equal(db:publish('news.art', 'hello'), 1)
  equal(next_message(), { kind = 'pmessage', pattern = 'n?ws.*', channel = 'news.art', payload = 'hello' })
end)

check('blocking pop queue between two processes', function()
  local words = { arg[-1], arg[0], host, port, password, directory, 'worker' }
  for i, word in ipairs(words) do
    words[i] = "'" .. word .. "'"
  end
  local worker = io.popen(table.concat(words, ' ') .. ' && echo well', 'r')
  local deadline = gettime() + 10
  while db:info('clients').clients.blocked_clients ~= '1' and gettime() < deadline do
    sleep(0.005)
  end
  equal(db:rpush('jobs', 'one'), 1)
  equal(db:blpop('done', 10), { 'done', 'did-one' })
  db:rpush('jobs', 'two', 'three')
  equal(db:blpop('done', 10), { 'done', 'did-two' })
  equal(db:blpop('done', 10), { 'done', 'did-three' })
  equal(worker:read('*l'), 'well')
  worker:close()
end)

check('blocking pop timeout', function()
  local begin = gettime()
  equal(db:blpop('nosuch', 0.2), nil)
  expect(gettime() - begin > 0.19 and gettime() - begin < 5)
  equal(db:brpoplpush('nosuch', 'other', 0.05), nil)
end)

check('EVAL', function()
  local script = "redis.call('SET', KEYS[1], ARGV[1]); return {redis.call('GET', KEYS[1]), 42, {'x'}}"
  equal(db:eval(script, 1, 'k', 'v'), { 'v', 42, { 'x' } })
  begins(error_of(db.eval, db, "return redis.error_reply('MINE it went wrong')", 0), 'MINE it went wrong')
  begins(error_of(db.eval, db, 'return +', 0), 'ERR Error compiling script')
end)

check('EVALSHA/NOSCRIPT', function()
  local sha = db:script('load', 'return ARGV[1] * 2')
  equal(#sha, 40)
  equal(db:evalsha(sha, 0, 21), 42)
  equal(db:script('exists', sha), { 1 })
  equal(db:script('flush'), true)
  begins(error_of(db.evalsha, db, sha, 0, 21), 'NOSCRIPT No matching script')
end)

check('SCAN loop', function()
  db:pipeline(function(pipeline)
    for i = 0, 999 do
      pipeline:set('scanned:' .. i, i)
    end
  end)
  local cursor, calls, found, seen = '0', 0, 0, {}
  repeat
    local reply = db:scan(cursor, { match = 'scanned:*', count = 100 })
    cursor = reply[1]
    for _, key in ipairs(reply[2]) do
      local number = expect(tonumber(key:match('^scanned:(%d+)$')))
      found = found + (seen[number] and 0 or 1)
      seen[number] = true
    end
    calls = calls + 1
    expect(calls < 1000, 'the scan does not end')
  until cursor == '0'
  equal(found, 1000)
  expect(calls > 1)
end)

check('streams with consumer group', function()
  equal(db:xadd('x', '1-1', 'f', 'a'), '1-1')
  db:xadd('x', '1-2', 'f', 'b')
  db:xadd('x', '*', 'f', 'c')
  equal(db:xgroup('CREATE', 'x', 'g', 0), true)
  begins(error_of(db.xgroup, db, 'CREATE', 'x', 'g', 0), 'BUSYGROUP')
  local first = { { 'x', { { '1-1', { 'f', 'a' } }, { '1-2', { 'f', 'b' } } } } }
  equal(db:xreadgroup('GROUP', 'g', 'alice', 'COUNT', 2, 'STREAMS', 'x', '>'), first)
  equal(db:xpending('x', 'g'), { 2, '1-1', '1-2', { { 'alice', '2' } } })
  equal(db:xack('x', 'g', '1-1'), 1)
  equal(db:xclaim('x', 'g', 'bob', 0, '1-2'), { { '1-2', { 'f', 'b' } } })
  equal(db:xreadgroup('GROUP', 'g', 'bob', 'STREAMS', 'x', 0), { { 'x', { { '1-2', { 'f', 'b' } } } } })
  equal(db:xreadgroup('GROUP', 'g', 'bob', 'BLOCK', 1000, 'STREAMS', 'x', '>')[1][2][1][2], { 'f', 'c' })
  equal(db:xreadgroup('GROUP', 'g', 'bob', 'BLOCK', 30, 'STREAMS', 'x', '>'), nil)
  equal(db:xlen('x'), 3)
end)

tap.skip('RESP3', 'redis-lua speaks RESP2 only')

check('errors', function()
  db:set('text', 'v')
  begins(error_of(db.lpush, db, 'text', 'x'), 'WRONGTYPE Operation against a key holding the wrong kind of value')
  begins(error_of(db.nosuch, db, 'a', 'b'), "ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b'")
  begins(error_of(db.set, db, 'text', 'v', 'EX', 'nan'), 'ERR value is not an integer or out of range')
  equal(db:get('text'), 'v')
end)

check('reconnect after restart', function()
  db:set('kept', 'over the restart')
  db:rpush('kept-list', 'a', 'b')
  tap.wait_for_restart()
  local ok, problem = pcall(db.get, db, 'kept')
  expect(not ok and problem:find('closed'), problem)
  db = client()
  equal(db:get('kept'), 'over the restart')
  equal(db:lrange('kept-list', 0, -1), { 'a', 'b' })
end)

tap.finish()
