"""One client connection: a non-blocking socket, the parser before it, the unsent replies behind it.

Nothing here is async: the reactor calls `receive` when the socket is readable and `flush` after the turn's commit.
"""

from __future__ import annotations

import logging
import select
import socket
from collections import deque
from typing import TYPE_CHECKING

from diskkv.commands.dispatch import execute_batch
from diskkv.errors import StorageError
from diskkv.resp.parser import RequestParser
from diskkv.server.plain import is_raw, receiver, transmitter
from diskkv.services.client import Client, Message
from diskkv.services.streaming import StreamedReply

if TYPE_CHECKING:
    from diskkv.server.tls import TlsSocket
    from diskkv.services.instance import Instance

log = logging.getLogger(__name__)

_RECEIVE_BYTES = 64 * 1024
_RECEIVE_MAX_BYTES = 4 << 20
_TURN_COMMANDS = 2048
"""More of one connection's pipeline waits for the next turn, so that others get theirs."""
_AHEAD = 64
"""For so many requests behind one that waits for rows, theirs are fetched too."""
_SEND_BYTES = 4 << 20
_STALL_BYTES = 4 << 20
"""While more than this is unsent, a connection's further requests wait (in their received form)."""
_UNAUTHENTICATED_INPUT_BYTES = 1 << 20
_UNAUTHENTICATED_OUTPUT_BYTES = 1024
"""Who is not logged in cannot make the server hold more than this; the second is Redis' limit."""
_STREAM_STALL_MS = 600_000
"""A client that takes nothing of a streamed reply for so long is disconnected: its scan keeps deleted data on disk."""


