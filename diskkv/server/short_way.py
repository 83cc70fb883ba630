"""The short way through a turn, for connections on which nothing is under way.

What such a connection sends is mostly one or more whole, plain requests, and the replies mostly fit into its socket.
Then nothing of what connection.py is for is needed: the requests join the turn's round, or a run together with other
clients' requests of the same command (commands/runs.py), and the replies are sent after the commit. Whatever does not
fit that mould goes on by the general way.
"""

from __future__ import annotations

import select
from itertools import islice
from typing import TYPE_CHECKING

from diskkv.commands.dispatch import execute_round, execute_run
from diskkv.commands.runs import ANY, Columns
from diskkv.server import plain
from diskkv.server.connection import Connection

if TYPE_CHECKING:
    from diskkv.commands.registry import Command
    from diskkv.services.instance import Instance

Work = tuple[Connection, list[list[bytes]], int, int]
"""As dispatch's: a connection, its requests, the index of the first one to execute and of the one to stop before."""

_READ = select.EPOLLIN
_ROUND_REQUESTS = 2048
"""More of one connection's pipeline waits for the next turn, so that others get theirs."""
_NO_REQUESTS: list[list[bytes]] = []


class Run:
    """The requests of one command that came in one turn, from clients that use the same database and protocol.

    All have `argc` arguments.
    """

    __slots__ = ("argc", "database", "pipelines", "resp", "rows", "singles")

    def __init__(self, connection: Connection, argc: int) -> None:
        self.argc = argc
        self.database = connection.db
        self.resp = connection.resp
        self.singles: list[Connection] = []
        self.rows: list[list[bytes]] = []
        """The request of each of `singles`."""
        self.pipelines: list[tuple[Connection, Columns]] = []

    @property
    def connections(self) -> int:
        """How many connections' requests these are."""
        return len(self.singles) + len(self.pipelines)

    def columns(self) -> Columns:
        """The arguments of all requests: first those that came alone, then the pipelines'."""
        if not self.rows:
            first = self.pipelines[0][1]
            if len(self.pipelines) == 1:
                return first
            columns: Columns = [[] for _ in first]
        else:
            columns = list(map(list, zip(*self.rows, strict=True)))
        for _, more in self.pipelines:
            for column, part in zip(columns, more, strict=True):
                column += part
        return columns


