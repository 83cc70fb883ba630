"""Malformed requests: the exact error of the reference, and the connection closed when it closes."""

from __future__ import annotations

import pytest

from tests.harness import servers
from tests.harness.raw import answer_until_closed, assert_same_exchange

MALFORMED = {
    "multibulk count too big": b"*2147483648\r\n",
    "multibulk count over 32 bits": b"*4294967297\r\n",
    "multibulk count over 64 bits": b"*99999999999999999999\r\n",
    "multibulk count not a number": b"*abc\r\n",
    "multibulk count empty": b"*\r\n",
    "multibulk count with a space": b"* 1\r\n$4\r\nPING\r\n",
    "multibulk count with a plus": b"*+1\r\n$4\r\nPING\r\n",
    "multibulk count with a leading zero": b"*01\r\n$4\r\nPING\r\n",
    "multibulk count very long": b"*" + b"1" * 70000,
    "bulk length missing the dollar": b"*1\r\n4\r\nPING\r\n",
    "bulk length other type": b"*1\r\n:4\r\n",
    "bulk length nested array": b"*1\r\n*1\r\n$4\r\nPING\r\n",
    "bulk length null": b"*1\r\n$-1\r\n",
    "bulk length negative": b"*2\r\n$3\r\nGET\r\n$-5\r\n",
    "bulk length not a number": b"*1\r\n$abc\r\n",
    "bulk length empty": b"*1\r\n$\r\n",
    "bulk length empty line": b"*1\r\n\r\n",
    "bulk length with a space": b"*1\r\n$ 4\r\nPING\r\n",
    "bulk length with a plus": b"*1\r\n$+4\r\nPING\r\n",
    "bulk length with a leading zero": b"*1\r\n$04\r\nPING\r\n",
    "bulk length over the limit": b"*2\r\n$3\r\nGET\r\n$536870913\r\n",
    "bulk length over 64 bits": b"*2\r\n$3\r\nGET\r\n$99999999999999999999\r\n",
    "bulk length very long": b"*1\r\n$" + b"1" * 70000,
    "bulk length nonprintable": b"*1\r\n\x01\r\n",
    "bulk length quote": b"*1\r\n'4\r\n",
    "lone newline after count": b"*1\n$4\r\nPING\r\n",
    "inline unbalanced double quote": b'SET k "abc\r\n',
    "inline unbalanced single quote": b"SET k 'abc\r\n",
    "inline text after a closing quote": b'SET k "abc"def\r\n',
    "inline text after a closing single quote": b"SET k 'abc'def\r\n",
    "inline too big": b"x" * 70000,
    "http post": b"POST / HTTP/1.1\r\nHost: x\r\n\r\n",
    "http host header": b"Host: example\r\n",
    "good request, then a bad one": b"*1\r\n$4\r\nPING\r\n*1\r\n$abc\r\n*1\r\n$4\r\nPING\r\n",
    "several good requests, then a bad one": b"PING\r\nPING\r\n*2\r\n$3\r\nGET\r\n!1\r\n",
}