class Connection(Client):
    """A client behind a socket."""

    __slots__ = (
        "awaits_pump",
        "backlog",
        "backlog_bytes",
        "behind_stream",
        "behind_stream_bytes",
        "gone",
        "in_turn",
        "input_ended",
        "is_idle",
        "is_raw",
        "over_soft_limit_since_ms",
        "parser",
        "receive_plain",
        "requests",
        "sock",
        "stream_at",
        "stream_progress_ms",
        "transmit",
        "unsent",
        "unsent_bytes",
        "unsent_message_bytes",
        "watched",
    )

    def __init__(
        self, instance: Instance, client_id: int, sock: socket.socket | TlsSocket, peer: str, local: str
    ) -> None:
        super().__init__(instance, client_id)
        self.sock = sock
        self.fd = sock.fileno()
        self.address = peer
        self.local_address = local
        self.parser = RequestParser(instance.config.proto_max_bulk_len)
        self.receive_plain = receiver(sock)
        self.transmit = transmitter(sock)
        self.is_raw = is_raw(sock)
        """The compiled part may receive and send by the descriptor alone."""
        self.is_idle = False
        """Nothing is under way: what arrives next may take the reactor's short way."""
        self.requests: list[list[bytes]] = []
        self.backlog: deque[bytes] = deque()
        """Received but not parsed, while earlier requests cannot run yet."""
        self.backlog_bytes = 0
        self.unsent: deque[bytes | memoryview] = deque()
        self.unsent_bytes = 0
        self.behind_stream: list[bytes] = []
        """Messages that came while a reply is streamed, and have to wait for its end."""
        self.behind_stream_bytes = 0
        self.stream_at = -1
        """In the turn that began `stream`: its place in `out`."""
        self.stream_progress_ms = 0
        self.awaits_pump = False
        """Already on the reactor's list of streams to go on with."""
        self.over_soft_limit_since_ms = 0
        self.unsent_message_bytes = 0
        """How much of what could not be sent at once are messages, which the client did not ask for one by one."""
        self.watched: int = select.EPOLLIN
        """The events that the reactor wants to hear of."""
        self.in_turn = False
        """Already on the reactor's list of connections to flush."""
        self.input_ended = False
        """The client sends nothing more, while requests or replies of it are left."""
        self.gone = False
        """The socket is dead: no reply can be sent any more."""

    def refresh(self) -> None:
        super().refresh()
        parser = getattr(self, "parser", None)
        if parser is not None:
            parser.authenticated = self.authenticated

    # ---- input

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is under way: no request unfinished, nothing unsent, no reason to wait."""
        return (
            self.next_request >= len(self.requests)
            and not self.backlog
            and not self.unsent
            and not self.out
            and self.parser.is_clean
            and self.authenticated
            and not self.closing
            and not self.is_held
        )

    def receive(self) -> bool:
        """Take what the socket has and execute what can be; False when the connection ended."""
        wanted = self.parser.wanted_bytes
        try:
            data = self.sock.recv(_RECEIVE_BYTES if wanted <= _RECEIVE_BYTES else min(wanted, _RECEIVE_MAX_BYTES))
        except (BlockingIOError, InterruptedError):
            return True
        except OSError:
            return False
        return self.take(data) if data else self._end_input()

    def take(self, data: bytes) -> bool:
        """Execute what was received, as far as that can be; False when the connection is to be closed."""
        instance = self.instance
        instance.stats.input_bytes += len(data)
        self.received_bytes += len(data)
        self.active_ms = self.engine.now_ms
        if self.closing:
            return True
        # What was held back comes first, also when it is held no longer and waits for its turn.
        if self.backlog or self.next_request < len(self.requests) or self.is_held:
            self.backlog.append(data)
            self.backlog_bytes += len(data)
        else:
            self.requests = self.parser.feed(data)
            self.next_request = 0
            self.proceed()
        limit_bytes = instance.config.client_query_buffer_limit
        if not self.authenticated:
            limit_bytes = min(limit_bytes, _UNAUTHENTICATED_INPUT_BYTES)
        if self.input_bytes > limit_bytes:
            instance.stats.input_buffer_limit_disconnections += 1
            return False
        return True

    def _end_input(self) -> bool:
        """The client shut its side down: what it sent is executed and answered all the same; False when that is done.

        A client that waits for others is given up, as its connection may be closed altogether.
        """
        left = self.next_request < len(self.requests) or self.backlog or self.unsent or self.stream is not None
        if self.input_ended or not left or self.blocked is not None:
            return False
        self.input_ended = True
        # Closes the connection when its turn comes.
        self.backlog.append(b"")
        return True

    @property
    def is_held(self) -> bool:
        """Whether requests have to wait for something else than their turn."""
        return (
            self.blocked is not None
            or self.awaits_rows
            or self.paused
            or self.unsent_bytes > _STALL_BYTES
            or self.stream is not None
        )

    @property
    def has_enough_input(self) -> bool:
        """Whether nothing more is to be read for now: requests have to wait, and many do.

        What the client goes on sending then stays in the kernel, and before long with the client.
        """
        return self.backlog_bytes > self.instance.memory_budget.input_limit_bytes and self.is_held

    @property
    def has_runnable_requests(self) -> bool:
        """Whether requests are left that could run in another turn."""
        return (self.next_request < len(self.requests) or bool(self.backlog)) and not self.is_held and not self.closing

    can_park = True

    def following(self, argv: list[bytes]) -> list[list[bytes]]:
        requests = self.requests
        for at in range(self.next_request, len(requests)):
            if requests[at] is argv:
                return requests[at + 1 : at + 1 + _AHEAD]
        return []

    def proceed(self) -> None:
        """Execute requests, as many as fit in one turn."""
        left = _TURN_COMMANDS
        while not self.closing and not self.is_held:
            requests = self.requests
            at = self.next_request
            if at < len(requests):
                self.next_request = execute_batch(self, requests, at, min(len(requests), at + left))
                done = self.next_request - at
                if done:
                    left -= done
                    self.commands_run += done
                    self.last_request = requests[self.next_request - 1][0]
                if self.next_request < len(self.requests):
                    return
            elif self.parser.error is not None:
                self._refuse(str(self.parser.error))
            elif not self.backlog:
                self.requests = []
                self.next_request = 0
                return
            elif left <= 0:
                return
            else:
                data = self.backlog.popleft()
                self.backlog_bytes -= len(data)
                if not data:
                    self.closing = True
                    return
                self.requests = self.parser.feed(data)
                self.next_request = 0

    def _refuse(self, message: str) -> None:
        shown = message.replace("\r", " ").replace("\n", " ")
        self.out.append(f"-ERR Protocol error: {shown}\r\n".encode("latin-1"))
        self.closing = True

    @property
    def input_bytes(self) -> int:
        return self.backlog_bytes + self.parser.size_bytes

    # ---- output

    def flush(self) -> bool:
        """Send what is there, as far as the socket takes it; False when the connection is to be closed."""
        out = self.out
        if self.stream is not None:
            self._put_behind_stream()
        if out:
            data = b"".join(out) if len(out) > 1 else out[0]
            if not self.unsent:
                try:
                    sent = self.sock.send(data)
                except (BlockingIOError, InterruptedError):
                    sent = 0
                except OSError:
                    out.clear()
                    return False
                self.instance.stats.output_bytes += sent
                self.sent_bytes += sent
                if sent == len(data):
                    out.clear()
                    return not self.closing or self.stream is not None
                self.unsent.append(memoryview(data)[sent:])
                self.unsent_bytes = len(data) - sent
            else:
                self.unsent.append(data)
                self.unsent_bytes += len(data)
            self.unsent_message_bytes += sum(len(item) for item in out if item.__class__ is Message)
            out.clear()
            return self.is_within_limits(self.engine.now_ms)
        if self.stream is not None:
            return self.is_within_limits(self.engine.now_ms)
        return bool(self.unsent) or not self.closing

    def drain(self) -> bool:
        """The socket takes output again: send more of it; False when the connection is to be closed."""
        unsent = self.unsent
        budget = _SEND_BYTES
        while unsent and budget > 0:
            try:
                sent = self.sock.send(unsent[0])
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                return False
            self.instance.stats.output_bytes += sent
            self.sent_bytes += sent
            self.unsent_bytes -= sent
            budget -= sent
            if sent == len(unsent[0]):
                unsent.popleft()
            else:
                unsent[0] = memoryview(unsent[0])[sent:]
        if budget < _SEND_BYTES:
            self.stream_progress_ms = self.engine.now_ms
        if not unsent:
            self.unsent_message_bytes = 0
            return not self.closing or self.stream is not None
        return True

    def is_within_limits(self, now_ms: int) -> bool:
        """Whether the unsent output is within client-output-buffer-limit.

        Messages of MONITOR and of tracking come unasked, as those of channels do: the limits of these hold for them.
        """
        limits = self.instance.config.client_output_buffer_limit
        hard_bytes, soft_bytes, soft_s = limits[self.kind]
        size = self.unsent_bytes
        if not self.authenticated and size > _UNAUTHENTICATED_OUTPUT_BYTES:
            self.instance.stats.output_buffer_limit_disconnections += 1
            return False
        message_bytes = self.unsent_message_bytes + self.behind_stream_bytes
        if self.stream is not None:
            size += self.behind_stream_bytes
            if self.unsent and now_ms - self.stream_progress_ms > _STREAM_STALL_MS:
                log.warning("client %d took nothing of a long reply for %d s", self.id, _STREAM_STALL_MS // 1000)
                return False
        if message_bytes and not self.subscriptions and not hard_bytes and not soft_bytes:
            hard_bytes, soft_bytes, soft_s = limits["pubsub"]
            size = min(size, message_bytes)
        if hard_bytes and size > hard_bytes:
            self.instance.stats.output_buffer_limit_disconnections += 1
            return False
        if soft_bytes and size > soft_bytes:
            if not self.over_soft_limit_since_ms:
                self.over_soft_limit_since_ms = now_ms
            elif now_ms - self.over_soft_limit_since_ms > soft_s * 1000:
                self.instance.stats.output_buffer_limit_disconnections += 1
                return False
        else:
            self.over_soft_limit_since_ms = 0
        return True

    @property
    def output_bytes(self) -> int:
        return self.unsent_bytes + self.behind_stream_bytes + sum(map(len, self.out))

    def refuse(self, refusal: bytes) -> None:
        """The turn failed: every reply of it becomes `refusal`, and messages are dropped."""
        if self.stream_at >= 0:
            self.out.insert(self.stream_at, refusal)
            self.drop_stream()
        self.out[:] = [refusal for item in self.out if item.__class__ is not Message]

    def kill(self) -> None:
        self.unsent.clear()
        self.unsent_bytes = 0
        self.drop_stream()
        super().kill()

    # ---- replies that are made while they are sent

    @property
    def can_stream(self) -> bool:
        # A blocked client is answered by whoever changed its key, which takes whole replies only.
        return self.transaction is None and self.blocked is None and self.engine.store.snapshot_scans

    def start_stream(self, streamed: StreamedReply) -> int:
        self.stream = streamed
        self.stream_at = len(self.out)
        self.stream_progress_ms = self.engine.now_ms
        return -1

    def _put_behind_stream(self) -> None:
        """Leave in `out` what comes before the stream, which nothing does once its turn has ended."""
        out = self.out
        at = max(self.stream_at, 0)
        self.stream_at = -1
        if len(out) > at:
            self.behind_stream_bytes += sum(map(len, out[at:]))
            self.behind_stream += out[at:]
            del out[at:]

    def pump(self) -> bool:
        """Send the next piece of the stream; False when the connection is to be closed. Nothing may be unsent.

        A stream that cannot go on (the store was closed, or cannot be read) ends the connection: the reply has begun,
        and nothing but its end can tell the client that it will not be complete.
        """
        try:
            piece = self.stream.next_piece()
        except StorageError as exc:
            log.error("ending client %d in the middle of a reply: %s", self.id, exc)
            return False
        except Exception:
            # The boundary where a bug in one command must not end the server.
            log.exception("bug: ending client %d in the middle of a reply", self.id)
            return False
        if piece is None:
            behind = self.behind_stream
            self.drop_stream()
            self.out[:0] = behind
            return self.flush()
        self.active_ms = self.engine.now_ms
        if not piece:
            return True
        self.unsent.append(piece)
        self.unsent_bytes += len(piece)
        return self.drain() and self.is_within_limits(self.engine.now_ms)

    def drop_stream(self) -> None:
        """Give up what was not sent yet of a streamed reply, if there is one, and what waits behind it."""
        if self.stream is not None:
            self.stream.close()
            self.stream = None
            self.stream_at = -1
            self.behind_stream = []
            self.behind_stream_bytes = 0

    def is_connected(self) -> bool:
        if self.closing or self.gone:
            return False
        # Not a peek at the data: the end of the stream may lie behind requests that wait to be read.
        poller = select.poll()
        poller.register(self.fd, select.POLLRDHUP)
        return not poller.poll(0)
