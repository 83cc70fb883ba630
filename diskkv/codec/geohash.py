"""Geo commands' arithmetic: positions as 52-bit sorted-set scores, distances, search areas; bit for bit as Redis.

A score interleaves 26 bits of latitude (even bits) and 26 bits of longitude (odd bits), each a fraction of its range,
so that a cell of the grid at any coarser step is one range of scores. A search covers its area with the cell around the
centre and those of its eight neighbours that it reaches (`search_ranges`); then each member there is looked at
(`membership`).

Units: degrees for longitude (-180 .. 180, inclusive) and latitude (-85.05112878 .. 85.05112878, inclusive: what the Web
Mercator projection covers), metres for distances inside this module.

Sources: https://redis.io/docs/latest/commands/geosearch/, geoadd, geohash, geodist, and a real server's replies.
"""

from __future__ import annotations

from collections.abc import Callable
from math import asin, cos, fabs, isfinite, nan, pi, sin, sqrt
from struct import Struct
from typing import Final, NamedTuple

from diskkv.errors import CommandError

MAX_LONGITUDE: Final = 180.0
MAX_LATITUDE: Final = 85.05112878
MAX_STEP: Final = 26
EARTH_RADIUS_M: Final = 6372797.560856

UNITS: Final = {b"m": 1.0, b"km": 1000.0, b"ft": 0.3048, b"mi": 1609.34}
"""Metres in each unit, by lower-case name."""

# Half the equator, in metres, at the scale of the projection: what a cell of step 1 spans.
_MERCATOR_MAX_M = 20037726.37
_RADIANS = pi / 180.0
_ALPHABET = b"0123456789bcdefghjkmnpqrstuvwxyz"
_MASK = (1 << 64) - 1
_LATITUDE_BITS = 0x5555555555555555
_LONGITUDE_BITS = 0xAAAAAAAAAAAAAAAA

# By 16 bits: the even ones closed up to 8 bits. By 8 bits: the same spread out over the even places of 16.
_HALF = bytes(sum((byte >> 2 * i & 1) << i for i in range(4)) for byte in range(256))
_EVEN_BITS = b"".join(bytes(high << 4 | low for low in _HALF) for high in _HALF)
_SPREAD = [sum((byte >> i & 1) << 2 * i for i in range(8)) for byte in range(256)]
_FOUR_WORDS = Struct("<4H").unpack
_FOUR_BYTES = Struct("<4B").unpack


class Area(NamedTuple):
    """A cell of the grid, in degrees."""

    min_longitude: float
    max_longitude: float
    min_latitude: float
    max_latitude: float


# --- arguments and texts ---


def check_position(longitude: float, latitude: float) -> None:
    """Refuse a position that the projection does not cover, or that is not a number.

    Raises:
        CommandError: With Redis' text.
    """
    if not (-MAX_LONGITUDE <= longitude <= MAX_LONGITUDE and -MAX_LATITUDE <= latitude <= MAX_LATITUDE):
        raise CommandError(f"ERR invalid longitude,latitude pair {longitude:f},{latitude:f}")


def parse_unit(argument: bytes) -> float:
    """How many metres one m, km, ft or mi has; letters in any case.

    Raises:
        CommandError: Another unit.
    """
    try:
        return UNITS[argument.lower()]
    except KeyError:
        raise CommandError(b"ERR unsupported unit provided. please use M, KM, FT, MI") from None


def format_distance(distance: float) -> bytes:
    """A distance as GEODIST and WITHDIST reply it: four decimals, halves to the even digit."""
    scaled = round(distance * 10000.0)
    return b"%d.%04d" % divmod(scaled, 10000)


# --- scores ---


def _interleave(even: int, odd: int) -> int:
    """The low 32 bits of two numbers, bit by bit in turn."""
    spread = _SPREAD
    e0, e1, e2, e3 = _FOUR_BYTES((even & 0xFFFFFFFF).to_bytes(4, "little"))
    o0, o1, o2, o3 = _FOUR_BYTES((odd & 0xFFFFFFFF).to_bytes(4, "little"))
    bits: int = (
        spread[e0]
        | spread[o0] << 1
        | (spread[e1] | spread[o1] << 1) << 16
        | (spread[e2] | spread[o2] << 1) << 32
        | (spread[e3] | spread[o3] << 1) << 48
    )
    return bits


