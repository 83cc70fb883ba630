"""The report that is logged when the server ends by a bug, and the stacks that are when it ends by a fatal signal."""

from __future__ import annotations

import faulthandler
import logging
import platform
import traceback
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from diskkv import __version__
from diskkv.config import PARAMETERS
from diskkv.server.logs import log_descriptor
from diskkv.services import info
from diskkv.services.monitor import quote
from diskkv.services.redaction import shown_arguments
from diskkv.services.slowlog import trim_arguments

if TYPE_CHECKING:
    from diskkv.config import Config
    from diskkv.server.connection import Connection
    from diskkv.server.reactor import Reactor

log = logging.getLogger("diskkv")

_SHOWN_CLIENTS = 50
_SHOWN_REQUESTS = 5


def watch_signals(config: Config) -> None:
    """Have the stacks of all threads written to the log when a fatal signal comes (SIGSEGV, SIGABRT ...)."""
    if config.crash_log_enabled:
        faulthandler.enable(log_descriptor(), all_threads=True)


def report(reactor: Reactor, error: BaseException) -> None:
    """Log all there is to know about a bug that ends the server."""
    if not reactor.instance.config.crash_log_enabled:
        log.critical("bug: the server ends: %r", error)
        return
    sections: tuple[tuple[str, Callable[[Reactor], str]], ...] = (
        ("REQUESTS UNDER WAY", _requests),
        ("CLIENTS", _clients),
        ("CONFIGURATION", _configuration),
        ("INFO", _info),
    )
    parts = [
        "=== DISKKV BUG REPORT START: cut and paste from here ===",
        f"diskkv {__version__}, Python {platform.python_version()}, {platform.platform()}",
        "--- STACK",
        "".join(traceback.format_exception(error)).rstrip(),
    ]
    for title, make in sections:
        parts += [f"--- {title}", _attempt(make, reactor)]
    parts.append("=== DISKKV BUG REPORT END ===")
    log.critical("%s", "\n".join(parts))


def _attempt(make: Callable[[Reactor], str], reactor: Reactor) -> str:
    try:
        return make(reactor)
    except Exception as exc:  # noqa: BLE001 - the state may be broken; a part less is better than no report
        return f"(not available: {exc!r})"


def _requests(reactor: Reactor) -> str:
    shown = [f"client {connection.id}: {count} {name}" for connection, name, count in reactor.unanswered_pipelines]
    shown += [line for connection in reactor.unanswered for line in _requests_of(reactor, connection)]
    return "\n".join(islice(shown, _SHOWN_CLIENTS * _SHOWN_REQUESTS)) or "(none)"


def _requests_of(reactor: Reactor, connection: Connection) -> Iterator[str]:
    """The requests around the one that comes next, which are the last ones that ran and the first that did not."""
    start = max(0, connection.next_request - _SHOWN_REQUESTS + 1)
    for at, argv in enumerate(connection.requests[start : start + _SHOWN_REQUESTS], start):
        if reactor.instance.config.hide_user_data_from_log:
            text = f"{argv[0].decode('latin-1')} with {len(argv) - 1} arguments"
        else:
            text = b" ".join(map(quote, trim_arguments(shown_arguments(argv)))).decode("ascii")
        yield f"client {connection.id}, request {at + 1} of {len(connection.requests)}: {text}"


def _clients(reactor: Reactor) -> str:
    instance = reactor.instance
    some = islice(instance.clients.values(), _SHOWN_CLIENTS)
    return "\n".join(instance.describe_client(client).decode("latin-1") for client in some) or "(none)"


def _configuration(reactor: Reactor) -> str:
    config = reactor.instance.config
    return "\n".join(
        f"{parameter.name} {parameter.kind.format(getattr(config, parameter.attribute))}"
        for parameter in PARAMETERS
        if not (parameter.secret or parameter.hidden) and getattr(config, parameter.attribute) != parameter.default
    )


def _info(reactor: Reactor) -> str:
    return info.render(reactor.instance, ["everything"]).decode("utf-8", "replace").replace("\r\n", "\n").rstrip()
