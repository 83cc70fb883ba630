"""XREAD and XREADGROUP, blocking and not."""

from __future__ import annotations

from typing import Any

from diskkv.commands import dispatch
from diskkv.services.client import Client
from tests.commands.session import Session, show


class Waiting(Session):
    """A session with a second client that can block."""

    def __init__(self, resp: int = 2) -> None:
        super().__init__(resp)
        self.other: Client = self.instance.new_client()
        self.other.use_resp(resp)

    def call(self, *argv: bytes) -> bytes:
        """As in a real turn, those who wait are served before it is committed."""
        self.engine.begin(self.now_ms)
        result = dispatch.execute(self.client, list(argv))
        assert isinstance(result, bytes)
        self.instance.blocking.serve(self.engine.databases)
        self.engine.commit()
        return result

    def wait(self, line: str) -> Any:
        """Send a request of the other client; None when it blocks, else the reply."""
        self.engine.begin(self.now_ms)
        result = dispatch.execute(self.other, [word.encode() for word in line.split()])
        self.engine.commit()
        return None if result is None else show(result)

    def served(self) -> str | None:
        """What the other client got meanwhile."""
        got, self.other.out = self.other.out, []
        return show(b"".join(got)) if got else None


def test_reading_several_streams() -> None:
    session = Session()
    session.check(
        """
        XADD x 1-0 a 1 -> "1-0"
        XADD x 2-0 a 2 -> "2-0"
        XADD y 5-0 b 3 -> "5-0"
        XREAD STREAMS x y 1-0 0 -> [["x", [["2-0", ["a", "2"]]]], ["y", [["5-0", ["b", "3"]]]]]
        XREAD COUNT 1 STREAMS x 0 -> [["x", [["1-0", ["a", "1"]]]]]
        XREAD COUNT -1 STREAMS x 1 -> [["x", [["2-0", ["a", "2"]]]]]
        XREAD STREAMS x missing $ 0 -> nil
        XREAD STREAMS x + -> [["x", [["2-0", ["a", "2"]]]]]
        XREAD STREAMS missing + -> nil
        XREAD STREAMS x y 0 -> ERR Unbalanced 'xread' list of streams: for each stream key an ID, '+', or '$' must be specified.
        XREAD COUNT 1 BLOCK 5 -> ERR syntax error
        XREAD BLOCK -1 STREAMS x 0 -> ERR timeout is negative
        XREAD BLOCK x STREAMS x 0 -> ERR timeout is not an integer or out of range
        XREAD BLOCK 9223372036854775807 STREAMS x 0 -> ERR timeout is out of range
        XREAD NOACK STREAMS x 0 -> ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.
        XREAD GROUP g c STREAMS x 0 -> ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.
        """  # noqa: E501 - replies are one line
    )
    assert session.run("XREAD STREAMS x >").startswith("ERR The > ID can be specified only when calling XREADGROUP")
    session.client.use_resp(3)
    assert session.run("XREAD STREAMS x 1") == '{"x": [["2-0", ["a", "2"]]]}'
    assert session.run("XREAD STREAMS x 2") == "nil"


def test_a_blocked_reader_gets_what_is_added() -> None:
    session = Waiting()
    session.run("XADD x 1-0 a 1")
    assert session.wait("XREAD BLOCK 0 STREAMS y x $ $") is None
    session.run("XDEL x 1-0")
    session.run("XGROUP CREATE x g 0")
    assert session.served() is None
    session.run("XADD x 2-0 a 2")
    assert session.served() == '[["x", [["2-0", ["a", "2"]]]]]'
    assert session.other.blocked is None


def test_the_end_of_a_stream_is_that_when_the_command_came() -> None:
    session = Waiting()
    session.run("XADD x 5-0 a 1")
    for text in ("$", "5", "4-18446744073709551615"):
        session.run("DEL x")
        session.run("XADD x 5-0 a 1")
        session.run("XSETID x 5-0")
        if text.startswith("4"):
            session.run("XDEL x 5-0")
        assert session.wait(f"XREAD BLOCK 0 STREAMS x {text}") is None
        session.run("XADD x 6-0 a 2")
        assert session.served() == '[["x", [["6-0", ["a", "2"]]]]]'


def test_a_blocked_reader_times_out() -> None:
    session = Waiting()
    assert session.wait("XREAD BLOCK 100 STREAMS x $") is None
    session.now_ms += 99
    session.instance.blocking.expire(session.now_ms)
    assert session.served() is None
    session.now_ms += 1
    session.instance.blocking.expire(session.now_ms)
    assert session.served() == "nil"


