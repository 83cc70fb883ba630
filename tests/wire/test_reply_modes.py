"""HELLO, CLIENT REPLY, RESET and QUIT at the level of bytes."""

from __future__ import annotations

import pytest

from tests.harness import servers
from tests.harness.raw import assert_same_exchange
from tests.harness.wire import Map, Null, NullBulk

MODES = {
    "reply off": b"CLIENT REPLY OFF\r\nPING\r\nSET k v\r\nNOSUCH\r\nCLIENT REPLY ON\r\nPING\r\n",
    "reply skip": b"CLIENT REPLY SKIP\r\nPING\r\nPING\r\n",
    "reply skip twice": b"CLIENT REPLY SKIP\r\nCLIENT REPLY SKIP\r\nPING\r\nPING\r\n",
    "reply skip then on": b"CLIENT REPLY SKIP\r\nCLIENT REPLY ON\r\nPING\r\n",
    "reply off then skip": b"CLIENT REPLY OFF\r\nCLIENT REPLY SKIP\r\nPING\r\nPING\r\nCLIENT REPLY ON\r\n",
    "reply skip of an error": b"CLIENT REPLY SKIP\r\nNOSUCH\r\nPING\r\n",
    "reply bad": b"CLIENT REPLY\r\nCLIENT REPLY MAYBE\r\n",
    "reset ends reply off": b"CLIENT REPLY OFF\r\nRESET\r\nPING\r\n",
    "quit": b"PING\r\nQUIT\r\nPING\r\n",
    "quit with arguments": b"QUIT a b\r\nPING\r\n",
    "null in both protocols": b"GET nosuchkey\r\nHELLO 9\r\nGET nosuchkey\r\n",
    "nested nulls": b"MGET nosuchkey nosuchkey\r\n",
}


@pytest.mark.parametrize("name", MODES)
def test_reply_mode(name: str) -> None:
    assert_same_exchange(servers.subject(), servers.reference(), MODES[name])


def test_hello_describes_the_server() -> None:
    """The same fields in the same order as the reference, with redis as the server's name."""
    replies = []
    for server in (servers.subject(), servers.reference()):
        with server.connect() as wire:
            replies.append(wire.call("HELLO", "3"))
    mine, theirs = (dict(reply.pairs) for reply in replies)
    assert list(mine) == list(theirs)
    for field in (b"server", b"proto", b"mode", b"role"):
        assert mine[field] == theirs[field]
    assert isinstance(mine[b"id"], int)


def test_hello_switches_back_and_forth() -> None:
    with servers.subject().connect() as wire:
        assert wire.call("GET", "nosuchkey") == NullBulk()
        assert isinstance(wire.call("HELLO", "3"), Map)
        assert wire.call("GET", "nosuchkey") == Null()
        assert isinstance(wire.call("HELLO", "2"), list)
        assert wire.call("GET", "nosuchkey") == NullBulk()


def test_pipelined_hello_takes_effect_at_its_place() -> None:
    with servers.subject().connect() as wire:
        replies = wire.pipeline(
            [["GET", "nosuchkey"], ["HELLO", "3"], ["GET", "nosuchkey"], ["RESET"], ["GET", "nosuchkey"]]
        )
        assert replies[0] == NullBulk()
        assert replies[2] == Null()
        assert replies[4] == NullBulk()


def test_ids_of_connections_grow() -> None:
    server = servers.subject()
    with server.connect() as first, server.connect() as second:
        assert first.call("CLIENT", "ID") < second.call("CLIENT", "ID")


@pytest.mark.parametrize("command", ["INFO", "LIST"])
def test_client_fields_are_the_references(command: str) -> None:
    """CLIENT INFO and LIST have the reference's fields in its order (and may have more at the end)."""
    lines = []
    for server in (servers.subject(), servers.reference()):
        with server.connect() as wire:
            text = wire.call("CLIENT", command)
            lines.append(text.splitlines()[0])
    mine, theirs = ([word.split(b"=")[0] for word in line.split(b" ")] for line in lines)
    assert mine[: len(theirs)] == theirs


def test_info_has_the_references_sections() -> None:
    headers = []
    for server in (servers.subject(), servers.reference()):
        with server.connect() as wire:
            text = wire.call("INFO", "everything")
            headers.append([line for line in text.splitlines() if line.startswith(b"# ")])
    # Redis 8 added these two.
    newer = {b"# Keysizes", b"# Threads"}
    mine, theirs = headers[0], [line for line in headers[1] if line not in newer]
    missing = set(theirs) - set(mine)
    assert not missing, missing
    assert [line for line in mine if line in theirs] == theirs
