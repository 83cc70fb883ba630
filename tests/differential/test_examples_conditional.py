"""The conditional string commands that are newer than the reference: DELEX, DIGEST, MSETEX, SET IFEQ and its kin.

MSETEX is compared with Valkey, which has it. For the others the expected replies are what their pages in the Redis
documentation define (https://redis.io/commands/delex, .../digest, .../set).
"""

from __future__ import annotations

import pytest
import xxhash

from tests.differential.examples import Example, needs, parse_examples, run_example, split_words
from tests.differential.groups import declared
from tests.harness import servers
from tests.harness.wire import ErrorReply, NullBulk, Reply, Simple

HELLO_DIGEST = "b6acb9d84a38ff74"
OK = Simple(b"OK")
NIL = NullBulk()
ERROR = ErrorReply(b"")
WRONG_TYPE = ErrorReply(b"WRONGTYPE Operation against a key holding the wrong kind of value")
SYNTAX = ErrorReply(b"ERR syntax error")

Steps = list[tuple[str, Reply]]

DOCUMENTED: dict[str, Steps] = {
    "digest": [
        ('SET k "Hello world"', OK),
        ("DIGEST k", HELLO_DIGEST.encode()),
        ("DIGEST missing", NIL),
        ('SET e ""', OK),
        ("DIGEST e", xxhash.xxh3_64_hexdigest(b"").encode()),
        ("SET n 12345", OK),
        ("DIGEST n", xxhash.xxh3_64_hexdigest(b"12345").encode()),
        ("SET big {x*70000}", OK),
        ("DIGEST big", xxhash.xxh3_64_hexdigest(b"x" * 70000).encode()),
        ("DIGEST", ErrorReply(b"ERR wrong number of arguments for 'digest' command")),
    ],
    "delex without a condition": [
        ("SET k v", OK),
        ("DELEX k", 1),
        ("DELEX k", 0),
        ("DELEX", ErrorReply(b"ERR wrong number of arguments for 'delex' command")),
    ],
    "delex by value": [
        ("SET k v", OK),
        ("DELEX k IFEQ w", 0),
        ("DELEX k IFNE v", 0),
        ("EXISTS k", 1),
        ("DELEX k ifeq v", 1),
        ("DELEX k IFEQ v", 0),
        ("DELEX k IFNE v", 0),
        ("SET k v", OK),
        ("DELEX k IFNE w", 1),
        ("SET n 10", OK),
        ("DELEX n IFEQ 010", 0),
        ("DELEX n IFEQ 10", 1),
        ("DBSIZE", 0),
    ],
    "delex by digest": [
        ('SET k "Hello world"', OK),
        ("DELEX k IFDEQ 0000000000000000", 0),
        (f"DELEX k IFDNE {HELLO_DIGEST}", 0),
        (f"DELEX k IFDEQ {HELLO_DIGEST}", 1),
        (f"DELEX k IFDEQ {HELLO_DIGEST}", 0),
        ('SET k "Hello world"', OK),
        (f"DELEX k IFDEQ {HELLO_DIGEST.upper()}", 1),
        ("SET k v", OK),
        ("DELEX k IFDNE 0000000000000000", 1),
    ],
    "delex errors": [
        ("SET k v", OK),
        ("DELEX k BOGUS v", ERROR),
        ("DELEX k IFEQ", ERROR),
        ("DELEX k IFEQ v IFNE w", ERROR),
        ("DELEX k IFDEQ short", ERROR),
        ("EXISTS k", 1),
    ],
    "msetex counts": [
        ("MSETEX 2 a 1 b", ERROR),
        ("MSETEX 2 a 1", ERROR),
        ("MSETEX 0 a 1", ERROR),
        ("MSETEX -1 a 1", ERROR),
        ("MSETEX x a 1", ERROR),
        ("MSETEX 9223372036854775807 a 1", ERROR),
        ("DBSIZE", 0),
    ],
    "set ifeq and ifne": [
        ("SET k v IFEQ x", NIL),
        ("EXISTS k", 0),
        ("SET k v IFNE x", OK),
        ("GET k", b"v"),
        ("SET k w IFEQ v", OK),
        ("SET k z IFEQ v", NIL),
        ("GET k", b"w"),
        ("SET k z IFNE w", NIL),
        ("SET k z IFNE y", OK),
        ("SET k q IFEQ z GET", b"z"),
        ("GET k", b"q"),
        ("SET k r IFEQ nope GET", b"q"),
        ("GET k", b"q"),
        ("SET k r IFEQ q EX 1000", OK),
        ("TTL k", 1000),
        ("SET k s IFEQ r KEEPTTL", OK),
        ("TTL k", 1000),
        ("SET new v IFEQ x GET", NIL),
        ("SET new v IFNE x GET", NIL),
        ("GET new", b"v"),
    ],
    "set by digest": [
        ("SET k v IFDEQ 0000000000000000", NIL),
        ("EXISTS k", 0),
        ('SET k "Hello world" IFDNE 0000000000000000', OK),
        ("SET k a IFDNE " + HELLO_DIGEST, NIL),
        ("SET k a IFDEQ " + HELLO_DIGEST, OK),
        ("GET k", b"a"),
        ("SET k b IFDEQ " + HELLO_DIGEST, NIL),
        ("SET k b IFDNE " + HELLO_DIGEST, OK),
    ],
    "set condition errors": [
        ("SET k v IFEQ", SYNTAX),
        ("SET k v IFEQ a IFNE b", SYNTAX),
        ("SET k v NX IFEQ a", SYNTAX),
        ("SET k v XX IFEQ a", SYNTAX),
        ("SET k v IFEQ a NX", SYNTAX),
        # A digest is looked at only when there is a string to compare it with.
        ("SET k v IFDEQ short", NIL),
        ("SET k v IFDNE short", OK),
        ("SET k w", OK),
        ("SET k v IFDEQ short", ERROR),
        ("GET k", b"w"),
    ],
    "other types": [
        ("HSET h f v", 1),
        ("DIGEST h", WRONG_TYPE),
        ("DELEX h IFEQ v", ERROR),
        ("SET h v IFEQ v", WRONG_TYPE),
        ("SET h v IFNE v", WRONG_TYPE),
        ("SET h v IFDEQ 0000000000000000", WRONG_TYPE),
        ("TYPE h", Simple(b"hash")),
        ("DELEX h", 1),
        ("EXISTS h", 0),
    ],
}


