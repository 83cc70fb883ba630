"""Runs: requests of one plain command executed as columns of arguments, instead of one after the other.

A client that pipelines mostly repeats one command, and in a busy turn many clients send the same one. Looking each
request up, timing it and building its reply alone costs more than the work itself; over columns most of that happens
once, or in loops inside of C.

A function marked with `@run_of` takes the client and the columns (`columns[0]` the names, `columns[1]` all first
arguments ...), all of the same length, two or more. It answers the list of replies, exactly those that the commands
would give one by one; or None (or any CommandError) when there is something out of the ordinary about one of them: then
what it staged is undone and the requests are executed singly. It need not look at notifications, observers of the
database, slow log thresholds or the state of the client: `dispatch.execute_run` does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diskkv.services.client import Client

Columns = list[list[bytes]]

RunHandler = Callable[["Client", Columns], "list[bytes] | None"]

ANY = -1
"""In the place of a number of arguments: the function takes any, the same for all requests, and checks it itself."""

RUNS: dict[str, tuple[RunHandler, int]] = {}
"""The function and the number of arguments (with the name) that it takes, by the command's lower-case name."""


def run_of(*names: str, argc: int) -> Callable[[RunHandler], RunHandler]:
    """Have requests of these commands with `argc` arguments each executed together by the decorated function."""

    def register(function: RunHandler) -> RunHandler:
        for name in names:
            RUNS[name] = (function, argc)
        return function

    return register
