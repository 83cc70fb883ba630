"""kill -9 at random moments under load: every acknowledged write is there afterwards, whole, with exact counts."""

from __future__ import annotations

import random
import threading
import time

import pytest

from tests.crash.writers import Ledger, Writer, check
from tests.harness.integrity import assert_sound
from tests.harness.servers import ServerProcess, running, subject_flavour
from tests.harness.statemachine import scaled, wait_until_past

WRITERS = 4


def _write_until(server: ServerProcess, ledgers: list[Ledger], requests: int, seed: int) -> list[Writer]:
    """Start the writers and return when that many further requests were acknowledged."""
    before = sum(ledger.requests for ledger in ledgers)
    writers = [
        Writer(server, f"w{number}", seed * 100 + number, ledger, depth=(1, 1, 7, 40)[number % 4])
        for number, ledger in enumerate(ledgers)
    ]
    for writer in writers:
        writer.start()
    deadline = time.monotonic() + 60
    while sum(ledger.requests for ledger in ledgers) - before < requests:
        assert time.monotonic() < deadline and any(writer.is_alive() for writer in writers), "the writers stopped"
        time.sleep(0.0005)
    return writers


def _join(writers: list[Writer]) -> None:
    for writer in writers:
        writer.join(60)
        assert not writer.is_alive()
        if writer.failure is not None:
            raise writer.failure


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["always", "everysec", "no"])
def test_acknowledged_writes_survive_kill(mode: str) -> None:
    seed = random.randrange(10**6)
    chooser = random.Random(seed)
    print(f"seed {seed}")
    ledgers = [Ledger() for _ in range(WRITERS)]
    with running(subject_flavour(), "--appendfsync", mode, durable=True) as server:
        for _ in range(scaled(4)):
            writers = _write_until(server, ledgers, chooser.randrange(1, 1500), chooser.randrange(10**6))
            server.kill()
            _join(writers)
            assert_sound(server)
            server.start()
            check(server, ledgers)


@pytest.mark.slow
def test_kill_right_after_start_and_twice_in_a_row() -> None:
    """Recovery that is itself interrupted loses nothing either."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chooser = random.Random(seed)
    ledgers = [Ledger() for _ in range(WRITERS)]
    with running(subject_flavour(), durable=True) as server:
        for _ in range(scaled(2)):
            writers = _write_until(server, ledgers, chooser.randrange(100, 1000), chooser.randrange(10**6))
            server.kill()
            _join(writers)
            assert_sound(server)
            for _ in range(3):
                starter = threading.Thread(target=_start_and_ignore, args=(server,))
                starter.start()
                while server._process is None and starter.is_alive():
                    time.sleep(0.0002)
                time.sleep(chooser.random() * 0.4)
                if server._process is not None:
                    server._process.kill()
                starter.join(60)
                if server._process is not None:
                    server.kill()
            server.start()
            check(server, ledgers)


def _start_and_ignore(server: ServerProcess) -> None:
    """Start a server that is going to be killed meanwhile."""
    try:
        server.start()
    except AssertionError:
        return


@pytest.mark.slow
def test_stop_under_load_keeps_everything() -> None:
    """SIGTERM under load: exit status 0, and nothing acknowledged is lost."""
    ledgers = [Ledger() for _ in range(WRITERS)]
    with running(subject_flavour(), durable=True) as server:
        for seed in range(scaled(3)):
            writers = _write_until(server, ledgers, 500, seed)
            assert server.stop() == 0
            _join(writers)
            server.start()
            check(server, ledgers)


def test_flush_and_swap_survive_kill() -> None:
    """What FLUSHDB removed stays removed, and SWAPDB stays swapped, with exact counts."""
    with running(subject_flavour(), durable=True) as server:
        with server.connect() as wire:
            wire.pipeline([["SET", f"a{number}", "0"] for number in range(300)])
            wire.call("SELECT", 1)
            wire.pipeline([["SET", f"b{number}", "1"] for number in range(100)])
            wire.call("SELECT", 2)
            wire.pipeline([["SET", f"c{number}", "2"] for number in range(50)])
            wire.call("FLUSHDB")
            wire.call("SET", "new", "2")
            wire.call("SWAPDB", 0, 1)
        server.kill_and_restart()
        with server.connect() as wire:
            sizes = []
            for database in range(3):
                wire.call("SELECT", database)
                sizes.append(wire.call("DBSIZE"))
            assert sizes == [100, 300, 1]
            assert wire.call("GET", "new") == b"2"


def test_expiry_times_survive_kill() -> None:
    with running(subject_flavour(), durable=True) as server:
        with server.connect() as wire:
            wire.call("SET", "later", "v", "PXAT", 4102444800123)
            soon_ms = int(time.time() * 1000) + 50
            wire.call("SET", "soon", "v", "PXAT", soon_ms)
        server.kill()
        wait_until_past(soon_ms)
        server.start()
        with server.connect() as wire:
            assert wire.call("PEXPIRETIME", "later") == 4102444800123
            assert wire.call("EXISTS", "soon") == 0
            assert wire.call("DBSIZE") == 1
