# Drives a server through Redis or Redis::Fast and reports every check as TAP.
# Started as: perl client.pl HOST PORT PASSWORD DIRECTORY; DISKKV_CLIENT_CLASS names the client class.

use strict;
use warnings;
use POSIX ();
use Time::HiRes qw(sleep time);

my ($host, $port, $password, $directory) = @ARGV;
my $class = $ENV{DISKKV_CLIENT_CLASS};
eval "require $class" or die $@;

my ($reported, $failed) = (0, 0);
$| = 1;
print "# library $class ", $class->VERSION, "\n";

# Fails the check in which it is called.
sub expect {
    my ($condition, $what) = @_;
    my (undef, undef, $line) = caller;
    die "line $line: " . ($what // 'not so') . "\n" unless $condition;
    return;
}

sub equal {
    my ($got, $wanted) = @_;
    my (undef, undef, $line) = caller;
    my ($got_text, $wanted_text) = map { shown($_) } $got, $wanted;
    die "line $line: got $got_text, wanted $wanted_text\n" if $got_text ne $wanted_text;
    return;
}

sub shown {
    my ($value) = @_;
    return 'nothing' unless defined $value;
    return '[' . join(', ', map { shown($_) } @$value) . ']' if ref $value;
    return length $value > 1000 ? length($value) . ' bytes ' . unpack('%32C*', $value) : "'$value'";
}

# The text of the exception that the code dies with.
sub error_of {
    my ($code) = @_;
    return eval { $code->(); 1 } ? 'no error' : "$@";
}

sub check {
    my ($name, $body) = @_;
    my $ok = eval { $body->(); 1 };
    my $problem = $@;
    $reported++;
    print $ok ? '' : 'not ', "ok $reported - $name\n";
    return if $ok;
    $failed++;
    print "# $_\n" for split /[\r\n]+/, $problem;
    return;
}

sub skip {
    my ($name, $reason) = @_;
    $reported++;
    print "ok $reported - $name # SKIP $reason\n";
    return;
}

sub client {
    my (%options) = @_;
    my @login = length $password ? (password => $password) : ();
    return $class->new(server => "$host:$port", @login, %options);
}

# Takes messages until the condition holds; wait_for_messages returns when none has come for that many seconds.
sub listen_until {
    my ($subscriber, $condition) = @_;
    my $deadline = time + 10;
    $subscriber->wait_for_messages(0.05) while !$condition->() && time < $deadline;
    return;
}

my $db = client(reconnect => 10, every => 20_000);
$db->flushall;

check 'connect' => sub {
    my $open = $class->new(server => "$host:" . ($ENV{DISKKV_CLIENT_OPEN_PORT} // $port));
    equal($open->ping, 'PONG');
    equal($open->echo('hello'), 'hello');
    $open->quit;
};

check 'auth' => sub {
    my $unknown = $class->new(server => "$host:$port");
    expect(error_of(sub { $unknown->get('k') }) =~ /NOAUTH Authentication required/);
    equal($unknown->auth($password), 'OK');
    equal($unknown->ping, 'PONG');
    equal(client(username => 'default')->ping, 'PONG');
};

check 'wrong password error' => sub {
    my $error = error_of(sub { $class->new(server => "$host:$port", password => 'no such password')->ping });
    expect($error =~ /WRONGPASS invalid username-password pair or user is disabled/, $error);
};

check 'select database isolation' => sub {
    $db->set(where => 'zero');
    equal($db->select(3), 'OK');
    equal($db->get('where'), undef);
    $db->set(where => 'three');
    equal($db->dbsize, 1);
    expect(error_of(sub { $db->select(1000) }) =~ /ERR DB index is out of range/);
    $db->select(0);
    equal($db->get('where'), 'zero');
};

check 'strings' => sub {
    equal($db->set(s => 'value'), 'OK');
    equal($db->get('s'), 'value');
    equal($db->set(s => 'other', 'NX'), undef);
    equal($db->getset(s => 'other'), 'value');
    equal($db->append(s => 's'), 6);
    equal($db->getrange(s => 1, 3), 'the');
    equal($db->mset(s1 => 'one', s2 => 'two'), 'OK');
    equal([$db->mget(qw(s1 nosuch s2))], ['one', undef, 'two']);
    equal($db->del(qw(s s1 s2 nosuch)), 3);
};

check 'counters' => sub {
    equal($db->incr('n'), 1);
    equal($db->incrby(n => '9223372036854775000'), '9223372036854775001');
    expect(error_of(sub { $db->incrby(n => 1000) }) =~ /ERR increment or decrement would overflow/);
    equal($db->decrby(n => '9223372036854775000'), 1);
    equal($db->incrbyfloat(n => 0.5), '1.5');
    expect(error_of(sub { $db->incr('n') }) =~ /ERR value is not an integer or out of range/);
};

check 'binary-safe keys and values' => sub {
    my $all = pack 'C*', 0 .. 255;
    equal($db->set($all => $all), 'OK');
    expect($db->get($all) eq $all);
    expect(($db->keys("\0\1*"))[0] eq $all);
    equal($db->set('' => ''), 'OK');
    equal($db->get(''), '');
    equal($db->del(''), 1);
    my $big = $all x 4096;
    equal($db->set(big => $big), 'OK');
    expect($db->get('big') eq $big);
    my $long = 'k' x 65536;
    $db->set($long => 'long key');
    equal($db->get($long), 'long key');
};

check 'hashes' => sub {
    equal($db->hset('h', a => 1, b => 2, c => 3), 3);
    equal($db->hget(h => 'b'), 2);
    equal($db->hget(h => 'nosuch'), undef);
    equal([$db->hgetall('h')], [qw(a 1 b 2 c 3)]);
    equal([$db->hmget(h => qw(c nosuch))], [3, undef]);
    equal($db->hincrby(h => a => 41), 42);
    equal($db->hdel(h => qw(b c nosuch)), 2);
    equal($db->hlen('h'), 1);
};

check 'lists' => sub {
    equal($db->rpush(l => qw(a b c)), 3);
    equal($db->lpush(l => 'z'), 4);
    equal([$db->lrange(l => 0, -1)], [qw(z a b c)]);
    equal($db->lpop('l'), 'z');
    equal($db->rpop('l'), 'c');
    equal($db->lindex(l => 0), 'a');
    equal($db->lmove('l', 'l2', 'LEFT', 'RIGHT'), 'a');
    equal($db->llen('l'), 1);
};

check 'sets' => sub {
    equal($db->sadd(s1 => qw(a b c a)), 3);
    equal($db->sadd(s2 => qw(b c d)), 3);
    equal($db->sismember(s1 => 'a'), 1);
    equal([sort $db->sinter(qw(s1 s2))], [qw(b c)]);
    equal($db->sunionstore(qw(s3 s1 s2)), 4);
    equal([$db->sdiff(qw(s1 s2))], ['a']);
    equal($db->srem(s1 => qw(a nosuch)), 1);
    equal($db->scard('s1'), 2);
};

check 'sorted sets' => sub {
    equal($db->zadd('z', 1, 'a', 2.5, 'b', '-inf', 'c'), 3);
    equal([$db->zrange('z', 0, -1, 'WITHSCORES')], [qw(c -inf a 1 b 2.5)]);
    equal($db->zscore(z => 'b'), 2.5);
    equal($db->zincrby(z => 2, 'a'), 3);
    equal($db->zrank(z => 'a'), 2);
    equal([$db->zrangebyscore('z', '(2.5', '+inf')], ['a']);
    equal([$db->zpopmin('z')], [qw(c -inf)]);
    equal($db->zcard('z'), 2);
};

check 'expiry' => sub {
    equal($db->set('e', 'v', 'EX', 100), 'OK');
    my $ttl = $db->ttl('e');
    expect($ttl >= 99 && $ttl <= 100, $ttl);
    equal($db->persist('e'), 1);
    equal($db->ttl('e'), -1);
    equal($db->pexpire(e => 30), 1);
    my $deadline = time + 5;
    sleep 0.005 while $db->exists('e') && time < $deadline;
    equal($db->get('e'), undef);
    equal($db->ttl('e'), -2);
};

check 'pipeline of 10,000 commands' => sub {
    my ($sum, $answered, $wrong) = (0, 0, 0);
    for my $i (1 .. 10_000) {
        $sum += $i % 7;
        my $wanted = $sum;
        $db->incrby(pipelined => $i % 7, sub { $answered++; $wrong++ if $_[0] != $wanted });
    }
    $db->wait_all_responses;
    equal([$answered, $wrong], [10_000, 0]);
    equal($db->get('pipelined'), $sum);
};

check 'MULTI/EXEC' => sub {
    equal($db->multi, 'OK');
    equal($db->set(t => 1), 'QUEUED');
    equal($db->incr('t'), 'QUEUED');
    equal([$db->exec], ['OK', 2]);
    # Pipelined, because otherwise the module leaves the replies behind an error in EXEC's reply unread.
    my $results;
    $db->multi(sub { });
    $db->incr('t', sub { });
    $db->lpop('t', sub { });
    $db->incr('t', sub { });
    $db->exec(sub { ($results) = @_ });
    $db->wait_all_responses;
    equal([map { $_->[0] } @$results], [3, undef, 4]);
    expect($results->[1][1] =~ /^WRONGTYPE/, $results->[1][1]);
    $db->multi;
    expect(error_of(sub { $db->get }) =~ /wrong number of arguments/);
    expect(error_of(sub { $db->exec }) =~ /EXECABORT/);
    $db->multi;
    $db->incr('t');
    equal($db->discard, 'OK');
    equal($db->get('t'), 4);
};

check 'WATCH conflict' => sub {
    my $other = client();
    $db->set(w => 1);
    equal($db->watch('w'), 'OK');
    $other->incr('w');
    $db->multi;
    $db->set(w => 100);
    equal($db->exec, undef);
    equal($db->get('w'), 2);
    $db->watch('w');
    $db->multi;
    $db->set(w => 100);
    equal([$db->exec], ['OK']);
};

check 'publish/subscribe message' => sub {
    my $subscriber = client();
    my @heard;
    $subscriber->subscribe(news => sub { push @heard, @_ });
    equal($db->publish(news => "a\0b"), 1);
    listen_until($subscriber, sub { @heard });
    equal([@heard[0 .. 2]], ["a\0b", 'news', 'news']);
};

check 'publish/subscribe pattern' => sub {
    my $subscriber = client();
    my @heard;
    $subscriber->psubscribe('n?ws.*' => sub { push @heard, @_ });
    equal($db->publish('news.art' => 'hello'), 1);
    equal($db->publish('nws.art' => 'hello'), 0);
    listen_until($subscriber, sub { @heard });
    equal([@heard[0 .. 2]], ['hello', 'news.art', 'n?ws.*']);
};

check 'blocking pop queue between two processes' => sub {
    my $worker = fork // die "no fork: $!";
    if ($worker == 0) {
        my $done = eval {
            my $own = client();
            for (1 .. 3) {
                my (undef, $job) = $own->blpop(jobs => 10);
                $own->rpush(done => "did-$job");
            }
            1;
        };
        POSIX::_exit($done ? 0 : 1);
    }
    my $deadline = time + 10;
    sleep 0.005 while $db->info->{blocked_clients} != 1 && time < $deadline;
    equal($db->rpush(jobs => 'one'), 1);
    equal([$db->blpop(done => 10)], [qw(done did-one)]);
    $db->rpush(jobs => qw(two three));
    equal([$db->blpop(done => 10)], [qw(done did-two)]);
    equal([$db->blpop(done => 10)], [qw(done did-three)]);
    waitpid $worker, 0;
    equal($?, 0);
};

check 'blocking pop timeout' => sub {
    my $begin = time;
    equal(scalar $db->blpop(nosuch => 0.2), undef);
    expect(time - $begin > 0.19 && time - $begin < 5);
    equal($db->brpoplpush('nosuch', 'other', 0.05), undef);
};

check 'EVAL' => sub {
    my $script = "redis.call('SET', KEYS[1], ARGV[1]); return {redis.call('GET', KEYS[1]), 42, {false}}";
    equal([$db->eval($script, 1, 'k', 'v')], ['v', 42, [undef]]);
    expect(error_of(sub { $db->eval("return redis.error_reply('MINE it went wrong')", 0) }) =~ /MINE it went wrong/);
    expect(error_of(sub { $db->eval('return +', 0) }) =~ /ERR Error compiling script/);
};

check 'EVALSHA/NOSCRIPT' => sub {
    my $sha = $db->script_load('return ARGV[1] * 2');
    equal(length $sha, 40);
    equal($db->evalsha($sha, 0, 21), 42);
    equal([$db->script_exists($sha)], [1]);
    equal($db->script_flush, 'OK');
    expect(error_of(sub { $db->evalsha($sha, 0, 21) }) =~ /NOSCRIPT No matching script/);
};

check 'SCAN loop' => sub {
    $db->set("scanned:$_" => $_, sub { }) for 0 .. 999;
    $db->wait_all_responses;
    my ($cursor, $calls, %seen) = (0, 0);
    do {
        ($cursor, my $keys) = $db->scan($cursor, 'MATCH', 'scanned:*', 'COUNT', 100);
        $seen{$_}++ for @$keys;
        expect(++$calls < 1000, 'the scan does not end');
    } while ($cursor);
    equal([sort keys %seen], [sort map { "scanned:$_" } 0 .. 999]);
    expect($calls > 1);
};

check 'streams with consumer group' => sub {
    equal($db->xadd('x', '1-1', 'f', 'a'), '1-1');
    $db->xadd('x', '1-2', 'f', 'b');
    $db->xadd('x', '*', 'f', 'c');
    equal($db->xgroup('CREATE', 'x', 'g', 0), 'OK');
    expect(error_of(sub { $db->xgroup('CREATE', 'x', 'g', 0) }) =~ /BUSYGROUP/);
    equal(
        [$db->xreadgroup('GROUP', 'g', 'alice', 'COUNT', 2, 'STREAMS', 'x', '>')],
        [['x', [['1-1', ['f', 'a']], ['1-2', ['f', 'b']]]]]
    );
    equal([$db->xpending('x', 'g')], [2, '1-1', '1-2', [['alice', 2]]]);
    equal($db->xack('x', 'g', '1-1'), 1);
    equal([$db->xclaim('x', 'g', 'bob', 0, '1-2')], [['1-2', ['f', 'b']]]);
    equal([$db->xreadgroup('GROUP', 'g', 'bob', 'STREAMS', 'x', 0)], [['x', [['1-2', ['f', 'b']]]]]);
    my ($stream) = $db->xreadgroup('GROUP', 'g', 'bob', 'BLOCK', 1000, 'STREAMS', 'x', '>');
    equal($stream->[1][0][1], ['f', 'c']);
    equal(scalar $db->xreadgroup('GROUP', 'g', 'bob', 'BLOCK', 30, 'STREAMS', 'x', '>'), undef);
    equal($db->xlen('x'), 3);
};

skip 'RESP3' => 'the module speaks RESP2 only';

check 'errors' => sub {
    $db->set(text => 'v');
    my $error = error_of(sub { $db->lpush(text => 'x') });
    expect($error =~ /^\[lpush\] WRONGTYPE Operation against a key holding the wrong kind of value/, $error);
    $error = error_of(sub { $db->nosuch('a', 'b') });
    expect($error =~ /ERR unknown command [`']NOSUCH['`], with args beginning with: 'a' 'b'/, $error);
    expect(error_of(sub { $db->set('text', 'v', 'EX', 'nan') }) =~ /ERR value is not an integer or out of range/);
    equal($db->get('text'), 'v');
};

check 'reconnect after restart' => sub {
    $db->set(kept => 'over the restart');
    $db->rpush('kept-list' => qw(a b));
    print "# RESTART\n";
    defined <STDIN> or die "the restart did not come\n";
    equal($db->get('kept'), 'over the restart');
    equal([$db->lrange('kept-list', 0, -1)], [qw(a b)]);
};

print "1..$reported\n";
exit($failed ? 1 : 0);