def _deinterleave(bits: int) -> tuple[int, int]:
    """The even and the odd bits of a 64-bit number."""
    table = _EVEN_BITS
    e0, e1, e2, e3 = _FOUR_WORDS(bits.to_bytes(8, "little"))
    o0, o1, o2, o3 = _FOUR_WORDS((bits >> 1).to_bytes(8, "little"))
    return (
        table[e0] | table[e1] << 8 | table[e2] << 16 | table[e3] << 24,
        table[o0] | table[o1] << 8 | table[o2] << 16 | table[o3] << 24,
    )


def _cell_bits(longitude: float, latitude: float, step: int, max_latitude: float = MAX_LATITUDE) -> int:
    """The cell of a grid with 2**step rows and columns that holds a position."""
    cells = float(1 << step)
    row = int((latitude + max_latitude) / (max_latitude + max_latitude) * cells)
    column = int((longitude + MAX_LONGITUDE) / (MAX_LONGITUDE + MAX_LONGITUDE) * cells)
    return _interleave(row, column)


def _cell_area(bits: int, step: int) -> Area:
    row, column = _deinterleave(bits)
    cells = float(1 << step)
    height, width = MAX_LATITUDE + MAX_LATITUDE, MAX_LONGITUDE + MAX_LONGITUDE
    return Area(
        -MAX_LONGITUDE + column / cells * width,
        -MAX_LONGITUDE + (column + 1) / cells * width,
        -MAX_LATITUDE + row / cells * height,
        -MAX_LATITUDE + (row + 1) / cells * height,
    )


def encode(longitude: float, latitude: float) -> int:
    """The score of a position that `check_position` accepts; the sorted set keeps it as a double.

    It needs 52 bits, except at longitude 180 and at the highest latitude, which have a column and row of their own.
    """
    return _cell_bits(longitude, latitude, MAX_STEP)


def score_bits(score: float) -> int:
    """Any score as the unsigned 64-bit integer that Redis makes of it: only geo commands' own scores are in range."""
    if 0.0 <= score < 18446744073709551616.0:
        return int(score)
    if -9223372036854775808.0 <= score < 0.0:
        return int(score) & _MASK
    # What x86-64 gives for a number that does not fit.
    return 0 if score > 0 else 1 << 63


def decode(score: float) -> tuple[float, float]:
    """Longitude and latitude of the middle of a score's cell."""
    # _cell_area written out: this runs for every member that a search looks at.
    table = _EVEN_BITS
    bits = int(score) if 0.0 <= score < 18446744073709551616.0 else score_bits(score)
    r0, r1, r2, r3 = _FOUR_WORDS(bits.to_bytes(8, "little"))
    c0, c1, c2, c3 = _FOUR_WORDS((bits >> 1).to_bytes(8, "little"))
    row = table[r0] | table[r1] << 8 | table[r2] << 16 | table[r3] << 24
    column = table[c0] | table[c1] << 8 | table[c2] << 16 | table[c3] << 24
    longitude = ((-180.0 + column / 67108864.0 * 360.0) + (-180.0 + (column + 1) / 67108864.0 * 360.0)) / 2
    latitude = (
        (-MAX_LATITUDE + row / 67108864.0 * 170.10225756) + (-MAX_LATITUDE + (row + 1) / 67108864.0 * 170.10225756)
    ) / 2
    if row >> MAX_STEP or column >> MAX_STEP:
        return _decode_outside(row, column)
    return longitude, latitude


def _decode_outside(row: int, column: int) -> tuple[float, float]:
    """The position Redis makes of a score that no geo command has set."""
    cells = float(1 << MAX_STEP)
    # The number of the next row or column is a 32-bit one.
    next_row, next_column = row + 1 & 0xFFFFFFFF, column + 1 & 0xFFFFFFFF
    longitude = ((-180.0 + column / cells * 360.0) + (-180.0 + next_column / cells * 360.0)) / 2
    height = MAX_LATITUDE + MAX_LATITUDE
    latitude = ((-MAX_LATITUDE + row / cells * height) + (-MAX_LATITUDE + next_row / cells * height)) / 2
    return min(longitude, MAX_LONGITUDE), min(latitude, MAX_LATITUDE)


def geohash_text(score: float) -> bytes:
    """The standard geohash of a score's position: 11 characters, of which the last is always ``0``."""
    longitude, latitude = decode(score)
    # The usual grid, unlike the one of scores, covers latitudes up to the poles.
    bits = _cell_bits(longitude, latitude, MAX_STEP, 90.0)
    return bytes(_ALPHABET[bits >> shift & 31] for shift in range(47, 0, -5)) + _ALPHABET[:1]


# --- distances ---


