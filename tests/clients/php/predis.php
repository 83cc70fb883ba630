<?php
// Drives a server through Predis and reports every check as TAP.
// Started as: predis.php HOST PORT PASSWORD DIRECTORY
declare(strict_types=1);

require __DIR__ . '/report.php';
require 'Predis/autoload.php';

use Predis\Client;
use Predis\Connection\ConnectionException;
use Predis\Response\ServerException;
use Predis\Transaction\AbortedMultiExecException;

function connected(?string $password = PASSWORD, int $port = PORT, array $parameters = []): Client
{
    $parameters += ['host' => HOST, 'port' => $port, 'timeout' => 10, 'read_write_timeout' => 10];
    return new Client($parameters + ($password ? ['password' => $password] : []));
}

function refused(string $prefix, callable $call): void
{
    throws(ServerException::class, $prefix, $call);
}

$db = connected();
$checks = [];

$checks['connect'] = function () {
    $client = connected(null, OPEN_PORT);
    equal('PONG', (string) $client->ping());
    equal('hello', $client->echo('hello'));
    $other = new Client('tcp://' . HOST . ':' . OPEN_PORT . '?database=2');
    holds(str_contains($other->executeRaw(['CLIENT', 'INFO']), ' db=2 '));
};

$checks['auth'] = function () {
    $client = connected(null);
    refused('NOAUTH Authentication required.', fn () => $client->get('k'));
    equal('OK', (string) $client->auth(PASSWORD));
    equal('OK', $client->executeRaw(['AUTH', 'default', PASSWORD]));
    equal(null, $client->get('k'));
};

$checks['wrong password error'] = function () {
    $client = connected('no such password');
    throws(ConnectionException::class, '`AUTH` failed: WRONGPASS', fn () => $client->ping());
};

$checks['select database isolation'] = function () use ($db) {
    $db->set('where', 'zero');
    $other = connected(parameters: ['database' => 3]);
    equal(null, $other->get('where'));
    $other->set('where', 'three');
    equal(1, $other->dbsize());
    refused('ERR DB index is out of range', fn () => $other->select(1000));
    equal('zero', $db->get('where'));
};

$checks['strings'] = function () use ($db) {
    equal('OK', (string) $db->set('s', 'value'));
    equal('value', $db->get('s'));
    equal(null, $db->set('s', 'other', 'NX'));
    equal('value', $db->getset('s', 'other'));
    equal(6, $db->append('s', 's'));
    equal('the', $db->getrange('s', 1, 3));
    equal('OK', (string) $db->mset(['s1' => 'one', 's2' => 'two']));
    equal(['one', null, 'two'], $db->mget(['s1', 'nosuch', 's2']));
    equal(3, $db->del('s', 's1', 's2', 'nosuch'));
};

$checks['counters'] = function () use ($db) {
    equal(1, $db->incr('n'));
    equal(9223372036854775001, $db->incrby('n', 9223372036854775000));
    refused('ERR increment or decrement would overflow', fn () => $db->incrby('n', 1000));
    equal(1, $db->decrby('n', 9223372036854775000));
    equal('1.5', $db->incrbyfloat('n', 0.5));
    refused('ERR value is not an integer or out of range', fn () => $db->incr('n'));
};

$checks['binary-safe keys and values'] = function () use ($db) {
    equal('OK', (string) $db->set(ALL_BYTES, ALL_BYTES));
    equal(ALL_BYTES, $db->get(ALL_BYTES));
    equal([ALL_BYTES], $db->keys("\0\1*"));
    equal('OK', (string) $db->set('', ''));
    equal('', $db->get(''));
    equal(1, $db->del(''));
    $db->set('big', MEGABYTE);
    holds($db->get('big') === MEGABYTE);
    $db->set(substr(MEGABYTE, 0, 65536), 'long-key');
    equal('long-key', $db->get(substr(MEGABYTE, 0, 65536)));
};

$checks['hashes'] = function () use ($db) {
    equal('OK', (string) $db->hmset('h', ['a' => 1, 'b' => 2, 'c' => 3]));
    equal('2', $db->hget('h', 'b'));
    equal(null, $db->hget('h', 'nosuch'));
    equal(['a' => '1', 'b' => '2', 'c' => '3'], $db->hgetall('h'));
    equal(42, $db->hincrby('h', 'a', 41));
    equal(2, $db->hdel('h', ['b', 'c', 'nosuch']));
    equal(1, $db->hlen('h'));
};

$checks['lists'] = function () use ($db) {
    equal(3, $db->rpush('l', ['a', 'b', 'c']));
    equal(4, $db->lpush('l', ['z']));
    equal(['z', 'a', 'b', 'c'], $db->lrange('l', 0, -1));
    equal('z', $db->lpop('l'));
    equal(['c', 'b'], $db->executeRaw(['RPOP', 'l', '2']));
    equal('a', $db->lindex('l', 0));
    equal('a', $db->executeRaw(['LMOVE', 'l', 'l2', 'LEFT', 'RIGHT']));
    equal(0, $db->exists('l'));
};

