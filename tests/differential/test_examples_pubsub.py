"""Publish and subscribe: the order and form of confirmations and messages."""

from __future__ import annotations

import pytest

from tests.differential.examples import Example, parse_examples, run_example
from tests.harness import servers

EXAMPLES = r"""
# subscribe and publish
2> SUBSCRIBE a b
2<
1> PUBLISH a hello
2<
1> PUBLISH nobody hello
1> PUBLISH a
2> UNSUBSCRIBE a
1> PUBLISH a gone
2> UNSUBSCRIBE
2> PING

# patterns
2> PSUBSCRIBE n* x?
2<
2> SUBSCRIBE nx
1> PUBLISH nx both
2<
2<
1> PUBLISH n one
2<
1> PUBLISH xy two
2<
1> PUBSUB NUMPAT
1> PUBSUB NUMSUB nx n
1> PUBSUB CHANNELS
1> PUBSUB CHANNELS n*
1> PUBSUB BOGUS
2> PUNSUBSCRIBE n*
2> PUNSUBSCRIBE x?
2> UNSUBSCRIBE

# unsubscribe from nothing
UNSUBSCRIBE
PUNSUBSCRIBE
SUNSUBSCRIBE
UNSUBSCRIBE a
UNSUBSCRIBE a b
1<
SUBSCRIBE
PSUBSCRIBE

# commands while subscribed
SUBSCRIBE c
PING
PING x
GET k
SET k v
MULTI
UNSUBSCRIBE c
GET k

# own messages
SUBSCRIBE c
2> PUBLISH c one
2> PUBLISH c two
1<
1<
2> PUBLISH c "\x00\xff"
1<

# order over several subscribers
2> SUBSCRIBE a
3> PSUBSCRIBE *
1> MULTI
1> PUBLISH a 1
1> PUBLISH b 2
1> PUBLISH a 3
1> EXEC
2<
2<
3<
3<
3<

# subscribing twice
SUBSCRIBE a a
1<
SUBSCRIBE a
2> PUBLISH a once
1<
2> PUBSUB NUMSUB a

# sharded
2> SSUBSCRIBE s
1> SPUBLISH s hi
2<
1> PUBSUB SHARDCHANNELS
1> PUBSUB SHARDNUMSUB s
1> PUBLISH s other
2> SUNSUBSCRIBE

# reset and quit end subscriptions
2> SUBSCRIBE a
1> PUBSUB NUMSUB a
2> RESET
1> PUBSUB NUMSUB a
3> SUBSCRIBE a
3> QUIT
3!
1> PUBSUB NUMSUB a

# keyspace events
1> CONFIG SET notify-keyspace-events KEA
2> PSUBSCRIBE __key*__:*
1> SET k v
2<
2<
1> DEL k
2<
2<
1> CONFIG GET notify-keyspace-events
1> CONFIG SET notify-keyspace-events bogus
1> CONFIG SET notify-keyspace-events ""
"""


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("example", parse_examples(EXAMPLES), ids=str)
def test_example(example: Example, protocol: int) -> None:
    run_example(example, protocol, servers.subject(), servers.reference())
