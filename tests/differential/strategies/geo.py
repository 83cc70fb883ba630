"""The geo group."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.harness.grammar import choice, command, key, many, maybe, one_of_bytes, register, sequence

KEY = key("z")
MEMBER = one_of_bytes(b"palermo", b"catania", b"roma", b"napoli", b"pole", b"nowhere")
POINT = st.one_of(
    st.sampled_from(
        [
            (b"13.361389", b"38.115556"),
            (b"15.087269", b"37.502669"),
            (b"12.4964", b"41.9028"),
            (b"14.2681", b"40.8518"),
            (b"0", b"85.05"),
            (b"180", b"0"),
            (b"-180", b"-85.05112878"),
            (b"181", b"0"),
            (b"0", b"86"),
            (b"x", b"0"),
        ]
    ),
    st.tuples(st.integers(-180, 180), st.integers(-85, 85)).map(lambda point: (b"%d" % point[0], b"%d" % point[1])),
).map(list)
UNIT = choice("m", "km", "ft", "mi", "KM", "yards")
RADIUS = one_of_bytes(b"0", b"1", b"100", b"500", b"20000", b"-1", b"x", b"1.5e3")
CENTRE = choice(sequence("FROMMEMBER", MEMBER), sequence("FROMLONLAT", POINT))
AREA = choice(sequence("BYRADIUS", RADIUS, UNIT), sequence("BYBOX", RADIUS, RADIUS, UNIT))
# Without an order the reference's rests on its own cells; ASC and DESC tie only at equal distances.
ORDER = choice("ASC", "DESC")
WITH = many(choice("WITHCOORD", "WITHDIST", "WITHHASH"), 0, 3)

register(
    "geo",
    command("GEOADD", KEY, maybe(choice("NX", "XX")), maybe("CH"), many(sequence(POINT, MEMBER))),
    name="GEOADD",
    weight=3,
)
register("geo", command("GEODIST", KEY, MEMBER, MEMBER, maybe(UNIT)), name="GEODIST")
register("geo", command("GEOPOS", KEY, many(MEMBER, 0, 3)), name="GEOPOS")
register("geo", command("GEOHASH", KEY, many(MEMBER, 0, 3)), name="GEOHASH")
register("geo", command("GEOSEARCH", KEY, CENTRE, AREA, ORDER, maybe("COUNT", "2"), WITH), name="GEOSEARCH", weight=2)
register("geo", command("GEOSEARCHSTORE", KEY, KEY, CENTRE, AREA, ORDER, maybe("STOREDIST")), name="GEOSEARCHSTORE")
for _name in ("GEORADIUS", "GEORADIUS_RO"):
    register("geo", command(_name, KEY, POINT, RADIUS, UNIT, WITH, ORDER), name=_name)
for _name in ("GEORADIUSBYMEMBER", "GEORADIUSBYMEMBER_RO"):
    register("geo", command(_name, KEY, MEMBER, RADIUS, UNIT, WITH, ORDER), name=_name)
