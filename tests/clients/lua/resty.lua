-- Drives a server through lua-resty-redis and reports every check as TAP; runs in an nginx process, see resty.sh.

local resty = require('nginx.redis')
local tap = require('tap')
local check, expect, equal, begins = tap.check, tap.expect, tap.equal, tap.begins
local null = ngx.null

local host = os.getenv('DISKKV_CLIENT_HOST')
local port = tonumber(os.getenv('DISKKV_CLIENT_PORT'))
local password = os.getenv('DISKKV_CLIENT_PASSWORD')

local function plain(to_port)
  local connection = resty:new()
  connection:set_timeout(20000)
  expect(connection:connect(host, to_port))
  return connection
end

local function client()
  local connection = plain(port)
  if password ~= '' then
    expect(connection:auth(password))
  end
  return connection
end

-- The text of the server's error: a failed call returns false and that.
local function error_of(result, problem)
  equal(result, false)
  return problem
end

local function now()
  ngx.update_time()
  return ngx.now()
end

local db

local function basics()
  check('connect', function()
    local open = plain(tonumber(os.getenv('DISKKV_CLIENT_OPEN_PORT')) or port)
    equal(open:ping(), 'PONG')
    equal(open:echo('hello'), 'hello')
    expect(open:set_keepalive(10000, 10))
    local reused = plain(tonumber(os.getenv('DISKKV_CLIENT_OPEN_PORT')) or port)
    equal(reused:get_reused_times(), 1)
    equal(reused:ping(), 'PONG')
  end)

  check('auth', function()
    local unknown = plain(port)
    begins(error_of(unknown:get('k')), 'NOAUTH Authentication required')
    equal(unknown:auth(password), 'OK')
    equal(unknown:ping(), 'PONG')
    equal(unknown:auth('default', password), 'OK')
  end)

  check('wrong password error', function()
    local unknown = plain(port)
    begins(error_of(unknown:auth('no such password')), 'WRONGPASS invalid username-password pair')
    begins(error_of(unknown:ping()), 'NOAUTH')
  end)

  check('select database isolation', function()
    db:set('where', 'zero')
    equal(db:select(3), 'OK')
    equal(db:get('where'), null)
    db:set('where', 'three')
    equal(db:dbsize(), 1)
    begins(error_of(db:select(1000)), 'ERR DB index is out of range')
    db:select(0)
    equal(db:get('where'), 'zero')
  end)

  check('strings', function()
    equal(db:set('s', 'value'), 'OK')
    equal(db:get('s'), 'value')
    equal(db:set('s', 'other', 'NX'), null)
    equal(db:set('s', 'other', 'GET'), 'value')
    equal(db:append('s', 's'), 6)
    equal(db:getrange('s', 1, 3), 'the')
    equal(db:mset('s1', 'one', 's2', 'two'), 'OK')
    equal(db:mget('s1', 'nosuch', 's2'), { 'one', null, 'two' })
    equal(db:del('s', 's1', 's2', 'nosuch'), 3)
  end)

  check('counters', function()
    equal(db:incr('n'), 1)
    -- A Lua number is a double: the exact digits are in GET's reply.
    db:incrby('n', '9223372036854775000')
    equal(db:get('n'), '9223372036854775001')
    begins(error_of(db:incrby('n', 1000)), 'ERR increment or decrement would overflow')
    equal(db:decrby('n', '9223372036854775000'), 1)
    equal(db:incrbyfloat('n', 0.5), '1.5')
    begins(error_of(db:incr('n')), 'ERR value is not an integer or out of range')
  end)

  check('binary-safe keys and values', function()
    local all = tap.all_bytes()
    equal(db:set(all, all), 'OK')
    equal(db:get(all), all)
    equal(db:keys('\0\1*'), { all })
    equal(db:set('', ''), 'OK')
    equal(db:get(''), '')
    equal(db:del(''), 1)
    local big = all:rep(4096)
    equal(db:set('big', big), 'OK')
    equal(db:get('big'), big)
    local long = ('k'):rep(65536)
    db:set(long, 'long key')
    equal(db:get(long), 'long key')
  end)
end

