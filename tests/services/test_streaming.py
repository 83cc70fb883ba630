"""Streamed replies: how they are cut, and that they show the state in which their command ran."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from diskkv.commands import dispatch
from diskkv.commands.registry import Flag, load_all
from diskkv.config import Config
from diskkv.engine.leveldb import LevelDBStore
from diskkv.engine.memory import MemoryStore
from diskkv.engine.store import Store
from diskkv.errors import CommandError, CorruptionError, StorageError
from diskkv.resp.reply import array_header, bulk
from diskkv.services.client import Client
from diskkv.services.instance import Instance
from diskkv.services.streaming import Reply, StreamedReply, counted_reply, measured_reply, reply_of

NOW_MS = 1_700_000_000_000
_commands = cache(load_all)


class Taker(Client):
    """A client that takes streamed replies, and whose pieces a test asks for."""

    @property
    def can_stream(self) -> bool:
        return self.transaction is None and self.engine.store.snapshot_scans


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Instance]:
    store = LevelDBStore(tmp_path)
    yield _instance(store)
    store.close()


def _instance(store: Store) -> Instance:
    instance = Instance(Config(), store)
    instance.use_commands(_commands(), Flag.PLAIN, Flag.SKIP_SLOWLOG)
    instance.engine.begin(NOW_MS)
    return instance


def _pieces(reply: Reply) -> Iterator[bytes]:
    assert isinstance(reply, StreamedReply)
    while (piece := reply.next_piece()) is not None:
        yield piece


def _items(count: int, size: int = 10) -> Iterator[bytes]:
    return (bulk(b"%0*d" % (size, number)) for number in range(count))


# ---- cutting


@pytest.mark.parametrize(("count", "size"), [(0, 1), (1, 1), (2000, 10), (200, 1000)])
def test_small_replies_are_bytes(instance: Instance, count: int, size: int) -> None:
    taker = Taker(instance, 1)
    whole = array_header(count) + b"".join(_items(count, size))
    assert reply_of(taker, array_header(count), _items(count, size), count) == whole
    assert measured_reply(taker, array_header, _items(count, size), lambda: -1) == whole
    assert counted_reply(taker, array_header, lambda: _items(count, size)) == whole


@pytest.mark.parametrize(("count", "size"), [(3000, 10), (100_000, 1), (10, 100_000), (3, 1_000_000)])
def test_large_replies_are_pieces_of_bounded_size(instance: Instance, count: int, size: int) -> None:
    taker = Taker(instance, 1)
    whole = array_header(count) + b"".join(_items(count, size))
    for reply in (
        reply_of(taker, array_header(count), _items(count, size), count),
        measured_reply(taker, array_header, _items(count, size), lambda: count),
        counted_reply(taker, array_header, lambda: _items(count, size)),
    ):
        assert isinstance(reply, StreamedReply)
        pieces = list(_pieces(reply))
        assert b"".join(pieces) == whole
        assert max(map(len, pieces)) < 1_300_000 + size


def test_others_get_replies_whole(instance: Instance) -> None:
    client = instance.new_client()
    whole = array_header(5000) + b"".join(_items(5000))
    assert reply_of(client, array_header(5000), _items(5000), 5000) == whole
    assert measured_reply(client, array_header, _items(5000), lambda: 5000) == whole
    assert counted_reply(client, array_header, lambda: _items(5000)) == whole


def test_what_is_left_out_counts_as_work(instance: Instance) -> None:
    """A scan that finds nothing for long does not hold up others: it has empty pieces."""
    taker = Taker(instance, 1)

    def items() -> Iterator[bytes]:
        return (bulk(b"%d" % number) if number % 50_000 == 0 else b"" for number in range(200_000))

    reply = counted_reply(taker, array_header, items)
    assert isinstance(reply, StreamedReply)
    pieces = list(_pieces(reply))
    assert b"".join(pieces) == b"*4\r\n$1\r\n0\r\n$5\r\n50000\r\n$6\r\n100000\r\n$6\r\n150000\r\n"
    assert pieces.count(b"") > 100


def test_a_gathered_reply_is_bounded(instance: Instance) -> None:
    instance.config.set([b"proto-max-bulk-len", b"1mb"])
    with pytest.raises(CommandError, match="use SCAN"):
        counted_reply(instance.new_client(), array_header, lambda: _items(20_000))
    assert isinstance(counted_reply(Taker(instance, 1), array_header, lambda: _items(20_000)), StreamedReply)


@pytest.mark.parametrize("count", [10, 20_000])
@pytest.mark.parametrize("wrong", [-1, 1])
def test_a_wrong_count_is_an_error(instance: Instance, count: int, wrong: int) -> None:
    """The head has promised a number: an answer with another one would upset the client for good."""
    with pytest.raises(CorruptionError):
        reply = reply_of(Taker(instance, 1), array_header(count + wrong), _items(count), count + wrong)
        assert isinstance(reply, StreamedReply)
        list(_pieces(reply))


def test_appended_data_follows_and_closing_ends(instance: Instance) -> None:
    taker = Taker(instance, 1)
    reply = reply_of(taker, array_header(5000), _items(5000), 5000)
    assert isinstance(reply, StreamedReply)
    reply.append(b"+behind\r\n")
    assert b"".join(_pieces(reply)) == array_header(5000) + b"".join(_items(5000)) + b"+behind\r\n"
    reply = reply_of(taker, array_header(5000), _items(5000), 5000)
    assert isinstance(reply, StreamedReply)
    reply.close()
    assert reply.next_piece() is None


# ---- commands

_COMMANDS = (
    b"HGETALL h",
    b"HKEYS h",
    b"HVALS h",
    b"SMEMBERS s",
    b"SUNION s r q",
    b"SINTER s r",
    b"SDIFF s q",
    b"SDIFF s r",
    b"LRANGE l 0 -1",
    b"LRANGE l 3 -7",
    b"ZRANGE z 0 -1",
    b"ZRANGE z 3 -5 REV WITHSCORES",
    b"ZRANGEBYSCORE z 2 100000 WITHSCORES LIMIT 100 1000000",
    b"ZREVRANGEBYSCORE z inf -inf LIMIT 3 1000000",
    b"ZRANGEBYLEX y - +",
    b"XRANGE x - +",
    b"XREVRANGE x + 5",
    b"GET g",
    b"GETRANGE g 100 -100",
    b"KEYS *",
    b"KEYS k*1*",
)
_ROUNDS = 3


def _call(client: Client, line: bytes) -> bytes | StreamedReply:
    result = dispatch.execute(client, line.split(b" "))
    assert isinstance(result, bytes | StreamedReply)
    return result


def _change(client: Client, draw: random.Random, amount: int) -> None:
    """Staged changes to what the commands read."""
    for _ in range(amount):
        number = draw.randrange(4000)
        name = b"%d" % number
        line = draw.choice(
            (
                b"HSET h f%b %b" % (name, bytes([97 + draw.randrange(26)]) * draw.randrange(1, 90)),
                b"HDEL h f" + name,
                b"SADD s m" + name,
                b"SREM s m" + name,
                b"SREM r m" + name,
                b"SADD r m" + name,
                b"SADD q m" + name,
                b"RPUSH l %b" % name,
                b"LPOP l",
                b"LSET l 5 changed",
                b"ZADD z %b m%b" % (name, b"%d" % draw.randrange(4000)),
                b"ZREM z m" + name,
                b"ZADD y 0 m" + name,
                b"XADD x * f " + name,
                b"XDEL x %d-0" % (number + 1),
                b"SETRANGE g %d abc" % (number * 100),
                b"APPEND g tail",
                b"SET k%b v" % name,
                b"DEL k" + name,
                b"PEXPIREAT k%b %d" % (name, NOW_MS + 1000),
            )
        )
        assert not _text(_call(client, line)).startswith(b"-")


def _text(reply: bytes | StreamedReply) -> bytes:
    return reply if isinstance(reply, bytes) else b"".join(_pieces(reply))


def _fill(client: Client) -> None:
    for at in range(0, 4000, 500):
        numbers = [b"%d" % number for number in range(at, at + 500)]
        _call(client, b"HSET h " + b" ".join(b"f%b value-of-%b" % (name, name) for name in numbers))
        _call(client, b"SADD s " + b" ".join(b"m" + name for name in numbers))
        _call(client, b"SADD r " + b" ".join(b"m%d" % (int(name) * 2) for name in numbers))
        _call(client, b"RPUSH l " + b" ".join(b"item-" + name for name in numbers))
        _call(client, b"ZADD z " + b" ".join(b"%b m%b" % (name, name) for name in numbers))
        _call(client, b"ZADD y " + b" ".join(b"0 m" + name for name in numbers))
        _call(client, b"MSET " + b" ".join(b"k%b v" % name for name in numbers))
        for name in numbers:
            _call(client, b"XADD x %d-0 f %b" % (int(name) + 1, name))
    _call(client, b"SADD q m1 m3 m5")
    _call(client, b"SET g " + b"0123456789" * 60_000)


def test_replies_show_the_state_in_which_their_command_ran(instance: Instance) -> None:
    """All commands at once, in a turn that staged changes, and other changes between the pieces of their replies."""
    draw = random.Random(7)
    engine = instance.engine
    writer = instance.new_client()
    taker = instance.new_client(Taker)
    _fill(writer)
    engine.commit()
    for turn in range(_ROUNDS):
        engine.begin(NOW_MS + 900 * turn)
        _change(writer, draw, 300)
        replies = [(line, _call(writer, line), _call(taker, line)) for line in _COMMANDS]
        _change(writer, draw, 100)
        engine.commit()
        assert sum(isinstance(reply, StreamedReply) for _, _, reply in replies) > len(_COMMANDS) // 2
        parts: list[list[bytes]] = [[] for _ in replies]
        running = True
        while running:
            running = False
            for (_, _, reply), sent in zip(replies, parts, strict=True):
                piece = reply.next_piece() if isinstance(reply, StreamedReply) else None
                if piece is not None:
                    sent.append(piece)
                    running = True
            engine.begin(engine.now_ms + 1)
            _change(writer, draw, 30)
            engine.commit()
        for (line, expected, reply), sent in zip(replies, parts, strict=True):
            assert (reply if isinstance(reply, bytes) else b"".join(sent)) == expected, line


def test_flushing_and_swapping_databases_does_not_change_replies(instance: Instance) -> None:
    engine = instance.engine
    writer = instance.new_client()
    taker = instance.new_client(Taker)
    _fill(writer)
    engine.commit()
    replies = [(line, _text(_call(writer, line)), _call(taker, line)) for line in _COMMANDS]
    for line in (b"SWAPDB 0 1", b"FLUSHALL", b"SET k1 new"):
        _call(writer, line)
    engine.commit()
    while instance.reclaimer.step(100_000):
        engine.commit()
    engine.commit()
    engine.store.compact(b"", b"\xff" * 8)
    for line, expected, reply in replies:
        assert _text(reply) == expected, line


def test_a_closed_store_ends_replies(instance: Instance) -> None:
    writer = instance.new_client()
    taker = instance.new_client(Taker)
    _fill(writer)
    instance.engine.commit()
    replies = [_call(taker, line) for line in (b"HGETALL h", b"SMEMBERS s", b"GET g", b"KEYS *", b"ZREVRANGE z 0 -1")]
    instance.reload()
    for reply in replies:
        assert isinstance(reply, StreamedReply)
        with pytest.raises(StorageError):
            list(_pieces(reply))
    assert _text(_call(taker, b"HLEN h")) == b":4000\r\n"


def test_a_store_without_snapshots_is_not_streamed() -> None:
    instance = _instance(MemoryStore())
    taker = instance.new_client(Taker)
    _fill(taker)
    instance.engine.commit()
    for line in _COMMANDS:
        assert isinstance(_call(taker, line), bytes)


def test_negative_zeros_are_not_streamed(instance: Instance) -> None:
    """The sign of a zero is looked up in another row, which a scan from before does not protect."""
    taker = instance.new_client(Taker)
    _fill(taker)
    _call(taker, b"ZADD z -0.0 m5")
    instance.engine.commit()
    reply = _call(taker, b"ZRANGE z 0 -1 WITHSCORES")
    assert isinstance(reply, bytes)
    assert reply.count(b"-0\r\n") == 1
    assert isinstance(_call(taker, b"ZRANGE z 0 -1"), StreamedReply)


