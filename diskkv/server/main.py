"""Starting and stopping the server."""

from __future__ import annotations

import gc
import logging
import os
import resource
import signal
import socket
import sys
import time
from pathlib import Path

import trio

from diskkv import __version__
from diskkv.commands.registry import ORIGINAL, Flag, load_all
from diskkv.commands.renaming import rename_commands
from diskkv.config import Config
from diskkv.engine.leveldb import LevelDBOptions, LevelDBStore
from diskkv.engine.memory import MemoryStore
from diskkv.engine.store import Store
from diskkv.errors import ConfigError, StorageError
from diskkv.server.background import run_background
from diskkv.server.crash import report, watch_signals
from diskkv.server.listeners import Listeners
from diskkv.server.logs import configure_logging
from diskkv.server.reactor import Reactor
from diskkv.server.signals import reload_on_signal, stop_on_signal
from diskkv.server.supervision import Supervisor, daemonize, remove_pid_file, write_pid_file
from diskkv.server.tls import make_context
from diskkv.services import memory, sizing
from diskkv.services.instance import Instance
from diskkv.services.unfinished import has_unfinished_import

log = logging.getLogger("diskkv")

_OTHER_FILES = 64
"""Open files besides clients and tables: listeners, logs, those that are being compacted ..."""


def open_store(config: Config) -> Store:
    """The store that the configuration names. Raises ConfigError or StorageError."""
    if config.dir == ":memory:":
        return MemoryStore()
    directory = Path(config.dir)
    try:
        # LevelDB makes its own, but when it may not, it says that a file is missing.
        (directory / "leveldb").mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        message = f"cannot use {directory} as data directory: {exc.strerror}"
        raise ConfigError(message) from exc
    return LevelDBStore(
        directory / "leveldb",
        LevelDBOptions(
            write_buffer_size=config.leveldb_write_buffer_size,
            memtable_size=config.memtable_size,
            block_cache_size=config.leveldb_block_cache_size,
            block_size=config.leveldb_block_size,
            max_file_size=config.leveldb_max_file_size,
            max_open_files=config.leveldb_max_open_files,
            bloom_bits=config.leveldb_bloom_bits,
            compression=config.leveldb_compression == "snappy",
            mmap=config.leveldb_mmap,
            large_string_size=config.large_string_size,
        ),
    )


def _dataset_bytes(config: Config) -> int:
    """How large the tables in the data directory are."""
    return sum(table.stat().st_size for table in Path(config.dir).glob("leveldb/*.ldb"))


