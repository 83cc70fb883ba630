"""The Prometheus endpoint of a real server, and the dashboard that shows what it exposes."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.harness.servers import AddressTaken, ServerDied, ServerProcess, subject_flavour
from tests.harness.tls import free_port

DASHBOARD = Path(__file__).resolve().parents[2] / "tools" / "deploy" / "grafana-dashboard.json"


class Endpoint:
    """A server with a metrics port."""

    def __init__(self) -> None:
        for attempt in range(5):
            self.port = free_port()
            self.server = ServerProcess(subject_flavour(), ("--metrics-port", str(self.port)))
            try:
                self.server.start()
            except (AddressTaken, ServerDied):
                self.server.close()
                if attempt == 4:
                    raise
            else:
                return

    def get(self, path: str = "/metrics", method: str = "GET") -> tuple[int, str, str]:
        """Status, content type and body."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, response.headers["Content-Type"], response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers["Content-Type"], error.read().decode()

    def families(self) -> dict[str, Metric]:
        """What is exposed, by name."""
        status, _, text = self.get()
        assert status == 200
        return {family.name: family for family in text_string_to_metric_families(text)}

    def value(self, name: str, **labels: str) -> float:
        """One sample."""
        for family in self.families().values():
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    return sample.value
        raise AssertionError(f"{name} {labels} is not exposed")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    with made.server.connect() as wire:
        for number in range(200):
            wire.call("SET", f"k{number}", "v" * 100, "PX", "1000000")
        # Levels are only told about when there are tables.
        wire.call("COMPACT")
        wire.call("GET", "k1")
        wire.call("GET", "missing")
        wire.call("LPUSH", "k1", "x")
        wire.call("GET")
        wire.call("CONFIG", "GET", "port")
        # Tables on disk: a store that is opened again writes what it finds in its log to one.
        wire.call("DEBUG", "RELOAD")
        for number in range(200):
            wire.call("GET", f"k{number}")
        yield made
    made.server.close()


def test_the_text_is_what_prometheus_takes(endpoint: Endpoint) -> None:
    status, content_type, text = endpoint.get()
    assert status == 200
    assert content_type.startswith("text/plain; version=")
    families = list(text_string_to_metric_families(text))
    names = [family.name for family in families]
    assert len(names) == len(set(names)), "a family in several places"
    for family in families:
        assert family.name.startswith("diskkv_")
        assert family.type in ("counter", "gauge", "histogram")
        assert family.documentation.endswith(".")
        assert len({(sample.name, tuple(sample.labels.items())) for sample in family.samples}) == len(family.samples)
        for sample in family.samples:
            assert family.type != "counter" or sample.name.endswith("_total")


def test_values(endpoint: Endpoint) -> None:
    assert endpoint.value("diskkv_command_duration_seconds_count", cmd="set") == 200
    assert endpoint.value("diskkv_command_duration_seconds_count", cmd="config|get") == 1
    assert endpoint.value("diskkv_command_failed_total", cmd="lpush") == 1
    assert endpoint.value("diskkv_command_rejected_total", cmd="get") == 1
    assert endpoint.value("diskkv_error_replies_total", error="WRONGTYPE") == 1
    assert endpoint.value("diskkv_keys", db="0") == 200
    assert endpoint.value("diskkv_expiring_keys", db="0") == 200
    assert endpoint.value("diskkv_keyspace_hits_total") >= 1
    assert endpoint.value("diskkv_keyspace_misses_total") >= 1
    assert endpoint.value("diskkv_connected_clients") >= 1
    assert endpoint.value("diskkv_cache_entries") >= 200
    assert endpoint.value("diskkv_changes_total") == 200
    assert endpoint.value("diskkv_disk_free_bytes") > 0
    assert endpoint.value("diskkv_memory_resident_bytes") > 10_000_000
    assert endpoint.value("diskkv_info") == 1


