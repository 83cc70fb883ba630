"""Glob patterns against a step-by-step oracle, a table of corner cases, and the KEYS of a real server."""

from __future__ import annotations

import re
import time
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from diskkv.codec.glob import MAX_STAR_NESTING, compile_glob, is_literal, literal_prefix
from tests.harness.servers import ServerProcess, reference_flavour


def oracle(pattern: bytes, string: bytes, nocase: bool, nesting: int = 0) -> bool:
    """The matcher's rules spelled out one pattern element at a time, with plain backtracking."""
    if nesting > MAX_STAR_NESTING:
        return False
    while pattern and string:
        if pattern[:1] == b"*":
            rest = pattern.lstrip(b"*")
            return not rest or any(oracle(rest, string[i:], nocase, nesting + 1) for i in range(len(string)))
        matched, pattern = oracle_one(pattern, string[0], nocase)
        if not matched:
            return False
        string = string[1:]
        if not string:
            pattern = pattern.lstrip(b"*")
    return not pattern and not string


def oracle_one(pattern: bytes, byte: int, nocase: bool) -> tuple[bool, bytes]:
    def fold(value: int) -> int:
        return value + 32 if nocase and 65 <= value <= 90 else value

    def signed(value: int) -> int:
        return value - 256 if value > 127 else value

    head, rest = pattern[0], pattern[1:]
    if head == ord("?"):
        return True, rest
    if head == ord("\\") and rest:
        return fold(rest[0]) == fold(byte), rest[1:]
    if head != ord("["):
        return fold(head) == fold(byte), rest
    negated = rest[:1] == b"^"
    rest = rest[negated:]
    matched = False
    while rest and rest[0] != ord("]"):
        if rest[0] == ord("\\") and len(rest) >= 2:
            matched |= rest[1] == byte
            rest = rest[2:]
        elif len(rest) >= 3 and rest[1] == ord("-"):
            low, high = sorted((signed(rest[0]), signed(rest[2])))
            matched |= fold(low) <= fold(signed(byte)) <= fold(high)
            rest = rest[3:]
        else:
            matched |= fold(rest[0]) == fold(byte)
            rest = rest[1:]
    return matched != negated, rest[1:]


alphabet = st.sampled_from(
    [b"*", b"?", b"[", b"]", b"^", b"-", b"\\", b"a", b"b", b"B", b"Z", b"c", b"\xff", b"\0", b"\n"]
)
patterns = st.lists(alphabet, max_size=12).map(b"".join)
strings = st.lists(
    st.sampled_from([b"a", b"b", b"A", b"C", b"]", b"-", b"\\", b"[", b"\xff", b"\0", b"\n"]), max_size=8
)


@given(patterns, strings.map(b"".join), st.booleans())
@example(b"[Z-a]", b"z", True)
@example(b"[\\A]", b"a", True)
@example(b"[\x01-\xff]", b"\x00", False)
def test_agrees_with_the_oracle(pattern: bytes, string: bytes, nocase: bool) -> None:
    assert compile_glob(pattern, nocase)(string) == oracle(pattern, string, nocase)


CORNER_CASES = [
    (b"*", b"", False),
    (b"**", b"", False),
    (b"", b"", True),
    (b"", b"a", False),
    (b"*", b"a", True),
    (b"a*", b"a", True),
    (b"**a", b"a", True),
    (b"a**", b"ab", True),
    (b"*a", b"", False),
    (b"[", b"[", False),
    (b"[^", b"x", True),
    (b"[^]", b"x", True),
    (b"[]", b"x", False),
    (b"[a", b"a", True),
    (b"[a-]", b"a", True),
    (b"[a-]", b"_", True),
    (b"[a-]", b"b", False),
    (b"[c-a]", b"b", True),
    (b"[\\]]", b"]", True),
    (b"[\\", b"\\", True),
    (b"\\", b"\\", True),
    (b"\\*", b"*", True),
    (b"\\*", b"a", False),
    (b"a\\", b"a\\", True),
    (b"[\x01-\xff]", b"\x00", True),
    (b"[\x01-\xff]", b"P", False),
    (b"?", b"\n", True),
    (b"*\n*", b"a\nb", True),
    (b"h[^e]llo", b"hallo", True),
    (b"h[^e]llo", b"hello", False),
    (b"*?" * 1000, b"a" * 2000, True),
    (b"*?" * 1001, b"a" * 2000, False),
    (b"*?" * 1000 + b"*", b"a" * 2000, True),
    (b"?*" * 1001, b"a" * 2000, True),
    (b"?*" * 1002, b"a" * 2000, False),
]


