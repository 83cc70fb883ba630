"""SLOWLOG: the commands that took longer than slowlog-log-slower-than."""

from __future__ import annotations

from itertools import islice

from diskkv.codec.numbers import parse_int64
from diskkv.commands.dispatch import unknown_subcommand
from diskkv.commands.help import help_reply
from diskkv.commands.registry import Flag, command
from diskkv.errors import CommandError
from diskkv.resp.reply import OK, array, bulk, bulks, integer
from diskkv.services.client import Client
from diskkv.services.slowlog import SlowLogEntry

_ADMIN = Flag.ADMIN | Flag.LOADING | Flag.STALE
_SHOWN_ENTRIES = 10


@command("SLOWLOG", arity=-2, flags=Flag(0), group="server", since="2.2.12", complexity="Depends on subcommand.")
def slowlog(client: Client, argv: list[bytes]) -> bytes:
    """A container for commands about the log of slow commands."""
    raise unknown_subcommand(argv)


@command("SLOWLOG HELP", arity=2, flags=Flag.LOADING | Flag.STALE, group="server", since="6.2.0", complexity="O(1)")
def slowlog_help(client: Client, argv: list[bytes]) -> bytes:
    """List the subcommands."""
    return help_reply(
        "SLOWLOG",
        "GET [<count>]",
        "    The newest entries, 10 or as many as asked for (-1: all): id, Unix time, microseconds, arguments,",
        "    the client's address and name.",
        "LEN",
        "    The number of entries.",
        "RESET",
        "    Forget all entries.",
    )


@command("SLOWLOG GET", arity=-2, flags=_ADMIN, group="server", since="2.2.12",
         complexity="O(N) where N is the number of entries returned", syntax="[count]",
         tips=("request_policy:all_nodes", "nondeterministic_output"))  # fmt: skip
def slowlog_get(client: Client, argv: list[bytes]) -> bytes:
    """Return the newest entries of the slow log."""
    entries = client.instance.slowlog.entries
    count = _SHOWN_ENTRIES
    if len(argv) > 3:
        raise unknown_arguments(argv)
    if len(argv) == 3:
        try:
            count = parse_int64(argv[2])
        except ValueError:
            count = -2
        if count < -1:
            raise CommandError(b"ERR count should be greater than or equal to -1")
        if count == -1:
            count = len(entries)
    return array([_encode(entry) for entry in islice(entries, min(count, len(entries)))])


def unknown_arguments(argv: list[bytes]) -> CommandError:
    """What SLOWLOG GET answers to too many arguments."""
    return CommandError(
        b"ERR unknown subcommand or wrong number of arguments for '%b'. Try SLOWLOG HELP." % argv[1][:128]
    )


def _encode(entry: SlowLogEntry) -> bytes:
    return array(
        [
            integer(entry.id),
            integer(entry.time_s),
            integer(entry.duration_us),
            bulks(entry.argv),
            bulk(entry.address.encode()),
            bulk(entry.client_name),
        ]
    )


@command("SLOWLOG LEN", arity=2, flags=_ADMIN, group="server", since="2.2.12", complexity="O(1)",
         tips=("request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"))  # fmt: skip
def slowlog_len(client: Client, argv: list[bytes]) -> bytes:
    """Count the entries of the slow log."""
    return integer(len(client.instance.slowlog.entries))


@command("SLOWLOG RESET", arity=2, flags=_ADMIN, group="server", since="2.2.12",
         complexity="O(N) where N is the number of entries in the slowlog",
         tips=("request_policy:all_nodes", "response_policy:all_succeeded"))  # fmt: skip
def slowlog_reset(client: Client, argv: list[bytes]) -> bytes:
    """Forget all entries of the slow log."""
    client.instance.slowlog.entries.clear()
    return OK
