"""BITFIELD: integers of any width inside a string (https://redis.io/docs/latest/commands/bitfield/)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from diskkv.codec import bits
from diskkv.codec.header import Value
from diskkv.codec.numbers import parse_int64
from diskkv.commands.bitmap import get_string, read_string
from diskkv.commands.registry import Flag, KeySpec, command
from diskkv.datatypes import strings
from diskkv.errors import CommandError, CommandSyntaxError, NotIntegerError
from diskkv.resp.reply import array, integer
from diskkv.services import notifications
from diskkv.services.client import Client

_OVERFLOWS = {b"WRAP": bits.WRAP, b"SAT": bits.SAT, b"FAIL": bits.FAIL}


class _Step(NamedTuple):
    """One GET, SET or INCRBY."""

    name: bytes
    type: bits.FieldType
    offset: int
    number: int
    overflow: bytes


def _parse(client: Client, argv: list[bytes]) -> list[_Step]:
    steps: list[_Step] = []
    overflow = bits.WRAP
    at = 2
    while at < len(argv):
        name = argv[at].upper()
        left = len(argv) - at - 1
        if name == b"OVERFLOW" and left >= 1:
            chosen = _OVERFLOWS.get(argv[at + 1].upper())
            if chosen is None:
                raise CommandError(b"ERR Invalid OVERFLOW type specified")
            overflow = chosen
            at += 2
            continue
        if not ((name == b"GET" and left >= 2) or (name in (b"SET", b"INCRBY") and left >= 3)):
            raise CommandSyntaxError
        field_type = bits.parse_field_type(argv[at + 1])
        offset = bits.parse_bit_offset(argv[at + 2], client.instance.config.proto_max_bulk_len, field_type.bits)
        number = 0
        if name != b"GET":
            try:
                number = parse_int64(argv[at + 3])
            except ValueError:
                raise NotIntegerError from None
        steps.append(_Step(name, field_type, offset, number, overflow))
        at += 3 if name == b"GET" else 4
    return steps


def _window(client: Client, value: Value | None, step: _Step) -> tuple[int, bytes]:
    """The bytes that hold a field: where they start, and what is there (zeros past the end are left out)."""
    first, end = bits.field_window(step.offset, step.type.bits)
    size = 0 if value is None else strings.length(value)
    if value is None or first >= size:
        return first, bytes(end - first)
    return first, strings.read_range(client.engine, value, first, min(end, size)).ljust(end - first, b"\0")


def _read(client: Client, value: Value | None, step: _Step) -> int:
    first, window = _window(client, value, step)
    return bits.get_field(window, step.offset - first * 8, step.type)


def _write(client: Client, key: bytes, step: _Step) -> tuple[int | None, bool]:
    """(the reply, whether the string changed) of SET or INCRBY on a string that is long enough."""
    value = client.db.get(key)
    assert value is not None
    first, window = _window(client, value, step)
    offset = step.offset - first * 8
    before = bits.get_field(window, offset, step.type)
    if step.name == b"SET":
        after = bits.add_to_field(step.number, 0, step.type, step.overflow)
        result = before
    else:
        after = bits.add_to_field(before, step.number, step.type, step.overflow)
        result = after if after is not None else 0
    if after is None:
        return None, False
    changed = bits.set_field(window, offset, step.type, after)
    if changed == window:
        return result, False
    strings.write_range(client.db, key, value, first, changed)
    return result, True


def _grow(client: Client, key: bytes, value: Value | None, steps: Sequence[_Step]) -> bool:
    """Make the string as long as the furthest field that is written; whether it grew."""
    size = max(bits.field_window(step.offset, step.type.bits)[1] for step in steps if step.name != b"GET")
    if value is not None and strings.length(value) >= size:
        return False
    strings.write_range(client.db, key, value, size - 1, b"\0")
    return True


def _keys(argv: Sequence[bytes]) -> list[tuple[int, str]]:
    """The key is only read when nothing but GET is asked for."""
    words = {word.upper() for word in argv[2:]}
    return [(1, "RW access update" if words & {b"SET", b"INCRBY"} else "RO access")]


@command("BITFIELD", arity=-2, flags=Flag.WRITE | Flag.DENYOOM,
         keys=KeySpec("RW access update variable_flags", notes="This command allows both access and modification of "
                      "the key"), get_keys=_keys, group="bitmap", since="3.2.0",
         complexity="O(1) for each subcommand.",
         syntax="key operation=[GET encoding offset | write={[OVERFLOW <WRAP | SAT | FAIL>] write-operation="
                "<SET encoding offset value:integer | INCRBY encoding offset increment>}] ...")  # fmt: skip
def bitfield(client: Client, argv: list[bytes]) -> bytes:
    """Read, set and add to integers of any width inside a string."""
    steps = _parse(client, argv)
    key = argv[1]
    if all(step.name == b"GET" for step in steps):
        value = read_string(client, key)
        return array([integer(_read(client, value, step)) for step in steps])
    changed = _grow(client, key, get_string(client, key), steps)
    replies: list[bytes] = []
    for step in steps:
        if step.name == b"GET":
            replies.append(integer(_read(client, client.db.get(key), step)))
            continue
        result, wrote = _write(client, key, step)
        changed = changed or wrote
        replies.append(client.null if result is None else integer(result))
    events = client.instance.notifications
    if changed and events.enabled:
        events.event(notifications.STRING, b"setbit", key, client.db)
    return array(replies)


@command("BITFIELD_RO", arity=-2, flags=Flag.READONLY | Flag.FAST, keys=KeySpec("RO access"), group="bitmap",
         since="6.0.0", complexity="O(1) for each subcommand.",
         syntax="key [get-block=GET encoding offset [GET encoding offset ...]]")  # fmt: skip
def bitfield_ro(client: Client, argv: list[bytes]) -> bytes:
    """Read integers of any width inside a string."""
    steps = _parse(client, argv)
    if any(step.name != b"GET" for step in steps):
        raise CommandError(b"ERR BITFIELD_RO only supports the GET subcommand")
    value = read_string(client, argv[1])
    return array([integer(_read(client, value, step)) for step in steps])