WELL_FORMED = {
    "multibulk count zero": b"*0\r\n",
    "multibulk count negative": b"*-1\r\n",
    "multibulk count very negative": b"*-10\r\n",
    "bulk without its crlf": b"*1\r\n$4\r\nPINGxx*1\r\n$4\r\nPING\r\n",
    "bulk longer than said": b"*1\r\n$4\r\nPINGPING\r\n",
    "empty lines": b"\r\n\r\n\nPING\r\n",
    "blank line": b"   \r\nPING\r\n",
    "newline only": b"PING\n",
    "spaces around": b"  PING   \r\n",
    "tabs": b"\tECHO\tx\t\r\n",
    "double quotes": b'ECHO "a b"\r\n',
    "single quotes": b"ECHO 'a b'\r\n",
    "hex escapes": b'ECHO "\\x00\\xff\\x4a"\r\n',
    "hex escape too short": b'ECHO "\\x4"\r\n',
    "hex escape not hex": b'ECHO "\\xzz"\r\n',
    "letter escapes": b'ECHO "\\n\\r\\t\\b\\a\\\\\\"\\q"\r\n',
    "no hex escape in single quotes": b"ECHO '\\x41\\n'\r\n",
    "escaped single quote": b"ECHO 'it\\'s'\r\n",
    "empty quotes": b'ECHO ""\r\n',
    "quote inside a word": b'ECHO a"b c"\r\n',
    "quote inside a word, single": b"ECHO a'b c'\r\n",
    "carriage return inside": b"ECHO a\rb\r\n",
    "high bytes": b"ECHO \xff\xfe\r\n",
    "inline then multibulk": b"PING\r\n*1\r\n$4\r\nPING\r\nPING\r\n",
    "inline wrong arity": b"GET\r\n",
    "inline unknown command": b"NOSUCH a b\r\n",
    "zero count in between": b"*0\r\nPING\r\n*-1\r\nPING\r\n",
    "empty bulk argument": b"*2\r\n$4\r\nECHO\r\n$0\r\n\r\n",
    "empty command name": b"*1\r\n$0\r\n\r\n",
    "crlf in an argument": b"*2\r\n$4\r\nECHO\r\n$4\r\n\r\n\r\n\r\n",
    "command name with nul": b"*1\r\n$4\r\nPI\x00G\r\n",
    "dollar inline": b"$4\r\n",
    "plus inline": b"+OK\r\n",
    "long inline": b"ECHO " + b"x" * 60000 + b"\r\n",
    "many arguments": b"*1001\r\n$6\r\nEXISTS\r\n" + b"$1\r\nk\r\n" * 1000,
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_request_gets_the_references_error_and_is_closed(name: str) -> None:
    theirs = answer_until_closed(servers.reference(), MALFORMED[name])
    assert answer_until_closed(servers.subject(), MALFORMED[name]) == theirs


@pytest.mark.parametrize("name", WELL_FORMED)
def test_unusual_request_gets_the_references_reply(name: str) -> None:
    assert_same_exchange(servers.subject(), servers.reference(), WELL_FORMED[name])


UNAUTHENTICATED = {
    "command": b"GET k\r\n",
    "unknown command": b"NOSUCH\r\n",
    "wrong arity": b"GET\r\n",
    "hello": b"HELLO 3\r\n",
    "hello with wrong password": b"HELLO 3 AUTH default wrong\r\n",
    "auth wrong": b"AUTH wrong\r\n",
    "auth wrong user": b"AUTH nobody secret\r\n",
    "auth right": b"AUTH secret\r\nPING\r\n",
    "auth right with user": b"AUTH default secret\r\nPING\r\n",
    "quit": b"QUIT\r\n",
    "reset": b"AUTH secret\r\nPING\r\nRESET\r\nPING\r\n",
    "too many arguments": b"*11\r\n",
    "ten arguments": b"*10\r\n$4\r\nMGET\r\n" + b"$1\r\nk\r\n" * 9,
    "bulk too long": b"*1\r\n$16385\r\n",
    "bulk just short enough": b"*2\r\n$3\r\nGET\r\n$16384\r\n" + b"x" * 16384 + b"\r\n",
}


@pytest.mark.parametrize("name", UNAUTHENTICATED)
def test_before_authentication(name: str) -> None:
    options = ("--requirepass", "secret")
    assert_same_exchange(servers.subject(options), servers.reference(options), UNAUTHENTICATED[name])


def test_bulk_limit_follows_the_configuration() -> None:
    """CONFIG SET proto-max-bulk-len changes what later requests may carry."""
    subject, reference = servers.subject(), servers.reference()
    try:
        for server in (subject, reference):
            with server.connect() as wire:
                assert wire.call("CONFIG", "SET", "proto-max-bulk-len", "1mb").text == b"OK"
        answer = assert_same_exchange(subject, reference, b"*2\r\n$3\r\nGET\r\n$1048577\r\n")
        assert answer == b"-ERR Protocol error: invalid bulk length\r\n"
        assert_same_exchange(subject, reference, b"*2\r\n$3\r\nGET\r\n$1048576\r\n" + b"x" * 1048576 + b"\r\n")
    finally:
        for server in (subject, reference):
            with server.connect() as wire:
                wire.call("CONFIG", "SET", "proto-max-bulk-len", "512mb")


def test_limits_are_checked_before_anything_is_allocated() -> None:
    """A thousand connections that announce 512 MB each and send nothing cost next to nothing."""
    server = servers.subject()
    with server.connect() as control:
        before = _resident_bytes(server.pid)
        wires = [server.connect() for _ in range(200)]
        try:
            for wire in wires:
                wire.send_raw(b"*2\r\n$3\r\nGET\r\n$536870912\r\nx")
            control.call("PING")
            control.call("PING")
            grown = _resident_bytes(server.pid) - before
            assert grown < 64 * 1024 * 1024, f"grew by {grown} bytes"
        finally:
            for wire in wires:
                wire.close()


def _resident_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * 4096
