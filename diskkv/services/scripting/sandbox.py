"""One Lua 5.1 runtime that scripts run in, sealed off from Python, files and the process.

Scripts are given no Python object: every callback reaches Lua as a C function (lupa's ``as_function``) held in Lua
closures, takes and returns bytes, numbers and tables only, and attribute access on Python objects is refused besides.

Memory is bounded by the runtime's own allocator. An allocation that fails inside Lua is an ordinary "not enough memory"
error there; one that fails while lupa pushes a value could not be unwound, so callers make room first (`make_room`)
and callbacks check `under_pressure`.

Time is bounded by an instruction hook, which runs between Lua instructions, not inside C functions of the standard
library. Of those only the pattern matcher can take long: a pattern that backtracks over a long subject holds the server
until it is done, as it does in Redis.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from importlib import resources
from typing import Any

import lupa.lua51 as lua

from diskkv.services.scripting import bytecode, convert

HOOK_INSTRUCTIONS = 100_000
"""Lua instructions between two looks at the clock (about a millisecond)."""

MAX_PATTERN_BYTES = 10_000
"""Lua 5.1's matcher recurses in C once per pattern item: longer patterns could overflow the C stack."""

MAX_REPLY_DEPTH = 7995
"""Nested tables in a reply before "reached lua stack limit"."""

_INTERNAL_CHUNK = "diskkv"
_SLACK_BYTES = 256 * 1024


LuaError = lua.LuaError
"""What a call into the sandbox raises when a run was stopped, or memory ran out, outside the script's own code."""


class OutOfScriptMemoryError(Exception):
    """The values to be pushed do not fit under the memory limit."""


def _refuse(_obj: object, name: object, _is_setting: bool) -> str:
    raise AttributeError(name)


def _verify(chunk: bytes) -> bytes | bool | None:
    try:
        return bytecode.patch(chunk)
    except bytecode.UnsafeFunctionError:
        return False


def _version_number(version: str) -> int:
    major, minor, patch = (int(part) for part in version.split("."))
    return major << 16 | minor << 8 | patch


