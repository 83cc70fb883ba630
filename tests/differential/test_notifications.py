"""Random commands on both servers; after each one the keyspace events that it caused are the same in the same order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import pytest
from hypothesis.stateful import initialize

from tests.differential import strategies
from tests.differential.examples import split_words
from tests.harness import servers
from tests.harness.compare import show
from tests.harness.grammar import Argv, ArgvStrategy
from tests.harness.statemachine import DifferentialMachine, machine_settings
from tests.harness.wire import Reply, Simple, Wire

assert strategies

# Commands with hundreds of members are drawn on purpose.
pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")

# It chooses at random.
_NOT_COMPARED = frozenset({b"SPOP"})


class Notifications(DifferentialMachine):
    groups = ("base", "generic", "string", "hash", "list", "set", "sorted-set", "bitmap", "geo", "hyperloglog")
    subject_options: ClassVar[Sequence[str]] = ("--notify-keyspace-events", "KEAnm")
    reference_options: ClassVar[Sequence[str]] = ("--notify-keyspace-events", "KEAnm")
    most_restarts = 0

    def __init__(self) -> None:
        super().__init__()
        self.listeners: list[Wire] = []

    @initialize()
    def listen(self) -> None:
        """Subscribe to all events on both servers."""
        self.listeners = [server.connect() for server in (self.subject, self.reference)]
        for wire in self.listeners:
            assert wire.call("PSUBSCRIBE", "__key*__:*") == [b"psubscribe", b"__key*__:*", 1]

    @classmethod
    def any_command(cls) -> ArgvStrategy:
        return super().any_command().filter(lambda argv: argv[0].upper() not in _NOT_COMPARED)

    def run(self, connection: int, argv: Argv) -> None:
        self._compare_events("the commands before")
        super().run(connection, argv)
        self._compare_events(show(argv))

    def _compare_events(self, cause: str) -> None:
        if self.listeners:
            mine, theirs = self._events()
            while mine and theirs and mine[0] == theirs[0]:
                del mine[0], theirs[0]
            assert not mine and not theirs, (
                f"of {cause} the events behind the common ones\n{show_events(mine)}\n"
                f"the reference\n{show_events(theirs)}"
            )

    def _events(self) -> list[list[Reply]]:
        """What came since the last time, on both servers, without expiry: each server has its own time for that."""
        found = []
        for wire in self.listeners:
            wire.send("PING")
            events = []
            while (reply := wire.read_any()) != [b"pong", b""]:
                channel, message = reply[2:]
                if b"expired" not in (message, channel.partition(b"__:")[2]):
                    events.append([channel, message])
            found.append(events)
        return found

    def teardown(self) -> None:
        for wire in self.listeners:
            wire.close()
        super().teardown()


def show_events(events: list[list[bytes]]) -> str:
    """Channels and messages, one a line."""
    return "\n".join(f"  {channel!r} {message!r}" for channel, message in events)


TestNotifications = Notifications.TestCase
TestNotifications.settings = machine_settings()


def test_the_listener_hears_of_events() -> None:
    """The counterpart, which shows that the machine compares something."""
    for server in (servers.subject(Notifications.subject_options), servers.reference(Notifications.reference_options)):
        with server.connect() as listener, server.connect() as wire:
            listener.call("PSUBSCRIBE", "__keyevent@0__:*")
            assert wire.call("FLUSHALL") == Simple(b"OK")
            assert wire.call("SET", "k", "v") == Simple(b"OK")
            assert listener.read_any()[2:] == [b"__keyevent@0__:new", b"k"]
            assert listener.read_any()[2:] == [b"__keyevent@0__:set", b"k"]


LOOKUPS = r"""
PFCOUNT a
PFCOUNT a b
PFMERGE d a b
BITFIELD q GET u8 0
BITFIELD q SET u8 0 1
BITFIELD_RO q GET u8 0
BITFIELD q2 GET u8 0
BITFIELD_RO q2 GET u8 0
BITCOUNT a1
BITPOS a1 1
BITOP AND d a1 b1
GETBIT a1 1
SETBIT sb 1 0
GEOPOS g a
GEODIST g a b
GEOSEARCH g FROMLONLAT 1 1 BYRADIUS 1 m
GEOSEARCHSTORE g2 g FROMLONLAT 1 1 BYRADIUS 1 m
GEORADIUS g 1 1 1 m
GEORADIUS g 1 1 1 m STORE g3
OBJECT ENCODING no
OBJECT FREQ no
DUMP no
SORT no
SORT no STORE x
LCS a1 b1
SUBSTR no 0 1
GETRANGE no 0 1
GETEX no
GETEX no EX 10
GETDEL no
GETSET gs 1
SET st 1 GET
HGETDEL no FIELDS 1 f
HGETEX no FIELDS 1 f
HGETEX no EX 10 FIELDS 1 f
HTTL no FIELDS 1 f
HEXPIRE no 10 FIELDS 1 f
HRANDFIELD no
HSCAN no 0
SSCAN no 0
ZSCAN no 0
SINTER a1 b1
SINTERCARD 2 a1 b1
SDIFF a1 b1
SUNION a1 b1
SUNIONSTORE d a1 b1
SINTERSTORE d a1 b1
SDIFFSTORE d a1 b1
SMOVE a1 b1 x
ZUNION 2 a1 b1
ZINTER 2 a1 b1
ZDIFF 2 a1 b1
ZUNIONSTORE d 2 a1 b1
ZINTERCARD 2 a1 b1
ZRANGESTORE d a1 0 -1
ZRANDMEMBER no
ZRANK no a
ZPOPMIN no
ZMPOP 1 no MIN
LPOS no a
LMPOP 1 no LEFT
LPOP no
LMOVE no b LEFT LEFT
LINSERT no BEFORE a b
LSET no 0 a
LPUSHX no a
XRANGE no - +
XLEN no
XINFO STREAM no
XPENDING no g
XADD no NOMKSTREAM * a b
XDEL no 1-1
XGROUP CREATE no g $
XGROUP CREATE xs g $ MKSTREAM
XREADGROUP GROUP g c STREAMS xs >
XACK no g 1-1
XTRIM no MAXLEN 1
XSETID no 1-1
COPY no d
RENAME no d
MOVE no 1
EXPIRE no 1
PERSIST no
TTL no
TYPE no
TOUCH no
EXISTS no no
EXPIRETIME no
MEMORY USAGE no
STRLEN no
MGET a1 b1
KEYS *
SCAN 0
RANDOMKEY
SPOP no
SRANDMEMBER no
SMISMEMBER no a
DEL no
RESTORE rr 0 "\x00\x02hi\x09\x00\xb1\xb2\x04\x27\xae\x1a\x0b\xd6"
SORT_RO no
SORT srt BY x
"""

CHANGES = r"""
APPEND ap x
SETRANGE sr 0 ""
SETRANGE sr 0 x
INCRBYFLOAT ibf 1
HINCRBY hi f 1
HSETNX hi2 f 1
HSETEX hse FIELDS 1 f v
HSETEX hse EX 100 FIELDS 1 f v
HSETEX hse3 PXAT 1 FIELDS 1 f v
HPEXPIRE hse 100000 FIELDS 1 f
HPEXPIRE hse -1 FIELDS 1 f
HPERSIST hi FIELDS 1 f
HDEL hi f
PFADD pf
PFADD pf a
PFADD pf a
SET k v PX 100000
GETEX k PERSIST
GETEX k PXAT 1
SETEX k 100 v
EXPIRE k -1
MSETNX k 1 k1 2
MSET k 1 k1 2
RENAME k k1
COPY k1 k2
COPY k1 k2 REPLACE
COPY k1 k2 DB 1
MOVE k1 1
MOVE k2 1
SINTERSTORE k2 nope
ZADD z 1 a
ZADD z 1 a
ZADD z 2 a
ZADD z INCR 2 a
ZINCRBY z 1 a
ZREM z a
ZADD z 1 a 2 b 3 c
ZREMRANGEBYRANK z 0 0
ZPOPMAX z
ZMPOP 1 z MIN
RPUSH l a b c
LTRIM l 1 1
LTRIM l 5 5
RPUSH l a b c
LREM l 0 zz
LREM l 0 a
LSET l 0 q
LINSERT l BEFORE q w
LMOVE l l LEFT RIGHT
LMOVE l l3 LEFT RIGHT
LMPOP 1 l LEFT COUNT 9
RPOPLPUSH l3 l4
SADD s a b
SADD s a
SMOVE s s2 a
SMOVE s s2 zz
SREM s b
SPOP s2
BITOP NOT a2 k1
SETBIT bb 1 1
SETBIT bb 1 1
BITFIELD bb SET u8 0 5 INCRBY u8 0 1
SORT s STORE srt2
RPUSH srt3 1 2
SORT srt3 STORE srt2
SORT nope STORE srt2
XADD x 1-1 a b
XADD x MAXLEN 1 2-1 a b
XDEL x 1-1
XDEL x 2-1
XTRIM x MAXLEN 0
XGROUP CREATE x g 0
XGROUP CREATECONSUMER x g c
XGROUP DELCONSUMER x g c
XGROUP SETID x g 0
XADD x 3-1 a b
XREADGROUP GROUP g d COUNT 1 STREAMS x >
XCLAIM x g e 0 3-1
XAUTOCLAIM x g e2 0 0
XACK x g 3-1
XGROUP DESTROY x g
XSETID x 9-9
GEOADD geo 1 1 a
GEOADD geo 1 1 a
GEOSEARCHSTORE gs2 geo FROMLONLAT 1 1 BYRADIUS 1 m
GEOSEARCHSTORE gs2 geo FROMLONLAT 9 9 BYRADIUS 1 m
GEORADIUS geo 1 1 1 m STOREDIST gs3
FLUSHDB
SWAPDB 0 1
"""


@pytest.mark.parametrize("table", [LOOKUPS, CHANGES], ids=["lookups", "changes"])
def test_events_of_every_command(table: str) -> None:
    """Each line's command causes the same events on both servers."""
    sides = []
    for server in (servers.subject(Notifications.subject_options), servers.reference(Notifications.reference_options)):
        with server.connect() as listener, server.connect() as wire:
            assert wire.call("FLUSHALL") == Simple(b"OK")
            listener.call("PSUBSCRIBE", "__keyevent@*__:*")
            sides.append([(line, _cause(wire, listener, line)) for line in table.strip().splitlines()])
    different = [
        f"{line}\n  subject   {mine}\n  reference {theirs}"
        for (line, mine), (_, theirs) in zip(*sides, strict=True)
        if mine != theirs
    ]
    assert not different, "\n".join(different)


def _cause(wire: Wire, listener: Wire, line: str) -> list[str]:
    """The events that a command causes, as "name key"."""
    wire.call(*split_words(line))
    listener.send("PING")
    events = []
    while (reply := listener.read_any()) != [b"pong", b""]:
        events.append(f"{reply[2].decode().partition('__:')[2]} {reply[3].decode()}")
    return events
