"""Subscriptions and delivery: who gets what, in which order and form."""

from __future__ import annotations

import random

import pytest

from diskkv.codec.glob import compile_glob
from diskkv.commands import dispatch
from diskkv.resp import reply
from diskkv.services.client import Client, Message
from diskkv.services.instance import Instance
from tests.commands.session import Session


@pytest.fixture
def instance() -> Instance:
    return Session().instance


def new_client(instance: Instance, resp: int = 2) -> Client:
    client = instance.new_client()
    client.use_resp(resp)
    return client


def run(client: Client, line: str) -> bytes | None:
    """Execute a request as a batch does: the reply goes to the client's output too."""
    result = dispatch.execute(client, line.encode().split())
    if result is not None:
        client.out.append(result)
    return result  # type: ignore[no-any-return]


def taken(client: Client) -> bytes:
    """What the client was sent since the last time."""
    data = b"".join(client.out)
    client.out.clear()
    return data


def message(resp: int, *parts: bytes) -> bytes:
    return reply.push([reply.bulk(part) for part in parts], resp)


@pytest.mark.parametrize("resp", [2, 3])
def test_a_message_is_encoded_once_for_all(instance: Instance, resp: int) -> None:
    clients = [new_client(instance, resp) for _ in range(3)]
    for client in clients:
        instance.pubsub.subscribe(client, b"news")
    assert instance.publish(b"news", b"hello") == 3
    assert all(client.out == [message(resp, b"message", b"news", b"hello")] for client in clients)
    assert all(client.out[0] is clients[0].out[0] for client in clients)
    assert sorted(client.id for client in instance.woken) == [client.id for client in clients]


def test_output_is_announced_once(instance: Instance) -> None:
    client = new_client(instance)
    instance.pubsub.subscribe(client, b"news")
    for number in range(5):
        instance.publish(b"news", b"%d" % number)
    assert instance.woken == [client]
    assert len(client.out) == 5


def test_publish_counts_every_delivery(instance: Instance) -> None:
    client = new_client(instance)
    for pattern in (b"n*", b"*s", b"x*"):
        instance.pubsub.subscribe_pattern(client, pattern)
    instance.pubsub.subscribe(client, b"news")
    instance.pubsub.subscribe_shard(client, b"news")
    assert instance.publish(b"news", b"m") == 3
    assert taken(client) == message(2, b"message", b"news", b"m") + message(
        2, b"pmessage", b"n*", b"news", b"m"
    ) + message(2, b"pmessage", b"*s", b"news", b"m")
    assert instance.pubsub.publish_shard(b"news", b"s") == 1
    assert taken(client) == message(2, b"smessage", b"news", b"s")
    assert instance.publish(b"other", b"m") == 0


@pytest.mark.parametrize("resp", [2, 3])
def test_own_messages_follow_the_reply(instance: Instance, resp: int) -> None:
    client = new_client(instance, resp)
    other = new_client(instance)
    instance.pubsub.subscribe(client, b"a")
    instance.pubsub.subscribe(other, b"a")
    own = message(resp, b"message", b"a", b"1")
    for line in ("MULTI", "PUBLISH a 1", "ECHO x", "EXEC"):
        if resp == 2:
            # In RESP2 only a transaction that subscribes gets this far.
            client.subscriptions = 0
        run(client, line)
    ok, queued = b"+OK\r\n", b"+QUEUED\r\n"
    assert taken(client) == ok + 2 * queued + b"*2\r\n:2\r\n$1\r\nx\r\n" + own
    assert taken(other) == message(2, b"message", b"a", b"1")
    assert instance.executing is None and not instance.deferred


def test_own_events_follow_the_reply(instance: Instance) -> None:
    """A RESP3 client hears of its own writes, and is off the fast path only for that."""
    client = new_client(instance, 3)
    run(client, "SUBSCRIBE __keyevent@0__:set")
    assert client.fast
    instance.config.set([b"notify-keyspace-events", b"KEA"])
    assert not client.fast
    taken(client)
    dispatch.execute_batch(client, [[b"SET", b"k", b"v"], [b"GET", b"k"]], 0, 2)
    assert taken(client) == b"+OK\r\n" + message(3, b"message", b"__keyevent@0__:set", b"k") + b"$1\r\nv\r\n"
    instance.config.set([b"notify-keyspace-events", b""])
    assert client.fast


def test_messages_come_while_replies_are_silenced(instance: Instance) -> None:
    client = new_client(instance, 3)
    for line in ("CLIENT REPLY OFF", "SUBSCRIBE a", "PUBLISH a 1", "PING"):
        run(client, line)
    confirmation = reply.push([reply.bulk(b"subscribe"), reply.bulk(b"a"), b":1\r\n"], 3)
    assert taken(client) == confirmation + message(3, b"message", b"a", b"1")
    assert run(client, "CLIENT REPLY ON") == b"+OK\r\n"


def test_messages_are_told_from_replies(instance: Instance) -> None:
    """A failed turn drops messages and replaces replies, so each item of the output is one or the other."""
    publisher = new_client(instance, 3)
    run(publisher, "SUBSCRIBE a")
    listener = new_client(instance)
    run(listener, "SUBSCRIBE a")
    run(publisher, "PUBLISH a 1")
    listener.push(b"+from elsewhere\r\n")
    assert [type(item) for item in listener.out] == [bytes, Message, Message]
    assert [type(item) for item in publisher.out] == [bytes, bytes]


