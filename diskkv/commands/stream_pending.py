"""Pending entries of consumer groups: XACK, XACKDEL, XPENDING, XCLAIM, XAUTOCLAIM."""

from __future__ import annotations

from diskkv.commands.registry import Flag, KeySpec, command
from diskkv.commands.stream_arguments import (
    entry_reply,
    id_reply,
    ids_reply,
    no_group,
    notify,
    parse_end,
    parse_id,
    parse_ids,
    parse_integer,
    parse_policy,
    parse_start,
    read_stream,
    shown,
    write_stream,
)
from diskkv.commands.stream_read import touch_consumer
from diskkv.datatypes import streams_edit, streams_groups, streams_pending
from diskkv.datatypes.streams import ZERO_ID, Stream
from diskkv.datatypes.streams_groups import Group
from diskkv.datatypes.streams_pending import Claim
from diskkv.errors import CommandError, CommandSyntaxError
from diskkv.resp.reply import EMPTY_ARRAY, ZERO, array, bulk, integer, integers
from diskkv.services.client import Client

_INT64_MAX = 2**63 - 1
_MOST_CLAIMED = _INT64_MAX // 16


def _find(client: Client, argv: list[bytes]) -> Group | None:
    """The group argv[2] of the stream argv[1], None when one of them is missing."""
    stream = read_stream(client, argv[1])
    return None if stream is None else streams_groups.find(client.engine, stream, argv[2])


@command(
    "XACK",
    arity=-4,
    flags=Flag.WRITE | Flag.FAST,
    keys=KeySpec("RW update"),
    group="stream",
    since="5.0.0",
    complexity="O(1) for each entry.",
    syntax="key group id [id ...]",
)
def xack(client: Client, argv: list[bytes]) -> bytes:
    """Acknowledge entries, so that they are not pending any more; answers how many were."""
    group = _find(client, argv)
    if group is None:
        return ZERO
    acknowledged = streams_pending.acknowledge(group, parse_ids(argv[3:]))
    client.engine.changes += acknowledged
    return integer(acknowledged)


@command(
    "XACKDEL",
    arity=-6,
    flags=Flag.WRITE | Flag.FAST,
    keys=KeySpec("RW update delete"),
    group="stream",
    since="8.2.0",
    complexity="O(1) for each entry and consumer group.",
    syntax="key group [KEEPREF | DELREF | ACKED] ids={IDS numids id [id ...]}",
)
def xackdel(client: Client, argv: list[bytes]) -> bytes:
    """Acknowledge entries and delete them; answers for each what happened."""
    old = write_stream(client, argv[1])
    policy, texts = parse_policy(argv, 3)
    stream = None if old is None else Stream(old)
    group = None if stream is None else streams_groups.find(client.engine, stream, argv[2])
    if old is None or stream is None or group is None:
        return integers([streams_edit.NOT_FOUND] * len(texts))
    ids = parse_ids(texts)
    results = streams_edit.acknowledge_and_delete(client.engine, stream, group, ids, policy)
    if stream.length != old.count:
        client.db.put(argv[1], stream.header(), old)
        notify(client, b"xdel", argv[1])
    client.engine.changes += 1
    return integers(results)


# ---- XPENDING


class _Query:
    """The arguments of XPENDING's extended form."""

    __slots__ = ("consumer", "count", "end", "min_idle_ms", "start")

    def __init__(self, argv: list[bytes]) -> None:
        at = 3
        self.min_idle_ms = 0
        if argv[3].upper() == b"IDLE":
            self.min_idle_ms = parse_integer(argv[4])
            at = 5
            if len(argv) < 8:
                raise CommandSyntaxError
        self.count = max(parse_integer(argv[at + 2]), 0)
        self.start = parse_start(argv[at])
        self.end = parse_end(argv[at + 1])
        self.consumer = argv[at + 3] if at + 3 < len(argv) else None


@command(
    "XPENDING",
    arity=-3,
    flags=Flag.READONLY,
    keys=KeySpec("RO access"),
    group="stream",
    since="5.0.0",
    complexity="O(N) with N being the number of consumers for the summary, and else that of entries looked at, which is"
    " that of entries returned unless there is IDLE.",
    syntax="key group [[IDLE min-idle-time:integer]@6.2.0 start:string end:string count [consumer]]",
    tips=("nondeterministic_output",),
)
def xpending(client: Client, argv: list[bytes]) -> bytes:
    """Tell how many entries were delivered to whom and not acknowledged, or which."""
    if len(argv) != 3 and not 6 <= len(argv) <= 9:
        raise CommandSyntaxError
    query = None if len(argv) == 3 else _Query(argv)
    group = _find(client, argv)
    if group is None:
        raise no_group(argv[1], argv[2])
    return _pending_summary(client, group) if query is None else _pending_entries(client, group, query)


def _pending_summary(client: Client, group: Group) -> bytes:
    if not group.pending:
        return b"*4\r\n" + ZERO + client.null + client.null + client.null_array
    consumers = [
        b"*2\r\n" + bulk(consumer.name) + bulk(b"%d" % consumer.pending)
        for consumer in group.all_consumers()
        if consumer.pending
    ]
    return array([integer(group.pending), id_reply(group.lowest), id_reply(group.highest_pending()), array(consumers)])


