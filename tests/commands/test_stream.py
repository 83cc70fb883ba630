"""Adding, reading, deleting and trimming entries of streams."""

from __future__ import annotations

import pytest

from diskkv.commands.stream_arguments import split_id
from diskkv.errors import CommandError
from tests.commands.session import NOW_MS, Session


def test_add_and_read() -> None:
    Session().check(
        """
        XADD x 1-1 a 1 b 2 -> "1-1"
        XADD x 1-* c 3 -> "1-2"
        XADD x 5 d 4 -> "5-0"
        XLEN x -> 3
        XLEN missing -> 0
        TYPE x -> stream
        OBJECT ENCODING x -> "stream"
        XRANGE x - + -> [["1-1", ["a", "1", "b", "2"]], ["1-2", ["c", "3"]], ["5-0", ["d", "4"]]]
        XREVRANGE x + - COUNT 1 -> [["5-0", ["d", "4"]]]
        XRANGE x (1-1 (5-0 -> [["1-2", ["c", "3"]]]
        XRANGE x 1 1 COUNT 1 -> [["1-1", ["a", "1", "b", "2"]]]
        XRANGE x - + COUNT 0 -> nil
        XRANGE missing - + COUNT 0 -> []
        XRANGE x + - -> []
        """
    )


def test_the_clock_gives_the_id() -> None:
    session = Session()
    assert session.run("XADD x * f v") == f'"{NOW_MS}-0"'
    assert session.run("XADD x * f v") == f'"{NOW_MS}-1"'
    session.now_ms -= 1000
    assert session.run("XADD x * f v") == f'"{NOW_MS}-2"'
    session.now_ms += 2000
    assert session.run("XADD x * f v") == f'"{NOW_MS + 1000}-0"'


def test_errors_of_xadd() -> None:
    session = Session()
    session.check(
        """
        XADD x 1-1 f -> ERR wrong number of arguments for 'xadd' command
        XADD x 1-1 f v g -> ERR wrong number of arguments for 'xadd' command
        XADD x 0-0 f v -> ERR The ID specified in XADD must be greater than 0-0
        XADD x 1-1 f v -> "1-1"
        XADD x 1-1 f v -> ERR The ID specified in XADD is equal or smaller than the target stream top item
        XADD x 0-* f v -> ERR The ID specified in XADD is equal or smaller than the target stream top item
        XADD x bogus f v -> ERR Invalid stream ID specified as stream command argument
        XADD x MAXLEN x 2-1 f v -> ERR value is not an integer or out of range
        XADD x MAXLEN -1 2-1 f v -> ERR The MAXLEN argument must be >= 0.
        XADD x MAXLEN 1 MINID 1 2-1 f v -> ERR syntax error, MAXLEN and MINID options at the same time are not compatible
        XADD x LIMIT 1 2-1 f v -> ERR syntax error, LIMIT cannot be used without specifying a trimming strategy
        XADD x MAXLEN 1 LIMIT 1 2-1 f v -> ERR syntax error, LIMIT cannot be used without the special ~ option
        XADD x MAXLEN ~ 1 LIMIT -1 2-1 f v -> ERR The LIMIT argument must be >= 0.
        XADD x KEEPREF ACKED 2-1 f v -> ERR Invalid stream ID specified as stream command argument
        XADD y NOMKSTREAM 1-1 f v -> nil
        EXISTS y -> 0
        XADD x 18446744073709551615-18446744073709551615 f v -> "18446744073709551615-18446744073709551615"
        XADD x * f v -> ERR The stream has exhausted the last possible ID, unable to add more items
        SET s v -> OK
        XADD s * f v -> WRONGTYPE Operation against a key holding the wrong kind of value
        """  # noqa: E501 - replies are one line
    )


def test_a_failed_command_leaves_no_trace() -> None:
    session = Session()
    session.run("XADD x 5-0 f v")
    before = dict(session.engine.store.scan(b"", b"\xff"))
    for line in ("XADD x 4-0 f v", "XADD new 0-0 f v", "XGROUP CREATE new g bogus MKSTREAM", "XSETID x 4-0"):
        assert session.run(line).startswith("ERR")
    assert dict(session.engine.store.scan(b"", b"\xff")) == before


