"""The geo commands on a client without a socket; the replies are a real server's."""

from __future__ import annotations

import pytest

from tests.commands.session import Session


@pytest.fixture(params=[128, 0], ids=["packed", "rows"])
def session(request: pytest.FixtureRequest) -> Session:
    """A client of a server with the usual limits, and of one that never packs."""
    made = Session()
    made.instance.config.zset_max_listpack_entries = request.param
    return made


def test_commands(session: Session) -> None:
    session.check(r"""
        GEOADD g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania -> 2
        GEOADD g NX XX 1 1 a -> ERR syntax error
        GEOADD g NX CH XX -> ERR syntax error
        GEOADD g NX CH 1 -> ERR syntax error
        GEOADD g NX CH CH -> ERR syntax error
        GEOADD g 1 1 a 2 2 -> ERR syntax error
        GEOADD g x 1 a -> ERR value is not a valid float
        GEOADD g 181 1 a -> ERR invalid longitude,latitude pair 181.000000,1.000000
        GEOADD g 1 86 a -> ERR invalid longitude,latitude pair 1.000000,86.000000
        GEOADD g CH 13.361389 38.115556 Palermo 14 40 new -> 1
        GEOADD g XX CH 13.5 38.115556 Palermo 14 40 newer -> 1
        GEODIST g Palermo Catania -> "155245.3204"
        GEODIST g Palermo Catania km -> "155.2453"
        GEODIST g Palermo Catania KM -> "155.2453"
        GEODIST g Palermo Catania yards -> ERR unsupported unit provided. please use M, KM, FT, MI
        GEODIST g Palermo nope -> nil
        GEODIST nokey Palermo nope -> nil
        GEODIST g a b km x -> ERR syntax error
        GEOHASH g Palermo Catania nope -> ["sqc8g4wrhy0", "sqdtr74hyu0", nil]
        GEOHASH g -> []
        GEOHASH nokey a b -> [nil, nil]
        GEOPOS nokey a -> [nil]
        GEORADIUS g 15 37 200 km -> ["Palermo", "Catania"]
        GEORADIUS g 15 37 200 km WITHDIST COUNT 1 -> [["Catania", "56.4413"]]
        GEORADIUS g 15 37 200 km DESC COUNT 1 ANY -> ["Palermo"]
        GEORADIUS g 15 37 200 km ANY -> ERR the ANY argument requires COUNT argument
        GEORADIUS g 15 37 -1 km -> ERR radius cannot be negative
        GEORADIUS g 15 37 x km -> ERR need numeric radius
        GEORADIUS g 15 37 1 parsec -> ERR unsupported unit provided. please use M, KM, FT, MI
        GEORADIUS g 15 37 200 km COUNT 0 -> ERR COUNT must be > 0
        GEORADIUS g 15 37 200 km COUNT x -> ERR value is not an integer or out of range
        GEORADIUS g 15 37 200 km COUNT -> ERR syntax error
        GEORADIUS g 15 37 200 km BYBOX 1 1 km -> ERR syntax error
        GEORADIUS g 15 37 200 km STORE d -> 2
        ZRANGE d 0 -1 WITHSCORES -> ["Palermo", "3479100629809192", "Catania", "3479447370796909"]
        GEORADIUS g 15 37 200 km STOREDIST d -> 2
        ZRANGE d 0 -1 WITHSCORES -> ["Catania", "56.4412578701582", "Palermo", "181.34629951090002"]
        GEORADIUS_RO g 15 37 200 km STORE d -> ERR syntax error
        GEORADIUS nokey 15 37 200 km STORE d -> 0
        EXISTS d -> 0
        GEORADIUS nokey 15 37 200 km -> []
        GEORADIUSBYMEMBER g Palermo 200 km WITHDIST ASC -> [["Palermo", "0.0000"], ["Catania", "155.2453"]]
        GEORADIUSBYMEMBER g nope 200 km -> ERR could not decode requested zset member
        GEORADIUSBYMEMBER nokey nope x parsec -> []
        GEORADIUSBYMEMBER nokey nope x parsec FOO -> ERR syntax error
        GEORADIUSBYMEMBER_RO g Palermo 200 km STORE x -> ERR syntax error
        GEOSEARCH g FROMLONLAT 15 37 FROMMEMBER Palermo BYBOX 400 400 km -> ERR syntax error
        GEOSEARCH g FROMMEMBER Palermo FROMMEMBER Catania BYBOX 400 400 km ASC -> ["Catania", "Palermo"]
        GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 1 km BYBOX 400 400 km -> ERR syntax error
        GEOSEARCH g FROMLONLAT 15 37 FROMLONLAT 13 38 BYBOX 400 400 km ASC -> ["Palermo", "Catania"]
        GEOSEARCH g FROMLONLAT 15 37 BYRADIUS 200 km ANY -> ERR the ANY argument requires COUNT argument
        GEOSEARCH g FROMLONLAT 15 37 BYBOX -1 1 km ANY -> ERR height or width cannot be negative
        GEOSEARCH g FROMLONLAT 15 37 BYBOX x 1 km ANY -> ERR need numeric width
        GEOSEARCH g FROMLONLAT 15 37 BYBOX 1 x km ANY -> ERR need numeric height
        GEOSEARCH g FROMLONLAT 15 37 BYBOX -1 1 parsec ANY -> ERR height or width cannot be negative
        GEOSEARCH g FROMLONLAT 15 37 BYBOX 1 1 parsec ANY -> ERR unsupported unit provided. please use M, KM, FT, MI
        GEOSEARCH g FROMMEMBER nope BYBOX 1 1 km -> ERR could not decode requested zset member
        GEOSEARCH nokey FROMMEMBER nope BYBOX 1 1 km -> []
        GEOSEARCH nokey FROMMEMBER nope BYBOX 1 1 km STOREDIST -> ERR syntax error
        GEOSEARCHSTORE d g FROMLONLAT 15 37 BYBOX 400 400 km STOREDIST -> 2
        ZRANGE d 0 -1 WITHSCORES -> ["Catania", "56.4412578701582", "Palermo", "181.34629951090002"]
        GEOSEARCHSTORE d g FROMLONLAT 15 37 BYBOX 400 400 km COUNT 1 -> 1
        ZRANGE d 0 -1 WITHSCORES -> ["Catania", "3479447370796909"]
        GEOSEARCHSTORE d g FROMLONLAT 100 37 BYBOX 1 1 m -> 0
        EXISTS d -> 0
        SET str x -> OK
        GEOSEARCH str FROMLONLAT x 37 BYBOX 1 1 m -> WRONGTYPE Operation against a key holding the wrong kind of value
        GEORADIUS str x x x x -> WRONGTYPE Operation against a key holding the wrong kind of value
        GEOADD str x 1 a -> ERR value is not a valid float
        GEOADD str 1 1 a -> WRONGTYPE Operation against a key holding the wrong kind of value
        GEODIST str a b x -> ERR unsupported unit provided. please use M, KM, FT, MI
        GEODIST str a b -> WRONGTYPE Operation against a key holding the wrong kind of value
        GEOPOS str -> WRONGTYPE Operation against a key holding the wrong kind of value
        GEOHASH str -> WRONGTYPE Operation against a key holding the wrong kind of value
        ZADD z 1 a -1 b 1e300 c -inf d 4503599627370496 e 0.5 f inf g -> 7
        GEODIST z a b -> "18919844.3072"
        GEODIST z a c -> "0.2819"
        GEODIST z a g -> "0.2819"
    """)


