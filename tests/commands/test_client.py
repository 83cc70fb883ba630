"""CLIENT, without sockets."""

from __future__ import annotations

from diskkv.commands import dispatch
from diskkv.services.client import Client
from diskkv.services.clients import describe
from tests.commands.session import NOW_MS, Session


def listed(client: Client) -> dict[str, str]:
    """A client as CLIENT LIST shows it."""
    return dict(word.split("=", 1) for word in describe(client).decode("latin-1").split(" "))


def test_ages_are_in_seconds() -> None:
    session = Session()
    session.client.created_ms = NOW_MS - 7999
    session.client.active_ms = NOW_MS - 3001
    session.run("PING")
    line = listed(session.client)
    assert (line["age"], line["idle"]) == ("7", "3")


def test_flags() -> None:
    session = Session()
    assert listed(session.client)["flags"] == "N"
    session.client.address = "/tmp/socket:0"
    session.run("MULTI")
    assert listed(session.client)["flags"] == "xU"
    assert listed(session.client)["multi"] == "0"
    session.run("DISCARD")
    session.run("MONITOR")
    assert listed(session.client)["flags"] == "OU"


def test_names_are_checked_and_taken_away() -> None:
    Session().check("""
        CLIENT SETNAME me -> OK
        CLIENT GETNAME -> "me"
        CLIENT SETNAME 'a b' -> ERR Client names cannot contain spaces, newlines or special characters.
        CLIENT GETNAME -> "me"
        CLIENT SETNAME '' -> OK
        CLIENT GETNAME -> nil
    """)


def test_a_killed_client_gets_nothing_any_more() -> None:
    session = Session()
    other = session.instance.new_client()
    other.out.append(b"+OK\r\n")
    assert session.run(f"CLIENT KILL ID {other.id}") == "1"
    assert other.closing
    assert other.out == []
    assert not session.client.closing


def test_pause_stops_expiry_until_it_ends() -> None:
    session = Session()
    session.run("SET k v PX 10")
    session.run("CLIENT PAUSE 1000 WRITE")
    assert session.instance.pause_until_ms == NOW_MS + 1000
    session.now_ms += 50
    assert session.run("GET k") == "nil"
    assert session.run("DBSIZE") == "1"
    assert dispatch.execute(session.client, [b"SET", b"k", b"w"]) is dispatch.HELD
    session.now_ms += 950
    session.engine.begin(session.now_ms)
    session.instance.tick(False)
    assert session.instance.pause_until_ms == 0
    assert not session.client.paused
    assert session.run("SET k w") == "OK"


def test_a_pause_is_never_weakened() -> None:
    session = Session()
    session.run("CLIENT PAUSE 1000 ALL")
    session.run("CLIENT PAUSE 10 WRITE")
    assert session.instance.pause_until_ms == NOW_MS + 1000
    assert session.instance.pause_all
    session.run("CLIENT UNPAUSE")
    session.run("CLIENT PAUSE 10 WRITE")
    assert not session.instance.pause_all


def test_local_clients() -> None:
    client = Session().client
    for address, is_local in (
        ("127.0.0.1:5", True),
        ("127.9.9.9:5", True),
        ("[::1]:5", True),
        ("/run/socket:0", True),
        ("", True),
        ("10.0.0.1:5", False),
        ("[::2]:5", False),
        ("[::127.0.0.1]:5", False),
    ):
        client.address = address
        assert client.is_local == is_local, address
