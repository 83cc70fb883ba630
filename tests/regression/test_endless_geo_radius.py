"""GEOSEARCH with an infinite radius or height ended in an internal error."""

from __future__ import annotations

import pytest

from tests.commands.session import Session


@pytest.mark.parametrize(("size", "unit"), [("inf", "m"), ("1e308", "km"), ("1e308", "m"), ("1e20", "km")])
def test_it_holds_the_whole_earth(size: str, unit: str) -> None:
    session = Session()
    session.run("GEOADD g 0 0 a 10 10 b -170 80 c 179 -80 d")
    everything = '["a", "b", "c", "d"]'
    assert session.run(f"GEOSEARCH g FROMLONLAT 0 0 BYRADIUS {size} {unit} ASC") == everything
    assert session.run(f"GEOSEARCH g FROMLONLAT 0 0 BYBOX {size} {size} {unit} ASC") == everything
    assert session.run(f"GEORADIUSBYMEMBER g a {size} {unit} ASC") == everything
    assert session.run(f"GEOSEARCH g FROMLONLAT 0 0 BYBOX {size} 1 {unit} ASC") == '["a"]'
    assert session.run(f"GEOSEARCH g FROMLONLAT 0 0 BYBOX 1 {size} {unit} ASC") == '["a"]'
