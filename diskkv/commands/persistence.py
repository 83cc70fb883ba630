"""SAVE, BGSAVE and their like. Every write is on disk anyway: what they make is a backup (services/saves.py)."""

from __future__ import annotations

from diskkv.codec.header import STRING
from diskkv.commands.registry import Flag, command
from diskkv.errors import CommandError, CommandSyntaxError
from diskkv.resp.reply import integer, simple
from diskkv.services.blocking import Block
from diskkv.services.client import Client

_FLAGS = Flag.ADMIN | Flag.NOSCRIPT | Flag.NO_ASYNC_LOADING
_GAVE_UP = CommandError(b"ERR the backup goes on without this client").reply


@command("SAVE", arity=1, flags=_FLAGS | Flag.NO_MULTI, group="server", since="1.0.0",
         complexity="O(N) where N is the number of LevelDB's tables; other clients are served meanwhile.")  # fmt: skip
def save(client: Client, argv: list[bytes]) -> Block:
    """Make a backup of all databases and wait until it is complete."""
    client.instance.saves.start_for(client)
    return Block([], STRING, 0, _GAVE_UP)


@command("BGSAVE", arity=-1, flags=_FLAGS, group="server", since="1.0.0", complexity="O(1)",
         syntax="[SCHEDULE@3.2.2]")  # fmt: skip
def bgsave(client: Client, argv: list[bytes]) -> bytes:
    """Make a backup of all databases in the background."""
    if len(argv) > 2 or (len(argv) == 2 and argv[1].upper() != b"SCHEDULE"):
        raise CommandSyntaxError
    client.instance.saves.start()
    # Inside EXEC Redis puts it off until after the transaction; so it is here.
    return simple(b"Background saving scheduled" if client.transaction is not None else b"Background saving started")


@command("LASTSAVE", arity=1, flags=Flag.LOADING | Flag.STALE | Flag.FAST, group="server", since="1.0.0",
         complexity="O(1)", tips=("nondeterministic_output",), categories=("admin", "dangerous"))  # fmt: skip
def lastsave(client: Client, argv: list[bytes]) -> bytes:
    """Tell the Unix time of the last backup, or of the start."""
    return integer(client.instance.saves.last_save_s)


@command("BGREWRITEAOF", arity=1, flags=_FLAGS, group="server", since="1.0.0",
         complexity="O(N) where N is the size of LevelDB's write buffer.")  # fmt: skip
def bgrewriteaof(client: Client, argv: list[bytes]) -> bytes:
    """Write what is in LevelDB's log only to a table in the background, which empties the log."""
    client.instance.saves.rewrite_log()
    if client.transaction is not None:
        return simple(b"Background append only file rewriting scheduled")
    return simple(b"Background append only file rewriting started")
