"""SLOWLOG, LATENCY and MONITOR, without sockets."""

from __future__ import annotations

from tests.commands.session import NOW_MS, Session


def entries(session: Session) -> list[list[bytes]]:
    """The arguments of what is logged, the newest first."""
    return [entry.argv for entry in session.instance.slowlog.entries]


def test_commands_are_logged_newest_first_without_secrets() -> None:
    session = Session()
    session.client.address = "127.0.0.1:5"
    session.run("CONFIG SET slowlog-log-slower-than 0")
    session.run("CLIENT SETNAME me")
    session.run("AUTH secret")
    session.run("CONFIG SET masterauth secret")
    session.call(b"SET", b"k", b"x" * 200)
    session.call(b"MGET", *[b"k"] * 40)
    logged = entries(session)
    assert logged[0] == [b"MGET", *[b"k"] * 30, b"... (10 more arguments)"]
    assert logged[1] == [b"SET", b"k", b"x" * 128 + b"... (72 more bytes)"]
    assert logged[2] == [b"CONFIG", b"SET", b"masterauth", b"(redacted)"]
    assert logged[3] == [b"AUTH", b"(redacted)"]
    newest = session.instance.slowlog.entries[0]
    assert (newest.time_s, newest.address, newest.client_name) == (NOW_MS // 1000, "127.0.0.1:5", b"me")


def test_get_len_and_reset() -> None:
    session = Session()
    session.run("CONFIG SET slowlog-log-slower-than 0 slowlog-max-len 12")
    for _ in range(20):
        session.run("PING")
    assert session.run("SLOWLOG LEN") == "12"
    assert session.run("SLOWLOG GET").count('["PING"]') + session.run("SLOWLOG GET").count("SLOWLOG") >= 10
    session.run("CONFIG SET slowlog-log-slower-than -1")
    assert session.run("SLOWLOG GET 2").count("[") == 5
    assert session.run("SLOWLOG GET -1").count("[") == 25
    assert session.run("SLOWLOG GET 0") == "[]"
    session.run("CONFIG SET slowlog-max-len 3")
    assert session.run("SLOWLOG LEN") == "3"
    assert session.run("SLOWLOG RESET") == "OK"
    assert session.run("SLOWLOG LEN") == "0"


def test_slow_commands_are_latency_events() -> None:
    session = Session()
    session.instance.config.enable_debug_command = "yes"
    session.run("CONFIG SET latency-monitor-threshold 2")
    session.run("DEBUG SLEEP 0.003")
    events = session.instance.latency.events
    assert list(events) == ["command"]
    latency_ms = events["command"].max_ms
    assert 3 <= latency_ms < 1000
    second = NOW_MS // 1000
    assert session.run("LATENCY LATEST") == f'[["command", {second}, {latency_ms}, {latency_ms}]]'
    assert session.run("LATENCY HISTORY command") == f"[[{second}, {latency_ms}]]"
    assert f"command - high {latency_ms} ms, low {latency_ms} ms" in session.run("LATENCY GRAPH command")
    assert "command: 1 latency spikes" in session.run("LATENCY DOCTOR")
    assert session.run("LATENCY RESET command nosuch") == "1"
    assert session.run("LATENCY LATEST") == "[]"


def test_histograms_of_commands() -> None:
    session = Session(resp=3)
    session.run("CONFIG RESETSTAT")
    for _ in range(3):
        session.run("PING")
    session.run("CONFIG GET port")
    reply = session.run("LATENCY HISTOGRAM ping config nosuch")
    assert reply.startswith('{"ping": {"calls": 3, "histogram_usec": {')
    assert '"config|get": {"calls": 1, ' in reply
    assert session.run("LATENCY HISTOGRAM echo") == "{}"


def test_monitors_see_commands_and_end_with_reset() -> None:
    session = Session()
    watched = session.instance.new_client()
    watched.address = "10.0.0.1:5"
    assert session.run("MONITOR") == "OK"
    assert session.instance.fast == {}
    watcher = session.client
    session.client = watched
    session.run('SET k "v\\n"')
    line = watcher.out[-1].decode()
    assert line.endswith(' [0 10.0.0.1:5] "SET" "k" "v\\n"\r\n')
    session.client = watcher
    assert session.run("GET k") == "ERR Replica can't interact with the keyspace"
    assert session.run("RESET") == "RESET"
    assert session.instance.monitors == {}
    assert session.instance.fast
