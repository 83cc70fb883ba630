"""What the Python programs share: TAP output and the data that the checks use."""

from __future__ import annotations

import asyncio
import inspect
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

ALL_BYTES = bytes(range(256))
MEGABYTE = bytes((i * 31 + i // 257) & 0xFF for i in range(1 << 20))
PIPELINED = 10_000
SCANNED = 1000
JOBS = ("one", "two", "three")
SCRIPT = "redis.call('SET', KEYS[1], ARGV[1]); return {redis.call('GET', KEYS[1]), 42, {false}}"

HOST, PORT, PASSWORD = sys.argv[1], int(sys.argv[2]), sys.argv[3]
OPEN_PORT = int(os.environ.get("DISKKV_CLIENT_OPEN_PORT", PORT))
IS_WORKER = sys.argv[5:] == ["worker"]


def library(name: str, version: str) -> None:
    """Name the library under test."""
    print(f"# library {name} {version}", flush=True)


class Report:
    """Numbers the results and prints them."""

    def __init__(self) -> None:
        self._reported = 0
        self._has_failed = False

    def check(self, name: str, body: Callable[[], None]) -> None:
        """Run one check; an assertion or any exception of the library fails it."""
        with self._reporting(name):
            body()

    async def check_async(self, name: str, body: Callable[[], Awaitable[None]]) -> None:
        """Run one check of an asynchronous library."""
        with self._reporting(name):
            await body()

    def skip(self, name: str, reason: str) -> None:
        """Report what the library cannot do."""
        self._reported += 1
        print(f"ok {self._reported} - {name} # SKIP {reason}", flush=True)

    @contextmanager
    def _reporting(self, name: str) -> Iterator[None]:
        self._reported += 1
        try:
            yield
        except Exception:  # noqa: BLE001 - whatever a library raises is the check's result
            self._has_failed = True
            lines = traceback.format_exc(limit=-3, chain=False).splitlines()
            print(f"not ok {self._reported} - {name}", *[f"# {line}" for line in lines], sep="\n", flush=True)
        else:
            print(f"ok {self._reported} - {name}", flush=True)

    def end(self) -> int:
        """Print the plan; the program's exit status."""
        print(f"1..{self._reported}", flush=True)
        return int(self._has_failed)


@contextmanager
def raises(error: type[Exception], prefix: str) -> Iterator[None]:
    """The block must raise this exception, with a message that begins so."""
    try:
        yield
    except error as raised:
        message = str(raised)
        if message.startswith(prefix):
            return
        raise AssertionError(f"the message is {message!r}, not {prefix!r}") from raised
    raise AssertionError(f"no {error.__name__}")


@contextmanager
def worker() -> Iterator[None]:
    """The same program in another process, as the worker of the queue; it must end well."""
    process = subprocess.Popen([sys.executable, *sys.argv[:5], "worker"], stdin=subprocess.DEVNULL)
    try:
        yield
        deadline = time.monotonic() + 10
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        assert process.poll() == 0, process.poll()
    finally:
        process.kill()
        process.wait()


def restart() -> None:
    """Have the server restarted."""
    print("# RESTART", flush=True)
    assert sys.stdin.readline().strip() == "restarted"


def until(condition: Callable[[], bool]) -> None:
    """Poll until the condition holds."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, inspect.getsource(condition)
        time.sleep(0.005)


async def until_async(condition: Callable[[], Awaitable[bool]]) -> None:
    """The same for an asynchronous library."""
    deadline = time.monotonic() + 10
    while not await condition():
        assert time.monotonic() < deadline, inspect.getsource(condition)
        await asyncio.sleep(0.005)
