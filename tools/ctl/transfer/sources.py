"""Files as sources: what they are is found out from their content.

- an RDB file of any Redis since 2.6 or Valkey; behind its end may follow commands (an append-only file's preamble)
- an append-only file or other command stream
- a directory with the parts of an append-only file, or the manifest in it
- JSON lines
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from diskkv.codec.rdb_reader import RdbAux, RdbFunction, RdbKey, RdbReader, RdbSkipped
from diskkv.resp.inline import split_inline
from tools.ctl.transfer import jsonlines
from tools.ctl.transfer.commandfile import CommandReader
from tools.ctl.transfer.items import Command, Item, Source, TransferError

PIECE_ELEMENTS = 2000
_MANIFEST_MAX_BYTES = 1 << 20


class FileSource:
    """One file: `kind` is rdb, commands or json."""

    def __init__(self, path: Path, file: io.BufferedReader, kind: str, may_be_truncated: bool = True) -> None:
        self.notes: list[str] = []
        self.kind = kind
        self._path = path
        self._file = file
        self._may_be_truncated = may_be_truncated
        self.total_bytes = os.fstat(file.fileno()).st_size
        self._offset = 0
        self._reader: RdbReader | CommandReader | None = None
        self.skipped: dict[str, int] = {}
        self.name = f"{_KIND_NAMES[kind]} {path}"

    @property
    def offset(self) -> int:
        return self._offset if self._reader is None else self._reader.offset

    def items(self) -> Iterator[Item]:
        if self.kind == "json":
            yield from self._json_items()
        elif self.kind == "rdb":
            yield from self._rdb_items()
        else:
            yield from self._command_items(self._file, 0, allow_inline=True)
        for reason, count in self.skipped.items():
            self.notes.append(f"left out: {reason} ({count} times)" if count > 1 else f"left out: {reason}")

    def close(self) -> None:
        self._file.close()

    def _rdb_items(self) -> Iterator[Item]:
        reader = RdbReader(self._file, max_elements=PIECE_ELEMENTS)
        self._reader = reader
        for record in reader:
            if isinstance(record, RdbSkipped):
                self.skipped[record.reason] = self.skipped.get(record.reason, 0) + 1
            elif isinstance(record, RdbKey | RdbFunction | RdbAux):
                yield record
        rest = reader.unread
        if rest or self._file.peek(1):
            behind = io.BufferedReader(_Behind(rest, self._file))
            yield from self._command_items(behind, reader.offset, allow_inline=False)

    def _command_items(self, file: BinaryIO, offset: int, allow_inline: bool) -> Iterator[Item]:
        reader = CommandReader(file, offset, allow_inline)
        self._reader = reader
        for argv in reader.commands():
            yield Command(argv)
        if reader.is_truncated:
            lost = self.total_bytes - reader.valid_offset
            message = f"{self._path.name} ends in the middle of a command at byte {reader.valid_offset}"
            if not self._may_be_truncated:
                raise TransferError(f"{message}, and is not the last file: it is damaged")
            self.notes.append(f"{message}: its last {lost} bytes were left out")

    def _json_items(self) -> Iterator[Item]:
        number = 0
        while line := self._file.readline(jsonlines.MAX_LINE_BYTES):
            number += 1
            self._offset += len(line)
            if not line.strip():
                continue
            try:
                yield jsonlines.decode_line(line)
            except ValueError as exc:
                message = f"{self._path}, line {number}: {exc}"
                raise TransferError(message) from exc


_KIND_NAMES = {"rdb": "RDB file", "commands": "command stream", "json": "JSON lines"}


class _Behind(io.RawIOBase):
    """Bytes that were read already, and then the rest of a file."""

    def __init__(self, first: bytes, rest: io.BufferedReader) -> None:
        self._first = first
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._first[: len(buffer)] or self._rest.read(len(buffer))
        self._first = self._first[len(data) :] if self._first else b""
        buffer[: len(data)] = data
        return len(data)


class MultiPartSource:
    """An append-only file in parts, as Redis has it since 7.0: a base file and increments, listed in a manifest."""

    def __init__(self, manifest: Path) -> None:
        self.name = f"append-only file {manifest}"
        self.notes: list[str] = []
        names = read_manifest(manifest)
        self._parts = []
        for at, name in enumerate(names):
            path = manifest.parent / name
            self._parts.append(open_file(path, may_be_truncated=at == len(names) - 1))
        self.total_bytes = sum(part.total_bytes for part in self._parts)
        self._done_bytes = 0

    @property
    def offset(self) -> int:
        return sum(part.offset for part in self._parts)

    def items(self) -> Iterator[Item]:
        for part in self._parts:
            # Each increment selects its database itself, but Redis begins every file at database 0.
            yield Command([b"SELECT", b"0"])
            yield from part.items()
            self.notes += part.notes

    def close(self) -> None:
        for part in self._parts:
            part.close()


def read_manifest(path: Path) -> list[str]:
    """The names of an append-only file's parts, in the order in which they are to be read."""
    base: list[tuple[int, str]] = []
    increments: list[tuple[int, str]] = []
    with open(path, "rb") as file:
        text = file.read(_MANIFEST_MAX_BYTES)
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith(b"#"):
            continue
        words = split_inline(line) or []
        fields = dict(zip(words[::2], words[1::2], strict=False))
        name, sequence, kind = fields.get(b"file"), fields.get(b"seq", b""), fields.get(b"type")
        if name is None or not sequence.isdigit() or kind not in (b"b", b"i", b"h") or b"/" in name:
            message = f"{path}, line {number}: not a line of a manifest"
            raise TransferError(message)
        if kind != b"h":
            (base if kind == b"b" else increments).append((int(sequence), os.fsdecode(name)))
    if len(base) > 1 or not base + increments:
        message = f"{path} names {len(base)} base files and {len(increments)} increments"
        raise TransferError(message)
    return [name for _, name in base + sorted(increments)]


def open_file(path: Path, may_be_truncated: bool = True) -> FileSource:
    """The source that a file's first bytes say it is. Raises TransferError for none that is known."""
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed by the source
    except OSError as exc:
        message = f"cannot read {path}: {exc.strerror}"
        raise TransferError(message) from exc
    kind = detect(file.peek(512)[:512])
    if kind is None:
        file.close()
        message = f"{path} is no RDB file, append-only file, command stream or JSON lines"
        raise TransferError(message)
    return FileSource(path, file, kind, may_be_truncated)


def detect(head: bytes) -> str | None:
    """rdb, commands or json by the first bytes of a file; None when it is none of them."""
    if head.startswith((b"REDIS", b"VALKEY")):
        return "rdb"
    text = head.lstrip()
    if not text:
        return "commands"
    if text.startswith(b"{"):
        return "json"
    if head.startswith((b"*", b"#TS:")):
        return "commands"
    # Inline commands: a printable line that begins with a word.
    line = text.splitlines()[0]
    word = line.split(b" ")[0]
    return "commands" if word.isalpha() and word.isascii() and all(byte >= 0x20 or byte == 9 for byte in line) else None


def open_source(path: Path) -> Source:
    """The source at a path; see the module's docstring."""
    if path.is_dir():
        found = sorted(path.glob("*.manifest")) or sorted(path.glob("*/*.manifest"))
        if len(found) != 1:
            message = f"{path} holds {len(found)} manifests of append-only files; give the file to import"
            raise TransferError(message)
        return MultiPartSource(found[0])
    if path.suffix == ".manifest":
        return MultiPartSource(path)
    return open_file(path)