local function types()
  check('hashes', function()
    equal(db:hset('h', 'a', 1, 'b', 2, 'c', 3), 3)
    equal(db:hget('h', 'b'), '2')
    equal(db:hget('h', 'nosuch'), null)
    equal(db:array_to_hash(db:hgetall('h')), { a = '1', b = '2', c = '3' })
    equal(db:hmset('h', { d = 4 }), 'OK')
    equal(db:hmget('h', 'd', 'nosuch'), { '4', null })
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
    equal(db:exists('l'), 0)
  end)

  check('sets', function()
    equal(db:sadd('s1', 'a', 'b', 'c', 'a'), 3)
    equal(db:sadd('s2', 'b', 'c', 'd'), 3)
    equal(db:sismember('s1', 'a'), 1)
    equal(tap.sorted(db:sinter('s1', 's2')), { 'b', 'c' })
    equal(db:sunionstore('s3', 's1', 's2'), 4)
    equal(db:sdiff('s1', 's2'), { 'a' })
    equal(db:srem('s1', 'a', 'nosuch'), 1)
    equal(db:scard('s1'), 2)
  end)

  check('sorted sets', function()
    equal(db:zadd('z', 1, 'a', 2.5, 'b', '-inf', 'c'), 3)
    equal(db:zrange('z', 0, -1, 'WITHSCORES'), { 'c', '-inf', 'a', '1', 'b', '2.5' })
    equal(db:zscore('z', 'b'), '2.5')
    equal(db:zincrby('z', 2, 'a'), '3')
    equal(db:zrank('z', 'a'), 2)
    equal(db:zrangebyscore('z', '(2.5', '+inf', 'LIMIT', 0, 1), { 'a' })
    equal(db:zpopmin('z'), { 'c', '-inf' })
    equal(db:zcard('z'), 2)
  end)

  check('expiry', function()
    equal(db:set('e', 'v', 'EX', 100), 'OK')
    local ttl = db:ttl('e')
    expect(ttl >= 99 and ttl <= 100, ttl)
    equal(db:persist('e'), 1)
    equal(db:ttl('e'), -1)
    equal(db:pexpire('e', 30), 1)
    local deadline = now() + 5
    while db:exists('e') == 1 and now() < deadline do
      ngx.sleep(0.005)
    end
    equal(db:get('e'), null)
    equal(db:ttl('e'), -2)
  end)
end