def test_nothing_blocks_in_a_transaction() -> None:
    session = Session()
    session.check(
        """
        XGROUP CREATE x g $ MKSTREAM -> OK
        MULTI -> OK
        XREAD BLOCK 0 STREAMS x $ -> QUEUED
        XREADGROUP GROUP g c BLOCK 0 STREAMS x > -> QUEUED
        EXEC -> [nil, nil]
        """
    )


def test_blocked_group_readers_share() -> None:
    session = Waiting()
    third = session.instance.new_client()
    session.run("XGROUP CREATE x g $ MKSTREAM")
    assert session.wait("XREADGROUP GROUP g alice BLOCK 0 STREAMS x >") is None
    first, session.other = session.other, third
    assert session.wait("XREADGROUP GROUP g bob BLOCK 0 STREAMS x >") is None
    session.run("XADD x 1-0 a 1")
    assert session.served() is None
    session.run("XADD x 2-0 a 2")
    assert session.served() == '[["x", [["2-0", ["a", "2"]]]]]'
    session.other = first
    assert session.served() == '[["x", [["1-0", ["a", "1"]]]]]'
    assert session.run("XPENDING x g") == '[2, "1-0", "2-0", [["alice", "1"], ["bob", "1"]]]'


def test_a_blocked_group_reader_hears_that_the_group_is_gone() -> None:
    gone = "NOGROUP No such key 'x' or consumer group 'g' in XREADGROUP with GROUP option"
    for line, expected in (
        ("XGROUP DESTROY x g", gone),
        ("DEL x", gone),
        ("FLUSHALL", gone),
        ("SET x v", "WRONGTYPE Operation against a key holding the wrong kind of value"),
    ):
        session = Waiting()
        session.run("XGROUP CREATE x g $ MKSTREAM")
        assert session.wait("XREADGROUP GROUP g alice BLOCK 0 STREAMS x >") is None
        session.run(line)
        assert session.served() == expected


def test_reading_through_a_group() -> None:
    session = Session()
    session.notify()
    session.check(
        """
        XADD x 1-0 a 1 -> "1-0"
        XADD x 2-0 a 2 -> "2-0"
        XADD x 3-0 a 3 -> "3-0"
        XGROUP CREATE x g 0 -> OK
        XREADGROUP GROUP g alice COUNT 2 STREAMS x > -> [["x", [["1-0", ["a", "1"]], ["2-0", ["a", "2"]]]]]
        XREADGROUP GROUP g bob STREAMS x 0 -> [["x", []]]
        XREADGROUP GROUP g bob NOACK STREAMS x > -> [["x", [["3-0", ["a", "3"]]]]]
        XREADGROUP GROUP g bob STREAMS x > -> nil
        XPENDING x g -> [2, "1-0", "2-0", [["alice", "2"]]]
        XDEL x 1-0 -> 1
        XREADGROUP GROUP g alice STREAMS x 0 -> [["x", [["1-0", nil], ["2-0", ["a", "2"]]]]]
        XPENDING x g - + 10 -> [["1-0", "alice", 0, 1], ["2-0", "alice", 0, 2]]
        XREADGROUP GROUP g alice STREAMS x 1-0 -> [["x", [["2-0", ["a", "2"]]]]]
        XREADGROUP GROUP g alice STREAMS x 18446744073709551615-18446744073709551614 -> [["x", []]]
        XADD x 4-0 a 4 -> "4-0"
        XREADGROUP GROUP g alice COUNT 1 STREAMS x x > > -> [["x", [["4-0", ["a", "4"]]]]]
        XREADGROUP GROUP nope bob STREAMS x > -> NOGROUP No such key 'x' or consumer group 'nope' in XREADGROUP with GROUP option
        XREADGROUP COUNT 1 NOACK BLOCK 1 STREAMS x > -> ERR Missing GROUP option for XREADGROUP
        """  # noqa: E501 - replies are one line
    )
    assert session.run("XREADGROUP GROUP g c STREAMS x $").startswith("ERR The $ ID is meaningless in the context of")
    assert session.events.count(("xgroup-createconsumer", "x")) == 2
    session.client.use_resp(3)
    assert session.run("XREADGROUP GROUP g alice COUNT 1 STREAMS x 0") == '{"x": [["1-0", nil]]}'