def distance_m(longitude1: float, latitude1: float, longitude2: float, latitude2: float) -> float:
    """The great-circle distance of two positions, in metres (haversine)."""
    v = sin((longitude2 * _RADIANS - longitude1 * _RADIANS) / 2)
    if v == 0.0:
        return _latitude_distance_m(latitude1, latitude2)
    radians1, radians2 = latitude1 * _RADIANS, latitude2 * _RADIANS
    u = sin((radians2 - radians1) / 2)
    return 2.0 * EARTH_RADIUS_M * asin(sqrt(u * u + cos(radians1) * cos(radians2) * v * v))


def _latitude_distance_m(latitude1: float, latitude2: float) -> float:
    return EARTH_RADIUS_M * fabs(latitude2 * _RADIANS - latitude1 * _RADIANS)


# --- searches ---


class SearchShape(NamedTuple):
    """A circle or a box around a position, as GEOSEARCH and GEORADIUS take it.

    Args:
        longitude: Of the centre.
        latitude: Of the centre.
        radius: Of a circle, in units; 0 for a box.
        width: Of a box, in units; 0 for a circle.
        height: Of a box, in units; 0 for a circle.
        unit_m: Metres in one unit, from `UNITS`.
        is_box: Whether it is a box.
    """

    longitude: float
    latitude: float
    radius: float
    width: float
    height: float
    unit_m: float
    is_box: bool


def circle(longitude: float, latitude: float, radius: float, unit_m: float = 1.0) -> SearchShape:
    """BYRADIUS."""
    return SearchShape(longitude, latitude, radius, 0.0, 0.0, unit_m, False)


def box(longitude: float, latitude: float, width: float, height: float, unit_m: float = 1.0) -> SearchShape:
    """BYBOX: its width runs along the parallel of each member, its height along the meridian."""
    return SearchShape(longitude, latitude, 0.0, width, height, unit_m, True)


def membership(shape: SearchShape) -> Callable[[float], tuple[float, float, float] | None]:
    """A function from a score to (distance in the shape's unit, longitude, latitude), or None when it lies outside.

    Make it once for a search: it takes about 2 us for a member.
    """
    return _box_membership(shape) if shape.is_box else _circle_membership(shape)


def _circle_membership(shape: SearchShape) -> Callable[[float], tuple[float, float, float] | None]:
    centre_longitude, centre_latitude, unit_m = shape.longitude, shape.latitude, shape.unit_m
    radius_m = shape.radius * unit_m
    longitude_radians, latitude_radians = centre_longitude * _RADIANS, centre_latitude * _RADIANS
    latitude_cosine = cos(latitude_radians)

    def inside(score: float) -> tuple[float, float, float] | None:
        longitude, latitude = decode(score)
        # distance_m written out, with what depends on the centre alone computed once.
        v = sin((longitude * _RADIANS - longitude_radians) / 2)
        if v == 0.0:
            metres = _latitude_distance_m(centre_latitude, latitude)
        else:
            radians = latitude * _RADIANS
            u = sin((radians - latitude_radians) / 2)
            metres = 2.0 * EARTH_RADIUS_M * asin(sqrt(u * u + latitude_cosine * cos(radians) * v * v))
        return None if metres > radius_m else (metres / unit_m, longitude, latitude)

    return inside


def _box_membership(shape: SearchShape) -> Callable[[float], tuple[float, float, float] | None]:
    centre_longitude, centre_latitude, unit_m = shape.longitude, shape.latitude, shape.unit_m
    half_width_m, half_height_m = shape.width * unit_m / 2, shape.height * unit_m / 2

    def inside(score: float) -> tuple[float, float, float] | None:
        longitude, latitude = decode(score)
        if _latitude_distance_m(latitude, centre_latitude) > half_height_m:
            return None
        if distance_m(longitude, latitude, centre_longitude, latitude) > half_width_m:
            return None
        return distance_m(centre_longitude, centre_latitude, longitude, latitude) / unit_m, longitude, latitude

    return inside


def distance_if_inside(shape: SearchShape, score: float) -> float | None:
    """How far a member is from the centre, in the shape's unit; None when it lies outside."""
    found = membership(shape)(score)
    return None if found is None else found[0]


def search_ranges(shape: SearchShape) -> list[tuple[int, int]]:
    """The ranges of scores that cover a shape, as (min inclusive, max exclusive), at most 9.

    Redis looks through them in this order, and each by score: this is the order of an unsorted reply, and decides
    which members COUNT with ANY finds.
    """
    step, cells = _covering_cells(shape)
    ranges: list[tuple[int, int]] = []
    shift = 2 * (MAX_STEP - step)
    last = -1
    for place, bits in enumerate(cells):
        # In a coarse grid the neighbours on both sides can be the same cell. As in Redis, a cell is compared with the
        # one used before it, but not with the centre.
        if bits is None or bits == last:
            continue
        ranges.append((bits << shift, (bits + 1) << shift))
        last = bits if place else -1
    return ranges


