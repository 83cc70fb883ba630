"""WAIT and WAITAOF: until earlier writes are elsewhere, or on stable storage.

There are no replicas, so WAIT for any can only time out. WAITAOF for the local copy syncs the turn it is in.
Source: https://redis.io/docs/latest/commands/waitaof/
"""

from __future__ import annotations

from diskkv.codec.header import STRING
from diskkv.codec.numbers import parse_int64
from diskkv.commands.arguments import parse_integer
from diskkv.commands.registry import Flag, command
from diskkv.errors import CommandError
from diskkv.resp.reply import ZERO, integers
from diskkv.services.blocking import Block
from diskkv.services.client import Client

_TIPS = ("request_policy:all_shards", "response_policy:agg_min")
_FLAGS = Flag.BLOCKING


def _deadline_ms(client: Client, argument: bytes) -> int:
    """The absolute time of a time-out in ms, 0 for none."""
    try:
        timeout_ms = parse_int64(argument)
    except ValueError:
        raise CommandError(b"ERR timeout is not an integer or out of range") from None
    if timeout_ms < 0:
        raise CommandError(b"ERR timeout is negative")
    return client.engine.now_ms + timeout_ms if timeout_ms else 0


@command("WAIT", arity=3, flags=_FLAGS, group="generic", since="3.0.0", complexity="O(1)",
         syntax="numreplicas timeout:integer", tips=_TIPS, categories=("connection",))  # fmt: skip
def wait(client: Client, argv: list[bytes]) -> bytes | Block:
    """Wait until enough replicas have this connection's writes; there are none."""
    wanted = parse_integer(argv[1])
    deadline_ms = _deadline_ms(client, argv[2])
    if wanted <= 0:
        return ZERO
    return Block([], STRING, deadline_ms, ZERO)


@command("WAITAOF", arity=4, flags=_FLAGS, group="generic", since="7.2.0", complexity="O(1)",
         syntax="numlocal numreplicas timeout:integer", tips=_TIPS, categories=("connection",))  # fmt: skip
def waitaof(client: Client, argv: list[bytes]) -> bytes | Block:
    """Wait until this connection's writes are on stable storage."""
    local = parse_integer(argv[1])
    if not 0 <= local <= 1:
        raise CommandError(b"ERR value is out of range, value must between 0 and 1")
    replicas = parse_integer(argv[2])
    if replicas < 0:
        raise CommandError(b"ERR value is out of range, must be positive")
    deadline_ms = _deadline_ms(client, argv[3])
    client.engine.sync_requested = True
    answer = integers([1, 0])
    return Block([], STRING, deadline_ms, answer) if replicas else answer
