"""Starting and stopping the server."""

from __future__ import annotations

import gc
import logging
import os
import resource
import signal
import sys
import time
from pathlib import Path
from types import FrameType

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
from diskkv.server.listeners import Listeners
from diskkv.server.logs import configure_logging
from diskkv.server.reactor import Reactor
from diskkv.services.instance import Instance

log = logging.getLogger("diskkv")

_OTHER_FILES = 64
"""Open files besides clients and tables: listeners, logs, those that are being compacted ..."""


def open_store(config: Config) -> Store:
    """The store that the configuration names. Raises ConfigError or StorageError."""
    if config.dir == ":memory:":
        return MemoryStore()
    directory = Path(config.dir)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        message = f"cannot use {directory} as data directory: {exc.strerror}"
        raise ConfigError(message) from exc
    return LevelDBStore(
        directory / "leveldb",
        LevelDBOptions(
            write_buffer_size=config.leveldb_write_buffer_size,
            block_cache_size=config.leveldb_block_cache_size,
            block_size=config.leveldb_block_size,
            max_file_size=config.leveldb_max_file_size,
            max_open_files=config.leveldb_max_open_files,
            bloom_bits=config.leveldb_bloom_bits,
            compression=config.leveldb_compression == "snappy",
            mmap=config.leveldb_mmap,
        ),
    )


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


def serve(config: Config) -> int:
    """Run until told to stop; answers the exit status. One clear line on stderr when it cannot start."""
    configure_logging(config)
    _raise_file_limit(config)
    began = time.monotonic()
    listeners = Listeners(config)
    try:
        listeners.open()
    except ConfigError as exc:
        print(f"diskkv-server: {exc}", file=sys.stderr)
        return 1
    try:
        store = open_store(config)
        try:
            instance = Instance(config, store)
            commands = load_all()
            rename_commands(config.rename_command)
            instance.use_commands(commands, Flag.PLAIN, Flag.SKIP_SLOWLOG, ORIGINAL)
            instance.login.configure()
        except (ConfigError, StorageError):
            store.close()
            raise
    except (ConfigError, StorageError) as exc:
        listeners.close()
        print(f"diskkv-server: {exc}", file=sys.stderr)
        return 1
    reactor = Reactor(instance, listeners)
    listeners.attach(reactor)
    _announce(instance, listeners, time.monotonic() - began)
    # Requests make no reference cycles, but the containers of a turn would trigger a collection every few turns, each
    # of which walks over the cache's dictionaries. What is alive now is never collected, the rest seldom looked at.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    try:
        trio.run(_main, reactor)
    finally:
        reactor.close()
        _remove_unix_socket(config)
        instance.engine.close()
    log.info("stopped")
    return 0


def _announce(instance: Instance, listeners: Listeners, seconds: float) -> None:
    config = instance.config
    engine = instance.engine
    log.info("diskkv %s, pid %d", __version__, os.getpid())
    log.info("data in %s, appendfsync %s", config.dir, config.appendfsync)
    keys = sum(database.keys for database in engine.databases.values())
    log.info("ready on %s with %d keys after %.3f s", ", ".join(listeners.places), keys, seconds)


def _remove_unix_socket(config: Config) -> None:
    if config.unixsocket:
        try:
            os.unlink(config.unixsocket)
        except OSError as exc:
            log.warning("cannot remove %s: %s", config.unixsocket, exc)


async def _main(reactor: Reactor) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(_stop_on_signal, reactor)
        nursery.start_soon(run_background, reactor)
        reactor.instance.shutdown = lambda: setattr(reactor, "stopping", True)
        await reactor.run()
        reactor.turn([])
        reactor.instance.saves.stop()
        nursery.cancel_scope.cancel()


def _note_signals(reactor: Reactor) -> None:
    """Let the reactor know of a signal at once: while a script runs for long, no task can."""

    def note(number: int, frame: FrameType | None) -> None:
        reactor.signalled = True
        receive = receivers[number]
        if callable(receive):
            receive(number, frame)

    receivers = {int(number): signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in receivers:
        signal.signal(number, note)


async def _stop_on_signal(
    reactor: Reactor, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        _note_signals(reactor)
        task_status.started()
        async for number in signals:
            log.info("%s received, shutting down", signal.Signals(number).name)
            reactor.stopping = True
            return