class ShortWay:
    """The requests of a turn that go the short way. Connections that leave it are appended to `active` or `dead`."""

    def __init__(self, instance: Instance, active: list[Connection], dead: list[Connection]) -> None:
        self.instance = instance
        self.engine = instance.engine
        self._native = plain.native
        if self._native is not None:
            self._native.bind(Connection, Run)
        self._active = active
        self._dead = dead
        self.round: list[Work] = []
        """Requests to be executed one by one; after `execute` all connections that are to be answered."""
        self.runs: dict[Command, Run | Connection] = {}
        """The runs of this turn; as long as a single request is all of one, its connection stands for it. Empty after
        `execute`."""
        self._answered: list[Work] = []
        """Connections whose run was executed, in the form of `round`."""

    def take(self, events: list[tuple[int, int]], at: int, connections: dict[int, Connection], full_at: int) -> int:
        """Receive from the connections of events[at:] up to the first event that is not for the short way.

        Answers the index of that one. Stops earlier once stats.input_bytes is above `full_at`.
        """
        if self._native is not None:
            stopped_at: int = self._native.take(self, events, at, connections, full_at)
            return stopped_at
        stats = self.instance.stats
        for fd, event in islice(events, at, None):
            connection = connections.get(fd)
            if connection is None or event != _READ or not connection.is_idle or stats.input_bytes > full_at:
                break
            self.join(connection, connection.receive_plain())
            at += 1
        return at

    def join(self, connection: Connection, taken: plain.Received | bytes | None) -> None:
        """Have whole, plain requests join the turn's round or one of its runs; other input goes the general way."""
        if taken.__class__ is tuple:
            size, requests, columns = taken
            if columns is not None:
                entry = connection.fast.get(columns[0][0])
                if entry is None or not self.join_pipeline(entry, connection, columns):
                    self._join_round(connection, list(map(list, zip(*columns, strict=True))))
            elif requests is not None:
                connection.requests = requests
                entry = connection.fast.get(requests[0][0]) if len(requests) == 1 else None
                if entry is None or not self.join_single(entry, connection):
                    self._join_round(connection, requests)
            self.instance.stats.input_bytes += size
            connection.received_bytes += size
            connection.active_ms = self.engine.now_ms
            connection.in_turn = True
        elif taken is not None:
            connection.is_idle = False
            connection.in_turn = True
            self._active.append(connection)
            if not taken or not connection.take(taken):  # type: ignore[arg-type]
                self._dead.append(connection)

    def join_single(self, entry: Command, connection: Connection) -> bool:
        """Have a connection's only request join the run of this command; False if it cannot."""
        argv = connection.requests[0]
        argc = len(argv)
        if entry.run_argc != argc and entry.run_argc != ANY:
            return False
        if entry not in self.runs:
            self.runs[entry] = connection
            return True
        run = self._run(entry, connection, argc)
        if run is None:
            return False
        run.singles.append(connection)
        run.rows.append(argv)
        return True

    def _run(self, entry: Command, connection: Connection, argc: int) -> Run | None:
        """The run that requests of a connection with so many arguments can be part of, if they can."""
        run = self.runs.get(entry)
        if run is None:
            run = self.runs[entry] = Run(connection, argc)
        elif isinstance(run, Run):
            if run.argc != argc or run.database is not connection.db or run.resp != connection.resp:
                return None
        elif len(run.requests[0]) == argc and run.db is connection.db and run.resp == connection.resp:
            run = self.begin_run(entry, run)
        else:
            return None
        return run

    def begin_run(self, entry: Command, first: Connection) -> Run:
        """Begin a run with the connection that stood for it."""
        argv = first.requests[0]
        run = self.runs[entry] = Run(first, len(argv))
        run.singles.append(first)
        run.rows.append(argv)
        return run

    def resume(self, connection: Connection) -> None:
        """Have a connection join the round that was put off in the middle of its requests; nothing else may be up."""
        connection.in_turn = True
        at = connection.next_request
        requests = connection.requests
        self.round.append((connection, requests, at, min(len(requests), at + _ROUND_REQUESTS)))

    @property
    def connections(self) -> int:
        """How many connections take part in this turn, as far as they have not been answered."""
        runs = self.runs.values()
        return len(self.round) + sum(run.connections if isinstance(run, Run) else 1 for run in runs)

    def pipelines(self) -> list[tuple[Connection, str, int]]:
        """(connection, command, how many) of the pipelines in the turn's runs."""
        return [
            (connection, entry.name, len(columns[0]))
            for entry, run in self.runs.items()
            if isinstance(run, Run)
            for connection, columns in run.pipelines
        ]

    def _join_round(self, connection: Connection, requests: list[list[bytes]]) -> None:
        connection.requests = requests
        connection.next_request = 0
        self.round.append((connection, requests, 0, min(len(requests), _ROUND_REQUESTS)))

    def join_pipeline(self, entry: Command, connection: Connection, columns: Columns) -> bool:
        """Have a connection's requests join the run of this command; False if they cannot."""
        argc = len(columns)
        if entry.run_argc != argc and entry.run_argc != ANY:
            return False
        run = self._run(entry, connection, argc)
        if run is None:
            return False
        run.pipelines.append((connection, columns))
        return True

    def execute(self) -> None:
        """Execute everything that was taken."""
        if self.runs:
            alone = []
            for entry, run in self.runs.items():
                if isinstance(run, Run):
                    self._execute(entry, run)
                else:
                    run.next_request = 0
                    alone.append((run, run.requests, 0, 1))
            self.runs.clear()
            # In front of the round: most of its requests came later, and a script among them may run for long.
            self.round[:0] = alone
        if self.round:
            execute_round(self.instance, self.round)
        if self._answered:
            self.round += self._answered
            self._answered.clear()

    def _execute(self, entry: Command, run: Run) -> None:
        """Execute a run; if that cannot be done as a whole, its requests join the round."""
        singles = run.singles
        replies = None
        if run.pipelines or len(singles) > 1:
            client = singles[0] if singles else run.pipelines[0][0]
            replies = execute_run(client, entry, run.columns())
        if replies is None:
            # In front of the round, as those that are alone.
            behind, self.round[:] = self.round[:], []
            for connection, argv in zip(singles, run.rows, strict=True):
                self._join_round(connection, [argv])
            for connection, columns in run.pipelines:
                self._join_round(connection, list(map(list, zip(*columns, strict=True))))
            self.round += behind
            return
        if self._native is not None:
            self._native.answer(run, replies, self._answered)
        else:
            self._answer(run, replies)

    def _answer(self, run: Run, replies: list[bytes]) -> None:
        singles = run.singles
        answered = self._answered
        for connection, reply in zip(singles, replies, strict=False):
            connection.out.append(reply)
            connection.next_request = 1
            answered.append((connection, connection.requests, 0, 1))
        at = len(singles)
        for connection, columns in run.pipelines:
            count = len(columns[0])
            # One by one: should the commit fail, each of them becomes an error.
            connection.out += replies[at : at + count]
            at += count
            # As if one request had been executed, which stands for all of them.
            connection.commands_run += count - 1
            connection.requests = columns[:1]
            connection.next_request = 1
            answered.append((connection, connection.requests, 0, 1))

    def finish(self) -> None:
        """Send the replies; a connection on which something is left goes on by the general way."""
        output_bytes = 0
        work = self.round
        if self._native is not None:
            output_bytes, work = self._native.finish(work, self._active, _NO_REQUESTS)
        for connection, requests, began_at, _ in work:
            at = connection.next_request
            out = connection.out
            if at != began_at:
                connection.commands_run += at - began_at
                connection.last_request = requests[at - 1][0]
            elif connection.awaits_rows and not out:
                connection.is_idle = connection.in_turn = False
                continue
            if at == len(requests) and out and not (connection.closing or connection.is_held):
                data = out[0] if len(out) == 1 else b"".join(out)
                sent = connection.transmit(data)
                if sent == len(data):
                    out.clear()
                    output_bytes += sent
                    connection.sent_bytes += sent
                    # An idle connection must not keep the arguments of its last requests.
                    connection.requests = _NO_REQUESTS
                    # One that was put off may have received more meanwhile, which is for the general way.
                    if connection.is_idle or connection.is_quiet:
                        connection.is_idle = True
                        connection.in_turn = False
                        continue
                else:
                    # Nothing or only a part was taken: the rest is for the general way.
                    out[:] = [data[sent:]]
            connection.is_idle = False
            self._active.append(connection)
        self.round.clear()
        self.instance.stats.output_bytes += output_bytes

    def leave(self) -> list[Connection]:
        """While a script runs for long: have all connections but its caller go on by the general way.

        Answers those whose requests have not been executed. The caller's other requests are executed later.
        """
        caller = self.instance.scripts.caller
        others = [entry for entry in self.round if entry[0] is not caller]
        # The round is under way: it goes on behind the caller's place, where nothing must be left.
        self.round[:] = [entry for entry in self.round if entry[0] is caller]
        waiting = []
        for connection, requests, began_at, _ in [*self._answered, *others]:
            connection.is_idle = False
            if connection.next_request == began_at:
                waiting.append(connection)
                continue
            connection.commands_run += connection.next_request - began_at
            connection.last_request = requests[connection.next_request - 1][0]
            self._active.append(connection)
        self._answered.clear()
        return waiting
