"""Transactions: MULTI queues commands, EXEC runs them with nothing in between and all in one batch on disk."""

from __future__ import annotations

import contextlib
from typing import Any

from diskkv.commands import dispatch
from diskkv.commands.registry import Flag, KeySpec, command
from diskkv.errors import CommandError
from diskkv.resp.reply import OK
from diskkv.services.acl import Denial
from diskkv.services.client import Client
from diskkv.services.transactions import Transaction, discard

_FLAGS = Flag.NOSCRIPT | Flag.LOADING | Flag.STALE
_QUICK = _FLAGS | Flag.FAST | Flag.ALLOW_BUSY

_DENIED = {
    "command": b"no permission to execute the command or subcommand",
    "key": b"no permission to touch the specified keys",
    "channel": b"no permission to access one of the channels used as arguments to the command",
}


@command("MULTI", arity=1, flags=_QUICK, group="transactions", since="1.2.0", complexity="O(1)")
def multi(client: Client, argv: list[bytes]) -> bytes:
    """Queue the commands that follow until EXEC."""
    if client.transaction is not None:
        raise CommandError(b"ERR MULTI calls can not be nested")
    client.transaction = Transaction(client)
    client.refresh()
    return OK


@command("DISCARD", arity=1, flags=_QUICK, group="transactions", since="2.0.0",
         complexity="O(N), where N is the number of queued commands.")  # fmt: skip
def discard_(client: Client, argv: list[bytes]) -> bytes:
    """Forget the queued commands and the watched keys."""
    if client.transaction is None:
        raise CommandError(b"ERR DISCARD without MULTI")
    discard(client)
    return OK


@command("WATCH", arity=-2, flags=_QUICK, keys=KeySpec("RO", last=-1), group="transactions", since="2.2.0",
         complexity="O(1) for every key.", syntax="key [key ...]")  # fmt: skip
def watch(client: Client, argv: list[bytes]) -> bytes:
    """Have the next EXEC do nothing if one of the keys changes before it."""
    if client.transaction is not None:
        raise CommandError(b"ERR WATCH inside MULTI is not allowed")
    client.instance.watches.watch(client, argv[1:])
    return OK


@command("UNWATCH", arity=1, flags=_QUICK, group="transactions", since="2.2.0", complexity="O(1)")
def unwatch(client: Client, argv: list[bytes]) -> bytes:
    """Forget all watched keys."""
    client.instance.watches.forget(client)
    return OK


@command("EXEC", arity=1, flags=_FLAGS | Flag.SKIP_SLOWLOG, group="transactions", since="1.2.0",
         complexity="Depends on the queued commands.")  # fmt: skip
def exec_(client: Client, argv: list[bytes]) -> bytes | None:
    """Run the queued commands, unless a watched key changed (null) or one of them was refused (EXECABORT)."""
    transaction: Transaction | None = client.transaction
    if transaction is None:
        raise CommandError(b"ERR EXEC without MULTI")
    watches = client.instance.watches
    touched = watches.is_touched(client)
    watches.forget(client)
    if transaction.failed or touched:
        discard(client)
        if transaction.failed:
            raise CommandError(b"EXECABORT Transaction discarded because of previous errors.")
        return client.null_array
    heard = client.reply_on and not client.skip_replies
    replies = [b"*%d\r\n" % len(transaction.commands)]
    try:
        for entry, queued in transaction.commands:
            # A command may answer nothing: MONITOR of a client that monitors already.
            replies.append(_run(client, entry, queued) or b"")
    finally:
        discard(client)
    if transaction.switched_replies:
        client.out.append(_heard_replies(client, transaction, replies, heard))
        client.refresh()
        return None
    return b"".join(replies)


def _heard_replies(client: Client, transaction: Transaction, replies: list[bytes], heard: bool) -> bytes:
    """What the client gets of EXEC's replies, the array's header first, when CLIENT REPLY is among the commands.

    As with Redis, the array is not whole when replies are switched off or on within it, and SKIP has no reply at all:
    the command after EXEC is the one that it skips. `heard`: whether replies were on when EXEC came.
    """
    parts = replies[:1] if heard else []
    for (entry, argv), reply in zip(transaction.commands, replies[1:], strict=True):
        mode = argv[2].upper() if entry.name == "client|reply" else None
        if mode in (b"ON", b"OFF"):
            heard = mode == b"ON"
        if mode == b"SKIP":
            client.skip_replies |= 2 if client.reply_on else 0
        elif heard:
            parts.append(reply)
    return b"".join(parts)


def _run(client: Client, entry: Any, argv: list[bytes]) -> bytes | None:
    """Run one queued command; the user's permissions may have changed since it was queued."""
    if not client.user.unrestricted:
        denial = client.instance.acl.check(client.user, entry, argv)
        if denial is not None:
            return _denied(client, denial)
    result: bytes | None = dispatch.call(client, entry, argv)
    return result


def _denied(client: Client, denial: Denial) -> bytes:
    with contextlib.suppress(CommandError):
        # Only for its entry in the ACL log: EXEC has a message of its own.
        client.instance.login.refuse(client, denial)
    return CommandError(
        b"NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command "
        b"is no longer allowed for the following reason: " + _DENIED.get(denial.reason, b"no permission")
    ).reply
