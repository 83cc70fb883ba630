"""Files as sinks. A file appears under its name only when it is complete."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import BinaryIO

from diskkv.codec.rdb_reader import RdbFunction, RdbKey
from diskkv.codec.rdb_values import HashValue, RdbUnsupportedError
from diskkv.codec.rdb_writer import RdbWriter
from diskkv.services.dataset_export import note_lost, unsupported_text
from tools.ctl.transfer.ascommands import function_command, key_commands
from tools.ctl.transfer.commandfile import encode_command
from tools.ctl.transfer.items import Command, Item, TransferError
from tools.ctl.transfer.jsonlines import encode_line

STANDARD_OUTPUT = Path("-")


class OutputFile:
    """A file that is written beside its place, and moved there by `commit`. "-" is standard output."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._part = path.with_name(f".{path.name}.{os.getpid()}.part")
        self.size_bytes = 0
        self._file: BinaryIO
        if path == STANDARD_OUTPUT:
            self._file = sys.stdout.buffer
            return
        try:
            self._file = open(self._part, "xb")  # noqa: SIM115 - closed by commit and discard
        except OSError as exc:
            message = f"cannot write {path}: {exc.strerror}"
            raise TransferError(message) from exc

    def write(self, data: bytes, /) -> None:
        """Append."""
        try:
            self._file.write(data)
        except OSError as exc:
            message = f"cannot write {self.path}: {exc.strerror}"
            raise TransferError(message) from exc
        self.size_bytes += len(data)

    def commit(self) -> None:
        """Have all of it on stable storage, under its name."""
        try:
            self._file.flush()
            if self.path == STANDARD_OUTPUT:
                return
            os.fsync(self._file.fileno())
            self._file.close()
            os.replace(self._part, self.path)
        except OSError as exc:
            message = f"cannot write {self.path}: {exc.strerror}"
            raise TransferError(message) from exc

    def discard(self) -> None:
        """Leave nothing behind."""
        if self.path != STANDARD_OUTPUT:
            self._file.close()
            self._part.unlink(missing_ok=True)


class LineSink:
    """Commands, or JSON lines."""

    def __init__(self, file: OutputFile, is_json: bool) -> None:
        self.notes: list[str] = []
        self._file = file
        self._is_json = is_json
        self._db = 0
        self._counts = {"keys": 0, "functions": 0}

    def counts(self) -> dict[str, int]:
        return dict(self._counts)

    def put(self, item: Item) -> None:
        if isinstance(item, RdbKey):
            self._counts["keys"] += item.is_last
        elif isinstance(item, RdbFunction):
            self._counts["functions"] += 1
        if self._is_json:
            line = None if isinstance(item, Command) else encode_line(item)
            if line is not None:
                self._file.write(line)
        elif isinstance(item, RdbKey):
            if item.db != self._db:
                self._db = item.db
                self._file.write(encode_command([b"SELECT", b"%d" % item.db]))
            self._file.write(b"".join(map(encode_command, key_commands(item))))
        elif isinstance(item, RdbFunction):
            self._file.write(encode_command(function_command(item)))
        elif isinstance(item, Command):
            self._file.write(encode_command(item.argv))

    def finish(self) -> None:
        self._file.commit()


class RdbSink:
    """An RDB file of values that come whole."""

    def __init__(self, file: OutputFile, version: int, lossy: bool) -> None:
        self.notes: list[str] = []
        self._file = file
        self._lossy = lossy
        self._writer = RdbWriter(file, version=version)
        self._db: int | None = None
        self._lost: dict[str, int] = {}
        self._counts = {"keys": 0, "functions": 0}

    def counts(self) -> dict[str, int]:
        return dict(self._counts)

    def put(self, item: Item) -> None:
        if isinstance(item, RdbFunction):
            self._add_function(item)
        elif isinstance(item, RdbKey):
            if item.part or not item.is_last:
                raise TransferError("an RDB file takes values whole")
            if item.db != self._db:
                self._db = item.db
                self._writer.select(item.db)
            self._add(item)

    def _add_function(self, item: RdbFunction) -> None:
        try:
            self._writer.function(item.code)
            self._counts["functions"] += 1
        except RdbUnsupportedError as exc:
            if not self._lossy:
                raise unsupported(str(exc)) from exc
            note_lost(self._lost, "libraries", exc)

    def _add(self, item: RdbKey) -> None:
        try:
            self._writer.add(item.key, item.value, item.expire_ms)
        except RdbUnsupportedError as exc:
            if not self._lossy:
                raise unsupported(unsupported_text("keys", item.key, exc)) from exc
            note_lost(self._lost, "keys", exc)
            if not isinstance(item.value, HashValue):
                return
            fields = [(name, data, 0) for name, data, _ in item.value.entries]
            self._writer.add(item.key, HashValue(fields), item.expire_ms)
        self._counts["keys"] += 1

    def finish(self) -> None:
        self._writer.finish()
        self._file.commit()
        self.notes += lost_notes(self._lost)


def unsupported(reason: str) -> TransferError:
    """What to say when the wanted RDB version cannot express something."""
    return TransferError(f"{reason}; choose a newer --rdb-version, or --lossy to leave such things out")


def lost_notes(lost: dict[str, int]) -> list[str]:
    """What was left out of the file, for the operator."""
    return [f"left out of {count} {reason}" for reason, count in lost.items()]
