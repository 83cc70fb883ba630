"""Edits to compiled chunks, observed by running them."""

from __future__ import annotations

import lupa.lua51 as lua
import pytest

from diskkv.services.scripting.bytecode import UnsafeFunctionError, patch

RUNTIME = lua.LuaRuntime(encoding=None)
DUMP = RUNTIME.eval(b"function(source) return string.dump(assert(loadstring(source))) end")
LOAD = RUNTIME.eval(b"function(chunk) return assert(loadstring(chunk))() end")


def test_a_tail_call_of_a_field_keeps_the_calling_frame() -> None:
    source = b"""
        local lib = { where = function() return debug.getinfo(2, 'S').what end }
        local function caller() return lib.where() end
        local result = caller()
        return result"""
    assert LOAD(DUMP(source)) == b"tail"
    patched = patch(DUMP(source))
    assert patched is not None
    assert LOAD(patched) == b"Lua"


def test_a_method_in_tail_position_keeps_the_calling_frame() -> None:
    source = b"""
        local lib = { where = function(self, x) return debug.getinfo(2, 'S').what end }
        local function caller(a) return lib:where(a and 1 or 2) end
        local result = caller(true)
        return result"""
    patched = patch(DUMP(source))
    assert patched is not None
    assert LOAD(patched) == b"Lua"


def test_recursion_through_a_local_stays_a_tail_call() -> None:
    source = b"local function count(n) if n == 0 then return 'done' end return count(n - 1) end return count(100000)"
    chunk = DUMP(source)
    assert LOAD(patch(chunk) or chunk) == b"done"


def test_all_results_of_a_patched_call_are_returned() -> None:
    source = b"local t = {f = function(...) return ... end} local function g() return t.f(1, 2, 3) end return {g()}"
    patched = patch(DUMP(source))
    assert patched is not None
    assert list(LOAD(patched).values()) == [1, 2, 3]


def test_chunks_without_tail_calls_are_left_alone() -> None:
    assert patch(DUMP(b"local t = {1, 'a', true, nil} return t")) is None


def test_vararg_functions_get_stack_for_their_fixed_parameters_twice() -> None:
    names = ",".join(f"a{i}" for i in range(100)).encode()
    source = b"local function f(" + names + b",...) return a99, ... end return f(" + b"1," * 99 + b"7,8)"
    patched = patch(DUMP(source))
    assert patched is not None
    assert LOAD(patched)[:2] == (7, 8)


def test_vararg_functions_with_too_many_parameters_are_refused() -> None:
    names = ",".join(f"a{i}" for i in range(190)).encode()
    with pytest.raises(UnsafeFunctionError):
        patch(DUMP(b"local function f(" + names + b",...) end"))


@pytest.mark.parametrize("chunk", [b"\x1bLuaR" + bytes(20), b"\x1bLuaQ\0\0\4\x08\4\x08\0"])
def test_other_formats_are_refused(chunk: bytes) -> None:
    with pytest.raises(ValueError, match=r"Lua 5\.1"):
        patch(chunk)
