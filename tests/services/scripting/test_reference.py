"""The same scripts and libraries on a real server and on the engine, replies compared byte for byte.

The engine's commands run on the real server too, over a second connection, so that only the scripting differs.

Known difference, not in the corpus: an uncaught error whose text has line breaks, which Redis sends as they are and so
breaks its own protocol; here they become spaces.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from diskkv.errors import CommandError
from diskkv.services.scripting.engine import ScriptEngine
from diskkv.services.scripting.functions import FunctionStore
from tests.harness.servers import redis_8, running
from tests.services.scripting import corpus
from tests.services.scripting.rawredis import RawRedis

HERE = Path(__file__).parent
KEYS = [b"k1", b"k2"]
ARGV = [b"a1", b"2", b""]
FUNCTIONS = (HERE / "functions.lua").read_bytes()
NOT_FROM_SCRIPTS = {b"eval", b"client", b"subscribe"}


def lines(name: str) -> list[bytes]:
    return [line for line in (HERE / name).read_bytes().split(b"\n") if line]


SCRIPTS = {
    "conversions": [script.encode() for script in corpus.CONVERSIONS],
    "calls": [script.encode() for script in corpus.CALLS + corpus.NUMBERS],
    "errors": [script.encode() for script in corpus.ERRORS],
    "nesting": [script.encode() for script in corpus.NESTING],
    "api": lines("api.txt"),
    "libraries": lines("libraries.txt"),
}


class Pair:
    """A real server, and an engine whose commands run on it. Both keep their state from script to script."""

    def __init__(self, path: str) -> None:
        self.reference = {resp: RawRedis(path, resp) for resp in (2, 3)}
        self._commands = {resp: RawRedis(path, resp) for resp in (2, 3)}
        self.engine = ScriptEngine(self._execute, acl_check=self._acl_check, version="8.2.3")
        self.functions = FunctionStore(self.engine)

    def close(self) -> None:
        for connection in [*self.reference.values(), *self._commands.values()]:
            connection.close()

    def _execute(self, argv: list[bytes], resp: int) -> bytes:
        """What dispatch does for commands of scripts, as far as the corpus needs it."""
        if argv[0].lower() in NOT_FROM_SCRIPTS:
            return b"-ERR This Redis command is not allowed from script\r\n"
        reply = self._commands[resp].call(*argv)
        if reply.startswith(b"-ERR unknown command"):
            return b"-ERR Unknown Redis command called from script\r\n"
        if reply.startswith(b"-ERR wrong number of arguments"):
            return b"-ERR Wrong number of args calling Redis command from script\r\n"
        running_now = self.engine.running
        if argv[0].lower() == b"set" and running_now is not None and running_now.readonly:
            return b"-ERR Write commands are not allowed from read-only scripts.\r\n"
        return reply

    @staticmethod
    def _acl_check(argv: list[bytes]) -> bool:
        if argv[0] == b"nocmd":
            raise CommandError(b"ERR unknown command")
        return True

    def expected(self, script: bytes, resp: int) -> bytes:
        connection = self.reference[resp]
        return connection.call_all([("FLUSHALL",), ("EVAL", script, len(KEYS), *KEYS, *ARGV)])[1]

    def actual(self, script: bytes, resp: int) -> bytes:
        self._commands[2].call("FLUSHALL")
        try:
            return self.engine.run(self.engine.load(script, from_eval=True), KEYS, ARGV, resp=resp)
        except CommandError as error:
            return error.reply

    def load_library(self, code: bytes) -> bytes:
        try:
            name = self.functions.load(code)
        except CommandError as error:
            return error.reply
        return b"$%d\r\n%b\r\n" % (len(name), name)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    with running(redis_8()) as server:
        both = Pair(server.socket_path)
        yield both
        both.close()


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_reply_as_the_reference(pair: Pair, name: str) -> None:
    differences = []
    for script in SCRIPTS[name]:
        for resp in (2, 3):
            expected, actual = pair.expected(script, resp), pair.actual(script, resp)
            if expected != actual:
                differences.append((script, resp, expected[-400:], actual[-400:]))
    assert not differences, "\n".join(map(repr, differences))


def test_libraries_load_as_on_the_reference(pair: Pair) -> None:
    differences = []
    for code in corpus.LIBRARIES:
        pair.reference[2].call("FUNCTION", "FLUSH")
        pair.functions.flush()
        expected = pair.reference[2].call("FUNCTION", "LOAD", code)
        actual = pair.load_library(code.encode())
        if expected != actual:
            differences.append((code, expected, actual))
    assert not differences, "\n".join(map(repr, differences))


def test_functions_reply_as_on_the_reference(pair: Pair) -> None:
    code = FUNCTIONS
    pair.reference[2].call("FUNCTION", "FLUSH")
    pair.functions.flush()
    assert pair.load_library(code) == pair.reference[2].call("FUNCTION", "LOAD", code) == b"$2\r\nl1\r\n"
    for resp in (2, 3):
        for name in sorted(pair.functions.libraries[b"l1"].functions):
            expected = pair.reference[resp].call("FCALL", name, 1, "k", "a")
            actual = pair.functions.call(name, [b"k"], [b"a"], resp=resp)
            assert (name, actual) == (name, expected)


def test_payloads_pass_between_both(pair: Pair) -> None:
    pair.reference[2].call("FUNCTION", "FLUSH")
    pair.functions.flush()
    pair.functions.load(FUNCTIONS)
    assert pair.reference[2].call("FUNCTION", "RESTORE", pair.functions.dump()) == b"+OK\r\n"
    reply = pair.reference[2].call("FUNCTION", "DUMP")
    payload = reply[reply.index(b"\r\n") + 2 : -2]
    pair.functions.restore(payload, b"FLUSH")
    assert pair.functions.libraries[b"l1"].code == FUNCTIONS


def test_random_numbers_start_as_on_a_fresh_reference() -> None:
    script = b"return {tostring(math.random()), math.random(100), tostring(math.random())}"
    engine = ScriptEngine(lambda argv, resp: b"+OK\r\n")
    with running(redis_8()) as server:
        connection = RawRedis(server.socket_path)
        for _ in range(3):
            assert engine.run(engine.load(script), [], []) == connection.call("EVAL", script, 0)
        connection.close()
