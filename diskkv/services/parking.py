"""Commands that wait for rows from the disk, while the commands of other clients go on.

A command that meets a row which is not in memory is undone (it has staged nothing so far, see RowReader.read) and put
off: it is parked. Threads fetch that row, the others that its arguments tell (needed_rows.py), and those of the
requests behind it in the pipeline. Then it runs again, with everything at hand, as if it had just arrived; nothing of
its first run is left, and all that its client sent later is still behind it. After a few rounds of this it reads what
is still missing at once, so that it ends whatever others do to its keys.

Parking is switched on when slow reads take a noticeable part of the time: `active`. Only then do the commands on the
fast path have a `ParkableCommand` in their place; with everything in memory none of this costs anything.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, perf_counter_ns
from typing import TYPE_CHECKING, Any

from diskkv.engine.fetch_pool import Ticket
from diskkv.engine.row_reader import ColdRead, EagerMeter, Meter
from diskkv.services.needed_rows import add_needed, collects_first, first_row, has_one_key, one_element

if TYPE_CHECKING:
    from diskkv.engine.database import Database
    from diskkv.services.client import Client
    from diskkv.services.instance import Instance

PARKING_GAUGES = ("parked_clients", "parked_commands", "parking_active", "rows_fetched", "slow_reads")
"""In INFO: parked now, how often one was, whether they may be, and rows read by threads and slowly at once."""
_NOT_REPEATED = frozenset({"transactions", "scripting", "server", "connection", "pubsub"})
"""Commands of these groups may have effects before they read: they are put off only before they run."""

_ROUNDS = 4
"""How often a command is put off: for the headers of its keys, for their elements, and for what follows from these."""
_ROWS_AHEAD = 512
_FETCHED_ROWS = 50_000
"""With so many rows under way or at hand, further ones are read at once."""
_ALONE_READS = 16
_QUIET_S = 2.0
"""When nothing was parked for so long, parking is switched off."""


_Call = Callable[["Client", Any, list[bytes]], Any]


class _Held:
    """The type of `HELD`."""


HELD = _Held()
"""Answered for a request that has to wait (rows from the disk, CLIENT PAUSE): it is to be executed again later."""


class Reads:
    """What a client's next command waited for, until it has run; `rounds`: how often it was put off."""

    __slots__ = ("has_run", "meter", "rounds", "tickets")

    def __init__(self) -> None:
        self.tickets: list[Ticket] = []
        self.rounds = 0
        self.has_run = False
        self.meter: Meter | None = None


