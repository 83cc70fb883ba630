"""Random bytes: all parsers agree, however the bytes are cut, and a real server answers as the reference does.

`python -m tests.hostile.campaign --protocol --inputs 1000000` makes longer runs.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
from random import Random

import pytest

from diskkv.resp.parser import RequestParser
from tests.harness import servers
from tests.harness.servers import ServerProcess
from tests.harness.wire import WireClosed
from tests.hostile.parsers import check
from tests.hostile.protocol import fuzzed, session, spoilt

INPUTS = 4000
COMPARED = 150


def new_rng() -> Random:
    seed = secrets.randbits(32)
    print("seed", seed)
    return Random(seed)


def test_parsers_agree() -> None:
    rng = new_rng()
    for _ in range(INPUTS):
        check(rng, fuzzed(rng))


def test_long_input() -> None:
    """As much as one read takes: the compiled parser's arrays are full."""
    rng = new_rng()
    for _ in range(8):
        data = b"".join(session(rng) for _ in range(rng.randrange(1, 400)))
        check(rng, data[: rng.choice((65536, 65535, 65000, len(data)))][:65536])
    empty = b"$0\r\n\r\n"
    for unit in (b"*1\r\n" + empty, b"*2\r\n" + empty * 2, b"*256\r\n" + empty * 256, b"*1\r\n", b"$", b"*"):
        data = (unit * 65536)[:65536]
        check(rng, data)
        check(rng, data[: 65536 // len(unit) * len(unit)])
        check(rng, spoilt(rng, data)[:65536])


def test_what_is_kept_is_bounded() -> None:
    """Whatever came, a parser holds no more than it says."""
    rng = new_rng()
    parser = RequestParser(1 << 20)
    for _ in range(3000):
        data = fuzzed(rng)
        before = parser.size_bytes
        parser.feed(data)
        assert parser.size_bytes <= before + len(data) + 64 * (data.count(b"$") + 1)
        if parser.error is not None:
            parser = RequestParser(1 << 20)


def answer(server: ServerProcess, data: bytes) -> bytes:
    """Everything a new client gets that sends these bytes and then nothing more."""
    with server.connect() as wire:
        wire.call("FLUSHALL")
        with contextlib.suppress(WireClosed):
            wire.send_raw(data)
        with contextlib.suppress(OSError):
            wire.socket.shutdown(socket.SHUT_WR)
        return wire.read_until_closed()


@pytest.mark.slow
def test_a_server_answers_as_the_reference_does() -> None:
    rng = new_rng()
    subject, reference = servers.subject(), servers.reference()
    for _ in range(COMPARED):
        data = fuzzed(rng)
        expected = answer(reference, data)
        assert answer(subject, data) == expected, data
