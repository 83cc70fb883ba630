"""The HyperLogLog group: the sketches are strings, so their bytes are compared by GET as well."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.harness.grammar import VALUE, command, key, many, register

KEY = key("s")
ELEMENTS = st.tuples(st.integers(0, 5), st.integers(1, 400)).map(
    lambda drawn: [b"e%d:%d" % (drawn[0], n) for n in range(drawn[1])]
)

register(
    "hyperloglog", command("PFADD", KEY, many(VALUE, 0, 4)), command("PFADD", KEY, ELEMENTS), name="PFADD", weight=2
)
register("hyperloglog", command("PFCOUNT", many(KEY, 1, 3)), name="PFCOUNT")
register("hyperloglog", command("PFMERGE", KEY, many(KEY, 0, 3)), name="PFMERGE")
register("hyperloglog", command("GET", KEY), name="GET")
