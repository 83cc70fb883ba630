"""Error texts and cursors with NUL bytes, line breaks and signs differed from Redis'; LPOS failed on huge counts."""

from __future__ import annotations

import pytest

from tests.commands.session import Session
from tests.harness import servers

REQUESTS: list[list[bytes]] = [
    [b"EXPIRE", b"k", b"1", b"a\0b"],
    [b"EXPIRE", b"k", b"1", b"\r\n"],
    [b"XINFO", b"a\0b", b"c"],
    [b"HSETEX", b"h", b"a\0b", b"FIELDS", b"1", b"f", b"v"],
    [b"XADD", b"s", b"MINID", b"5", b"LIMIT", b"5", b"1-", b"f", b"v"],
    [b"XADD", b"s", b"MINID", b"5", b"LIMIT", b"5", b"1-1", b"f", b"v"],
    *([b"SSCAN", b"none", cursor] for cursor in b"-0 -1 +1 01 0x1 1.0 -18446744073709551615".split()),
    *([b"SSCAN", b"none", cursor] for cursor in (b" 1", b"1 ", b"1\0x", b"", b"-", b"\0", b"- 1")),
    *([b"SSCAN", b"none", b"%d" % cursor] for cursor in (2**64 - 1, 2**64, -(2**64), 2**63, -(2**63), -(2**63) - 1)),
]


@pytest.mark.parametrize("request_words", REQUESTS)
def test_same_as_the_reference(request_words: list[bytes]) -> None:
    with servers.subject().connect() as subject, servers.reference().connect() as reference:
        subject.call("SET", "k", "v")
        reference.call("SET", "k", "v")
        assert subject.call(*request_words) == reference.call(*request_words)


def test_lpos_with_huge_ranks_and_counts() -> None:
    session = Session()
    session.run("CONFIG SET list-max-listpack-size 2")
    session.run("RPUSH l a b a b a")
    session.check("""
        LPOS l a RANK 2 COUNT 9223372036854775807 -> [2, 4]
        LPOS l a RANK -2 COUNT 9223372036854775806 -> [2, 0]
        LPOS l a RANK 9223372036854775807 COUNT 9223372036854775807 -> []
        LPOS l a RANK -9223372036854775807 COUNT 0 MAXLEN 9223372036854775807 -> []
    """)