def _raise_file_limit(config: Config) -> None:
    """Allow as many open files as the system lets us: clients and LevelDB's tables need them.

    Clients get what the store leaves: a store that cannot open its files takes no writes any more.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY:
        return
    # LevelDB keeps at most a fifth of what is allowed open, whatever max_open_files says.
    room = max(1, hard - min(config.leveldb_max_open_files, hard // 5) - _OTHER_FILES)
    if config.maxclients > room:
        log.warning("only %d files may be open: maxclients is %d instead of %d", hard, room, config.maxclients)
        config.maxclients = room


def check(config: Config) -> None:
    """Find what would keep a server with this configuration from starting, as far as can be known without starting it.

    Raises:
        ConfigError: The first thing found.
    """
    if not (config.port or config.tls_port or config.unixsocket):
        message = "nothing to listen on: port, tls-port and unixsocket are off"
        raise ConfigError(message)
    if config.tls_port:
        make_context(config)
    if config.dir != ":memory:":
        directory_path = Path(config.dir).absolute()
        existing = next(path for path in (directory_path, *directory_path.parents) if path.exists())
        if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
            message = f"cannot use {config.dir} as data directory: {existing} is no directory to write to"
            raise ConfigError(message)
    for path in (config.logfile, config.slowlog_file):
        directory = os.path.dirname(os.path.abspath(path))
        if path and not os.access(directory, os.W_OK):
            message = f"cannot write to {directory}, the directory of {path}"
            raise ConfigError(message)
    _make_instance(config, MemoryStore())


def serve(config: Config) -> int:
    """Run until told to stop; answers the exit status. One clear line on stderr when it cannot start."""
    # Until there is something to reload; by itself the signal would end the process.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    detach = daemonize() if config.daemonize else None
    began = time.monotonic()
    listeners = Listeners(config)
    metrics_sockets: list[socket.socket] = []
    try:
        configure_logging(config)
        _raise_file_limit(config)
        listeners.open()
        metrics_sockets = _open_metrics(config)
        sizing.apply(config, _dataset_bytes(config))
        memory.tame_allocator()
        store = open_store(config)
        try:
            instance = _make_instance(config, store)
            instance.slowlog.open_file()
        except (ConfigError, StorageError):
            store.close()
            raise
    except (ConfigError, StorageError) as exc:
        listeners.close()
        for sock in metrics_sockets:
            sock.close()
        print(f"diskkv-server: {exc}", file=sys.stderr)
        return 1
    watch_signals(config)
    supervisor = Supervisor(config.supervised, os.environ)
    instance.supervised = supervisor.mode
    reactor = Reactor(instance, listeners)
    reactor.heartbeat = supervisor.ping
    listeners.attach(reactor)
    if config.pidfile:
        write_pid_file(config.pidfile)
    _announce(instance, listeners, time.monotonic() - began)
    # Requests make no reference cycles, but the containers of a turn would trigger a collection every few turns, each
    # of which walks over the cache's dictionaries. What is alive now is never collected, the rest seldom looked at.
    gc.collect()
    # Threads that move rows into LevelDB, or read them, need the interpreter for some microseconds at a time. With
    # Python's 5 ms they would mostly wait for it beside a busy loop: ZADD from 50 pipelines is a quarter faster so.
    sys.setswitchinterval(0.0005)
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    if detach is not None:
        detach()
    try:
        return _run(reactor, supervisor, metrics_sockets)
    finally:
        supervisor.stopping()
        reactor.close()
        _remove_unix_socket(config)
        instance.engine.close()
        if config.pidfile:
            remove_pid_file(config.pidfile)
        log.info("stopped")


def _open_metrics(config: Config) -> list[socket.socket]:
    """The sockets of the Prometheus endpoint. Raises ConfigError."""
    if not config.metrics_port:
        return []
    # Imported where it is used: the library takes some time and memory.
    from diskkv.server.metrics import open_endpoint

    return open_endpoint(config)


def _run(reactor: Reactor, supervisor: Supervisor, metrics_sockets: list[socket.socket]) -> int:
    try:
        trio.run(_main, reactor, supervisor, metrics_sockets)
    except BaseException as exc:  # noqa: BLE001 - a bug: the end of the process, about which all is said that is known
        report(reactor, exc)
        reactor.abandon()
        return 1
    return 0


def _make_instance(config: Config, store: Store) -> Instance:
    """The instance with its commands and users. Raises ConfigError or StorageError."""
    commands = load_all()
    rename_commands(config.rename_command)
    instance = Instance(config, store)
    instance.use_commands(commands, Flag.PLAIN, Flag.SKIP_SLOWLOG, ORIGINAL)
    instance.login.configure()
    return instance


def _announce(instance: Instance, listeners: Listeners, seconds: float) -> None:
    config = instance.config
    engine = instance.engine
    log.info("diskkv %s, pid %d", __version__, os.getpid())
    log.info("data in %s, appendfsync %s", config.dir, config.appendfsync)
    keys = sum(database.keys for database in engine.databases.values())
    if has_unfinished_import(engine.store):
        log.warning("an import into this directory was not finished; run diskkvctl import again")
    log.info("ready on %s with %d keys after %.3f s", ", ".join(listeners.places), keys, seconds)


def _remove_unix_socket(config: Config) -> None:
    if config.unixsocket:
        try:
            os.unlink(config.unixsocket)
        except OSError as exc:
            log.warning("cannot remove %s: %s", config.unixsocket, exc)


async def _main(reactor: Reactor, supervisor: Supervisor, metrics_sockets: list[socket.socket]) -> None:
    async with trio.open_nursery() as nursery:
        if metrics_sockets:
            from diskkv.server.metrics import serve_metrics

            nursery.start_soon(serve_metrics, reactor.instance, metrics_sockets)
        await nursery.start(stop_on_signal, reactor)
        await nursery.start(reload_on_signal, reactor, supervisor)
        nursery.start_soon(run_background, reactor)
        reactor.instance.shutdown = lambda: setattr(reactor, "stopping", True)
        supervisor.ready("serving clients")
        await reactor.run()
        reactor.turn([])
        reactor.instance.saves.stop()
        nursery.cancel_scope.cancel()
