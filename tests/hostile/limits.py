"""What the tests of hostile clients measure: the server's memory, and how long an honest client waits meanwhile."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.harness.servers import ServerProcess
from tests.harness.wire import Simple, Wire, WireClosed

MIB = 1 << 20
WAIT_S = 5.0
"""An honest client never waits longer for a PING, on a machine that does other things as well."""


def resident_bytes(server: ServerProcess) -> int:
    """The server's memory now."""
    for line in Path(f"/proc/{server.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


@contextlib.contextmanager
def grows_at_most(server: ServerProcess, limit_bytes: int) -> Iterator[Callable[[], None]]:
    """Check that the server's memory grows by no more, here and whenever the function that is given is called."""
    before = resident_bytes(server)

    def check() -> None:
        grown = resident_bytes(server) - before
        assert grown <= limit_bytes, f"the server grew by {grown / MIB:.1f} MiB"

    yield check
    check()


def assert_serves(wire: Wire) -> None:
    """An honest client is served, and soon."""
    started_s = time.monotonic()
    assert wire.call("PING") == Simple(b"PONG")
    assert time.monotonic() - started_s < WAIT_S


def eventually(condition: Callable[[], bool], timeout_s: float = 20.0) -> bool:
    """Whether the condition holds in time."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        if condition():
            return True
        time.sleep(0.005)
    return False


def field(wire: Wire, section: str, name: str) -> int:
    """A number of INFO."""
    text = wire.call("INFO", section)
    assert isinstance(text, bytes)
    for line in text.splitlines():
        if line.startswith(name.encode() + b":"):
            return int(line.split(b":")[1])
    raise AssertionError(f"INFO {section} has no {name}")


def send_all_it_takes(wire: Wire, data: bytes, rounds: int) -> bool:
    """Send data again and again and read nothing; False when the server closed the connection."""
    wire.socket.settimeout(0.2)
    try:
        for _ in range(rounds):
            wire.socket.sendall(data)
    except TimeoutError:
        return True
    except (WireClosed, OSError):
        return False
    return True
