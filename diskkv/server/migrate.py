"""The network side of MIGRATE: a short, blocking conversation with another server, in a thread of its own."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

from diskkv.codec import rdb_const as rdb
from diskkv.codec.rdb_payload import dump_payload, dump_version
from diskkv.codec.rdb_values import RdbUnsupportedError
from diskkv.services.migrations import CANNOT_CONNECT, CANNOT_READ, CANNOT_WRITE, Item, Migration

_KEEP_S = 10.0
"""How long a connection is kept for the next MIGRATE to the same server, as in Redis."""
_KEEP_CONNECTIONS = 64
_BATCH_BYTES = 4 << 20
"""So much is sent before the replies to it are read."""
_MAX_LINE_BYTES = 64 * 1024
_REFUSED_VERSION = b"payload version"
_OTHER_VERSIONS = (rdb.LISTPACK_VERSION, rdb.VALKEY_VERSION)
"""Tried when a server refuses the version that has all of a value: Redis 7.0's, and Valkey 9's."""


class _NetworkError(Exception):
    """`args[0]` is what could not be done."""


class Target:
    """A connection to a server that keys are moved to."""

    def __init__(self, host: str, port: int, timeout_s: float) -> None:
        try:
            self._socket = socket.create_connection((host, port), timeout_s)
        except (socket.gaierror, UnicodeError) as exc:
            raise _NetworkError(CANNOT_CONNECT) from exc
        except (OSError, OverflowError) as exc:
            # As Redis, which connects without waiting, and meets the failure when it writes.
            raise _NetworkError(CANNOT_WRITE) from exc
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""
        self.database: int | None = None
        """The selected one, None when that is not known."""
        self.used_s = time.monotonic()
        self.is_used = False

    def set_timeout(self, timeout_s: float) -> None:
        """How long one read or write may take."""
        self._socket.settimeout(timeout_s)

    def send(self, data: bytes) -> None:
        """Send all of it."""
        try:
            self._socket.sendall(data)
        except OSError as exc:
            raise _NetworkError(CANNOT_WRITE) from exc

    def read_line(self) -> bytes:
        """A reply of one line, without its end."""
        while b"\n" not in self._received:
            try:
                data = self._socket.recv(_MAX_LINE_BYTES)
            except OSError as exc:
                raise _NetworkError(CANNOT_READ) from exc
            if not data or len(self._received) > _MAX_LINE_BYTES:
                raise _NetworkError(CANNOT_READ)
            self._received += data
        line, self._received = self._received.split(b"\n", 1)
        return line.rstrip(b"\r")

    def close(self) -> None:
        """End the connection."""
        self._socket.close()


class Migrator:
    """Carries migrations out, several at a time; keeps connections for a while."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, int], Target] = {}
        self._lock = threading.Lock()

    def perform(self, migration: Migration) -> None:
        """Move the items; says in `migration` what became of it."""
        target = None
        try:
            target = self._take(migration)
            try:
                self._move(target, migration)
            except _NetworkError:
                # A connection that was kept may have been closed by the other side since. Nothing was processed then.
                if not target.is_used or migration.moved or migration.target_error:
                    raise
                target.close()
                target = Target(migration.host, migration.port, migration.timeout_ms / 1000)
                self._move(target, migration)
        except _NetworkError as exc:
            migration.network_error = exc.args[0]
            if target is not None:
                target.close()
            return
        self._keep(migration, target)

    def close(self) -> None:
        """End all connections."""
        with self._lock:
            for target in self._kept.values():
                target.close()
            self._kept.clear()

    def _take(self, migration: Migration) -> Target:
        self.drop_idle()
        with self._lock:
            target = self._kept.pop((migration.host, migration.port), None)
        if target is None:
            return Target(migration.host, migration.port, migration.timeout_ms / 1000)
        target.set_timeout(migration.timeout_ms / 1000)
        target.is_used = True
        return target

    def _keep(self, migration: Migration, target: Target) -> None:
        target.used_s = time.monotonic()
        if migration.target_error is not None:
            target.database = None
        with self._lock:
            before = self._kept.pop((migration.host, migration.port), None)
            if len(self._kept) < _KEEP_CONNECTIONS:
                self._kept[migration.host, migration.port] = target
            else:
                before = before or target
        if before is not None:
            before.close()

    def drop_idle(self) -> None:
        """Close the connections that were kept long enough."""
        now_s = time.monotonic()
        with self._lock:
            for place, target in list(self._kept.items()):
                if now_s - target.used_s > _KEEP_S:
                    del self._kept[place]
                    target.close()

    # ---- the conversation

    def _move(self, target: Target, migration: Migration) -> None:
        refused: list[Item] = []
        head = _head(target, migration)
        at = 0
        while at < len(migration.items):
            batch, at = _next_batch(migration, at)
            target.send(b"".join([*(command for command, _ in head), *(command for command, _ in batch)]))
            problem = _read_head(target, head, migration)
            head = []
            for _, item in batch:
                answer = target.read_line()
                if problem is not None or answer.startswith(b"-"):
                    if problem is None and _REFUSED_VERSION in answer and _has_other_version(item):
                        refused.append(item)
                    elif migration.target_error is None:
                        migration.target_error = problem or answer[1:]
                else:
                    migration.moved.append(item.key)
            if problem is not None:
                return
        for item in refused:
            self._move_in_other_version(target, migration, item)

    @staticmethod
    def _move_in_other_version(target: Target, migration: Migration, item: Item) -> None:
        answer = b""
        for version in _OTHER_VERSIONS:
            with contextlib.suppress(RdbUnsupportedError):
                command = _restore(migration, item, version)
                if command is None:
                    return
                target.send(command)
                answer = target.read_line()
                if not answer.startswith(b"-"):
                    migration.moved.append(item.key)
                    return
        if migration.target_error is None:
            migration.target_error = answer[1:] or b"ERR DUMP payload version or checksum are wrong"