@pytest.mark.parametrize(("pattern", "string", "expected"), CORNER_CASES)
def test_corner_cases(pattern: bytes, string: bytes, expected: bool) -> None:
    assert compile_glob(pattern)(string) is expected


@pytest.mark.parametrize(
    ("pattern", "string", "expected"),
    [
        (b"ABC*", b"abcd", True),
        (b"[A-C]x", b"bX", True),
        (b"[Z-a]", b"z", False),
        (b"[\\A]", b"a", False),
        (b"\\A", b"a", True),
    ],
)
def test_without_case(pattern: bytes, string: bytes, expected: bool) -> None:
    assert compile_glob(pattern, nocase=True)(string) is expected


@pytest.mark.parametrize(
    "pattern", [b"*a" * 40 + b"*b", b"*a*" * 200 + b"b", b"*" + b"?*" * 300 + b"b", b"*[ab]" * 60 + b"c"]
)
def test_abusive_patterns_stay_cheap(pattern: bytes) -> None:
    started = time.process_time()
    assert compile_glob(pattern)(b"a" * 5000) is False
    assert time.process_time() - started < 0.5


@given(patterns, strings.map(b"".join), st.booleans())
def test_long_patterns_agree_with_the_oracle(pattern: bytes, string: bytes, nocase: bool) -> None:
    head = b"h" * 1100
    assert compile_glob(head + pattern, nocase)(head + string) == oracle(head + pattern, head + string, nocase)


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        (b"[^a]" * 100_000, True),
        (b"[a-z]?" * 50_000, True),
        (b"?" * 100_000, True),
        (b"*" + b"k?" * 50_000, True),
        (b"*" + b"k?" * 40_000 + b"x*", False),
        (b"[" + b"a" * 100_000 + b"k]*", True),
        (b"*[" + b"a" * 100_000 + b"]", False),
    ],
)
def test_long_patterns_take_little_time_and_room(pattern: bytes, matches: bool) -> None:
    """Compiling a regular expression of as many classes takes seconds and a gigabyte."""
    started_s = time.thread_time()
    assert compile_glob(pattern)(b"k" * 100_000) == matches
    assert literal_prefix(pattern) == b""
    assert time.thread_time() - started_s < 2


def test_a_long_pattern_is_not_compiled_for_shorter_strings() -> None:
    started = time.process_time()
    assert compile_glob(b"?[ab]" * 100_000 + b"*")(b"a" * 100) is False
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("pattern", "prefix"),
    [
        (b"", b""),
        (b"*", b""),
        (b"user:*", b"user:"),
        (b"user:?x", b"user:"),
        (b"a[bc]", b"a"),
        (b"a[b]c*", b"abc"),
        (b"a\\*b*", b"a*b"),
        (b"abc\\", b"abc\\"),
        (b"\xff\0*", b"\xff\0"),
    ],
)
def test_literal_prefix(pattern: bytes, prefix: bytes) -> None:
    assert literal_prefix(pattern) == prefix


@given(patterns, strings.map(b"".join))
def test_every_match_starts_with_the_literal_prefix(pattern: bytes, string: bytes) -> None:
    if compile_glob(pattern)(string):
        assert string.startswith(literal_prefix(pattern))


def test_is_literal() -> None:
    assert is_literal(b"abc]-^") and not any(map(is_literal, (b"a*", b"?", b"[a", b"a\\b")))


def test_every_byte_as_a_literal() -> None:
    for byte in range(256):
        char = bytes((byte,))
        assert compile_glob(b"?" + re.sub(rb"([*?\[\\])", rb"\\\1", char) + b"*")(b"x" + char + b"y")
        assert compile_glob(b"?[\\" + char + b"]*")(b"x" + char + b"y")


def test_keys_of_a_real_server_agree() -> None:
    random = Random(5)
    letters = [b"a", b"b", b"A", b"C", b"]", b"-", b"\\", b"[", b"^", b"*", b"\xff", b"\0", b"\x80", b"\n"]
    specials = [b"*", b"?", b"[", b"[", b"]", b"^", b"-", b"-", b"\\", b"a", b"b", b"B", b"Z", b"c", b"\xff", b"\0"]
    keys = {b"".join(random.choices(letters, k=random.randrange(5))) for _ in range(400)}
    globs = {b"".join(random.choices(specials, k=random.randrange(1, 9))) for _ in range(1500)} - {b"*"}
    with ServerProcess(reference_flavour()) as server, server.connect() as wire:
        wire.pipeline([("SET", key, b"") for key in keys])
        for glob, reply in zip(globs, wire.pipeline([("KEYS", glob) for glob in globs]), strict=True):
            assert isinstance(reply, list)
            matches = compile_glob(glob)
            assert sorted(filter(matches, keys)) == sorted(reply), glob