def _pending_entries(client: Client, group: Group, query: _Query) -> bytes:
    if query.consumer is None:
        found = group.scan_pending(query.start, query.end)
    else:
        consumer = group.consumer(query.consumer)
        if consumer is None:
            return EMPTY_ARRAY
        found = group.scan_pending_of(consumer, query.start, query.end)
    now_ms = client.engine.now_ms
    rows: list[bytes] = []
    if query.count:
        for pending in found:
            idle_ms = now_ms - pending.delivered_ms
            if query.min_idle_ms and idle_ms < query.min_idle_ms:
                continue
            rows.append(
                b"*4\r\n%b%b:%d\r\n:%d\r\n"
                % (
                    id_reply(pending.id),
                    bulk(group.consumer_by_number(pending.consumer).name),
                    max(idle_ms, 0),
                    pending.deliveries,
                )
            )
            if len(rows) == query.count:
                break
    return array(rows)


# ---- claiming


def _parse_claim(client: Client, argv: list[bytes]) -> tuple[list[bytes], Claim, bytes]:
    """The IDs, the options and LASTID of XCLAIM."""
    min_idle_ms = max(parse_integer(argv[4], b"ERR Invalid min-idle-time argument for XCLAIM"), 0)
    at = 5
    ids: list[bytes] = []
    while at < len(argv):
        try:
            ids.append(parse_id(argv[at]))
        except CommandError:
            break
        at += 1
    now_ms = client.engine.now_ms
    delivered_ms = deliveries = -1
    force = just_ids = False
    last = ZERO_ID
    while at < len(argv):
        option = argv[at].upper()
        if option == b"FORCE":
            force = True
        elif option == b"JUSTID":
            just_ids = True
        elif option in (b"IDLE", b"TIME", b"RETRYCOUNT", b"LASTID") and at + 1 < len(argv):
            at += 1
            if option == b"LASTID":
                last = parse_id(argv[at])
            else:
                number = parse_integer(argv[at], b"ERR Invalid %b option argument for XCLAIM" % option)
                if option == b"RETRYCOUNT":
                    deliveries = number
                else:
                    delivered_ms = number if option == b"TIME" else now_ms - number
        else:
            raise CommandError(b"ERR Unrecognized XCLAIM option '%b'" % shown(argv[at]))
        at += 1
    if not 0 <= delivered_ms <= now_ms:
        delivered_ms = now_ms
    return ids, Claim(min_idle_ms, delivered_ms, deliveries, force, just_ids), last


@command(
    "XCLAIM",
    arity=-6,
    flags=Flag.WRITE | Flag.FAST,
    keys=KeySpec("RW update"),
    group="stream",
    since="5.0.0",
    complexity="O(1) for each entry.",
    syntax="key group consumer min-idle-time id [id ...] [IDLE ms] [TIME unix-time-milliseconds] [RETRYCOUNT count]"
    " [FORCE] [JUSTID] [LASTID lastid]",
    tips=("nondeterministic_output",),
)
def xclaim(client: Client, argv: list[bytes]) -> bytes:
    """Make pending entries those of another consumer."""
    group = _find(client, argv)
    if group is None:
        raise no_group(argv[1], argv[2])
    ids, how, last = _parse_claim(client, argv)
    group.last = max(group.last, last)
    consumer = touch_consumer(client, argv[1], group, argv[3])
    claimed = streams_pending.claim(client.engine, group.stream, group, consumer, ids, how)
    group.save()
    client.engine.changes += len(claimed)
    return _claimed_reply(claimed, how.just_ids)


def _claimed_reply(claimed: list[tuple[bytes, bytes]], just_ids: bool) -> bytes:
    if just_ids:
        return ids_reply([entry_id for entry_id, _ in claimed])
    return array([entry_reply(entry_id, raw) for entry_id, raw in claimed])


@command(
    "XAUTOCLAIM",
    arity=-6,
    flags=Flag.WRITE | Flag.FAST,
    keys=KeySpec("RW delete"),
    group="stream",
    since="6.2.0",
    complexity="O(1) if COUNT is small.",
    syntax="key group consumer min-idle-time start:string [COUNT count] [JUSTID]",
    tips=("nondeterministic_output",),
)
def xautoclaim(client: Client, argv: list[bytes]) -> bytes:
    """Make those pending entries that were not touched for a while those of another consumer."""
    min_idle_ms = max(parse_integer(argv[4], b"ERR Invalid min-idle-time argument for XAUTOCLAIM"), 0)
    start = parse_start(argv[5])
    count = 100
    just_ids = False
    at = 6
    while at < len(argv):
        option = argv[at].upper()
        if option == b"COUNT" and at + 1 < len(argv):
            at += 1
            count = parse_integer(argv[at], b"ERR COUNT must be > 0")
            if not 0 < count <= _MOST_CLAIMED:
                raise CommandError(b"ERR COUNT must be > 0")
        elif option == b"JUSTID":
            just_ids = True
        else:
            raise CommandSyntaxError
        at += 1
    group = _find(client, argv)
    if group is None:
        raise no_group(argv[1], argv[2])
    consumer = touch_consumer(client, argv[1], group, argv[3])
    following, claimed, gone = streams_pending.claim_idle(
        client.engine, group.stream, group, consumer, start, count, min_idle_ms, just_ids
    )
    group.save()
    client.engine.changes += len(claimed) + len(gone)
    return array([id_reply(following), _claimed_reply(claimed, just_ids), ids_reply(gone)])
