"""The bitmap group (https://redis.io/docs/latest/commands/?group=bitmap); BITFIELD is in bitfield.py."""

from __future__ import annotations

from diskkv.codec import bits
from diskkv.codec.header import Value
from diskkv.commands.arguments import parse_integer
from diskkv.commands.registry import Flag, KeySpec, command
from diskkv.datatypes import bitmaps, strings
from diskkv.errors import CommandError, CommandSyntaxError
from diskkv.resp.reply import MINUS_ONE, ONE, ZERO, integer
from diskkv.services import notifications
from diskkv.services.client import Client


def read_string(client: Client, key: bytes) -> Value | None:
    """The string at a key for a reading command, None without one. Raises WrongTypeError."""
    value = client.db.read(key)
    if value is not None:
        strings.require_string(value)
    return value


def get_string(client: Client, key: bytes) -> Value | None:
    """The string at a key for a writing command, None without one. Raises WrongTypeError."""
    value = client.db.get(key)
    if value is not None:
        strings.require_string(value)
    return value


@command("SETBIT", arity=4, flags=Flag.WRITE | Flag.DENYOOM, keys=KeySpec("RW access update"), group="bitmap",
         since="2.2.0", complexity="O(1)", syntax="key offset value:integer")  # fmt: skip
def setbit(client: Client, argv: list[bytes]) -> bytes:
    """Set or clear one bit of a string; return what it was."""
    key = argv[1]
    offset = bits.parse_bit_offset(argv[2], client.instance.config.proto_max_bulk_len)
    bit = bits.parse_bit(argv[3])
    value = get_string(client, key)
    index = offset >> 3
    size = 0 if value is None else strings.length(value)
    byte = b"\0" if value is None or index >= size else strings.read_range(client.engine, value, index, index + 1)
    before = bits.get_bit(byte, offset & 7)
    if before != bit or index >= size:
        strings.write_range(client.db, key, value, index, bits.replace_bit(byte, offset & 7, bit))
        events = client.instance.notifications
        if events.enabled:
            events.event(notifications.STRING, b"setbit", key, client.db)
    return ONE if before else ZERO


@command("GETBIT", arity=3, flags=Flag.READONLY | Flag.FAST, keys=KeySpec("RO access"), group="bitmap", since="2.2.0",
         complexity="O(1)", syntax="key offset")  # fmt: skip
def getbit(client: Client, argv: list[bytes]) -> bytes:
    """Return one bit of a string."""
    offset = bits.parse_bit_offset(argv[2], client.instance.config.proto_max_bulk_len)
    value = read_string(client, argv[1])
    return ONE if value is not None and bitmaps.get_bit(client.engine, value, offset) else ZERO


def _in_bits(argument: bytes) -> bool:
    unit = argument.upper()
    if unit not in (b"BIT", b"BYTE"):
        raise CommandSyntaxError
    return unit == b"BIT"


@command("BITCOUNT", arity=-2, flags=Flag.READONLY, keys=KeySpec("RO access"), group="bitmap", since="2.6.0",
         complexity="O(N) where N is what is stored of the range: absent chunks of a long string cost nothing.",
         syntax="key [start end [BYTE | BIT]@7.0.0]")  # fmt: skip
def bitcount(client: Client, argv: list[bytes]) -> bytes:
    """Count the ones in a string, or in a range of it."""
    start, end, in_bits = 0, -1, False
    if len(argv) in (4, 5):
        start, end = parse_integer(argv[2]), parse_integer(argv[3])
        in_bits = len(argv) == 5 and _in_bits(argv[4])
    elif len(argv) != 2:
        raise CommandSyntaxError
    value = read_string(client, argv[1])
    if value is None:
        return ZERO
    selected = bits.resolve_range(start, end, strings.length(value), in_bits=in_bits, for_count=True)
    return ZERO if selected is None else integer(bitmaps.count(client.engine, value, *selected))


@command("BITPOS", arity=-3, flags=Flag.READONLY, keys=KeySpec("RO access"), group="bitmap", since="2.8.7",
         complexity="O(N) where N is what is stored of the range.",
         syntax="key bit [start [end [BYTE | BIT]@7.0.0]]")  # fmt: skip
def bitpos(client: Client, argv: list[bytes]) -> bytes:
    """Find the first bit that is set, or clear."""
    bit = parse_integer(argv[2])
    if bit not in (0, 1):
        raise CommandError(b"ERR The bit argument must be 1 or 0.")
    if len(argv) > 6:
        raise CommandSyntaxError
    start = parse_integer(argv[3]) if len(argv) > 3 else 0
    in_bits = len(argv) == 6 and _in_bits(argv[5])
    end = parse_integer(argv[4]) if len(argv) > 4 else -1
    value = read_string(client, argv[1])
    if value is None:
        return MINUS_ONE if bit else ZERO
    size = strings.length(value)
    selected = bits.resolve_range(start, end, size, in_bits=in_bits)
    if selected is None:
        return MINUS_ONE
    position = bitmaps.find(client.engine, value, bit, *selected)
    if position < 0 and not bit and len(argv) <= 4:
        # Without an end the string is taken to go on with zeros.
        position = size << 3
    return integer(position)


@command("BITOP", arity=-4, flags=Flag.WRITE | Flag.DENYOOM,
         keys=(KeySpec("OW update", begin=2), KeySpec("RO access", begin=3, last=-1)), group="bitmap", since="2.6.0",
         complexity="O(N) where N is the length of the longest string.",
         syntax="<AND | OR | XOR | NOT | DIFF@8.2.0 | DIFF1@8.2.0 | ANDOR@8.2.0 | ONE@8.2.0> destkey key [key ...]",
         )  # fmt: skip
def bitop(client: Client, argv: list[bytes]) -> bytes:
    """Combine strings bit by bit and store the result."""
    operation = argv[1].upper()
    bits.check_operation(operation, len(argv) - 3)
    database = client.db
    sources = [read_string(client, key) for key in argv[3:]]
    size = max(0 if source is None else strings.length(source) for source in sources)
    target = argv[2]
    events = client.instance.notifications
    old = database.get(target)
    if not size:
        if old is not None:
            database.delete(target, old)
            if events.enabled:
                events.event(notifications.GENERIC, b"del", target, database)
        return ZERO
    database.put(target, bitmaps.combine(client.engine, operation, sources, size), old)
    if events.enabled:
        events.event(notifications.STRING, b"set", target, database)
    return integer(size)
