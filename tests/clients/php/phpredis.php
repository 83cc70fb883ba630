<?php
// Drives a server through phpredis and reports every check as TAP.
// Started as: phpredis.php HOST PORT PASSWORD DIRECTORY
declare(strict_types=1);

require __DIR__ . '/report.php';

function connected(?string $password = PASSWORD, int $port = PORT): Redis
{
    $client = new Redis();
    holds($client->connect(HOST, $port, 10));
    if ($password) {
        holds($client->auth($password));
    }
    return $client;
}

/** Answers of the server that are no exceptions but false, with the text kept. */
function refused(Redis $client, string $prefix, callable $call): void
{
    $client->clearLastError();
    equal(false, $call());
    $text = (string) $client->getLastError();
    equal($prefix, substr($text, 0, strlen($prefix)));
}

$db = connected();
$checks = [];

$checks['connect'] = function () {
    $client = connected(null, OPEN_PORT);
    equal(true, $client->ping());
    equal('hello', $client->echo('hello'));
    equal('hello', $client->ping('hello'));
};

$checks['auth'] = function () {
    $client = connected(null);
    throws(RedisException::class, 'NOAUTH Authentication required.', fn () => $client->get('k'));
    holds($client->auth(PASSWORD));
    holds($client->auth(['default', PASSWORD]));
    equal('default', $client->acl('WHOAMI'));
};

$checks['wrong password error'] = function () {
    $message = 'WRONGPASS invalid username-password pair or user is disabled.';
    throws(RedisException::class, $message, fn () => connected('no such password'));
};

$checks['select database isolation'] = function () use ($db) {
    $db->set('where', 'zero');
    $other = connected();
    holds($other->select(3));
    equal(false, $other->get('where'));
    $other->set('where', 'three');
    equal(1, $other->dbSize());
    refused($other, 'ERR DB index is out of range', fn () => $other->select(1000));
    equal('zero', $db->get('where'));
};

$checks['strings'] = function () use ($db) {
    equal(true, $db->set('s', 'value'));
    equal('value', $db->get('s'));
    equal(false, $db->set('s', 'other', ['nx']));
    equal('value', $db->getSet('s', 'other'));
    equal(6, $db->append('s', 's'));
    equal('the', $db->getRange('s', 1, 3));
    equal(true, $db->mset(['s1' => 'one', 's2' => 'two']));
    equal(['one', false, 'two'], $db->mget(['s1', 'nosuch', 's2']));
    equal(3, $db->del('s', 's1', 's2', 'nosuch'));
};

$checks['counters'] = function () use ($db) {
    equal(1, $db->incr('n'));
    equal(9223372036854775001, $db->incrBy('n', 9223372036854775000));
    refused($db, 'ERR increment or decrement would overflow', fn () => $db->incrBy('n', 1000));
    equal(1, $db->decrBy('n', 9223372036854775000));
    equal(1.5, $db->incrByFloat('n', 0.5));
    refused($db, 'ERR value is not an integer or out of range', fn () => $db->incr('n'));
};

$checks['binary-safe keys and values'] = function () use ($db) {
    equal(true, $db->set(ALL_BYTES, ALL_BYTES));
    equal(ALL_BYTES, $db->get(ALL_BYTES));
    equal([ALL_BYTES], $db->keys("\0\1*"));
    equal(true, $db->set('', ''));
    equal('', $db->get(''));
    equal(1, $db->del(''));
    $db->set('big', MEGABYTE);
    holds($db->get('big') === MEGABYTE);
    $db->set(substr(MEGABYTE, 0, 65536), 'long-key');
    equal('long-key', $db->get(substr(MEGABYTE, 0, 65536)));
};

$checks['hashes'] = function () use ($db) {
    equal(true, $db->hMSet('h', ['a' => 1, 'b' => 2, 'c' => 3]));
    equal('2', $db->hGet('h', 'b'));
    equal(false, $db->hGet('h', 'nosuch'));
    equal(['a' => '1', 'b' => '2', 'c' => '3'], $db->hGetAll('h'));
    equal(42, $db->hIncrBy('h', 'a', 41));
    equal(2, $db->hDel('h', 'b', 'c', 'nosuch'));
    equal(1, $db->hLen('h'));
};

$checks['lists'] = function () use ($db) {
    equal(3, $db->rPush('l', 'a', 'b', 'c'));
    equal(4, $db->lPush('l', 'z'));
    equal(['z', 'a', 'b', 'c'], $db->lRange('l', 0, -1));
    equal('z', $db->lPop('l'));
    equal(['c', 'b'], $db->rawCommand('RPOP', 'l', 2));
    equal('a', $db->lIndex('l', 0));
    equal('a', $db->rawCommand('LMOVE', 'l', 'l2', 'LEFT', 'RIGHT'));
    equal(0, $db->exists('l'));
};

