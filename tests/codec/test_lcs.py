"""The longest common subsequence: against the textbook table, and LCS of a real server."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diskkv.codec.lcs import Match, check_lcs_size, lcs_length, longest_common_subsequence
from diskkv.errors import CommandError
from tests.harness.servers import POOL, redis_8
from tests.harness.wire import ErrorReply, Wire


@pytest.fixture(scope="module")
def redis() -> Iterator[Wire]:
    with POOL.get(redis_8()).connect() as wire:
        wire.call(b"FLUSHALL")
        yield wire
        wire.call(b"CONFIG", b"SET", b"proto-max-bulk-len", b"512mb")


def textbook(a: bytes, b: bytes) -> tuple[bytes, list[tuple[int, int]]]:
    """The text and the pairs of positions, from a whole table and the walk back through it."""
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            equal = a[i - 1] == b[j - 1]
            table[i][j] = table[i - 1][j - 1] + 1 if equal else max(table[i - 1][j], table[i][j - 1])
    pairs = []
    i, j = len(a), len(b)
    while i and j:
        if a[i - 1] == b[j - 1]:
            i, j = i - 1, j - 1
            pairs.append((i, j))
        elif table[i - 1][j] > table[i][j - 1]:
            i -= 1
        else:
            j -= 1
    assert len(pairs) == table[-1][-1]
    return bytes(a[i] for i, _ in reversed(pairs)), pairs


texts = st.text("ab", max_size=30).map(str.encode) | st.text("abcdef", max_size=30).map(str.encode) | st.binary()


@given(texts, texts)
def test_text_and_pairs(a: bytes, b: bytes) -> None:
    text, pairs = textbook(a, b)
    found = longest_common_subsequence(a, b)
    assert found.text == text
    expanded = [(match.last_a - step, match.last_b - step) for match in found.matches for step in range(match.length)]
    assert expanded == pairs
    assert lcs_length(a, b) == len(text)


def test_runs_are_as_long_as_they_can_be() -> None:
    found = longest_common_subsequence(b"ohmytext", b"mynewtext")
    assert found.text == b"mytext"
    assert found.matches == [Match(4, 7, 5, 8), Match(2, 3, 0, 1)]
    assert [match.length for match in found.matches] == [4, 2]
    assert longest_common_subsequence(b"same", b"same").matches == [Match(0, 3, 0, 3)]
    assert longest_common_subsequence(b"", b"abc") == (b"", [])


@pytest.mark.parametrize("alphabet", [b"ab", b"abcd", b"abcdefghijklmnop"])
def test_random_strings_match_a_server(redis: Wire, alphabet: bytes) -> None:
    rng = random.Random(len(alphabet))
    for _ in range(60):
        a, b = (bytes(rng.choices(alphabet, k=rng.choice([0, 1, 5, 40, 150]))) for _ in range(2))
        if rng.random() < 0.3:
            common = bytes(rng.choices(alphabet, k=30))
            a, b = a + common, b + common
        redis.call(b"MSET", b"a", a, b"b", b)
        found = longest_common_subsequence(a, b)
        assert redis.call(b"LCS", b"a", b"b") == found.text
        assert redis.call(b"LCS", b"a", b"b", b"LEN") == lcs_length(a, b)
        for minimum in (0, 2, 5):
            runs = [
                [[match.first_a, match.last_a], [match.first_b, match.last_b], match.length]
                for match in found.matches
                if match.length >= minimum
            ]
            reply = redis.call(b"LCS", b"a", b"b", b"IDX", b"MINMATCHLEN", minimum, b"WITHMATCHLEN")
            assert reply == [b"matches", runs, b"len", len(found.text)]


@pytest.mark.parametrize("sizes", [(511, 511), (511, 512), (0, 262143), (0, 262144), (1000, 1000)])
def test_the_size_limit_is_the_one_of_a_server(redis: Wire, sizes: tuple[int, int]) -> None:
    redis.call(b"CONFIG", b"SET", b"proto-max-bulk-len", b"1048576")
    redis.call(b"MSET", b"a", b"x" * sizes[0], b"b", b"y" * sizes[1])
    reply = redis.call(b"LCS", b"a", b"b", b"LEN")
    if isinstance(reply, ErrorReply):
        with pytest.raises(CommandError) as caught:
            check_lcs_size(*sizes, 1048576)
        assert caught.value.message == reply.text
    else:
        check_lcs_size(*sizes, 1048576)


def test_strings_of_four_gigabytes_are_refused() -> None:
    with pytest.raises(CommandError, match="ERR String too long for LCS"):
        check_lcs_size(1, 2**32 - 2, 2**60)
