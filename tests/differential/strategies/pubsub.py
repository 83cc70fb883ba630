"""The pubsub group. Subscribing is tested by tables: in RESP2 it changes what a connection may do."""

from __future__ import annotations

from tests.harness.grammar import GLOB, VALUE, command, many, one_of_bytes, register

CHANNEL = one_of_bytes(b"news", b"", b"a\x00b", b"s1")

register("pubsub", command("PUBLISH", CHANNEL, VALUE), name="PUBLISH", weight=2)
register("pubsub", command("SPUBLISH", CHANNEL, VALUE), name="SPUBLISH")
register("pubsub", command("PUBSUB CHANNELS", GLOB), name="PUBSUB")
register("pubsub", command("PUBSUB NUMSUB", many(CHANNEL, 0, 3)), name="PUBSUB")
register("pubsub", command("PUBSUB NUMPAT"), name="PUBSUB")