$checks['sets'] = function () use ($db) {
    equal(3, $db->sAdd('s1', 'a', 'b', 'c', 'a'));
    equal(3, $db->sAdd('s2', 'b', 'c', 'd'));
    equal(true, $db->sIsMember('s1', 'a'));
    equal(['b', 'c'], sorted($db->sInter('s1', 's2')));
    equal(4, $db->sUnionStore('s3', 's1', 's2'));
    equal(['a'], $db->sDiff('s1', 's2'));
    equal(1, $db->sRem('s1', 'a', 'nosuch'));
    equal(2, $db->sCard('s1'));
};

$checks['sorted sets'] = function () use ($db) {
    equal(3, $db->zAdd('z', 1, 'a', 2.5, 'b', -INF, 'c'));
    equal(['c' => -INF, 'a' => 1.0, 'b' => 2.5], $db->zRange('z', 0, -1, true));
    equal(2.5, $db->zScore('z', 'b'));
    equal(3.0, $db->zIncrBy('z', 2, 'a'));
    equal(2, $db->zRank('z', 'a'));
    equal(['a'], $db->zRangeByScore('z', '(2.5', '+inf'));
    equal(['c' => -INF], $db->zPopMin('z'));
    equal(2, $db->zCard('z'));
};

$checks['expiry'] = function () use ($db) {
    equal(true, $db->set('e', 'v', ['ex' => 100]));
    holds(in_array($db->ttl('e'), [99, 100], true));
    equal(true, $db->persist('e'));
    equal(-1, $db->ttl('e'));
    equal(true, $db->pExpire('e', 30));
    until(fn () => $db->exists('e') === 0);
    equal(false, $db->get('e'));
    equal(-2, $db->ttl('e'));
};

$checks['pipeline of 10,000 commands'] = function () use ($db) {
    $batch = $db->pipeline();
    $sums = [];
    $sum = 0;
    for ($i = 0; $i < PIPELINED; $i++) {
        $batch->incrBy('pipelined', $i % 7);
        $sums[] = $sum += $i % 7;
    }
    equal($sums, $batch->exec());
};

$checks['MULTI/EXEC'] = function () use ($db) {
    equal([true, 2, false], $db->multi()->set('t', '1')->incr('t')->lPop('t')->exec());
    holds(str_starts_with($db->getLastError(), 'WRONGTYPE'));
    $db->multi();
    $db->rawCommand('NOSUCH');
    holds(!$db->exec());
    equal('PONG', $db->rawCommand('PING', 'PONG'));
};

$checks['WATCH conflict'] = function () use ($db) {
    $other = connected();
    $db->set('w', '1');
    $db->watch('w');
    $other->incr('w');
    equal(false, $db->multi()->set('w', '100')->exec());
    equal('2', $db->get('w'));
    $db->watch('w');
    equal([true], $db->multi()->set('w', '100')->exec());
};

function hear(string $how, string $channel): array
{
    $received = [];
    $subscriber = connected();
    $hear = function (Redis $client, ...$values) use (&$received) {
        $received = $values;
        $client->close();
    };
    // The loop of subscribe() ends with the connection only.
    throws(RedisException::class, 'Connection closed', fn () => $subscriber->$how([$channel], $hear));
    return $received;
}

$checks['publish/subscribe message'] = function () {
    with_other('publisher', fn () => equal(['news', "a\0b"], hear('subscribe', 'news')));
};

$checks['publish/subscribe pattern'] = function () {
    with_other('pattern publisher', fn () => equal(['n?ws.*', 'news.art', 'hello'], hear('psubscribe', 'n?ws.*')));
};

$checks['blocking pop queue between two processes'] = function () use ($db) {
    with_other('worker', function () use ($db) {
        until(fn () => $db->info('clients')['blocked_clients'] == 1);
        equal(1, $db->rPush('jobs', 'one'));
        equal(['done', 'did-one'], $db->blPop('done', 10));
        $db->rPush('jobs', 'two', 'three');
        equal(['done', 'did-two'], $db->blPop(['done'], 10));
        equal(['done', 'did-three'], $db->blPop(['done'], 10));
    });
};

$checks['blocking pop timeout'] = function () use ($db) {
    $begin = microtime(true);
    equal([], $db->rawCommand('BLPOP', 'nosuch', '0.2'));
    $took = microtime(true) - $begin;
    holds(0.19 < $took && $took < 5);
    equal(false, $db->rawCommand('BRPOPLPUSH', 'nosuch', 'other', '0.05') ?: false);
};

