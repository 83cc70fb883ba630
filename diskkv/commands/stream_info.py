"""Looking inside streams: XINFO."""

from __future__ import annotations

from diskkv.commands.dispatch import unknown_subcommand
from diskkv.commands.help import help_reply
from diskkv.commands.registry import Flag, KeySpec, command
from diskkv.commands.stream_arguments import entry_reply, id_reply, no_such_group, parse_integer, read_stream
from diskkv.commands.stream_group import wrong_subcommand
from diskkv.datatypes import streams, streams_groups
from diskkv.datatypes.streams import MAX_ID, ZERO_ID, Stream
from diskkv.datatypes.streams_groups import NEVER_ACTIVE, NOT_KNOWN, Consumer, Group
from diskkv.errors import CommandError
from diskkv.resp.reply import array, bulk, integer, map_of
from diskkv.services.client import Client

_DEFAULT_COUNT = 10


@command("XINFO", arity=-2, flags=Flag(0), group="stream", since="5.0.0", complexity="Depends on subcommand.")
def xinfo(client: Client, argv: list[bytes]) -> bytes:
    """A container for commands that look inside streams."""
    raise unknown_subcommand(argv)


@command("XINFO HELP", arity=2, flags=Flag.LOADING | Flag.STALE, group="stream", since="5.0.0", complexity="O(1)")
def xinfo_help(client: Client, argv: list[bytes]) -> bytes:
    """List the subcommands."""
    return help_reply(
        "XINFO",
        "CONSUMERS <key> <group>",
        "    The consumers of a group.",
        "GROUPS <key>",
        "    The groups of a stream.",
        "STREAM <key> [FULL [COUNT <count>]]",
        "    The stream itself; FULL adds entries, groups, consumers and what is pending.",
    )


def _existing(client: Client, key: bytes) -> Stream:
    stream = read_stream(client, key)
    if stream is None:
        raise CommandError(b"ERR no such key")
    return stream


def _named(client: Client, *pairs: tuple[bytes, bytes]) -> bytes:
    return map_of([(bulk(name), value) for name, value in pairs], client.resp)


def _read(client: Client, group: Group) -> bytes:
    return client.null if group.read == NOT_KNOWN else integer(group.read)


def _lag(client: Client, stream: Stream, group: Group) -> bytes:
    lag = streams_groups.lag(stream, group)
    return client.null if lag is None else integer(lag)


def _summary(stream: Stream) -> list[tuple[bytes, bytes]]:
    # A radix tree has an inner node besides its keys; how many exactly depends on the IDs.
    return [
        (b"length", integer(stream.length)),
        (b"radix-tree-keys", integer(stream.nodes)),
        (b"radix-tree-nodes", integer(stream.nodes + 1)),
        (b"last-generated-id", id_reply(stream.last)),
        (b"max-deleted-entry-id", id_reply(stream.max_deleted)),
        (b"entries-added", integer(stream.added)),
        (b"recorded-first-entry-id", id_reply(stream.first)),
    ]


@command(
    "XINFO STREAM",
    arity=-3,
    flags=Flag.READONLY,
    keys=KeySpec("RO access", begin=2),
    group="stream",
    since="5.0.0",
    complexity="O(1); with FULL O(N) with N being the number of groups, consumers and entries returned.",
    syntax="key full-block=[full={FULL} [COUNT count]]",
)
def xinfo_stream(client: Client, argv: list[bytes]) -> bytes:
    """Describe a stream."""
    stream = _existing(client, argv[2])
    if len(argv) == 3:
        return _named(
            client,
            *_summary(stream),
            (b"groups", integer(stream.groups)),
            (b"first-entry", _edge_entry(client, stream, False)),
            (b"last-entry", _edge_entry(client, stream, True)),
        )
    if len(argv) not in (4, 6) or argv[3].upper() != b"FULL" or (len(argv) == 6 and argv[4].upper() != b"COUNT"):
        raise wrong_subcommand(argv)
    count = _DEFAULT_COUNT
    if len(argv) == 6:
        count = parse_integer(argv[5])
        if count < 0:
            count = _DEFAULT_COUNT
    entries = streams.read_range(client.engine, stream, ZERO_ID, MAX_ID, count)
    groups = streams_groups.all_groups(client.engine, stream)
    return _named(
        client,
        *_summary(stream),
        (b"entries", array([entry_reply(entry_id, raw) for entry_id, raw in entries])),
        (b"groups", array([_full_group(client, stream, group, count) for group in groups])),
    )