local function groups_of_commands()
  check('pipeline of 10,000 commands', function()
    db:init_pipeline(10000)
    for i = 1, 10000 do
      db:incrby('pipelined', i % 7)
    end
    local replies = expect(db:commit_pipeline())
    equal(#replies, 10000)
    local sum = 0
    for i = 1, 10000 do
      sum = sum + i % 7
      equal(replies[i], sum)
    end
    equal(db:get('pipelined'), tostring(sum))
  end)

  check('MULTI/EXEC', function()
    equal(db:multi(), 'OK')
    equal(db:set('t', 1), 'QUEUED')
    equal(db:incr('t'), 'QUEUED')
    equal(db:lpop('t'), 'QUEUED')
    equal(db:incr('t'), 'QUEUED')
    local wrong = 'WRONGTYPE Operation against a key holding the wrong kind of value'
    equal(db:exec(), { 'OK', 2, { false, wrong }, 3 })
    db:multi()
    begins(error_of(db:get()), "ERR wrong number of arguments for 'get' command")
    begins(error_of(db:exec()), 'EXECABORT')
    db:multi()
    db:incr('t')
    equal(db:discard(), 'OK')
    equal(db:get('t'), '3')
  end)

  check('WATCH conflict', function()
    local other = client()
    db:set('w', 1)
    equal(db:watch('w'), 'OK')
    other:incr('w')
    db:multi()
    db:set('w', 100)
    equal(db:exec(), null)
    equal(db:get('w'), '2')
    db:watch('w')
    db:multi()
    db:set('w', 100)
    equal(db:exec(), { 'OK' })
  end)

  check('EVAL', function()
    local script = "redis.call('SET', KEYS[1], ARGV[1]); return {redis.call('GET', KEYS[1]), 42, {false}}"
    equal(db:eval(script, 1, 'k', 'v'), { 'v', 42, { null } })
    begins(error_of(db:eval("return redis.error_reply('MINE it went wrong')", 0)), 'MINE it went wrong')
    begins(error_of(db:eval('return +', 0)), 'ERR Error compiling script')
  end)

  check('EVALSHA/NOSCRIPT', function()
    local sha = db:script('load', 'return ARGV[1] * 2')
    equal(#sha, 40)
    equal(db:evalsha(sha, 0, 21), 42)
    equal(db:script('exists', sha), { 1 })
    equal(db:script('flush'), 'OK')
    begins(error_of(db:evalsha(sha, 0, 21)), 'NOSCRIPT No matching script')
  end)

  check('SCAN loop', function()
    db:init_pipeline(1000)
    for i = 0, 999 do
      db:set('scanned:' .. i, i)
    end
    expect(db:commit_pipeline())
    local cursor, calls, found, seen = '0', 0, 0, {}
    repeat
      local reply = db:scan(cursor, 'MATCH', 'scanned:*', 'COUNT', 100)
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
end

local function waiting()
  check('publish/subscribe message', function()
    local subscriber = client()
    equal(subscriber:subscribe('news'), { 'subscribe', 'news', 1 })
    equal(db:publish('news', 'a\0b'), 1)
    equal(subscriber:read_reply(), { 'message', 'news', 'a\0b' })
    equal(subscriber:unsubscribe('news'), { 'unsubscribe', 'news', 0 })
    equal(subscriber:ping(), 'PONG')
  end)

  check('publish/subscribe pattern', function()
    local subscriber = client()
    equal(subscriber:psubscribe('n?ws.*'), { 'psubscribe', 'n?ws.*', 1 })
    equal(db:publish('nws.art', 'hello'), 0)
    equal(db:publish('news.art', 'hello'), 1)
    equal(subscriber:read_reply(), { 'pmessage', 'n?ws.*', 'news.art', 'hello' })
  end)

  -- The other side is a light thread with a connection of its own, which is how nginx runs things side by side.
  check('blocking pop queue between two processes', function()
    local worker = ngx.thread.spawn(function()
      local own = client()
      for _ = 1, 3 do
        own:rpush('done', 'did-' .. own:blpop('jobs', 10)[2])
      end
      return 'well'
    end)
    local deadline = now() + 10
    while not db:info('clients'):find('blocked_clients:1', 1, true) and now() < deadline do
      ngx.sleep(0.005)
    end
    equal(db:rpush('jobs', 'one'), 1)
    equal(db:blpop('done', 10), { 'done', 'did-one' })
    db:rpush('jobs', 'two', 'three')
    equal(db:blpop('done', 10), { 'done', 'did-two' })
    equal(db:blpop('done', 10), { 'done', 'did-three' })
    local _, ending = ngx.thread.wait(worker)
    equal(ending, 'well')
  end)

  check('blocking pop timeout', function()
    local begin = now()
    equal(db:blpop('nosuch', 0.2), null)
    expect(now() - begin > 0.19 and now() - begin < 5)
    equal(db:brpoplpush('nosuch', 'other', 0.05), null)
  end)

  check('streams with consumer group', function()
    equal(db:xadd('x', '1-1', 'f', 'a'), '1-1')
    db:xadd('x', '1-2', 'f', 'b')
    db:xadd('x', '*', 'f', 'c')
    equal(db:xgroup('CREATE', 'x', 'g', 0), 'OK')
    begins(error_of(db:xgroup('CREATE', 'x', 'g', 0)), 'BUSYGROUP')
    local first = { { 'x', { { '1-1', { 'f', 'a' } }, { '1-2', { 'f', 'b' } } } } }
    equal(db:xreadgroup('GROUP', 'g', 'alice', 'COUNT', 2, 'STREAMS', 'x', '>'), first)
    equal(db:xpending('x', 'g'), { 2, '1-1', '1-2', { { 'alice', '2' } } })
    equal(db:xack('x', 'g', '1-1'), 1)
    equal(db:xclaim('x', 'g', 'bob', 0, '1-2'), { { '1-2', { 'f', 'b' } } })
    equal(db:xreadgroup('GROUP', 'g', 'bob', 'STREAMS', 'x', 0), { { 'x', { { '1-2', { 'f', 'b' } } } } })
    equal(db:xreadgroup('GROUP', 'g', 'bob', 'BLOCK', 1000, 'STREAMS', 'x', '>')[1][2][1][2], { 'f', 'c' })
    equal(db:xreadgroup('GROUP', 'g', 'bob', 'BLOCK', 30, 'STREAMS', 'x', '>'), null)
    equal(db:xlen('x'), 3)
  end)
end

local function failures()
  tap.skip('RESP3', 'lua-resty-redis speaks RESP2 only')

  check('errors', function()
    db:set('text', 'v')
    begins(error_of(db:lpush('text', 'x')), 'WRONGTYPE Operation against a key holding the wrong kind of value')
    begins(error_of(db:nosuch('a', 'b')), "ERR unknown command 'nosuch', with args beginning with: 'a' 'b'")
    begins(error_of(db:set('text', 'v', 'EX', 'nan')), 'ERR value is not an integer or out of range')
    equal(db:get('text'), 'v')
  end)

  check('reconnect after restart', function()
    db:set('kept', 'over the restart')
    db:rpush('kept-list', 'a', 'b')
    tap.wait_for_restart()
    local value, problem = db:get('kept')
    equal(value, nil)
    expect(problem == 'closed' or problem == 'broken pipe' or problem == 'connection reset by peer', problem)
    db = client()
    equal(db:get('kept'), 'over the restart')
    equal(db:lrange('kept-list', 0, -1), { 'a', 'b' })
  end)
end

-- Sockets can be used in a timer, not while the process starts.
ngx.timer.at(0, function()
  tap.write('# library lua-resty-redis ' .. resty._VERSION)
  db = client()
  db:flushall()
  basics()
  types()
  groups_of_commands()
  waiting()
  failures()
  tap.finish()
end)
