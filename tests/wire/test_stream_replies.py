"""XREAD of more entries than one reply should hold in memory, and of what was added while a client waited."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness import servers
from tests.harness.wire import Simple, Wire

ENTRIES = 6000
VALUE = b"v" * 100


def _ids(entries: list[Any]) -> list[bytes]:
    assert all(fields == [b"f", VALUE] for _, fields in entries)
    return [entry_id for entry_id, _ in entries]


def _numbered(first: int, last: int) -> list[bytes]:
    return [b"%d-1" % number for number in range(first, last + 1)]


@pytest.fixture
def wire() -> Iterator[Wire]:
    with servers.subject().connect() as made:
        assert made.call("FLUSHALL") == Simple(b"OK")
        made.pipeline([[b"XADD", b"x", entry_id, b"f", VALUE] for entry_id in _numbered(1, ENTRIES)])
        yield made


def test_reading_a_whole_stream(wire: Wire) -> None:
    for protocol in (2, 3):
        wire.hello(protocol)
        reply = wire.call("XREAD", "STREAMS", "x", "missing", "0", "0")
        ((key, entries),) = reply if protocol == 2 else reply.pairs
        assert key == b"x"
        assert _ids(entries) == _numbered(1, ENTRIES)


def test_reading_many_entries_of_a_stream(wire: Wire) -> None:
    ((_, entries),) = wire.call("XREAD", "COUNT", ENTRIES - 1000, "STREAMS", "x", "7-1")
    assert _ids(entries) == _numbered(8, ENTRIES - 993)
    assert _ids(wire.call("XREVRANGE", "x", "+", "-", "COUNT", 5000)) == _numbered(1001, ENTRIES)[::-1]
    assert _ids(wire.call("XRANGE", "x", "(3-1", "5000-1")) == _numbered(4, 5000)


def test_a_blocked_reader_gets_a_large_transaction_whole(wire: Wire) -> None:
    with servers.subject().connect() as reader:
        reader.send("XREAD", "BLOCK", "0", "STREAMS", "x", "$")
        while b"blocked_clients:1" not in wire.call("INFO", "clients"):
            pass
        added = _numbered(ENTRIES + 1, 2 * ENTRIES)
        commands = [[b"XADD", b"x", entry_id, b"f", VALUE] for entry_id in added]
        wire.pipeline([[b"MULTI"], *commands, [b"EXEC"]])
        ((_, entries),) = reader.read_any()
        assert _ids(entries) == added
