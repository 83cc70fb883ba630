"""Writes that the file system refuses: neither events nor invalidations tell of what never happened."""

from __future__ import annotations

from tests.crash.test_failed_writes import _eventually, _no_file_may_grow
from tests.harness.servers import running, subject_flavour
from tests.harness.wire import ErrorReply, Null, Push, Simple


def test_messages_leave_only_with_the_commit() -> None:
    """Every event that comes belongs to a write that was acknowledged, and a pipeline's replies stay complete."""
    with (
        running(subject_flavour(), "--notify-keyspace-events", "E$", durable=True) as server,
        server.connect() as listener,
        server.connect() as writer,
        server.connect() as cache,
    ):
        listener.call("SUBSCRIBE", "__keyevent@0__:set")
        cache.hello(3)
        assert cache.call("CLIENT", "TRACKING", "ON", "BCAST") == Simple(b"OK")
        cache.send("SUBSCRIBE", "__keyevent@0__:set")
        assert isinstance(cache.read_any(), Push)
        acknowledged, invalidated = [], 0
        with _no_file_may_grow(server):
            refused = False
            for number in range(2000):
                key = b"k%d" % number
                replies = writer.pipeline([["SET", key, b"x" * 1000], ["ECHO", "still here"]])
                if isinstance(replies[0], ErrorReply):
                    assert isinstance(replies[1], ErrorReply) or replies[1] == b"still here"
                    refused = True
                    break
                acknowledged.append(key)
            assert refused
            listener.send("PING")
            for key in acknowledged:
                assert listener.read_any() == [b"message", b"__keyevent@0__:set", key]
            assert listener.read_any() == [b"pong", b""]
            cache.send("GET", "nothing")
            while (message := cache.read_any()) != Null():
                assert isinstance(message, Push)
                assert message.items[0] in (b"message", b"invalidate")
                invalidated += message.items[:1] == [b"invalidate"] and isinstance(message.items[1], list)
                told_to_forget = message.items == [b"invalidate", Null()]
            assert invalidated == len(acknowledged)
            assert told_to_forget
        assert _eventually(lambda: writer.call("SET", "after", "v") == Simple(b"OK"))
        assert listener.read_any() == [b"message", b"__keyevent@0__:set", b"after"]
