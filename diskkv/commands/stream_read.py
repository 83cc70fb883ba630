"""Reading several streams, waiting for entries if there are none: XREAD and XREADGROUP.

A blocked command is run again whenever one of its streams changes. ``$`` and ``+`` mean the end of the stream at the
time when the command came, so a command that blocks has them replaced by IDs in its arguments.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, starmap
from typing import Any

from diskkv.codec.header import STREAM
from diskkv.codec.numbers import INT64_MAX
from diskkv.commands.registry import Flag, KeySpec, command
from diskkv.commands.stream_arguments import (
    entries_reply,
    entry_reply,
    format_id,
    no_group,
    notify,
    parse_id,
    parse_integer,
    read_stream,
)
from diskkv.datatypes import streams, streams_groups, streams_pending
from diskkv.datatypes.streams import MAX_ID, ZERO_ID, Stream, previous_id
from diskkv.datatypes.streams_groups import Consumer, Group
from diskkv.errors import CommandError, CommandSyntaxError
from diskkv.resp.reply import array_header, bulk
from diskkv.services.blocking import Block
from diskkv.services.client import Client
from diskkv.services.streaming import Reply, counted_reply

_MEANINGLESS = (
    b"ERR The %b ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by "
    b"specifying a proper ID, or use the > ID to get new messages. The %b ID would just return an empty result set."
)
_GROUP_ONLY = b"ERR The %b option is only supported by XREADGROUP. You called XREAD instead."


class _Options:
    """The parsed arguments: `keys` are `half` arguments from `at` on, their IDs follow. `group` is None for XREAD."""

    __slots__ = ("at", "block_ms", "consumer", "count", "group", "half", "noack")

    def __init__(self, argv: list[bytes], is_group: bool) -> None:
        self.block_ms = -1
        self.count = 0
        self.group: bytes | None = None
        self.consumer = b""
        self.noack = False
        self.at = 0
        at = 1
        while at < len(argv):
            option = argv[at].upper()
            more = len(argv) - 1 - at
            if option == b"BLOCK" and more:
                at += 1
                self.block_ms = _parse_timeout_ms(argv[at])
            elif option == b"COUNT" and more:
                at += 1
                self.count = max(parse_integer(argv[at]), 0)
            elif option == b"STREAMS" and more:
                self._parse_streams(argv, at + 1, is_group)
                break
            elif option == b"GROUP" and more >= 2:
                if not is_group:
                    raise CommandError(_GROUP_ONLY % option)
                self.group, self.consumer = argv[at + 1 : at + 3]
                at += 2
            elif option == b"NOACK":
                if not is_group:
                    raise CommandError(_GROUP_ONLY % option)
                self.noack = True
            else:
                raise CommandSyntaxError
            at += 1
        if not self.at:
            raise CommandSyntaxError
        if is_group and self.group is None:
            raise CommandError(b"ERR Missing GROUP option for XREADGROUP")

    def _parse_streams(self, argv: list[bytes], at: int, is_group: bool) -> None:
        size = len(argv) - at
        if size % 2:
            name, choices = (b"xreadgroup", b"ID or '>'") if is_group else (b"xread", b"ID, '+', or '$'")
            raise CommandError(
                b"ERR Unbalanced '%b' list of streams: for each stream key an %b must be specified." % (name, choices)
            )
        self.at = at
        self.half = size // 2


def _parse_timeout_ms(text: bytes) -> int:
    timeout_ms = parse_integer(text, b"ERR timeout is not an integer or out of range")
    if timeout_ms < 0:
        raise CommandError(b"ERR timeout is negative")
    return timeout_ms


def _deadline_ms(client: Client, timeout_ms: int) -> int:
    if timeout_ms > INT64_MAX - client.engine.now_ms:
        raise CommandError(b"ERR timeout is out of range")
    return client.engine.now_ms + timeout_ms if timeout_ms else 0


def _reply(found: list[tuple[bytes, bytes]], resp: int) -> bytes:
    """Keys with their encoded entries."""
    if resp == 3:
        return b"%%%d\r\n%b" % (len(found), b"".join([bulk(key) + entries for key, entries in found]))
    return b"*%d\r\n%b" % (len(found), b"".join([b"*2\r\n" + bulk(key) + entries for key, entries in found]))


@command(
    "XREAD",
    arity=-4,
    flags=Flag.READONLY | Flag.BLOCKING | Flag.MOVABLEKEYS,
    keys=KeySpec("RO access", keyword=b"STREAMS", last=-1, limit=2),
    group="stream",
    since="5.0.0",
    complexity="O(N) with N being the number of entries returned.",
    syntax="[COUNT count] [BLOCK milliseconds] STREAMS key [key ...] id [id ...]",
)
def xread(client: Client, argv: list[bytes]) -> Any:
    """Return the entries behind an ID of each of several streams; waits for one if asked to."""
    options = _Options(argv, False)
    deadline_ms = _deadline_ms(client, max(options.block_ms, 0))
    keys = argv[options.at : options.at + options.half]
    found = []
    for index, key in enumerate(keys):
        stream = read_stream(client, key)
        at = options.at + options.half + index
        after = _start_of_read(client, stream, argv[at])
        if options.block_ms >= 0 and argv[at] in (b"$", b"+"):
            argv[at] = format_id(after)
        found.append((key, stream, after))
    engine = client.engine
    ready = [(key, stream, after) for key, stream, after in found if stream is not None and stream.last > after]
    if len(ready) == 1 and not 0 < options.count <= _FEW:
        reply = _read_one(client, *ready[0], options.count)
        if reply != b"":
            return reply
        ready = []
    replies = []
    for key, stream, after in ready:
        entries = streams.read_range(engine, stream, streams.next_id(after), MAX_ID, options.count)
        if entries:
            replies.append((key, entries_reply(entries, b"")))
    if replies:
        return _reply(replies, client.resp)
    return client.null_array if options.block_ms < 0 else Block(keys, STREAM, deadline_ms, client.null_array)


_FEW = 500
"""Up to so many entries are gathered without asking whether they are to be streamed."""


def _read_one(client: Client, key: bytes, stream: Stream, after: bytes, count: int) -> Reply:
    """The reply when only one stream can have entries: any number of them. b"" when it has none."""
    start = streams.next_id(after)

    def items() -> Iterator[bytes]:
        return islice(starmap(entry_reply, streams.iterate(client.engine, stream, start, MAX_ID)), count or None)

    def head(size: int) -> bytes:
        return _reply([(key, array_header(size))], client.resp) if size else b""

    return counted_reply(client, head, items)


def _start_of_read(client: Client, stream: Stream | None, text: bytes) -> bytes:
    """The ID behind which XREAD begins."""
    if text == b"$":
        return ZERO_ID if stream is None else stream.last
    if text == b"+":
        last = ZERO_ID if stream is None else streams.last_entry_id(client.engine, stream)
        return last if last == ZERO_ID else previous_id(last)
    if text == b">":
        raise CommandError(
            b"ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option."
        )
    return parse_id(text)


@command(
    "XREADGROUP",
    arity=-7,
    flags=Flag.WRITE | Flag.BLOCKING | Flag.MOVABLEKEYS,
    keys=KeySpec("RO access", begin=4, keyword=b"STREAMS", last=-1, limit=2),
    group="stream",
    since="5.0.0",
    complexity="O(N) with N being the number of entries returned.",
    syntax="GROUP group consumer [COUNT count] [BLOCK milliseconds] [NOACK] STREAMS key [key ...] id [id ...]",
)
def xreadgroup(client: Client, argv: list[bytes]) -> Any:
    """Return entries that no consumer of a group got yet, or what one got and did not acknowledge."""
    options = _Options(argv, True)
    assert options.group is not None
    deadline_ms = _deadline_ms(client, max(options.block_ms, 0))
    keys = argv[options.at : options.at + options.half]
    found: list[tuple[bytes, Group, bytes | None]] = []
    groups: dict[bytes, Group] = {}
    for index, key in enumerate(keys):
        group = groups.get(key) or _find_group(client, key, options.group)
        groups[key] = group
        text = argv[options.at + options.half + index]
        if text in (b"$", b"+"):
            raise CommandError(_MEANINGLESS % (text, text))
        found.append((key, group, None if text == b">" else parse_id(text)))
    replies = []
    for key, group, after in found:
        consumer = touch_consumer(client, key, group, options.consumer)
        if after is None or after == MAX_ID:
            entries = streams_pending.read_new(
                client.engine, group.stream, group, consumer, options.count, options.noack
            )
            if entries:
                replies.append((key, entries_reply(entries, b"")))
        else:
            entries = streams_pending.read_history(client.engine, group.stream, group, consumer, after, options.count)
            replies.append((key, entries_reply(entries, client.null_array)))
        group.save()
    client.engine.changes += len(replies)
    if replies:
        return _reply(replies, client.resp)
    if options.block_ms < 0:
        return client.null_array
    return Block(keys, STREAM, deadline_ms, client.null_array, wake_on_delete=True)


def _find_group(client: Client, key: bytes, name: bytes) -> Group:
    stream = read_stream(client, key)
    group = None if stream is None else streams_groups.find(client.engine, stream, name)
    if group is None:
        raise no_group(key, name, b" in XREADGROUP with GROUP option")
    return group


def touch_consumer(client: Client, key: bytes, group: Group, name: bytes) -> Consumer:
    """The consumer of this name, made when there is none; it was seen now."""
    consumer = group.consumer(name)
    if consumer is None:
        consumer = group.create_consumer(name, client.engine.now_ms)
        notify(client, b"xgroup-createconsumer", key)
    consumer.seen_ms = client.engine.now_ms
    return consumer
