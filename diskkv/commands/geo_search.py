"""Members in an area: GEOSEARCH, GEOSEARCHSTORE, GEORADIUS, GEORADIUSBYMEMBER and their read-only forms."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from diskkv.codec import geohash
from diskkv.codec.geohash import SearchShape
from diskkv.codec.header import Header
from diskkv.codec.numbers import parse_float
from diskkv.commands.arguments import parse_integer
from diskkv.commands.geo import coordinates, parse_position
from diskkv.commands.registry import Flag, KeySpec, command
from diskkv.commands.zset_range import store_reply
from diskkv.commands.zset_replies import read
from diskkv.datatypes import zset_ranges, zsets
from diskkv.datatypes.zset_ranges import ScoreRange
from diskkv.errors import CommandError, CommandSyntaxError
from diskkv.resp.reply import EMPTY_ARRAY, array, bulk
from diskkv.services.client import Client

_UNIT = "<M | KM | FT | MI>"
_FROM = "<FROMMEMBER member | FROMLONLAT longitude latitude>"
_BY = (
    f"by=<circle={{{{BYRADIUS radius}} {_UNIT}}} | box={{{{BYBOX width}} height {_UNIT}}}> "
    "[ASC | DESC] [COUNT count [ANY]]"
)
_WITH = "[withcoord=WITHCOORD] [withdist=WITHDIST] [withhash=WITHHASH]"
_COMPLEXITY = "O(N+log(M)) where N is the number of members in the cells around the area and M that of the set."


@dataclass(slots=True)
class _Search:
    """A parsed search. The centre is None when there is no source key to look a member up in."""

    header: Header | None
    is_geosearch: bool
    can_store: bool
    store_key: bytes | None = None
    store_distances: bool = False
    centre: tuple[float, float] | None = None
    centre_from: bytes = b""
    """FROMMEMBER or FROMLONLAT, once one of them was given."""
    area: tuple[float, float, float, float, bool] | None = None
    """(radius, width, height, metres in a unit, whether it is a box)."""
    with_coordinates: bool = False
    with_distance: bool = False
    with_hash: bool = False
    count: int = 0
    any: bool = False
    order: bytes = b""

    @property
    def shape(self) -> SearchShape:
        """The area around the centre."""
        assert self.centre is not None and self.area is not None
        radius, width, height, unit_m, is_box = self.area
        return SearchShape(*self.centre, radius, width, height, unit_m, is_box)


# ---- arguments


def _number(text: bytes, message: bytes) -> float:
    try:
        return parse_float(text)
    except ValueError:
        raise CommandError(message) from None


def _parse_radius(radius: bytes, unit: bytes) -> tuple[float, float, float, float, bool]:
    distance = _number(radius, b"ERR need numeric radius")
    if distance < 0:
        raise CommandError(b"ERR radius cannot be negative")
    return distance, 0.0, 0.0, geohash.parse_unit(unit), False


def _parse_box(width: bytes, height: bytes, unit: bytes) -> tuple[float, float, float, float, bool]:
    wide = _number(width, b"ERR need numeric width")
    high = _number(height, b"ERR need numeric height")
    if wide < 0 or high < 0:
        raise CommandError(b"ERR height or width cannot be negative")
    return 0.0, wide, high, geohash.parse_unit(unit), True


def _member_position(client: Client, header: Header, member: bytes) -> tuple[float, float]:
    score = zsets.score_of(client.engine, header, member)
    if score is None:
        raise CommandError(b"ERR could not decode requested zset member")
    return geohash.decode(score)


def _parse_options(client: Client, search: _Search, argv: list[bytes], at: int) -> None:
    """Options common to all searches, from `at` on."""
    while at < len(argv):
        option = argv[at].upper()
        left = len(argv) - at - 1
        if option == b"WITHDIST":
            search.with_distance = True
        elif option == b"WITHHASH":
            search.with_hash = True
        elif option == b"WITHCOORD":
            search.with_coordinates = True
        elif option == b"ANY":
            search.any = True
        elif option in (b"ASC", b"DESC"):
            search.order = option
        elif option == b"COUNT" and left:
            search.count = parse_integer(argv[at + 1])
            if search.count <= 0:
                raise CommandError(b"ERR COUNT must be > 0")
            at += 1
        elif search.is_geosearch:
            at += _parse_geosearch_option(client, search, option, argv[at + 1 :])
        elif option in (b"STORE", b"STOREDIST") and left and search.can_store:
            search.store_key = argv[at + 1]
            search.store_distances = option == b"STOREDIST"
            at += 1
        else:
            raise CommandSyntaxError
        at += 1


def _parse_geosearch_option(client: Client, search: _Search, option: bytes, rest: list[bytes]) -> int:
    """An option that only GEOSEARCH and GEOSEARCHSTORE have; answers how many arguments it took."""
    if option == b"FROMMEMBER" and rest and search.centre_from != b"FROMLONLAT":
        search.centre_from = option
        if search.header is not None:
            search.centre = _member_position(client, search.header, rest[0])
        return 1
    if option == b"FROMLONLAT" and len(rest) > 1 and search.centre_from != b"FROMMEMBER":
        search.centre_from = option
        search.centre = parse_position(rest[0], rest[1])
        return 2
    if option == b"BYRADIUS" and len(rest) > 1 and not (search.area and search.area[4]):
        search.area = _parse_radius(rest[0], rest[1])
        return 2
    if option == b"BYBOX" and len(rest) > 2 and not (search.area and not search.area[4]):
        search.area = _parse_box(rest[0], rest[1], rest[2])
        return 3
    if option == b"STOREDIST" and search.store_key is not None:
        search.store_distances = True
        return 0
    raise CommandSyntaxError


def _check(search: _Search, name: bytes) -> None:
    """Options that exclude or need each other."""
    if search.store_key is not None and (search.with_distance or search.with_hash or search.with_coordinates):
        what = b"GEOSEARCHSTORE" if search.is_geosearch else b"STORE option in GEORADIUS"
        raise CommandError(b"ERR %b is not compatible with WITHDIST, WITHHASH and WITHCOORD options" % what)
    if search.is_geosearch and not search.centre_from:
        raise CommandError(b"ERR exactly one of FROMMEMBER or FROMLONLAT can be specified for %b" % name)
    if search.is_geosearch and search.area is None:
        raise CommandError(b"ERR exactly one of BYRADIUS and BYBOX can be specified for %b" % name)
    if search.any and not search.count:
        raise CommandError(b"ERR the ANY argument requires COUNT argument")


# ---- searching

_Point = tuple[float, float, float, bytes, float]
"""(distance in units, longitude, latitude, member, score)."""


def _points(client: Client, search: _Search) -> list[_Point]:
    """The members in the area, as many as are wanted, in the order of the reply."""
    assert search.header is not None
    engine, header = client.engine, search.header
    shape = search.shape
    inside = geohash.membership(shape)
    limit = search.count if search.any else 0
    found: list[_Point] = []
    for low, high in geohash.search_ranges(shape):
        cell = ScoreRange(float(low), float(high), False, True)
        for member, score in zset_ranges.select(engine, header, cell):
            place = inside(score)
            if place is not None:
                found.append((*place, member, score))
                if limit and len(found) >= limit:
                    break
        if limit and len(found) >= limit:
            break
    # The nearest can only be told apart in order; ANY takes what was found first.
    order = search.order or (b"ASC" if search.count and not search.any else b"")
    if not order:
        return found
    if search.count and search.count < len(found):
        pick = heapq.nsmallest if order == b"ASC" else heapq.nlargest
        return pick(search.count, found, key=_distance)
    found.sort(key=_distance, reverse=order == b"DESC")
    return found


def _distance(point: _Point) -> float:
    return point[0]


def _answer(client: Client, search: _Search, name: bytes) -> bytes:
    _check(search, name)
    if search.header is None:
        return EMPTY_ARRAY if search.store_key is None else store_reply(client, search.store_key, [], b"")
    points = _points(client, search)
    if search.store_key is None:
        return _reply(client, search, points)
    stored = [(point[3], point[0] if search.store_distances else point[4]) for point in points]
    event = b"geosearchstore" if search.is_geosearch else b"georadiusstore"
    return store_reply(client, search.store_key, sorted(stored, key=zsets.by_score), event)


def _reply(client: Client, search: _Search, points: list[_Point]) -> bytes:
    if not (search.with_distance or search.with_hash or search.with_coordinates):
        return array([bulk(point[3]) for point in points])
    items: list[bytes] = []
    resp = client.resp
    for distance, longitude, latitude, member, score in points:
        item = [bulk(member)]
        if search.with_distance:
            item.append(bulk(geohash.format_distance(distance)))
        if search.with_hash:
            item.append(b":%d\r\n" % int(score))
        if search.with_coordinates:
            item.append(coordinates(longitude, latitude, resp))
        items.append(array(item))
    return array(items)


# ---- commands


@command(
    "GEOSEARCH",
    arity=-7,
    flags=Flag.READONLY,
    keys=KeySpec("RO access"),
    group="geo",
    since="6.2.0",
    complexity=_COMPLEXITY,
    syntax=f"key {_FROM} {_BY} {_WITH}",
)
def geosearch(client: Client, argv: list[bytes]) -> bytes:
    """Return the members in a circle or box."""
    search = _Search(read(client, argv[1]), True, False)
    _parse_options(client, search, argv, 2)
    return _answer(client, search, argv[0])


@command(
    "GEOSEARCHSTORE",
    arity=-8,
    flags=Flag.WRITE | Flag.DENYOOM,
    keys=(KeySpec("OW update"), KeySpec("RO access", begin=2)),
    group="geo",
    since="6.2.0",
    complexity=_COMPLEXITY,
    syntax=f"destination source {_FROM} {_BY} [storedist=STOREDIST]",
)
def geosearchstore(client: Client, argv: list[bytes]) -> bytes:
    """Store the members in a circle or box under another key."""
    search = _Search(read(client, argv[2]), True, True, argv[1])
    _parse_options(client, search, argv, 3)
    return _answer(client, search, argv[0])


def _by_position(client: Client, argv: list[bytes], can_store: bool) -> bytes:
    search = _Search(read(client, argv[1]), False, can_store)
    search.centre = parse_position(argv[2], argv[3])
    search.area = _parse_radius(argv[4], argv[5])
    _parse_options(client, search, argv, 6)
    return _answer(client, search, argv[0])


def _by_member(client: Client, argv: list[bytes], can_store: bool) -> bytes:
    search = _Search(read(client, argv[1]), False, can_store)
    if search.header is not None:
        # Without a set the radius is not even looked at.
        search.centre = _member_position(client, search.header, argv[2])
        search.area = _parse_radius(argv[3], argv[4])
    _parse_options(client, search, argv, 5)
    return _answer(client, search, argv[0])


_RADIUS_OPTIONS = f"{_WITH} [COUNT count [ANY]@6.2.0] [ASC | DESC]"
_STORE = "[STORE storekey=key | STOREDIST storedistkey=key]"


def _radius_keys(begin: int) -> tuple[KeySpec, ...]:
    return (
        KeySpec("RO access"),
        KeySpec("OW update", begin=begin, keyword=b"STORE"),
        KeySpec("OW update", begin=begin, keyword=b"STOREDIST"),
    )


@command(
    "GEORADIUS",
    arity=-6,
    flags=Flag.WRITE | Flag.DENYOOM | Flag.MOVABLEKEYS,
    keys=_radius_keys(6),
    group="geo",
    since="3.2.0",
    complexity=_COMPLEXITY,
    syntax=f"key longitude latitude radius {_UNIT} {_RADIUS_OPTIONS} {_STORE}",
)
def georadius(client: Client, argv: list[bytes]) -> bytes:
    """Return or store the members in a circle around a position."""
    return _by_position(client, argv, True)


@command(
    "GEORADIUS_RO",
    arity=-6,
    flags=Flag.READONLY,
    keys=KeySpec("RO access"),
    group="geo",
    since="3.2.10",
    complexity=_COMPLEXITY,
    syntax=f"key longitude latitude radius {_UNIT} {_RADIUS_OPTIONS}",
)
def georadius_ro(client: Client, argv: list[bytes]) -> bytes:
    """Return the members in a circle around a position."""
    return _by_position(client, argv, False)


@command(
    "GEORADIUSBYMEMBER",
    arity=-5,
    flags=Flag.WRITE | Flag.DENYOOM | Flag.MOVABLEKEYS,
    keys=_radius_keys(5),
    group="geo",
    since="3.2.0",
    complexity=_COMPLEXITY,
    syntax=f"key member radius {_UNIT} {_RADIUS_OPTIONS.replace('@6.2.0', '')} {_STORE}",
)
def georadiusbymember(client: Client, argv: list[bytes]) -> bytes:
    """Return or store the members in a circle around a member."""
    return _by_member(client, argv, True)


@command(
    "GEORADIUSBYMEMBER_RO",
    arity=-5,
    flags=Flag.READONLY,
    keys=KeySpec("RO access"),
    group="geo",
    since="3.2.10",
    complexity=_COMPLEXITY,
    syntax=f"key member radius {_UNIT} {_RADIUS_OPTIONS.replace('@6.2.0', '')}",
)
def georadiusbymember_ro(client: Client, argv: list[bytes]) -> bytes:
    """Return the members in a circle around a member."""
    return _by_member(client, argv, False)
