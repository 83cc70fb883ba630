r"""Redis' glob patterns (KEYS, SCAN MATCH, PSUBSCRIBE, CONFIG GET, ACL key patterns) compiled to fast matchers.

Syntax: ``?`` any one byte, ``*`` any run of bytes, ``[abc]`` ``[a-z]`` ``[^a]`` one byte of a class, ``\x`` the byte x.
The corner cases are those of Redis' matcher, as seen on a real server:

- A class without ``]`` ends with the pattern; ``[^`` at the end matches any byte; ``[]`` matches nothing.
- Inside a class ``x-y`` takes any byte as y, ``]`` too; a reversed range is swapped; bounds compare as signed bytes.
- A non-empty pattern never matches the empty string, not even ``*``. (KEYS and SCAN skip matching for exactly ``*``.)
- A pattern that has to search after more than 1000 runs of ``*`` matches nothing.
- A pattern of more than 1 KiB that takes more than eight steps a byte matches nothing. (Redis goes on.)
- Without case: an escaped byte inside a class still compares with case; a range folds its bounds after ordering them.

Matching a string of n bytes takes at most O(n * len(pattern)) whatever the pattern: after each ``*`` the leftmost match
of the following piece is final.

Source: https://redis.io/docs/latest/commands/keys/
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

Matcher = Callable[[bytes], bool]

MAX_STAR_NESTING: Final = 1000
"""Redis gives up (no match) when it would have to search behind more runs of ``*`` than this."""

_COMPILED_PATTERN_BYTES = 1024
"""Longer patterns are not compiled: a regular expression takes many times their room, and 10 us a class to make."""
_STEPS_PER_BYTE = 8

_ANY_BYTE: Final = (1 << 256) - 1
_NO_BYTE: Final = 0
_STAR: Final = None
_SPECIAL = re.compile(rb"[*?\[\\]")

# A literal run, a class (bit n is set when byte n matches), or a run of stars.
_Token = bytes | int | None


def compile_glob(pattern: bytes, nocase: bool = False) -> Matcher:
    """A function that says whether a byte string matches `pattern`; with `nocase`, ASCII letters match both cases."""
    if len(pattern) <= _COMPILED_PATTERN_BYTES:
        return _compile(pattern, nocase)
    if not nocase and is_literal(pattern):
        return pattern.__eq__
    return lambda string: _matches_long(pattern, string, nocase)


def literal_prefix(pattern: bytes) -> bytes:
    """The longest byte string that every match of `pattern` (with case) starts with; escapes are resolved."""
    prefix = bytearray()
    position = 0
    while position < len(pattern):
        special = _SPECIAL.search(pattern, position)
        end = special.start() if special else len(pattern)
        prefix += pattern[position:end]
        if special is None:
            break
        mask, position = _token_at(pattern, end, nocase=False)
        if mask is _STAR or mask.bit_count() != 1:
            break
        prefix.append(mask.bit_length() - 1)
    return bytes(prefix)


def is_literal(pattern: bytes) -> bool:
    """Whether `pattern` contains no special byte, so that it can only match itself."""
    return _SPECIAL.search(pattern) is None


@lru_cache(maxsize=1024)
def _compile(pattern: bytes, nocase: bool) -> Matcher:
    tokens = _tokenize(pattern, nocase)
    if not tokens:
        return _matches_empty
    if _NO_BYTE in tokens or _searches(tokens) > MAX_STAR_NESTING:
        return _matches_nothing
    return _literal_matcher(tokens) or _regex_matcher(tokens)


def _searches(tokens: list[_Token]) -> int:
    """How many runs of stars have something behind them."""
    return sum(token is _STAR for token in tokens[:-1])


def _matches_empty(string: bytes) -> bool:
    return not string


def _matches_nothing(string: bytes) -> bool:
    return False


def _literal_matcher(tokens: list[_Token]) -> Matcher | None:
    """The shapes nearly all patterns in use have, as one call of a bytes method; None for any other shape."""
    match tokens:
        case [None]:
            return bool
        case [bytes(literal)]:
            return literal.__eq__
        case [bytes(literal), None]:
            return lambda string: string.startswith(literal)
        case [None, bytes(literal)]:
            return lambda string: string.endswith(literal)
        case [None, bytes(literal), None]:
            return lambda string: literal in string
    return None


def _regex_matcher(tokens: list[_Token]) -> Matcher:
    """A regular expression in which every searched piece but the last is an atomic group: nothing backtracks."""
    # Compiled at the first string that is long enough to match: a pattern longer than every key costs no compilation.
    min_length = max(1, sum(len(token) if isinstance(token, bytes) else 1 for token in tokens if token is not _STAR))
    fullmatch: Callable[[bytes], object] | None = None

    def matches(string: bytes) -> bool:
        nonlocal fullmatch
        if len(string) < min_length:
            return False
        if fullmatch is None:
            fullmatch = re.compile(_regex(tokens), re.DOTALL).fullmatch
        return fullmatch(string) is not None

    return matches


def _regex(tokens: list[_Token]) -> bytes:
    pieces: list[bytes] = [b""]
    for token in tokens:
        if token is _STAR:
            pieces.append(b"")
        else:
            pieces[-1] += _token_regex(token)
    if len(pieces) == 1:
        return pieces[0]
    searched = b"".join(b"(?>.*?%b)" % piece for piece in pieces[1:-1])
    return b"%b%b.*%b" % (pieces[0], searched, pieces[-1])


def _token_regex(token: bytes | int) -> bytes:
    if isinstance(token, bytes):
        return re.escape(token)
    if token == _ANY_BYTE:
        return b"."
    negated = token.bit_count() > 128
    members = _ANY_BYTE ^ token if negated else token
    escapes = b"".join(b"\\x%02x" % byte for byte in range(256) if members >> byte & 1)
    return (b"[^%b]" if negated else b"[%b]") % escapes


def _matches_long(pattern: bytes, string: bytes, nocase: bool) -> bool:
    """Match without compiling: after a mismatch only the last star takes one more byte. Gives up when that is slow."""
    if not string:
        return False
    steps = _STEPS_PER_BYTE * (len(pattern) + len(string))
    size = len(string)
    at = begin = 0
    position = 0
    behind_star = -1
    searches = 0
    while at < size:
        mask: int | None = _NO_BYTE
        end = position
        if position < len(pattern):
            mask, end = _token_at(pattern, position, nocase)
            steps -= end - position
        if mask is _STAR:
            if end == len(pattern):
                return True
            searches += 1
            position = behind_star = end
            begin = at
        elif mask >> string[at] & 1:
            position = end
            at += 1
        elif behind_star < 0:
            return False
        else:
            begin += 1
            at = begin
            position = behind_star
            steps -= 1
        if steps < 0 or searches > MAX_STAR_NESTING:
            return False
    return pattern.count(b"*", position) == len(pattern) - position


def _token_at(pattern: bytes, position: int, nocase: bool) -> tuple[int | None, int]:
    """The mask of what stands at `position`, None for a run of stars, and the position behind it."""
    byte = pattern[position]
    end = position + 1
    if byte == 0x2A:
        while end < len(pattern) and pattern[end] == 0x2A:
            end += 1
        return _STAR, end
    if byte == 0x3F:
        return _ANY_BYTE, end
    if byte == 0x5B:
        return _parse_class(pattern, end, nocase)
    if byte == 0x5C and end < len(pattern):
        byte = pattern[end]
        end += 1
    return _both_cases(byte) if nocase else 1 << byte, end


def _tokenize(pattern: bytes, nocase: bool) -> list[_Token]:
    tokens: list[_Token] = []
    literal = bytearray()

    def add(mask: int) -> None:
        if mask.bit_count() == 1:
            literal.append(mask.bit_length() - 1)
            return
        flush()
        tokens.append(mask)

    def flush() -> None:
        if literal:
            tokens.append(bytes(literal))
            literal.clear()

    def add_literal(run: bytes) -> None:
        if not nocase:
            literal.extend(run)
            return
        for byte in run:
            add(_both_cases(byte))

    position = 0
    while position < len(pattern):
        special = _SPECIAL.search(pattern, position)
        end = special.start() if special else len(pattern)
        add_literal(pattern[position:end])
        if special is None:
            break
        position = end + 1
        match special.group():
            case b"*":
                flush()
                if not tokens or tokens[-1] is not _STAR:
                    tokens.append(_STAR)
            case b"?":
                add(_ANY_BYTE)
            case b"[":
                mask, position = _parse_class(pattern, position, nocase)
                add(mask)
            case _:  # a backslash: the next byte as it is; at the end of the pattern, itself
                add_literal(pattern[position : position + 1] or b"\\")
                position += 1
    flush()
    return tokens


def _parse_class(pattern: bytes, position: int, nocase: bool) -> tuple[int, int]:
    """The bytes matched by the class whose first byte after ``[`` is at `position`, and the position behind it."""
    size = len(pattern)
    negated = pattern[position : position + 1] == b"^"
    if negated:
        position += 1
    members = _NO_BYTE
    while position < size and pattern[position] != 0x5D:
        byte = pattern[position]
        if byte == 0x5C and position + 1 < size:
            members |= 1 << pattern[position + 1]
            position += 2
        elif position + 2 < size and pattern[position + 1] == 0x2D:
            members |= _range(byte, pattern[position + 2], nocase)
            position += 3
        else:
            members |= _both_cases(byte) if nocase else 1 << byte
            position += 1
    return members ^ _ANY_BYTE if negated else members, min(position + 1, size)


@lru_cache(maxsize=1024)
def _range(first: int, last: int, nocase: bool) -> int:
    low, high = sorted((_signed(first), _signed(last)))
    if nocase:
        low, high = _lower(low), _lower(high)
        members = [byte for byte in range(256) if low <= _lower(_signed(byte)) <= high]
    else:
        members = [value & 0xFF for value in range(low, high + 1)]
    return sum(1 << byte for byte in members)


def _signed(byte: int) -> int:
    return byte - 256 if byte > 127 else byte


def _lower(value: int) -> int:
    return value + 32 if 65 <= value <= 90 else value


def _both_cases(byte: int) -> int:
    char = bytes((byte,))
    return 1 << char.lower()[0] | 1 << char.upper()[0]
