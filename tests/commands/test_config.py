"""CONFIG, and who follows a changed parameter."""

from __future__ import annotations

from tests.commands.session import Session


def test_get_is_a_map() -> None:
    Session(resp=3).check("""
        CONFIG GET timeout maxcl* -> {"timeout": "0", "maxclients": "10000"}
        CONFIG GET nosuch -> {}
    """)


def test_set_changes_all_or_nothing() -> None:
    Session().check("""
        CONFIG SET timeout 5 slowlog-max-len 3 -> OK
        CONFIG GET timeout slowlog-max-len -> ["timeout", "5", "slowlog-max-len", "3"]
        CONFIG SET timeout 6 nosuch 1 -> ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'
        CONFIG GET timeout -> ["timeout", "5"]
    """)


def test_protected_parameters_need_a_local_client() -> None:
    session = Session()
    session.instance.config.enable_protected_configs = "local"
    session.client.address = "10.0.0.1:5"
    assert session.run("CONFIG SET dbfilename x").endswith("can't set protected config")
    session.client.address = "127.0.0.1:5"
    assert session.run("CONFIG SET dbfilename x") == "OK"


def test_the_cache_follows_its_size() -> None:
    session = Session()
    for number in range(100):
        session.call(b"SET", b"key:%d" % number, b"x" * 1000)
    cache = session.engine.cache
    assert cache.entries == 100
    assert session.run("CONFIG SET cache-size 10000") == "OK"
    assert cache.limit_bytes == 10000
    assert cache.size_bytes <= 10000
    assert 0 < cache.entries < 10
    assert session.run("GET key:0") == '"' + "x" * 1000 + '"'


def test_notifications_follow() -> None:
    session = Session()
    assert session.instance.notifications.enabled == 0
    session.run("CONFIG SET notify-keyspace-events KA")
    assert session.instance.notifications.enabled
    session.run("CONFIG SET notify-keyspace-events ''")
    assert session.instance.notifications.enabled == 0


def test_slow_log_and_latency_monitor_follow() -> None:
    session = Session()
    instance = session.instance
    assert instance.slow_ns == 10_000_000
    session.run("CONFIG SET latency-monitor-threshold 2")
    assert instance.slow_ns == 1_999_999
    session.run("CONFIG SET slowlog-log-slower-than 1000")
    assert instance.slow_ns == 1_000_000
    session.run("CONFIG SET slowlog-log-slower-than -1 latency-monitor-threshold 0")
    assert instance.slow_ns > 10**18


def test_rewrite_needs_a_file() -> None:
    assert Session().run("CONFIG REWRITE") == "ERR The server is running without a config file"
