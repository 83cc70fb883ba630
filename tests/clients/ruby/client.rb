# Drives a server through redis-rb and reports every check as TAP.
# Started as: ruby client.rb HOST PORT PASSWORD DIRECTORY

require 'redis'

HOST, PORT, PASSWORD, = ARGV
$stdout.sync = true
puts "# library redis-rb #{Redis::VERSION}"

class Failure < StandardError; end

$reported = 0
$failed = 0

def expect(condition, what = 'not so')
  raise Failure, "line #{caller_locations(1, 1)[0].lineno}: #{what}" unless condition
end

def equal(got, wanted)
  return if got == wanted

  got, wanted = [got, wanted].map { |value| value.inspect[0, 200] }
  raise Failure, "line #{caller_locations(1, 1)[0].lineno}: got #{got}, wanted #{wanted}"
end

# Checks that the block raises just this class with a message that matches.
def raises(exception, pattern)
  line = caller_locations(1, 1)[0].lineno
  begin
    yield
  rescue StandardError => e
    return if e.instance_of?(exception) && pattern.match?(e.message)

    raise Failure, "line #{line}: #{e.class}: #{e.message.inspect}"
  end
  raise Failure, "line #{line}: no #{exception}"
end

def check(name)
  yield
  puts "ok #{$reported += 1} - #{name}"
rescue StandardError => e
  $failed += 1
  puts "not ok #{$reported += 1} - #{name}"
  puts "# #{e.class}: #{e.message}".lines.map { |line| "# #{line.delete_prefix('# ').chomp}" }
end

def skip(name, reason)
  puts "ok #{$reported += 1} - #{name} # SKIP #{reason}"
end

def now
  Process.clock_gettime(Process::CLOCK_MONOTONIC)
end

def client(**options)
  Redis.new(host: HOST, port: PORT.to_i, password: PASSWORD.empty? ? nil : PASSWORD, reconnect_attempts: 0, **options)
end

db = client
db.flushall

check 'connect' do
  open = Redis.new(host: HOST, port: ENV.fetch('DISKKV_CLIENT_OPEN_PORT', PORT).to_i)
  equal open.ping, 'PONG'
  equal open.echo('hello'), 'hello'
  open.close
end

check 'auth' do
  unknown = Redis.new(host: HOST, port: PORT.to_i)
  raises(Redis::CommandError, /\ANOAUTH Authentication required/) { unknown.get('k') }
  equal unknown.auth(PASSWORD), 'OK'
  equal unknown.ping, 'PONG'
  equal client(username: 'default').ping, 'PONG'
end

check 'wrong password error' do
  error = /WRONGPASS invalid username-password pair or user is disabled/
  raises(Redis::CommandError, error) { client(password: 'no such password').ping }
end

check 'select database isolation' do
  db.set('where', 'zero')
  other = client(db: 3)
  equal other.get('where'), nil
  other.set('where', 'three')
  equal other.dbsize, 1
  equal db.get('where'), 'zero'
  equal db.select(3), 'OK'
  equal db.get('where'), 'three'
  raises(Redis::CommandError, /\AERR DB index is out of range/) { db.select(1000) }
  db.select(0)
end

check 'strings' do
  equal db.set('s', 'value'), 'OK'
  equal db.get('s'), 'value'
  equal db.set('s', 'other', nx: true), false
  equal db.set('s', 'other', get: true), 'value'
  equal db.append('s', 's'), 6
  equal db.getrange('s', 1, 3), 'the'
  equal db.mset('s1', 'one', 's2', 'two'), 'OK'
  equal db.mget('s1', 'nosuch', 's2'), ['one', nil, 'two']
  equal db.del('s', 's1', 's2', 'nosuch'), 3
end

check 'counters' do
  equal db.incr('n'), 1
  equal db.incrby('n', 9_223_372_036_854_775_000), 9_223_372_036_854_775_001
  raises(Redis::CommandError, /\AERR increment or decrement would overflow/) { db.incrby('n', 1000) }
  equal db.decrby('n', 9_223_372_036_854_775_000), 1
  equal db.incrbyfloat('n', 0.5), 1.5
  raises(Redis::CommandError, /\AERR value is not an integer or out of range/) { db.incr('n') }
end

check 'binary-safe keys and values' do
  all = (0..255).to_a.pack('C*')
  equal db.set(all, all), 'OK'
  equal db.get(all).b, all
  equal db.keys("\0\1*").map(&:b), [all]
  equal db.set('', ''), 'OK'
  equal db.get(''), ''
  equal db.del(''), 1
  big = all * 4096
  equal db.set('big', big), 'OK'
  equal db.get('big').b, big
  db.set('k' * 65_536, 'long key')
  equal db.get('k' * 65_536), 'long key'
end

