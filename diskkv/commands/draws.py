"""Replies of commands that draw random elements: SRANDMEMBER, HRANDFIELD, ZRANDMEMBER.

With a negative count elements may repeat, so a few bytes can ask for any amount. What comes from values in memory, or
from one pass over the rows, is sent while it is made, however much it is; all else is refused when it is too much.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from diskkv.codec.numbers import INT64_MAX, parse_int64
from diskkv.errors import CommandError, NotIntegerError
from diskkv.services.client import Client
from diskkv.services.streaming import Reply, reply_of

_PIECE_BYTES = 64
"""What an element takes at least while a reply is built."""
_TOO_LARGE = b"ERR the reply would exceed proto-max-bulk-len"


def parse_draws(text: bytes) -> int:
    """The count of a command that draws random elements. Raises Redis' errors."""
    try:
        count = parse_int64(text)
    except ValueError:
        raise NotIntegerError from None
    if count < -INT64_MAX:
        raise CommandError(f"ERR value is out of range, value must between {-INT64_MAX} and {INT64_MAX}")
    return count


def require_room(client: Client, count: int) -> None:
    """Raise unless `count` elements fit into a reply that is made at once."""
    if count * _PIECE_BYTES > client.instance.config.proto_max_bulk_len:
        raise CommandError(_TOO_LARGE)


def bounded(client: Client, items: Iterable[bytes]) -> list[bytes]:
    """All the items of a reply that is made at once. Raises CommandError when they are too much."""
    room_bytes = client.instance.config.proto_max_bulk_len
    found: list[bytes] = []
    for item in items:
        found.append(item)
        room_bytes -= len(item)
        if room_bytes < 0:
            raise CommandError(_TOO_LARGE)
    return found


def draws_reply(client: Client, head: bytes, items: Iterator[bytes], *, is_lazy: bool, count: int) -> Reply:
    """The reply that consists of `head` and `count` encoded items.

    `is_lazy`: the items come from memory, or from one scan that begins with the first item.
    """
    if is_lazy and client.can_stream:
        return reply_of(client, head, items, count)
    require_room(client, count)
    return head + b"".join(bounded(client, items))