class Sandbox:
    """The runtime with its libraries loaded. `callbacks` are the engine's: call, pcall, tick, take_error ..."""

    def __init__(self, callbacks: dict[str, Callable[..., Any]], *, version: str, memory_limit_bytes: int) -> None:
        self.memory_limit_bytes = memory_limit_bytes
        self._runtime = lua.LuaRuntime(
            encoding=None,
            register_eval=False,
            register_builtins=False,
            unpack_returned_tuples=True,
            attribute_filter=_refuse,
            max_memory=memory_limit_bytes,
        )
        self.memory_used: Callable[[], int] = self._runtime.get_memory_used
        self.pressure_bytes = memory_limit_bytes - _SLACK_BYTES
        self._load(callbacks, version)

    def _load(self, callbacks: dict[str, Callable[..., Any]], version: str) -> None:
        runtime = self._runtime
        as_function = runtime.globals()[b"python"][b"as_function"]
        bind = runtime.eval(b"function(t, as_function, name, f) t[name] = as_function(f) end")
        host = runtime.table()
        functions: dict[str, Callable[..., Any]] = {
            "verify": _verify,
            "format_double": lambda value: convert.format_double(float(value)),
            "sha1hex": lambda text: hashlib.sha1(text).hexdigest().encode(),
            "pack_double": lambda value: struct.pack(">d", value),
            "pack_float": convert.pack_float,
            "unpack_double": lambda text: struct.unpack(">d", text)[0],
            "unpack_float": lambda text: struct.unpack(">f", text)[0],
            "fits_float": convert.fits_float,
            **callbacks,
        }
        for name, function in functions.items():
            bind(host, as_function, name.encode(), function)
        host[b"version"] = version.encode()
        host[b"version_number"] = _version_number(version)
        host[b"internal_chunk"] = _INTERNAL_CHUNK.encode()
        host[b"hook_instructions"] = HOOK_INSTRUCTIONS
        host[b"max_pattern_bytes"] = MAX_PATTERN_BYTES
        host[b"max_reply_depth"] = MAX_REPLY_DEPTH
        loaded = runtime.eval(_LOADER)(host, _INTERNAL_CHUNK.encode(), *(_source(name) for name in _CHUNKS))
        sandbox, reply, self.load_library = loaded
        self.parse = reply[b"parse"]
        self.status = reply[b"status"]
        self.failure = reply[b"failure"]
        self.run_script = reply[b"run_script"]
        self.run_script_pending = reply[b"run_script_pending"]
        self.run_function = reply[b"run_function"]
        self.run_function_pending = reply[b"run_function_pending"]
        self.append = reply[b"append"]
        self.drop_pending = reply[b"drop_pending"]
        self.rearm = sandbox[b"rearm"]
        self._compile_script = sandbox[b"compile_script"]
        self._compile_library = sandbox[b"compile_library"]

    def compile(self, source: bytes, chunk_name: bytes, *, library: bool = False) -> tuple[Any, bytes]:
        """Compile source text, for the globals of scripts or of function libraries.

        Returns (function, b"") or (None, the parser's message). Raises OutOfScriptMemoryError.
        """
        self.make_room(3 * len(source))
        try:
            compiled = (self._compile_library if library else self._compile_script)(source, chunk_name)
        except lua.LuaMemoryError:
            self.restore_limit()
            raise OutOfScriptMemoryError from None
        if isinstance(compiled, tuple):
            return None, compiled[1]
        return compiled, b""

    def under_pressure(self, extra_bytes: int = 0) -> bool:
        """Whether pushing `extra_bytes` more would come too near to the limit, even after collecting garbage."""
        if self.memory_used() + extra_bytes <= self.pressure_bytes:
            return False
        self._runtime.set_max_memory(0)
        self._runtime.gccollect()
        if self.memory_used() + extra_bytes <= self.pressure_bytes:
            self._runtime.set_max_memory(self.memory_limit_bytes)
            return False
        # What unwinds the run must be able to push its error: the limit comes back with restore_limit().
        self._runtime.set_max_memory(max(self.memory_limit_bytes, self.memory_used()) + 4 * _SLACK_BYTES)
        return True

    def make_room(self, size_bytes: int) -> None:
        """Make sure that `size_bytes` can be pushed. Raises OutOfScriptMemoryError."""
        if self.under_pressure(size_bytes):
            self.restore_limit()
            raise OutOfScriptMemoryError

    def restore_limit(self) -> None:
        """Bring the limit back after a run that was stopped for memory."""
        self._runtime.set_max_memory(0)
        self._runtime.gccollect()
        self._runtime.set_max_memory(self.memory_limit_bytes)


def _source(name: str) -> bytes:
    return resources.files(__package__).joinpath("lua", f"{name}.lua").read_bytes()


_CHUNKS = ("sandbox", "random", "bit", "struct", "cjson", "cmsgpack", "redis", "reply")

_LOADER = b"""function(host, chunk_name, sandbox_source, random_source, bit_source, struct_source, cjson_source,
                           cmsgpack_source, redis_source, reply_source)
  local load = function(source, ...)
    local f = assert(loadstring(source, "=" .. chunk_name))
    return f(...)
  end
  local base_math, base_pairs = math, pairs
  local sandbox = load(sandbox_source, host)
  local lib = sandbox.lib
  local random = load(random_source, host, lib)
  local math_lib = {}
  for name, f in base_pairs(base_math) do math_lib[name] = f end
  math_lib.random, math_lib.randomseed = random.random, random.randomseed
  local set_script_resp
  local redis, function_redis, load_redis, load_library =
    load(redis_source, host, sandbox, function(resp) set_script_resp(resp) end)
  local libraries = {
    math = math_lib,
    bit = load(bit_source, host, lib), struct = load(struct_source, host, lib),
    cjson = load(cjson_source, host, lib), cmsgpack = load(cmsgpack_source, host, lib),
  }
  local reply = load(reply_source, host, sandbox)
  sandbox.build(libraries, redis, function_redis, load_redis)
  reply.attach(sandbox.globals)
  set_script_resp = reply.set_script_resp
  return sandbox, reply, load_library
end"""
