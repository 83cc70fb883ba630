"""INFO's sections."""

from __future__ import annotations

import os
import re

import pytest

from diskkv.services import info
from diskkv.services.memory import human_size
from tests.commands.session import NOW_MS, Session

FIELD = re.compile(r"[a-z0-9_|.-]+:.*", re.IGNORECASE)


def fields(session: Session, *names: str) -> dict[str, str]:
    """The fields of sections."""
    text = info.render(session.instance, names).decode()
    return dict(line.split(":", 1) for line in text.split("\r\n") if line and not line.startswith("#"))


def test_every_section_is_well_formed() -> None:
    session = Session()
    session.run("SET k v PX 100000")
    session.run("GET k")
    session.run("NOSUCH")
    text = info.render(session.instance, ["everything"]).decode()
    headings = []
    for block in text.split("\r\n\r\n"):
        first, *lines = block.removesuffix("\r\n").split("\r\n")
        assert first.startswith("# ")
        headings.append(first[2:])
        assert all(FIELD.fullmatch(line) for line in lines if line), lines
    assert headings == [heading for heading, _ in info.SECTIONS.values()]


def test_sections_are_chosen_by_name_in_a_fixed_order() -> None:
    instance = Session().instance
    assert info.render(instance, ["keyspace", "cluster", "nosuch"]) == (
        b"# Cluster\r\ncluster_enabled:0\r\n\r\n# Keyspace\r\n"
    )
    assert info.render(instance, ["nosuch"]) == b""
    assert b"# Commandstats" not in info.render(instance, ["default"])
    assert b"# Commandstats" in info.render(instance, ["all"])


def test_counters() -> None:
    session = Session()
    session.run("CONFIG RESETSTAT")
    session.run("SET k v")
    session.run("GET k")
    session.run("GET missing")
    session.run("LPUSH k x")
    session.run("GET")
    stats = fields(session, "stats", "commandstats", "errorstats", "persistence")
    assert (stats["keyspace_hits"], stats["keyspace_misses"]) == ("1", "1")
    assert stats["total_commands_processed"] == "5"
    assert stats["total_error_replies"] == "2"
    assert stats["errorstat_WRONGTYPE"] == "count=1"
    assert stats["errorstat_ERR"] == "count=1"
    assert stats["cmdstat_get"].startswith("calls=2,")
    assert stats["cmdstat_get"].endswith("rejected_calls=1,failed_calls=0")
    assert stats["cmdstat_lpush"].endswith("rejected_calls=0,failed_calls=1")
    assert stats["cmdstat_config|resetstat"].startswith("calls=1,")
    assert stats["rdb_changes_since_last_save"] == "1"
    session.run("CONFIG RESETSTAT")
    stats = fields(session, "stats", "commandstats", "errorstats")
    assert (stats["keyspace_hits"], stats["total_error_replies"]) == ("0", "0")
    assert "cmdstat_get" not in stats


def test_keyspace_counts_keys_and_times_to_live() -> None:
    session = Session()
    session.run("SET a 1 PX 10000")
    session.run("SET b 1 PX 20000")
    session.run("SET c 1")
    session.run("SELECT 2")
    session.run("SET d 1")
    assert fields(session, "keyspace") == {
        "db0": "keys=3,expires=2,avg_ttl=15000,subexpiry=0",
        "db2": "keys=1,expires=0,avg_ttl=0,subexpiry=0",
    }


def test_server() -> None:
    session = Session()
    session.instance.started_ms = NOW_MS - 90_061_000
    session.run("PING")
    server = fields(session, "server")
    assert server["process_id"] == str(os.getpid())
    assert (server["uptime_in_seconds"], server["uptime_in_days"]) == ("90061", "1")
    assert server["redis_version"] == info.REDIS_VERSION


def test_latencystats_can_be_switched_off_and_configured() -> None:
    session = Session()
    session.run("PING")
    percentiles = fields(session, "latencystats")["latency_percentiles_usec_ping"]
    assert re.fullmatch(r"p50=[\d.]+,p99=[\d.]+,p99.9=[\d.]+", percentiles)
    session.run('CONFIG SET latency-tracking-info-percentiles "100 25"')
    assert fields(session, "latencystats")["latency_percentiles_usec_ping"].startswith("p25=")
    session.run("CONFIG SET latency-tracking no")
    assert fields(session, "latencystats") == {}


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0B"), (1023, "1023B"), (1024, "1.00K"), (1536, "1.50K"), (3 << 20, "3.00M"), (1 << 62, "4096.00P")],
)
def test_human_sizes(size_bytes: int, text: str) -> None:
    assert human_size(size_bytes) == text
