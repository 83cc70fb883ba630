"""Publish/subscribe. Subscribing is confirmed channel by channel, in RESP3 by push messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from diskkv.codec.glob import compile_glob
from diskkv.commands.dispatch import unknown_subcommand
from diskkv.commands.help import help_reply
from diskkv.commands.registry import NOT_KEY, Flag, KeySpec, command
from diskkv.errors import CommandError
from diskkv.resp.reply import array, bulk, bulks, integer, push
from diskkv.services.client import Client

_LISTEN = Flag.PUBSUB | Flag.NOSCRIPT | Flag.LOADING | Flag.STALE
_PUBLISH = Flag.PUBSUB | Flag.LOADING | Flag.STALE | Flag.FAST | Flag.MAY_REPLICATE
_LOOK = Flag.PUBSUB | Flag.LOADING | Flag.STALE


def _confirm(client: Client, kind: bytes, change: Callable[[Client, bytes], int], names: Iterable[bytes]) -> bytes:
    word = bulk(kind)
    return b"".join([push([word, bulk(name), integer(change(client, name))], client.resp) for name in names])


def _confirm_end(
    client: Client, kind: bytes, change: Callable[[Client, bytes], int], names: list[bytes], left: int
) -> bytes:
    """As `_confirm`; without names there is one confirmation that names none, and how many are `left`."""
    if names:
        return _confirm(client, kind, change, names)
    return push([bulk(kind), client.null, integer(left)], client.resp)


def _answer(client: Client, confirmations: bytes) -> bytes | None:
    """Confirmations are messages: they come even while CLIENT REPLY silences the replies."""
    if client.reply_on and not client.skip_replies:
        return confirmations
    client.push(confirmations)
    return None


def _left(client: Client) -> int:
    """How many channels and patterns the client is subscribed to."""
    channels, patterns, _ = client.subscription_counts
    return channels + patterns


@command("SUBSCRIBE", arity=-2, flags=_LISTEN, group="pubsub", since="2.0.0",
         complexity="O(N) where N is the number of channels.", syntax="channel [channel ...]")  # fmt: skip
def subscribe(client: Client, argv: list[bytes]) -> bytes | None:
    """Listen to channels."""
    return _answer(client, _confirm(client, b"subscribe", client.instance.pubsub.subscribe, argv[1:]))


@command("PSUBSCRIBE", arity=-2, flags=_LISTEN, group="pubsub", since="2.0.0",
         complexity="O(N) where N is the number of patterns.", syntax="pattern [pattern ...]")  # fmt: skip
def psubscribe(client: Client, argv: list[bytes]) -> bytes | None:
    """Listen to all channels that match patterns."""
    return _answer(client, _confirm(client, b"psubscribe", client.instance.pubsub.subscribe_pattern, argv[1:]))


@command("SSUBSCRIBE", arity=-2, flags=_LISTEN, keys=KeySpec(NOT_KEY, last=-1), group="pubsub", since="7.0.0",
         complexity="O(N) where N is the number of shard channels.",
         syntax="shardchannel [shardchannel ...]")  # fmt: skip
def ssubscribe(client: Client, argv: list[bytes]) -> bytes | None:
    """Listen to shard channels."""
    if client.transaction is not None:
        raise CommandError(b"ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client")
    return _answer(client, _confirm(client, b"ssubscribe", client.instance.pubsub.subscribe_shard, argv[1:]))


@command("UNSUBSCRIBE", arity=-1, flags=_LISTEN, group="pubsub", since="2.0.0",
         complexity="O(N) where N is the number of channels.", syntax="[channel [channel ...]]")  # fmt: skip
def unsubscribe(client: Client, argv: list[bytes]) -> bytes | None:
    """Stop listening to channels, or to all of them."""
    names = argv[1:] or (list(client.pubsub.channels) if client.pubsub is not None else [])
    change = client.instance.pubsub.unsubscribe
    return _answer(client, _confirm_end(client, b"unsubscribe", change, names, _left(client)))


@command("PUNSUBSCRIBE", arity=-1, flags=_LISTEN, group="pubsub", since="2.0.0",
         complexity="O(N) where N is the number of patterns.", syntax="[pattern [pattern ...]]")  # fmt: skip
def punsubscribe(client: Client, argv: list[bytes]) -> bytes | None:
    """Stop listening to patterns, or to all of them."""
    names = argv[1:] or (list(client.pubsub.patterns) if client.pubsub is not None else [])
    change = client.instance.pubsub.unsubscribe_pattern
    return _answer(client, _confirm_end(client, b"punsubscribe", change, names, _left(client)))


@command("SUNSUBSCRIBE", arity=-1, flags=_LISTEN, keys=KeySpec(NOT_KEY, last=-1), group="pubsub", since="7.0.0",
         complexity="O(N) where N is the number of shard channels.",
         syntax="[shardchannel [shardchannel ...]]")  # fmt: skip
def sunsubscribe(client: Client, argv: list[bytes]) -> bytes | None:
    """Stop listening to shard channels, or to all of them."""
    names = argv[1:] or (list(client.pubsub.shard_channels) if client.pubsub is not None else [])
    change = client.instance.pubsub.unsubscribe_shard
    return _answer(client, _confirm_end(client, b"sunsubscribe", change, names, client.subscription_counts[2]))


@command("PUBLISH", arity=3, flags=_PUBLISH, group="pubsub", since="2.0.0",
         complexity="O(N+M) where N is the number of subscribers and M the number of patterns of all clients.",
         syntax="channel message")  # fmt: skip
def publish(client: Client, argv: list[bytes]) -> bytes:
    """Send a message to those who listen to a channel."""
    return integer(client.instance.publish(argv[1], argv[2]))


@command("SPUBLISH", arity=3, flags=_PUBLISH, keys=KeySpec(NOT_KEY), group="pubsub", since="7.0.0",
         complexity="O(N) where N is the number of subscribers.", syntax="shardchannel message")  # fmt: skip
def spublish(client: Client, argv: list[bytes]) -> bytes:
    """Send a message to those who listen to a shard channel."""
    return integer(client.instance.pubsub.publish_shard(argv[1], argv[2]))


@command("PUBSUB", arity=-2, flags=Flag(0), group="pubsub", since="2.8.0", complexity="Depends on subcommand.")
def pubsub(client: Client, argv: list[bytes]) -> bytes:
    """A container for commands that look at the subscriptions."""
    raise unknown_subcommand(argv)


@command("PUBSUB HELP", arity=2, flags=Flag.LOADING | Flag.STALE, group="pubsub", since="6.2.0", complexity="O(1)")
def pubsub_help(client: Client, argv: list[bytes]) -> bytes:
    """The subcommands of PUBSUB."""
    return help_reply(
        "PUBSUB",
        "CHANNELS [<pattern>]",
        "    The channels that somebody listens to, or those of them that match.",
        "NUMPAT",
        "    How many different patterns are subscribed.",
        "NUMSUB [<channel> ...]",
        "    How many clients listen to each channel; patterns do not count.",
        "SHARDCHANNELS [<pattern>]",
        "    The shard channels that somebody listens to, or those of them that match.",
        "SHARDNUMSUB [<shardchannel> ...]",
        "    How many clients listen to each shard channel.",
    )


def _active(argv: list[bytes], channels: Iterable[bytes]) -> bytes:
    if len(argv) > 3:
        raise CommandError(
            b"ERR unknown subcommand or wrong number of arguments for '%b'. Try PUBSUB HELP." % argv[1][:128]
        )
    if len(argv) == 3:
        channels = filter(compile_glob(argv[2]), channels)
    return bulks(list(channels))


@command("PUBSUB CHANNELS", arity=-2, flags=_LOOK, group="pubsub", since="2.8.0",
         complexity="O(N) where N is the number of channels with subscribers.", syntax="[pattern]")  # fmt: skip
def pubsub_channels(client: Client, argv: list[bytes]) -> bytes:
    """List the channels that have subscribers."""
    return _active(argv, client.instance.pubsub.channels)


@command("PUBSUB SHARDCHANNELS", arity=-2, flags=_LOOK, group="pubsub", since="7.0.0",
         complexity="O(N) where N is the number of shard channels with subscribers.", syntax="[pattern]")  # fmt: skip
def pubsub_shardchannels(client: Client, argv: list[bytes]) -> bytes:
    """List the shard channels that have subscribers."""
    return _active(argv, client.instance.pubsub.shard_channels)


def _counts(channels: list[bytes], subscribers: dict[bytes, dict[Client, None]]) -> bytes:
    items = []
    for channel in channels:
        items += [bulk(channel), integer(len(subscribers.get(channel, ())))]
    return array(items)


@command("PUBSUB NUMSUB", arity=-2, flags=_LOOK, group="pubsub", since="2.8.0",
         complexity="O(N) where N is the number of channels asked for.", syntax="[channel [channel ...]]")  # fmt: skip
def pubsub_numsub(client: Client, argv: list[bytes]) -> bytes:
    """Count the subscribers of channels."""
    return _counts(argv[2:], client.instance.pubsub.channels)


@command("PUBSUB SHARDNUMSUB", arity=-2, flags=_LOOK, group="pubsub", since="7.0.0",
         complexity="O(N) where N is the number of shard channels asked for.",
         syntax="[shardchannel [shardchannel ...]]")  # fmt: skip
def pubsub_shardnumsub(client: Client, argv: list[bytes]) -> bytes:
    """Count the subscribers of shard channels."""
    return _counts(argv[2:], client.instance.pubsub.shard_channels)


@command("PUBSUB NUMPAT", arity=2, flags=_LOOK, group="pubsub", since="2.8.0", complexity="O(1)")
def pubsub_numpat(client: Client, argv: list[bytes]) -> bytes:
    """Count the different patterns that are subscribed."""
    return integer(len(client.instance.pubsub.patterns))
