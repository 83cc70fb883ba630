"""Splitting of inline commands, with the quoting rules of redis-cli and of redis.conf.

Double quotes take the escapes \\n \\r \\t \\b \\a \\xHH and \\ before any other byte; single quotes only \\'. A closing
quote must be followed by white space or the end. Vertical tabs and form feeds are white space before a word and behind
a closing quote, but do not end a word without quotes.
"""

from __future__ import annotations

import re

_SPACE = b" \t\n\r\v\f\0"
_WORD_END = b" \t\n\r\0"
_SPECIAL = re.compile(rb"[\"'\v\f]")
_ESCAPES = {0x6E: 0x0A, 0x72: 0x0D, 0x74: 0x09, 0x62: 0x08, 0x61: 0x07}
_HEX = b"0123456789abcdefABCDEF"


def split_inline(line: bytes) -> list[bytes] | None:
    """The arguments of one line (without its line end), or None when the quotes are not balanced."""
    if _SPECIAL.search(line) is None:
        # bytes.split() takes the same white space but for NUL, which ends a C string there.
        return line.split(b"\0", 1)[0].split()
    argv: list[bytes] = []
    at = 0
    while True:
        while at < len(line) and line[at] in _SPACE and line[at]:
            at += 1
        if at >= len(line) or not line[at]:
            return argv
        word = bytearray()
        end = _take_word(line, at, word)
        if end is None:
            return None
        argv.append(bytes(word))
        at = end


def _take_word(line: bytes, at: int, word: bytearray) -> int | None:
    while at < len(line):
        byte = line[at]
        if byte in _WORD_END:
            break
        if byte == 0x22 or byte == 0x27:
            end = _take_double_quoted(line, at + 1, word) if byte == 0x22 else _take_single_quoted(line, at + 1, word)
            if end is None or (end < len(line) and line[end] not in _SPACE):
                return None
            return end
        word.append(byte)
        at += 1
    return at


def _take_double_quoted(line: bytes, at: int, word: bytearray) -> int | None:
    while at < len(line):
        byte = line[at]
        if byte == 0x5C and line[at + 1 : at + 2] == b"x" and _is_hex(line[at + 2 : at + 4]):
            word.append(int(line[at + 2 : at + 4], 16))
            at += 4
        elif byte == 0x5C and at + 1 < len(line):
            word.append(_ESCAPES.get(line[at + 1], line[at + 1]))
            at += 2
        elif byte == 0x22:
            return at + 1
        else:
            word.append(byte)
            at += 1
    return None


def _take_single_quoted(line: bytes, at: int, word: bytearray) -> int | None:
    while at < len(line):
        byte = line[at]
        if byte == 0x5C and line[at + 1 : at + 2] == b"'":
            word.append(0x27)
            at += 2
        elif byte == 0x27:
            return at + 1
        else:
            word.append(byte)
            at += 1
    return None


def _is_hex(digits: bytes) -> bool:
    return len(digits) == 2 and digits[0] in _HEX and digits[1] in _HEX
