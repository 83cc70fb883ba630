"""Data into and out of running servers, and on from one to another."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.codec.rdb_live import call
from tests.harness.integrity import assert_sound
from tests.harness.servers import ServerProcess, diskkv, redis_8, running
from tests.harness.wire import Wire
from tests.tools.transfer.datasets import (
    AT_ONCE,
    assert_same,
    ctl,
    dataset,
    fill_all,
    filled,
    functions_work,
    started_with,
    url_of,
    wait_until,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def origin() -> Iterator[ServerProcess]:
    with filled(redis_8()) as server:
        yield server


@pytest.fixture(scope="module")
def imported(origin: ServerProcess) -> Iterator[ServerProcess]:
    server = started_with(origin.data_directory / "dump.rdb")
    yield server
    server.close()


def test_pipe_of_a_command_stream(imported: ServerProcess, origin: ServerProcess) -> None:
    with running(redis_8()) as target:
        stream = target.directory / "stream.resp"
        assert ctl("export", stream, "--url", url_of(imported))["keys"] == len(dataset(imported))
        with open(stream, "rb") as file:
            command = ["redis-cli", "-s", target.socket_path, "--pipe"]
            done = subprocess.run(command, stdin=file, capture_output=True, timeout=60, check=True)
        assert b"errors: 0" in done.stdout
        # Commands cannot tell when a consumer was seen.
        assert_same(dataset(target, times=False), dataset(origin, times=False))
        assert functions_work(target)


def test_json_lines_into_a_running_server(imported: ServerProcess) -> None:
    with running(redis_8()) as target:
        lines = target.directory / "lines.jsonl"
        ctl("export", lines, "--url", url_of(imported))
        result = ctl("import", lines, "--url", url_of(target))
        assert (result["errors"], result["keys"]) == (0, len(dataset(imported)))
        # The large stream goes in pieces, as commands.
        assert_same(dataset(target, times=False), dataset(imported, times=False))
        assert functions_work(target)


def test_rdb_file_into_a_running_diskkv(origin: ServerProcess) -> None:
    with running(diskkv()) as target:
        path = origin.data_directory / "dump.rdb"
        result = ctl("import", path, "--url", url_of(target))
        assert result["errors"] == 0
        assert_same(dataset(target, times=False), dataset(origin, times=False))
        again = ctl("import", path, "--url", url_of(target), "--existing", "skip")
        assert (again["keys"], again["skipped"]) == (0, result["keys"])
        replaced = ctl("import", path, "--url", url_of(target), "--existing", "replace")
        assert replaced["keys"] == result["keys"]
        assert_same(dataset(target, times=False), dataset(origin, times=False))
        assert_sound(target)


def test_what_an_rdb_version_cannot_express_of_a_running_server() -> None:
    library = "#!lua name=mylib\nredis.register_function('f', function() return 1 end)"
    with running(diskkv()) as server, server.connect() as wire:
        call(wire, "HSET", "hash", "f", "v")
        call(wire, "HEXPIRE", "hash", "1000", "FIELDS", "1", "f")
        call(wire, "XADD", "stream", "1-1", "f", "v")
        call(wire, "SET", "string", "v")
        call(wire, "FUNCTION", "LOAD", library)
        path = server.directory / "old.rdb"
        export = ("export", path, "--url", url_of(server), "--rdb-version")
        assert "has no expiry of hash fields; choose" in ctl(*export, "10", status=1)
        assert "RDB version 9 has no functions; choose" in ctl(*export, "9", status=1)
        assert not path.exists()
        notes = ctl(*export, "10", "--lossy")["notes"]
        assert notes == ["left out of 1 keys: RDB version 10 has no expiry of hash fields"]
        result = ctl(*export, "6", "--lossy")
        assert result["keys"] == 2
        assert sorted(result["notes"]) == [
            "left out of 1 keys: RDB version 6 has no expiry of hash fields",
            "left out of 1 keys: RDB version 6 has no streams",
            "left out of 1 libraries: RDB version 6 has no functions",
        ]
        assert ctl(*export, "12")["notes"] == []


def test_following_a_server() -> None:
    """What is written after the copy arrives too, into a running server and into a directory."""
    directory = ServerProcess(diskkv())
    with (
        running(redis_8(), *AT_ONCE) as source,
        running(diskkv()) as target,
        source.connect() as wire,
        target.connect() as seen,
    ):
        fill_all(wire)
        followers = [
            subprocess.Popen(
                [sys.executable, "-m", "tools.diskkvctl", "import", "--from", url_of(source), *into, "--follow"],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            for into in (["--url", url_of(target)], ["--dir", str(directory.data_directory)])
        ]
        try:
            wait_until(lambda: b"connected_slaves:2" in call(wire, "INFO", "replication"), "both ask for a copy")
            for number in range(200):
                call(wire, "INCR", "counter")
                call(wire, "LPUSH", "later", number)
            call(wire, "SELECT", 3)
            call(wire, "MULTI")
            call(wire, "SET", "in transaction", 1, "PX", 10_000_000)
            call(wire, "SPOP", "large:set", 10)
            call(wire, "EXEC")
            call(wire, "DEL", "other")
            call(wire, "SET", "end", "here")
            call(seen, "SELECT", 3)
            wait_until(lambda: seen.call("GET", "end") == b"here", "the last write arrives")
            wait_until(lambda: len(set(_offsets(wire))) == 1, "both have written everything")
        finally:
            for follower in followers:
                follower.send_signal(signal.SIGINT)
            for follower in followers:
                _, err = follower.communicate(timeout=60)
                assert follower.returncode == 0, err.decode()
        expected = dataset(source, times=False)
        assert_same(dataset(target, times=False), expected)
        try:
            directory.start()
            assert_same(dataset(directory, times=False), expected)
        finally:
            directory.close()


def _offsets(wire: Wire) -> list[bytes]:
    """The server's own offset in the stream, and what its replicas acknowledged."""
    text: bytes = call(wire, "INFO", "replication")
    return re.findall(rb"(?:master_repl_offset:|slave\d.*offset=)(\d+)", text)