def _collected() -> list[str]:
    """The examples that need no group of commands but the declared ones."""
    return [
        name for name, steps in DOCUMENTED.items() if not needs(split_words(line) for line, _ in steps) - declared()
    ]


@pytest.mark.parametrize("name", _collected())
def test_documented_example(name: str) -> None:
    with servers.subject().connect() as wire:
        assert wire.call("FLUSHALL") == OK
        for line, expected in DOCUMENTED[name]:
            reply = wire.call(*split_words(line))
            if expected is ERROR:
                assert isinstance(reply, ErrorReply), f"{line}: expected an error, got {reply!r}"
            elif line.startswith("TTL"):
                assert expected - 10 <= reply <= expected, f"{line}: {reply!r}"
            else:
                assert reply == expected, f"{line}: expected {expected!r}, got {reply!r}"


MSETEX_EXAMPLES = r"""
# msetex
MSETEX 2 a 1 b 2
MGET a b
TTL a
MSETEX 2 a 3 b 4 EX 1000
TTL a
TTL b
MSETEX 1 a 5 KEEPTTL
TTL a
MSETEX 1 a 5
TTL a
MSETEX 2 a 1 c 1 NX
EXISTS c
MSETEX 2 c 1 d 1 NX
MSETEX 2 c 2 e 2 XX
EXISTS e
MSETEX 2 c 2 d 2 XX PX 1000000
PTTL c
MSETEX 1 a 1 PXAT 4102444800123
PEXPIRETIME a
MSETEX 1 a 1 EXAT 4102444800
PEXPIRETIME a
MSETEX 1 a 1 EX 1000 NX
MSETEX 1 a 1 XX EX 1000

# msetex of other types
HSET h f v
MSETEX 1 h v NX
MSETEX 1 h v XX
TYPE h
MSETEX 2 a 1 a 2
GET a

# msetex errors
MSETEX
MSETEX 1
MSETEX 1 a
MSETEX 1 a 1 BOGUS
MSETEX 1 a 1 NX XX
MSETEX 1 a 1 EX
MSETEX 1 a 1 EX 0
MSETEX 1 a 1 EX -1
MSETEX 1 a 1 EX x
MSETEX 1 a 1 EX 10 PX 10
MSETEX 1 a 1 EX 10 KEEPTTL
MSETEX 1 a 1 EX 9223372036854775807
DBSIZE
"""


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("example", parse_examples(MSETEX_EXAMPLES), ids=str)
def test_msetex_as_in_valkey(example: Example, protocol: int) -> None:
    reference = servers.POOL.get(servers.valkey_9(), role="msetex")
    run_example(example, protocol, servers.subject(), reference)
