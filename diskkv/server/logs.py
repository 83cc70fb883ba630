"""The server's log: one line an event, to stdout or `logfile`, at Redis' four levels."""

from __future__ import annotations

import logging
import sys

from diskkv.config import Config

_LEVELS = {
    "debug": logging.DEBUG,
    "verbose": logging.DEBUG,
    "notice": logging.INFO,
    "warning": logging.WARNING,
    "nothing": logging.CRITICAL + 1,
}


def configure_logging(config: Config) -> None:
    """Send the package's log where the configuration says."""
    handler: logging.Handler
    if config.logfile:
        handler = logging.FileHandler(config.logfile)
    else:
        handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname).1s %(message)s"))
    root = logging.getLogger("diskkv")
    root.handlers[:] = [handler]
    root.propagate = False

    def set_level() -> None:
        root.setLevel(_LEVELS[config.loglevel])

    set_level()
    config.on_change("loglevel", set_level)
