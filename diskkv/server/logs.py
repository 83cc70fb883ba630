"""The server's log: one line an event, at Redis' four levels, to standard output or `logfile`, and to syslog.

`log-format text` is Redis' own form, so that what reads Redis' logs reads these:

    1234:M 22 Nov 2026 20:47:03.377 * ready on 127.0.0.1:6379 with 5 keys after 0.103 s

`json` has an object a line, with `time` (RFC 3339, UTC), `level`, `pid`, `logger`, `message` and, where there is one,
`exception` (the traceback).
"""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import logging.handlers
import os
import sys
import time
from typing import Final

from diskkv.config import Config
from diskkv.errors import ConfigError

VERBOSE: Final = 15
"""Between debug and notice: connections that come and go."""

_LEVELS = {
    "debug": logging.DEBUG,
    "verbose": VERBOSE,
    "notice": logging.INFO,
    "warning": logging.WARNING,
    "nothing": logging.CRITICAL + 1,
}
_SYSLOG_SOCKET = "/dev/log"


def _level(number: int) -> tuple[str, str]:
    """The name and the sign of a level."""
    if number >= logging.WARNING:
        return "warning", "#"
    if number >= logging.INFO:
        return "notice", "*"
    return ("verbose", "-") if number >= VERBOSE else ("debug", ".")


class TextFormatter(logging.Formatter):
    """Redis' form; a traceback follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%d %b %Y %H:%M:%S", time.localtime(record.created))
        text = f"{record.process}:M {moment}.{int(record.msecs):03d} {_level(record.levelno)[1]} {record.getMessage()}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


class JsonFormatter(logging.Formatter):
    """An object a line."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        entry: dict[str, object] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": _level(record.levelno)[0],
            "pid": record.process,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry)


class LogFile(logging.FileHandler):
    """A log file that can be moved away: `reopen` goes on in a new one."""

    def reopen(self) -> None:
        """Open the file by its name again. Raises OSError; the old one is kept then."""
        stream = self._open()
        self.acquire()
        try:
            old = self.setStream(stream)
        finally:
            self.release()
        if old is not None:
            old.close()


def configure_logging(config: Config) -> None:
    """Send the package's log where the configuration says. Raises ConfigError when that cannot be opened."""
    root = logging.getLogger("diskkv")
    for old in root.handlers:
        old.close()
    root.handlers[:] = [_main_handler(config)]
    if config.syslog_enabled:
        root.handlers.append(_syslog_handler(config))
    root.propagate = False

    def configure() -> None:
        root.setLevel(_LEVELS[config.loglevel])
        root.handlers[0].setFormatter(JsonFormatter() if config.log_format == "json" else TextFormatter())

    configure()
    config.on_change("loglevel", configure)
    config.on_change("log-format", configure)


def _main_handler(config: Config) -> logging.Handler:
    if not config.logfile:
        return logging.StreamHandler(sys.stdout)
    try:
        return LogFile(os.path.abspath(config.logfile))
    except OSError as exc:
        message = f"cannot open the log file {config.logfile}: {exc.strerror}"
        raise ConfigError(message) from exc


class Syslog(logging.handlers.SysLogHandler):
    """Sends each message to syslog; as with C's syslog(3), those that nobody takes are lost without a word."""

    def handleError(self, record: logging.LogRecord) -> None:
        pass


def _syslog_handler(config: Config) -> logging.Handler:
    handler = Syslog(_SYSLOG_SOCKET, config.syslog_facility)
    handler.ident = f"{config.syslog_ident}[{os.getpid()}]: "
    return handler


def reopen_log_files() -> None:
    """Go on in new files where the old ones were moved away."""
    log = logging.getLogger("diskkv")
    for handler in log.handlers:
        if isinstance(handler, LogFile):
            try:
                handler.reopen()
            except OSError as exc:
                log.warning("cannot open %s again: %s", handler.baseFilename, exc.strerror)


def log_descriptor() -> int:
    """The file descriptor that the log goes to, for what has to be written when nothing else works."""
    for handler in logging.getLogger("diskkv").handlers:
        if isinstance(handler, logging.StreamHandler):
            with contextlib.suppress(OSError, ValueError):
                return int(handler.stream.fileno())
    return sys.__stderr__.fileno() if sys.__stderr__ is not None else 2
