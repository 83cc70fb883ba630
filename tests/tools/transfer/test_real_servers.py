"""Data from every real server into diskkv and back, in all formats, compared value by value."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.codec.rdb_live import call, native_version
from tests.harness.integrity import assert_sound
from tests.harness.servers import Flavour, ServerProcess, redis_8, running, system_redis, valkey_9
from tests.tools.transfer.datasets import (
    Dataset,
    assert_same,
    ctl,
    dataset,
    filled,
    functions_work,
    started_with,
    url_of,
    wait_until,
)

pytestmark = pytest.mark.slow

FLAVOURS = [system_redis, redis_8, valkey_9]


@pytest.fixture(scope="module", params=FLAVOURS, ids=lambda flavour: flavour.__name__)
def flavour(request: pytest.FixtureRequest) -> Flavour:
    make: Callable[[], Flavour] = request.param
    return make()


@pytest.fixture(scope="module")
def origin(flavour: Flavour) -> Iterator[ServerProcess]:
    with filled(flavour) as server:
        yield server


@pytest.fixture(scope="module")
def expected(origin: ServerProcess) -> Dataset:
    found = dataset(origin)
    assert len(found) > 40
    return found


@pytest.fixture(scope="module")
def imported(origin: ServerProcess) -> Iterator[ServerProcess]:
    """A diskkv with the same data, from the RDB file."""
    server = started_with(origin.data_directory / "dump.rdb", tcp=True)
    yield server
    server.close()


def test_rdb_file(imported: ServerProcess, expected: Dataset) -> None:
    assert_same(dataset(imported), expected)
    assert functions_work(imported)
    assert_sound(imported)


def test_append_only_file_in_parts(origin: ServerProcess, expected: Dataset) -> None:
    server = started_with(origin.data_directory / "appendonlydir")
    try:
        assert_same(dataset(server), expected)
        assert functions_work(server)
        assert_sound(server)
    finally:
        server.close()


def test_copy_of_a_running_server(origin: ServerProcess, expected: Dataset) -> None:
    server = started_with(url_of(origin))
    try:
        assert_same(dataset(server), expected)
        assert functions_work(server)
    finally:
        server.close()


def test_export_loads_at_start(
    flavour: Flavour, origin: ServerProcess, imported: ServerProcess, expected: Dataset
) -> None:
    with origin.connect() as wire:
        version = min(native_version(wire), 12) if not flavour.name.startswith("valkey") else 80
    target = ServerProcess(flavour)
    try:
        ctl("export", target.data_directory / "dump.rdb", "--url", url_of(imported), "--rdb-version", str(version))
        target.start()
        assert_same(dataset(target), expected)
        assert functions_work(target)
    finally:
        target.close()


def test_append_only_directory_loads_at_start(
    flavour: Flavour, origin: ServerProcess, imported: ServerProcess, expected: Dataset
) -> None:
    version = "10" if flavour.name == "redis-system" else "80" if flavour.name.startswith("valkey") else "12"
    target = ServerProcess(flavour, ["--appendonly", "yes"])
    try:
        path = target.data_directory / "appendonlydir"
        ctl("export", path, "--format", "aof", "--url", url_of(imported), "--rdb-version", version)
        target.start()
        assert_same(dataset(target), expected)
        with target.connect() as wire:
            call(wire, "SET", "goes on", "1")
        target.restart()
        assert (0, b"goes on") in dataset(target)
    finally:
        target.close()


def test_redis_cli_makes_an_rdb_file(flavour: Flavour, imported: ServerProcess) -> None:
    # It does not say what the file is for: with field expiry, it is in Redis' format, which Valkey does not read.
    target = ServerProcess(redis_8() if flavour.name.startswith("valkey") else flavour)
    try:
        path = target.data_directory / "dump.rdb"
        done = subprocess.run(
            ["redis-cli", "-s", imported.socket_path, "--rdb", str(path)], capture_output=True, timeout=60, check=True
        )
        assert b"success" in done.stderr + done.stdout
        target.start()
        assert_same(dataset(target, active=False), dataset(imported, active=False))
    finally:
        target.close()


def test_a_real_server_replicates_once(flavour: Flavour, imported: ServerProcess) -> None:
    with running(flavour, tcp=True) as target, target.connect() as wire:
        call(wire, "REPLICAOF", "127.0.0.1", imported.port)
        wait_until(lambda: b"master_link_status:up" in call(wire, "INFO", "replication"), "the copy is complete")
        with imported.connect() as source:
            role = call(source, "ROLE")
            assert [one[1] for one in role[2]] == [b"%d" % target.port]
            assert b"connected_slaves:1" in call(source, "INFO", "replication")
            assert b"flags=S" in call(source, "CLIENT", "LIST", "TYPE", "replica")
        call(wire, "REPLICAOF", "NO", "ONE")
        assert_same(dataset(target, active=False), dataset(imported, active=False))
        assert functions_work(target)
