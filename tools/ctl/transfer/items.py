"""What passes from a source to a sink."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from diskkv.codec.rdb_reader import RdbRecord
from diskkv.errors import ConfigError


class TransferError(ConfigError):
    """The transfer cannot go on; the message is one line fit for an operator."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command of an append-only file or command stream."""

    argv: list[bytes]


Item: TypeAlias = RdbRecord | Command


class Source(Protocol):
    """Where items come from."""

    name: str
    """What it is, for people: "RDB version 12, dump.rdb"."""
    total_bytes: int
    """How long the input is, 0 when that is not known."""
    notes: list[str]
    """Told to the operator at the end: what was left out, or is odd."""

    @property
    def offset(self) -> int:
        """How many bytes of the input have been consumed."""

    def items(self) -> Iterator[Item]:
        """The items, once. Raises TransferError or RdbError."""

    def close(self) -> None:
        """Let go of files and connections; safe to call twice."""


class Sink(Protocol):
    """Where items go."""

    notes: list[str]

    def put(self, item: Item) -> None:
        """Take one item."""

    def finish(self) -> None:
        """All items have been put: make them last. Raises TransferError."""

    def counts(self) -> dict[str, int]:
        """What came in so far: keys, commands, functions ..."""
