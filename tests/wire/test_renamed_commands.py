"""rename-command: the same replies as the reference gives, and secrets hidden under any name."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.harness.servers import ServerDied, ServerProcess, reference_flavour, running, subject_flavour
from tests.harness.wire import Simple

RENAMED = {
    "GET": "Fetch", "FLUSHALL": "", "EVAL": "runscript", "EVALSHA": "", "AUTH": "logon", "CONFIG": "settings",
    "ZUNION": "join", "PEXPIRE": "later", "SORT": "order", "XADD": "",
}  # fmt: skip


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """A file with the directives: on the command line the reference does not take all of them."""
    path = tmp_path_factory.mktemp("renamed") / "redis.conf"
    path.write_text("".join(f'rename-command {old} "{new}"\n' for old, new in RENAMED.items()))
    return ("--include", str(path))


REQUESTS = [
    "SET k v", "GET k", "get k", "FETCH k", "fetch k", "Fetch k", "FETCH", "FLUSHALL", "flushall", "XADD s * a 1",
    "RUNSCRIPT return(redis.call('fetch','k')) 0", "EVAL return(1) 0", "EVALSHA abc 0",
    "RUNSCRIPT return(pcall(redis.call,'get','k')) 0", "ZADD z 1 a 2 b", "JOIN 2 z z WITHSCORES", "LATER k 100000",
    "LATER k x", "RPUSH l 3 1 2", "ORDER l", "ORDER l BY x STORE k2", "COMMAND INFO get", "COMMAND GETKEYS FETCH a",
    "COMMAND GETKEYS GET a", "ACL SETUSER u on nopass ~* -@all +get", "ACL SETUSER u +fetch", "ACL DRYRUN u FETCH k",
    "ACL DRYRUN u GET k", "ACL DRYRUN u SET k v", "SETTINGS GET maxmemory", "SETTINGS NOSUCH", "CONFIG GET maxmemory",
    "LOGON wrong", "AUTH wrong", "MULTI", "FETCH k", "EXEC", "MULTI", "GET k", "EXEC", "CLIENT NOSUCH",
]  # fmt: skip


@pytest.fixture(scope="module")
def server(options: tuple[str, ...]) -> Iterator[ServerProcess]:
    with running(subject_flavour(), *options) as process:
        yield process


def test_replies_are_the_reference_s(server: ServerProcess, options: tuple[str, ...]) -> None:
    with running(reference_flavour(), *options) as reference, server.connect() as ours, reference.connect() as theirs:
        for request in REQUESTS:
            # The reference goes on to accept a command's own name right after a call by the new one.
            assert ours.call("ECHO", "between") == theirs.call("ECHO", "between")
            assert ours.call(*request.split(" ")) == theirs.call(*request.split(" ")), request


def test_statistics_use_the_own_name(server: ServerProcess) -> None:
    with server.connect() as wire:
        wire.call("SETTINGS", "RESETSTAT")
        wire.call("FETCH", "k")
        assert b"cmdstat_get:calls=1," in wire.call("INFO", "commandstats")
        assert b" cmd=get " in wire.call("CLIENT", "LIST") or b" cmd=client|list " in wire.call("CLIENT", "LIST")


def test_secrets_stay_hidden(server: ServerProcess) -> None:
    """MONITOR and SLOWLOG know the commands that carry passwords by any name."""
    with server.connect() as wire, server.connect() as monitor:
        assert monitor.call("MONITOR") == Simple(b"OK")
        wire.call("SETTINGS", "SET", "slowlog-log-slower-than", "0")
        wire.call("LOGON", "hunter2")
        wire.call("SETTINGS", "SET", "masterauth", "hunter2")
        wire.call("FETCH", "last")
        shown = bytearray()
        while b'"last"' not in shown:
            line = monitor.read_any()
            assert isinstance(line, Simple)
            shown += line.text
        assert b"hunter2" not in shown
        assert b'"LOGON" "(redacted)"' in shown
        logged = wire.call("SLOWLOG", "GET", "-1")
        assert b"hunter2" not in b" ".join(argument for entry in logged for argument in entry[3])
        wire.call("SETTINGS", "SET", "slowlog-log-slower-than", "10000")


def test_client_caching_under_another_name() -> None:
    with running(subject_flavour(), "--rename-command", "CLIENT", "conn") as server, server.connect() as wire:
        wire.call("HELLO", "3")
        assert wire.call("CONN", "TRACKING", "ON", "OPTIN") == Simple(b"OK")
        assert wire.call("CONN", "CACHING", "YES") == Simple(b"OK")
        wire.call("GET", "tracked")
        with server.connect() as other:
            other.call("SET", "tracked", "1")
        assert b"tracked" in str(wire.read_any()).encode()



@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--rename-command", "NOSUCH", "x"), "No such command in rename-command"),
        (("--rename-command", "GET", "set"), "Target command name already exists"),
        (("--rename-command", "GET", "", "--rename-command", "GET", "x"), "No such command in rename-command"),
    ],
)
def test_what_cannot_be_renamed_stops_the_start(options: tuple[str, ...], message: str) -> None:
    process = ServerProcess(subject_flavour(), options)
    with contextlib.closing(process), pytest.raises(ServerDied) as raised:
        process.start()
    assert message in str(raised.value)