$checks['EVAL'] = function () use ($db) {
    equal(['v', 42, [false]], $db->eval(SCRIPT, ['k', 'v'], 1));
    $mine = "return redis.error_reply('MINE it went wrong')";
    throws(RedisException::class, 'MINE it went wrong', fn () => $db->eval($mine));
    refused($db, 'ERR Error compiling script', fn () => $db->eval('return +'));
};

$checks['EVALSHA/NOSCRIPT'] = function () use ($db) {
    $sha = $db->script('load', 'return ARGV[1] * 2');
    equal(42, $db->evalSha($sha, ['21']));
    equal(true, $db->script('flush'));
    refused($db, 'NOSCRIPT No matching script', fn () => $db->evalSha($sha, ['21']));
};

$checks['SCAN loop'] = function () use ($db) {
    $names = array_map(fn ($i) => "scanned:$i", range(0, SCANNED - 1));
    $db->mset(array_fill_keys($names, '1'));
    $found = [];
    $calls = 0;
    $cursor = null;
    while (($keys = $db->scan($cursor, 'scanned:*', 100)) !== false) {
        $calls++;
        $found = [...$found, ...$keys];
    }
    equal(sorted($names), sorted(array_values(array_unique($found))));
    holds($calls > 1);
};

$checks['streams with consumer group'] = function () use ($db) {
    equal('1-1', $db->xAdd('x', '1-1', ['f' => 'a']));
    $db->xAdd('x', '1-2', ['f' => 'b']);
    $newest = $db->xAdd('x', '*', ['f' => 'c']);
    equal(true, $db->xGroup('CREATE', 'x', 'g', '0'));
    refused($db, 'BUSYGROUP', fn () => $db->xGroup('CREATE', 'x', 'g', '0'));
    equal(['x' => ['1-1' => ['f' => 'a'], '1-2' => ['f' => 'b']]], $db->xReadGroup('g', 'alice', ['x' => '>'], 2));
    equal([2, '1-1', '1-2', [['alice', '2']]], $db->xPending('x', 'g'));
    equal(1, $db->xAck('x', 'g', ['1-1']));
    equal(['1-2' => ['f' => 'b']], $db->xClaim('x', 'g', 'bob', 0, ['1-2'], []));
    equal(['x' => [$newest => ['f' => 'c']]], $db->xReadGroup('g', 'bob', ['x' => '>'], 10, 1000));
    equal([], $db->xReadGroup('g', 'bob', ['x' => '>'], 10, 30) ?: []);
    equal(3, $db->xLen('x'));
};

$checks['errors'] = function () use ($db) {
    $db->set('text', 'v');
    $message = 'WRONGTYPE Operation against a key holding the wrong kind of value';
    refused($db, $message, fn () => $db->lPush('text', 'x'));
    $unknown = "ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' ";
    refused($db, $unknown, fn () => $db->rawCommand('NOSUCH', 'a', 'b'));
    refused($db, "ERR wrong number of arguments for 'get' command", fn () => $db->rawCommand('GET'));
    refused($db, 'ERR value is not an integer or out of range', fn () => $db->rawCommand('SET', 'text', 'v', 'EX', 'nan'));
};

$checks['reconnect after restart'] = function () use ($db) {
    $db->set('kept', 'over the restart');
    $db->rPush('kept-list', 'a', 'b');
    restart();
    // phpredis opens a new connection by itself, and logs in again.
    equal('over the restart', $db->get('kept'));
    equal(['a', 'b'], $db->lRange('kept-list', 0, -1));
};

switch (ROLE) {
    case 'worker':
        foreach (JOBS as $_) {
            $db->rPush('done', 'did-' . $db->blPop(['jobs'], 10)[1]);
        }
        exit(0);
    case 'publisher':
        until(fn () => $db->pubsub('numsub', ['news'])['news'] == 1);
        exit($db->publish('news', "a\0b") === 1 ? 0 : 1);
    case 'pattern publisher':
        until(fn () => $db->pubsub('numpat') == 1);
        exit($db->publish('nws.art', 'hello') === 0 && $db->publish('news.art', 'hello') === 1 ? 0 : 1);
}

echo '# library phpredis ', phpversion('redis'), "\n";
$db->flushAll();
$report = new Report();
foreach ($checks as $name => $body) {
    $report->check($name, $body);
    if ($name === 'streams with consumer group') {
        $report->skip('RESP3', 'phpredis speaks RESP2 only');
    }
}
$report->end();