def test_trimming() -> None:
    session = Session()
    session.notify()
    for number in range(1, 7):
        session.run(f"XADD x {number}-0 f v")
    session.events.clear()
    session.check(
        """
        XTRIM x MAXLEN 10 -> 0
        XTRIM x MAXLEN = 5 -> 1
        XTRIM x MAXLEN ~ 1 -> 0
        XTRIM x MINID 4 -> 2
        XADD x MAXLEN 2 7-0 f v -> "7-0"
        XRANGE x - + -> [["6-0", ["f", "v"]], ["7-0", ["f", "v"]]]
        XTRIM x MAXLEN 0 -> 2
        EXISTS x -> 1
        XTRIM missing MAXLEN 1 -> 0
        XTRIM x BOGUS 1 -> ERR syntax error
        XTRIM x NOMKSTREAM MAXLEN 1 -> ERR syntax error
        XTRIM x ACKED DELREF -> ERR syntax error
        XTRIM x LIMIT 0 ACKED -> ERR syntax error, XTRIM called without a trimming strategy
        """
    )
    assert session.events == [("xtrim", "x"), ("xtrim", "x"), ("xadd", "x"), ("xtrim", "x"), ("xtrim", "x")]


def test_a_trim_is_limited_by_default() -> None:
    session = Session()
    session.instance.config.stream_node_max_entries = 2
    for number in range(1, 302):
        session.run(f"XADD x {number}-0 f v")
    session.check(
        """
        XTRIM x MAXLEN ~ 0 LIMIT 5 -> 4
        XTRIM x MAXLEN ~ 0 -> 200
        XTRIM x MAXLEN ~ 0 LIMIT 0 -> 97
        """
    )


def test_deleting() -> None:
    session = Session()
    session.notify()
    session.check(
        """
        XDEL x bogus -> 0
        XADD x 1-0 f v -> "1-0"
        XADD x 2-0 f v -> "2-0"
        XDEL x 1-0 1-0 9-9 -> 1
        XDEL x 1-0 -> 0
        XDEL x bogus -> ERR Invalid stream ID specified as stream command argument
        XDELEX x IDS 2 2-0 9-9 -> [1, -1]
        XLEN x -> 0
        XDELEX x IDS 1 2-0 9-9 -> ERR syntax error
        XDELEX x IDS 2 2-0 -> ERR The `numids` parameter must match the number of arguments
        XDELEX x IDS 0 2-0 -> ERR Number of IDs must be a positive integer
        XDELEX x KEEPREF ACKED IDS 1 1-0 -> ERR syntax error
        XDELEX missing IDS 2 2-0 bogus -> [-1, -1]
        """
    )
    assert session.events == [("xadd", "x"), ("xadd", "x"), ("xdel", "x"), ("xdel", "x")]


def test_setting_the_last_id() -> None:
    session = Session()
    session.notify()
    session.check(
        """
        XSETID x 5-0 -> ERR no such key
        XADD x 3-0 f v -> "3-0"
        XSETID x 2-0 -> ERR The ID specified in XSETID is smaller than the target stream top item
        XSETID x 9-0 ENTRIESADDED 0 -> ERR The entries_added specified in XSETID is smaller than the target stream length
        XSETID x 9-0 ENTRIESADDED -1 -> ERR entries_added must be positive
        XSETID x 9-0 MAXDELETEDID 9-1 -> ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id
        XSETID x 9-0 BOGUS 1 -> ERR syntax error
        XSETID x 9-0 ENTRIESADDED -> ERR syntax error
        XSETID x 9-0 ENTRIESADDED 7 MAXDELETEDID 8-0 -> OK
        XSETID x 7-0 -> ERR The ID specified in XSETID is smaller than current max_deleted_entry_id
        XADD x 9-0 f v -> ERR The ID specified in XADD is equal or smaller than the target stream top item
        """  # noqa: E501 - replies are one line
    )
    assert session.run("XINFO STREAM x").startswith(
        '["length", 1, "radix-tree-keys", 1, "radix-tree-nodes", 2, "last-generated-id", "9-0", '
        '"max-deleted-entry-id", "8-0", "entries-added", 7, "recorded-first-entry-id", "3-0", "groups", 0, '
    )
    assert session.events == [("xadd", "x"), ("xsetid", "x")]


