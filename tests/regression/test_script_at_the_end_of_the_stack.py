"""A script that nested pcall as deep as Lua allows, and stayed there, could neither be killed nor run out of memory."""

from __future__ import annotations

import pytest

from diskkv.errors import CommandError
from diskkv.services.scripting.engine import ScriptEngine

SCRIPTS = [
    b"local function f() while true do pcall(f) end end f()",
    b"local function f() while true do xpcall(f, f) end end f()",
    b"local function f() while true do coroutine.resume(coroutine.create(f)) end end f()",
    b"local function f() while true do load(f) end end f()",
    b"local t = {} local function f() while true do pcall(f) t[#t + 1] = ('x'):rep(1000) .. #t end end f()",
]


@pytest.mark.parametrize("source", SCRIPTS)
def test_it_is_stopped(source: bytes) -> None:
    def ticked() -> None:
        raise CommandError(b"ERR stopped")

    engine = ScriptEngine(lambda argv, resp: b"+OK\r\n", on_tick=ticked, busy_threshold_ms=5)
    with pytest.raises(CommandError, match="stopped"):
        engine.run(engine.load(source), [], [])
    assert engine.run(engine.load(b"return {pcall(error, 'x')}"), [], []) == b"*2\r\n$-1\r\n$1\r\nx\r\n"
