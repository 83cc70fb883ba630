"""Publish/subscribe over real connections: fan-out, order, slow and vanished subscribers."""

from __future__ import annotations

import contextlib
import threading

import pytest

from tests.harness import servers
from tests.harness.servers import running, subject_flavour
from tests.harness.wire import Simple, encode_command
from tests.wire.test_limits import eventually

SUBSCRIBERS = 1000


def message(channel: bytes, data: bytes) -> bytes:
    return b"*3\r\n$7\r\nmessage\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(channel), channel, len(data), data)


@pytest.mark.slow
def test_thousand_subscribers_get_every_message_in_order() -> None:
    expected = b"".join(message(b"news", b"%d" % number) for number in range(20))
    confirmation = b"*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n"
    with running(subject_flavour(), "--maxclients", "5000") as server, contextlib.ExitStack() as stack:
        publisher = stack.enter_context(server.connect())
        wires = []
        for _ in range(SUBSCRIBERS):
            # One at a time: a unix socket refuses connections while its backlog is full.
            wires.append(stack.enter_context(server.connect()))
            wires[-1].send("SUBSCRIBE", "news")
            assert wires[-1].read_raw(len(confirmation)) == confirmation
        assert publisher.call("PUBSUB", "NUMSUB", "news") == [b"news", SUBSCRIBERS]
        replies = publisher.pipeline([["PUBLISH", "news", number] for number in range(10)])
        replies += [publisher.call("PUBLISH", "news", number) for number in range(10, 20)]
        assert replies == [SUBSCRIBERS] * 20
        for wire in wires:
            assert wire.read_raw(len(expected)) == expected
        for wire in wires[::2]:
            wire.close()
        assert eventually(lambda: publisher.call("PUBSUB", "NUMSUB", "news") == [b"news", SUBSCRIBERS // 2])
        assert publisher.call("PUBLISH", "news", "last") == SUBSCRIBERS // 2
        last = message(b"news", b"last")
        assert all(wire.read_raw(len(last)) == last for wire in wires[1::2])


def test_every_publishers_messages_keep_their_order() -> None:
    """Several publishers at once: a subscriber sees each one's messages in the order of sending."""
    server = servers.subject()

    def publish(name: str) -> None:
        with server.connect() as wire:
            wire.pipeline([["PUBLISH", "order", f"{name}:{number}"] for number in range(200)])

    with server.connect() as exact, server.connect() as pattern:
        exact.call("SUBSCRIBE", "order")
        pattern.call("PSUBSCRIBE", "ord*")
        threads = [threading.Thread(target=publish, args=(f"p{index}",)) for index in range(4)]
        for thread in threads:
            thread.start()
        seen = [exact.read_any()[2] for _ in range(800)]
        also_seen = [pattern.read_any()[3] for _ in range(800)]
        for thread in threads:
            thread.join(30)
    assert seen == also_seen
    for index in range(4):
        name = b"p%d:" % index
        assert [item for item in seen if item.startswith(name)] == [name + b"%d" % number for number in range(200)]


def test_slow_subscriber_is_cut_and_the_others_are_not() -> None:
    with (
        running(subject_flavour(), "--client-output-buffer-limit", "pubsub 4mb 0 0") as server,
        server.connect() as publisher,
        server.connect() as slow,
        server.connect() as quick,
    ):
        slow.call("SUBSCRIBE", "flood")
        quick.call("SUBSCRIBE", "flood")
        data = b"x" * 100_000
        received = 0
        for number in range(400):
            count = publisher.call("PUBLISH", "flood", data)
            assert quick.read_any() == [b"message", b"flood", data]
            received = number + 1
            if count == 1:
                break
        assert count == 1, "the subscriber that reads nothing is still there"
        assert received * len(data) > 4 << 20
        assert len(slow.read_until_closed()) < received * len(data)
        assert publisher.call("PUBSUB", "NUMSUB", "flood") == [b"flood", 1]
        assert publisher.call("PING") == Simple(b"PONG")
        info = publisher.call("INFO", "stats")
        assert b"client_output_buffer_limit_disconnections:1\r\n" in info


def test_message_that_fills_the_socket_arrives_whole() -> None:
    server = servers.subject()
    data = bytes(range(256)) * 40_000
    with server.connect() as publisher, server.connect() as subscriber:
        subscriber.call("SUBSCRIBE", "big")
        publisher.send("PUBLISH", "big", data)
        assert subscriber.read_any() == [b"message", b"big", data]
        assert publisher.read_reply() == 1


def test_subscriber_that_vanishes_does_not_disturb_a_pipeline() -> None:
    server = servers.subject()
    with server.connect() as publisher, server.connect() as steady:
        steady.call("SUBSCRIBE", "c")
        for _ in range(20):
            with server.connect() as fleeting:
                fleeting.send_raw(encode_command(["SUBSCRIBE", "c"]) + encode_command(["SUBSCRIBE"]))
                fleeting.read_any()
            publisher.pipeline([["PUBLISH", "c", number] for number in range(10)])
            assert [steady.read_any()[2] for _ in range(10)] == [b"%d" % number for number in range(10)]
        assert eventually(lambda: publisher.call("PUBSUB", "NUMSUB", "c") == [b"c", 1])


def test_messages_of_a_pipeline_leave_although_its_end_is_missing() -> None:
    """What a half-sent pipeline published has been delivered."""
    server = servers.subject()
    with server.connect() as publisher, server.connect() as subscriber:
        subscriber.call("SUBSCRIBE", "c")
        publisher.send_raw(encode_command(["PUBLISH", "c", "one"]) + b"*3\r\n$7\r\nPUBLISH\r\n$1\r\nc\r\n$100\r\nabc")
        assert subscriber.read_any() == [b"message", b"c", b"one"]