def test_an_empty_stream_set_back_takes_low_ids_again() -> None:
    Session().check(
        """
        XADD x 5-0 f v -> "5-0"
        XTRIM x MAXLEN 0 -> 1
        XSETID x 1-0 -> OK
        XADD x 5-0 f w -> "5-0"
        XRANGE x - + -> [["5-0", ["f", "w"]]]
        """
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"0", (0, 0, False)),
        (b"7-3", (7, 3, False)),
        (b"7-*", (7, 0, True)),
        (b"18446744073709551615-18446744073709551615", (2**64 - 1, 2**64 - 1, False)),
        (b"007-010", (7, 10, False)),
        (b" \t+7- 3", (7, 3, False)),
        (b"7-\v+3", (7, 3, False)),
        (b"7-3\x00anything", (7, 3, False)),
        (b"1--03", (1, 2**64 - 3, False)),
        (b"0" * 126 + b"7", (7, 0, False)),
    ],
)
def test_ids(text: bytes, expected: tuple[int, int, bool]) -> None:
    assert split_id(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"-",
        b"+",
        b"*",
        b"x",
        b"1-",
        b"-1",
        b"1-2-3",
        b"1-x",
        b"1 -2",
        b"1--3",
        b"18446744073709551616",
        b"1-18446744073709551616",
        b"0" * 128,
        b"1-**",
        b"0x10",
    ],
)
def test_what_is_no_id(text: bytes) -> None:
    with pytest.raises(CommandError, match="Invalid stream ID"):
        split_id(text)


def test_borders_of_intervals() -> None:
    Session().check(
        """
        XADD x 5-7 f v -> "5-7"
        XRANGE x (5-7 + -> []
        XRANGE x - (5-7 -> []
        XRANGE x (5-6 (5-8 -> [["5-7", ["f", "v"]]]
        XRANGE x 5 5 -> [["5-7", ["f", "v"]]]
        XRANGE x - (5 -> [["5-7", ["f", "v"]]]
        XRANGE x (18446744073709551615-18446744073709551615 + -> ERR invalid start ID for the interval
        XRANGE x - (0-0 -> ERR invalid end ID for the interval
        XRANGE x (- + -> ERR Invalid stream ID specified as stream command argument
        XRANGE x ( + -> ERR Invalid stream ID specified as stream command argument
        XRANGE x - + COUNT -> ERR syntax error
        XRANGE x - + BOGUS 1 -> ERR syntax error
        XRANGE x - + COUNT x -> ERR value is not an integer or out of range
        """
    )


def test_copy_is_independent_and_dump_restores() -> None:
    session = Session()
    session.run("XADD x 1-0 f v")
    session.run("XGROUP CREATE x g 0")
    session.run("XREADGROUP GROUP g alice STREAMS x >")
    session.check(
        """
        COPY x y -> 1
        XACK x g 1-0 -> 1
        XADD x 2-0 f v -> "2-0"
        XLEN y -> 1
        XPENDING y g -> [1, "1-0", "1-0", [["alice", "1"]]]
        """
    )
    payload = session.call(b"DUMP", b"y").split(b"\r\n", 1)[1][:-2]
    assert session.call(b"RESTORE", b"z", b"0", payload) == b"+OK\r\n"
    for key in ("y", "z"):
        assert session.run(f"XRANGE {key} - +") == '[["1-0", ["f", "v"]]]'
        assert session.run(f"XPENDING {key} g - + 9") == '[["1-0", "alice", 0, 1]]'
    assert int(session.run("MEMORY USAGE z")) > 100
