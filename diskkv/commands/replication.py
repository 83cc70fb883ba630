"""SYNC, PSYNC and REPLCONF, which hand out copies of the dataset; ROLE and REPLICAOF. See services/replication.py.

Besides Redis' own options, REPLCONF takes `diskkv-rdb-version`, `diskkv-db`, `diskkv-type` and `diskkv-prefix`, which
choose the format and the part of the dataset that the next SYNC gives.
"""

from __future__ import annotations

from diskkv.codec.header import TYPE_NAMES
from diskkv.codec.numbers import parse_int64
from diskkv.codec.rdb_payload import is_known_version
from diskkv.commands.arguments import parse_integer
from diskkv.commands.registry import Flag, command
from diskkv.errors import CommandError, CommandSyntaxError
from diskkv.resp.reply import OK, array, bulk, integer
from diskkv.services.client import Client
from diskkv.services.replication import Replica
from diskkv.services.streaming import StreamedReply

_SYNC_FLAGS = Flag.ADMIN | Flag.NOSCRIPT | Flag.NO_ASYNC_LOADING | Flag.NO_MULTI
_REPLICAOF_FLAGS = Flag.ADMIN | Flag.NOSCRIPT | Flag.STALE | Flag.NO_ASYNC_LOADING
_MIN_RDB_VERSION = 6


@command("SYNC", arity=1, flags=_SYNC_FLAGS, group="server", since="1.0.0", complexity="O(N) for N keys.")
def sync(client: Client, argv: list[bytes]) -> StreamedReply | bytes:
    """Send a copy of the dataset as an RDB file."""
    return _copy(client, b"")


@command("PSYNC", arity=-3, flags=_SYNC_FLAGS, group="server", since="2.8.0", complexity="O(N) for N keys.",
         syntax="replicationid offset")  # fmt: skip
def psync(client: Client, argv: list[bytes]) -> StreamedReply | bytes:
    """Send a full copy of the dataset to a replica."""
    parse_integer(argv[2])
    return _copy(client, b"+FULLRESYNC %b 0\r\n" % client.instance.run_id.encode())


def _copy(client: Client, head: bytes) -> StreamedReply | bytes:
    replication = client.instance.replication
    if client.id in replication.replicas:
        # As Redis: a replica that has its copy gets no other one on the same connection.
        return b""
    return replication.copy(client, head)


@command("REPLCONF", arity=-1, group="server", since="3.0.0", complexity="O(1)",
         flags=Flag.ADMIN | Flag.NOSCRIPT | Flag.LOADING | Flag.STALE | Flag.ALLOW_BUSY)  # fmt: skip
def replconf(client: Client, argv: list[bytes]) -> bytes:
    """Tell about the replica that is about to send SYNC or PSYNC."""
    if len(argv) % 2 == 0:
        raise CommandSyntaxError
    options = client.instance.replication.options_of(client)
    for at in range(1, len(argv), 2):
        name = argv[at].lower()
        if name in (b"ack", b"getack", b"fack"):
            return b"" if client.transaction is None else OK
        _set_option(options, name, argv[at + 1], argv[at])
    return OK


def _set_option(options: Replica, name: bytes, value: bytes, shown: bytes) -> None:
    if name == b"listening-port":
        options.port = parse_integer(value)
    elif name == b"ip-address":
        options.address = value.decode("latin-1")
    elif name == b"capa":
        # What is not known of a replica's abilities is ignored, so that newer ones work.
        options.takes_marker = options.takes_marker or value.lower() == b"eof"
    elif name == b"rdb-only":
        options.rdb_only = parse_integer(value) == 1
    elif name == b"rdb-filter-only":
        _filter_only(options, value)
    elif name == b"version":
        # Only Valkey's replicas tell theirs.
        major = value.split(b".")[0]
        options.valkey_version = int(major) if major.isdigit() and len(major) < 4 else 0
    elif name.startswith(b"diskkv-"):
        _set_own_option(options, name, value, shown)
    else:
        raise _unknown(shown)


def _filter_only(options: Replica, value: bytes) -> None:
    options.with_keys = options.with_functions = False
    for word in value.split():
        if word.lower() != b"functions":
            raise CommandError(b"ERR Unsupported rdb-filter-only option: " + word)
        options.with_functions = True


def _set_own_option(options: Replica, name: bytes, value: bytes, shown: bytes) -> None:
    if name == b"diskkv-rdb-version":
        version = parse_integer(value)
        if version < _MIN_RDB_VERSION or not is_known_version(version):
            raise CommandError(b"ERR this RDB version is not known")
        options.version = version
    elif name == b"diskkv-db":
        options.databases.add(parse_integer(value))
    elif name == b"diskkv-prefix":
        options.prefix = value
    elif name == b"diskkv-type":
        if value not in TYPE_NAMES.values():
            raise CommandError(b"ERR unknown type")
        options.types.add(value)
    else:
        raise _unknown(shown)


def _unknown(shown: bytes) -> CommandError:
    return CommandError(b"ERR Unrecognized REPLCONF option: " + shown)


@command("ROLE", arity=1, group="server", since="2.8.12", complexity="O(1)",
         flags=Flag.NOSCRIPT | Flag.LOADING | Flag.STALE | Flag.FAST, categories=("admin", "dangerous"))  # fmt: skip
def role(client: Client, argv: list[bytes]) -> bytes:
    """Tell that this is a master, and who has a copy of the dataset now."""
    copies = [
        array([bulk(_host(replica).encode()), bulk(b"%d" % replica.replica.port), bulk(b"0")])
        for replica in client.instance.replication.replicas.values()
        if replica.replica.state == "online"
    ]
    return array([bulk(b"master"), integer(0), array(copies)])


def _host(client: Client) -> str:
    options: Replica = client.replica
    return options.address or client.address.rpartition(":")[0]


@command("REPLICAOF", arity=3, flags=_REPLICAOF_FLAGS, group="server", since="5.0.0", complexity="O(1)",
         syntax="args=<host port | NO ONE>")  # fmt: skip
def replicaof(client: Client, argv: list[bytes]) -> bytes:
    """Accept NO ONE; diskkv cannot be a replica."""
    _refuse_master(argv)
    return OK


@command("SLAVEOF", arity=3, flags=_REPLICAOF_FLAGS, group="server", since="1.0.0", complexity="O(1)",
         syntax="args=<host port | NO ONE>")  # fmt: skip
def slaveof(client: Client, argv: list[bytes]) -> bytes:
    """Accept NO ONE; diskkv cannot be a replica."""
    _refuse_master(argv)
    return OK


def _refuse_master(argv: list[bytes]) -> None:
    if argv[1].lower() == b"no" and argv[2].lower() == b"one":
        return
    try:
        port = parse_int64(argv[2])
    except ValueError:
        port = -1
    if not 0 <= port <= 65535:
        raise CommandError(b"ERR Invalid master port")
    raise CommandError(b"ERR diskkv cannot be a replica; diskkvctl import --from copies another server's data")