def test_what_a_search_returns_besides_names(session: Session) -> None:
    session.run("GEOADD g 13.361389 38.115556 Palermo 15.087269 37.502669 Catania")
    assert session.run("GEOSEARCH g FROMLONLAT 15 37 BYBOX 400 400 km ASC WITHCOORD WITHDIST WITHHASH") == (
        '[["Catania", "56.4413", 3479447370796909, ["15.087267458438873", "37.50266842333162"]], '
        '["Palermo", "190.4424", 3479099956230698, ["13.361389338970184", "38.1155563954963"]]]'
    )


def test_resp3() -> None:
    session = Session(3)
    session.check(r"""
        GEOADD g 13.361389 38.115556 Palermo 0.000002 0.000001 origin -> 2
        GEOPOS g Palermo none -> [[13.361389338970184, 38.1155563954963], nil]
        GEOPOS g origin -> [[2.682209014892578e-6, 1.2673605809254695e-6]]
        GEODIST g Palermo origin km -> "4454.7330"
        GEODIST g Palermo none -> nil
        GEOSEARCH g FROMMEMBER Palermo BYRADIUS 1 m WITHDIST -> [["Palermo", "0.0000"]]
    """)


def test_notifications(session: Session) -> None:
    session.notify()
    for request in (
        "GEOADD g 1 1 a 2 2 b",
        "GEOADD g 1 1 a",
        "GEOSEARCHSTORE d g FROMLONLAT 1 1 BYRADIUS 1000 km",
        "GEORADIUS g 1 1 1000 km STORE e",
        "GEORADIUS g 100 1 1 km STORE e",
        "GEORADIUSBYMEMBER none x 1 km STORE d",
        "GEOSEARCHSTORE d none FROMLONLAT 1 1 BYRADIUS 1000 km",
    ):
        session.run(request)
    assert session.events == [
        ("zadd", "g"),
        ("geosearchstore", "d"),
        ("georadiusstore", "e"),
        ("del", "e"),
        ("del", "d"),
    ]
