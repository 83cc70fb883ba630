"""One running diskkv: the engine, the clients and the services they share. Works without a socket.

    instance = Instance(config, store)
    client = instance.new_client()
    reply = dispatch.call(client, [b"SET", b"k", b"v"])
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from typing import Any

from diskkv.config import Config
from diskkv.datatypes import hashes_expiry
from diskkv.engine.cursors import Cursors
from diskkv.engine.database import Database
from diskkv.engine.engine import NEVER_MS, Engine
from diskkv.engine.expiry import sweep
from diskkv.engine.reclaim import Reclaimer
from diskkv.engine.store import Store
from diskkv.errors import StorageError
from diskkv.services.blocking import Blocking
from diskkv.services.client import Client
from diskkv.services.clients import describe
from diskkv.services.compaction import Compactions
from diskkv.services.disk_limit import DiskLimit
from diskkv.services.latency import LatencyMonitor
from diskkv.services.login import Login
from diskkv.services.memory import resident_bytes
from diskkv.services.memory_budget import MemoryBudget
from diskkv.services.migrations import Migrations
from diskkv.services.monitor import monitor_line
from diskkv.services.notifications import Notifications
from diskkv.services.pacing import WritePacer
from diskkv.services.parking import Parking
from diskkv.services.pubsub import PubSub
from diskkv.services.redaction import shown_arguments
from diskkv.services.replication import Replication
from diskkv.services.saves import Saves
from diskkv.services.scripts import Scripts
from diskkv.services.slowlog import SlowLog
from diskkv.services.stats import Stats
from diskkv.services.tracking import Trackers
from diskkv.services.transactions import Queueing, Watches
from diskkv.services.write_gate import WriteGate

log = logging.getLogger(__name__)

_BUSY_ROWS = 50
_IDLE_ROWS = 1000
_REST_S = 60.0
"""Background work that met something unreadable is tried again after so long."""
"""How much a tick sweeps and reclaims while clients wait (about 0.3 ms), and while nobody does (about 6 ms)."""


def unix_ms() -> int:
    """The wall clock in ms."""
    return time.time_ns() // 1_000_000


class Instance:
    """State shared by all clients. `fast` holds the commands that may run without dispatch's checks, by name."""

    supervised = "no"
    """By which kind of service manager the process is: no, systemd or upstart."""

    def __init__(self, config: Config, store: Store) -> None:
        self.config = config
        self.engine = Engine(store, config)
        self.engine.begin(unix_ms())
        self.cursors = Cursors(self.engine)
        self.reclaimer = Reclaimer(self.engine)
        self.run_id = secrets.token_hex(20)
        self.startup_memory_bytes = resident_bytes()
        self.gauges: dict[str, Callable[[], int]] = {}
        """Numbers that services show in INFO, by field name."""
        self.started_ms = self.engine.now_ms
        self.stats = Stats()
        self.slowlog = SlowLog(config)
        self.latency = LatencyMonitor(config)
        self.slow_ns = 0
        """A command that took longer than this is looked at by `note_slow`."""
        self.clients: dict[int, Client] = {}
        self._next_client_id = 1
        self.woken: list[Client] = []
        """Clients with output, or a reason to go on, that did not come from their own requests of this turn."""
        self.executing: Client | None = None
        """The client whose request runs now; None for those on the fast path."""
        self.deferred: list[bytes] = []
        """Messages for the executing client, which get their place behind the reply."""
        self.fast: dict[bytes, Any] = {}
        self.queueing: dict[bytes, Queueing] = {}
        """What takes the place of `fast` for clients in a transaction."""
        self.commands: dict[str, Any] = {}
        self._plain_commands: dict[str, Any] = {}
        self._skip_slowlog = 0
        self.monitors: dict[int, Client] = {}
        self._fast_mode = ""
        self._writing: set[str] = set()
        """The commands that may write: not in `fast` while writers are paced."""
        self.writes = WriteGate(config, self.engine, self.refresh_fast)
        self._resting: dict[Callable[..., object], float] = {}
        """Background work that failed, and when (by the monotonic clock) it is to be tried again."""
        self.active_expire = True
        """Whether the sweeper runs (DEBUG SET-ACTIVE-EXPIRE)."""
        self.pause_until_ms = 0
        self.pause_all = False
        self.paused: list[Client] = []
        """Clients with a request that has to wait, because of CLIENT PAUSE or of `pacer`."""
        self.pacer = WritePacer(store, self.paused, self.refresh_fast)
        self._open_services()
        self._follow_config()

    def _open_services(self) -> None:
        """What has clients, or acts for them."""
        self.login = Login(self)
        self.acl = self.login.acl
        self.parking = Parking(self)
        self.blocking = Blocking(self.refresh_observer)
        self.watches = Watches(self)
        self.pubsub = PubSub(self)
        self.tracking = Trackers(self)
        self.notifications = Notifications(self)
        self.replication = Replication(self)
        self.migrations = Migrations(self)
        self.engine.on_due = hashes_expiry.reap
        self.after_turn: list[Callable[[], None]] = []
        self.shutdown: Callable[[], None] = lambda: None
        """Ends the process; set by the server."""
        self.observers = [
            self.blocking.observer,
            self.watches.observer,
            self.tracking.observer,
            self.migrations.observer,
        ]
        """Each answers the function that wants to hear of changes in a database now, or None."""
        self.engine.on_open = self.refresh_observer
        self.scripts = Scripts(self)
        self.saves = Saves(self)
        self.compactions = Compactions(self)
        self.disk_limit = DiskLimit(self)
        self.memory_budget = MemoryBudget(self)

    def _follow_config(self) -> None:
        """Have those who keep a copy of a parameter take over its value now and after CONFIG SET."""
        config = self.config
        for name in ("slowlog-log-slower-than", "slowlog-max-len", "latency-monitor-threshold"):
            config.on_change(name, self._configure_slow)
        config.on_change("cache-size", self.memory_budget.configure)
        config.on_change("maxmemory", self.memory_budget.configure)
        config.on_change("notify-keyspace-events", self._configure_notifications)
        config.on_change("write-pacing", lambda: self.pacer.enable(config.write_pacing))
        self.pacer.enabled = config.write_pacing
        self._configure_slow()
        self._configure_notifications()

    def _configure_slow(self) -> None:
        self.slowlog.configure()
        self.latency.configure()
        self.slow_ns = min(self.slowlog.threshold_ns, self.latency.threshold_ns - 1)

    def _configure_notifications(self) -> None:
        self.notifications.configure(self.config.notify_keyspace_events)

    # ---- clients

    def new_client(self, factory: Callable[[Instance, int], Client] = Client) -> Client:
        """Register a client."""
        client = factory(self, self._next_client_id)
        self._next_client_id += 1
        self.clients[client.id] = client
        self.login.reset(client)
        client.refresh()
        return client

    def forget_client(self, client: Client) -> None:
        """The connection is gone: drop everything the client holds."""
        self.blocking.unblock(client)
        self.parking.forget(client)
        self.watches.forget(client)
        self.pubsub.forget(client)
        self.tracking.disable(client)
        self.replication.forget(client)
        self.clients.pop(client.id, None)
        self.monitors.pop(client.id, None)
        if client.paused:
            self.paused.remove(client)
        self.refresh_fast()

    def reset_client(self, client: Client) -> None:
        """Put a client back into the state of a new connection."""
        self.monitors.pop(client.id, None)
        client.is_monitor = False
        client.transaction = None
        self.watches.forget(client)
        self.pubsub.forget(client)
        self.tracking.disable(client)
        client.db = self.engine.database(0)
        client.name = b""
        client.no_evict = client.no_touch = False
        # RESET after CLIENT REPLY SKIP is itself the command whose reply is skipped.
        client.reply_on = True
        self.login.reset(client)
        client.use_resp(2)
        self.refresh_fast()

    def wake(self, client: Client) -> None:
        """Have the client's output sent, and its held requests looked at, after this turn."""
        self.woken.append(client)

    def sample_stats(self, now_s: float) -> None:
        """Take a sample of the counters that rates are computed from."""
        self.stats.sample(now_s, self.commands_processed)

    @property
    def commands_processed(self) -> int:
        """How many commands ran since the last CONFIG RESETSTAT."""
        return sum(
            entry.calls + sum(sub.calls for sub in entry.subcommands.values()) for entry in self.commands.values()
        )

    # ---- what the fast path may do

    def use_commands(
        self,
        commands: dict[str, Any],
        plain_flag: int,
        skip_slowlog_flag: int,
        original: dict[str, Any] | None = None,
    ) -> None:
        """Take over the command table; `plain_flag` marks the commands that are safe on the fast path.

        `original`: the commands by their own names, which access rules use, when some were renamed.
        """
        self._skip_slowlog = skip_slowlog_flag
        self.acl.use_commands(commands if original is None else original)
        self.commands = commands
        self._plain_commands = {
            name: entry for name, entry in commands.items() if entry.flags & plain_flag and not entry.subcommands
        }
        self._writing = {name for name, entry in self._plain_commands.items() if "write" in entry.flag_names}
        self._writing |= {"eval", "evalsha", "fcall"}
        self._fast_mode = ""
        self.refresh_fast()

    def refresh_fast(self) -> None:
        """Fill or empty `fast`; call it when a global condition changes."""
        self.engine.read_only = self.writes.failed is not None
        self.engine.expiry_paused = bool(self.pause_until_ms) or self.engine.read_only
        guarded = bool(self.monitors) or self.write_error is not None or self.pause_until_ms or self.scripts.busy
        only_reads = self.pacer.active or self.migrations.is_holding or self.writes.full is not None
        mode = "none" if guarded else "reads" if only_reads else "all"
        if mode == self._fast_mode and self.fast:
            return
        self._fast_mode = mode
        self.fast.clear()
        self.queueing.clear()
        if guarded:
            return
        parking = self.parking
        for name, entry in self._plain_commands.items():
            queueing = Queueing(entry, self._skip_slowlog)
            for spelling in (name.encode(), name.upper().encode()):
                if mode == "all" or name not in self._writing:
                    self.fast[spelling] = parking.parkable(entry) if parking.active else entry
                self.queueing[spelling] = queueing

    def publish(self, channel: bytes, message: bytes) -> int:
        """Send a message to the subscribers of a channel and of matching patterns; answers how many times it went."""
        return self.pubsub.publish(channel, message)

    def feed_monitors(self, client: Client, argv: list[bytes]) -> None:
        """Show a command to those who run MONITOR, but for those that have said QUIT or want no replies."""
        line = monitor_line(client, argv)
        for monitor in list(self.monitors.values()):
            if monitor.reply_on and not monitor.skip_replies & 1 and not monitor.closing:
                monitor.push(line)

    def describe_client(self, client: Client) -> bytes:
        """The client as CLIENT LIST shows it."""
        return describe(client)

    def may_stay_subscribed(self, client: Client) -> bool:
        """Whether the client's user may see all channels that the client is subscribed to."""
        return self.pubsub.is_allowed(client)

    def note_slow(self, client: Client, entry: Any, argv: list[bytes], spent_ns: int) -> None:
        """A command took longer than `slow_ns`: show it in the slow log, the latency monitor, or both."""
        self.latency.note("fast-command" if "fast" in entry.flag_names else "command", spent_ns, self.engine.now_ms)
        if spent_ns > self.slowlog.threshold_ns and not entry.flags & self._skip_slowlog:
            shown = shown_arguments(argv)
            self.slowlog.add(shown, spent_ns, self.engine.now_ms, client.address, client.name, client.db.index)

    def refresh_observer(self, database: Database) -> None:
        """Decide anew who hears of changes in a database; call it when interest in its keys begins or ends."""
        wanted = [function for function in (probe(database) for probe in self.observers) if function is not None]
        if len(wanted) <= 1:
            database.observer = wanted[0] if wanted else None
            return

        def tell_all(changed: Database, key: bytes) -> None:
            for function in wanted:
                function(changed, key)

        database.observer = tell_all

    def database_changed(self, database: Database, other: Database | None = None) -> None:
        """All keys of a database are about to change at once: FLUSHDB, or SWAPDB with `other`."""
        self.blocking.changed_all(database)
        self.watches.changed_all(database, other)
        if other is None:
            self.tracking.flushed()

    @property
    def write_error(self) -> str | None:
        """Why (some) writes are refused, None when they are not."""
        return self.writes.reason

    def reload(self) -> None:
        """Commit what the turn staged so far, then close and open the store with empty caches. Raises StorageError.

        When the commit fails, clients whose commands of this turn were executed are disconnected without a reply:
        what they would be told did not happen.
        """
        try:
            self.engine.commit()
        except StorageError as exc:
            for client in self.clients.values():
                if client.out or client.stream is not None:
                    client.kill()
            self.writes.store_failed(str(exc))
            raise
        self.engine.reload()

    # ---- time

    @property
    def can_reclaim(self) -> bool:
        """Whether dead data waits and may be deleted now."""
        if not self.engine.has_garbage or self.writes.failed is not None or self._rests(self.reclaimer.step):
            return False
        return not self.pacer.holding or self.pacer.least_step > 0

    @property
    def can_evict(self) -> bool:
        """Whether keys are to be evicted and may be deleted now."""
        if self.writes.failed is not None or self.pause_until_ms or self._rests(self.disk_limit.step):
            return False
        return self.disk_limit.wanted_bytes > 0

    @property
    def _next_sweep_ms(self) -> int:
        """When the sweeper has something to do; never while it is off or nothing may be deleted."""
        swept = self.active_expire and self.config.active_expire and not self.engine.expiry_paused
        return self.engine.next_expiry_ms if swept and not self._rests(sweep) else NEVER_MS

    def _rests(self, work: Callable[..., object]) -> bool:
        """Whether background work failed a short while ago."""
        return bool(self._resting) and self._resting.get(work, 0.0) > time.monotonic()

    @property
    def has_work(self) -> bool:
        """Whether `tick` has something to do."""
        deadline_ms = self.blocking.next_deadline_ms
        engine = self.engine
        now_ms = engine.now_ms
        # Every turn asks: the first half of each condition spares it the second one's calls.
        return (
            (engine.has_garbage and self.can_reclaim)
            or (self.disk_limit.wanted_bytes > 0 and self.can_evict)
            or (engine.next_expiry_ms <= now_ms and self._next_sweep_ms <= now_ms)
            or (deadline_ms is not None and deadline_ms <= now_ms)
            or 0 < self.pause_until_ms <= now_ms
            or (self.pacer.holding and self.pacer.due_ms <= now_ms)
        )

    @property
    def next_deadline_ms(self) -> int:
        """When `tick` has to run next, apart from the reclaim."""
        deadline_ms = self.blocking.next_deadline_ms
        due_ms = self._next_sweep_ms
        if deadline_ms is not None and deadline_ms < due_ms:
            due_ms = deadline_ms
        if self.pacer.holding and self.pacer.due_ms < due_ms:
            due_ms = self.pacer.due_ms
        return min(due_ms, self.pause_until_ms) if self.pause_until_ms else due_ms

    def run_after_turn(self) -> None:
        """What commands left to be done once their turn is committed and answered."""
        todo, self.after_turn = self.after_turn, []
        for action in todo:
            action()

    def tick(self, busy: bool) -> None:
        """Background work inside an open turn: little of it when clients are waiting."""
        now_ms = self.engine.now_ms
        self.blocking.expire(now_ms)
        if self.pause_until_ms and now_ms >= self.pause_until_ms:
            self.unpause()
        if self.pacer.holding and not self.pause_until_ms and self.pacer.due_ms <= now_ms:
            self.pacer.release()
        limit = _BUSY_ROWS if busy and not self.compactions.wants_reclaim else _IDLE_ROWS
        start_ns = time.perf_counter_ns()
        if self._next_sweep_ms <= now_ms:
            self._attempt(sweep, self.engine, limit)
        swept_ns = time.perf_counter_ns()
        self.stats.sweep_ns += swept_ns - start_ns
        self.latency.note("expire-cycle", swept_ns - start_ns, now_ms)
        if self.can_evict:
            self._attempt(self.disk_limit.step)
        if self.can_reclaim:
            self._attempt(self.reclaimer.step, limit)
            self.latency.note("reclaim", time.perf_counter_ns() - swept_ns, now_ms)

    def _attempt(self, work: Callable[..., object], *arguments: object) -> None:
        """Do background work. What cannot be read must not end the server: it is logged, and left alone for a while."""
        mark = len(self.engine.journal)
        try:
            work(*arguments)
        except StorageError as exc:
            self.engine.rollback(mark)
            # The sweeper is to look at everything again that it had begun with.
            self.engine.next_expiry_ms = min(self.engine.next_expiry_ms, self.engine.swept_ms)
            self._resting[work] = time.monotonic() + _REST_S
            log.error("background work (%s) failed, and is tried again in %d s: %s", work.__qualname__, _REST_S, exc)

    def pause(self, until_ms: int, pause_all: bool) -> None:
        """Hold back all commands, or those that may write, until a time. Never weakens a pause that is in force."""
        in_force = bool(self.pause_until_ms)
        self.pause_all = pause_all or (in_force and self.pause_all)
        self.pause_until_ms = max(self.pause_until_ms, until_ms)
        self.refresh_fast()

    def unpause(self) -> None:
        """End CLIENT PAUSE; the held requests are looked at after this turn."""
        self.pause_until_ms = 0
        self.refresh_fast()
        self.release_paused()

    def release_paused(self) -> None:
        """Have the held requests looked at again after this turn; some may have to go on waiting."""
        for client in self.paused:
            client.paused = False
            self.wake(client)
        self.paused.clear()
