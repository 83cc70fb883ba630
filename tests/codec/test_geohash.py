"""Geo arithmetic against a real server: scores, coordinates, geohashes, distances, searches and their order."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskkv.codec import geohash
from diskkv.codec.geohash import MAX_LATITUDE, MAX_LONGITUDE, SearchShape
from diskkv.errors import CommandError
from tests.harness.servers import POOL, redis_8
from tests.harness.wire import ErrorReply, Wire

Points = dict[bytes, tuple[float, float]]


@pytest.fixture(scope="module")
def redis() -> Iterator[Wire]:
    with POOL.get(redis_8()).connect() as wire:
        wire.call(b"FLUSHALL")
        yield wire


def number(value: float) -> bytes:
    return repr(value).encode()


def random_position(rng: random.Random) -> tuple[float, float]:
    kind = rng.randrange(6)
    if kind == 0:
        return rng.uniform(-180, 180), rng.uniform(-MAX_LATITUDE, MAX_LATITUDE)
    if kind == 1:
        return rng.gauss(13.4, 0.05), rng.gauss(52.5, 0.05)
    if kind == 2:
        return rng.choice([-180.0, -179.999, 179.99, 180.0]), rng.uniform(-MAX_LATITUDE, MAX_LATITUDE)
    if kind == 3:
        return rng.uniform(-180, 180), rng.choice([-1, 1]) * rng.uniform(80, MAX_LATITUDE)
    if kind == 4:
        return rng.choice([-180.0, 0.0, -0.0, 90.0, 180.0]), rng.choice([-MAX_LATITUDE, 0.0, 66.0, 80.0, MAX_LATITUDE])
    return rng.gauss(0, 0.001), rng.gauss(0, 0.001)


@pytest.fixture(scope="module")
def points(redis: Wire) -> Points:
    rng = random.Random(42)
    made = {b"p%d" % index: random_position(rng) for index in range(900)}
    for name, (longitude, latitude) in made.items():
        assert redis.call(b"GEOADD", b"points", number(longitude), number(latitude), name) == 1
    return made


def test_scores_positions_and_geohashes_match_a_server(redis: Wire, points: Points) -> None:
    names = list(points)
    scores = redis.call(b"ZMSCORE", b"points", *names)
    positions = redis.call(b"GEOPOS", b"points", *names)
    hashes = redis.call(b"GEOHASH", b"points", *names)
    assert isinstance(scores, list) and isinstance(positions, list) and isinstance(hashes, list)
    for name, score, position, text in zip(names, scores, positions, hashes, strict=True):
        ours = geohash.encode(*points[name])
        assert float(ours) == float(score)
        assert geohash.decode(float(ours)) == tuple(map(float, position))
        assert geohash.geohash_text(float(ours)) == text


def test_distances_match_a_server(redis: Wire, points: Points) -> None:
    rng = random.Random(1)
    names = list(points)
    decoded = {name: geohash.decode(float(geohash.encode(*position))) for name, position in points.items()}
    commands = []
    ours = []
    for _ in range(500):
        left, right = rng.choice(names), rng.choice(names)
        unit = rng.choice([b"m", b"km", b"ft", b"mi", b"KM"])
        commands.append([b"GEODIST", b"points", left, right, unit])
        metres = geohash.distance_m(*decoded[left], *decoded[right])
        ours.append(geohash.format_distance(metres / geohash.parse_unit(unit)))
    assert redis.pipeline(commands) == ours


SCORES = [0.0, 1.0, 1.5, -1.0, -0.5, -2.5, 2.0**52 - 1, 2.0**52, 2.0**53, 1e15, 3e18, 2.0**63, 1.5e19, 2.0**64, 1e300]
SCORES += [-(2.0**63), -1e300, float("inf"), float("-inf"), -(2.0**52), -(2.0**40)]


@pytest.mark.parametrize("score", SCORES)
def test_any_score_decodes_as_on_a_server(redis: Wire, score: float) -> None:
    redis.call(b"ZADD", b"scores", number(score), b"m")
    positions = redis.call(b"GEOPOS", b"scores", b"m")
    assert isinstance(positions, list) and isinstance(positions[0], list)
    assert tuple(map(float, positions[0])) == geohash.decode(score)
    assert redis.call(b"GEOHASH", b"scores", b"m") == [geohash.geohash_text(score)]


def our_search(shape: SearchShape, members: list[tuple[int, bytes]]) -> list[list[object]]:
    """What GEOSEARCH without a sort order replies; `members` by score, then name."""
    inside = geohash.membership(shape)
    found: list[list[object]] = []
    for low, high in geohash.search_ranges(shape):
        for score, name in members:
            if low <= score < high:
                match = inside(float(score))
                if match is not None:
                    distance, longitude, latitude = match
                    found.append([name, geohash.format_distance(distance), score, longitude, latitude])
                    assert geohash.distance_if_inside(shape, float(score)) == distance
                else:
                    assert geohash.distance_if_inside(shape, float(score)) is None
    return found


def random_length(rng: random.Random) -> float:
    return rng.choice([0.0, 1.0, rng.uniform(0, 100), 10 ** rng.uniform(-1, 4.7), 10 ** rng.uniform(2, 7.5)])


@pytest.mark.parametrize("seed", range(4))
def test_searches_match_a_server(redis: Wire, points: Points, seed: int) -> None:
    rng = random.Random(seed)
    members = sorted((int(float(geohash.encode(*position))), name) for name, position in points.items())
    found = 0
    for _ in range(70):
        longitude, latitude = random_position(rng)
        unit = rng.choice([b"m", b"m", b"km", b"ft", b"mi"])
        unit_m = geohash.parse_unit(unit)
        command: list[bytes] = [b"GEOSEARCH", b"points", b"FROMLONLAT", number(longitude), number(latitude)]
        if rng.random() < 0.5:
            radius = random_length(rng)
            shape = geohash.circle(longitude, latitude, radius, unit_m)
            command += [b"BYRADIUS", number(radius), unit]
        else:
            width, height = random_length(rng), random_length(rng)
            shape = geohash.box(longitude, latitude, width, height, unit_m)
            command += [b"BYBOX", number(width), number(height), unit]
        theirs = redis.call(*command, b"WITHDIST", b"WITHHASH", b"WITHCOORD")
        assert isinstance(theirs, list)
        # Coordinates are compared as numbers: Redis 8 and 7 print them differently.
        flat = [[name, distance, score, *map(float, position)] for name, distance, score, position in theirs]
        assert our_search(shape, members) == flat, command
        found += len(theirs)
    assert found > 500


def test_search_ranges_are_few_and_hold_what_is_near() -> None:
    rng = random.Random(8)
    for _ in range(300):
        longitude, latitude = random_position(rng)
        shape = geohash.circle(longitude, latitude, 10 ** rng.uniform(0, 6))
        ranges = geohash.search_ranges(shape)
        assert 1 <= len(ranges) <= 9
        assert any(low <= geohash.encode(longitude, latitude) < high for low, high in ranges)


# --- arguments and texts ---


@pytest.mark.parametrize("longitude", [-180.5, -180.0, 0.0, 180.0, 180.0001, 1e20, float("inf")])
@pytest.mark.parametrize("latitude", [-86.0, -85.06, -MAX_LATITUDE, 0.0, MAX_LATITUDE, 90.0, float("-inf")])
def test_positions_are_checked_as_on_a_server(redis: Wire, longitude: float, latitude: float) -> None:
    reply = redis.call(b"GEOADD", b"checked", number(longitude), number(latitude), b"m")
    if isinstance(reply, ErrorReply):
        with pytest.raises(CommandError) as caught:
            geohash.check_position(longitude, latitude)
        assert caught.value.message == reply.text
    else:
        geohash.check_position(longitude, latitude)


def test_not_a_number_is_no_position() -> None:
    with pytest.raises(CommandError, match="invalid longitude,latitude pair"):
        geohash.check_position(float("nan"), 0.0)


def test_units() -> None:
    assert [geohash.parse_unit(unit) for unit in (b"m", b"Km", b"FT", b"mi")] == [1.0, 1000.0, 0.3048, 1609.34]


@pytest.mark.parametrize("unit", [b"", b"x", b"kms", b"m "])
def test_unknown_units_are_refused(redis: Wire, points: Points, unit: bytes) -> None:
    reply = redis.call(b"GEODIST", b"points", b"p0", b"p1", unit)
    assert isinstance(reply, ErrorReply)
    with pytest.raises(CommandError) as caught:
        geohash.parse_unit(unit)
    assert caught.value.message == reply.text


def test_texts_of_numbers() -> None:
    assert geohash.format_distance(0.0) == b"0.0000"
    assert geohash.format_distance(0.00005) == b"0.0000"
    assert geohash.format_distance(0.00015) == b"0.0001"
    assert geohash.format_distance(166274.15156960039) == b"166274.1516"


# --- properties ---

# Without the upper edges, which Redis puts in a row or column past the last one.
longitudes = st.floats(-MAX_LONGITUDE, 179.9)
latitudes = st.floats(-MAX_LATITUDE, 85.0)


@given(longitudes, latitudes)
def test_decoding_stays_within_a_cell(longitude: float, latitude: float) -> None:
    score = geohash.encode(longitude, latitude)
    assert 0 <= score < 1 << 52
    decoded = geohash.decode(float(score))
    assert abs(decoded[0] - longitude) <= 360 / 2**26
    assert abs(decoded[1] - latitude) <= 171 / 2**26
    assert geohash.encode(*decoded) == score


@given(longitudes, latitudes, longitudes, latitudes)
def test_distance_is_symmetric_and_within_half_the_earth(x1: float, y1: float, x2: float, y2: float) -> None:
    there, back = geohash.distance_m(x1, y1, x2, y2), geohash.distance_m(x2, y2, x1, y1)
    assert there == pytest.approx(back)
    assert 0 <= there <= geohash.EARTH_RADIUS_M * 3.15