def _covering_cells(shape: SearchShape) -> tuple[int, list[int | None]]:
    """The step of the grid, and the cells to look at, None for one that is not needed.

    Order: centre, north, south, east, west, north-east, north-west, south-east, south-west.
    """
    longitude, latitude, unit_m = shape.longitude, shape.latitude, shape.unit_m
    if shape.is_box:
        radius = sqrt((shape.width / 2) * (shape.width / 2) + (shape.height / 2) * (shape.height / 2))
    else:
        radius = shape.radius
    bounds = _bounding_box(shape)
    step = _step_for_radius(radius * unit_m, latitude)
    centre = _cell_bits(longitude, latitude, step)
    cells = _neighbours(centre, step)
    if step > 1 and _reaches_past(cells, step, bounds):
        step -= 1
        centre = _cell_bits(longitude, latitude, step)
        cells = _neighbours(centre, step)
    if step < 2:
        return step, [centre, *cells]
    area = _cell_area(centre, step)
    skip_south = area.min_latitude < bounds.min_latitude
    skip_north = area.max_latitude > bounds.max_latitude
    skip_west = area.min_longitude < bounds.min_longitude
    skip_east = area.max_longitude > bounds.max_longitude
    skipped = (
        skip_north,
        skip_south,
        skip_east,
        skip_west,
        skip_north or skip_east,
        skip_north or skip_west,
        skip_south or skip_east,
        skip_south or skip_west,
    )
    return step, [centre, *(None if skip else bits for bits, skip in zip(cells, skipped, strict=True))]


def _bounding_box(shape: SearchShape) -> Area:
    """What lies around the shape, in degrees; may reach past the ends of the projection."""
    height_m = shape.unit_m * (shape.height / 2 if shape.is_box else shape.radius)
    width_m = shape.unit_m * (shape.width / 2 if shape.is_box else shape.radius)
    latitude_delta = height_m / EARTH_RADIUS_M / _RADIANS
    # The same length spans more degrees on the side of the nearer pole.
    widest = shape.latitude - latitude_delta if shape.latitude < 0 else shape.latitude + latitude_delta
    # Nothing is compared with a bound that is not a number, as in C: an endless shape reaches past every cell or none.
    shrinking = cos(widest * _RADIANS) if isfinite(widest) else nan
    longitude_delta = width_m / EARTH_RADIUS_M / shrinking / _RADIANS
    return Area(
        shape.longitude - longitude_delta,
        shape.longitude + longitude_delta,
        shape.latitude - latitude_delta,
        shape.latitude + latitude_delta,
    )


def _step_for_radius(radius_m: float, latitude: float) -> int:
    """The finest grid in which nine cells cover a circle in most cases."""
    if radius_m == 0:
        return MAX_STEP
    step = 1
    while radius_m < _MERCATOR_MAX_M:
        radius_m *= 2
        step += 1
    step -= 2
    # Cells span fewer metres towards the poles.
    if fabs(latitude) > 66:
        step -= 1
        if fabs(latitude) > 80:
            step -= 1
    return min(max(step, 1), MAX_STEP)


def _reaches_past(cells: list[int], step: int, bounds: Area) -> bool:
    """Whether the bounding box reaches past the neighbours to the north, south, east and west."""
    north, south, east, west = (_cell_area(bits, step) for bits in cells[:4])
    return (
        north.max_latitude < bounds.max_latitude
        or south.min_latitude > bounds.min_latitude
        or east.max_longitude < bounds.max_longitude
        or west.min_longitude > bounds.min_longitude
    )


def _neighbours(bits: int, step: int) -> list[int]:
    """The cells around one, wrapping at the grid's edges: N, S, E, W, NE, NW, SE, SW."""
    mask = (1 << 2 * step) - 1
    # Longitude 180 lies in a column past the last one; a coordinate stays unmasked where it does not move, as in Redis.
    row, column = bits & _LATITUDE_BITS, bits & _LONGITUDE_BITS
    rows, columns = _LATITUDE_BITS & mask, _LONGITUDE_BITS & mask
    # With the other coordinate's bits all set, a carry runs through them to the next bit of this one; the same borrow
    # goes down when they are clear.
    north, south = (row | columns) + 1 & rows, row - 1 & rows
    east, west = (column | rows) + 1 & columns, column - 1 & columns
    return [
        north | column,
        south | column,
        row | east,
        row | west,
        north | east,
        north | west,
        south | east,
        south | west,
    ]
