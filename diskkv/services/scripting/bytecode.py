"""Edits to compiled Lua 5.1 chunks, made once when a script is loaded.

Two things stock Lua 5.1 does not give us are done on the bytecode that its own compiler has just produced (never on
bytecode from a client):

- ``return library.f(x)`` and ``return x:f()`` are tail calls. Redis' libraries are C functions, which keep the calling
  frame even then, so their errors name the script's line; ours are mostly Lua functions, which would replace it. Tail
  calls of a field or a global become plain calls followed by the return that is there already. Tail calls of locals
  and upvalues (recursion) stay what they are.
- A vararg function moves its fixed parameters above the frame that Lua has reserved. Enough stack for both is reserved.

The layout is the one of lundump.c in Lua 5.1: a 12-byte header, then one function, which nests its inner functions.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

_HEADER_BYTES = 12
_MAX_STACK = 250

_OP_MOVE, _OP_GETUPVAL, _OP_GETGLOBAL, _OP_GETTABLE, _OP_SELF = 0, 4, 5, 6, 11
_OP_CALL, _OP_TAILCALL, _OP_CLOSURE = 28, 29, 36
_LOADERS = frozenset((_OP_MOVE, _OP_GETUPVAL, _OP_GETGLOBAL, _OP_GETTABLE, _OP_SELF, _OP_CALL, _OP_CLOSURE))
_FIELD_LOADERS = frozenset((_OP_GETGLOBAL, _OP_GETTABLE, _OP_SELF))
_VARARG_FLAGS = 0x7

_CONSTANT_NIL, _CONSTANT_BOOLEAN, _CONSTANT_NUMBER, _CONSTANT_STRING = 0, 1, 3, 4


class UnsafeFunctionError(ValueError):
    """A vararg function with more fixed parameters than a frame can hold twice."""


class _Layout(NamedTuple):
    int_size: int
    size_t_size: int
    number_size: int


def patch(chunk: bytes) -> bytes | None:
    """The chunk with both edits made, or None if there is nothing to change. Raises UnsafeFunctionError."""
    int_size, size_t_size, instruction_size, number_size = chunk[7], chunk[8], chunk[9], chunk[10]
    if chunk[:5] != b"\x1bLuaQ" or chunk[6] != 1 or instruction_size != 4 or int_size != 4:
        raise ValueError("not a little-endian Lua 5.1 chunk")
    edited = bytearray(chunk)
    end = _patch_function(edited, _HEADER_BYTES, _Layout(int_size, size_t_size, number_size))
    if end != len(chunk):
        raise ValueError("trailing bytes after a Lua 5.1 chunk")
    return bytes(edited) if edited != chunk else None


def _patch_function(chunk: bytearray, at: int, layout: _Layout) -> int:
    """Edit the function at `at` and those inside it; returns the position after it."""
    at = _skip_string(chunk, at, layout) + 2 * layout.int_size
    parameters, vararg = chunk[at + 1], chunk[at + 2] & _VARARG_FLAGS
    if vararg and parameters:
        needed = chunk[at + 3] + parameters
        if needed > _MAX_STACK:
            raise UnsafeFunctionError
        chunk[at + 3] = needed
    at += 4
    count = _read_int(chunk, at)
    at += 4
    _patch_tail_calls(chunk, at, count)
    at += 4 * count
    at = _skip_constants(chunk, at, layout)
    functions = _read_int(chunk, at)
    at += 4
    for _ in range(functions):
        at = _patch_function(chunk, at, layout)
    at += 4 + 4 * _read_int(chunk, at)
    local_count = _read_int(chunk, at)
    at += 4
    for _ in range(local_count):
        at = _skip_string(chunk, at, layout) + 8
    upvalues = _read_int(chunk, at)
    at += 4
    for _ in range(upvalues):
        at = _skip_string(chunk, at, layout)
    return at


def _patch_tail_calls(chunk: bytearray, at: int, count: int) -> None:
    instructions = struct.unpack_from(f"<{count}I", chunk, at)
    for index, instruction in enumerate(instructions):
        if instruction & 0x3F != _OP_TAILCALL:
            continue
        register = instruction >> 6 & 0xFF
        for before in range(index - 1, -1, -1):
            earlier = instructions[before]
            if earlier >> 6 & 0xFF == register and earlier & 0x3F in _LOADERS:
                if earlier & 0x3F in _FIELD_LOADERS:
                    struct.pack_into("<I", chunk, at + 4 * index, instruction & ~0x3F | _OP_CALL)
                break


def _skip_constants(chunk: bytearray, at: int, layout: _Layout) -> int:
    count = _read_int(chunk, at)
    at += 4
    for _ in range(count):
        kind = chunk[at]
        at += 1
        if kind == _CONSTANT_STRING:
            at = _skip_string(chunk, at, layout)
        elif kind == _CONSTANT_NUMBER:
            at += layout.number_size
        elif kind == _CONSTANT_BOOLEAN:
            at += 1
        elif kind != _CONSTANT_NIL:
            raise ValueError("unknown constant in a Lua 5.1 chunk")
    return at


def _skip_string(chunk: bytearray, at: int, layout: _Layout) -> int:
    size = int.from_bytes(chunk[at : at + layout.size_t_size], "little")
    return at + layout.size_t_size + size


def _read_int(chunk: bytearray, at: int) -> int:
    return int.from_bytes(chunk[at : at + 4], "little")