check 'hashes' do
  equal db.hset('h', { 'a' => 1, 'b' => 2, 'c' => 3 }), 3
  equal db.hget('h', 'b'), '2'
  equal db.hget('h', 'nosuch'), nil
  equal db.hgetall('h'), { 'a' => '1', 'b' => '2', 'c' => '3' }
  equal db.mapped_hmget('h', 'c', 'nosuch'), { 'c' => '3', 'nosuch' => nil }
  equal db.hincrby('h', 'a', 41), 42
  equal db.hscan_each('h').to_h.keys.sort, %w[a b c]
  equal db.hdel('h', 'b', 'c', 'nosuch'), 2
  equal db.hlen('h'), 1
end

check 'lists' do
  equal db.rpush('l', %w[a b c]), 3
  equal db.lpush('l', 'z'), 4
  equal db.lrange('l', 0, -1), %w[z a b c]
  equal db.lpop('l'), 'z'
  equal db.rpop('l', 2), %w[c b]
  equal db.lindex('l', 0), 'a'
  equal db.lmove('l', 'l2', 'LEFT', 'RIGHT'), 'a'
  equal db.exists?('l'), false
end

check 'sets' do
  equal db.sadd('s1', %w[a b c a]), 3
  equal db.sadd?('s1', 'a'), false
  equal db.sadd('s2', %w[b c d]), 3
  equal db.sismember('s1', 'a'), true
  equal db.smismember('s1', 'a', 'z'), [true, false]
  equal db.sinter('s1', 's2').sort, %w[b c]
  equal db.sunionstore('s3', 's1', 's2'), 4
  equal db.sdiff('s1', 's2'), ['a']
  equal db.srem('s1', %w[a nosuch]), 1
  equal db.scard('s1'), 2
end

check 'sorted sets' do
  equal db.zadd('z', [[1, 'a'], [2.5, 'b'], ['-inf', 'c']]), 3
  equal db.zrange('z', 0, -1, with_scores: true), [['c', -Float::INFINITY], ['a', 1.0], ['b', 2.5]]
  equal db.zscore('z', 'b'), 2.5
  equal db.zincrby('z', 2, 'a'), 3.0
  equal db.zrank('z', 'a'), 2
  equal db.zrange('z', '(2.5', '+inf', by_score: true), ['a']
  equal db.zpopmin('z'), ['c', -Float::INFINITY]
  equal db.zcard('z'), 2
end

check 'expiry' do
  equal db.set('e', 'v', ex: 100), 'OK'
  expect((99..100).cover?(db.ttl('e')))
  equal db.persist('e'), true
  equal db.ttl('e'), -1
  equal db.pexpire('e', 30), true
  deadline = now + 5
  sleep 0.005 while db.exists?('e') && now < deadline
  equal db.get('e'), nil
  equal db.ttl('e'), -2
end

check 'pipeline of 10,000 commands' do
  sums = (1..10_000).inject([0]) { |known, i| known << known.last + i % 7 }.drop(1)
  replies = db.pipelined { |pipeline| (1..10_000).each { |i| pipeline.incrby('pipelined', i % 7) } }
  expect(replies == sums)
  equal db.get('pipelined').to_i, sums.last
end

check 'MULTI/EXEC' do
  results = db.multi do |transaction|
    transaction.set('t', 1)
    transaction.incr('t')
    transaction.mget('t', 'nosuch')
  end
  equal results, ['OK', 2, ['2', nil]]
  raises(Redis::CommandError, /\AWRONGTYPE/) do
    db.multi { |transaction| [transaction.incr('t'), transaction.lpop('t'), transaction.incr('t')] }
  end
  equal db.get('t'), '4'
  raises(Redis::CommandError, /wrong number of arguments/) { db.multi { |transaction| transaction.call(:get) } }
  equal db.get('t'), '4'
end

check 'WATCH conflict' do
  other = client
  db.set('w', 1)
  result = db.watch('w') do
    other.incr('w')
    db.multi { |transaction| transaction.set('w', 100) }
  end
  equal result, nil
  equal db.get('w'), '2'
  equal(db.watch('w') { db.multi { |transaction| transaction.set('w', 100) } }, ['OK'])
end

check 'publish/subscribe message' do
  events = []
  receivers = nil
  subscriber = client
  subscriber.subscribe('news') do |on|
    on.subscribe { |channel, count| events << [channel, count] and receivers = db.publish('news', "a\0b") }
    on.message { |channel, text| events << [channel, text] and subscriber.unsubscribe }
    on.unsubscribe { |channel, count| events << [channel, count] }
  end
  equal receivers, 1
  equal events, [['news', 1], ['news', "a\0b"], ['news', 0]]
  equal subscriber.ping, 'PONG'
end

check 'publish/subscribe pattern' do
  events = []
  receivers = nil
  subscriber = client
  subscriber.psubscribe('n?ws.*') do |on|
    on.psubscribe { receivers = [db.publish('nws.art', 'hello'), db.publish('news.art', 'hello')] }
    on.pmessage { |*arguments| events << arguments and subscriber.punsubscribe }
  end
  equal receivers, [0, 1]
  equal events, [['n?ws.*', 'news.art', 'hello']]
end