def _head(target: Target, migration: Migration) -> list[tuple[bytes, int | None]]:
    """(command, database that it selects if any) for what has to come before the keys."""
    commands: list[tuple[bytes, int | None]] = []
    if migration.password is not None:
        user = [] if migration.user is None else [migration.user]
        commands.append((_encode([b"AUTH", *user, migration.password]), None))
    if target.database != migration.database:
        commands.append((_encode([b"SELECT", b"%d" % migration.database]), migration.database))
    return commands


def _read_head(target: Target, head: list[tuple[bytes, int | None]], migration: Migration) -> bytes | None:
    """Read the replies to `_head`; the first error, after which keys went to the wrong place or nowhere."""
    problem = None
    for _, database in head:
        answer = target.read_line()
        if answer.startswith(b"-"):
            problem = problem or answer[1:]
        elif database is not None:
            target.database = database
    return problem


def _next_batch(migration: Migration, at: int) -> tuple[list[tuple[bytes, Item]], int]:
    """Commands for items from index `at` on, and the index of the first one that is not among them."""
    batch = []
    room_bytes = _BATCH_BYTES
    while at < len(migration.items) and room_bytes > 0:
        item = migration.items[at]
        at += 1
        command = _restore(migration, item, None)
        if command is not None:
            batch.append((command, item))
            room_bytes -= len(command)
    return batch, at


def _restore(migration: Migration, item: Item, version: int | None) -> bytes | None:
    """The RESTORE command; None for a key whose time has come meanwhile."""
    ttl_ms = 0
    if item.expire_ms:
        ttl_ms = item.expire_ms - time.time_ns() // 1_000_000
        if ttl_ms <= 0:
            return None
    argv = [b"RESTORE", item.key, b"%d" % ttl_ms, dump_payload(item.value, version)]
    return _encode([*argv, b"REPLACE"] if migration.replace else argv)


def _has_other_version(item: Item) -> bool:
    return dump_version(item.value) > min(_OTHER_VERSIONS)


def _encode(argv: list[bytes]) -> bytes:
    parts = [b"*%d\r\n" % len(argv)]
    parts += [b"$%d\r\n%b\r\n" % (len(argument), argument) for argument in argv]
    return b"".join(parts)