def test_histograms_are_cumulative_and_complete(endpoint: Endpoint) -> None:
    family = endpoint.families()["diskkv_command_duration_seconds"]
    buckets = [sample for sample in family.samples if sample.name.endswith("_bucket") and sample.labels["cmd"] == "set"]
    limits = [float(sample.labels["le"]) for sample in buckets]
    counts = [sample.value for sample in buckets]
    assert limits == sorted(limits) and limits[-1] == float("inf")
    assert counts == sorted(counts) and counts[-1] == 200
    total_s = endpoint.value("diskkv_command_duration_seconds_sum", cmd="set")
    assert 0 < total_s < 60


def test_other_requests(endpoint: Endpoint) -> None:
    assert endpoint.get("/")[0] == 404
    assert endpoint.get("/metrics", "POST")[0] == 405
    assert endpoint.get("/metrics", "HEAD") == (200, endpoint.get()[1], "")
    assert endpoint.get("/metrics?name=x")[0] == 200


def test_bad_clients_disturb_nobody(endpoint: Endpoint) -> None:
    """Silent ones, garbage, heads without end."""
    silent = [socket.create_connection(("127.0.0.1", endpoint.port), timeout=30) for _ in range(3)]
    for data in (b"\r\n\r\n", b"\x16\x03\x01" * 100 + b"\r\n\r\n", b"GET /" + b"x" * 100_000):
        with socket.create_connection(("127.0.0.1", endpoint.port), timeout=30) as sock:
            sock.sendall(data)
            try:
                answer = sock.recv(1000)
            except ConnectionResetError:
                answer = b""
            assert not answer or answer.startswith(b"HTTP/1.1 4")
    assert endpoint.get()[0] == 200
    for sock in silent:
        sock.close()


def test_scrapes_under_load(endpoint: Endpoint) -> None:
    """Scrapes are answered while clients keep the server busy, and hold none of them up for long."""
    stop = threading.Event()
    longest_s = 0.0

    def load() -> None:
        nonlocal longest_s
        with endpoint.server.connect() as wire:
            while not stop.is_set():
                began = time.monotonic()
                wire.call("SET", "load", "1")
                longest_s = max(longest_s, time.monotonic() - began)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        for _ in range(3):
            assert endpoint.get()[0] == 200
    finally:
        stop.set()
        thread.join()
    # The machine may be busy with other things; a whole exposition in one go would not be seen here, a hang would.
    assert longest_s < 5


def test_a_busy_port_is_said_at_the_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        server = ServerProcess(subject_flavour(), ("--metrics-port", str(busy.getsockname()[1])))
        with pytest.raises(ServerDied, match="for metrics: Address already in use"):
            server.start()
        server.close()


def expressions() -> list[str]:
    """All queries of the dashboard."""
    found = []

    def walk(node: object) -> None:
        if isinstance(node, dict):
            found.extend(str(node[key]) for key in ("expr", "query") if isinstance(node.get(key), str))
            for child in node.values():
                walk(child)
        elif isinstance(node, list):
            for child in node:
                walk(child)

    walk(json.loads(DASHBOARD.read_text()))
    return found


def test_the_dashboard_shows_what_is_exposed(endpoint: Endpoint) -> None:
    exposed = {sample.name for family in endpoint.families().values() for sample in family.samples}
    exposed |= {family.name + suffix for family in endpoint.families().values() for suffix in ("", "_total")}
    used = {name for query in expressions() for name in re.findall(r"\bdiskkv_\w+", query)}
    assert len(used) > 25
    assert used - exposed == set()


def test_the_dashboard_is_well_formed() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    assert dashboard["uid"] == "diskkv" and dashboard["title"] == "diskkv"
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    for panel in panels:
        assert panel["targets"] and panel["title"]
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24
        assert all(target["expr"].count("(") == target["expr"].count(")") for target in panel["targets"])
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells)), "panels overlap"
