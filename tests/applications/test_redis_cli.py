"""redis-cli in all its modes: what it prints for diskkv is what it prints for Redis."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.clients.harness.toolchains import unavailable
from tests.harness.servers import POOL, Flavour, ServerProcess, reference_flavour, subject_flavour

TIMEOUT_S = 20
SETUP = (
    "FLUSHALL",
    "SET plain value",
    "SET number 41",
    r'SET binary "\x00\xff\n"',
    "RPUSH list one two three four",
    "HSET hash field value other 2",
    "SADD set member",
    "ZADD zset 1.5 low +inf high",
    "XADD stream 1-1 field value",
)

# Command line, and what goes to its standard input.
SAME_OUTPUT: dict[str, tuple[Sequence[str], str]] = {
    "one command": (["GET", "plain"], ""),
    "a nil, formatted": (["--no-raw", "GET", "nosuch"], ""),
    "nested replies, formatted": (["--no-raw", "XRANGE", "stream", "-", "+"], ""),
    "binary, formatted": (["--no-raw", "GET", "binary"], ""),
    "binary, raw": (["--raw", "GET", "binary"], ""),
    "commands on stdin": ([], "SET k 'two words'\nGET k\nINCR number\nNOSUCH\nLPUSH plain x\n"),
    "a transaction on stdin": ([], "MULTI\nSET k v\nINCR number\nEXEC\nEXEC\n"),
    "repeated": (["-r", "3", "-i", "0.01", "INCR", "number"], ""),
    "repeated by a prefix": ([], "3 INCR number\n"),
    "another database": (["-n", "5", "DBSIZE"], ""),
    "a URI": (["-u", "redis://127.0.0.1:{port}/5", "DBSIZE"], ""),
    "last argument from stdin": (["-x", "SET", "k"], "from stdin"),
    "tagged argument from stdin": (["-X", "here", "SET", "here", "v", "GET"], "plain"),
    "quoted input": (["--quoted-input", "GET", '"\\x62inary"'], ""),
    "delimiters": (["-d", ", ", "-D", "!", "LRANGE", "list", "0", "-1"], ""),
    "CSV": (["--csv", "HGETALL", "hash"], ""),
    "JSON": (["--json", "HGETALL", "hash"], ""),
    "JSON of scores": (["--json", "ZRANGE", "zset", "0", "-1", "WITHSCORES"], ""),
    "quoted JSON": (["--quoted-json", "GET", "binary"], ""),
    "RESP3": (["-3", "--no-raw", "HGETALL", "hash"], ""),
    "RESP3 doubles": (["-3", "--no-raw", "ZSCORE", "zset", "low"], ""),
    "status of an error": (["-e", "LPUSH", "plain", "x"], ""),
    "a script": (["--eval", "{script}", "plain", "number", ",", "6", "7"], ""),
    "a script that fails": (["--eval", "{script}"], ""),
    "all keys": (["--scan"], ""),
    "keys of a pattern": (["--scan", "--pattern", "*s[et]*", "-i", "0.001"], ""),
    "keys of a quoted pattern": (["--scan", "--quoted-pattern", '"\\x70lain"'], ""),
    "large keys": (["--bigkeys"], ""),
    "hot keys without LFU": (["--hotkeys"], ""),
    "protocol on stdin": (["--pipe"], "*2\r\n$4\r\nINCR\r\n$6\r\nnumber\r\nSET k v\r\nNOSUCH\r\nGET plain\r\n"),
    "a cluster's client": (["-c", "GET", "plain"], ""),
    "no cluster to manage": (["--cluster", "check", "127.0.0.1:{port}"], ""),
    "a user": (["--user", "default", "--pass", "any", "--no-auth-warning", "PING"], ""),
}


@pytest.fixture(scope="module")
def redis_cli() -> str:
    path = shutil.which("redis-cli")
    if path is None:
        unavailable("redis-cli is not installed")
    return path


def server_of(flavour: Flavour) -> ServerProcess:
    server = POOL.get(flavour, tcp=True, role="applications")
    status, output, _ = told(server, ["-e"], "\n".join(SETUP))
    assert status == 0, output
    return server


def told(server: ServerProcess, command: Sequence[str], stdin: str = "") -> tuple[int, str, str]:
    """Run it; the status, the output and the errors, without what is different in every run."""
    line = ["redis-cli", "-p", str(server.port), *command]
    done = subprocess.run(line, input=stdin.encode(), capture_output=True, timeout=TIMEOUT_S)
    texts = [
        text.decode("latin-1").replace(str(server.port), "PORT").replace(server.flavour.name, "SERVER")
        for text in (done.stdout, done.stderr)
    ]
    return done.returncode, *texts


@pytest.mark.parametrize("name", SAME_OUTPUT)
def test_the_output_is_that_of_redis(name: str, redis_cli: str, tmp_path: Path) -> None:
    script = tmp_path / "product.lua"
    script.write_text("return {redis.call('GET', KEYS[1]), ARGV[1] * ARGV[2] + redis.call('INCR', KEYS[2])}")
    options, stdin = SAME_OUTPUT[name]
    outputs = []
    for flavour in (reference_flavour(), subject_flavour()):
        server = server_of(flavour)
        command = [option.format(port=server.port, script=script) if "{" in option else option for option in options]
        status, output, errors = told(server, command, stdin)
        if name.startswith(("all keys", "keys of")):
            output = "\n".join(sorted(output.splitlines()))
        if name == "large keys":
            output = re.sub(r"(?m)^\[.*\n", "", output)
            output = "\n".join(sorted(re.sub("\"'?.*'?\"", "KEY", output).splitlines()))
        outputs.append((status, output, errors))
    assert outputs[0] == outputs[1]
    assert outputs[1][1] or outputs[1][2]


def test_memory_of_keys(redis_cli: str) -> None:
    _, output, _ = told(server_of(subject_flavour()), ["--memkeys"])
    assert "Sampled 8 keys in the keyspace!" in output
    assert re.search(r"1 streams with \d+ bytes \(12\.50% of keys", output)


def test_latency(redis_cli: str) -> None:
    _, output, _ = told(server_of(subject_flavour()), ["--latency", "-i", "0.05"])
    assert re.fullmatch(r"\d+ \d+ \d+\.\d\d \d+\n", output)


def test_a_dump_of_the_server(redis_cli: str, tmp_path: Path) -> None:
    server = server_of(subject_flavour())
    for option, keys in (("--rdb", 8), ("--functions-rdb", 0)):
        path = tmp_path / f"{keys}.rdb"
        status, output, errors = told(server, [option, str(path)])
        assert status == 0 and "Transfer finished with success" in output + errors
        checked = subprocess.run(["redis-check-rdb", path], capture_output=True, text=True, timeout=TIMEOUT_S)
        assert f"{keys} keys read" in checked.stdout if keys else "RDB looks OK" in checked.stdout, checked.stdout


def lines_until(command: Sequence[str], wanted: int, while_running: Sequence[Sequence[str]] = ()) -> list[str]:
    """The first lines of a command that does not end by itself; the others run when its first line is there."""
    # Its output is a terminal, or it would be written in blocks.
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        text = b""
        has_begun = False
        deadline = time.monotonic() + TIMEOUT_S
        try:
            while text.count(b"\n") < wanted and time.monotonic() < deadline:
                if select.select([ours], [], [], 0.1)[0]:
                    text += os.read(ours, 4096)
                if text and not has_begun:
                    has_begun = True
                    for other in while_running:
                        subprocess.run(other, check=True, capture_output=True, timeout=TIMEOUT_S)
        finally:
            process.kill()
            os.close(ours)
    return re.sub("\x1b\\[[0-9;]*[a-zA-Z]", "", text.decode()).replace("\r", "").splitlines()


def test_rolling_statistics(redis_cli: str) -> None:
    server = server_of(subject_flavour())
    lines = lines_until([redis_cli, "-p", str(server.port), "--stat", "-i", "0.05"], 4)
    assert lines[1].split() == ["keys", "mem", "clients", "blocked", "requests", "connections"]
    assert re.match(r"8 +\d+\.\d+[KM] +\d+ +0 +\d+ \(\+\d+\) +\d+", lines[2]), lines


def test_monitor(redis_cli: str) -> None:
    server = server_of(subject_flavour())
    command = [redis_cli, "-p", str(server.port)]
    lines = lines_until([*command, "MONITOR"], 2, [[*command, "SET", "k", "with \n newline"]])
    assert lines[0] == "OK"
    assert re.match(r'\d+\.\d{6} \[0 127\.0\.0\.1:\d+\] "SET" "k" "with \\n newline"$', lines[1])


def test_subscribed(redis_cli: str) -> None:
    server = server_of(subject_flavour())
    command = [redis_cli, "-p", str(server.port)]
    lines = lines_until([*command, "PSUBSCRIBE", "news.*"], 8, [[*command, "PUBLISH", "news.art", "hello"]])
    shown = [line for line in lines if not line.startswith("Reading messages")]
    assert shown[:3] == ['1) "psubscribe"', '2) "news.*"', "3) (integer) 1"]
    assert shown[3:7] == ['1) "pmessage"', '2) "news.*"', '3) "news.art"', '4) "hello"']


class Terminal:
    """An interactive redis-cli."""

    def __init__(self, server: ServerProcess, home: Path) -> None:
        self._ours, theirs = pty.openpty()
        # On a dumb terminal redis-cli reads whole lines, and draws no hints.
        environment = os.environ | {"HOME": str(home), "TERM": "dumb"}
        command = ["redis-cli", "-p", str(server.port)]
        self._process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
        os.close(theirs)
        self._port = str(server.port)

    def wait_for_prompt(self) -> str:
        """What is shown up to the next prompt."""
        text = ""
        deadline = time.monotonic() + TIMEOUT_S
        while not text.endswith("> "):
            assert time.monotonic() < deadline, repr(text)
            if select.select([self._ours], [], [], 0.1)[0]:
                text += os.read(self._ours, 65536).decode("latin-1")
        return text

    def type(self, line: str) -> str:
        """What is shown for a line, up to the next prompt."""
        os.write(self._ours, line.encode() + b"\n")
        shown = self.wait_for_prompt()
        return shown.replace("\r", "").replace(self._port, "PORT").rpartition(line)[2]

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._ours)


@pytest.fixture
def terminals(redis_cli: str, tmp_path: Path) -> Iterator[list[Terminal]]:
    both: list[Terminal] = []
    try:
        for flavour in (reference_flavour(), subject_flavour()):
            both.append(Terminal(server_of(flavour), tmp_path))
            both[-1].wait_for_prompt()
        yield both
    finally:
        for terminal in both:
            terminal.close()


def test_interactive(terminals: list[Terminal]) -> None:
    reference, subject = terminals
    for line in (
        "GET plain",
        "SELECT 2",
        "SET here 1",
        "MULTI",
        "INCR here",
        "DISCARD",
        "SELECT 0",
        "LPUSH plain x",
        "EVAL 'return redis.status_reply(ARGV[1])' 0 FINE",
        "CLIENT REPLY ON",
    ):
        assert subject.type(line) == reference.type(line), line
    for terminal in terminals:
        assert '"proto" => (integer) 3' in terminal.type("HELLO 3")
    assert subject.type("HGETALL hash") == reference.type("HGETALL hash")


def test_help_comes_from_the_server(terminals: list[Terminal]) -> None:
    for line in ("help GETDEL", "help XREADGROUP", "help ZADD"):
        expected, shown = (terminal.type(line).split("summary:")[0] for terminal in terminals)
        assert shown == expected
        assert line.split()[1] in shown
