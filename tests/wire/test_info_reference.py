"""INFO beside the reference's: the same sections and fields in the same order, so that dashboards for Redis work."""

from __future__ import annotations

import re

from tests.harness.servers import ServerProcess, reference_flavour, running, subject_flavour

OWN_SECTIONS = {"LevelDB", "Cache", "Reclaim", "Disk"}
NOT_HERE = {
    "Keysizes": "would need the size of every key in memory",
    "module": "there are no modules",
}
TEXTS = {"redis_git_sha1", "redis_build_id", "redis_version", "gcc_version"}


def shape(value: str) -> str:
    """What a program that reads the value relies on: a number, a percentage, names before = signs, or just a text."""
    if "=" in value:
        return re.sub(r"=[^,]*", "=", value)
    return "number" if re.fullmatch(r"-?\d+(\.\d+)?", value) else "percentage" if value.endswith("%") else "text"


def sections(server: ServerProcess, *names: str) -> dict[str, dict[str, str]]:
    """Fields by section."""
    found: dict[str, dict[str, str]] = {}
    with server.connect() as wire:
        for line in wire.call("INFO", *names).decode().split("\r\n"):
            if line.startswith("# "):
                fields = found[line[2:]] = {}
            elif line:
                name, _, value = line.partition(":")
                fields[name] = value
    return found


def prepare(server: ServerProcess) -> None:
    with server.connect() as wire:
        for request in (
            "SET k v EX 100", "GET k", "GET missing", "LPUSH k 1", "LPUSH", "NOSUCH", "HSET h f v", "EVAL return(1) 0",
            "SUBSCRIBE channel",
        ):  # fmt: skip
            wire.call(*request.split(" "))


def test_fields() -> None:
    with running(reference_flavour(), tcp=True) as reference, running(subject_flavour(), tcp=True) as subject:
        prepare(reference)
        prepare(subject)
        for names in ((), ("everything",)):
            theirs, ours = sections(reference, *names), sections(subject, *names)
            assert [name for name in ours if name not in OWN_SECTIONS] == [n for n in theirs if n not in NOT_HERE]
            assert set(ours) - set(theirs) == OWN_SECTIONS
            for section in theirs.keys() - NOT_HERE.keys():
                missing = theirs[section].keys() - ours[section].keys() - NOT_HERE.keys()
                assert missing == set(), section
                if section not in ("Commandstats", "Latencystats"):
                    shared = [name for name in theirs[section] if name in ours[section]]
                    assert [name for name in ours[section] if name in shared] == shared
                for name in (theirs[section].keys() & ours[section].keys()) - TEXTS:
                    assert shape(ours[section][name]) == shape(theirs[section][name]), name


def test_values_that_do_not_depend_on_the_server() -> None:
    with running(reference_flavour(), tcp=True) as reference, running(subject_flavour(), tcp=True) as subject:
        prepare(reference)
        prepare(subject)
        theirs, ours = sections(reference), sections(subject)
        for section, names in {
            "Server": "redis_mode arch_bits multiplexing_api tcp_port hz process_supervised",
            "Clients": "connected_clients blocked_clients pubsub_clients maxclients cluster_connections",
            "Stats": "total_commands_processed keyspace_hits keyspace_misses expired_keys evicted_keys "
            "rejected_connections total_error_replies unexpected_error_replies pubsub_channels",
            "Replication": "role connected_slaves master_failover_state second_repl_offset",
            "Cluster": "cluster_enabled",
            "Errorstats": "errorstat_ERR errorstat_WRONGTYPE",
        }.items():
            for name in names.split():
                if name != "tcp_port":
                    assert ours[section][name] == theirs[section][name], name
        assert ours["Server"]["tcp_port"] == str(subject.port)
        assert ours["Keyspace"]["db0"].startswith("keys=2,expires=1,avg_ttl=")


def test_measured_fields() -> None:
    with running(subject_flavour()) as server:
        with server.connect() as wire:
            for number in range(2000):
                wire.call("SET", f"k{number}", "v")
        found = sections(server, "everything")
        stats, memory = found["Stats"], found["Memory"]
        assert int(stats["eventloop_duration_sum"]) > int(stats["eventloop_duration_cmd_sum"]) > 200
        assert int(stats["eventloop_cycles"]) >= 2000
        assert int(memory["used_memory_peak"]) >= int(memory["used_memory"]) > 10_000_000
        uptime_s = int(found["Server"]["server_time_usec"]) // 1_000_000
        assert uptime_s - 60 <= int(memory["used_memory_peak_time"]) <= uptime_s + 1
        assert int(found["Cache"]["cache_entries"]) >= 2000
        assert int(found["Disk"]["disk_free_bytes"]) > 0
        with server.connect() as wire:
            wire.call("CONFIG", "RESETSTAT")
        again = sections(server, "stats")["Stats"]
        assert int(again["eventloop_duration_sum"]) < int(stats["eventloop_duration_sum"])