def _edge_entry(client: Client, stream: Stream, is_last: bool) -> bytes:
    for entry_id, raw in streams.read_range(client.engine, stream, ZERO_ID, MAX_ID, 1, is_last):
        return entry_reply(entry_id, raw)
    return client.null


def _full_group(client: Client, stream: Stream, group: Group, count: int) -> bytes:
    pending = []
    for item in group.scan_pending(ZERO_ID, MAX_ID):
        pending.append(
            b"*4\r\n%b%b:%d\r\n:%d\r\n"
            % (
                id_reply(item.id),
                bulk(group.consumer_by_number(item.consumer).name),
                item.delivered_ms,
                item.deliveries,
            )
        )
        if len(pending) == count:
            break
    consumers = [_full_consumer(client, group, consumer, count) for consumer in group.all_consumers()]
    return _named(
        client,
        (b"name", bulk(group.name)),
        (b"last-delivered-id", id_reply(group.last)),
        (b"entries-read", _read(client, group)),
        (b"lag", _lag(client, stream, group)),
        (b"pel-count", integer(group.pending)),
        (b"pending", array(pending)),
        (b"consumers", array(consumers)),
    )


def _full_consumer(client: Client, group: Group, consumer: Consumer, count: int) -> bytes:
    pending = []
    for item in group.scan_pending_of(consumer, ZERO_ID, MAX_ID):
        pending.append(b"*3\r\n%b:%d\r\n:%d\r\n" % (id_reply(item.id), item.delivered_ms, item.deliveries))
        if len(pending) == count:
            break
    return _named(
        client,
        (b"name", bulk(consumer.name)),
        (b"seen-time", integer(consumer.seen_ms)),
        (b"active-time", integer(consumer.active_ms)),
        (b"pel-count", integer(consumer.pending)),
        (b"pending", array(pending)),
    )


@command(
    "XINFO GROUPS",
    arity=3,
    flags=Flag.READONLY,
    keys=KeySpec("RO access", begin=2),
    group="stream",
    since="5.0.0",
    complexity="O(N) with N being the number of groups.",
    syntax="key",
)
def xinfo_groups(client: Client, argv: list[bytes]) -> bytes:
    """Describe the consumer groups of a stream."""
    stream = _existing(client, argv[2])
    replies = [
        _named(
            client,
            (b"name", bulk(group.name)),
            (b"consumers", integer(group.consumers)),
            (b"pending", integer(group.pending)),
            (b"last-delivered-id", id_reply(group.last)),
            (b"entries-read", _read(client, group)),
            (b"lag", _lag(client, stream, group)),
        )
        for group in streams_groups.all_groups(client.engine, stream)
    ]
    return array(replies)


@command(
    "XINFO CONSUMERS",
    arity=4,
    flags=Flag.READONLY,
    keys=KeySpec("RO access", begin=2),
    group="stream",
    since="5.0.0",
    complexity="O(N) with N being the number of consumers.",
    syntax="key group",
    tips=("nondeterministic_output",),
)
def xinfo_consumers(client: Client, argv: list[bytes]) -> bytes:
    """Describe the consumers of a group."""
    stream = _existing(client, argv[2])
    group = streams_groups.find(client.engine, stream, argv[3])
    if group is None:
        raise no_such_group(argv[2], argv[3])
    now_ms = client.engine.now_ms
    replies = []
    for consumer in group.all_consumers():
        inactive_ms = -1 if consumer.active_ms == NEVER_ACTIVE else max(now_ms - consumer.active_ms, 0)
        replies.append(
            _named(
                client,
                (b"name", bulk(consumer.name)),
                (b"pending", integer(consumer.pending)),
                (b"idle", integer(max(now_ms - consumer.seen_ms, 0))),
                (b"inactive", integer(inactive_ms)),
            )
        )
    return array(replies)
