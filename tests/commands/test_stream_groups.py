"""XGROUP, XACK, XPENDING, XCLAIM, XAUTOCLAIM and XINFO."""

from __future__ import annotations

import pytest

from tests.commands.session import NOW_MS, Session


@pytest.fixture
def session() -> Session:
    """A stream x with five entries, of which the group g has four: 1, 2 with alice, 3, 4 with bob."""
    made = Session()
    for number in range(1, 6):
        made.run(f"XADD x {number}-0 n {number}")
    made.run("XGROUP CREATE x g 0")
    for name in ("alice", "bob"):
        made.run(f"XREADGROUP GROUP g {name} COUNT 2 STREAMS x >")
    made.notify()
    return made


def test_groups(session: Session) -> None:
    session.check(
        """
        XGROUP CREATE x g 0 -> BUSYGROUP Consumer Group name already exists
        XGROUP CREATE x h bogus -> ERR Invalid stream ID specified as stream command argument
        XGROUP CREATE x h 0 ENTRIESREAD -2 -> ERR value for ENTRIESREAD must be positive or -1
        XGROUP CREATE x h 0 BOGUS -> ERR unknown subcommand or wrong number of arguments for 'CREATE'. Try XGROUP HELP.
        XGROUP CREATE x h $ ENTRIESREAD 3 -> OK
        XGROUP CREATE new g $ MKSTREAM -> OK
        XGROUP SETID x h 2-0 ENTRIESREAD 99 -> OK
        XGROUP SETID x nope 2-0 -> NOGROUP No such consumer group 'nope' for key name 'x'
        XGROUP CREATECONSUMER x h carol -> 1
        XGROUP CREATECONSUMER x h carol -> 0
        XGROUP DELCONSUMER x g alice -> 2
        XGROUP DELCONSUMER x g nobody -> 0
        XGROUP DESTROY x h -> 1
        XGROUP DESTROY x h -> 0
        XGROUP BOGUS x -> ERR unknown subcommand 'BOGUS'. Try XGROUP HELP.
        XPENDING x g -> [2, "3-0", "4-0", [["bob", "2"]]]
        """
    )
    assert session.run("XGROUP CREATE missing g $").startswith("ERR The XGROUP subcommand requires the key to exist.")
    assert [name for name, _ in session.events] == [
        "xgroup-create",
        "xgroup-create",
        "xgroup-setid",
        "xgroup-createconsumer",
        "xgroup-delconsumer",
        "xgroup-destroy",
    ]


def test_acknowledging(session: Session) -> None:
    session.check(
        """
        XACK x g 1-0 3-0 3-0 9-9 -> 2
        XACK x g bogus -> ERR Invalid stream ID specified as stream command argument
        XACK x nope bogus -> 0
        XACK missing g bogus -> 0
        XPENDING x g -> [2, "2-0", "4-0", [["alice", "1"], ["bob", "1"]]]
        XACK x g 2-0 4-0 -> 2
        XPENDING x g -> [0, nil, nil, nil]
        """
    )
    assert session.events == []


def test_acknowledging_and_deleting(session: Session) -> None:
    session.check(
        """
        XGROUP CREATE x h 0 -> OK
        XREADGROUP GROUP h c COUNT 1 STREAMS x > -> [["x", [["1-0", ["n", "1"]]]]]
        XACKDEL x g ACKED IDS 3 1-0 2-0 9-9 -> [2, 2, -1]
        XACKDEL x h DELREF IDS 1 1-0 -> [1]
        XACKDEL x g KEEPREF IDS 1 3-0 -> [1]
        XACKDEL x nope IDS 2 1-0 bogus -> [-1, -1]
        XDELEX x DELREF IDS 1 4-0 -> [1]
        XPENDING x g -> [0, nil, nil, nil]
        XDELEX x ACKED IDS 2 2-0 5-0 -> [2, 2]
        XLEN x -> 2
        """
    )


