"""Positions in sorted sets: GEOADD, GEODIST, GEOHASH, GEOPOS. A score holds a position (codec/geohash.py)."""

from __future__ import annotations

from diskkv.codec import geohash
from diskkv.codec.header import Header
from diskkv.codec.numbers import format_double, parse_float
from diskkv.commands.registry import Flag, KeySpec, command
from diskkv.commands.zset_replies import notify, read
from diskkv.datatypes import zsets
from diskkv.datatypes.zset_rows import Entry
from diskkv.errors import CommandSyntaxError, NotFloatError
from diskkv.resp.reply import array, bulk, integer
from diskkv.services.client import Client

_OPTIONS = frozenset({b"NX", b"XX", b"CH"})


def parse_position(longitude: bytes, latitude: bytes) -> tuple[float, float]:
    """Longitude and latitude in degrees. Raises CommandError."""
    try:
        position = parse_float(longitude), parse_float(latitude)
    except ValueError:
        raise NotFloatError from None
    geohash.check_position(*position)
    return position


def coordinates(longitude: float, latitude: float, resp: int) -> bytes:
    """A position as an array of two doubles, in RESP2 strings; the shortest digits, as Redis prints since 8.0."""
    if resp == 3:
        return b"*2\r\n,%b\r\n,%b\r\n" % (format_double(longitude), format_double(latitude))
    return b"*2\r\n" + bulk(format_double(longitude)) + bulk(format_double(latitude))


@command(
    "GEOADD",
    arity=-5,
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=KeySpec("RW update"),
    group="geo",
    since="3.2.0",
    complexity="O(log(N)) for each member added, where N is the number of members.",
    syntax="key [NX | XX]@6.2.0 [change=CH]@6.2.0 longitude latitude member [longitude latitude member ...]",
)
def geoadd(client: Client, argv: list[bytes]) -> bytes:
    """Add members with their positions to a sorted set, or move them."""
    at = 2
    options: set[bytes] = set()
    while at < len(argv) and (option := argv[at].upper()) in _OPTIONS:
        options.add(option)
        at += 1
    add_only, update_only = b"NX" in options, b"XX" in options
    if (len(argv) - at) % 3 or (add_only and update_only):
        raise CommandSyntaxError
    entries: list[Entry] = []
    for place in range(at, len(argv), 3):
        position = parse_position(argv[place], argv[place + 1])
        entries.append((argv[place + 2], float(geohash.encode(*position))))
    if not entries:
        raise CommandSyntaxError
    conditions = zsets.Conditions(add_only, update_only, False, False, False)
    done = zsets.add(client.db, argv[1], entries, conditions)
    if done.added or done.updated:
        notify(client, b"zadd", argv[1])
    return integer(done.added + done.updated if b"CH" in options else done.added)


def _scores(client: Client, header: Header | None, members: list[bytes]) -> list[float | None]:
    if header is None:
        return [None] * len(members)
    return [zsets.score_of(client.engine, header, member) for member in members]


@command(
    "GEODIST",
    arity=-4,
    flags=Flag.READONLY,
    keys=KeySpec("RO access"),
    group="geo",
    since="3.2.0",
    complexity="O(1)",
    syntax="key member1 member2 [M | KM | FT | MI]",
)
def geodist(client: Client, argv: list[bytes]) -> bytes:
    """Return the distance between two members."""
    unit_m = 1.0
    if len(argv) == 5:
        unit_m = geohash.parse_unit(argv[4])
    elif len(argv) > 5:
        raise CommandSyntaxError
    first, second = _scores(client, read(client, argv[1]), argv[2:4])
    if first is None or second is None:
        return client.null
    metres = geohash.distance_m(*geohash.decode(first), *geohash.decode(second))
    return bulk(geohash.format_distance(metres / unit_m))


@command(
    "GEOHASH",
    arity=-2,
    flags=Flag.READONLY,
    keys=KeySpec("RO access"),
    group="geo",
    since="3.2.0",
    complexity="O(1) for each member.",
    syntax="key [member [member ...]]",
)
def geohash_(client: Client, argv: list[bytes]) -> bytes:
    """Return the positions of members as geohash strings."""
    scores = _scores(client, read(client, argv[1]), argv[2:])
    return array([client.null if score is None else bulk(geohash.geohash_text(score)) for score in scores])


@command(
    "GEOPOS",
    arity=-2,
    flags=Flag.READONLY,
    keys=KeySpec("RO access"),
    group="geo",
    since="3.2.0",
    complexity="O(1) for each member.",
    syntax="key [member [member ...]]",
)
def geopos(client: Client, argv: list[bytes]) -> bytes:
    """Return the positions of members."""
    scores = _scores(client, read(client, argv[1]), argv[2:])
    resp = client.resp
    return array(
        [client.null_array if score is None else coordinates(*geohash.decode(score), resp) for score in scores]
    )
