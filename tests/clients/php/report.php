<?php
// What the programs share: TAP output and the data that the checks use.
declare(strict_types=1);

error_reporting(E_ALL);
// A notice or warning of PHP or the library fails the check; those of deprecated syntax inside a library do not.
set_error_handler(function (int $level, string $message, string $file, int $line): bool {
    if ($level & (E_DEPRECATED | E_USER_DEPRECATED)) {
        return true;
    }
    throw new ErrorException($message, 0, $level, $file, $line);
});

[, $host, $port, $password] = $argv;
define('HOST', $host);
define('PORT', (int) $port);
define('PASSWORD', $password);
define('OPEN_PORT', (int) (getenv('DISKKV_CLIENT_OPEN_PORT') ?: $port));
define('ROLE', $argv[5] ?? '');
define('ALL_BYTES', implode('', array_map('chr', range(0, 255))));
$megabyte = str_repeat("\0", 1 << 20);
for ($i = 0; $i < 1 << 20; $i++) {
    $megabyte[$i] = chr(($i * 31 + intdiv($i, 257)) & 0xff);
}
define('MEGABYTE', $megabyte);
const PIPELINED = 10000;
const SCANNED = 1000;
const JOBS = ['one', 'two', 'three'];
const SCRIPT = "redis.call('SET', KEYS[1], ARGV[1]); return {redis.call('GET', KEYS[1]), 42, {false}}";

final class Report
{
    private int $reported = 0;
    private bool $hasFailed = false;

    public function check(string $name, callable $body): void
    {
        $this->reported++;
        try {
            $body();
            echo "ok $this->reported - $name\n";
        } catch (Throwable $error) {
            $this->hasFailed = true;
            echo "not ok $this->reported - $name\n# ", str_replace("\n", "\n# ", (string) $error), "\n";
        }
    }

    public function skip(string $name, string $reason): void
    {
        $this->reported++;
        echo "ok $this->reported - $name # SKIP $reason\n";
    }

    public function end(): never
    {
        echo "1..$this->reported\n";
        exit((int) $this->hasFailed);
    }
}

function equal(mixed $expected, mixed $actual): void
{
    if ($expected !== $actual) {
        throw new Exception('expected ' . var_export($expected, true) . ', got ' . var_export($actual, true));
    }
}

function holds(bool $condition): void
{
    equal(true, $condition);
}

function sorted(array $values): array
{
    sort($values);
    return $values;
}

/** The call must throw this exception with a message that begins so. */
function throws(string $class, string $prefix, callable $call): void
{
    try {
        $call();
    } catch (Throwable $error) {
        if ($error instanceof $class && str_starts_with($error->getMessage(), $prefix)) {
            return;
        }
        throw $error;
    }
    throw new Exception("nothing was thrown, not $class");
}

function until(callable $condition): void
{
    $deadline = microtime(true) + 10;
    while (!$condition()) {
        holds(microtime(true) < $deadline);
        usleep(5000);
    }
}

/** The same program in another process, in another role; it must end well once `$body` is done. */
function with_other(string $role, callable $body): void
{
    global $argv;
    $command = [PHP_BINARY, ...array_slice($argv, 0, 5), $role];
    $process = proc_open($command, [['file', '/dev/null', 'r'], STDERR, STDERR], $pipes);
    try {
        $body();
    } finally {
        $status = proc_close($process);
    }
    equal(0, $status);
}

function restart(): void
{
    echo "# RESTART\n";
    equal('restarted', trim(fgets(STDIN)));
}