$checks['sets'] = function () use ($db) {
    equal(3, $db->sadd('s1', ['a', 'b', 'c', 'a']));
    equal(3, $db->sadd('s2', ['b', 'c', 'd']));
    equal(1, $db->sismember('s1', 'a'));
    equal(['b', 'c'], sorted($db->sinter(['s1', 's2'])));
    equal(4, $db->sunionstore('s3', ['s1', 's2']));
    equal(['a'], $db->sdiff(['s1', 's2']));
    equal(1, $db->srem('s1', ['a', 'nosuch']));
    equal(2, $db->scard('s1'));
};

$checks['sorted sets'] = function () use ($db) {
    equal(3, $db->zadd('z', ['a' => 1, 'b' => 2.5, 'c' => '-inf']));
    equal(['c' => '-inf', 'a' => '1', 'b' => '2.5'], $db->zrange('z', 0, -1, ['withscores' => true]));
    equal('2.5', $db->zscore('z', 'b'));
    equal('3', $db->zincrby('z', 2, 'a'));
    equal(2, $db->zrank('z', 'a'));
    equal(['a'], $db->zrangebyscore('z', '(2.5', '+inf'));
    equal(['c', '-inf'], $db->executeRaw(['ZPOPMIN', 'z']));
    equal(2, $db->zcard('z'));
};

$checks['expiry'] = function () use ($db) {
    equal('OK', (string) $db->set('e', 'v', 'EX', 100));
    holds(in_array($db->ttl('e'), [99, 100], true));
    equal(1, $db->persist('e'));
    equal(-1, $db->ttl('e'));
    equal(1, $db->pexpire('e', 30));
    until(fn () => $db->exists('e') === 0);
    equal(null, $db->get('e'));
    equal(-2, $db->ttl('e'));
};

$checks['pipeline of 10,000 commands'] = function () use ($db) {
    $sums = [];
    $sum = 0;
    $replies = $db->pipeline(function ($batch) use (&$sums, &$sum) {
        for ($i = 0; $i < PIPELINED; $i++) {
            $batch->incrby('pipelined', $i % 7);
            $sums[] = $sum += $i % 7;
        }
    });
    equal($sums, $replies);
};

$checks['MULTI/EXEC'] = function () use ($db) {
    $replies = $db->transaction(fn ($batch) => $batch->set('t', '1')->incr('t'));
    equal(['OK', 2], [(string) $replies[0], $replies[1]]);
    refused('WRONGTYPE', fn () => $db->transaction(fn ($batch) => $batch->incr('t')->lpop('t')));
    equal('3', $db->get('t'));
    equal('OK', $db->executeRaw(['MULTI']));
    equal("ERR unknown command 'NOSUCH'", substr($db->executeRaw(['NOSUCH'], $failed), 0, 28));
    holds($failed);
    equal('EXECABORT Transaction discarded because of previous errors.', $db->executeRaw(['EXEC']));
};

$checks['WATCH conflict'] = function () use ($db) {
    $db->set('w', 1);
    $attempts = [];
    $double = function ($batch) use ($db, &$attempts) {
        $value = (int) $batch->get('w');
        $attempts[] = $value;
        if (count($attempts) === 1) {
            connected()->incr('w');
        }
        $batch->multi();
        $batch->set('w', $value * 2);
    };
    $db->transaction(['watch' => 'w', 'cas' => true, 'retry' => 3], $double);
    equal([1, 2], $attempts);
    equal('4', $db->get('w'));
    $attempts = [];
    throws(AbortedMultiExecException::class, '', fn () => $db->transaction(['watch' => 'w', 'cas' => true], $double));
};

function hear(string $how, string $channel): array
{
    $loop = connected()->pubSubLoop();
    $loop->$how($channel);
    foreach ($loop as $message) {
        if (in_array($message->kind, ['message', 'pmessage'], true)) {
            $loop->stop(true);
            return (array) $message;
        }
    }
}

$checks['publish/subscribe message'] = function () {
    with_other('publisher', fn () => equal(['kind' => 'message', 'channel' => 'news', 'payload' => "a\0b"], hear('subscribe', 'news')));
};

const PATTERN_MESSAGE = ['kind' => 'pmessage', 'pattern' => 'n?ws.*', 'channel' => 'news.art', 'payload' => 'hello'];

$checks['publish/subscribe pattern'] = function () {
    with_other('pattern publisher', fn () => equal(PATTERN_MESSAGE, hear('psubscribe', 'n?ws.*')));
};

$checks['blocking pop queue between two processes'] = function () use ($db) {
    with_other('worker', function () use ($db) {
        until(fn () => $db->info('clients')['Clients']['blocked_clients'] == 1);
        equal(1, $db->rpush('jobs', ['one']));
        equal(['done', 'did-one'], $db->blpop(['done'], 10));
        $db->rpush('jobs', ['two', 'three']);
        equal(['done', 'did-two'], $db->blpop(['done'], 10));
        equal(['done', 'did-three'], $db->blpop(['done'], 10));
    });
};

