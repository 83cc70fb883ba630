r"""Redis' glob patterns (KEYS, SCAN MATCH, PSUBSCRIBE, CONFIG GET, ACL key patterns) compiled to fast matchers.

Syntax: ``?`` any one byte, ``*`` any run of bytes, ``[abc]`` ``[a-z]`` ``[^a]`` one byte of a class, ``\x`` the byte x.
The corner cases are those of Redis' matcher, as seen on a real server:

- A class without ``]`` ends with the pattern; ``[^`` at the end matches any byte; ``[]`` matches nothing.
- Inside a class ``x-y`` takes any byte as y, ``]`` too; a reversed range is swapped; bounds compare as signed bytes.
- A non-empty pattern never matches the empty string, not even ``*``. (KEYS and SCAN skip matching for exactly ``*``.)
- A pattern that has to search after more than 1000 runs of ``*`` matches nothing.
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

_CACHED_PATTERN_LENGTH = 1024
"""Longer patterns are compiled each time, so that the cache's size in bytes stays bounded."""

_ANY_BYTE: Final = frozenset(range(256))
_STAR: Final = None
_SPECIAL = re.compile(rb"[*?\[\\]")

# A literal run, a class (the set of bytes that match), or a run of stars.
_Token = bytes | frozenset[int] | None


def compile_glob(pattern: bytes, nocase: bool = False) -> Matcher:
    """A function that says whether a byte string matches `pattern`; with `nocase`, ASCII letters match both cases."""
    if len(pattern) <= _CACHED_PATTERN_LENGTH:
        return _compile_cached(pattern, nocase)
    return _compile(pattern, nocase)


def literal_prefix(pattern: bytes) -> bytes:
    """The longest byte string that every match of `pattern` (with case) starts with; escapes are resolved."""
    prefix = b""
    for token in _tokenize(pattern, nocase=False):
        if not isinstance(token, bytes):
            break
        prefix += token
    return prefix


def is_literal(pattern: bytes) -> bool:
    """Whether `pattern` contains no special byte, so that it can only match itself."""
    return _SPECIAL.search(pattern) is None


def _compile(pattern: bytes, nocase: bool) -> Matcher:
    tokens = _tokenize(pattern, nocase)
    if not tokens:
        return _matches_empty
    if any(token == frozenset() for token in tokens if token is not _STAR) or _searches(tokens) > MAX_STAR_NESTING:
        return _matches_nothing
    return _literal_matcher(tokens) or _regex_matcher(tokens)


_compile_cached = lru_cache(maxsize=1024)(_compile)


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


def _token_regex(token: bytes | frozenset[int]) -> bytes:
    if isinstance(token, bytes):
        return re.escape(token)
    if len(token) == 256:
        return b"."
    return b"[%b]" % b"".join(b"\\x%02x" % byte for byte in sorted(token))


def _tokenize(pattern: bytes, nocase: bool) -> list[_Token]:
    tokens: list[_Token] = []
    literal = bytearray()

    def add(byte_set: frozenset[int]) -> None:
        if len(byte_set) == 1:
            literal.extend(byte_set)
            return
        flush()
        tokens.append(byte_set)

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
                byte_set, position = _parse_class(pattern, position, nocase)
                add(byte_set)
            case _:  # a backslash: the next byte as it is; at the end of the pattern, itself
                add_literal(pattern[position : position + 1] or b"\\")
                position += 1
    flush()
    return tokens


def _parse_class(pattern: bytes, position: int, nocase: bool) -> tuple[frozenset[int], int]:
    """The bytes matched by the class whose first byte after ``[`` is at `position`, and the position behind it."""
    size = len(pattern)
    negated = pattern[position : position + 1] == b"^"
    if negated:
        position += 1
    members: set[int] = set()
    while position < size and pattern[position] != 0x5D:
        byte = pattern[position]
        if byte == 0x5C and position + 1 < size:
            members.add(pattern[position + 1])
            position += 2
        elif position + 2 < size and pattern[position + 1] == 0x2D:
            members |= _range(byte, pattern[position + 2], nocase)
            position += 3
        else:
            members |= _both_cases(byte) if nocase else {byte}
            position += 1
    return frozenset(_ANY_BYTE - members if negated else members), position + 1


def _range(first: int, last: int, nocase: bool) -> set[int]:
    low, high = sorted((_signed(first), _signed(last)))
    if not nocase:
        return {value & 0xFF for value in range(low, high + 1)}
    low, high = _lower(low), _lower(high)
    return {byte for byte in range(256) if low <= _lower(_signed(byte)) <= high}


def _signed(byte: int) -> int:
    return byte - 256 if byte > 127 else byte


def _lower(value: int) -> int:
    return value + 32 if 65 <= value <= 90 else value


def _both_cases(byte: int) -> frozenset[int]:
    char = bytes((byte,))
    return frozenset(char.lower() + char.upper())
