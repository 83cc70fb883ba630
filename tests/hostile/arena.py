"""An instance in this process that takes random requests and is held to account for each of them.

After every request: the answer is well-formed RESP, no bug was met, and it did not take long. After every round: the
rows on disk agree with each other (`diskkvctl check`), and the instance can be put back to empty.
"""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import hiredis

from diskkv.commands import dispatch
from diskkv.commands.registry import Command, Flag, load_all
from diskkv.config import Config
from diskkv.engine.leveldb import LevelDBStore
from diskkv.engine.memory import MemoryStore
from diskkv.services.client import Client, Message
from diskkv.services.instance import Instance
from diskkv.services.streaming import StreamedReply
from tests.hostile.arguments import LIBRARIES, SCRIPTS, Argv, Vectors
from tools.ctl.check import Checker

_commands = cache(load_all)
_START_MS = 1_700_000_000_000
_HANG_S = 20.0
_SLOW_S = 2.0
"""Both in processor time: what else the machine does is no finding."""
_STREAMED_PIECES = 20
"""Longer streams are closed after so many pieces, as by a client that goes away."""
_ENDS_THE_PROCESS = frozenset({b"SLEEP", b"SEGFAULT", b"PANIC", b"POPULATE"})
_TRANSFERS = frozenset({b"sync", b"psync"})
"""What follows these is an RDB file, not RESP."""
_CONFIGURATION = {
    "hash-max-listpack-entries": b"8",
    "set-max-listpack-entries": b"8",
    "set-max-intset-entries": b"8",
    "zset-max-listpack-entries": b"8",
    "list-max-listpack-size": b"8",
    "stream-node-max-entries": b"5",
    "proto-max-bulk-len": b"1048576",
    "save": b"",
}
"""Small limits, so that every encoding is met, and no value can be large."""
_LARGE = 60
"""Elements of the large collections."""


class Hang(BaseException):
    """A request did not come to an end."""


class Finding(AssertionError):
    """A request was answered wrongly; the message has it."""


class FuzzClient(Client):
    """A client whose output goes through a parser."""

    def __init__(self, instance: Instance, client_id: int) -> None:
        super().__init__(instance, client_id)
        self.address = "127.0.0.1:1"

    @property
    def can_stream(self) -> bool:
        return self.transaction is None and self.blocked is None and self.engine.store.snapshot_scans

    def start_stream(self, streamed: StreamedReply) -> int:
        self.stream = streamed
        return -1