def test_leaving_forgets_everything(instance: Instance) -> None:
    for leave in (instance.forget_client, instance.reset_client):
        client = new_client(instance)
        for line in ("SUBSCRIBE a b", "PSUBSCRIBE a*", "SSUBSCRIBE a"):
            run(client, line)
        assert client.subscription_counts == (2, 1, 1)
        assert client.kind == "pubsub"
        leave(client)
        assert client.subscriptions == 0
        assert client.kind == "normal"
        assert client.subscription_counts == (0, 0, 0)
        pubsub = instance.pubsub
        assert not (pubsub.channels or pubsub.patterns or pubsub.shard_channels)
        assert instance.publish(b"a", b"m") == 0
    assert {name: gauge() for name, gauge in instance.gauges.items() if name.startswith("pubsub")} == {
        "pubsub_channels": 0,
        "pubsub_patterns": 0,
        "pubsubshard_channels": 0,
    }


def test_output_of_one_turn_is_bounded(instance: Instance) -> None:
    """A flood of messages within a turn ends the connections that are over their limit, and only those."""
    instance.config.set([b"client-output-buffer-limit", b"pubsub 4mb 0 0"])
    slow, calm = new_client(instance), new_client(instance)
    instance.pubsub.subscribe(slow, b"flood")
    instance.pubsub.subscribe_pattern(slow, b"f*")
    instance.pubsub.subscribe(calm, b"quiet")
    instance.publish(b"quiet", b"m")
    sent = 0
    while instance.publish(b"flood", b"x" * 100_000):
        sent += 1
        assert sent < 200
    assert slow.closing and not slow.out
    assert not calm.closing and taken(calm) == message(2, b"message", b"quiet", b"m")
    assert instance.stats.output_buffer_limit_disconnections == 1


def test_channels_are_checked_when_a_user_loses_them(instance: Instance) -> None:
    admin = new_client(instance)
    for rules in ("resetchannels &news* &a", "allchannels"):
        run(admin, "ACL SETUSER eve on nopass +@all ~* &*")
        eve = new_client(instance)
        run(eve, "AUTH eve x")
        for line in ("SUBSCRIBE news1", "PSUBSCRIBE news*", "SSUBSCRIBE a"):
            run(eve, line)
        run(admin, f"ACL SETUSER eve {rules}")
        assert not eve.closing
        run(admin, "ACL SETUSER eve resetchannels &news1")
        assert eve.closing
        run(admin, "ACL DELUSER eve")


def test_shard_channels_are_no_keys(instance: Instance) -> None:
    """Access to keys is neither needed nor enough for shard channels."""
    client = new_client(instance)
    run(client, "ACL SETUSER bob on nopass +@all resetkeys resetchannels &s")
    run(client, "AUTH bob x")
    assert run(client, "SPUBLISH s m") == b":0\r\n"
    assert run(client, "SPUBLISH t m") == b"-NOPERM No permissions to access a channel\r\n"
    assert client.instance.commands["spublish"].key_positions([b"SPUBLISH", b"s", b"m"]) == []


@pytest.mark.parametrize("seed", range(3))
def test_random_subscriptions_agree_with_a_model(instance: Instance, seed: int) -> None:
    chooser = random.Random(seed)
    clients = [new_client(instance, chooser.choice((2, 3))) for _ in range(4)]
    channels = [b"a", b"ab", b"b", b""]
    patterns = [b"*", b"a*", b"?", b"[b]"]
    exact: dict[int, list[bytes]] = {client.id: [] for client in clients}
    globs: dict[int, list[bytes]] = {client.id: [] for client in clients}
    pubsub = instance.pubsub
    for _ in range(500):
        client = chooser.choice(clients)
        channel, pattern = chooser.choice(channels), chooser.choice(patterns)
        mine, mine_too = exact[client.id], globs[client.id]
        action = chooser.randrange(6)
        if action == 0:
            mine += [channel] * (channel not in mine)
            assert pubsub.subscribe(client, channel) == len(mine) + len(mine_too)
        elif action == 1:
            mine[:] = [name for name in mine if name != channel]
            assert pubsub.unsubscribe(client, channel) == len(mine) + len(mine_too)
        elif action == 2:
            mine_too += [pattern] * (pattern not in mine_too)
            assert pubsub.subscribe_pattern(client, pattern) == len(mine) + len(mine_too)
        elif action == 3:
            mine_too[:] = [name for name in mine_too if name != pattern]
            assert pubsub.unsubscribe_pattern(client, pattern) == len(mine) + len(mine_too)
        else:
            total = 0
            sent = pubsub.publish(channel, b"m")
            for listener in clients:
                matching = [glob for glob in globs[listener.id] if compile_glob(glob)(channel)]
                count = (channel in exact[listener.id]) + len(matching)
                assert len(listener.out) == count
                data = taken(listener)
                assert all(reply.bulk(glob) in data for glob in matching)
                total += count
            assert sent == total
        assert set(pubsub.channels) == {name for names in exact.values() for name in names}
        assert set(pubsub.patterns) == {name for names in globs.values() for name in names}
        assert client.subscriptions == len(mine) + len(mine_too)


def test_events_of_a_served_client_follow_its_reply(instance: Instance) -> None:
    """A blocked RESP3 client that listens to events hears of its own pop after it got the element."""
    instance.config.set([b"notify-keyspace-events", b"El"])
    waiter = new_client(instance, 3)
    for line in ("SUBSCRIBE __keyevent@0__:lpop", "BLPOP list 0"):
        run(waiter, line)
    taken(waiter)
    pusher = new_client(instance)
    dispatch.execute_batch(pusher, [[b"RPUSH", b"list", b"x"]], 0, 1)
    assert taken(waiter) == b"*2\r\n$4\r\nlist\r\n$1\r\nx\r\n" + message(3, b"message", b"__keyevent@0__:lpop", b"list")
    assert instance.executing is None
