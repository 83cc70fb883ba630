"""Reading through a consumer group, acknowledging, and claiming what others did not acknowledge.

Source: https://redis.io/docs/latest/commands/xreadgroup/, /xack/, /xclaim/, /xautoclaim/
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from diskkv.datatypes import streams, streams_groups
from diskkv.datatypes.streams import MAX_ID, ZERO_ID, Stream
from diskkv.datatypes.streams_groups import NOT_KNOWN, Consumer, Group, Pending
from diskkv.engine.engine import Engine

Entry = tuple[bytes, bytes | None]
"""(ID, packed fields); None for an entry that is pending and does not exist any more."""

_ATTEMPTS_PER_ENTRY = 10


@dataclass(frozen=True, slots=True)
class Claim:
    """The options of XCLAIM; times are absolute, `deliveries` -1 leaves the count to be increased."""

    min_idle_ms: int
    delivered_ms: int
    deliveries: int = -1
    force: bool = False
    just_ids: bool = False


# ---- XREADGROUP


def read_new(
    engine: Engine, stream: Stream, group: Group, consumer: Consumer, count: int, acknowledge: bool
) -> list[Entry]:
    """Deliver up to `count` entries (0: all) that nobody in the group got; pending unless `acknowledge`."""
    if group.last >= stream.last or not stream.length:
        return []
    entries: list[Entry] = []
    if count:
        entries += streams.read_following(engine, stream, group.number, group.last, count)
    else:
        entries += streams.read_range(engine, stream, streams.next_id(group.last), MAX_ID)
    if not entries:
        return entries
    ids = [entry_id for entry_id, _ in entries]
    _advance(stream, group, ids)
    if not acknowledge:
        consumer.active_ms = engine.now_ms
        group.deliver_new(ids, consumer, engine.now_ms)
    return entries


def _advance(stream: Stream, group: Group, ids: Sequence[bytes]) -> None:
    """Move the group on over these entries, keeping count of what it has read as far as that is known."""
    for entry_id in ids:
        if (
            group.read != NOT_KNOWN
            and group.last >= stream.first
            and not streams_groups.has_deleted_after(stream, group.last)
        ):
            group.read += 1
        elif stream.added:
            group.read = streams_groups.estimate_read(stream, entry_id)
        group.last = entry_id


def read_history(
    engine: Engine, stream: Stream, group: Group, consumer: Consumer, after: bytes, count: int
) -> list[Entry]:
    """Up to `count` entries (0: all) behind an ID that are pending with the consumer; they count as delivered again."""
    entries: list[Entry] = []
    if after == MAX_ID:
        return entries
    for pending in group.scan_pending_of(consumer, streams.next_id(after), MAX_ID):
        fields = streams.get(engine, stream, pending.id)
        if fields is not None:
            pending.delivered_ms = engine.now_ms
            pending.deliveries += 1
            group.assign(pending, consumer, False)
        entries.append((pending.id, fields))
        if len(entries) == count:
            break
    return entries


# ---- XACK, XCLAIM, XAUTOCLAIM


def acknowledge(group: Group, ids: Sequence[bytes]) -> int:
    """Take entries off the pending list; answers how many were there."""
    done = 0
    for entry_id in ids:
        pending = group.get_pending(entry_id)
        if pending is not None:
            group.release(pending)
            done += 1
    if done:
        group.save()
    return done


def claim(
    engine: Engine, stream: Stream, group: Group, consumer: Consumer, ids: Sequence[bytes], how: Claim
) -> list[tuple[bytes, bytes]]:
    """Make pending entries those of `consumer`; answers the ones that it got. What does not exist is released."""
    now_ms = engine.now_ms
    claimed: list[tuple[bytes, bytes]] = []
    for entry_id in ids:
        pending = group.get_pending(entry_id)
        fields = streams.get(engine, stream, entry_id)
        if fields is None:
            if pending is not None:
                group.release(pending)
            continue
        is_new = pending is None
        if pending is None:
            if not how.force:
                continue
            pending = Pending(entry_id, consumer.number, now_ms, 1)
        elif how.min_idle_ms and now_ms - pending.delivered_ms < how.min_idle_ms:
            continue
        pending.delivered_ms = how.delivered_ms
        if how.deliveries >= 0:
            pending.deliveries = how.deliveries
        elif not how.just_ids:
            pending.deliveries += 1
        group.assign(pending, consumer, is_new)
        consumer.active_ms = now_ms
        claimed.append((entry_id, fields))
    return claimed


def claim_idle(
    engine: Engine,
    stream: Stream,
    group: Group,
    consumer: Consumer,
    start: bytes,
    count: int,
    min_idle_ms: int,
    just_ids: bool,
) -> tuple[bytes, list[tuple[bytes, bytes]], list[bytes]]:
    """Claim up to `count` entries from `start` on that nobody touched for `min_idle_ms`.

    Answers where to go on (zero: at the end), what was claimed, and the IDs that do not exist any more and were
    released. At most ten times `count` pending entries are looked at.
    """
    now_ms = engine.now_ms
    claimed: list[tuple[bytes, bytes]] = []
    gone: list[bytes] = []
    attempts = count * _ATTEMPTS_PER_ENTRY
    for pending in group.scan_pending(start, MAX_ID):
        if not attempts or len(claimed) + len(gone) == count:
            return pending.id, claimed, gone
        attempts -= 1
        fields = streams.get(engine, stream, pending.id)
        if fields is None:
            gone.append(pending.id)
            group.release(pending)
            continue
        if min_idle_ms and now_ms - pending.delivered_ms < min_idle_ms:
            continue
        pending.delivered_ms = now_ms
        if not just_ids:
            pending.deliveries += 1
        group.assign(pending, consumer, False)
        consumer.active_ms = now_ms
        claimed.append((pending.id, fields))
    return ZERO_ID, claimed, gone
