"""The turn: take what every ready socket sent, execute it, commit once, reply.

One epoll set holds the listeners and all connections. Under load the loop waits in epoll itself for at most a
millisecond, which costs a system call; only when nothing comes does it go to sleep through trio, which costs some tens
of microseconds but lets every other task run. A task per connection would cost that much for every request.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable

import trio

from diskkv.errors import StorageError
from diskkv.resp import reply
from diskkv.server.connection import Connection
from diskkv.server.listeners import Listener, Listeners, accept_all
from diskkv.server.logs import VERBOSE
from diskkv.server.short_way import ShortWay
from diskkv.server.tls import Handshakes, TlsSocket
from diskkv.services.instance import Instance

log = logging.getLogger(__name__)

_READ = select.EPOLLIN
_WRITE = select.EPOLLOUT
_MAX_EVENTS = 1024
_LINGER_S = 0.001
_IDLE_S = 0.1
"""How long the loop sleeps at most: the granularity of the work that has no deadline of its own."""
_YIELD_S = 0.02
"""How long other tasks of the process wait at most while clients keep the loop busy."""
_STREAM_NS = 2_000_000
"""How much of a turn goes into streamed replies, whatever their number: what other clients wait for them."""
_FOREVER_MS = 1 << 62


class Reactor:
    """Owns the epoll set and the connections by file descriptor."""

    def __init__(self, instance: Instance, open_sockets: Listeners | None = None) -> None:
        self.instance = instance
        self.engine = instance.engine
        self.epoll = select.epoll()
        self.connections: dict[int, Connection] = {}
        self.open_sockets = open_sockets or Listeners(instance.config)
        self.handshakes = Handshakes(instance)
        self.listeners: dict[int, Listener] = {}
        self.accepts_fail = False
        """The last attempt to accept a connection failed."""
        self._resting: list[Listener] = []
        self.stopping = False
        self.signalled = False
        """A signal that ends the process has come; set at once, while `stopping` needs a task to run."""
        self.sync_always = False
        self._configure_sync()
        instance.config.on_change("appendfsync", self._configure_sync)
        self._sleep = trio.CancelScope()
        """What `run` sleeps in."""
        self._active: list[Connection] = []
        self._unfinished: list[Connection] = []
        self._streaming: deque[Connection] = deque()
        """Connections that take more of a streamed reply."""
        self._dead: list[Connection] = []
        self._short_way = ShortWay(instance, self._active, self._dead)
        self.heartbeat: Callable[[], None] = lambda: None
        """Called often while the server lives; set by the server."""
        instance.scripts.serve_others = self.serve_others
        self._rows_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        """Written when threads have read rows that parked clients wait for. Each write is an event; nobody reads it."""
        self.epoll.register(self._rows_fd, _READ | select.EPOLLET)
        instance.parking.attach(self._rows_fd, self._has_others)
        self._fetches = instance.engine.reader.fetches

    def _configure_sync(self) -> None:
        self.sync_always = self.instance.config.appendfsync == "always"

    # ---- sockets

    def listen(self, listener: Listener) -> None:
        """Accept connections from a listening, non-blocking socket."""
        self.listeners[listener.fileno()] = listener
        self.epoll.register(listener.fileno(), _READ)

    def stop_listening(self, listener: Listener) -> None:
        """Accept no more connections from a listener, which is still open."""
        del self.listeners[listener.fileno()]
        if listener in self._resting:
            self._resting.remove(listener)
        else:
            self.epoll.unregister(listener.fileno())

    def rest_listener(self, listener: Listener) -> bool:
        """Leave a listener alone that cannot accept, which epoll would report all the time; whether that is news."""
        self.epoll.unregister(listener.fileno())
        self._resting.append(listener)
        is_news = not self.accepts_fail
        self.accepts_fail = True
        return is_news

    def wake_listeners(self) -> None:
        """Have listeners that were left alone tried again."""
        for listener in self._resting:
            self.epoll.register(listener.fileno(), _READ)
        self._resting.clear()

    def adopt(
        self, sock: socket.socket | TlsSocket, peer: str, local: str, kind: type[Connection] = Connection
    ) -> Connection:
        """Serve an accepted, non-blocking socket."""
        connection = self.instance.new_client(lambda instance, ident: kind(instance, ident, sock, peer, local))
        assert isinstance(connection, Connection)
        self.connections[connection.fd] = connection
        self.epoll.register(connection.fd, _READ)
        log.log(VERBOSE, "accepted %s", peer)
        return connection

    def drop(self, connection: Connection) -> None:
        """Close a connection and forget its client."""
        if connection.gone:
            return
        connection.gone = True
        log.log(VERBOSE, "client %d from %s is gone", connection.id, connection.address)
        connection.drop_stream()
        del self.connections[connection.fd]
        self.instance.forget_client(connection)
        self.epoll.unregister(connection.fd)
        connection.sock.close()

    # ---- the loop

    async def run(self) -> None:
        """Serve until `stopping` is set."""
        poll = self.epoll.poll
        slept = time.monotonic()
        slowlog_file = self.instance.slowlog.file
        while not self.stopping:
            busy = self.is_busy
            events = poll(0 if busy else _LINGER_S, _MAX_EVENTS)
            if not events and not busy:
                with trio.move_on_after(self._idle_s()) as self._sleep:
                    await trio.lowlevel.wait_readable(self.epoll.fileno())
                events = poll(0, _MAX_EVENTS)
                slept = time.monotonic()
            if slowlog_file is not None:
                slowlog_file.begin_turn()
            self.turn(events)
            if time.monotonic() - slept > _YIELD_S:
                await trio.lowlevel.checkpoint()
                slept = time.monotonic()

    @property
    def is_busy(self) -> bool:
        """Whether something is left to be done for which no event will come."""
        return bool(self._unfinished or self._streaming or (self._fetches and self.instance.parking.await_rows()))

    def wake_up(self) -> None:
        """Have a turn soon: another task of the process left something to be done in one."""
        self._sleep.cancel()

    def _idle_s(self) -> float:
        """How long nothing has to be done if no client sends anything."""
        instance = self.instance
        if instance.can_reclaim or instance.can_evict:
            return 0.0
        now_ms = time.time_ns() // 1_000_000
        due_ms = instance.next_deadline_ms
        return min(_IDLE_S, max(0.0, (due_ms - now_ms) / 1000)) if due_ms < _FOREVER_MS else _IDLE_S

    def turn(self, events: list[tuple[int, int]]) -> None:
        """One turn over these epoll events."""
        engine = self.engine
        engine.begin(time.time_ns() // 1_000_000)
        short_way = self._short_way
        connections = self.connections
        unfinished, self._unfinished = self._unfinished, []
        parking = self.instance.parking
        if self._fetches or parking.clients:
            self._resume_parked()
        stats = self.instance.stats
        full_at = stats.input_bytes + self.instance.config.turn_max_bytes
        at = 0
        while True:
            at = short_way.take(events, at, connections, full_at)
            if at == len(events) or stats.input_bytes > full_at:
                # What was not looked at is reported again by the next poll.
                break
            fd, event = events[at]
            at += 1
            connection = connections.get(fd)
            if connection is None:
                self._accept(fd)
            elif not self._take(connection, event):
                self._dead.append(connection)
        short_way.execute()
        for connection in unfinished:
            if not connection.gone:
                self._resume(connection)
        if self.instance.has_work:
            self.instance.tick(bool(events))
        if parking.active:
            parking.submit()
        self._finish()
        if parking.active:
            parking.finish_turn()

    def _take(self, connection: Connection, event: int) -> bool:
        """Send and receive by the general way, as far as that is possible; False when the connection ended."""
        if event & _WRITE and not connection.drain():
            return False
        if event & ~_WRITE and not connection.receive():
            return False
        if connection.input_ended:
            self._watch_end(connection)
        if not connection.in_turn:
            connection.in_turn = True
            self._active.append(connection)
        return True

    def _accept(self, fd: int) -> None:
        listener = self.listeners.get(fd)
        if listener is not None:
            accept_all(self, listener)

    def _has_others(self) -> bool:
        return len(self._active) + self._short_way.connections > 1

    def _resume_parked(self) -> None:
        """Have clients go on whose rows are there: the short way, like new requests, when nothing else is up."""
        for client in self.instance.parking.ready():
            assert isinstance(client, Connection)
            if (
                client.in_turn
                or client.is_held
                or client.closing
                or client.backlog
                or client.unsent
                or client.next_request >= len(client.requests)
            ):
                self.instance.wake(client)
            else:
                self._short_way.resume(client)

    def _resume(self, connection: Connection) -> None:
        connection.proceed()
        if not connection.in_turn:
            connection.in_turn = True
            self._active.append(connection)

    def serve_others(self) -> None:
        """In the middle of a turn, while a script runs for long: let other clients ask for its end.

        Dispatch answers BUSY to all but a few commands, and those change no data. What is sent here therefore does not
        wait for the turn's commit. A client that waits for other replies of this turn gets all of them with the commit,
        unless nothing has been staged so far.
        """
        scripts = self.instance.scripts
        self.heartbeat()
        if self.signalled:
            # The task that hears of the signal sets `stopping` when this turn is over.
            scripts.abandon()
            return
        self._leave_short_way()
        if not self.engine.journal:
            for waiting in self._active:
                if waiting.out and not waiting.gone and not self._flush_at_once(waiting):
                    self.drop(waiting)
        for fd, event in self.epoll.poll(0, _MAX_EVENTS):
            connection = self.connections.get(fd)
            if connection is None:
                self._accept(fd)
            elif connection is not scripts.caller and not self._serve_at_once(connection, event):
                self.drop(connection)

    def _leave_short_way(self) -> None:
        """Have all connections but the script's caller go on by the general way, which may be their turn already."""
        for connection in self._short_way.leave():
            if connection.out and self.engine.journal:
                # Messages that others caused in this turn come first, and wait for the commit.
                self._active.append(connection)
            else:
                connection.in_turn = False
            connection.proceed()
            if not connection.in_turn and not self._flush_at_once(connection):
                self.drop(connection)

    def _serve_at_once(self, connection: Connection, event: int) -> bool:
        """Take requests of a connection outside of the turn's order; False when it is to be closed."""
        connection.is_idle = False
        if event & _WRITE and not connection.drain():
            return False
        waits = bool(self.engine.journal) and (connection.in_turn or bool(connection.out))
        if event & ~_WRITE and not connection.receive():
            return False
        if connection.input_ended:
            self._watch_end(connection)
        return waits or self._flush_at_once(connection)

    def _flush_at_once(self, connection: Connection) -> bool:
        if connection.stream is not None:
            return True
        if not connection.flush():
            return False
        if connection.unsent or connection.backlog or connection.watched != _READ:
            self._watch(connection)
        if connection.has_runnable_requests and not connection.in_turn and connection not in self._unfinished:
            self._unfinished.append(connection)
        return True

    def _finish(self) -> None:
        """Commit, then let the replies go."""
        instance = self.instance
        active = self._active
        if instance.scripts.abandoned:
            self._drop_turn()
        if instance.tracking.clients:
            instance.tracking.finish_turn()
        self._take_woken()
        if self.engine.journal:
            start_ns = time.perf_counter_ns()
            try:
                self.engine.commit(self.sync_always)
            except StorageError as exc:
                self._refuse_turn(exc)
            spent_ns = time.perf_counter_ns() - start_ns
            instance.latency.note("commit", spent_ns, self.engine.now_ms)
            instance.pacer.committed(spent_ns)
        self._short_way.finish()
        for connection in active:
            connection.in_turn = False
            if connection.gone:
                continue
            if not connection.flush() or (connection.input_ended and connection.blocked is not None):
                self._dead.append(connection)
                continue
            if connection.unsent or connection.backlog or connection.watched != _READ:
                self._watch(connection)
            connection.is_idle = connection.is_quiet
            if connection.stream is not None:
                self._await_pump(connection)
            elif connection.has_runnable_requests:
                self._unfinished.append(connection)
        active.clear()
        if self._streaming:
            self._pump()
        if self._dead:
            for connection in self._dead:
                self.drop(connection)
            self._dead.clear()
        instance.stats.turns += 1
        if instance.after_turn:
            instance.run_after_turn()

    def _await_pump(self, connection: Connection) -> None:
        """Go on with a streamed reply once the client has taken what was sent of it."""
        if not connection.unsent and not connection.awaits_pump:
            connection.awaits_pump = True
            self._streaming.append(connection)

    def _pump(self) -> None:
        """Go on with streamed replies for a bounded time, one piece of each after the other."""
        streaming = self._streaming
        deadline_ns = time.perf_counter_ns() + _STREAM_NS
        while streaming:
            connection = streaming.popleft()
            connection.awaits_pump = False
            if connection.gone or connection.stream is None:
                continue
            if not connection.pump():
                self._dead.append(connection)
            else:
                self._watch(connection)
                if connection.stream is not None:
                    self._await_pump(connection)
                elif connection.has_runnable_requests:
                    self._unfinished.append(connection)
            if time.perf_counter_ns() > deadline_ns:
                break

    def _take_woken(self) -> None:
        """Clients that got output or were released by others' commands; running their requests may wake more."""
        woken = self.instance.woken
        while woken:
            client = woken.pop()
            if isinstance(client, Connection) and not client.gone and not client.in_turn:
                client.in_turn = True
                self._active.append(client)

    def _watch(self, connection: Connection) -> None:
        wanted = 0 if connection.input_ended or connection.has_enough_input else _READ
        if connection.unsent:
            wanted |= _WRITE
        if wanted != connection.watched:
            connection.watched = wanted
            self.epoll.modify(connection.fd, wanted)

    def _watch_end(self, connection: Connection) -> None:
        """Stop reading from a client that sends nothing more, which epoll would report all the time."""
        connection.watched = _WRITE if connection.unsent else 0
        self.epoll.modify(connection.fd, connection.watched)

    def _drop_turn(self) -> None:
        """The process ends, for which a script had to be stopped: nothing of this turn happened or is answered."""
        log.warning("a script was stopped; nothing of what it and others did at the same time is kept")
        self.engine.rollback(0)
        self._take_woken()
        for connection in [*self._active, *(work[0] for work in self._short_way.round)]:
            connection.out.clear()

    def _refuse_turn(self, exc: StorageError) -> None:
        """The commit failed: nothing of this turn happened, and its replies say so."""
        log.error("cannot write: %s; refusing writes until it works again", exc)
        self.instance.writes.store_failed(str(exc))
        refusal = reply.error(self.instance.writes.refusal())
        for connection in [*self._active, *(work[0] for work in self._short_way.round)]:
            connection.refuse(refusal)
        self.instance.tracking.turn_failed()
        self._take_woken()

    @property
    def unanswered(self) -> list[Connection]:
        """The connections whose requests are not all executed and answered."""
        return [connection for connection in self.connections.values() if connection.requests]

    @property
    def unanswered_pipelines(self) -> list[tuple[Connection, str, int]]:
        """(connection, command, how many) of requests that are executed together."""
        return self._short_way.pipelines()

    def abandon(self) -> None:
        """A bug ended the turn: nothing of it is committed, so none of its replies may leave."""
        for connection in self.connections.values():
            connection.out.clear()
            connection.drop_stream()

    def close(self) -> None:
        """Close every socket."""
        for connection in list(self.connections.values()):
            connection.flush()
            self.drop(connection)
        self.open_sockets.close()
        self.epoll.close()
        self.instance.engine.reader.close()
        os.close(self._rows_fd)
