"""The comparison excuses exactly what its table says, and finds everything else."""

from __future__ import annotations

import pytest

from tests.harness.compare import PERMITTED, same_reply
from tests.harness.wire import Double, ErrorReply, Map, NullBulk, Reply, SetReply, Simple

SAME: list[tuple[str, Reply, Reply]] = [
    ("GET k", b"v", b"v"),
    ("KEYS *", [b"a", b"b"], [b"b", b"a"]),
    ("SMEMBERS t", SetReply([b"a", b"b"]), SetReply([b"b", b"a"])),
    ("HGETALL h", [b"a", b"1", b"b", b"2"], [b"b", b"2", b"a", b"1"]),
    ("HGETALL h", Map([(b"a", b"1"), (b"b", b"2")]), Map([(b"b", b"2"), (b"a", b"1")])),
    ("TTL k", 100, 101),
    ("PTTL k", 100000, 100900),
    ("HTTL h FIELDS 2 a b", [100, -1], [101, -1]),
    ("SCAN 0", [b"5", [b"a"]], [b"0", [b"b", b"c"]]),
    ("RANDOMKEY", b"a", b"b"),
    ("OBJECT IDLETIME k", 1, 2),
    ("OBJECT ENCODING k", b"embstr", b"raw"),
    ("OBJECT ENCODING k", b"int", b"embstr"),
    ("XINFO GROUPS x", [[b"name", b"g", b"idle", 5]], [[b"name", b"g", b"idle", 9]]),
]

DIFFERENT: list[tuple[str, Reply, Reply]] = [
    ("GET k", b"v", b"w"),
    ("GET k", b"OK", Simple(b"OK")),
    ("GET k", b"1", 1),
    ("ZSCORE z a", Double(b"1"), Double(b"1.0")),
    ("KEYS *", [b"a", b"a"], [b"a", b"b"]),
    ("KEYS *", [b"a"], ErrorReply(b"ERR x")),
    ("KEYS *", ErrorReply(b"ERR y"), ErrorReply(b"ERR x")),
    ("HGETALL h", [b"a", b"1", b"b", b"2"], [b"b", b"1", b"a", b"2"]),
    ("LRANGE l 0 -1", [b"a", b"b"], [b"b", b"a"]),
    ("TTL k", -1, 100),
    ("TTL k", -1, -2),
    ("TTL k", 100, 200),
    ("HTTL h FIELDS 2 a b", [100, -1], [101, -2]),
    ("SCAN 0", [b"0", [b"a"]], [b"x"]),
    ("SCAN x", [b"0", []], ErrorReply(b"ERR invalid cursor")),
    ("RANDOMKEY", NullBulk(), b"b"),
    ("SRANDMEMBER t 2", [b"a"], [b"a", b"b"]),
    ("OBJECT ENCODING k", b"raw", b"embstr"),
    ("OBJECT ENCODING k", b"embstr", b"int"),
    ("OBJECT ENCODING k", b"listpack", b"hashtable"),
    ("XINFO GROUPS x", [[b"name", b"g", b"lag", 5]], [[b"name", b"g", b"lag", 9]]),
]


@pytest.mark.parametrize("command, left, right", SAME)
def test_permitted(command: str, left: Reply, right: Reply) -> None:
    assert same_reply(command.encode().split(), left, right)


@pytest.mark.parametrize("command, left, right", DIFFERENT)
def test_not_permitted(command: str, left: Reply, right: Reply) -> None:
    assert not same_reply(command.encode().split(), left, right)


def test_every_permitted_difference_has_a_reason_and_no_command_two_rules() -> None:
    names = [name for entry in PERMITTED for name in entry.commands.split()]
    assert len(set(names)) == len(names)
    assert all(entry.reason for entry in PERMITTED)
