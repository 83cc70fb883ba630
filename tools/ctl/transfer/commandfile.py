"""Command streams as files: append-only files, and what `redis-cli --pipe` takes.

    stream := (request | annotation | inline)*
    request := "*" count CRLF ("$" length CRLF argument CRLF)*
    annotation := "#" text CRLF                        of an append-only file: times

An inline command is a line of words, only taken outside of append-only files. A stream that ends in the middle of a
request, or of a transaction, is truncated: redis-check-aof cuts such a file before the unfinished part.
Source: https://redis.io/docs/latest/operate/oss_and_stack/management/persistence/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from diskkv.resp.inline import split_inline
from tools.ctl.transfer.items import TransferError

MAX_ARGUMENTS = 1 << 20
MAX_ARGUMENT_BYTES = 512 << 20
_MAX_LINE_BYTES = 1 << 16


class _Truncated(Exception):
    """The file ends inside of something."""


class CommandReader:
    """Reads commands from a buffered file, beginning at byte `offset` of the stream (for messages and progress)."""

    def __init__(self, file: BinaryIO, offset: int = 0, allow_inline: bool = False) -> None:
        self._file = file
        self._allow_inline = allow_inline
        self.offset = offset
        self.valid_offset = offset
        """Where the last complete command or transaction ended."""
        self.is_truncated = False

    def commands(self) -> Iterator[list[bytes]]:
        """The complete commands. A transaction that is not completed is left out, as redis-check-aof does.

        Raises TransferError, with the offset, for what is no command stream.
        """
        transaction: list[list[bytes]] | None = None
        while True:
            begin = self.offset
            try:
                argv = self._read()
            except _Truncated:
                self.is_truncated = True
                return
            except ValueError as exc:
                message = f"not a command stream at byte {begin}: {exc}"
                raise TransferError(message) from exc
            if argv is None:
                self.is_truncated = transaction is not None
                return
            if not argv:
                continue
            name = argv[0].upper()
            if name == b"MULTI" and transaction is None:
                transaction = [argv]
                continue
            if transaction is not None:
                transaction.append(argv)
                if name not in (b"EXEC", b"DISCARD"):
                    continue
                ready, transaction = transaction, None
            else:
                ready = [argv]
            self.valid_offset = self.offset
            yield from ready

    def _read(self) -> list[bytes] | None:
        """The next command; [] for what is none, None at the end."""
        line = self._file.readline(_MAX_LINE_BYTES)
        if not line:
            return None
        if not line.endswith(b"\n"):
            if len(line) == _MAX_LINE_BYTES:
                raise ValueError("a line is too long")
            raise _Truncated
        self.offset += len(line)
        lead = line[:1]
        if lead == b"*":
            return [self._argument() for _ in range(_count(line, MAX_ARGUMENTS))]
        if lead == b"#" or not line.strip():
            return []
        if not self._allow_inline:
            raise ValueError(f"a line begins with {line[:20]!r}")
        words = split_inline(line.strip())
        if words is None:
            raise ValueError("unbalanced quotes")
        return words

    def _argument(self) -> bytes:
        line = self._file.readline(32)
        if not line.endswith(b"\n"):
            raise _Truncated
        if line[:1] != b"$":
            raise ValueError(f"expected a length, not {line[:20]!r}")
        size = _count(line, MAX_ARGUMENT_BYTES)
        data = self._file.read(size + 2)
        if len(data) < size + 2:
            raise _Truncated
        if data[-2:] != b"\r\n":
            raise ValueError("an argument is longer than it says")
        self.offset += len(line) + size + 2
        return data[:-2]


def _count(line: bytes, limit: int) -> int:
    number = line[1:].rstrip(b"\r\n")
    if not number.isdigit() or len(number) > 10 or int(number) > limit:
        raise ValueError(f"bad count {line[:20]!r}")
    return int(number)


def encode_command(argv: list[bytes]) -> bytes:
    """A command as a server takes it."""
    parts = [b"*%d\r\n" % len(argv)]
    parts += [b"$%d\r\n%b\r\n" % (len(argument), argument) for argument in argv]
    return b"".join(parts)
