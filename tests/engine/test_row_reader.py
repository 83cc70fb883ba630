"""Which reads are left to threads, and that fetched rows are never older than what is stored."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator

import pytest

from diskkv.engine.memory import MemoryStore
from diskkv.engine.row_reader import SLOW_READ_NS, ColdRead, EagerMeter, Meter, RowReader
from diskkv.errors import StorageError

TIMEOUT_S = 20.0


class Store(MemoryStore):
    """Every read but the loop's waits for `gate`."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.fails = False
        self._loop = threading.get_ident()

    def get(self, key: bytes) -> bytes | None:
        value = super().get(key)
        if threading.get_ident() != self._loop:
            assert self.gate.wait(TIMEOUT_S)
        if self.fails:
            raise StorageError("unreadable")
        return value


class Fixture:
    def __init__(self) -> None:
        self.store = Store()
        self.journal: list[object] = []
        self.reader = RowReader(self.store, self.journal)
        self.event_fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.reader.start(2, self.event_fd)

    def put(self, row: bytes, value: bytes | None) -> None:
        self.store.write({row: value})
        fetch = self.reader.fetches.get(row)
        if fetch is not None:
            fetch.replace(value)

    def finish(self) -> list[object]:
        """Let the threads read; the owners of the tickets that are complete."""
        self.reader.submit()
        self.store.gate.set()
        owners = []
        while any(not fetch.is_done for fetch in self.reader.fetches.values()):
            assert self.reader.await_rows() or self.is_notified()
            owners += [ticket.owner for ticket in self.reader.finished()]
        return owners

    def is_notified(self) -> bool:
        """Wait for the event."""
        if not select.select([self.event_fd], [], [], TIMEOUT_S)[0]:
            return False
        os.eventfd_read(self.event_fd)
        return True


@pytest.fixture
def rows() -> Iterator[Fixture]:
    made = Fixture()
    yield made
    made.store.gate.set()
    made.reader.close()
    os.close(made.event_fd)


def test_a_command_may_wait_only_where_it_is_allowed_and_before_it_stages(rows: Fixture) -> None:
    rows.put(b"a", b"1")
    assert rows.reader.read(b"a") == b"1"
    rows.reader.allow(EagerMeter())
    with pytest.raises(ColdRead) as raised:
        rows.reader.read(b"a")
    assert raised.value.row == b"a"
    rows.journal.append("staged")
    assert rows.reader.read(b"a") == b"1"
    rows.journal.clear()
    rows.reader.forbid()
    assert rows.reader.read(b"a") == b"1"
    rows.reader.watch(EagerMeter())
    assert rows.reader.read(b"a") == b"1"


def test_fetched_rows_are_at_hand_until_they_are_released(rows: Fixture) -> None:
    rows.put(b"a", b"1")
    first = rows.reader.request("first", [b"a", b"none"])
    assert not rows.reader.is_at_hand(b"a")
    assert rows.finish() == ["first"]
    second = rows.reader.request("second", [b"a"])
    assert second.missing == 0
    rows.reader.release(first)
    rows.reader.allow(EagerMeter())
    assert rows.reader.read(b"a") == b"1"
    with pytest.raises(ColdRead):
        rows.reader.read(b"none")
    rows.reader.release(second)
    assert rows.reader.fetches == {}


def test_two_who_want_the_same_row_share_a_read(rows: Fixture) -> None:
    rows.put(b"a", b"1")
    tickets = [rows.reader.request(name, [b"a"]) for name in ("first", "second")]
    assert rows.finish() == ["first", "second"]
    assert rows.reader.fetched == 1
    for ticket in tickets:
        rows.reader.release(ticket)


@pytest.mark.parametrize("value", [b"new", None])
def test_what_is_written_while_a_row_is_read_wins(rows: Fixture, value: bytes | None) -> None:
    rows.put(b"a", b"old")
    ticket = rows.reader.request("me", [b"a"])
    rows.reader.submit()
    rows.put(b"a", value)
    assert rows.finish() == ["me"]
    assert rows.reader.read(b"a") == value
    rows.put(b"a", b"later")
    assert rows.reader.read(b"a") == b"later"
    rows.reader.release(ticket)


def test_who_does_not_wait_any_more_is_not_told(rows: Fixture) -> None:
    gone = rows.reader.request("gone", [b"a", b"b"])
    rows.reader.submit()
    rows.reader.release(gone)
    stays = rows.reader.request("stays", [b"a"])
    assert rows.finish() == ["stays"]
    rows.reader.release(stays)
    rows.reader.suspend()
    assert rows.reader.fetches == {}


def test_a_row_that_cannot_be_read_is_an_error_for_who_reads_it(rows: Fixture) -> None:
    rows.store.fails = True
    ticket = rows.reader.request("me", [b"a"])
    assert rows.finish() == ["me"]
    with pytest.raises(StorageError, match="unreadable"):
        rows.reader.read(b"a")
    rows.reader.release(ticket)


def test_suspending_waits_for_the_threads_and_answers_all(rows: Fixture) -> None:
    rows.put(b"a", b"1")
    rows.reader.request("under way", [b"a"])
    rows.reader.submit()
    rows.reader.request("not begun", [b"b"])
    rows.store.gate.set()
    rows.reader.suspend()
    assert rows.is_notified()
    assert rows.reader.await_rows()
    assert [ticket.owner for ticket in rows.reader.finished()] == ["under way", "not begun"]
    assert rows.reader.fetches == {}


def test_a_meter_hands_over_after_slow_reads_and_takes_back_when_the_disk_is_not_needed() -> None:
    meter = Meter()
    for _ in range(1000):
        meter.note_read(SLOW_READ_NS // 4)
    assert not meter.hands_over
    meter.note_read(SLOW_READ_NS * 1000)
    assert not meter.hands_over, "one stall says nothing"
    reads = 0
    while not meter.hands_over:
        meter.note_read(SLOW_READ_NS * 4)
        reads += 1
        assert reads < 50
    for _ in range(1000):
        meter.note_fetched(True)
    assert meter.hands_over
    reads = 0
    while meter.hands_over:
        meter.note_fetched(False)
        reads += 1
        assert reads < 200
