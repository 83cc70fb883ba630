"""Copies for replicas: how they are framed, what REPLCONF chooses, and what becomes of the link."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from diskkv.codec.rdb_reader import RdbFunction, RdbKey, RdbReader
from diskkv.commands.dispatch import execute
from diskkv.commands.registry import Flag, load_all
from diskkv.config import Config
from diskkv.engine.leveldb import LevelDBStore
from diskkv.engine.memory import MemoryStore
from diskkv.engine.store import Store
from diskkv.services.client import Client
from diskkv.services.instance import Instance
from diskkv.services.replication import STALE_AFTER_MS
from diskkv.services.streaming import StreamedReply

LIBRARY = b"#!lua name=mylib\nredis.register_function('f', function() return 1 end)\n"


@pytest.fixture(params=["memory", "leveldb"])
def instance(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    store: Store = MemoryStore() if request.param == "memory" else LevelDBStore(tmp_path_factory.mktemp("data") / "db")
    made = Instance(Config(), store)
    made.use_commands(load_all(), Flag.PLAIN, Flag.SKIP_SLOWLOG)
    yield made
    made.engine.close()


@pytest.fixture
def writer(instance: Instance) -> Client:
    client = instance.new_client()
    run(client, "SET user:1 a", "SADD set m", "SELECT 2", "SET other b", "SELECT 0")
    assert execute(client, [b"FUNCTION", b"LOAD", LIBRARY]) == b"$5\r\nmylib\r\n"
    instance.engine.commit()
    return client


def run(client: Client, *commands: str) -> None:
    for command in commands:
        reply = execute(client, command.encode().split())
        assert not reply.startswith(b"-"), (command, reply)


def copy_for(instance: Instance, *options: str, command: str = "SYNC") -> tuple[Client, bytes]:
    """A client that asked for a copy, and all that it got."""
    client = instance.new_client()
    client.address = "127.0.0.1:5000"
    run(client, *(f"REPLCONF {option}" for option in options))
    reply = execute(client, command.encode().split())
    assert isinstance(reply, StreamedReply)
    pieces = []
    while (piece := reply.next_piece()) is not None:
        pieces.append(piece)
    return client, b"".join(pieces)


def content(rdb: bytes) -> list[bytes]:
    """The keys, with their database when that is not 0; a function by its name."""
    found = []
    for record in RdbReader(io.BytesIO(rdb)):
        if isinstance(record, RdbKey):
            found.append(b"%d:%b" % (record.db, record.key) if record.db else record.key)
        elif isinstance(record, RdbFunction):
            found.append(record.code.split()[1])
    return found


ALL = [b"name=mylib", b"set", b"user:1", b"2:other"]


def test_with_a_marker(instance: Instance, writer: Client) -> None:
    _, data = copy_for(instance, "capa eof capa psync2", command="PSYNC ? -1")
    head, data = data.split(b"\r\n", 1)
    assert head == b"+FULLRESYNC %b 0" % instance.run_id.encode()
    assert data[:5] == b"$EOF:"
    mark, rest = data[5:45], data[47:]
    assert rest[-40:] == mark
    assert content(rest[:-40]) == ALL


def test_with_a_length(instance: Instance, writer: Client) -> None:
    _, data = copy_for(instance)
    head, rest = data.lstrip(b"\n").split(b"\r\n", 1)
    assert int(head[1:]) == len(rest)
    assert content(rest) == ALL


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["rdb-filter-only functions"], [b"name=mylib"]),
        (["diskkv-db 2"], [b"name=mylib", b"2:other"]),
        (["diskkv-prefix user:"], [b"name=mylib", b"user:1"]),
        (["diskkv-type set diskkv-type hash"], [b"name=mylib", b"set"]),
    ],
)
def test_parts_of_the_dataset(instance: Instance, writer: Client, options: list[str], expected: list[bytes]) -> None:
    _, data = copy_for(instance, *options)
    assert content(data.lstrip(b"\n").split(b"\r\n", 1)[1]) == expected


def test_what_the_filter_leaves_out(instance: Instance, writer: Client) -> None:
    client = instance.new_client()
    assert execute(client, [b"REPLCONF", b"rdb-filter-only", b""]) == b"+OK\r\n"
    assert not client.replica.selection.keys
    assert not client.replica.selection.functions


def version_of(instance: Instance, *options: str) -> bytes:
    _, data = copy_for(instance, *options)
    return data.lstrip(b"\n").split(b"\r\n", 1)[1][:9]


def test_the_oldest_version_that_has_everything(instance: Instance, writer: Client) -> None:
    assert version_of(instance) == b"REDIS0010"
    assert version_of(instance, "diskkv-rdb-version 12") == b"REDIS0012"
    run(writer, "HSET hash f v", "HEXPIRE hash 1000 FIELDS 1 f")
    instance.engine.commit()
    assert version_of(instance) == b"REDIS0012"
    assert version_of(instance, "version 9.1.0") == b"VALKEY080"
    assert version_of(instance, "version 8.0.1") == b"REDIS0012"
    assert version_of(instance, "diskkv-type set") == b"REDIS0010"


def test_the_copy_is_of_one_moment(instance: Instance, writer: Client) -> None:
    client = instance.new_client()
    reply = execute(client, [b"SYNC"])
    instance.engine.commit()
    # As the reactor does: the first piece is taken after the commit of the turn, and begins the snapshot.
    pieces = [reply.next_piece()]
    run(writer, "SET later x", "DEL user:1", "FLUSHALL")
    instance.engine.commit()
    while (piece := reply.next_piece()) is not None:
        pieces.append(piece)
    assert content(b"".join(pieces).lstrip(b"\n").split(b"\r\n", 1)[1]) == ALL


@pytest.mark.parametrize(
    ("command", "error"),
    [
        ("REPLCONF capa", b"-ERR syntax error\r\n"),
        ("REPLCONF nonsense 1", b"-ERR Unrecognized REPLCONF option: nonsense\r\n"),
        ("REPLCONF listening-port x", b"-ERR value is not an integer or out of range\r\n"),
        ("REPLCONF rdb-filter-only keys", b"-ERR Unsupported rdb-filter-only option: keys\r\n"),
        ("REPLCONF diskkv-rdb-version 13", b"-ERR this RDB version is not known\r\n"),
        ("REPLCONF diskkv-type module", b"-ERR unknown type\r\n"),
        ("REPLCONF diskkv-x y", b"-ERR Unrecognized REPLCONF option: diskkv-x\r\n"),
        ("PSYNC ? x", b"-ERR value is not an integer or out of range\r\n"),
        ("REPLICAOF host 99999", b"-ERR Invalid master port\r\n"),
        ("REPLICAOF host x", b"-ERR Invalid master port\r\n"),
    ],
)
def test_errors(instance: Instance, command: str, error: bytes) -> None:
    assert execute(instance.new_client(), command.encode().split()) == error


def test_acknowledgements_have_no_reply(instance: Instance) -> None:
    assert execute(instance.new_client(), [b"REPLCONF", b"ACK", b"5"]) == b""


def test_it_is_no_replica_of_others(instance: Instance) -> None:
    client = instance.new_client()
    assert execute(client, [b"SLAVEOF", b"no", b"one"]) == b"+OK\r\n"
    assert execute(client, [b"REPLICAOF", b"host", b"6379"]).startswith(b"-ERR diskkv cannot be a replica")


def test_a_link_is_kept_while_the_copy_is_right(instance: Instance, writer: Client) -> None:
    client, _ = copy_for(instance, "listening-port 7000")
    now_ms = instance.engine.now_ms
    assert execute(writer, [b"ROLE"]) == (
        b"*3\r\n$6\r\nmaster\r\n:0\r\n*1\r\n*3\r\n$9\r\n127.0.0.1\r\n$4\r\n7000\r\n$1\r\n0\r\n"
    )
    assert b"slave0:ip=127.0.0.1,port=7000,state=online" in execute(writer, [b"INFO", b"replication"])
    instance.replication.tick(now_ms + 9_999)
    assert client.out == []
    instance.replication.tick(now_ms + 10_000)
    instance.replication.tick(now_ms + 10_001)
    assert client.out == [b"*1\r\n$4\r\nPING\r\n"]
    run(writer, "SET changed x")
    instance.engine.commit()
    assert not client.closing
    instance.replication.tick(now_ms + max(STALE_AFTER_MS, 20_000))
    assert client.closing


def test_an_outdated_link_is_kept_for_a_while(instance: Instance, writer: Client) -> None:
    client, _ = copy_for(instance)
    run(writer, "SET changed x")
    instance.engine.commit()
    instance.replication.tick(instance.engine.now_ms + STALE_AFTER_MS - 1)
    assert not client.closing
    instance.replication.tick(instance.engine.now_ms + STALE_AFTER_MS)
    assert client.closing


def test_who_wants_a_file_only_is_disconnected(instance: Instance, writer: Client) -> None:
    client, _ = copy_for(instance, "rdb-only 1")
    assert client.closing
    instance.forget_client(client)
    assert instance.replication.replicas == {}


def test_a_second_copy_needs_another_connection(instance: Instance, writer: Client) -> None:
    client, _ = copy_for(instance)
    assert execute(client, [b"SYNC"]) == b""
