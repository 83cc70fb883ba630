"""The first line of scripts and function libraries: ``#!lua name=mylib flags=no-writes,allow-stale``.

Source: https://redis.io/docs/latest/develop/programmability/eval-intro/ (script flags).
"""

from __future__ import annotations

import enum
from typing import NamedTuple

from diskkv.errors import CommandError


class ScriptFlag(enum.IntFlag):
    """What a script or function promises, or is allowed. COMPAT marks scripts without a shebang (legacy rules)."""

    NONE = 0
    NO_WRITES = 1
    ALLOW_OOM = 2
    ALLOW_STALE = 4
    NO_CLUSTER = 8
    ALLOW_CROSS_SLOT_KEYS = 16
    COMPAT = 32


FLAG_NAMES = {
    b"no-writes": ScriptFlag.NO_WRITES,
    b"allow-oom": ScriptFlag.ALLOW_OOM,
    b"allow-stale": ScriptFlag.ALLOW_STALE,
    b"no-cluster": ScriptFlag.NO_CLUSTER,
    b"allow-cross-slot-keys": ScriptFlag.ALLOW_CROSS_SLOT_KEYS,
}


def flag_names(flags: ScriptFlag) -> list[bytes]:
    """The names of `flags` in Redis' order, as FUNCTION LIST shows them."""
    return [name for name, flag in FLAG_NAMES.items() if flags & flag]


class SplitError(ValueError):
    """Unbalanced quotes."""


_SPACES = b" \t\n\v\f\r\0"
_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}


def _quoted(line: bytes, at: int) -> tuple[bytes, int]:
    """The text of a double-quoted part whose content starts at `at`, and the position after its closing quote."""
    out = bytearray()
    while at < len(line):
        char = line[at : at + 1]
        if char == b"\\" and line[at + 1 : at + 2] == b"x" and _is_hex(line[at + 2 : at + 4]):
            out.append(int(line[at + 2 : at + 4], 16))
            at += 4
        elif char == b"\\" and at + 1 < len(line):
            escaped = line[at + 1 : at + 2]
            out += _ESCAPES.get(escaped, escaped)
            at += 2
        elif char == b'"':
            return bytes(out), at + 1
        else:
            out += char
            at += 1
    raise SplitError


def _is_hex(text: bytes) -> bool:
    return len(text) == 2 and all(char in b"0123456789abcdefABCDEF" for char in text)


def _single_quoted(line: bytes, at: int) -> tuple[bytes, int]:
    out = bytearray()
    while at < len(line):
        char = line[at : at + 1]
        if line[at : at + 2] == b"\\'":
            out += b"'"
            at += 2
        elif char == b"'":
            return bytes(out), at + 1
        else:
            out += char
            at += 1
    raise SplitError


def split_words(line: bytes) -> list[bytes]:
    """Split like Redis splits configuration lines and shebangs; raises `SplitError` on unbalanced quotes."""
    words: list[bytes] = []
    at = 0
    while True:
        while at < len(line) and line[at] in _SPACES:
            at += 1
        if at >= len(line):
            return words
        word = bytearray()
        while at < len(line) and line[at] not in _SPACES:
            char = line[at : at + 1]
            if char in (b'"', b"'"):
                text, at = (_quoted if char == b'"' else _single_quoted)(line, at + 1)
                word += text
                if at < len(line) and line[at] not in _SPACES:
                    raise SplitError
            else:
                word += char
                at += 1
        words.append(bytes(word))


class ScriptHeader(NamedTuple):
    """The flags of a script and where its Lua code starts (at the line break that ends the shebang)."""

    flags: ScriptFlag
    body_offset: int


def parse_script(source: bytes) -> ScriptHeader:
    """Read a script's shebang. Raises CommandError with Redis' texts; no shebang is the legacy mode (COMPAT)."""
    if not source.startswith(b"#!"):
        return ScriptHeader(ScriptFlag.COMPAT, 0)
    end = source.find(b"\n")
    if end < 0:
        raise CommandError(b"ERR Invalid script shebang")
    try:
        words = split_words(source[:end])
    except SplitError:
        raise CommandError(b"ERR Invalid engine in script shebang") from None
    if not words or words[0] != b"#!lua":
        raise CommandError(b"ERR Unexpected engine in script shebang: " + (words[0] if words else b""))
    flags = ScriptFlag.NONE
    for word in words[1:]:
        if not word.startswith(b"flags="):
            raise CommandError(b"ERR Unknown lua shebang option: " + word)
        flags |= parse_flags(word[6:])
    return ScriptHeader(flags, end)


def parse_flags(text: bytes) -> ScriptFlag:
    """Flags separated by commas; an empty text has none. Raises CommandError for an unknown one."""
    flags = ScriptFlag.NONE
    if not text:
        return flags
    for name in text.split(b","):
        flag = FLAG_NAMES.get(name)
        if flag is None:
            raise CommandError(b"ERR Unexpected flag in script shebang: " + name)
        flags |= flag
    return flags