check 'blocking pop queue between two processes' do
  worker = fork do
    own = client
    3.times { own.rpush('done', "did-#{own.blpop('jobs', timeout: 10)[1]}") }
    exit!(0)
  end
  deadline = now + 10
  sleep 0.005 while db.info('clients')['blocked_clients'] != '1' && now < deadline
  equal db.rpush('jobs', 'one'), 1
  equal db.blpop('done', timeout: 10), %w[done did-one]
  db.rpush('jobs', %w[two three])
  equal db.blpop('done', timeout: 10), %w[done did-two]
  equal db.blpop('done', timeout: 10), %w[done did-three]
  expect(Process.wait2(worker)[1].success?)
end

check 'blocking pop timeout' do
  begin_s = now
  equal db.blpop('nosuch', timeout: 0.2), nil
  expect((0.19..5).cover?(now - begin_s))
  equal db.brpoplpush('nosuch', 'other', timeout: 0.05), nil
end

check 'EVAL' do
  script = "redis.call('SET', KEYS[1], ARGV[1]); return {redis.call('GET', KEYS[1]), 42, {false}}"
  equal db.eval(script, keys: ['k'], argv: ['v']), ['v', 42, [nil]]
  raises(Redis::CommandError, /\AMINE it went wrong/) { db.eval("return redis.error_reply('MINE it went wrong')") }
  raises(Redis::CommandError, /\AERR Error compiling script/) { db.eval('return +') }
end

check 'EVALSHA/NOSCRIPT' do
  sha = db.script(:load, 'return ARGV[1] * 2')
  equal sha.size, 40
  equal db.evalsha(sha, argv: [21]), 42
  equal db.script(:exists, sha), true
  equal db.script(:flush), 'OK'
  raises(Redis::CommandError, /\ANOSCRIPT No matching script/) { db.evalsha(sha, argv: [21]) }
end

check 'SCAN loop' do
  names = (0..999).map { |i| "scanned:#{i}" }
  db.pipelined { |pipeline| names.each { |name| pipeline.set(name, name) } }
  equal db.scan_each(match: 'scanned:*', count: 100).to_a.uniq.sort, names.sort
  cursor, keys = db.scan(0, match: 'scanned:*', count: 10)
  expect(cursor != '0' && keys.size < 1000)
end

check 'streams with consumer group' do
  equal db.xadd('x', { 'f' => 'a' }, id: '1-1'), '1-1'
  db.xadd('x', { 'f' => 'b' }, id: '1-2')
  db.xadd('x', { 'f' => 'c' })
  equal db.xgroup(:create, 'x', 'g', 0), 'OK'
  raises(Redis::CommandError, /\ABUSYGROUP/) { db.xgroup(:create, 'x', 'g', 0) }
  first = [['1-1', { 'f' => 'a' }], ['1-2', { 'f' => 'b' }]]
  equal db.xreadgroup('g', 'alice', 'x', '>', count: 2), { 'x' => first }
  equal db.xpending('x', 'g')['size'], 2
  equal db.xack('x', 'g', '1-1'), 1
  equal db.xclaim('x', 'g', 'bob', 0, '1-2'), [['1-2', { 'f' => 'b' }]]
  equal db.xreadgroup('g', 'bob', 'x', 0), { 'x' => [['1-2', { 'f' => 'b' }]] }
  equal db.xreadgroup('g', 'bob', 'x', '>', block: 1000)['x'][0][1], { 'f' => 'c' }
  equal db.xreadgroup('g', 'bob', 'x', '>', block: 30), {}
  equal db.xautoclaim('x', 'g', 'carol', 0, '0-0')['entries'].map(&:first)[0], '1-2'
  equal db.xinfo(:groups, 'x')[0]['pending'], 2
  equal db.xlen('x'), 3
end

skip 'RESP3', 'redis-rb 4 speaks RESP2 only'

check 'errors' do
  db.set('text', 'v')
  wrong = /\AWRONGTYPE Operation against a key holding the wrong kind of value\z/
  raises(Redis::CommandError, wrong) { db.lpush('text', 'x') }
  unknown = /\AERR unknown command 'nosuch', with args beginning with: 'a' 'b' ?\z/
  raises(Redis::CommandError, unknown) { db.call(:nosuch, 'a', 'b') }
  number = /\AERR value is not an integer or out of range\z/
  raises(Redis::CommandError, number) { db.call(:set, 'text', 'v', 'EX', 'nan') }
  equal db.get('text'), 'v'
end

check 'reconnect after restart' do
  patient = client(reconnect_attempts: 3)
  patient.set('kept', 'over the restart')
  db.rpush('kept-list', %w[a b])
  puts '# RESTART'
  expect($stdin.gets)
  equal patient.get('kept'), 'over the restart'
  begin
    db.ping
    raise Failure, 'the old connection still answers'
  rescue Redis::ConnectionError
    equal db.lrange('kept-list', 0, -1), %w[a b]
  end
end

puts "1..#{$reported}"
exit($failed.zero?)
