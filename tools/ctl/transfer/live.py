"""A running server as sink: values go through RESTORE, those in pieces as commands; all of it pipelined."""

from __future__ import annotations

from collections import deque

from diskkv.codec import rdb_const as rdb
from diskkv.codec.rdb_payload import dump_payload, dump_version
from diskkv.codec.rdb_reader import RdbAux, RdbFunction, RdbKey
from diskkv.codec.rdb_values import RdbUnsupportedError, RdbValue
from tools.ctl.transfer.ascommands import function_command, key_commands
from tools.ctl.transfer.commandfile import encode_command
from tools.ctl.transfer.items import Command, Item, TransferError
from tools.ctl.transfer.wire import Address, ServerError, Wire, values_of

_PIPELINE_COMMANDS = 1000
_PIPELINE_BYTES = 1 << 20
_MAX_SHOWN_ERRORS = 10
_MAX_ERRORS = 1000
"""After so many, something is wrong with the whole: a server that takes no writes, say."""


class LiveSink:
    """Puts items into a running server.

    Args:
        address: The server. Its database number is ignored for records, which have their own.
        existing: replace, skip (keys that are there stay) or fail (an error for each one).
    """

    def __init__(self, address: Address, existing: str = "fail") -> None:
        self.notes: list[str] = []
        self._wire = Wire(address)
        self._existing = existing
        self._db = address.database
        self._parts: list[bytes] = []
        self._part_bytes = 0
        self._waiting: deque[tuple[str, bytes]] = deque()
        """(what counts when it succeeds, what to call it in an error) of each command without a reply yet."""
        self._counts = {"keys": 0, "functions": 0, "commands": 0, "errors": 0, "skipped": 0}
        self._skipped_place: tuple[int, bytes] | None = None
        self._version = newest_version(values_of(self._wire.require("INFO", "server")))

    def counts(self) -> dict[str, int]:
        return dict(self._counts)

    def put(self, item: Item) -> None:
        if isinstance(item, Command):
            self._send(item.argv, "commands", item.argv[0])
        elif isinstance(item, RdbFunction):
            self._send(function_command(item), "functions", b"a function library")
        elif isinstance(item, RdbKey):
            self._put_key(item)
        elif isinstance(item, RdbAux):
            pass

    def _put_key(self, record: RdbKey) -> None:
        if record.db != self._db:
            self._send([b"SELECT", b"%d" % record.db], "", b"SELECT %d" % record.db)
            self._db = record.db
        if not record.part and record.is_last:
            try:
                payload = dump_payload(record.value, self._version_for(record.value))
            except RdbUnsupportedError as exc:
                self._take_error("keys", record.key, str(exc))
                return
            argv = [b"RESTORE", record.key, b"%d" % record.expire_ms, payload, b"ABSTTL"]
            if self._existing == "replace":
                argv.append(b"REPLACE")
            self._send(argv, "keys", record.key)
            return
        place = (record.db, record.key)
        if not record.part:
            self._skipped_place = None if self._may_begin(record.key) else place
        if self._skipped_place == place:
            return
        commands = list(key_commands(record))
        for at, argv in enumerate(commands):
            is_end = record.is_last and at == len(commands) - 1
            self._send(argv, "keys" if is_end else "", record.key)

    def _version_for(self, value: RdbValue) -> int:
        """The oldest RDB version that has all of the value, as far as the server knows it."""
        wanted = dump_version(value)
        if wanted == rdb.FIELD_EXPIRY_VERSION and self._version == rdb.VALKEY_VERSION:
            return self._version
        return min(wanted, self._version)

    def _may_begin(self, key: bytes) -> bool:
        """Make room for a key in pieces; False when it is to stay as it is."""
        self.flush()
        if self._existing == "replace":
            self._wire.require("UNLINK", key)
            return True
        if not self._wire.require("EXISTS", key):
            return True
        self._take_error("keys", key, "BUSYKEY Target key name already exists.")
        return False

    # ---- the pipeline

    def _send(self, argv: list[bytes], counts_as: str, shown: bytes) -> None:
        data = encode_command(argv)
        self._parts.append(data)
        self._part_bytes += len(data)
        self._waiting.append((counts_as, shown))
        if self._part_bytes >= _PIPELINE_BYTES or len(self._parts) >= _PIPELINE_COMMANDS:
            self.flush()

    def flush(self) -> None:
        """Send what has gathered, and take all replies."""
        if self._parts:
            self._wire.send(b"".join(self._parts))
            self._parts.clear()
            self._part_bytes = 0
        while self._waiting:
            counts_as, shown = self._waiting.popleft()
            reply = self._wire.read_reply()
            if isinstance(reply, ServerError):
                self._take_error(counts_as, shown, reply.message)
            elif counts_as:
                self._counts[counts_as] += 1

    def _take_error(self, counts_as: str, shown: bytes, message: str) -> None:
        if counts_as == "keys" and message.startswith("BUSYKEY") and self._existing == "skip":
            self._counts["skipped"] += 1
            return
        self._counts["errors"] += 1
        if self._counts["errors"] <= _MAX_SHOWN_ERRORS:
            self.notes.append(f"error: {shown.decode('utf-8', 'backslashreplace')}: {message}")
        if self._counts["errors"] >= _MAX_ERRORS:
            raise TransferError(f"{self._wire.name} refused {_MAX_ERRORS} times, last with: {message}")

    def finish(self) -> None:
        self.flush()
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._wire.close()


_REDIS_VERSIONS = ((7, 4, 12), (7, 2, 11), (7, 0, 10), (5, 0, 9), (4, 0, 8), (3, 2, 7))


def newest_version(info: dict[str, str]) -> int:
    """The newest RDB version that a server takes, by its INFO."""
    if "valkey_version" in info:
        return rdb.VALKEY_VERSION if int(info["valkey_version"].split(".")[0]) >= 9 else rdb.LOSSLESS_VERSION
    numbers = [int(part) for part in info.get("redis_version", "0").split(".")[:2] if part.isdigit()]
    for major, minor, version in _REDIS_VERSIONS:
        if numbers >= [major, minor]:
            return version
    return 6