class ParkableCommand:
    """Takes a command's place on the fast path: it runs the command, which counts as run unless it is put off.

    It looks like a command to dispatch, whose own statistics of it mean nothing and come to nothing.
    """

    def __init__(self, parking: Parking, entry: Any, meter: Meter) -> None:
        self.entry = entry
        self.meter = meter
        self.name: str = entry.name
        self.min_argc: int = entry.min_argc
        self.max_argc: int = entry.max_argc
        self.flags = entry.flags
        self.flag_names = entry.flag_names
        self.can_repeat = entry.group not in _NOT_REPEATED
        self.collects_first = not self.can_repeat or collects_first(entry)
        self.has_one_key = self.can_repeat and has_one_key(entry)
        self.element = one_element(entry)
        self.let_read = parking.engine.reader.allow if self.can_repeat else parking.engine.reader.watch
        self.usec_ns = 0
        self.fine_durations = _NO_DURATIONS
        self.durations = self
        self.fn: Callable[[Client, list[bytes]], Any] = self._make(parking)
        self.run_argc: int = entry.run_argc
        self._reader = parking.engine.reader

    def add(self, duration_ns: int, calls: int = 1) -> None:
        """Forget how long dispatch thinks that it took."""

    def run(self, client: Client, columns: list[list[bytes]]) -> list[bytes] | None:
        """Requests as a whole; None, for one after the other, when rows are not in memory."""
        entry = self.entry
        if self.has_one_key and self.meter.hands_over and self._is_cold(client.db, columns):
            return None
        start_ns = perf_counter_ns()
        self._reader.allow(self.meter)
        try:
            replies: list[bytes] | None = entry.run(client, columns)
        except ColdRead:
            return None
        finally:
            self._reader.forbid()
        if replies is not None:
            calls = len(columns[0])
            spent_ns = perf_counter_ns() - start_ns
            entry.usec_ns += spent_ns
            entry.durations.add(spent_ns // calls, calls)
        return replies

    def _is_cold(self, database: Database, columns: list[list[bytes]]) -> bool:
        """Whether rows that the requests need are missing, as far as that is told fast."""
        if self.element is not None:
            return any(first_row(database, argv, self.element) for argv in zip(*columns, strict=True))
        return not all(map(database.cached.__contains__, columns[1]))

    @property
    def failed_calls(self) -> int:
        """The command's own."""
        count: int = self.entry.failed_calls
        return count

    @failed_calls.setter
    def failed_calls(self, count: int) -> None:
        self.entry.failed_calls = count

    def _make(self, parking: Parking) -> Callable[[Client, list[bytes]], Any]:
        entry = self.entry
        fn = entry.fn
        engine = parking.engine
        reader = engine.reader
        meter = self.meter
        let_read = self.let_read
        has_one_key = self.has_one_key
        element = self.element

        def run(client: Client, argv: list[bytes]) -> Any:
            if has_one_key and meter.hands_over and client.reads is None:
                # The common case, without trying in vain.
                row = first_row(client.db, argv, element)
                if row is not None and parking.park(client, None, meter, argv, row):
                    return HELD
            if self.collects_first and meter.hands_over and parking.park(client, entry, meter, argv):
                return HELD
            start_ns = perf_counter_ns()
            hits, misses = engine.keyspace_hits, engine.keyspace_misses
            let_read(meter)
            try:
                return fn(client, argv)
            except ColdRead as cold:
                reader.forbid()
                engine.keyspace_hits, engine.keyspace_misses = hits, misses
                if parking.park(client, entry, meter, argv, cold.row):
                    start_ns = 0
                    return HELD
                return fn(client, argv)
            finally:
                reader.forbid()
                if start_ns:
                    spent_ns = perf_counter_ns() - start_ns
                    entry.usec_ns += spent_ns
                    entry.durations.add(spent_ns)
                    if client.reads is not None:
                        client.reads.has_run = True
                        client.reads.rounds = 0

        return run


_NO_DURATIONS = [0] * 4096
"""Long enough that counting a duration of up to a millisecond takes the short way."""


class Parking:
    """All parked clients. The server calls `attach` once, and then `submit`, `ready` and `finish_turn` in its turns."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self.engine = instance.engine
        self._reader = instance.engine.reader
        self.active = False
        """Whether commands may be put off now."""
        self._attached = False
        self._has_others: Callable[[], bool] = lambda: True
        self._mode = "never"
        self._commands: dict[str, ParkableCommand] = {}
        self._resumed: list[Client] = []
        self._last_client: Client | None = None
        self._reads_in_a_row = 0
        self._parked_s = 0.0
        self.clients = 0
        """How many clients are parked now."""
        self.parked_commands = 0
        """How many commands were put off, counted once for every round."""
        self._reader.on_slow = self._reads_are_slow
        instance.config.on_change("cold-reads", self._configure)
        values = (
            lambda: self.clients,
            lambda: self.parked_commands,
            lambda: int(self.active),
            lambda: self._reader.fetched,
            lambda: self._reader.slow_reads,
        )
        instance.gauges.update(zip(PARKING_GAUGES, values, strict=True))

    # ---- switching

    def attach(self, event_fd: int, has_others: Callable[[], bool]) -> None:
        """There is somebody who resumes parked clients.

        `event_fd` is written when rows have come, see `await_rows`; `has_others` says whether this turn serves more
        than one client.
        """
        self._reader.start(self._instance.config.cold_read_threads, event_fd)
        self._has_others = has_others
        self._attached = True
        self._configure()

    def _configure(self) -> None:
        mode = self._instance.config.cold_reads if self._attached else "never"
        if mode != self._mode:
            self._mode = mode
            self._commands.clear()
            self._switch(mode == "always" or (self.active and mode == "auto") or bool(self._resumed or self.clients))

    def _switch(self, active: bool) -> None:
        if self.active or active:
            self.active = active
            self._parked_s = monotonic()
            self._instance.fast.clear()
            self._instance.refresh_fast()

    def _reads_are_slow(self) -> None:
        if self._mode == "auto" and not self.active:
            self._commands.clear()
            self._switch(True)

    def tick(self) -> None:
        """Now and then: switch parking off when it is not needed any more."""
        if not self.active or self._mode == "always" or self.clients or self._resumed:
            return
        if self._mode == "never" or monotonic() - self._parked_s > _QUIET_S:
            self._switch(False)

    def parkable(self, entry: Any) -> ParkableCommand:
        """What takes a command's place while parking is active."""
        command = self._commands.get(entry.name)
        if command is None:
            meter = EagerMeter() if self._mode == "always" else Meter()
            command = self._commands[entry.name] = ParkableCommand(self, entry, meter)
        return command

    # ---- commands

    def run(self, client: Client, entry: Any, argv: list[bytes], call: _Call) -> Any:
        """As `call`, for a command that passed dispatch's checks; HELD when it is put off.

        A transaction or a script is put off only before its first command.
        """
        command = self.parkable(entry)
        meter = command.meter
        reader = self._reader
        if command.collects_first and meter.hands_over and self.park(client, entry, meter, argv):
            return HELD
        command.let_read(meter)
        hits, misses = self.engine.keyspace_hits, self.engine.keyspace_misses
        try:
            result = call(client, entry, argv)
        except ColdRead as cold:
            reader.forbid()
            self.engine.keyspace_hits, self.engine.keyspace_misses = hits, misses
            if self.park(client, entry, meter, argv, cold.row):
                return HELD
            result = call(client, entry, argv)
        finally:
            reader.forbid()
        if client.reads is not None:
            client.reads.has_run = True
            client.reads.rounds = 0
        return result

    def park(self, client: Client, entry: Any, meter: Meter, argv: list[bytes], row: bytes | None = None) -> bool:
        """Put the client's command off and have its rows fetched, `row` among them; False when it has to run now.

        Without an `entry` the row is all that it needs as far as is known.
        """
        reads: Reads | None = client.reads
        if self._mode == "never" or not client.can_park or (reads is not None and reads.rounds >= _ROUNDS):
            return False
        if self._instance.scripts.busy:
            # The turn goes on until the script ends, and rows are read after it.
            return False
        if self._mode == "auto" and (self._is_alone(client) or len(self._reader.fetches) > _FETCHED_ROWS):
            return False
        rows: dict[bytes, None] = {} if row is None else {row: None}
        if entry is None:
            pass
        elif entry.name == "exec":
            commands = () if client.transaction is None else client.transaction.commands
            for queued, arguments in commands:
                add_needed(rows, client.db, queued, arguments)
        else:
            add_needed(rows, client.db, entry, argv)
        if not rows:
            return False
        self._look_ahead(rows, client, argv)
        if reads is None:
            reads = client.reads = Reads()
        reads.meter = meter
        reads.rounds += 1
        reads.has_run = False
        reads.tickets.append(self._reader.request(client, rows))
        client.awaits_rows = True
        self.clients += 1
        self.parked_commands += 1
        return True

    def _is_alone(self, client: Client) -> bool:
        """Whether nobody would gain from it: only this client has read from the disk lately, or sends anything now."""
        if self._last_client is not client:
            self._last_client = client
            self._reads_in_a_row = 0
        self._reads_in_a_row += 1
        return self._reads_in_a_row > _ALONE_READS and not self.clients and not self._has_others()

    def _look_ahead(self, rows: dict[bytes, None], client: Client, argv: list[bytes]) -> None:
        fast = self._instance.fast
        for request in client.following(argv):
            command = fast.get(request[0])
            if command is None or len(rows) > _ROWS_AHEAD:
                break
            if (
                command.__class__ is ParkableCommand
                and command.meter.hands_over
                and command.min_argc <= len(request) <= command.max_argc
            ):
                add_needed(rows, client.db, command.entry, request)

    # ---- turns

    def submit(self) -> None:
        """Hand over what the commands of this turn need."""
        self._reader.submit()

    def await_rows(self) -> bool:
        """Whether `ready` is to be called; if not, the event is written when it is."""
        return self._reader.await_rows()

    def ready(self) -> list[Client]:
        """The clients whose rows are there, so that their requests go on."""
        clients: list[Client] = []
        for ticket in self._reader.finished():
            client: Any = ticket.owner
            reads: Reads | None = client.reads
            if reads is None or not client.awaits_rows:
                continue
            client.awaits_rows = False
            self.clients -= 1
            assert reads.meter is not None
            for fetch in ticket.fetches:
                if fetch.from_disk is not None:
                    reads.meter.note_fetched(fetch.from_disk)
            clients.append(client)
        if clients:
            self._resumed += clients
            self._parked_s = monotonic()
        return clients

    def finish_turn(self) -> None:
        """Let go of rows whose commands have run."""
        if self._resumed:
            left = []
            for client in self._resumed:
                reads: Reads | None = client.reads
                if reads is not None and not client.awaits_rows:
                    if reads.has_run:
                        self._release(client)
                    else:
                        left.append(client)
            self._resumed = left

    def _release(self, client: Client) -> None:
        for ticket in client.reads.tickets:
            self._reader.release(ticket)
        client.reads = None

    def forget(self, client: Client) -> None:
        """The client is gone."""
        if client.reads is not None:
            if client.awaits_rows:
                client.awaits_rows = False
                self.clients -= 1
            self._release(client)
        if self._last_client is client:
            self._last_client = None
