"""SYNC over the wire: the server goes on meanwhile, whatever becomes of who asked for the copy."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from diskkv.codec.rdb_reader import RdbFunction, RdbKey, RdbReader
from tests.codec.rdb_live import call
from tests.harness.servers import ServerProcess, diskkv, running
from tests.harness.wire import Simple, Wire

LIBRARY = b"#!lua name=mylib\nredis.register_function('f', function() return 'called' end)\n"
KEYS = 20_000


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """With some 20 MB of data: more than the buffers of a socket take."""
    with running(diskkv()) as process, process.connect() as wire:
        fill = "for i = 1, tonumber(ARGV[1]) do redis.call('SET', 'key:' .. i, string.rep('x', 1000)) end"
        call(wire, "EVAL", fill, 0, KEYS)
        call(wire, "FUNCTION", "LOAD", LIBRARY)
        yield process


def read_copy(wire: Wire) -> list[RdbKey]:
    head = wire.read_until(b"\r\n")
    mark = head[5:45]
    data = wire.read_until(mark)[: -len(mark)]
    return [record for record in RdbReader(io.BytesIO(data)) if isinstance(record, RdbKey)]


def test_others_go_on_while_a_slow_client_takes_its_copy(server: ServerProcess) -> None:
    with server.connect() as slow, server.connect() as other:
        call(slow, "REPLCONF", "capa", "eof")
        slow.send("SYNC")
        head = slow.read_until(b"\r\n")
        assert head[:5] == b"$EOF:"
        # The rest waits in the server; what happens now is not part of it.
        for number in range(100):
            assert call(other, "SET", f"key:{number}", "changed") == Simple(b"OK")
        assert call(other, "INCR", "counter") == 1
        assert b"state=send_bulk" in call(other, "INFO", "replication")
        mark = head[5:45]
        data = slow.read_until(mark)[: -len(mark)]
        keys = {record.key: record.value for record in RdbReader(io.BytesIO(data)) if isinstance(record, RdbKey)}
        assert len(keys) == KEYS
        assert all(value.data == b"x" * 1000 for value in keys.values())  # type: ignore[union-attr]
        call(other, "DEL", "counter")
        for number in range(100):
            call(other, "SET" if number else "DEL", f"key:{number}", *["x" * 1000] if number else [])


def test_a_client_that_leaves_in_the_middle(server: ServerProcess) -> None:
    with server.connect() as other:
        for _ in range(3):
            with server.connect() as leaver:
                leaver.send("PSYNC", "?", "-1")
                assert leaver.read_until(b"\r\n").startswith(b"+FULLRESYNC")
        with server.connect() as next_one:
            call(next_one, "REPLCONF", "capa", "eof")
            next_one.send("SYNC")
            assert len(read_copy(next_one)) == KEYS
        assert call(other, "PING") == Simple(b"PONG")


def test_two_copies_at_once_and_a_flush(server: ServerProcess) -> None:
    with server.connect() as first, server.connect() as second, server.connect() as other:
        for wire in (first, second):
            call(wire, "REPLCONF", "capa", "eof", "rdb-only", "1")
            wire.send("SYNC")
        assert call(other, "DBSIZE") == KEYS
        assert [len(read_copy(wire)) for wire in (first, second)] == [KEYS, KEYS]
        # Who wants a file only is disconnected behind it.
        assert first.read_until_closed() == b""


def test_it_is_not_for_everybody(server: ServerProcess) -> None:
    with server.connect() as wire, server.connect() as admin:
        call(admin, "ACL", "SETUSER", "reader", "on", "nopass", "+@read", "~*")
        call(wire, "AUTH", "reader", "x")
        for command in (["SYNC"], ["PSYNC", "?", "-1"], ["REPLCONF", "capa", "eof"]):
            assert b"NOPERM" in wire.call(*command).text
        call(admin, "ACL", "DELUSER", "reader")


def test_redis_cli_takes_functions_alone(server: ServerProcess, tmp_path: Path) -> None:
    path = tmp_path / "functions.rdb"
    command = ["redis-cli", "-s", server.socket_path, "--functions-rdb", str(path)]
    subprocess.run(command, capture_output=True, timeout=60, check=True)
    with open(path, "rb") as file:
        records = [record for record in RdbReader(file) if isinstance(record, RdbKey | RdbFunction)]
    assert records == [RdbFunction(LIBRARY)]
