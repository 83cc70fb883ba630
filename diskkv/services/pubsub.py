"""Publish/subscribe: who listens to which channel or pattern, and the delivery of messages.

A message is encoded once for each protocol version and put into the output of every subscriber; it leaves after the
turn's commit. A subscriber that does not read is cut by client-output-buffer-limit and never slows a publisher.

Source: https://redis.io/docs/latest/develop/pubsub/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from diskkv.codec.glob import compile_glob
from diskkv.resp.reply import bulk
from diskkv.services.client import Client, Message

if TYPE_CHECKING:
    from diskkv.services.instance import Instance

_CHECKED_BYTES = 8 << 20
"""After so many bytes published the output that waits is looked at before the turn ends: a script may publish a lot."""

Subscribers = dict[bytes, dict[Client, None]]
"""By channel, the clients in the order in which they subscribed."""


class Subscriptions:
    """What one client is subscribed to, in the order in which it subscribed."""

    __slots__ = ("channels", "patterns", "shard_channels", "size_bytes")

    def __init__(self) -> None:
        self.channels: dict[bytes, None] = {}
        self.patterns: dict[bytes, None] = {}
        self.shard_channels: dict[bytes, None] = {}
        self.size_bytes = 0
        """About the memory that they take."""


class PubSub:
    """All subscriptions of an instance."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self.channels: Subscribers = {}
        self.patterns: Subscribers = {}
        self.shard_channels: Subscribers = {}
        self._matchers: dict[bytes, Callable[[bytes], bool]] = {}
        self._unchecked_bytes = 0
        instance.gauges["pubsub_channels"] = lambda: len(self.channels)
        instance.gauges["pubsub_patterns"] = lambda: len(self.patterns)
        instance.gauges["pubsubshard_channels"] = lambda: len(self.shard_channels)

    # ---- subscribing; each answers how many subscriptions of the kind the client has now

    def subscribe(self, client: Client, channel: bytes) -> int:
        """Listen to a channel."""
        mine = _subscriptions(client)
        _add(self.channels, mine.channels, mine, client, channel)
        return self._count(client)

    def subscribe_pattern(self, client: Client, pattern: bytes) -> int:
        """Listen to all channels that match a pattern."""
        mine = _subscriptions(client)
        if _add(self.patterns, mine.patterns, mine, client, pattern):
            self._matchers[pattern] = compile_glob(pattern)
        return self._count(client)

    def subscribe_shard(self, client: Client, channel: bytes) -> int:
        """Listen to a shard channel."""
        mine = _subscriptions(client)
        _add(self.shard_channels, mine.shard_channels, mine, client, channel)
        self._count(client)
        return len(mine.shard_channels)

    def unsubscribe(self, client: Client, channel: bytes) -> int:
        """Stop listening to a channel; it need not be subscribed."""
        mine = _subscriptions(client)
        _remove(self.channels, mine.channels, mine, client, channel)
        return self._count(client)

    def unsubscribe_pattern(self, client: Client, pattern: bytes) -> int:
        """Stop listening to a pattern; it need not be subscribed."""
        mine = _subscriptions(client)
        if _remove(self.patterns, mine.patterns, mine, client, pattern):
            del self._matchers[pattern]
        return self._count(client)

    def unsubscribe_shard(self, client: Client, channel: bytes) -> int:
        """Stop listening to a shard channel; it need not be subscribed."""
        mine = _subscriptions(client)
        _remove(self.shard_channels, mine.shard_channels, mine, client, channel)
        self._count(client)
        return len(mine.shard_channels)

    def forget(self, client: Client) -> None:
        """End all subscriptions of a client without telling it (RESET, or the connection is gone)."""
        mine: Subscriptions | None = client.pubsub
        if mine is None:
            return
        for channel in list(mine.channels):
            self.unsubscribe(client, channel)
        for pattern in list(mine.patterns):
            self.unsubscribe_pattern(client, pattern)
        for channel in list(mine.shard_channels):
            self.unsubscribe_shard(client, channel)
        client.pubsub = None

    def _count(self, client: Client) -> int:
        """Take over a change of the client's subscriptions; answers those that (P)SUBSCRIBE counts."""
        mine: Subscriptions = client.pubsub
        count = len(mine.channels) + len(mine.patterns)
        before, client.subscriptions = client.subscriptions, count + len(mine.shard_channels)
        if not before or not client.subscriptions:
            client.refresh()
        return count

    def is_allowed(self, client: Client) -> bool:
        """Whether the client's user may see all that the client is subscribed to."""
        mine: Subscriptions | None = client.pubsub
        if mine is None:
            return True
        allows = client.user.allows_channel
        return all(allows(pattern, True) for pattern in mine.patterns) and all(
            allows(channel, False) for channels in (mine.channels, mine.shard_channels) for channel in channels
        )

    # ---- publishing

    def publish(self, channel: bytes, message: bytes) -> int:
        """Send a message to the subscribers of a channel and of matching patterns; answers how many times it went."""
        if self._unchecked_bytes > _CHECKED_BYTES:
            self._cut_slow_subscribers()
        count = 0
        subscribers = self.channels.get(channel)
        if subscribers is not None:
            count = len(subscribers)
            self._send(subscribers, b"3\r\n$7\r\nmessage\r\n", channel, message)
        for pattern, matches in self._matchers.items():
            if matches(channel):
                subscribers = self.patterns[pattern]
                count += len(subscribers)
                self._send(subscribers, b"4\r\n$8\r\npmessage\r\n" + bulk(pattern), channel, message)
        return count

    def publish_shard(self, channel: bytes, message: bytes) -> int:
        """Send a message to the subscribers of a shard channel; answers how many there are."""
        if self._unchecked_bytes > _CHECKED_BYTES:
            self._cut_slow_subscribers()
        subscribers = self.shard_channels.get(channel)
        if subscribers is None:
            return 0
        self._send(subscribers, b"3\r\n$8\r\nsmessage\r\n", channel, message)
        return len(subscribers)

    def _send(self, subscribers: Iterable[Client], head: bytes, channel: bytes, message: bytes) -> None:
        """Put a message into the subscribers' output: the same object for all who use the same protocol."""
        instance = self._instance
        body = b"%b$%d\r\n%b\r\n$%d\r\n%b\r\n" % (head, len(channel), channel, len(message), message)
        as_array: Message | None = None
        as_push: Message | None = None
        executing = instance.executing
        woken = instance.woken
        for client in subscribers:
            if client.resp == 3:
                encoded = as_push = as_push or Message(b">" + body)
            else:
                encoded = as_array = as_array or Message(b"*" + body)
            out = client.out
            if client is executing:
                instance.deferred.append(encoded)
            elif out:
                out.append(encoded)
            else:
                # Whoever has output already is going to be served at the end of the turn anyway.
                woken.append(client)
                out.append(encoded)
        self._unchecked_bytes += len(body)

    def _cut_slow_subscribers(self) -> None:
        """End the connections whose output of this turn alone is over the hard limit."""
        self._unchecked_bytes = 0
        instance = self._instance
        limit_bytes = instance.config.client_output_buffer_limit["pubsub"][0]
        for client in {client for client in instance.woken if client.subscriptions}:
            if limit_bytes and client.output_bytes > limit_bytes and not client.closing:
                instance.stats.output_buffer_limit_disconnections += 1
                client.kill()
                # Nothing more may gather for it in this turn.
                self.forget(client)


def _subscriptions(client: Client) -> Subscriptions:
    mine: Subscriptions | None = client.pubsub
    if mine is None:
        mine = client.pubsub = Subscriptions()
    return mine


_CHANNEL_BYTES = 450
"""What a subscription takes in memory beside the channel's name, if nobody else has it."""


def _add(
    everyones: Subscribers, names: dict[bytes, None], mine: Subscriptions, client: Client, channel: bytes
) -> bool:
    """Note a subscription; whether it is the first of anybody."""
    if channel in names:
        return False
    names[channel] = None
    mine.size_bytes += len(channel) + _CHANNEL_BYTES
    subscribers = everyones.get(channel)
    if subscribers is None:
        everyones[channel] = {client: None}
        return True
    subscribers[client] = None
    return False


def _remove(
    everyones: Subscribers, names: dict[bytes, None], mine: Subscriptions, client: Client, channel: bytes
) -> bool:
    """Forget a subscription; whether it was the last of all."""
    if channel not in names:
        return False
    del names[channel]
    mine.size_bytes -= len(channel) + _CHANNEL_BYTES
    subscribers = everyones[channel]
    del subscribers[client]
    if subscribers:
        return False
    del everyones[channel]
    return True