def test_pending_entries(session: Session) -> None:
    session.now_ms += 500
    session.run("XREADGROUP GROUP g bob STREAMS x 3-0")
    session.check(
        """
        XPENDING x g - + 10 -> [["1-0", "alice", 500, 1], ["2-0", "alice", 500, 1], ["3-0", "bob", 500, 1], ["4-0", "bob", 0, 2]]
        XPENDING x g IDLE 1 3 + 10 -> [["3-0", "bob", 500, 1]]
        XPENDING x g (1-0 (4-0 1 -> [["2-0", "alice", 500, 1]]
        XPENDING x g - + 10 bob -> [["3-0", "bob", 500, 1], ["4-0", "bob", 0, 2]]
        XPENDING x g - + 10 nobody -> []
        XPENDING x g - + 0 -> []
        XPENDING x g - + -> ERR syntax error
        XPENDING x g IDLE 5 - + -> ERR syntax error
        XPENDING x g - + x -> ERR value is not an integer or out of range
        XPENDING x nope -> NOGROUP No such key 'x' or consumer group 'nope'
        XPENDING missing g - + 10 -> NOGROUP No such key 'missing' or consumer group 'g'
        """  # noqa: E501 - replies are one line
    )


def test_claiming(session: Session) -> None:
    session.now_ms += 500
    session.check(
        """
        XCLAIM x g carol 501 1-0 -> []
        XCLAIM x g carol 500 1-0 9-9 -> [["1-0", ["n", "1"]]]
        XCLAIM x g carol 0 2-0 JUSTID -> ["2-0"]
        XCLAIM x g carol 0 3-0 IDLE 100 RETRYCOUNT 7 -> [["3-0", ["n", "3"]]]
        XCLAIM x g carol 0 4-0 TIME 5 -> [["4-0", ["n", "4"]]]
        XCLAIM x g carol 0 5-0 -> []
        XCLAIM x g carol 0 5-0 FORCE LASTID 5-0 -> [["5-0", ["n", "5"]]]
        XREADGROUP GROUP g bob STREAMS x > -> nil
        XCLAIM x g carol x 5-0 -> ERR Invalid min-idle-time argument for XCLAIM
        XCLAIM x g carol 0 5-0 IDLE x -> ERR Invalid IDLE option argument for XCLAIM
        XCLAIM x g carol 0 5-0 BOGUS -> ERR Unrecognized XCLAIM option 'BOGUS'
        XCLAIM x g carol 0 5-0 RETRYCOUNT -> ERR Unrecognized XCLAIM option 'RETRYCOUNT'
        XCLAIM x nope carol x 5-0 -> NOGROUP No such key 'x' or consumer group 'nope'
        """
    )
    pending = session.run("XPENDING x g - + 10 carol")
    assert pending == (
        '[["1-0", "carol", 0, 2], ["2-0", "carol", 0, 1], ["3-0", "carol", 100, 7], '
        f'["4-0", "carol", {session.now_ms - 5}, 2], ["5-0", "carol", 0, 2]]'
    )
    session.check(
        """
        XDEL x 1-0 -> 1
        XCLAIM x g bob 0 1-0 2-0 JUSTID -> ["2-0"]
        XPENDING x g -> [4, "2-0", "5-0", [["bob", "1"], ["carol", "3"]]]
        """
    )


def test_claiming_what_is_idle(session: Session) -> None:
    session.now_ms += 500
    session.run("XDEL x 2-0")
    session.check(
        """
        XAUTOCLAIM x g carol 501 0 -> ["0-0", [], ["2-0"]]
        XAUTOCLAIM x g carol 500 (1-0 COUNT 1 -> ["4-0", [["3-0", ["n", "3"]]], []]
        XAUTOCLAIM x g carol 1 - JUSTID -> ["0-0", ["1-0", "4-0"], []]
        XPENDING x g - + 10 -> [["1-0", "carol", 0, 1], ["3-0", "carol", 0, 2], ["4-0", "carol", 0, 1]]
        XAUTOCLAIM x g carol x 0 -> ERR Invalid min-idle-time argument for XAUTOCLAIM
        XAUTOCLAIM x g carol 0 0 COUNT 0 -> ERR COUNT must be > 0
        XAUTOCLAIM x g carol 0 0 COUNT -> ERR syntax error
        XAUTOCLAIM x nope carol 0 0 -> NOGROUP No such key 'x' or consumer group 'nope'
        """
    )


