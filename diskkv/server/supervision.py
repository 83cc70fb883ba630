"""Telling the service manager how the server is: sd_notify for systemd, SIGSTOP for upstart, and daemonize.

Source: https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping

log = logging.getLogger(__name__)

_READY = b"+"


class Supervisor:
    """The service manager, as `supervised` and the environment name it. Without one, telling does nothing.

    `mode` is what INFO shows: no, systemd or upstart. `watchdog_s` is how often `ping` has to be called, 0 for never.
    """

    def __init__(self, supervised: str, environment: Mapping[str, str]) -> None:
        self.mode = "no"
        self.watchdog_s = 0.0
        self._address = ""
        self._pinged_s = 0.0
        self._is_stopped = False
        notify, upstart = environment.get("NOTIFY_SOCKET", ""), environment.get("UPSTART_JOB", "")
        if supervised == "systemd" or (supervised == "auto" and notify):
            if not notify:
                log.warning("supervised by systemd, but NOTIFY_SOCKET is not set")
                return
            self.mode = "systemd"
            # An abstract address is written with an @.
            self._address = "\0" + notify[1:] if notify.startswith("@") else notify
            self.watchdog_s = _watchdog_s(environment)
        elif supervised == "upstart" or (supervised == "auto" and upstart):
            if not upstart:
                log.warning("supervised by upstart, but UPSTART_JOB is not set")
                return
            self.mode = "upstart"

    def ready(self, status: str) -> None:
        """The server can be used (again)."""
        self._tell(f"READY=1\nSTATUS={status}\nMAINPID={os.getpid()}")
        if self.mode == "upstart" and not self._is_stopped:
            # Upstart counts the job as started when it stops itself, and has it go on.
            self._is_stopped = True
            os.kill(os.getpid(), signal.SIGSTOP)

    def reloading(self) -> None:
        """The configuration is being read again; `ready` follows."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The server ends."""
        self._tell("STOPPING=1")

    def ping(self) -> None:
        """The server is alive; may be called far too often."""
        if self.watchdog_s:
            now_s = time.monotonic()
            if now_s - self._pinged_s >= self.watchdog_s:
                self._pinged_s = now_s
                self._tell("WATCHDOG=1")

    def _tell(self, message: str) -> None:
        if self._address:
            # A manager that is gone or busy must not stop the server.
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)
                sock.connect(self._address)
                sock.send(message.encode())


def _watchdog_s(environment: Mapping[str, str]) -> float:
    """A third of the time after which systemd loses patience, 0 when there is none or it is not for this process."""
    try:
        limit_us = int(environment.get("WATCHDOG_USEC", "0"))
        process = int(environment.get("WATCHDOG_PID", "0"))
    except ValueError:
        return 0.0
    return limit_us / 3e6 if limit_us > 0 and process in (0, os.getpid()) else 0.0


def daemonize() -> Callable[[], None]:
    """Go on in a process of its own session, without a terminal; must come before any thread or store.

    The process that was started waits until the function that is answered is called, and then exits with 0. When the
    server ends before that, it exits with 1; what went wrong is on its standard error.
    """
    reader, writer = os.pipe()
    if os.fork():
        os.close(writer)
        # os._exit: what is to be done at the end of the process is the child's business.
        os._exit(0 if os.read(reader, 1) == _READY else 1)
    os.close(reader)
    os.setsid()
    # The child of a session's leader can never get a terminal again.
    if os.fork():
        os._exit(0)

    def detach() -> None:
        sys.stdout.flush()
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        os.close(null)
        os.write(writer, _READY)
        os.close(writer)

    return detach


def write_pid_file(path: str) -> None:
    """Write the process id to a file; a warning when that fails."""
    try:
        with open(path, "w") as file:
            file.write(f"{os.getpid()}\n")
    except OSError as exc:
        log.warning("cannot write the pid file %s: %s", path, exc.strerror)


def remove_pid_file(path: str) -> None:
    """Remove the file, unless it is another process' by now."""
    with contextlib.suppress(OSError):
        with open(path) as file:
            is_ours = file.read().strip() == str(os.getpid())
        if is_ours:
            os.unlink(path)
