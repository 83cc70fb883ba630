"""Requests, the end of replies, and loads against a server made of a thread."""

from __future__ import annotations

import math

import pytest

from tests.tools.fakeserver import answering
from tools.benchmarks import loader
from tools.benchmarks.errors import BenchError
from tools.benchmarks.loader import command_batches, load, mset_batches, permutation, set_batches
from tools.benchmarks.wire import Connection, ServerReplyError, encode, reply_end

REPLIES = [
    b"+OK\r\n",
    b"-ERR no\r\n",
    b":-12\r\n",
    b"$-1\r\n",
    b"*-1\r\n",
    b"$0\r\n\r\n",
    b"$6\r\n\r\n\r\n+x\r\n",
    b"*0\r\n",
    b"*3\r\n:1\r\n*2\r\n$1\r\na\r\n*-1\r\n$-1\r\n",
]


@pytest.mark.parametrize("reply", REPLIES)
def test_reply_end_at_every_cut(reply: bytes) -> None:
    buffer = b"+before\r\n" + reply + b":9\r\n"
    assert reply_end(buffer, 9) == 9 + len(reply)
    for cut in range(len(reply)):
        assert reply_end(reply[:cut]) == -1


def test_reply_end_refuses_what_is_no_reply() -> None:
    with pytest.raises(BenchError, match="not a RESP2 reply"):
        reply_end(b"hello\r\n")


def test_encode_takes_bytes_text_and_numbers() -> None:
    assert encode(b"SET", "k", 12, 1.5) == b"*4\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\n12\r\n$3\r\n1.5\r\n"


def test_a_connection_reads_nested_replies_and_raises_errors() -> None:
    replies = iter([b"*2\r\n$2\r\nab\r\n*1\r\n:5\r\n", b"$-1\r\n", b"-WRONGTYPE no\r\n"])
    with answering(lambda _: next(replies)) as port, Connection(port, timeout_s=5) as connection:
        assert connection.call("A") == [b"ab", [5]]
        assert connection.call("B") is None
        with pytest.raises(ServerReplyError, match="WRONGTYPE no"):
            connection.call("C")


@pytest.mark.parametrize("count", [0, 1, 2, 3, 10, 1000, 1001, 6765])
def test_a_permutation_has_every_number_once(count: int) -> None:
    assert sorted(permutation(count)) == list(range(count))


def test_a_permutation_scatters() -> None:
    steps = {abs(b - a) for a, b in zip(permutation(1000), list(permutation(1000))[1:], strict=False)}
    assert min(steps) > math.sqrt(1000)


def test_set_batches_are_whole_commands() -> None:
    (payload, count), (rest, left) = list(set_batches(range(loader.BATCH_COMMANDS + 1), 10))
    assert (count, left) == (loader.BATCH_COMMANDS, 1)
    assert payload.count(b"SET") == count
    assert rest.startswith(b"*3\r\n$3\r\nSET\r\n$16\r\nkey:%012d\r\n$10\r\n" % loader.BATCH_COMMANDS)
    assert len(rest) == len(payload) // count


def test_mset_batches_keep_every_key() -> None:
    batches = list(mset_batches(range(1234), 3, 100))
    assert sum(payload.count(b"key:") for payload, _ in batches) == 1234
    assert sum(count for _, count in batches) == 13
    assert batches[-1][0].rpartition(b"*")[2].startswith(b"69\r\n$4\r\nMSET")


def test_load_counts_what_was_acknowledged() -> None:
    with answering(lambda chunk: b":1\r\n" * chunk.count(b"LPUSH")) as port:
        result = load(port, command_batches(("LPUSH", "l", i) for i in range(2750)), connections=3, timeout_s=5)
    assert result.commands == 2750
    assert sum(result.per_second) == 2750
    assert 0 < result.max_ack_s <= result.seconds


def test_load_raises_an_error_reply() -> None:
    with (
        answering(lambda chunk: b"-MISCONF no\r\n" * chunk.count(b"SET")) as port,
        pytest.raises(BenchError, match="MISCONF no"),
    ):
        load(port, set_batches(range(10), 3), connections=1, timeout_s=5)
