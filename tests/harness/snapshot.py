"""The whole visible content of a server, read back over the wire, and its comparison between two servers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tests.harness.compare import same_reply, shorten
from tests.harness.wire import Double, Reply, Simple, Wire

Command = tuple[bytes, ...]


@dataclass
class KeyState:
    """All that one server says about a key: (command, reply) in a fixed order."""

    replies: list[tuple[Command, Reply]]


def _value_commands(kind: bytes, key: bytes) -> list[Command]:
    """The commands that read a whole value, and what must agree with it."""
    if kind == b"string":
        return [(b"GET", key), (b"STRLEN", key)]
    if kind == b"hash":
        return [(b"HGETALL", key), (b"HLEN", key)]
    if kind == b"list":
        return [(b"LRANGE", key, b"0", b"-1"), (b"LLEN", key)]
    if kind == b"set":
        return [(b"SMEMBERS", key), (b"SCARD", key)]
    if kind == b"zset":
        return [(b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"), (b"ZCARD", key)]
    if kind == b"stream":
        return [(b"XRANGE", key, b"-", b"+"), (b"XLEN", key), (b"XINFO", b"STREAM", key, b"FULL", b"COUNT", b"0")]
    raise AssertionError(f"unknown type {kind!r} of key {key!r}")


def scan_all(wire: Wire, *argv: bytes | int | str) -> list[Reply]:
    """All elements of a whole SCAN/HSCAN/SSCAN/ZSCAN iteration; `argv` without the cursor, which goes at its place.

    SCAN takes the cursor first, the others after the key: the word CURSOR in `argv` stands for it.
    """
    elements: list[Reply] = []
    cursor: bytes = b"0"
    for _ in range(1_000_000):
        page = wire.call(*(cursor if argument == "CURSOR" else argument for argument in argv))
        assert isinstance(page, list), page
        cursor = page[0]
        elements += page[1]
        if cursor == b"0":
            return elements
    raise AssertionError(f"{argv} does not come to an end")


def keyspace(wire: Wire) -> dict[bytes, tuple[bytes, bytes]]:
    """INFO keyspace: database -> (keys, expires)."""
    reply = wire.call("INFO", "keyspace")
    text = reply if isinstance(reply, bytes) else reply.text
    found = {}
    for line in text.splitlines():
        if line.startswith(b"db"):
            name, _, values = line.partition(b":")
            fields = dict(value.split(b"=") for value in values.split(b","))
            found[name] = (fields[b"keys"], fields[b"expires"])
    return found


def snapshot(wire: Wire, database: int) -> dict[bytes, KeyState]:
    """Every key of a database with its type, encoding, expiry and value; checks DBSIZE, SCAN and KEYS on the way."""
    assert wire.call("SELECT", database) == Simple(b"OK")
    found = scan_all(wire, "SCAN", "CURSOR", "COUNT", 7)
    names = set(found)
    # An expired key may still be counted until it is found dead; SCAN has just done that.
    size = wire.call("DBSIZE")
    assert size == len(names), f"DBSIZE of db {database} is {size}, SCAN finds {len(names)} keys: {shorten(found)}"
    listed = wire.call("KEYS", "*")
    assert sorted(listed) == sorted(names), f"KEYS and SCAN disagree: {shorten(listed)} {shorten(found)}"
    return {name: key_state(wire, name) for name in sorted(names)}


def key_state(wire: Wire, key: bytes) -> KeyState:
    """What the server says about one key of the selected database."""
    kind_reply = wire.call("TYPE", key)
    assert isinstance(kind_reply, Simple), kind_reply
    kind = kind_reply.text
    if kind == b"none":
        return KeyState([((b"TYPE", key), kind_reply)])
    commands: list[Command] = [(b"OBJECT", b"ENCODING", key), (b"PEXPIRETIME", key), *_value_commands(kind, key)]
    replies = list(zip(commands, wire.pipeline(commands), strict=True))
    if kind in (b"hash", b"set", b"zset"):
        _check_iteration(wire, kind, key, dict(replies))
    if kind == b"hash":
        replies += _field_expiry(wire, key)
    return KeyState([((b"TYPE", key), kind_reply), *replies])


def _check_iteration(wire: Wire, kind: bytes, key: bytes, replies: dict[Command, Reply]) -> None:
    """A whole HSCAN/SSCAN/ZSCAN finds as many elements as the count says."""
    name, counter = {b"hash": ("HSCAN", b"HLEN"), b"set": ("SSCAN", b"SCARD"), b"zset": ("ZSCAN", b"ZCARD")}[kind]
    elements = scan_all(wire, name, key, "CURSOR", "COUNT", 7)
    members = elements if kind == b"set" else elements[::2]
    count = replies[counter, key]
    assert len(set(members)) == count, f"{name} {key!r} finds {shorten(members)}, but {counter!r} is {count}"


def _field_expiry(wire: Wire, key: bytes) -> list[tuple[Command, Reply]]:
    """The expiry of every field, by field in order."""
    fields = sorted(wire.call("HKEYS", key))
    if not fields:
        return []
    command: Command = (b"HPEXPIRETIME", key, b"FIELDS", str(len(fields)).encode(), *fields)
    return [(command, wire.call(*command))]


_SORTED = (b"listpack", b"skiplist")
"""SORT leaves a sorted set that it has read as a skiplist in Redis, whatever its size; here reading changes nothing."""


def differences(
    subject: dict[bytes, KeyState], reference: dict[bytes, KeyState], *, compare_encoding: bool = True
) -> list[str]:
    """What differs between two snapshots, one line each; empty when nothing does."""
    lines = [f"only in the subject: {key!r}: {subject[key]}" for key in subject.keys() - reference.keys()]
    lines += [f"only in the reference: {key!r}: {reference[key]}" for key in reference.keys() - subject.keys()]
    for key in sorted(subject.keys() & reference.keys()):
        mine, theirs = subject[key].replies, reference[key].replies
        for (command, left), (_, right) in zip(mine, theirs, strict=False):
            if same_reply(command, left, right):
                continue
            if command[:2] == (b"OBJECT", b"ENCODING") and (not compare_encoding or (left, right) == _SORTED):
                continue
            lines.append(f"{command!r}: subject {shorten(left)}, reference {shorten(right)}")
    return lines


def assert_same_content(
    subject: Wire, reference: Wire, databases: Iterable[int], *, compare_encoding: bool = True
) -> None:
    """Both servers hold the same keys with the same values, encodings, expiry times and counts.

    Args:
        subject: A connection to the server under test, at any database, in the same protocol as the reference's.
        reference: A connection to the reference.
        databases: The databases to compare key by key; the counts of all are compared.
        compare_encoding: Whether OBJECT ENCODING must agree.
    """
    for database in databases:
        found = differences(
            snapshot(subject, database), snapshot(reference, database), compare_encoding=compare_encoding
        )
        assert not found, f"db {database} differs:\n" + "\n".join(found)
    mine, theirs = keyspace(subject), keyspace(reference)
    assert mine == theirs, f"INFO keyspace: subject {mine}, reference {theirs}"


def _without_negative_zeros(reply: Reply) -> Reply:
    """Members with scores, with 0 for -0: a set that RESTORE packs because it is small loses the sign of zeros."""
    if isinstance(reply, list):
        return [_without_negative_zeros(item) for item in reply]
    if reply == b"-0":
        return b"0"
    return Double(b"0") if reply == Double(b"-0") else reply


def assert_payloads_cross(subject: Wire, reference: Wire, keys: Iterable[bytes]) -> None:
    """Each server restores what the other dumps, and then holds what the other holds."""
    scratch = b"restored \x00 copy"
    for source, target in ((subject, reference), (reference, subject)):
        for key in keys:
            payload = source.call("DUMP", key)
            if not isinstance(payload, bytes):
                continue
            reply = target.call("RESTORE", scratch, 0, payload, "REPLACE")
            assert reply == Simple(b"OK"), f"RESTORE of {key!r} (payload {payload!r}): {reply}"
            original = key_state(source, key).replies
            restored = key_state(target, scratch).replies
            for (command, left), (_, right) in zip(original, restored, strict=False):
                if command[:2] == (b"OBJECT", b"ENCODING") or command[0] == b"PEXPIRETIME":
                    continue
                if command[0] == b"ZRANGE":
                    left, right = _without_negative_zeros(left), _without_negative_zeros(right)
                assert same_reply(command, left, right), f"{command!r}: dumped {left!r}, restored {right!r}"
            target.call("DEL", scratch)
