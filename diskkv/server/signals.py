"""What signals do: SIGTERM and SIGINT end the server, SIGHUP has it read its files again."""

from __future__ import annotations

import logging
import signal
from types import FrameType

import trio

from diskkv.errors import ConfigError
from diskkv.server.crash import watch_signals
from diskkv.server.logs import reopen_log_files
from diskkv.server.reactor import Reactor
from diskkv.server.supervision import Supervisor

log = logging.getLogger("diskkv")


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


async def stop_on_signal(reactor: Reactor, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """End the server after the turn at hand on SIGTERM or SIGINT."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        _note_signals(reactor)
        task_status.started()
        async for number in signals:
            log.info("%s received, shutting down", signal.Signals(number).name)
            reactor.stopping = True
            return


async def reload_on_signal(
    reactor: Reactor, supervisor: Supervisor, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Reload on every SIGHUP."""
    with trio.open_signal_receiver(signal.SIGHUP) as signals:
        task_status.started()
        async for _ in signals:
            supervisor.reloading()
            reload(reactor)
            supervisor.ready("serving clients")


def reload(reactor: Reactor) -> None:
    """Open the log files again, take over what changed in the configuration file, and load certificates again.

    What cannot be done is logged, and everything stays as it was in that respect.
    """
    instance = reactor.instance
    reopen_log_files()
    instance.slowlog.reopen()
    watch_signals(instance.config)
    try:
        changed, later = instance.config.reload()
    except ConfigError as exc:
        log.warning("the configuration stays as it is: %s", exc)
    else:
        log.info("reloaded; changed in the configuration: %s", ", ".join(changed) or "nothing")
        if later:
            log.warning("these changes take effect at the next start: %s", ", ".join(later))
    try:
        reactor.open_sockets.reload_tls()
    except ConfigError:
        # It is in the log; the old certificates stay in use.
        return