$checks['blocking pop timeout'] = function () use ($db) {
    $begin = microtime(true);
    equal(null, $db->blpop(['nosuch'], 0.2));
    $took = microtime(true) - $begin;
    holds(0.19 < $took && $took < 5);
    equal(null, $db->brpoplpush('nosuch', 'other', 0.05));
};

$checks['EVAL'] = function () use ($db) {
    equal(['v', 42, [null]], $db->eval(SCRIPT, 1, 'k', 'v'));
    $mine = "return redis.error_reply('MINE it went wrong')";
    refused('MINE it went wrong', fn () => $db->eval($mine, 0));
    refused('ERR Error compiling script', fn () => $db->eval('return +', 0));
};

$checks['EVALSHA/NOSCRIPT'] = function () use ($db) {
    $sha = $db->script('load', 'return ARGV[1] * 2');
    equal(42, $db->evalsha($sha, 0, '21'));
    equal('OK', (string) $db->script('flush'));
    refused('NOSCRIPT No matching script', fn () => $db->evalsha($sha, 0, '21'));
};

$checks['SCAN loop'] = function () use ($db) {
    $names = array_map(fn ($i) => "scanned:$i", range(0, SCANNED - 1));
    $db->mset(array_fill_keys($names, '1'));
    $found = [];
    foreach (new Predis\Collection\Iterator\Keyspace($db, 'scanned:*', 100) as $key) {
        $found[] = $key;
    }
    equal(sorted($names), sorted(array_values(array_unique($found))));
    holds($db->scan(0, ['count' => 10])[0] !== '0');
};

// Predis 1 has no methods for streams; any command can be sent as it is.
$checks['streams with consumer group'] = function () use ($db) {
    $run = fn (string $line) => $db->executeRaw(explode(' ', $line));
    equal('1-1', $run('XADD x 1-1 f a'));
    $run('XADD x 1-2 f b');
    $newest = $run('XADD x * f c');
    equal('OK', $run('XGROUP CREATE x g 0'));
    equal('BUSYGROUP', substr($run('XGROUP CREATE x g 0'), 0, 9));
    $entries = [['1-1', ['f', 'a']], ['1-2', ['f', 'b']]];
    equal([['x', $entries]], $run('XREADGROUP GROUP g alice COUNT 2 STREAMS x >'));
    equal([2, '1-1', '1-2', [['alice', '2']]], $run('XPENDING x g'));
    equal(1, $run('XACK x g 1-1'));
    equal([['1-2', ['f', 'b']]], $run('XCLAIM x g bob 0 1-2'));
    equal([['x', [[$newest, ['f', 'c']]]]], $run('XREADGROUP GROUP g bob BLOCK 1000 STREAMS x >'));
    equal(null, $run('XREADGROUP GROUP g bob BLOCK 30 STREAMS x >'));
    equal(3, $run('XLEN x'));
};

$checks['errors'] = function () use ($db) {
    $db->set('text', 'v');
    $message = 'WRONGTYPE Operation against a key holding the wrong kind of value';
    refused($message, fn () => $db->lpush('text', ['x']));
    $unknown = "ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' ";
    equal($unknown, $db->executeRaw(['NOSUCH', 'a', 'b'], $failed));
    holds($failed);
    equal("ERR wrong number of arguments for 'get' command", $db->executeRaw(['GET']));
    refused('ERR value is not an integer or out of range', fn () => $db->set('text', 'v', 'EX', 'nan'));
};

$checks['reconnect after restart'] = function () use ($db) {
    $db->set('kept', 'over the restart');
    $db->rpush('kept-list', ['a', 'b']);
    restart();
    throws(ConnectionException::class, '', fn () => $db->get('kept'));
    // Predis opens a new connection with the next command, and logs in again.
    equal('over the restart', $db->get('kept'));
    equal(['a', 'b'], $db->lrange('kept-list', 0, -1));
};

switch (ROLE) {
    case 'worker':
        foreach (JOBS as $_) {
            $db->rpush('done', ['did-' . $db->blpop(['jobs'], 10)[1]]);
        }
        exit(0);
    case 'publisher':
        until(fn () => $db->pubsub('numsub', 'news')['news'] == 1);
        exit($db->publish('news', "a\0b") === 1 ? 0 : 1);
    case 'pattern publisher':
        until(fn () => $db->pubsub('numpat') == 1);
        exit($db->publish('nws.art', 'hello') === 0 && $db->publish('news.art', 'hello') === 1 ? 0 : 1);
}

echo '# library Predis ', Client::VERSION, "\n";
$db->flushall();
$report = new Report();
foreach ($checks as $name => $body) {
    $report->check($name, $body);
    if ($name === 'streams with consumer group') {
        $report->skip('RESP3', 'Predis 1 speaks RESP2 only');
    }
}
$report->end();