def test_looking_at_few_when_most_are_not_idle() -> None:
    session = Session()
    session.run("XGROUP CREATE x g 0 MKSTREAM")
    for number in range(1, 31):
        session.run(f"XADD x {number}-0 f v")
    session.run("XREADGROUP GROUP g alice STREAMS x >")
    assert session.run("XAUTOCLAIM x g bob 1000 0 COUNT 2") == '["21-0", [], []]'


def test_information(session: Session) -> None:
    session.now_ms += 10
    session.run("XREADGROUP GROUP g alice NOACK STREAMS x >")
    session.run("XGROUP CREATECONSUMER x g zoe")
    session.check(
        """
        XINFO GROUPS x -> [["name", "g", "consumers", 3, "pending", 4, "last-delivered-id", "5-0", "entries-read", 5, "lag", 0]]
        XINFO CONSUMERS x g -> [["name", "alice", "pending", 2, "idle", 0, "inactive", 10], ["name", "bob", "pending", 2, "idle", 10, "inactive", 10], ["name", "zoe", "pending", 0, "idle", 0, "inactive", -1]]
        XINFO GROUPS missing -> ERR no such key
        XINFO CONSUMERS x nope -> NOGROUP No such consumer group 'nope' for key name 'x'
        XINFO STREAM x BOGUS -> ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP.
        XINFO STREAM x FULL COUNT -> ERR unknown subcommand or wrong number of arguments for 'STREAM'. Try XINFO HELP.
        XINFO BOGUS -> ERR unknown subcommand 'BOGUS'. Try XINFO HELP.
        """  # noqa: E501 - replies are one line
    )
    session.client.use_resp(3)
    pending = f'["1-0", "alice", {NOW_MS}, 1]'
    consumers = ", ".join(
        f'{{"name": "{name}", "seen-time": {seen}, "active-time": {active}, "pel-count": {count}, "pending": {rows}}}'
        for name, seen, active, count, rows in (
            ("alice", NOW_MS + 10, NOW_MS, 2, f'[["1-0", {NOW_MS}, 1]]'),
            ("bob", NOW_MS, NOW_MS, 2, f'[["3-0", {NOW_MS}, 1]]'),
            ("zoe", NOW_MS + 10, -1, 0, "[]"),
        )
    )
    assert session.run("XINFO STREAM x FULL COUNT 1") == (
        '{"length": 5, "radix-tree-keys": 1, "radix-tree-nodes": 2, "last-generated-id": "5-0", '
        '"max-deleted-entry-id": "0-0", "entries-added": 5, "recorded-first-entry-id": "1-0", '
        '"entries": [["1-0", ["n", "1"]]], "groups": [{"name": "g", "last-delivered-id": "5-0", "entries-read": 5, '
        f'"lag": 0, "pel-count": 4, "pending": [{pending}], "consumers": [{consumers}]}}]}}'
    )


def test_the_lag_is_not_known_behind_a_deleted_entry(session: Session) -> None:
    session.run("XDEL x 5-0")
    session.run("XADD x 6-0 n 6")
    assert session.run("XINFO GROUPS x").endswith('"entries-read", 4, "lag", nil]]')
    session.run("XREADGROUP GROUP g bob STREAMS x >")
    assert session.run("XINFO GROUPS x").endswith('"entries-read", 6, "lag", 0]]')


def test_watch_hears_of_entries_and_not_of_groups(session: Session) -> None:
    watcher = session.instance.new_client()
    ours = session.client
    for line, touched in (
        ("XREADGROUP GROUP g zoe STREAMS x >", False),
        ("XGROUP CREATE x h 0", False),
        ("XGROUP SETID x h $", False),
        ("XGROUP DESTROY x h", False),
        ("XACK x g 1-0", False),
        ("XSETID x 100-0", False),
        ("XADD x 101-0 f v", True),
        ("XDEL x 101-0", True),
        ("XTRIM x MAXLEN 1", True),
    ):
        session.client = watcher
        session.run("WATCH x")
        session.client = ours
        assert not session.run(line).startswith("ERR")
        session.client = watcher
        session.run("MULTI")
        assert session.run("EXEC") == ("nil" if touched else "[]"), line
        session.client = ours
