"""Replies that are sent while they are made: large collections and long strings neither fill memory nor hold others up.

A command hands its reply as a head and an iterator of encoded items to `reply_of`. A reply that is not large becomes
bytes right away. Of a larger one only the beginning is made; the rest stays an iterator inside a `StreamedReply`, which
the network side asks for one piece after the other while the client takes them, some of them every turn.

The reply is what the collection was when the command ran. The items come from one scan of the store, which LevelDB
answers from the state in which it was opened, with the rows that the turn had staged until then copied on top; taking
the first items opens it. Hence the rule for whoever passes items: one scan (or several that have begun), and nothing
that is looked up on the way. What cannot be had so is not streamed.

Nothing is streamed to a client that is no connection, inside of MULTI and scripts (the reply is part of another one),
and from a store whose scans are no snapshots; all of these get the reply whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import TYPE_CHECKING

from diskkv.errors import CommandError, CorruptionError

if TYPE_CHECKING:
    from diskkv.services.client import Client

PIECE_COST = 64 * 1024
"""A piece ends when its bytes and ITEM_COST for each item reach this: half a millisecond's work, at most."""
ITEM_COST = 100
_INLINE_COST = 256 * 1024
"""A reply that costs less (2,000 small items, or a few large ones) is sent at once."""
_KEPT_COST = 1 << 20
"""While the items of a reply are counted, so much of them is kept, to be sent without looking for it again."""
_TOO_LARGE = b"ERR the reply would exceed proto-max-bulk-len; use SCAN"


class StreamedReply:
    """A reply whose pieces are made one at a time. It is to be read to its end, or closed."""

    __slots__ = ("_pieces",)

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def next_piece(self) -> bytes | None:
        """What to send next; b"" when there is nothing to send yet, None at the end.

        Raises StorageError when the rest cannot be read any more: the reply stays incomplete then.
        """
        return next(self._pieces, None)

    def append(self, data: bytes) -> None:
        """Send something behind the reply."""
        self._pieces = chain(self._pieces, (data,))

    def close(self) -> None:
        """Let go of the scan, which keeps files of the store alive."""
        self._pieces = iter(())


Reply = bytes | StreamedReply


def reply_of(client: Client, head: bytes, items: Iterator[bytes], count: int | None = None) -> Reply:
    """The reply that consists of `head` and the encoded items. Raises CorruptionError unless there are `count`."""
    begun, is_all = _begin(items)
    if is_all:
        _check_count(len(begun), count)
        return head + b"".join(begun)
    # The head is one item more.
    pieces = _pieces(chain((head,), begun, items), None if count is None else count + 1)
    return StreamedReply(pieces) if client.can_stream else b"".join(pieces)


def measured_reply(
    client: Client, head: Callable[[int], bytes], items: Iterator[bytes], count: Callable[[], int]
) -> Reply:
    """As `reply_of` when counting the items, which `head` is made of, costs something: done for a large reply only."""
    begun, is_all = _begin(items)
    if is_all:
        return head(len(begun)) + b"".join(begun)
    total = count()
    return reply_of(client, head(total), chain(begun, items), total)


def counted_reply(client: Client, head: Callable[[int], bytes], items: Callable[[], Iterator[bytes]]) -> Reply:
    """As `reply_of` when the number of items, which `head` is made of, only follows from looking at all of them.

    `items` begins a scan; b"" in it stands for something that was looked at and is not part of the reply. What is small
    is gathered and sent. More than that is gone through twice, first to count and then to send, in pieces that let
    others work in between: then memory does not depend on the size of the reply. A client to which nothing can be
    streamed gets a reply of at most proto-max-bulk-len. Raises CommandError beyond that.
    """
    first = items()
    begun, is_all = _begin(first)
    if is_all:
        found = list(filter(None, begun))
        return head(len(found)) + b"".join(found)
    if not client.can_stream:
        return _gathered(client, head, chain(begun, first))
    second = items()
    # It has to see what the first one sees, so it is opened now.
    opened = next(second, b"")
    return StreamedReply(_count_and_send(head, chain(begun, first), chain((opened,), second)))


def _begin(items: Iterator[bytes]) -> tuple[list[bytes], bool]:
    """The first items, as many as a reply may have that is sent at once, and whether these are all."""
    begun: list[bytes] = []
    room = _INLINE_COST
    for item in items:
        begun.append(item)
        room -= len(item) + ITEM_COST
        if room <= 0:
            return begun, False
    return begun, True


def _pieces(items: Iterator[bytes], count: int | None = None) -> Iterator[bytes]:
    """The items joined to pieces."""
    parts: list[bytes] = []
    append = parts.append
    cost = 0
    seen = 0
    for item in items:
        append(item)
        cost += len(item) + ITEM_COST
        if cost >= PIECE_COST:
            yield b"".join(parts)
            seen += len(parts)
            parts.clear()
            cost = 0
    seen += len(parts)
    _check_count(seen, count)
    if parts:
        yield b"".join(parts)


def _check_count(seen: int, count: int | None) -> None:
    if count is not None and seen != count:
        message = f"a collection has {abs(seen - count)} elements too {'many' if seen > count else 'few'}"
        raise CorruptionError(message)


def _gathered(client: Client, head: Callable[[int], bytes], items: Iterator[bytes]) -> bytes:
    room_bytes = client.instance.config.proto_max_bulk_len
    found: list[bytes] = []
    for item in items:
        if item:
            found.append(item)
            room_bytes -= len(item) + ITEM_COST
            if room_bytes < 0:
                raise CommandError(_TOO_LARGE)
    return head(len(found)) + b"".join(found)


def _count_and_send(head: Callable[[int], bytes], first: Iterator[bytes], second: Iterator[bytes]) -> Iterator[bytes]:
    """The pieces of a reply of unknown length; `first` and `second` are two scans of the same items."""
    kept: list[bytes] = []
    room = _KEPT_COST
    count = 0
    cost = 0
    for item in first:
        cost += len(item) + ITEM_COST
        if item:
            count += 1
            if room > 0:
                kept.append(item)
                room -= len(item) + ITEM_COST
        if cost >= PIECE_COST:
            cost = 0
            yield b""
    yield head(count) + b"".join(kept)
    if count > len(kept):
        yield from _pieces(_without(second, len(kept)))


def _without(items: Iterator[bytes], skipped: int) -> Iterator[bytes]:
    """The items with b"" instead of the first ones, so that going past these is counted as work."""
    for item in items:
        if item and skipped:
            skipped -= 1
            yield b""
        else:
            yield item
