"""A thread with one connection that sends requests until the server is gone."""

from __future__ import annotations

import abc
import threading

from tests.harness.servers import ServerProcess
from tests.harness.wire import Wire, WireClosed


class UntilGone(threading.Thread, abc.ABC):
    """Does one round after the other until the connection breaks; anything else that goes wrong is kept in `failure`.

    `depth` is how many requests are sent before their replies are read.
    """

    def __init__(self, server: ServerProcess, name: str, depth: int) -> None:
        super().__init__(name=name)
        self._server = server
        self._depth = depth
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            with self._server.connect() as wire:
                while True:
                    self._round(wire)
        except (WireClosed, OSError):
            return
        except BaseException as error:  # noqa: BLE001 - handed to the test's thread, which raises it
            self.failure = error

    @abc.abstractmethod
    def _round(self, wire: Wire) -> None:
        """Send `_depth` requests and look at their replies."""
