"""Whole databases and the process: sizes, flushing, swapping, time, shutdown."""

from __future__ import annotations

import time

from diskkv.codec.numbers import parse_int64
from diskkv.commands.generic import INT32_MAX, INT32_MIN
from diskkv.commands.registry import Flag, command
from diskkv.engine.database import Database
from diskkv.errors import CommandError, CommandSyntaxError
from diskkv.resp.reply import OK, bulks, integer
from diskkv.services.client import Client

_FLUSH_SYNTAX = "[ASYNC@4.0.0 | SYNC@6.2.0]"
_FLUSH_TIPS = ("request_policy:all_shards", "response_policy:all_succeeded")


@command("DBSIZE", arity=1, flags=Flag.READONLY | Flag.FAST, group="server", since="1.0.0", complexity="O(1)",
         tips=("request_policy:all_shards", "response_policy:agg_sum"), categories=("keyspace", "read"))  # fmt: skip
def dbsize(client: Client, argv: list[bytes]) -> bytes:
    """Count the keys of the database."""
    return integer(client.db.keys)


def _check_flush_mode(argv: list[bytes]) -> None:
    if len(argv) > 2 or (len(argv) == 2 and argv[1].upper() not in (b"SYNC", b"ASYNC")):
        raise CommandSyntaxError


def flush_database(client: Client, database: Database) -> None:
    """Empty a database and tell everybody who watches its keys."""
    client.instance.database_changed(database)
    client.engine.flush(database)


@command("FLUSHDB", arity=-1, flags=Flag.WRITE | Flag.DANGEROUS, group="server", since="1.0.0",
         complexity="O(1); the space is freed in the background.", syntax=_FLUSH_SYNTAX, tips=_FLUSH_TIPS,
         categories=("keyspace",))  # fmt: skip
def flushdb(client: Client, argv: list[bytes]) -> bytes:
    """Delete all keys of the database."""
    _check_flush_mode(argv)
    flush_database(client, client.db)
    return OK


@command("FLUSHALL", arity=-1, flags=Flag.WRITE | Flag.DANGEROUS, group="server", since="1.0.0",
         complexity="O(1) for each database; the space is freed in the background.", syntax=_FLUSH_SYNTAX,
         tips=_FLUSH_TIPS, categories=("keyspace",))  # fmt: skip
def flushall(client: Client, argv: list[bytes]) -> bytes:
    """Delete all keys of all databases."""
    _check_flush_mode(argv)
    for database in list(client.engine.databases.values()):
        flush_database(client, database)
    return OK


@command("SWAPDB", arity=3, flags=Flag.WRITE | Flag.FAST | Flag.DANGEROUS, group="server", since="4.0.0",
         complexity="O(1)", syntax="index1 index2", categories=("keyspace",))  # fmt: skip
def swapdb(client: Client, argv: list[bytes]) -> bytes:
    """Exchange two databases, for all clients at once."""
    indexes = []
    for text, which in ((argv[1], "first"), (argv[2], "second")):
        try:
            index = parse_int64(text)
        except ValueError:
            index = INT32_MAX + 1
        if not INT32_MIN <= index <= INT32_MAX:
            raise CommandError(f"ERR invalid {which} DB index")
        indexes.append(index)
    if not all(0 <= index < client.instance.config.databases for index in indexes):
        raise CommandError(b"ERR DB index is out of range")
    first, second = (client.engine.database(index) for index in indexes)
    if first is not second:
        client.instance.database_changed(first, second)
        client.engine.swap(first, second)
        client.instance.database_changed(second, first)
    return OK


@command("TIME", arity=1, flags=Flag.LOADING | Flag.STALE | Flag.FAST, group="server", since="2.6.0",
         complexity="O(1)", tips=("nondeterministic_output",))  # fmt: skip
def time_(client: Client, argv: list[bytes]) -> bytes:
    """Tell the server's time: Unix seconds, and the microseconds of the current one."""
    now_us = time.time_ns() // 1000
    return bulks([b"%d" % (now_us // 1_000_000), b"%d" % (now_us % 1_000_000)])


@command("SHUTDOWN", arity=-1,
         flags=Flag.ADMIN | Flag.NOSCRIPT | Flag.LOADING | Flag.STALE | Flag.NO_MULTI | Flag.ALLOW_BUSY,
         group="server", since="1.0.0", complexity="O(1): everything is on disk already.",
         syntax="[NOSAVE | SAVE] [NOW@7.0.0] [FORCE@7.0.0] [ABORT@7.0.0]")  # fmt: skip
def shutdown(client: Client, argv: list[bytes]) -> bytes | None:
    """Stop the server; what was acknowledged is on disk with any option."""
    options = {option.upper() for option in argv[1:]}
    if not options <= {b"SAVE", b"NOSAVE", b"NOW", b"FORCE", b"ABORT"} or {b"SAVE", b"NOSAVE"} <= options:
        raise CommandSyntaxError
    if b"ABORT" in options:
        if len(options) > 1:
            raise CommandSyntaxError
        raise CommandError(b"ERR No shutdown in progress.")
    scripts = client.instance.scripts
    if scripts.busy:
        if b"NOSAVE" not in options:
            raise scripts.busy_error()
        scripts.abandon()
    client.instance.shutdown()
    client.close()
    return None
