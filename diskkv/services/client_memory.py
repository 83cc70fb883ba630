"""What a client takes in memory: the measure for maxmemory-clients (see memory_budget.py) and CLIENT LIST.

Counted is what a client can make grow: its unexecuted input, unsent output, queued transaction, the keys it watches,
the channels it subscribed to, the prefixes it tracks. Replies that are made while they are sent take next to nothing.

Source: https://redis.io/docs/latest/develop/reference/clients/#client-eviction
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diskkv.services.client import Client

ARGUMENT_BYTES = 33
"""What an argument takes in memory besides its content."""


def waiting_argument_bytes(client: Client) -> int:
    """The request that a blocked client waits in."""
    waiter = client.blocked
    return sum(ARGUMENT_BYTES + len(argument) for argument in waiter.argv) if waiter is not None else 0


def client_bytes(client: Client) -> int:
    """About all that a client takes; 0 for one that does nothing."""
    size = client.input_bytes + client.output_bytes + waiting_argument_bytes(client)
    for holder in (client.transaction, client.watching, client.pubsub, client.tracking):
        if holder is not None:
            size += holder.size_bytes
    return size
