"""CLIENT KILL, PAUSE, UNBLOCK, LIST and NO-TOUCH on real connections."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.harness.servers import ServerProcess, reference_flavour, running, subject_flavour
from tests.harness.wire import ErrorReply, Simple, Wire, is_nil


@pytest.fixture(scope="module", params=[subject_flavour(), reference_flavour()], ids=lambda flavour: flavour.name)
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    """Every test holds for both servers."""
    with running(request.param, tcp=True) as process:
        yield process


def fields(line: bytes) -> dict[str, str]:
    """One line of CLIENT LIST."""
    pairs = (word.split("=", 1) for word in line.decode().strip().split(" "))
    return dict(pairs)


def listed(wire: Wire, *arguments: str) -> list[dict[str, str]]:
    """CLIENT LIST."""
    return [fields(line) for line in wire.call("CLIENT", "LIST", *arguments).splitlines()]


def client_id(wire: Wire) -> int:
    ident = wire.call("CLIENT", "ID")
    assert isinstance(ident, int)
    return ident


def test_killed_connections_close_and_the_killer_gets_its_reply(server: ServerProcess) -> None:
    with server.connect() as killer, server.connect_tcp() as first, server.connect_tcp() as second:
        address = fields(first.call("CLIENT", "INFO"))["addr"]
        assert killer.call("CLIENT", "KILL", address) == Simple(b"OK")
        assert first.is_closed_by_server()
        assert killer.call("CLIENT", "KILL", "ID", client_id(second), "ID", 10**9) == 0
        assert killer.call("CLIENT", "KILL", "ID", 10**9, "ID", client_id(second)) == 1
        assert second.is_closed_by_server()
        assert killer.call("CLIENT", "KILL", "ID", client_id(killer)) == 0
        assert killer.call("CLIENT", "KILL", "ID", client_id(killer), "SKIPME", "no") == 1
        assert killer.is_closed_by_server()


def test_filters_must_all_apply(server: ServerProcess) -> None:
    with server.connect() as killer, server.connect_tcp() as victim:
        known = fields(victim.call("CLIENT", "INFO"))
        killer.call("ACL", "SETUSER", "someone", "on", "nopass", "+@all")
        everything = ("ID", known["id"], "ADDR", known["addr"], "LADDR", known["laddr"], "TYPE", "normal")
        assert killer.call("CLIENT", "KILL", *everything, "USER", "someone") == 0
        assert killer.call("CLIENT", "KILL", *everything, "MAXAGE", 1000) == 0
        assert victim.call("PING") == Simple(b"PONG")
        assert killer.call("CLIENT", "KILL", *everything, "USER", "default") == 1
        assert victim.is_closed_by_server()


def test_a_killed_blocked_client_loses_its_place(server: ServerProcess) -> None:
    with server.connect() as killer, server.connect() as waiter:
        ident = client_id(waiter)
        waiter.send("BLPOP", "list", 0)
        wait_for_flag(killer, ident, "b")
        assert killer.call("CLIENT", "KILL", "ID", ident) == 1
        assert waiter.is_closed_by_server()
        assert killer.call("RPUSH", "list", "x") == 1
        assert killer.call("DEL", "list") == 1


def wait_for_flag(wire: Wire, ident: int, flag: str) -> None:
    """Until the client has the flag in CLIENT LIST."""
    deadline = time.monotonic() + 20
    while flag not in listed(wire, "ID", str(ident))[0]["flags"]:
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_unblock(server: ServerProcess) -> None:
    with server.connect() as control, server.connect() as waiter:
        ident = client_id(waiter)
        for reason in ((), ("TIMEOUT",), ("ERROR",)):
            waiter.send("BLPOP", "list", 0)
            wait_for_flag(control, ident, "b")
            assert control.call("CLIENT", "UNBLOCK", ident, *reason) == 1
            reply = waiter.read_any()
            if reason == ("ERROR",):
                assert reply == ErrorReply(b"UNBLOCKED client unblocked via CLIENT UNBLOCK")
            else:
                assert is_nil(reply)
        assert control.call("CLIENT", "UNBLOCK", ident) == 0


def test_pause_all_holds_reads_back_until_its_time_is_over(server: ServerProcess) -> None:
    with server.connect() as control, server.connect() as reader:
        begin = time.monotonic()
        assert control.call("CLIENT", "PAUSE", 200) == Simple(b"OK")
        assert is_nil(reader.call("GET", "nosuch"))
        assert time.monotonic() - begin >= 0.19


def test_a_shorter_pause_does_not_weaken_a_longer_one(server: ServerProcess) -> None:
    with server.connect() as control, server.connect() as writer:
        begin = time.monotonic()
        assert control.call("CLIENT", "PAUSE", 300, "WRITE") == Simple(b"OK")
        assert control.call("CLIENT", "PAUSE", 1, "WRITE") == Simple(b"OK")
        assert writer.call("SET", "k", "v") == Simple(b"OK")
        assert time.monotonic() - begin >= 0.29


def test_list_shows_the_state(server: ServerProcess) -> None:
    with server.connect() as control, server.connect_tcp() as other:
        other.call("SELECT", 5)
        other.call("CLIENT", "SETNAME", "me")
        other.call("CLIENT", "SETINFO", "lib-name", "lib")
        other.call("CLIENT", "SETINFO", "lib-ver", "1.2")
        other.call("CLIENT", "NO-EVICT", "on")
        other.call("CLIENT", "NO-TOUCH", "on")
        other.hello(3)
        other.send("SUBSCRIBE", "a", "b")
        other.send("PSUBSCRIBE", "c*")
        other.call("GET", "k")
        (line,) = listed(control, "ID", str(client_id(other)))
        wanted = {
            "name": "me", "flags": "PeT", "db": "5", "sub": "2", "psub": "1", "ssub": "0", "multi": "-1",
            "user": "default", "resp": "3", "lib-name": "lib", "lib-ver": "1.2", "cmd": "client|id",
        }  # fmt: skip
        assert {name: line[name] for name in wanted} == wanted
        assert line["addr"].startswith("127.0.0.1:")
        assert line["laddr"] == f"127.0.0.1:{server.port}"
        assert int(line["tot-net-in"]) > 100
        assert int(line["tot-net-out"]) > 100
        assert int(line["tot-cmds"]) == 11


def test_list_has_the_same_fields_as_the_reference() -> None:
    with running(subject_flavour()) as mine, running(reference_flavour()) as theirs:
        names = []
        for process in (mine, theirs):
            with process.connect() as wire:
                names.append(list(fields(wire.call("CLIENT", "INFO"))))
    assert names[0] == names[1]


def test_cmd_names_plain_commands(server: ServerProcess) -> None:
    with server.connect() as control, server.connect() as other:
        ident = str(client_id(other))
        other.call("get", "k")
        assert listed(control, "ID", ident)[0]["cmd"] == "get"
        other.call("CONFIG", "GET", "port")
        assert listed(control, "ID", ident)[0]["cmd"] == "config|get"
