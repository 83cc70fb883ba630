"""COMPACT, diskkv's own: have LevelDB rewrite what was deleted or overwritten, so that the space comes back at once."""

from __future__ import annotations

from diskkv.codec.header import STRING
from diskkv.codec.keys import database_range, header_prefix, prefix_successor
from diskkv.codec.numbers import parse_int64, parse_memory
from diskkv.commands.registry import Flag, command
from diskkv.errors import CommandError, CommandSyntaxError
from diskkv.resp.reply import OK, integer, simple
from diskkv.services.blocking import Block
from diskkv.services.client import Client
from diskkv.services.compaction import WHOLE, Job

_GAVE_UP = CommandError(b"ERR the compaction goes on without this client").reply


@command("COMPACT", arity=-1, flags=Flag.ADMIN | Flag.NOSCRIPT, group="server", since="1.0.0",
         complexity="O(N) where N is the size of the range; other clients are served meanwhile.",
         syntax="[DB index:integer] [PREFIX prefix:string] [IOLIMIT bytes-per-second] [WAIT] [STOP]")  # fmt: skip
def compact(client: Client, argv: list[bytes]) -> bytes | Block:
    """Give the space of deleted data back: of everything, a database, or the keys with a prefix; or stop doing so."""
    compactions = client.instance.compactions
    if len(argv) == 2 and argv[1].upper() == b"STOP":
        return integer(compactions.stop())
    job, waits = _parse(client, argv)
    compactions.add(job)
    if not waits:
        return simple(b"Background compaction started")
    block = Block([], STRING, 0, _GAVE_UP, denied_reply=OK)
    job.waiting.append((client, block))
    return block


def _parse(client: Client, argv: list[bytes]) -> tuple[Job, bool]:
    config = client.instance.config
    index: int | None = None
    prefix: bytes | None = None
    io_limit = config.compaction_io_limit
    waits = False
    at = 1
    while at < len(argv):
        option = argv[at].upper()
        if option == b"WAIT":
            waits = True
            at += 1
            continue
        if at + 1 == len(argv):
            raise CommandSyntaxError
        value = argv[at + 1]
        if option == b"DB":
            index = _number(value, b"ERR DB index is out of range")
            if not 0 <= index < config.databases:
                raise CommandError(b"ERR DB index is out of range")
        elif option == b"PREFIX":
            prefix = value
        elif option == b"IOLIMIT":
            io_limit = _limit(value)
        else:
            raise CommandSyntaxError
        at += 2
    job = Job("command", [WHOLE], io_limit, waits_for_reclaim=True)
    if index is not None or prefix is not None:
        database = client.db if index is None else client.engine.database(index)
        found = database_range(database.id)
        if prefix:
            start = header_prefix(database.id) + prefix
            found = (start, prefix_successor(start))
        job.ranges = [found]
        job.prefix_range = found
    return job, waits


def _number(text: bytes, complaint: bytes) -> int:
    try:
        return parse_int64(text)
    except ValueError:
        raise CommandError(complaint) from None


def _limit(text: bytes) -> int:
    try:
        found = parse_memory(text.decode("latin-1"))
    except ValueError:
        raise CommandError(b"ERR the I/O limit is no number of bytes") from None
    return found
