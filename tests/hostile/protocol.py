"""Bytes as clients send them, and what becomes of them on the way: for the parsers."""

from __future__ import annotations

from random import Random

from tests.harness.wire import encode_command
from tests.hostile.arguments import mutated

NAMES = [b"PING", b"ECHO", b"SET", b"GET", b"get", b"MGET", b"DEL", b"INCR", b"NOPE", b"HSET", b"LPUSH", b"TYPE", b""]
_PING = b"*1\r\n$4\r\nPING\r\n"
WORDS = [b"k", b"v", b"", b"\r\n", b"*1", b"$-1", b"1", b"x" * 100, b"\x00\xff", b"a b", b'"q"', _PING]
SNIPPETS = [
    *(b"\r\n", b"\n", b"\r", b"*", b"$", b"*0\r\n", b"*-1\r\n", b"$-1\r\n", b"$0\r\n\r\n", b"*1\r\n", b"\0", b"*1\n"),
    *(b"$1\r\n", b"*01\r\n", b"$+1\r\n", b"*2147483647\r\n", b"$536870913\r\n", b"*9223372036854775808\r\n"),
    *(b'"', b"'", b"\\x4", b"+OK\r\n", b":1\r\n", b"%1\r\n", b"_\r\n", b"PING\r\n", _PING, b"*3\r\n$3\r\nSET\r\n"),
    *(b"\v", b"\f", b"\0\n"),
]


def request(rng: Random) -> bytes:
    """One request, as an array or inline."""
    words = [rng.choice(NAMES), *(rng.choice(WORDS) for _ in range(rng.choice((0, 1, 1, 2, 2, 3, 8))))]
    if rng.random() < 0.15:
        return b" ".join(words) + rng.choice((b"\r\n", b"\n"))
    return encode_command(words)


def session(rng: Random) -> bytes:
    """Some requests, mostly different ones, now and then a pipeline of like ones."""
    if rng.random() < 0.3:
        size = rng.choice((1, 2, 3))
        name = rng.choice(NAMES)
        return b"".join(
            encode_command([name, *(rng.choice(WORDS) for _ in range(size))]) for _ in range(rng.randrange(1, 30))
        )
    return b"".join(request(rng) for _ in range(rng.choice((1, 1, 2, 3, 10))))


def spoilt(rng: Random, data: bytes) -> bytes:
    """The bytes with a few changes, most of them where they hurt: in lengths and line breaks."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        how = rng.randrange(5)
        at = rng.randrange(len(data) + 1)
        if how == 0:
            data = data[:at] + rng.choice(SNIPPETS) + data[at:]
        elif how == 1:
            data = data[:at]
        elif how == 2:
            found = data.find(rng.choice((b"\r\n", b"$", b"*")), at)
            if found >= 0:
                data = data[:found] + rng.choice((b"", b"\n", b"\r", rng.choice(SNIPPETS))) + data[found + 1 :]
        elif how == 3:
            found = data.find(b"$", at) + 1
            if found:
                data = data[:found] + rng.choice((b"1", b"0", b"-", b"9", b"00")) + data[found:]
        else:
            data = mutated(rng, data)
    return data


def fuzzed(rng: Random) -> bytes:
    """What a parser has to cope with: good sessions, spoilt ones, and rubbish."""
    draw = rng.random()
    if draw < 0.15:
        return session(rng)
    if draw < 0.95:
        return spoilt(rng, session(rng))
    return rng.randbytes(rng.choice((1, 10, 100, 5000)))