class Arena:
    """One instance with a few clients. `directory`: where the store is; None for the one in memory."""

    def __init__(self, rng: Random, directory: Path | None = None) -> None:
        self.rng = rng
        self.now_ms = _START_MS
        config = Config()
        config.enable_debug_command = "yes"
        if directory is not None:
            config.dir = str(directory)
        self.store: Any = MemoryStore() if directory is None else LevelDBStore(directory / "db")
        self.instance = Instance(config, self.store)
        self.instance.use_commands(_commands(), Flag.PLAIN, Flag.SKIP_SLOWLOG)
        self.instance.login.configure()
        self.vectors = Vectors(rng, _commands())
        self.clients: list[FuzzClient] = []
        self.inputs = 0
        self.outcomes: Counter[str] = Counter()
        self.slowest: tuple[float, Argv] = (0.0, [])
        self.recent: list[Argv] = []
        self._control = self._new_client()
        self._defaults = config.get([b"*"])
        self._parsers: dict[int, hiredis.Reader] = {}

    def _new_client(self) -> FuzzClient:
        client = self.instance.new_client(FuzzClient)
        assert isinstance(client, FuzzClient)
        return client

    # ---- the state between rounds

    def reset(self) -> None:
        """Empty the instance, and put back everything that requests may have changed."""
        instance = self.instance
        for client in self.clients:
            if client.id in instance.clients:
                self._drop(client)
        self.clients.clear()
        instance.unpause()
        instance.woken.clear()
        instance.active_expire = True
        names = [user.name for user in instance.acl.users() if user.name != b"default"]
        for name, value in self._defaults:
            if instance.config.raw(name.decode()) != value:
                with suppress(Exception):
                    instance.config.set([name, value], True)
        control = self._control
        instance.login.reset(control)
        control.user = instance.acl.default_user
        control.authenticated = True
        instance.acl.set_user(b"default", [b"reset", b"on", b"nopass", b"allkeys", b"allchannels", b"+@all"])
        for argv in (
            *([b"ACL", b"DELUSER", name] for name in names),
            *([b"CONFIG", b"SET", name.encode(), value] for name, value in _CONFIGURATION.items()),
            [b"FLUSHALL"],
            *([b"FUNCTION", b"FLUSH"], [b"SCRIPT", b"FLUSH"], [b"ACL", b"LOG", b"RESET"], [b"SLOWLOG", b"RESET"]),
            *([b"LATENCY", b"RESET"], [b"CONFIG", b"RESETSTAT"]),
        ):
            self.control(argv)
        self.reclaim()

    def reclaim(self) -> None:
        """Do all the background work there is."""
        for _ in range(10_000):
            self.instance.engine.begin(self.now_ms)
            if not self.instance.can_reclaim:
                break
            self.instance.tick(False)
            self.instance.engine.commit()

    def control(self, argv: Argv) -> bytes:
        """Execute a request that has to work."""
        client = self._control
        client.closing = False
        self.instance.engine.begin(self.now_ms)
        result = dispatch.execute(client, argv)
        self.instance.engine.commit()
        client.out.clear()
        self.instance.deferred.clear()
        if result.__class__ is not bytes or result.startswith(b"-"):
            raise Finding(f"{argv} -> {result!r}")
        return bytes(result)

    def fill(self) -> None:
        """Make keys of every kind, packed and large, some with a time to live, and gather their payloads."""
        for number, size in enumerate((1, 3, _LARGE)):
            rows = range(size)
            fields = [part for at in rows for part in (b"field:%d" % at, b"%d" % (at * 7))]
            self.control([b"HSET", b"hash:%d" % number, *fields])
            self.control([b"RPUSH", b"list:%d" % number, *(b"member:%d" % at for at in rows)])
            self.control([b"SADD", b"set:%d" % number, *(b"member:%d" % at for at in rows)])
            scored = [part for at in rows for part in (b"%d.5" % at, b"member:%d" % at)]
            self.control([b"ZADD", b"sorted-set:%d" % number, *scored])
            for at in rows:
                self.control([b"XADD", b"stream:%d" % number, b"%d-%d" % (at + 1, at), b"f", b"v%d" % at])
            self.control([b"XGROUP", b"CREATE", b"stream:%d" % number, b"g1", b"0"])
            read = [b"XREADGROUP", b"GROUP", b"g1", b"c1", b"COUNT", b"4", b"STREAMS", b"stream:%d" % number, b">"]
            self.control(read)
            self.control([b"SET", b"string:%d" % number, (b"", b"12345", b"\x0f\xf0ab" * 9000)[number]])
            self.control([b"PFADD", b"hyperloglog:%d" % number, *(b"%d" % at for at in range(size * size))])
            self.control([b"GEOADD", b"geo:%d" % number, *(b"%d" % part for at in rows for part in (at, -at, at))])
        self.control([b"SADD", b"set:3", b"1", b"2", b"3"])
        for code in LIBRARIES[:2]:
            self.control([b"FUNCTION", b"LOAD", b"REPLACE", code])
        for script in SCRIPTS[:8]:
            self.control([b"SCRIPT", b"LOAD", script])
        self.control([b"HEXPIRE", b"hash:1", b"1000", b"FIELDS", b"1", b"field:1"])
        self.control([b"HEXPIRE", b"hash:2", b"1000", b"FIELDS", b"2", b"field:1", b"field:2"])
        self.control([b"EXPIRE", b"list:1", b"100"])
        payloads = []
        for kind in (b"string", b"list", b"set", b"sorted-set", b"hash", b"stream", b"hyperloglog"):
            for number in range(3):
                reply = self.control([b"DUMP", b"%b:%d" % (kind, number)])
                payloads.append(reply[reply.index(b"\r\n") + 2 : -2])
        payloads.append(self.control([b"DUMP", b"set:3"]).split(b"\r\n", 1)[1][:-2])
        payloads.append(self.control([b"FUNCTION", b"DUMP"]).split(b"\r\n", 1)[1][:-2])
        self.vectors.payloads = payloads

    def _refill_clients(self) -> None:
        self.clients = [client for client in self.clients if client.id in self.instance.clients]
        while len(self.clients) < 4:
            client = self._new_client()
            if len(self.clients) % 2:
                client.use_resp(3)
            client.authenticated = True
            client.refresh()
            self.clients.append(client)

    def _drop(self, client: FuzzClient) -> None:
        if client.stream is not None:
            client.stream.close()
            client.stream = None
        self.instance.forget_client(client)
        self._parsers.pop(client.id, None)

    # ---- rounds

    def round(self, inputs: int) -> None:
        """Start from known data, take so many requests, and check what is left."""
        self.reset()
        self.fill()
        self.recent.clear()
        for _ in range(inputs):
            self.one(self.vectors.vector())
        self.settle()

    def settle(self) -> None:
        """Check the rows on disk, before and after the background work is done."""
        self.instance.unpause()
        for _ in range(2):
            self.instance.engine.begin(self.now_ms)
            self.instance.engine.commit()
            checker = Checker(self.store)
            checker.run()
            if checker.problem_count:
                raise Finding(f"{checker.problems}\nafter {self.recent[-30:]}")
            self.reclaim()

    def one(self, argv: Argv) -> list[Any]:
        """Execute a request on one of the clients; what it answered, decoded."""
        if argv[0].upper() == b"DEBUG" and len(argv) > 1 and argv[1].upper() in _ENDS_THE_PROCESS:
            return []
        if argv[0].lower() == b"pfselftest" and self.rng.random() < 0.95:
            # Half a second each would be a quarter of all the time.
            return []
        self._refill_clients()
        client = self.rng.choice(self.clients)
        self.recent.append(argv)
        if len(self.recent) > 4000:
            del self.recent[:2000]
        engine = self.instance.engine
        if self.rng.random() < 0.02:
            self.now_ms += self.rng.choice((1, 1000, 100_000))
        engine.begin(self.now_ms)
        bugs = self.instance.stats.unexpected_errors
        started_s = time.thread_time()
        with _alarm(argv):
            dispatch.execute_batch(client, [argv], 0, 1)
            self._finish_turn()
        spent_s = time.thread_time() - started_s
        if spent_s > self.slowest[0]:
            self.slowest = (spent_s, argv)
        if spent_s > _SLOW_S:
            raise Finding(f"took {spent_s:.1f} s: {shown(argv)}")
        self.inputs += 1
        if self.instance.stats.unexpected_errors != bugs:
            raise Finding(f"a bug was met by {shown(argv)}")
        if argv[0].lower() in _TRANSFERS:
            self._drop(client)
            client.out.clear()
        replies = self._replies(client, argv)
        for other in self.clients:
            if other.closing or other.blocked is not None or other.paused:
                self._drop(other)
        if self.instance.pause_until_ms:
            self.instance.unpause()
        return replies

    def _finish_turn(self) -> None:
        """What the reactor does at the end of a turn."""
        instance = self.instance
        if instance.tracking.clients:
            instance.tracking.finish_turn()
        instance.woken.clear()
        instance.engine.commit()
        if instance.has_work:
            instance.engine.begin(self.now_ms)
            instance.tick(True)
            instance.engine.commit()
        if instance.after_turn:
            instance.run_after_turn()

    def _replies(self, client: FuzzClient, argv: Argv) -> list[Any]:
        """Decode what all clients got; the replies that are no messages of `client`."""
        own: list[Any] = []
        for receiver in self.clients:
            if not receiver.out and receiver.stream is None:
                continue
            items = [item for item in receiver.out if item.__class__ is not Message]
            data = b"".join(receiver.out)
            receiver.out.clear()
            streamed = receiver.stream
            ended = True
            if streamed is not None:
                ended = False
                for _ in range(_STREAMED_PIECES):
                    piece = streamed.next_piece()
                    if piece is None:
                        ended = True
                        break
                    data += piece
                streamed.close()
                receiver.stream = None
            decoded = decode(data) if ended else []
            if decoded is None:
                raise Finding(f"malformed reply {data[:300]!r} to {shown(argv)}")
            if receiver is client:
                own = decoded
                if items and b"internal error" in items[0]:
                    raise Finding(f"internal error for {shown(argv)}")
        self.outcomes["error" if own and isinstance(own[0], hiredis.ReplyError) else "reply" if own else "nothing"] += 1
        return own


def decode(data: bytes) -> list[Any] | None:
    """The replies that the bytes consist of; None when they are not RESP."""
    reader = hiredis.Reader(notEnoughData=Ellipsis, errors="surrogateescape")
    reader.feed(data)
    found = []
    try:
        while (reply := reader.gets()) is not Ellipsis:
            found.append(reply)
    except hiredis.ProtocolError:
        return None
    return None if reader.has_data() else found


def shown(argv: Argv) -> str:
    """A request for a message: all of it, unless it is very long."""
    text = repr(argv)
    return text if len(text) < 20_000 else text[:20_000] + "..."


@contextmanager
def _alarm(argv: Argv) -> Iterator[None]:
    def ring(number: int, frame: object) -> None:
        raise Hang(shown(argv))

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, _HANG_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def entries() -> list[Command]:
    """Every command and subcommand."""
    return [entry for top in _commands().values() for entry in (top, *top.subcommands.values())]
