"""A running server as source: it is asked for a full copy, as by a replica, and may be followed from there on.

Works with Redis since 2.8, Valkey and diskkv. diskkv sends only what is selected, in the RDB version that is asked for;
of other servers the copy comes whole and is filtered here.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Iterator

from diskkv.codec.rdb_reader import RdbAux, RdbFunction, RdbKey, RdbReader, RdbSkipped
from diskkv.services.dataset_export import EVERYTHING, Selection
from tools.ctl.transfer.commandfile import encode_command
from tools.ctl.transfer.items import Command, Item, TransferError
from tools.ctl.transfer.sources import PIECE_ELEMENTS
from tools.ctl.transfer.wire import Address, ServerError, Wire, values_of

_MARK_BYTES = 40
_ACK_INTERVAL_S = 1.0
_IDLE_S = 0.2


class _Payload:
    """The RDB file in the stream, as a file: of a known length, or up to a mark."""

    def __init__(self, wire: Wire, size: int | None, mark: bytes) -> None:
        self._wire = wire
        self._left = size
        self._mark = mark
        self._held = b""
        self._ended = False
        self.sink: Callable[[bytes], object] | None = None

    def read(self, size: int, /) -> bytes:
        if self._left is not None:
            if not self._left:
                return b""
            data = self._wire.receive()
            if len(data) > self._left:
                self._wire.unread(data[self._left :])
                data = data[: self._left]
            self._left -= len(data)
            return data
        while not self._ended:
            data = self._held + self._wire.receive()
            end = data.find(self._mark)
            if end >= 0:
                self._ended = True
                self._wire.unread(data[end + _MARK_BYTES :])
                self._held = b""
                return data[:end]
            # The mark may have begun in the last bytes.
            ready, self._held = data[: 1 - _MARK_BYTES], data[1 - _MARK_BYTES :]
            if ready:
                return ready
        return b""


class ReplicaSource:
    """A server's data. With `follow`, the commands that it executes from the copy on are items too, until `stopped`;
    `whole`: values never come in pieces."""

    def __init__(
        self,
        address: Address,
        selection: Selection = EVERYTHING,
        *,
        follow: bool = False,
        rdb_version: int = 0,
        whole: bool = False,
    ) -> None:
        self.notes: list[str] = []
        self.name = f"copy of {address}"
        self.total_bytes = 0
        self.total_keys = 0
        self.stopped: Callable[[], bool] = lambda: False
        self.on_idle: Callable[[], None] = lambda: None
        """Called when there is nothing to read, and at the end of the copy: time to have things written."""
        self._selection = selection
        self._follow = follow
        self._max_elements = None if whole else PIECE_ELEMENTS
        self._wire = Wire(address)
        self._reader: RdbReader | None = None
        self._copy_offset = 0
        info = values_of(self._wire.require("INFO"))
        self.server = info.get("redis_version", "?")
        if info.get("loading") == "1":
            raise TransferError(f"{address} is loading its data")
        for name, value in info.items():
            if name.startswith("db") and name[2:].isdigit() and selection.has_database(int(name[2:])):
                self.total_keys += int(value.split(",")[0].removeprefix("keys="))
        self._own_filter = self._negotiate(rdb_version)

    @property
    def can_select(self) -> bool:
        """Whether the server itself sends only what is selected: it is diskkv."""
        return self._own_filter

    def _negotiate(self, rdb_version: int) -> bool:
        wire = self._wire
        wire.call("REPLCONF", "capa", "eof")
        if not self._follow:
            wire.call("REPLCONF", "rdb-only", "1")
        if isinstance(wire.call("REPLCONF", "diskkv-prefix", self._selection.prefix), ServerError):
            wire.call("REPLCONF", "version", "9.0.0")
            return False
        if rdb_version:
            wire.require("REPLCONF", "diskkv-rdb-version", rdb_version)
        for index in self._selection.databases or ():
            wire.require("REPLCONF", "diskkv-db", index)
        for name in self._selection.types or ():
            wire.require("REPLCONF", "diskkv-type", name)
        if not self._selection.keys:
            wire.require("REPLCONF", "rdb-filter-only", "functions")
        return True

    @property
    def offset(self) -> int:
        return self._reader.offset if self._reader is not None else 0

    def payload(self) -> _Payload:
        """Ask for the copy, and wait for its beginning."""
        wire = self._wire
        wire.send(b"PSYNC ? -1\r\n" if self._follow else b"SYNC\r\n")
        while True:
            line = wire.read_line()
            if not line:
                # Keeps the connection alive while the copy is prepared.
                continue
            if line.startswith(b"+FULLRESYNC"):
                self._copy_offset = int(line.split()[2])
                continue
            if line.startswith(b"-"):
                message = f"{wire.name} gives no copy of its data: {line[1:].decode('utf-8', 'replace')}"
                raise TransferError(message)
            if line.startswith(b"$EOF:"):
                return _Payload(wire, None, line[5 : 5 + _MARK_BYTES])
            if line[:1] == b"$" and line[1:].isdigit():
                self.total_bytes = int(line[1:])
                return _Payload(wire, self.total_bytes, b"")
            message = f"{wire.name} answered to SYNC: {line[:60]!r}"
            raise TransferError(message)

    def items(self) -> Iterator[Item]:
        payload = self.payload()
        reader = self._reader = RdbReader(payload, max_elements=self._max_elements)
        skipped: dict[str, int] = {}
        for record in reader:
            if isinstance(record, RdbSkipped):
                skipped[record.reason] = skipped.get(record.reason, 0) + 1
            elif self._is_selected(record):
                yield record
        self.notes += [f"left out: {reason} ({count} times)" for reason, count in skipped.items()]
        if payload.read(1):
            raise TransferError(f"{self._wire.name} sent more than an RDB file")
        if self._follow:
            self.on_idle()
            yield from self._commands()
        self.close()

    def close(self) -> None:
        self._wire.close()

    def _is_selected(self, record: object) -> bool:
        selection = self._selection
        if isinstance(record, RdbKey):
            return self._own_filter or (
                selection.has_database(record.db)
                and record.key.startswith(selection.prefix)
                and selection.has_type(record.value.type_name)
            )
        return isinstance(record, RdbFunction) and selection.functions and not isinstance(record, RdbAux)

    def _commands(self) -> Iterator[Item]:
        """What the server executes from the copy on. What is acknowledged to it has been written."""
        wire = self._wire
        acked_s = 0.0
        acked = -1
        begin = wire.consumed_bytes - self._copy_offset
        yield Command([b"SELECT", b"0"])
        while not self.stopped():
            is_idle = not wire.has_input() and not select.select([wire], [], [], _IDLE_S)[0]
            if is_idle or time.monotonic() - acked_s > _ACK_INTERVAL_S:
                offset = wire.consumed_bytes - begin
                self.on_idle()
                if offset != acked or time.monotonic() - acked_s > _ACK_INTERVAL_S:
                    wire.send(encode_command([b"REPLCONF", b"ACK", b"%d" % offset]))
                    acked, acked_s = offset, time.monotonic()
                if is_idle:
                    continue
            request = wire.read_reply()
            if not isinstance(request, list) or not all(isinstance(argument, bytes) for argument in request):
                raise TransferError(f"{wire.name} sent no command")
            if request[0].upper() not in (b"PING", b"REPLCONF"):
                yield Command(request)
        self.on_idle()
