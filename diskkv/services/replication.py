"""Copies of the dataset for who asks for them as a replica does: `redis-cli --rdb`, `redis-cli --replica`, migrations
out to a real server, and diskkvctl.

SYNC and PSYNC are always answered with a full copy: an RDB file of one snapshot of the store, sent while it is made
(see streaming.py), so that neither memory nor other clients suffer. diskkv does not replicate: what changes after the
snapshot is not sent. A replica therefore gets PINGs, and shows its link as up, as long as its copy is the whole truth;
some seconds after a change its link is closed, whereupon it asks for a new copy. A migration to a real server is thus
complete when writers have stopped and the link stays up.

Source: https://redis.io/docs/latest/operate/oss_and_stack/management/replication/
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from diskkv.codec import rdb_const as rdb
from diskkv.engine.engine import Engine
from diskkv.services.dataset_export import RdbExport, Selection, needs_field_expiry, open_snapshot
from diskkv.services.streaming import StreamedReply

if TYPE_CHECKING:
    from diskkv.services.client import Client
    from diskkv.services.instance import Instance

log = logging.getLogger(__name__)

_PING = b"*1\r\n$4\r\nPING\r\n"
_PING_INTERVAL_MS = 10_000
STALE_AFTER_MS = 10_000
"""A replica whose copy is outdated is disconnected so long after it got it, that copies do not follow each other."""
_MARK_BYTES = 20
_KEEPALIVE_STEPS = 200
_VALKEY_FIELD_EXPIRY = 9


@dataclass
class Replica:
    """What a client said with REPLCONF, and how far its copy is."""

    port: int = 0
    address: str = ""
    takes_marker: bool = False
    """`capa eof`: the length of the copy need not be known before."""
    rdb_only: bool = False
    valkey_version: int = 0
    """The major version of a Valkey replica, 0 for others."""
    version: int = 0
    """The RDB version asked for, 0: what the replica is likely to read."""
    databases: set[int] = field(default_factory=set)
    types: set[bytes] = field(default_factory=set)
    prefix: bytes = b""
    with_keys: bool = True
    with_functions: bool = True
    state: str = ""
    """"" before SYNC, then send_bulk, then online."""
    changes: int = 0
    online_ms: int = 0
    pinged_ms: int = 0

    @property
    def selection(self) -> Selection:
        """Which part of the dataset was asked for."""
        return Selection(
            frozenset(self.databases) or None,
            self.prefix,
            frozenset(self.types) or None,
            self.with_keys,
            self.with_functions,
        )


class Replication:
    """The clients that have or get a copy, by client id."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self.replicas: dict[int, Client] = {}

    def options_of(self, client: Client) -> Replica:
        """What the client said about itself, to be added to."""
        if client.replica is None:
            client.replica = Replica()
        replica: Replica = client.replica
        return replica

    def forget(self, client: Client) -> None:
        """The connection is gone."""
        self.replicas.pop(client.id, None)

    def copy(self, client: Client, head: bytes) -> StreamedReply:
        """The reply to SYNC (no head) or PSYNC. The snapshot is taken when its first piece is asked for."""
        replica = self.options_of(client)
        replica.state = "send_bulk"
        self.replicas[client.id] = client
        return StreamedReply(self._copy(client, replica, head))

    def _copy(self, client: Client, replica: Replica, head: bytes) -> Iterator[bytes]:
        if head:
            yield head
        began_s = time.monotonic()
        instance = self._instance
        replica.changes = instance.engine.changes
        engine = open_snapshot(instance.engine.store, instance.engine.now_ms)
        try:
            version = replica.version
            if not version:
                found = False
                for answer in needs_field_expiry(engine, replica.selection):
                    found = bool(answer)
                    yield b""
                version = _version_for(replica, found)
            export = RdbExport(engine, version, replica.selection, lossy=True)
            if replica.takes_marker:
                mark = secrets.token_hex(_MARK_BYTES).encode()
                yield b"$EOF:%b\r\n" % mark
                yield from export.pieces()
                yield mark
            else:
                yield from _with_length(engine, version, replica.selection, export)
        finally:
            engine.close()
        spent_s = time.monotonic() - began_s
        size = export.size_bytes
        log.info("client %d got a copy: %d keys, %d bytes in %.1f s", client.id, export.stats.keys, size, spent_s)
        for reason, count in export.stats.lost.items():
            log.warning("the copy for client %d lacks something of %d %s", client.id, count, reason)
        if replica.rdb_only:
            client.close()
            return
        replica.state = "online"
        replica.online_ms = replica.pinged_ms = instance.engine.now_ms

    def tick(self, now_ms: int) -> None:
        """Keep links alive, and end those whose copy is outdated; called several times a second."""
        for client in list(self.replicas.values()):
            replica: Replica = client.replica
            if replica.state != "online" or client.closing:
                continue
            if replica.changes != self._instance.engine.changes:
                if now_ms - replica.online_ms >= STALE_AFTER_MS:
                    log.info("closing the link of client %d: its copy of the dataset is outdated", client.id)
                    client.close()
            elif now_ms - replica.pinged_ms >= _PING_INTERVAL_MS:
                replica.pinged_ms = now_ms
                client.push(_PING)


def _version_for(replica: Replica, field_expiry: bool) -> int:
    """The oldest of today's RDB versions that has all the data: one that as many servers as possible read.

    Every server since Redis 7.0 reads 10. The expiry of hash fields needs 12 (Redis 7.4), or Valkey's own.
    """
    if not field_expiry:
        return rdb.LISTPACK_VERSION
    return rdb.VALKEY_VERSION if replica.valkey_version >= _VALKEY_FIELD_EXPIRY else rdb.FIELD_EXPIRY_VERSION


def _with_length(engine: Engine, version: int, selection: Selection, export: RdbExport) -> Iterator[bytes]:
    """The copy behind its length, for who cannot do without: it is made twice, first to count the bytes."""
    first = RdbExport(engine, version, selection, lossy=True)
    for step, _ in enumerate(first.pieces()):
        # Empty lines tell the other side that something happens here.
        yield b"" if step % _KEEPALIVE_STEPS else b"\n"
    yield b"$%d\r\n" % first.size_bytes
    yield from export.pieces()
